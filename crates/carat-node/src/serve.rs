//! The server's life: listen, serve, drain.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::api;
use crate::config::{Config, LogFormat};
use crate::exit::{Exit, Failure};
use crate::node::{Node, Prepared, Running};
use crate::tls::Acceptor;

/// Set while a server runs in this process: told to go down by a signal.
static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
/// How often a server looks whether it can still write.
const WATCH: Duration = Duration::from_millis(100);

/// Tells the server of this process to go down. `false`: there is none, or it was told before.
pub fn interrupt() -> bool {
    STOP.get().is_some_and(|stop| !stop.send_replace(true))
}

/// What becomes true when [`interrupt`] is called.
pub(crate) fn told() -> watch::Receiver<bool> {
    STOP.get_or_init(|| watch::channel(false).0).subscribe()
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
    let told = told();
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
    let door = Door::new(&running, config)?;
    tracing::info!(%address, "listening");
    listening(address);
    runtime.block_on(run(&running, listener, told, Arc::new(door), config));
    // Connections that outlasted the drain end here, their requests unanswered; what they asked for is kept if it was accepted.
    runtime.shutdown_background();
    let finished = running.finish();
    tracing::info!("ended");
    finished
}

async fn run(
    running: &Running,
    listener: TcpListener,
    mut told: watch::Receiver<bool>,
    door: Arc<Door>,
    config: &Config,
) {
    let node = running.node.clone();
    let (drained, draining) = watch::channel(false);
    let watcher = async {
        tokio::select! {
            _ = told.wait_for(|told| *told) => tracing::info!("told to go down: taking no new requests"),
            () = fault(&node) => tracing::error!("nothing can be written any more: going down"),
        }
        node.drain();
        drained.send_replace(true);
    };
    tokio::join!(accept(door, listener, draining, config), watcher);
}

/// What a connection passes through.
struct Door {
    node: Arc<Node>,
    http: http1::Builder,
    app: TowerToHyperService<Router>,
    tls: Option<Acceptor>,
}

impl Door {
    fn new(running: &Running, config: &Config) -> Result<Self, Failure> {
        let node = running.node.clone();
        let patience = Duration::from_secs(config.tls.handshake_seconds);
        let mut http = http1::Builder::new();
        // Also the time that an idle connection may stay.
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(config.limits.header_seconds));
        Ok(Self {
            http,
            app: TowerToHyperService::new(api::router(node.clone())),
            tls: node
                .tls
                .clone()
                .map(|tls| Acceptor::new(tls, patience))
                .transpose()?,
            node,
        })
    }

    /// One connection, from its first byte to its last. A caller that goes away, or is slow, is no event.
    async fn serve(
        &self,
        stream: TcpStream,
        watcher: Watcher,
        mut draining: watch::Receiver<bool>,
    ) {
        let Some(tls) = &self.tls else {
            let connection = self
                .http
                .serve_connection(TokioIo::new(stream), self.app.clone());
            let _ = watcher.watch(connection).await;
            return;
        };
        let secured = tokio::select! {
            secured = tls.accept(stream) => secured,
            _ = draining.wait_for(|drained| *drained) => return,
        };
        let Some(stream) = secured else {
            self.node.metrics.handshake_failed();
            return;
        };
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), self.app.clone());
        let _ = watcher.watch(connection).await;
    }
}

/// Takes connections until the drain, then waits for those that are open.
async fn accept(
    door: Arc<Door>,
    listener: TcpListener,
    mut draining: watch::Receiver<bool>,
    config: &Config,
) {
    let places = Arc::new(Semaphore::new(config.limits.connections));
    let open = GracefulShutdown::new();
    loop {
        let next = async {
            // Others wait in the system's queue. The semaphore is never closed.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = draining.wait_for(|drained| *drained) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: it passes when connections end.
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(WATCH).await;
                continue;
            }
        };
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let (door, watcher, draining) = (door.clone(), open.watcher(), draining.clone());
        tokio::spawn(async move {
            door.serve(stream, watcher, draining).await;
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = open.shutdown() => {}
        () = tokio::time::sleep(Duration::from_secs(config.drain_seconds)) => {
            tracing::warn!(drain_seconds = config.drain_seconds, "connections were still open after the drain");
        }
    }
}

/// Ends when the node has a fault.
async fn fault(node: &Node) {
    while node.fault().is_none() {
        tokio::time::sleep(WATCH).await;
    }
}
