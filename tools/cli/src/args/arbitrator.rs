//! What can be typed about judges: writing, building, trying, deploying, and looking at them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use io_oi_arbitrator::limits::{GENERAL_COMPONENT_BYTES_CEILING, GENERAL_COMPONENT_BYTES_MAX};

use super::cluster::Operator;
use crate::failure::Failure;

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
    /// Ask a component a table of questions, or every proposal of a stopped node's log: answers, fuel, time.
    #[command(after_help = TEST_HELP)]
    Test(Test),
    /// Say what a component is: hash, size, manifest, and what each tier says of it.
    #[command(
        after_help = "Examples:\n  io_oi arbitrator show tick-size.wasm --json\n  io_oi arbitrator show 7b21      (a component that the node holds, with what it said there)"
    )]
    Show(Show),
    /// Who judges what, and what they said on this node.
    #[command(after_help = "Example:\n  io_oi arbitrator list --json")]
    List,
    /// Bring a component into the log of a running cluster, and let it judge a prefix.
    #[command(after_help = DEPLOY_HELP)]
    Deploy(Deploy),
    /// Make the shadow of a prefix its judge.
    #[command(after_help = "Example:\n  io_oi arbitrator activate --prefix px/ --operator-key operator.key")]
    Activate(Below),
    /// Let the judge before this one judge again.
    #[command(after_help = "Example:\n  io_oi arbitrator rollback --prefix px/ --operator-key operator.key")]
    Rollback(Rollback),
    /// Leave a prefix without a judge.
    #[command(after_help = "Example:\n  io_oi arbitrator remove --prefix px/ --operator-key operator.key")]
    Remove(Below),
    /// Write a key as an operator: its judge is told so, and may let nobody else write it.
    #[command(after_help = SET_HELP)]
    Set(Set),
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// The key.
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// The value, at most about 4000 bytes; `-` reads it from standard input.
    #[arg(value_name = "VALUE", required_unless_present = "delete", conflicts_with = "delete")]
    pub(crate) value: Option<OsString>,
    /// Remove the key.
    #[arg(long)]
    pub(crate) delete: bool,
    #[command(flatten)]
    pub(crate) condition: super::Condition,
    #[command(flatten)]
    pub(crate) form: super::Form,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

/// A prefix, and who decides about it.
#[derive(Args, Debug)]
pub(crate) struct Below {
    /// Keys starting with this; an empty prefix means all.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: OsString,
    /// The prefix is given in hexadecimal.
    #[arg(long)]
    pub(crate) hex: bool,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

impl Below {
    /// The prefix.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        use std::os::unix::ffi::OsStrExt;
        if !self.hex {
            return Ok(self.prefix.as_bytes().to_vec());
        }
        let text = self.prefix.to_string_lossy();
        crate::bytes::from_hex(&text).map_err(|what| Failure::Usage { what: format!("--prefix: {what}") })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Deploy {
    /// The component.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only hear it beside the judge, and count where they differ.
    #[arg(long)]
    pub(crate) shadow: bool,
    /// The tier that it is to judge in; every node puts a component that can be sealed into the sealed one.
    #[arg(long, value_enum, default_value_t = Tier::Sealed)]
    pub(crate) tier: Tier,
    #[command(flatten)]
    pub(crate) below: Below,
}

#[derive(Args, Debug)]
pub(crate) struct Rollback {
    /// The hash, or the beginning of it, of the component that is to judge [default: the one before this one].
    #[arg(long, value_name = "HASH")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) below: Below,
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
    /// Answers other than the log's are an error.
    #[arg(long, requires = "replay")]
    pub(crate) same: bool,
    /// How often each question of the table is asked for the time it takes.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) admission: Admission,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// A component's file; where there is none, the beginning of the hash of a component that the node holds.
    #[arg(value_name = "FILE or HASH")]
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

const TEST_HELP: &str = "\
Examples:
  io_oi arbitrator test tick-size.wasm --vectors cases.toml --json
  io_oi arbitrator test tick-size.wasm --replay /var/lib/io_oi --prefix px/ --same
The log is read and not changed. Every proposal below the prefix is judged over the state that the log itself had then.";

const DEPLOY_HELP: &str = "\
Examples:
  io_oi arbitrator deploy tick-size.wasm --prefix px/ --operator-key operator.key
  io_oi arbitrator deploy tick-size.wasm --prefix px/ --shadow && io_oi arbitrator activate --prefix px/
Every node asks it from the same record on. Only sealed components that judge proposals one by one can be deployed.";

const SET_HELP: &str = "\
Examples:
  io_oi arbitrator set ord/acct7/ - --operator-key operator.key < limits
  io_oi arbitrator set ord/acct7/ --delete --if-sequence 4711 --operator-key operator.key
It is signed and numbered like every decision, and stands in the log: nobody without the key can make one or repeat one.";
