//! `io_oi arbitrator new`: a directory with a judge that builds, is admitted, and answers its own cases.
//!
//! Invariant: what is written needs nothing from a network; the kit comes out of this binary, as it was built.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use io_oi_arbitrator::limits::NAME_BYTES_MAX;
use serde_json::json;

use super::object;
use crate::args::arbitrator::{Language, New};
use crate::failure::Failure;
use crate::output::Output;

type File = (&'static str, &'static [u8]);

macro_rules! kit {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("sdk/src/", $name), include_bytes!(concat!("../../../../arbitrator/sdk/src/", $name)))),*]
    };
}

/// The kit, file by file.
const KIT: &[File] = kit![
    "abi.rs",
    "arbitrator.component-type",
    "batch-arbitrator.component-type",
    "batch.rs",
    "cells.rs",
    "contract.rs",
    "guest.rs",
    "lib.rs",
    "macros.rs",
    "planning-arbitrator.component-type",
];

/// What both languages have.
const COMMON: &[File] = &[
    ("cases.toml", include_bytes!("../../templates/cases.toml.txt")),
    ("README.md", include_bytes!("../../templates/README.md.txt")),
    ("arbitrator.wit", include_bytes!("../../../../arbitrator/wit/arbitrator.wit")),
];

const RUST: &[File] = &[
    ("Cargo.toml", include_bytes!("../../templates/rust/Cargo.toml.txt")),
    (".cargo/config.toml", include_bytes!("../../templates/rust/config.toml.txt")),
    ("src/lib.rs", include_bytes!("../../templates/rust/src/lib.rs.txt")),
    ("sdk/Cargo.toml", include_bytes!("../../templates/rust/sdk.toml.txt")),
    (".gitignore", b"/target\n"),
];

const C: &[File] = &[
    ("judge.c", include_bytes!("../../templates/c/judge.c.txt")),
    ("io_oi_arbitrator.h", include_bytes!("../../templates/c/io_oi_arbitrator.h.txt")),
    (".gitignore", b"/target\n"),
];

const BUILT_RUST: &str = "Built with the toolchain at hand: `rustup target add wasm32-unknown-unknown`, or on Debian the \
                          packages rustc-web\nand rust-web-src. `sdk` is the kit; `cargo test` runs the same source here.";
const BUILT_C: &str = "Built with `python3 -m ziglang cc` (pip install ziglang), `zig cc`, clang with wasm-ld, or whatever \
                       IO_OI_CC names.\n`io_oi_arbitrator.h` is the contract.";

/// Writes the directory.
pub(super) fn new(output: Output, new: &New) -> Result<(), Failure> {
    check_name(new)?;
    let dir = new.dir.clone().unwrap_or_else(|| PathBuf::from(&new.name));
    make_empty(&dir)?;
    let (files, built): (&[&[File]], _) = match new.lang {
        Language::Rust => (&[COMMON, RUST, KIT], BUILT_RUST),
        Language::C => (&[COMMON, C], BUILT_C),
    };
    let words =
        [("{{name}}", new.name.as_str()), ("{{version}}", env!("CARGO_PKG_VERSION")), ("{{built}}", built)];
    for (name, bytes) in files.iter().copied().flatten() {
        write(&dir.join(name), &filled(bytes, &words))?;
    }
    let shown = dir.display().to_string();
    let fields = object(json!({"name": new.name, "dir": shown, "lang": match new.lang {
        Language::Rust => "rust",
        Language::C => "c",
    }}));
    output.result(fields, || {
        format!("{shown} holds a judge to begin from.\nNow: io_oi arbitrator build {shown}")
    })
}

/// The name of a manifest, and in Rust of a crate as well.
fn check_name(new: &New) -> Result<(), Failure> {
    let is_manifest_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let (name, is_rust) = (&new.name, new.lang == Language::Rust);
    let is_right = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_manifest_name);
    let is_crate_name =
        name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && !name.contains('.');
    let is_taken = name == "io_oi_arbitrator_sdk" || name == "core" || name == "std" || name == "alloc";
    if !is_right || name.starts_with(['.', '-']) {
        let what = format!("a judge's name is 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`");
        return Err(Failure::Usage { what });
    }
    if is_rust && (!is_crate_name || is_taken) {
        let what = format!("`{name}` is no name for a crate: begin with a letter, and use no `.`");
        return Err(Failure::Usage { what });
    }
    Ok(())
}

/// Makes the directory, or takes an empty one.
fn make_empty(dir: &Path) -> Result<(), Failure> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::with_help(
            format!("{} is there already, and not empty", dir.display()),
            "nothing is ever overwritten: name another directory with --dir",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::other(format!("cannot use {}: {error}", dir.display()))),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).and_then(|()| fs::write(path, bytes)).map_err(|error| {
        Failure::with_help(
            format!("cannot write {}: {error}", path.display()),
            "name a directory that you may write with --dir",
        )
    })
}

/// The template with its words filled in; files that are no text have none.
fn filled(bytes: &[u8], words: &[(&str, &str)]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            words.iter().fold(text.to_owned(), |text, (word, with)| text.replace(word, with)).into_bytes()
        }
        Err(_) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_is_written_whole() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/sdk/src");
        let mut there: Vec<String> = fs::read_dir(room)
            .unwrap()
            .map(|entry| format!("sdk/src/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        there.sort();
        assert_eq!(there, KIT.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
