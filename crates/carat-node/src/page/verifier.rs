//! The verifier that browsers run: `carat-verify` compiled to WebAssembly, as `bindings/wasm` of the repository makes it.
//!
//! It is no part of the binary, since making it needs another compiler target. It is read from a folder with
//! `carat-verifier.js` and `carat-verifier.wasm`. The module is handed to browsers inside a script, so that the page that
//! verifies needs no connection: its policy forbids all of them.

use std::path::{Path, PathBuf};

use super::assets::Asset;
use crate::call::base64;
use crate::exit::{Exit, Failure};
use crate::files;

/// What wraps the module: the loader of the folder.
pub(super) const LOADER: &str = "carat-verifier.js";
/// The module in a script.
pub(super) const MODULE: &str = "carat-verifier-module.js";
const WASM: &str = "carat-verifier.wasm";
/// Where a package puts it, beside the folder of the binary.
const PACKAGED: &str = "../share/carat/verifier";
const MAX_BYTES: u64 = 32 << 20;

/// The verifier.
pub(crate) struct Verifier {
    pub(super) loader: Asset,
    pub(super) module: Asset,
    /// Bytes of the module.
    pub(super) size: usize,
}

impl Verifier {
    /// The verifier of a folder, or without one that of the package; none where there is none.
    ///
    /// # Errors
    /// A folder that was named does not hold it.
    pub(crate) fn find(named: Option<&Path>) -> Result<Option<Self>, Failure> {
        if let Some(folder) = named {
            return Self::read(folder).map(Some);
        }
        match packaged().filter(|folder| folder.join(WASM).is_file()) {
            Some(folder) => Self::read(&folder).map(Some),
            None => Ok(None),
        }
    }

    fn read(folder: &Path) -> Result<Self, Failure> {
        let of = |name: &str| {
            files::read_capped(
                &folder.join(name),
                "a file of the browser's verifier",
                MAX_BYTES,
            )
            .map_err(|failure| {
                let message = format!(
                    "{}; page.verifier names the folder that bindings/wasm/build makes",
                    failure.message
                );
                Failure::new(failure.exit, message)
            })
        };
        let (loader, wasm) = (of(LOADER)?, of(WASM)?);
        if !wasm.starts_with(b"\0asm") {
            let message = format!("{} is no WebAssembly module", folder.join(WASM).display());
            return Err(Failure::new(Exit::Usage, message));
        }
        let size = wasm.len();
        let module = format!("export default \"{}\";\n", base64(&wasm));
        Ok(Self {
            loader: Asset::script(loader),
            module: Asset::script(module),
            size,
        })
    }
}

fn packaged() -> Option<PathBuf> {
    let binary = std::env::current_exe().ok()?;
    Some(binary.parent()?.join(PACKAGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_named_holds_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = Verifier::find(Some(dir.path())).err().expect("refused");
        assert!(missing.message.contains("page.verifier"), "{missing:?}");
        std::fs::write(dir.path().join(LOADER), "export {}").expect("written");
        std::fs::write(dir.path().join(WASM), "text").expect("written");
        let other = Verifier::find(Some(dir.path())).err().expect("refused");
        assert!(other.message.contains("no WebAssembly"), "{other:?}");
        std::fs::write(dir.path().join(WASM), b"\0asm\x01\0\0\0").expect("written");
        let found = Verifier::find(Some(dir.path())).expect("read").expect("it");
        assert_eq!(found.size, 8);
    }
}
