//! Finding what was drawn: receipts, openings and models.
//!
//! A node keeps what it may be asked about: `served/` in the data directory holds, for each receipt that can be drawn, the
//! receipt, its opening and the path of its model, named by the hash of its leaf. A server has all of them in its store. Silence counts as wrong, so keeping them is
//! in the node's own interest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use carat_log::leaf_hash;
use carat_node::call::from_base64;
use carat_node::client::Client;
use carat_node::store::{Store, StoreOptions};
use carat_receipt::commit::MAX_OPENING_BYTES;
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Digest, Opening, ReceiptFile, leaf};

use crate::commands::Context;
use crate::exit::Failure;
use crate::files::{self, Mode};
use crate::home::Home;
use crate::model::{AnyModel, EXTENSION};

const SERVED: &str = "served";
const MAX_PATH_BYTES: u64 = 64 * 1024;

/// The hash of a receipt's leaf, as its files are named.
fn name_of(leaf: &[u8]) -> String {
    hex::encode(leaf_hash(leaf).as_bytes())
}

/// The leaf of a receipt file; `None` where it carries nothing from a log.
fn leaf_of(file: &ReceiptFile) -> Option<Vec<u8>> {
    let part = file.log.as_ref()?;
    let tau = file
        .signed
        .statement()
        .optional
        .plan
        .as_ref()
        .map(|plan| plan.tau);
    Some(leaf(&part.blind, &file.receipt_id(), tau))
}

/// Keeps a receipt that an audit may draw; nothing for one without a threshold. Called before the receipt is shown to
/// anybody.
pub(crate) fn keep(
    home: &Home,
    file: &ReceiptFile,
    opening: &Opening,
    model: &Path,
) -> Result<(), Failure> {
    let plan = file.signed.statement().optional.plan.as_ref();
    if plan.is_none_or(|plan| plan.tau == 0) {
        return Ok(());
    }
    let Some(leaf) = leaf_of(file) else {
        return Ok(());
    };
    let dir = home.make_dir(SERVED)?;
    let name = name_of(&leaf);
    let path = |extension: &str| dir.join(format!("{name}.{extension}"));
    let model = std::fs::canonicalize(model).unwrap_or_else(|_| model.to_path_buf());
    files::place(vec![
        files::stage(
            &path("model"),
            model.to_string_lossy().as_bytes(),
            Mode::Private,
        )?,
        files::stage(&path("carat-open"), &opening.encode(), Mode::Private)?,
        files::stage(&path("carat"), &file.encode(), Mode::Private)?,
    ])
}

/// A receipt with what it takes to replay it.
pub(crate) struct Served {
    /// The receipt.
    pub(crate) file: ReceiptFile,
    /// Its opening.
    pub(crate) opening: Opening,
}

/// Where to look.
pub(crate) struct Shelf<'a> {
    context: &'a Context,
    dir: Option<PathBuf>,
    /// Receipts in folders, by the name of their leaf.
    found: HashMap<String, PathBuf>,
    /// Models that were not looked at yet.
    paths: Vec<PathBuf>,
    models: HashMap<Digest, AnyModel>,
    /// A server's store, where the data directory is a server's.
    store: Option<Store>,
    /// The server, where it runs and its store is its own.
    server: Option<Client>,
}

impl<'a> Shelf<'a> {
    /// Looks into the data directory, and into folders of receipts; `models` are tried in their order.
    pub(crate) fn open(
        context: &'a Context,
        home: &Home,
        folders: &[PathBuf],
        models: &[PathBuf],
        server: Option<Client>,
        options: StoreOptions,
    ) -> Result<Self, Failure> {
        let mut found = HashMap::new();
        for folder in folders {
            for path in listing(folder, "carat")? {
                // What is no receipt is nobody's answer; what was drawn and is missing is reported by its index.
                let Ok(bytes) = files::read_capped(&path, "a receipt", MAX_FILE_BYTES as u64)
                else {
                    continue;
                };
                if let Some(leaf) = ReceiptFile::decode(&bytes).ok().as_ref().and_then(leaf_of) {
                    found.insert(name_of(&leaf), path);
                }
            }
        }
        let mut paths = models.to_vec();
        paths.reverse();
        let store = home.path("store");
        let store = (store.is_dir() && server.is_none())
            .then(|| Store::open(&store, options))
            .transpose()?;
        Ok(Self {
            store,
            server,
            context,
            dir: Some(home.path(SERVED)).filter(|dir| dir.is_dir()),
            found,
            paths,
            models: HashMap::new(),
        })
    }

