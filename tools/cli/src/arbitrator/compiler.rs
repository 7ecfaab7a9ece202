//! Compilers that can aim at the sandbox: found on this machine, or named with what to install.
//!
//! Invariant: whatever the compiler, the flags that make a guest sealable are given here and nowhere else; nothing is
//! fetched from a network.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Compiles the judge of a directory into a core module, whose bytes are the answer.
pub(super) fn compile(dir: &Path) -> Result<Vec<u8>, Failure> {
    let module = if dir.join("Cargo.toml").is_file() { compile_rust(dir)? } else { compile_c(dir)? };
    std::fs::read(&module).map_err(|error| {
        Failure::other(format!("the compiler left nothing at {}: {error}", module.display()))
    })
}

const TARGET: &str = "wasm32-unknown-unknown";
/// The stack of a guest: its frames are counted at admission, and 16 KiB are all the memory that it has.
const STACK: &str = "-zstack-size=4096";
const HEAP_BASE: &str = "--export=__heap_base";

/// Where Debian's package puts a compiler that can build the core library from its sources.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core";

fn compile_rust(dir: &Path) -> Result<PathBuf, Failure> {
    let target = dir.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir).args(["build", "--release", "--lib", "--target", TARGET]);
    cargo.env("CARGO_TARGET_DIR", absolute(&target)?);
    cargo.env("RUSTFLAGS", format!("-Clink-arg={STACK} -Clink-arg={HEAP_BASE}"));
    if !has_target() {
        let linker = linker().filter(|_| Path::new(DEBIAN_SOURCES).exists()).ok_or_else(no_rust)?;
        cargo.arg("-Zbuild-std=core,alloc").env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    run(&mut cargo)?;
    only_file(&target.join(TARGET).join("release"), "wasm")
}

/// Whether the Rust toolchain at hand has the core library for the sandbox.
fn has_target() -> bool {
    let libraries = said(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    libraries.is_some_and(|path| Path::new(&path).is_dir())
}

/// The linker that comes with every Rust toolchain.
fn linker() -> Option<PathBuf> {
    let root = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = said(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some(Path::new(&root).join("lib/rustlib").join(host).join("bin/rust-lld")).filter(|path| path.exists())
}

fn no_rust() -> Failure {
    Failure::with_help(
        format!("no Rust compiler here can aim at {TARGET}"),
        format!(
            "rustup target add {TARGET}, or on Debian: apt-get install --no-install-recommends rustc-web rust-web-src"
        ),
    )
}

fn compile_c(dir: &Path) -> Result<PathBuf, Failure> {
    let mut sources = files(dir, "c")?;
    sources.sort();
    if sources.is_empty() {
        return Err(Failure::with_help(
            format!("{} has neither a Cargo.toml nor a C file", dir.display()),
            "`io_oi arbitrator new NAME --lang rust` makes a directory to begin from",
        ));
    }
    let out = dir.join("target");
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::other(format!("cannot make {}: {error}", out.display())))?;
    let module = out.join("judge.wasm");
    let mut compiler = c_compiler().ok_or_else(no_c)?;
    compiler.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib", "-Wl,--no-entry"]);
    compiler.arg(format!("-Wl,{}", STACK.replacen("-z", "-z,", 1))).arg(format!("-Wl,{HEAP_BASE}"));
    compiler.arg("-Wl,--strip-all").arg("-o").arg(&module).args(&sources);
    run(&mut compiler)?;
    Ok(module)
}

/// A C compiler that can aim at the sandbox, with the words that make it do so.
fn c_compiler() -> Option<Command> {
    let make = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    if let Some(named) = std::env::var("IO_OI_CC").ok().filter(|named| !named.trim().is_empty()) {
        let words: Vec<&str> = named.split_whitespace().collect();
        let mut command = make(&words);
        command.arg(triple(&words));
        return Some(command);
    }
    let known: [&[&str]; 4] =
        [&["python3", "-m", "ziglang", "cc"], &["python", "-m", "ziglang", "cc"], &["zig", "cc"], &["clang"]];
    known.into_iter().find_map(|words| {
        // Clang needs the linker of the same name beside it; Zig brings its own.
        let is_whole = words != ["clang"] || said(Command::new("wasm-ld").arg("--version")).is_some();
        said(make(words).arg("--version")).filter(|_| is_whole)?;
        let mut command = make(words);
        command.arg(triple(words));
        Some(command)
    })
}

/// Zig has a name of its own for a machine without a system.
fn triple(words: &[&str]) -> &'static str {
    let is_zig = words.iter().any(|word| word.contains("zig"));
    if is_zig { "--target=wasm32-freestanding" } else { "--target=wasm32-unknown-unknown" }
}

fn no_c() -> Failure {
    Failure::with_help(
        "no C compiler here can aim at wasm32",
        "pip install ziglang, or install clang and lld, or name a compiler in IO_OI_CC",
    )
}

fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::other(format!("cannot read the directory {}: {error}", dir.display()))
    };
    let entries = std::fs::read_dir(dir).map_err(cannot)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(cannot));
    let is_wanted = |path: &PathBuf| path.extension() == Some(OsStr::new(ending));
    paths.filter(|path| path.as_ref().map_or(true, is_wanted)).collect()
}

fn only_file(dir: &Path, ending: &str) -> Result<PathBuf, Failure> {
    let mut found = files(dir, ending)?;
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (Some(_), false) => Err(Failure::with_help(
            format!("{} holds several modules", dir.display()),
            "remove its `target` directory, and build again: one crate makes one judge",
        )),
        (None, _) => Err(Failure::with_help(
            "cargo made no module",
            "the crate needs `crate-type = [\"cdylib\"]` below [lib]",
        )),
    }
}

/// What a program says on standard output, when it is there and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a compiler; what it says goes to standard error as it comes.
fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            Err(Failure::with_help(format!("`{name}` did not compile the judge"), "its errors stand above"))
        }
        Err(error) => {
            Err(Failure::with_help(format!("cannot run `{name}`: {error}"), "install it, and try again"))
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::other(format!("{}: {error}", path.display())))
}
