//! The rules of the house, as a test.
//!
//! Invariant: what this file lets pass is what CONTRIBUTING.md promises: doors lead downwards, names are nouns, no file is
//! dead, every `unsafe` stands in its room beside its proof, and a drawn format carries the version of its code.

mod floors;
mod formats;
mod sources;

use anyhow::{Context, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// One breach of a rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    path: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// Every fault of the tree below `root`, in the order of the files' names.
pub(crate) fn faults(root: &Path) -> Result<Vec<Fault>> {
    let files = Files::read(root)?;
    let mut faults = Vec::new();
    floors::check(&files, &mut faults);
    sources::check(&files, &mut faults);
    formats::check(&files, &mut faults);
    faults.sort_by(|left, right| (&left.path, left.line).cmp(&(&right.path, right.line)));
    Ok(faults)
}

/// The text files of the tree, read once. Paths are relative to the root and use `/`.
pub(crate) struct Files {
    files: Vec<(String, String)>,
}

impl Files {
    fn read(root: &Path) -> Result<Files> {
        let mut files = Vec::new();
        read_folder(root, root, &mut files)?;
        files.sort();
        Ok(Files { files })
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Files {
        Files { files: files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == path).map(|(_, text)| text)
    }
}

pub(crate) fn fault(path: &str, line: usize, what: impl Into<String>) -> Fault {
    Fault { path: PathBuf::from(path), line, what: what.into() }
}

/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &[".git", "target", "node_modules", "__pycache__"];

/// Endings that the rules read. Anything else is data.
const READ: &[&str] = &["rs", "toml", "md", "sh", "yml"];

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                read_folder(root, &path, files)?;
            }
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
        if READ.contains(&ending.as_str()) {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{relative} is not UTF-8"))?;
            files.push((relative, text));
        } else {
            files.push((relative, String::new()));
        }
    }
    Ok(())
}
