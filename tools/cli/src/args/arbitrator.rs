//! What can be typed about judges: writing, building, trying, and looking at them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use io_oi_arbitrator::limits::{GENERAL_COMPONENT_BYTES_CEILING, GENERAL_COMPONENT_BYTES_MAX};

#[derive(Subcommand, Debug)]
pub(crate) enum Arbitrator {
    /// Make a directory with a judge to begin from: source, cases, and all that it is built with.
    #[command(
        after_help = "Example:\n  io_oi arbitrator new tick-size --lang rust && io_oi arbitrator build tick-size"
    )]
    New(New),
    /// Compile a judge, make a component of it, and say whether it is admitted.
    #[command(after_help = BUILD_HELP)]
    Build(Build),
    /// Ask a component a table of questions, offline, and compare answers and fuel.
    #[command(after_help = "Example:\n  io_oi arbitrator test tick-size.wasm --vectors cases.toml --json")]
    Test(Test),
    /// Say what a component is: hash, size, manifest, and what each tier says of it.
    #[command(after_help = "Example:\n  io_oi arbitrator show tick-size.wasm --json")]
    Show(Show),
}

#[derive(Args, Debug)]
pub(crate) struct New {
    /// The judge's name: letters, digits, `-`, `_` and `.`, at most 64.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// The directory to make [default: NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// What a judge is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// With the kit and its macro.
    Rust,
    /// With one header.
    C,
}

#[derive(Args, Debug)]
pub(crate) struct Build {
    /// The directory of the judge: with a Cargo.toml, or with C files.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The component to write [default: DIR/NAME.wasm, by the name in its manifest].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The tier that it is for: a component that this one refuses is an error.
    #[arg(long, value_enum, default_value_t = Tier::Sealed)]
    pub(crate) tier: Tier,
}

/// Where a component is to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// One instance, put back after every decision: well below a microsecond.
    Sealed,
    /// A fresh instance for every decision: for what cannot be sealed.
    General,
}

/// How a component is admitted.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Admission {
    /// The tier to admit it to.
    #[arg(long, value_enum, default_value_t = Tier::Sealed)]
    pub(crate) tier: Tier,
    /// The longest component that the general tier looks at.
    #[arg(long, value_name = "BYTES", default_value_t = GENERAL_COMPONENT_BYTES_MAX as u64,
        value_parser = clap::value_parser!(u64).range(1..=GENERAL_COMPONENT_BYTES_CEILING as u64))]
    pub(crate) component_bytes_max: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Test {
    /// The component.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The table of cases, TOML; `io_oi arbitrator new` writes one to begin from.
    #[arg(long, value_name = "TABLE", required_unless_present = "replay")]
    pub(crate) vectors: Option<PathBuf>,
    /// The data directory of a stopped node: every proposal of its log below --prefix is judged again.
    #[arg(long, value_name = "DIR")]
    pub(crate) replay: Option<PathBuf>,
    /// Keys starting with this are the component's to judge.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "replay")]
    pub(crate) prefix: OsString,
    /// The shard whose log is read.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "replay")]
    pub(crate) shard: u16,
    /// How often each question is asked for the time it takes.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) admission: Admission,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The component.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The longest component that the general tier looks at.
    #[arg(long, value_name = "BYTES", default_value_t = GENERAL_COMPONENT_BYTES_MAX as u64,
        value_parser = clap::value_parser!(u64).range(1..=GENERAL_COMPONENT_BYTES_CEILING as u64))]
    pub(crate) component_bytes_max: u64,
}

const BUILD_HELP: &str = "\
Examples:
  io_oi arbitrator build tick-size
  IO_OI_CC='clang' io_oi arbitrator build spread --out spread.wasm
Compilers:
  Rust  the toolchain at hand with the target wasm32-unknown-unknown, or Debian's rustc-web with rust-web-src
  C     IO_OI_CC, else `python3 -m ziglang cc`, `zig cc`, or clang with wasm-ld";
