//! `io_oi prove` and `io_oi verify`: a committed value as a file that convinces whoever has the genesis.
//!
//! Invariant: `verify` talks to nobody; a file of which one bit was changed proves nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_client::{AttachRefusal, Inquiry};
use io_oi_record::proof::{Proven, RecordProof};
use io_oi_record::{Genesis, Operation, Record, Verdict};
use serde_json::{Map, Value, json};

use crate::args::Form;
use crate::args::cluster::{Prove, Verify};
use crate::data::{form_bytes, insert_bytes, key_object, shown};
use crate::failure::Failure;
use crate::genesis;
use crate::keys;
use crate::output::{Output, table};
use crate::view::{View, short};

/// Asks the node for the proof and writes it.
pub(crate) fn prove(output: Output, socket: &Path, arguments: &Prove) -> Result<(), Failure> {
    let key = form_bytes(&arguments.key, &arguments.form)?;
    let bytes = fetch(&View::at(socket), &key, &arguments.form)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::with_help(
            format!("the node's proof is not understood: {error}"),
            "use an `io_oi` of the same release as the node",
        )
    };
    let proof = RecordProof::decode(&bytes).map_err(|error| unreadable(&error))?;
    let record = proof.record().map_err(|error| unreadable(&error))?;
    let proven = proof.verify(&proof.genesis.genesis).map_err(|error| unreadable(&error))?;
    keys::replace(&arguments.out, &bytes)?;
    let mut fields = object(&record, &proven, &proof.genesis.genesis, &arguments.form);
    fields.insert("file".to_owned(), arguments.out.display().to_string().into());
    fields.insert("file_bytes".to_owned(), bytes.len().into());
    output.result(fields, || {
        let rows = text(&record, &proven, &proof.genesis.genesis, &arguments.form);
        let file = arguments.out.display();
        format!("{rows}\n\n{file} proves it: io_oi verify {file} --genesis GENESIS")
    })
}

/// Checks a file with the genesis alone.
pub(crate) fn verify(output: Output, arguments: &Verify) -> Result<(), Failure> {
    let genesis = genesis::read_complete(&arguments.genesis)?.genesis;
    let not_proven = |error: &dyn std::fmt::Display| Failure::NotProven {
        what: format!("{}: {error}", arguments.file.display()),
        help: "believe nothing in it: ask for the proof again, from another node if need be".to_owned(),
    };
    let bytes = fs::read(&arguments.file).map_err(|error| {
        Failure::with_help(
            format!("cannot read {}: {error}", arguments.file.display()),
            "name the file that `io_oi prove` wrote",
        )
    })?;
    let proof = RecordProof::decode(&bytes).map_err(|error| not_proven(&error))?;
    let proven = proof.verify(&genesis).map_err(|error| not_proven(&error))?;
    let record = proof.record().map_err(|error| not_proven(&error))?;
    let fields = object(&record, &proven, &genesis, &arguments.form);
    output.result(fields, || format!("{}\n\nProven.", text(&record, &proven, &genesis, &arguments.form)))
}

/// A record that was committed a moment ago is under its certificate a moment later.
fn fetch(view: &View, key: &[u8], form: &Form) -> Result<Vec<u8>, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match view.ask(&Inquiry::Prove(key.to_vec()), PATIENCE) {
            Err(Failure::Refused { name, .. }) if name == AttachRefusal::NotFound.name() => {
                return Err(Failure::no_key(&shown(key, form)));
            }
            Err(Failure::Refused { name, .. })
                if name == AttachRefusal::NotProvable.name() && Instant::now() < end =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

fn object(record: &Record<'_>, proven: &Proven, genesis: &Genesis, form: &Form) -> Map<String, Value> {
    let mut fields = key_object(record.key, form);
    if record.operation == Operation::Put {
        insert_bytes(&mut fields, "value", record.value, form);
    }
    let voters: Vec<Value> = proven
        .voters
        .iter()
        .map(|voter| json!({"node": voter.to_string(), "name": genesis.member(voter).map(|member| &member.name)}))
        .collect();
    let more = json!({
        "proven": true,
        "operation": record.operation.name(),
        "accepted": is_accepted(record),
        "session": record.session.to_string(),
        "cluster": proven.cluster.to_string(),
        "shard": proven.shard.get(),
        "sequence": proven.sequence.get(),
        "epoch": proven.epoch.get(),
        "time_ns": proven.time.get(),
        "leader": proven.leader.to_string(),
        "voters": voters,
        "governance": proven.governance_number,
    });
    let Value::Object(more) = more else { unreachable!("json! of an object is an object") };
    fields.extend(more);
    fields
}

fn text(record: &Record<'_>, proven: &Proven, genesis: &Genesis, form: &Form) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let name = |node: &io_oi_record::NodeId| match genesis.member(node) {
        Some(member) => crate::bytes::escaped(member.name.as_bytes()),
        None => short(&node.to_string()),
    };
    let voters: Vec<String> = proven.voters.iter().map(name).collect();
    let said = match (record.operation, is_accepted(record)) {
        (_, false) => "refused by the arbitrator: it had no effect".to_owned(),
        (Operation::Put, true) => shown(record.value, form),
        (operation, true) => format!("({operation})"),
    };
    table(&[
        row("key", shown(record.key, form)),
        row("value", said),
        row("place", format!("shard {}, sequence {}, epoch {}", proven.shard, proven.sequence, proven.epoch)),
        row("time", format!("{} ns since 1970", proven.time)),
        row("leader", name(&proven.leader)),
        row("voters", voters.join(" ")),
        row("members as of", format!("decision {}", proven.governance_number)),
        row("cluster", proven.cluster.to_string()),
    ])
}

fn is_accepted(record: &Record<'_>) -> bool {
    record.verdict == Verdict::Accept
}

const PATIENCE: Duration = Duration::from_secs(5);
