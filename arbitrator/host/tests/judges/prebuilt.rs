//! The guests that ship are made of the sources beside them.
//!
//! `IO_OI_BLESS=1 cargo test -p io_oi_arbitrator prebuilt` makes them anew, where the pinned compiler is installed:
//! `apt-get install -y --no-install-recommends rustc-web rust-web-src`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use io_oi_arbitrator::{Arbitrator, Engine};
use io_oi_guests::prebuilt::{MANIFEST, PREBUILT};
use io_oi_record::hash::Domain;

use crate::contract::{WORLDS, component_type, component_type_path, room};

/// Where Debian's package puts the one compiler on a plain machine that can aim at the sandbox.
const COMPILER: &str = "/usr/bin/rustc";

/// What the manifest says behind a word.
fn noted(word: &str) -> Option<&'static str> {
    MANIFEST.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
}

/// Every file that a guest is made of.
fn sources() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["guests/src", "guests/examples", "sdk/src"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(room(folder)).expect("the rooms of guests are readable"))
        .map(|entry| entry.expect("a file of a guest's room").path())
        .chain([room("guests/Cargo.toml"), room("sdk/Cargo.toml")])
        .collect();
    files.sort();
    files
}

fn source_hash() -> String {
    let texts: Vec<Vec<u8>> =
        sources().iter().map(|path| std::fs::read(path).expect("a source is readable")).collect();
    let parts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    Domain::Arbitrator.hash_parts(&parts).to_string()
}

fn first_line_of(program: &Path, argument: &str) -> Option<String> {
    let output =
        Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// The linker that comes with every Rust toolchain.
fn linker() -> Option<PathBuf> {
    let root = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let root = PathBuf::from(String::from_utf8_lossy(&root.stdout).trim());
    Some(root.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld")).filter(|path| path.exists())
}

/// Compiler and linker as the manifest names them, `None` where one is missing.
fn tools() -> Option<(String, String)> {
    let compiler = first_line_of(Path::new(COMPILER), "--version")?;
    Path::new("/usr/lib/rustlib/src/rust/library/core").exists().then_some(())?;
    let linker = Command::new(linker()?).args(["-flavor", "wasm", "--version"]).output().ok()?;
    Some((compiler, String::from_utf8_lossy(&linker.stdout).lines().next()?.to_owned()))
}

/// Compiles every guest, in a target folder of its own.
fn build() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(room(".."))
        .args(["build", "--release", "--locked", "--offline", "--package", "io_oi_guests", "--examples"])
        .args(["--features", "guest", "--target", "wasm32-unknown-unknown", "-Zbuild-std=core,alloc"])
        .env("RUSTC", COMPILER)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker().expect("the linker was there"))
        .env("RUSTFLAGS", "-Clink-arg=-zstack-size=4096 -Clink-arg=--export=__heap_base")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "guests do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm32-unknown-unknown/release/examples")
}

/// A component of a core module that carries the contract.
fn componentize(core: &[u8]) -> Vec<u8> {
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(core);
    encoder.expect("a guest carries its world").encode().expect("a guest becomes a component")
}

fn components(built: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let component = |name: &str| {
        let file = built.join(format!("{}.wasm", name.replace('-', "_")));
        componentize(&std::fs::read(file).expect("cargo made the guest"))
    };
    PREBUILT.iter().map(|(name, _)| (*name, component(name))).collect()
}

fn bless() {
    for world in WORLDS {
        std::fs::write(component_type_path(world), component_type(world)).expect("the kit is writable");
    }
    let (compiler, linker) = tools().expect("blessing wants the packages rustc-web and rust-web-src");
    let mut text = format!("compiler {compiler}\nlinker {linker}\nsources {}\n", source_hash());
    for (name, component) in components(&build()) {
        std::fs::write(room("guests/prebuilt").join(format!("{name}.wasm")), &component)
            .expect("the room of prebuilt guests is writable");
        writeln!(text, "{name} {}", Domain::Arbitrator.hash(&component)).expect("strings grow");
    }
    std::fs::write(room("guests/prebuilt/manifest.txt"), text).expect("the manifest is writable");
}

#[test]
fn prebuilt_guests_are_made_of_these_sources() {
    if std::env::var_os("IO_OI_BLESS").is_some() {
        bless();
        println!("blessed: run the tests again without IO_OI_BLESS");
        return;
    }
    assert_eq!(
        noted("sources"),
        Some(source_hash().as_str()),
        "the sources of the guests changed: make them anew as the head of this file says"
    );
    let Some((compiler, linker)) = tools() else {
        println!("SKIPPED: no rebuild without rustc-web and rust-web-src; hashes and behaviour are checked");
        return;
    };
    if (noted("compiler"), noted("linker")) != (Some(&compiler), Some(&linker)) {
        println!(
            "SKIPPED: no comparison of bytes, since the manifest names other tools than {compiler}, {linker}"
        );
        return;
    }
    for ((name, rebuilt), (_, shipped)) in components(&build()).iter().zip(PREBUILT) {
        assert!(rebuilt == shipped, "{name} comes out otherwise than it ships");
    }
}

#[test]
fn prebuilt_guests_have_their_hashes_and_are_admitted() {
    let engine = Engine::new();
    for (name, component) in PREBUILT {
        let hash = Domain::Arbitrator.hash(component).to_string();
        assert_eq!(noted(name), Some(hash.as_str()), "{name} is not the component that the manifest names");
        let arbitrator = Arbitrator::admit(&engine, component).expect("a standard judge is admitted");
        assert_eq!(arbitrator.manifest().name, *name);
        assert_eq!(arbitrator.hash().to_string(), hash);
    }
}
