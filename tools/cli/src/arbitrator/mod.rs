//! `io_oi arbitrator`: judges, from the first line of source to a verdict.
//!
//! Invariant: writing, building, trying need no node; what a component answers here it answers on every node, since the
//! same host runs it in both.

mod admitted;
mod build;
mod cases;
mod compiler;
mod deploy;
mod history;
mod new;
mod replay;
mod set;
mod standing;
mod test;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::args::arbitrator::{Arbitrator as Verb, Show};
use crate::failure::Failure;
use crate::output::Output;
use admitted::Examined;

/// One of the verbs.
pub(crate) fn arbitrator(output: Output, socket: Option<&Path>, verb: &Verb) -> Result<(), Failure> {
    let node = || crate::find_socket(socket);
    match verb {
        Verb::List => standing::list(output, &node()?),
        Verb::Deploy(deploy) => deploy::deploy(output, &node()?, deploy),
        Verb::Activate(below) => deploy::activate(output, &node()?, below),
        Verb::Rollback(rollback) => deploy::rollback(output, &node()?, rollback),
        Verb::Set(set) => set::set(output, &node()?, set),
        Verb::Remove(below) => deploy::remove(output, &node()?, below),
        Verb::Show(show) if !show.file.exists() && is_hash(&show.file) => {
            standing::show(output, &node()?, &show.file.to_string_lossy())
        }
        Verb::New(new) => new::new(output, new),
        Verb::Build(build) => build::build(output, build),
        Verb::Test(test) => test::test(output, test),
        Verb::Show(show) => self::show(output, show),
    }
}

/// What a component is, and what each tier says of it; a refusal is the exit code.
fn show(output: Output, show: &Show) -> Result<(), Failure> {
    let bytes = read(&show.file)?;
    let examined = Examined::of(&bytes, show.component_bytes_max);
    examined.say(output, Map::from_iter([file(&show.file)]), None)
}

/// The beginning of a hash, or a whole one.
fn is_hash(text: &Path) -> bool {
    let text = text.to_string_lossy();
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The bytes of a component.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::with_help(
            format!("cannot read {}: {error}", path.display()),
            "name a component: `io_oi arbitrator build` writes one",
        )
    })
}

fn file(path: &Path) -> (String, Value) {
    ("file".to_owned(), path.display().to_string().into())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("json! of an object is an object"),
    }
}

/// As in JSON and tables.
fn world(world: io_oi_arbitrator::World) -> &'static str {
    match world {
        io_oi_arbitrator::World::Single => "arbitrator",
        io_oi_arbitrator::World::Planning => "planning-arbitrator",
        io_oi_arbitrator::World::Batch => "batch-arbitrator",
    }
}

/// What a judge says of itself, for programs.
fn manifest(manifest: &io_oi_arbitrator::Manifest) -> Value {
    use io_oi_arbitrator::sdk::ReadSet;
    let (major, minor, patch) = manifest.version;
    let reads = match manifest.reads {
        ReadSet::None => "none",
        ReadSet::CellOfProposer => "cell-of-proposer",
        ReadSet::CellOfKeyPrefix => "cell-of-key-prefix",
        ReadSet::Explicit => "explicit",
    };
    json!({
        "name": manifest.name,
        "version": format!("{major}.{minor}.{patch}"),
        "reads": reads,
        "state_bytes_max": manifest.state_bytes_max,
        "proposal_bytes_max": manifest.proposal_bytes_max,
        "effects_bytes_max": manifest.effects_bytes_max,
        "fuel": manifest.fuel,
    })
}