    /// The receipt and the opening behind a leaf, or why there are none.
    pub(crate) fn answer(&mut self, index: u64, leaf: &[u8]) -> Result<Served, String> {
        if let Some(store) = &self.store
            && let Some(served) = stored(store, index)?
        {
            return if leaf_of(&served.file).as_deref() == Some(leaf) {
                Ok(served)
            } else {
                Err("the server's store has another receipt in its place".into())
            };
        }
        if let Some(server) = &self.server
            && let Some(served) = asked(server, index)?
        {
            return if leaf_of(&served.file).as_deref() == Some(leaf) {
                Ok(served)
            } else {
                Err("the server gave another receipt in its place".into())
            };
        }
        let name = name_of(leaf);
        let kept = self
            .dir
            .as_ref()
            .map(|dir| dir.join(format!("{name}.carat")));
        let path = match (kept.filter(|path| path.is_file()), self.found.get(&name)) {
            (Some(path), _) => {
                let model = path.with_extension("model");
                if let Ok(model) = files::read_text(&model, "a path", MAX_PATH_BYTES) {
                    self.paths.push(PathBuf::from(model));
                }
                path
            }
            (None, Some(path)) => path.clone(),
            (None, None) => {
                return Err(
                    "nobody has its receipt; give the folder that it is in: --receipts DIR".into(),
                );
            }
        };
        let read = |path: &Path, what, limit: usize| {
            files::read_capped(path, what, limit as u64).map_err(|failure| failure.message)
        };
        let bytes = read(&path, "a receipt", MAX_FILE_BYTES)?;
        let file = ReceiptFile::decode(&bytes).map_err(|error| format!("its receipt: {error}"))?;
        if leaf_of(&file).as_deref() != Some(leaf) {
            return Err("its receipt is another one now".into());
        }
        let open = files::sibling(&path, "carat-open");
        let bytes = zeroize::Zeroizing::new(read(&open, "an opening", MAX_OPENING_BYTES)?);
        let opening = Opening::decode(&bytes).map_err(|error| format!("its opening: {error}"))?;
        Ok(Served { file, opening })
    }

    /// The model with that Program.
    pub(crate) fn model(&mut self, home: &Home, program: Digest) -> Option<&AnyModel> {
        if !self.models.contains_key(&program) {
            while let Some(path) = self.paths.pop() {
                if self.load(&path, program) {
                    break;
                }
            }
        }
        if !self.models.contains_key(&program) {
            // Models that were compiled on first use.
            for path in listing(&home.path("models"), EXTENSION).unwrap_or_default() {
                if self.load(&path, program) {
                    break;
                }
            }
        }
        self.models.get(&program)
    }

    /// Loads a model; whether it is the one.
    fn load(&mut self, path: &Path, program: Digest) -> bool {
        let Ok(model) = AnyModel::load(path, self.context) else {
            return false;
        };
        let digest = model.digest;
        self.models.insert(digest, model);
        digest == program
    }
}

/// The receipt of an entry, from a server's store.
fn stored(store: &Store, index: u64) -> Result<Option<Served>, String> {
    let look = || -> Result<Option<Served>, Failure> {
        let Some(id) = store.receipt_at(index)? else {
            return Ok(None);
        };
        let (Some(record), Some(opening)) = (store.receipt(&id)?, store.opening(&id)?) else {
            return Ok(None);
        };
        let file = store.file(record)?;
        Ok(Some(Served { file, opening }))
    };
    look().map_err(|failure| failure.message)
}

/// The receipt of an entry, from a server that runs. `None`: it has none there, or nothing that opens it.
fn asked(server: &Client, index: u64) -> Result<Option<Served>, String> {
    let words = |failure: Failure| failure.message;
    let reply = server
        .get(&format!("/v1/admin/entries/{index}"))
        .map_err(words)?;
    if reply.status == 404 {
        return Ok(None);
    }
    let json = reply.good().and_then(|reply| reply.json()).map_err(words)?;
    let bytes = |name: &str| json[name].as_str().and_then(from_base64);
    let Some(receipt) = bytes("receipt") else {
        return Err("the server's answer holds no receipt".into());
    };
    let Some(opening) = bytes("opening").map(zeroize::Zeroizing::new) else {
        return Ok(None);
    };
    let file = ReceiptFile::decode(&receipt).map_err(|error| format!("its receipt: {error}"))?;
    let opening = Opening::decode(&opening).map_err(|error| format!("its opening: {error}"))?;
    Ok(Some(Served { file, opening }))
}

/// Files of a folder with that extension, in order.
fn listing(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| files::io_failure("reading", folder, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
