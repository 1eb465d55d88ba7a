//! The server's life: listen, serve, drain.

use std::future::IntoFuture as _;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api;
use crate::config::{Config, LogFormat};
use crate::exit::{Exit, Failure};
use crate::node::{Node, Prepared, Running};

/// Set while a server runs in this process: told to go down by a signal.
static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
/// How often a server looks whether it can still write.
const WATCH: Duration = Duration::from_millis(100);

/// Tells the server of this process to go down. `false`: there is none, or it was told before.
pub fn interrupt() -> bool {
    STOP.get().is_some_and(|stop| !stop.send_replace(true))
}

/// Sets up log lines on standard error. The level is `CARAT_LOG`, such as `info` or `carat_node=debug`.
pub fn start_logging(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CARAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // A second server in one process keeps the first one's lines.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Serves until a signal, or until nothing can be written any more. `listening` is told the address once requests are taken.
pub fn serve(
    prepared: Prepared,
    config: &Config,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("carat-http")
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("the system gave no threads: {error}")))?;
    let stop = STOP.get_or_init(|| watch::channel(false).0);
    let told = stop.subscribe();
    let listener = runtime
        .block_on(TcpListener::bind(config.listen))
        .map_err(|error| {
            Failure::new(
                Exit::Io,
                format!("listening on {} failed: {error}", config.listen),
            )
        })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::new(Exit::Io, error))?;
    let running = prepared.start()?;
    tracing::info!(%address, "listening");
    listening(address);
    let served = runtime.block_on(run(&running, listener, told, config));
    // Connections that outlasted the drain end here, their requests unanswered; what they asked for is kept if it was accepted.
    runtime.shutdown_background();
    let finished = running.finish();
    tracing::info!("ended");
    served.and(finished)
}

async fn run(
    running: &Running,
    listener: TcpListener,
    mut told: watch::Receiver<bool>,
    config: &Config,
) -> Result<(), Failure> {
    let node = running.node.clone();
    let connections = Arc::new(Semaphore::new(config.limits.connections));
    let listener = Limited {
        listener,
        connections,
    };
    let (drained, draining) = watch::channel(false);
    let watcher = async {
        tokio::select! {
            _ = told.wait_for(|told| *told) => tracing::info!("told to go down: taking no new requests"),
            () = fault(&node) => tracing::error!("nothing can be written any more: going down"),
        }
        node.drain();
        drained.send_replace(true);
    };
    let mut graceful = draining.clone();
    let server = axum::serve(listener, api::router(running.node.clone())).with_graceful_shutdown(
        async move {
            let _ = graceful.wait_for(|drained| *drained).await;
        },
    );
    let patience = async {
        let mut draining = draining;
        let _ = draining.wait_for(|drained| *drained).await;
        tokio::time::sleep(Duration::from_secs(config.drain_seconds)).await;
    };
    let serving = async {
        tokio::select! {
            ended = server.into_future() => ended
                .map_err(|error| Failure::new(Exit::Io, format!("serving failed: {error}"))),
            () = patience => {
                tracing::warn!(drain_seconds = config.drain_seconds, "connections were still open after the drain");
                Ok(())
            }
        }
    };
    let (served, ()) = tokio::join!(serving, watcher);
    served
}

/// Ends when the node has a fault.
async fn fault(node: &Node) {
    while node.fault().is_none() {
        tokio::time::sleep(WATCH).await;
    }
}

/// A listener that takes only so many connections at a time; others wait in the system's queue.
struct Limited {
    listener: TcpListener,
    connections: Arc<Semaphore>,
}

/// A connection, and its place among those that are taken, which it gives back when it is dropped.
struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let place = self.connections.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            stream,
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
