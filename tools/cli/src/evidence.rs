//! `io_oi evidence`: proofs that a key has lied, listed, exported, and checked by anybody.
//!
//! Invariant: `verify` believes nobody but the genesis: not the node that exported, not the reporter named inside.

use std::fs;
use std::path::Path;
use std::time::Duration;

use io_oi_client::Inquiry;
use io_oi_record::evidence::{Evidence, Proof, SignedEvidence};
use io_oi_record::{Noun, peek_noun};
use serde_json::{Value, json};

use crate::args::cluster::{EvidenceExport, EvidenceVerify};
use crate::failure::Failure;
use crate::genesis;
use crate::keys;
use crate::output::{Output, table};
use crate::view::{View, short};

/// What the node holds.
pub(crate) fn list(output: Output, socket: &Path) -> Result<(), Failure> {
    let view = View::at(socket);
    if output.is_json() {
        return output.result(view.object(&Inquiry::Evidence)?, String::new);
    }
    let (list, peers) = (view.evidence()?.evidence, view.peers()?);
    if list.is_empty() {
        return output.tell("No evidence: nobody was caught lying.");
    }
    let mut rows =
        vec![["hash", "accused", "kind", "shard", "reporter", "barred for good"].map(str::to_owned).to_vec()];
    rows.extend(list.iter().map(|row| {
        vec![
            short(&row.hash),
            peers.name_of(&row.accused),
            row.kind.clone(),
            row.shard.to_string(),
            peers.name_of(&row.reporter),
            if row.is_final { "yes" } else { "no, only here" }.to_owned(),
        ]
    }));
    output.tell(&table(&rows))
}

/// One piece of evidence into a file.
pub(crate) fn export(output: Output, socket: &Path, arguments: &EvidenceExport) -> Result<(), Failure> {
    let view = View::at(socket);
    let hash = find(&view, &arguments.hash)?;
    let inquiry = Inquiry::EvidenceExport(hash.parse().map_err(Failure::other)?);
    let bytes = view.ask(&inquiry, PATIENCE)?;
    let out = arguments.out.clone().unwrap_or_else(|| format!("{}.evidence", short(&hash)).into());
    keys::replace(&out, &bytes)?;
    // Whatever the node said: what was written is read and checked as a stranger would.
    let accused = read(&out)?.check().map_err(|error| Failure::NotProven {
        what: format!("{}: {error}", out.display()),
        help: "suspect the node that was asked".to_owned(),
    })?;
    let fields = json!({"hash": hash, "accused": accused.to_string(), "file": out.display().to_string(),
        "file_bytes": bytes.len()});
    let Value::Object(fields) = fields else { unreachable!("json! of an object is an object") };
    output.result(fields, || {
        let file = out.display();
        format!(
            "{file} convicts {accused}.\nAnybody may check it: io_oi evidence verify {file} --genesis GENESIS"
        )
    })
}

fn find(view: &View, beginning: &str) -> Result<String, Failure> {
    let list = view.evidence()?.evidence;
    let mut found = list.iter().filter(|row| row.hash.starts_with(beginning));
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row.hash.clone()),
        (Some(_), Some(_)) => {
            Err(Failure::Usage { what: format!("several hashes begin with `{beginning}`: give more of it") })
        }
        (None, _) => Err(Failure::NotFound {
            what: format!("evidence `{beginning}`"),
            help: "`io_oi evidence list` shows what this node holds",
        }),
    }
}

/// Checks a file with the genesis alone.
pub(crate) fn verify(output: Output, arguments: &EvidenceVerify) -> Result<(), Failure> {
    let genesis = genesis::read_complete(&arguments.genesis)?.genesis;
    let evidence = read(&arguments.file)?;
    let not_proven = |what: String| Failure::NotProven {
        what: format!("{}: {what}", arguments.file.display()),
        help: "it convicts nobody: suspect who handed it over".to_owned(),
    };
    if evidence.cluster != genesis.cluster() {
        return Err(not_proven(format!(
            "it is about cluster {}, the genesis founds {}",
            evidence.cluster,
            genesis.cluster()
        )));
    }
    if evidence.shard.get() >= genesis.shards {
        return Err(not_proven(format!("the cluster has no shard {}", evidence.shard)));
    }
    let accused = evidence.check().map_err(|error| not_proven(error.to_string()))?;
    let name = genesis.member(&accused).map(|member| member.name.clone());
    let convicts = !evidence.needs_judging();
    let fields = json!({
        "hash": evidence.hash().to_string(),
        "cluster": evidence.cluster.to_string(),
        "shard": evidence.shard.get(),
        "kind": kind(&evidence.proof),
        "accused": accused.to_string(),
        "name": name,
        "reporter": evidence.reporter.to_string(),
        "signatures": "right",
        "convicts": convicts,
    });
    let Value::Object(fields) = fields else { unreachable!("json! of an object is an object") };
    output.result(fields, || verdict(&evidence, &accused.to_string(), name.as_deref()))
}

fn verdict(evidence: &Evidence, accused: &str, name: Option<&str>) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let who = match name {
        Some(name) => format!("{accused} ({}, a founder)", crate::bytes::escaped(name.as_bytes())),
        None => format!("{accused} (no founder: see `io_oi peer list` for who that is)"),
    };
    let rows = table(&[
        row("accused", who),
        row("shard", evidence.shard.to_string()),
        row("of", explain(&evidence.proof)),
        row("hash", evidence.hash().to_string()),
    ]);
    let end = match evidence.needs_judging() {
        true => {
            "Signed by the accused: the verdict stands under its signature. Whether the verdict is wrong takes judging the record again, with the arbitrators of the genesis."
        }
        false => "Convicted: both statements are signed by the accused, and no honest node signs both.",
    };
    format!("{rows}\n\n{end}")
}

/// Reads an evidence file.
pub(crate) fn read(path: &Path) -> Result<Evidence, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::with_help(
            format!("cannot read {}: {error}", path.display()),
            "name the file that `io_oi evidence export` wrote",
        )
    })?;
    let evidence = match peek_noun(&bytes) {
        Some(Noun::SignedEvidence) => SignedEvidence::decode(&bytes).map(|signed| signed.evidence),
        _ => Evidence::decode(&bytes),
    };
    evidence.map_err(|error| Failure::NotProven {
        what: format!("{} is no evidence: {error}", path.display()),
        help: "export it again, and copy the file whole".to_owned(),
    })
}

/// As in JSON.
pub(crate) fn kind(proof: &Proof) -> &'static str {
    match proof {
        Proof::TwoHeaders(..) => "two-headers",
        Proof::TwoVotes(..) => "two-votes",
        Proof::TwoGrants(..) => "two-grants",
        Proof::WrongVerdict { .. } => "wrong-verdict",
    }
}

fn explain(proof: &Proof) -> String {
    match proof {
        Proof::TwoHeaders(one, other) => format!(
            "two different blocks signed in epoch {} (sequences {} to {}, and {} to {})",
            one.statement.epoch,
            one.statement.first_sequence,
            one.statement.last_sequence(),
            other.statement.first_sequence,
            other.statement.last_sequence()
        ),
        Proof::TwoVotes(one, _) => {
            format!(
                "two different blocks voted for at sequence {} of epoch {}",
                one.statement.sequence, one.statement.epoch
            )
        }
        Proof::TwoGrants(one, other) => format!(
            "epoch {} promised to {} and to {}",
            one.statement.epoch, one.statement.candidate, other.statement.candidate
        ),
        Proof::WrongVerdict { header, .. } => {
            format!("a verdict signed in epoch {} that judging again contradicts", header.statement.epoch)
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
