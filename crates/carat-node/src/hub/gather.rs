//! From a folder, or a compiled model, to the files of a version.

use std::fs;
use std::path::{Path, PathBuf};

use carat_hub::manifest::MAX_FILES;
use carat_hub::{About, FilePath};
use carat_nn::model::Metadata;

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Place;
use crate::model::{AnyModel, EXTENSION, source};

/// The files of a version: where each stands on disk, under its name there.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Names and places.
    pub files: Vec<(FilePath, PathBuf)>,
    /// What `model.toml` says.
    pub about: About,
    /// Why there is no compiled model among them.
    pub not_compiled: Option<String>,
}

/// Gathers what is published: a compiled model, or all files of a folder but hidden ones, and its compiled model, which is
/// made where there is none.
pub fn gather(path: &Path, place: &Place) -> Result<Gathered, Failure> {
    let mut found = Gathered::default();
    if !path.is_dir() {
        let model = AnyModel::load(path, place)?;
        let card: serde_json::Value = serde_json::from_str(model.card()).unwrap_or_default();
        found.about = serde_json::from_value(card["metadata"].clone())
            .map(about)
            .unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        found.files.push((name.parse()?, path.to_path_buf()));
        return Ok(found);
    }
    walk(path, path, &mut found.files)?;
    let toml = path.join("model.toml");
    if toml.is_file() {
        let text = source::read_metadata(&toml)?;
        found.about = Metadata::parse(&text)
            .map(about)
            .map_err(|error| Failure::new(Exit::Model, format!("{}: {error}", toml.display())))?;
    }
    let compiled = |(name, _): &(FilePath, PathBuf)| name.as_str().ends_with(EXTENSION);
    if !found.files.iter().any(compiled) {
        match AnyModel::load(path, place) {
            Ok(model) => {
                let name = format!("{}.{EXTENSION}", model.name);
                let name = name
                    .parse()
                    .or_else(|_| format!("model.{EXTENSION}").parse())?;
                found.files.push((name, model.path));
            }
            // A model that does not run here is kept all the same, with the reason.
            Err(failure) if failure.exit == Exit::Model => {
                found.not_compiled = Some(failure.message);
            }
            Err(failure) => return Err(failure),
        }
    }
    found.files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn about(metadata: Metadata) -> About {
    About {
        description: metadata.description,
        licence: metadata.licence,
        task: metadata.task,
        origin: String::new(),
    }
}

/// Regular files below a folder. Links are refused: what they lead to is not the publisher's folder.
fn walk(root: &Path, dir: &Path, found: &mut Vec<(FilePath, PathBuf)>) -> Result<(), Failure> {
    let failed = |error| files::io_failure("reading", dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(root, &path, found)?;
            continue;
        }
        if !kind.is_file() {
            let message = format!(
                "{} is a link or no regular file; a version holds files only",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        found.push((name.parse()?, path.clone()));
        if found.len() > MAX_FILES {
            let message = format!("{} holds more than {MAX_FILES} files", root.display());
            return Err(Failure::new(Exit::TooLarge, message));
        }
    }
    Ok(())
}
