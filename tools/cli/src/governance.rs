//! Decisions of an operator: numbered, signed, kept, submitted to every shard, answered by a receipt from each.
//!
//! A decision is written beside the operator's key before it is submitted (`KEY.decisions/NUMBER`). So a decision whose
//! outcome is open is never signed a second time under the same number, and a shard that missed one gets the same bytes.
//!
//! Invariant: one key signs at most one decision per number and cluster from one directory; shard 0 decides first, and
//! a decision that it refuses goes to no other shard.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use io_oi_client::{Inquiry, Submission};
use io_oi_record::governance::{Change, Governance, SignedGovernance};
use io_oi_record::{ClusterId, Nanos, Outcome, Receipt, RefusalCode, ShardId, Shipment, Signer};
use serde_json::{Map, Value, json};

use crate::args::cluster::Operator;
use crate::failure::Failure;
use crate::keys;
use crate::output::{Output, table};
use crate::view::{Status, View};

/// A decision that every shard has taken.
pub(crate) struct Decided {
    pub(crate) number: u64,
    pub(crate) receipts: Vec<(u16, Receipt)>,
    pub(crate) took: Duration,
}

/// Signs a change under the next number and brings it into every shard.
pub(crate) fn decide(view: &View, operator: &Operator, change: &Change) -> Result<Decided, Failure> {
    decide_with(view, operator, change, &[])
}

/// As [`decide`], with the bytes that the change names.
pub(crate) fn decide_with(
    view: &View,
    operator: &Operator,
    change: &Change,
    payload: &[u8],
) -> Result<Decided, Failure> {
    let key = operator_key(view, operator)?;
    let signer = keys::load(&key)?;
    let archive = Archive::beside(&key);
    let began = Instant::now();
    for _ in 0..RACES_MAX {
        let status = view.status()?;
        archive.level(view, &status, operator.timeout)?;
        let number = newest(&status) + 1;
        let kept = archive.sign(&signer, &status, number, change, payload)?;
        match submit(view, &status, &kept, operator.timeout) {
            Ok(receipts) => return Ok(Decided { number, receipts, took: began.elapsed() }),
            // Another operator was faster: what this one signed can never happen any more.
            Err(Failure::Refused { name, .. }) if name == RefusalCode::GovernanceNumber.name() => {}
            Err(failure) => {
                if matches!(failure, Failure::Refused { .. }) && is_untouched(view, number) {
                    archive.forget(&status, number)?; // Refused for good: the number is free for another change.
                }
                return Err(failure);
            }
        }
    }
    Err(Failure::with_help(
        "other operators decide all the time; the number was taken again and again",
        "agree with them, then run the same command again",
    ))
}

/// Brings every shard what it missed, so that all of them say the same.
pub(crate) fn level(view: &View, operator: &Operator) -> Result<(), Failure> {
    let archive = Archive::beside(&operator_key(view, operator)?);
    archive.level(view, &view.status()?, operator.timeout)
}

/// Prints what became of it.
pub(crate) fn say(
    output: Output,
    what: &str,
    decided: &Decided,
    more: Map<String, Value>,
) -> Result<(), Failure> {
    let receipts: Vec<Value> = decided
        .receipts
        .iter()
        .map(|(shard, receipt)| {
            json!({"shard": shard, "sequence": receipt.sequence.get(), "epoch": receipt.epoch.get(),
                "durability": receipt.durability.to_string()})
        })
        .collect();
    let fields = json!({"decision": what, "number": decided.number, "receipts": receipts,
        "took_ns": decided.took.as_nanos() as u64});
    let Value::Object(mut fields) = fields else { unreachable!("json! of an object is an object") };
    fields.extend(more);
    output.result(fields, || {
        let mut rows = vec![["shard", "sequence", "epoch", "durability"].map(str::to_owned).to_vec()];
        rows.extend(decided.receipts.iter().map(|(shard, receipt)| {
            let Receipt { sequence, epoch, durability, .. } = receipt;
            vec![shard.to_string(), sequence.to_string(), epoch.to_string(), durability.to_string()]
        }));
        format!("Decision {}: {what}.\n\n{}", decided.number, table(&rows))
    })
}

/// The key of the operator: named, from the environment, or of the `io_oi dev` that this socket belongs to.
fn operator_key(view: &View, operator: &Operator) -> Result<PathBuf, Failure> {
    if let Some(path) = &operator.operator_key {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("IO_OI_OPERATOR_KEY").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home = view.socket.parent().unwrap_or(Path::new("."));
    let of_dev = home.parent().map(|dir| dir.join("operator.key")).filter(|path| path.exists());
    of_dev.ok_or_else(|| Failure::Usage {
        what: "a decision needs an operator's key: --operator-key FILE or IO_OI_OPERATOR_KEY".to_owned(),
    })
}

/// Whether no shard has a decision of this number.
fn is_untouched(view: &View, number: u64) -> bool {
    view.status().is_ok_and(|status| newest(&status) < number)
}

/// The highest number that any shard has.
fn newest(status: &Status) -> u64 {
    status.shards.iter().map(|shard| shard.governance).max().unwrap_or(0)
}

/// Brings one decision into every shard that lacks it; shard 0 first.
fn submit(
    view: &View,
    status: &Status,
    kept: &Kept,
    patience: Duration,
) -> Result<Vec<(u16, Receipt)>, Failure> {
    let (mut receipts, mut verdict) = (Vec::new(), None);
    for shard in status.shards.iter().filter(|shard| shard.governance < kept.signed.governance.number) {
        let submission = Submission { shard: ShardId(shard.shard), signed: kept.bytes.clone() };
        let receipt = ask(view, submission, patience)?;
        match receipt.outcome {
            Outcome::Accepted => receipts.push((shard.shard, receipt)),
            Outcome::Refused(code) if is_used_up(&receipt) => verdict = Some(refused(shard.shard, code)),
            Outcome::Refused(code) => return Err(refused(shard.shard, code)),
        }
    }
    verdict.map_or(Ok(receipts), Err)
}

/// Submits until it is decided: what no quorum could decide yet may be submitted again, its number makes it the same.
fn ask(view: &View, submission: Submission, patience: Duration) -> Result<Receipt, Failure> {
    let end = Instant::now() + patience;
    let inquiry = Inquiry::Govern(submission);
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
        let failure = match view.ask(&inquiry, left) {
            Ok(bytes) => {
                let receipt = Receipt::decode(&bytes).map_err(Failure::other)?;
                let is_pending = matches!(receipt.outcome, Outcome::Refused(code) if may_pass(code));
                if !is_pending || Instant::now() >= end {
                    return Ok(receipt);
                }
                None
            }
            Err(failure @ Failure::OutcomeOpen { .. }) => Some(failure),
            Err(failure) => return Err(failure),
        };
        if let Some(failure) = failure.filter(|_| Instant::now() >= end) {
            return Err(failure);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the decision stands although it is refused: a judge's word about an operator's write has its place in the log.
fn is_used_up(receipt: &Receipt) -> bool {
    !receipt.sequence.is_none()
}

/// Refusals that say "not now" and left no trace.
fn may_pass(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::GovernancePending
            | RefusalCode::LeaderUnknown
            | RefusalCode::NotLeader
            | RefusalCode::ArbitratorNotAdmitted
    )
}

fn refused(shard: u16, code: RefusalCode) -> Failure {
    Failure::Refused {
        name: code.name().to_string(),
        text: format!("shard {shard}: {}", code.text()),
        help: None,
    }
}

/// A decision as it was signed, and as it travels: with the bytes that it names.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    signed: SignedGovernance,
    bytes: Vec<u8>,
}

/// Decisions as they were signed, beside the key that signed them.
struct Archive {
    dir: PathBuf,
}

impl Archive {
    fn beside(key: &Path) -> Self {
        let mut name = key.file_name().unwrap_or_default().to_owned();
        name.push(".decisions");
        Self { dir: key.with_file_name(name) }
    }

    /// Signs a change under a number, or finds the same change signed under it before.
    fn sign(
        &self,
        signer: &Signer,
        status: &Status,
        number: u64,
        change: &Change,
        payload: &[u8],
    ) -> Result<Kept, Failure> {
        let cluster: ClusterId = status.cluster.parse().map_err(Failure::other)?;
        let path = self.path(&status.cluster, number);
        if let Some(earlier) = read(&path)? {
            let decided = &earlier.signed.governance;
            if decided.change == *change && decided.operator == signer.operator() {
                return Ok(earlier);
            }
            return Err(Failure::with_help(
                format!(
                    "decision {number} was signed before ({}) and its outcome is open",
                    describe(&earlier.signed.governance.change)
                ),
                format!("repeat that command, or remove {} if it must never happen", path.display()),
            ));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let operator = signer.operator();
        let governance = Governance { cluster, number, time: Nanos(now), change: change.clone(), operator };
        let shipment = Shipment { signed: SignedGovernance::sign(governance, signer), payload };
        let bytes = shipment.encode().map_err(|error| Failure::Usage { what: error.to_string() })?;
        fs::create_dir_all(path.parent().unwrap_or(&self.dir)).map_err(|error| {
            Failure::with_help(
                format!("cannot keep the decision in {}: {error}", self.dir.display()),
                "a decision is kept beside its key before it is submitted: make that directory writable",
            )
        })?;
        keys::replace(&path, &bytes)?;
        Ok(Kept { signed: shipment.signed, bytes })
    }

    fn forget(&self, status: &Status, number: u64) -> Result<(), Failure> {
        let path = self.path(&status.cluster, number);
        fs::remove_file(&path)
            .map_err(|error| Failure::other(format!("cannot remove {}: {error}", path.display())))
    }

    /// Shards that missed a decision get it now, byte for byte.
    fn level(&self, view: &View, status: &Status, patience: Duration) -> Result<(), Failure> {
        let newest = newest(status);
        for shard in &status.shards {
            for number in shard.governance + 1..=newest {
                let Some(kept) = read(&self.path(&status.cluster, number))? else {
                    return Err(Failure::with_help(
                        format!(
                            "shard {} lacks decision {number}, which another operator signed",
                            shard.shard
                        ),
                        "let that operator run any decision: it brings the missing one first",
                    ));
                };
                let submission = Submission { shard: ShardId(shard.shard), signed: kept.bytes };
                let receipt = ask(view, submission, patience)?;
                if let Outcome::Refused(code) = receipt.outcome
                    && !is_used_up(&receipt)
                {
                    return Err(refused(shard.shard, code));
                }
            }
        }
        Ok(())
    }

    fn path(&self, cluster: &str, number: u64) -> PathBuf {
        self.dir.join(crate::view::short(cluster)).join(format!("{number:08}"))
    }
}

fn read(path: &Path) -> Result<Option<Kept>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::other(format!("cannot read {}: {error}", path.display()))),
    };
    match Shipment::decode(&bytes).map(|shipment| shipment.signed) {
        Ok(signed) => Ok(Some(Kept { signed, bytes })),
        Err(error) => Err(Failure::other(format!("{} is damaged: {error}", path.display()))),
    }
}

/// A change in a few words.
pub(crate) fn describe(change: &Change) -> String {
    match change {
        Change::AddLearner(member) => {
            format!("add {} at {}", crate::bytes::escaped(member.name.as_bytes()), member.address)
        }
        Change::Promote(node) => format!("promote {}", crate::view::short(&node.to_string())),
        Change::Remove(node) => format!("remove {}", crate::view::short(&node.to_string())),
        Change::Appoint(appointment) => {
            let node = crate::view::short(&appointment.node.to_string());
            format!("appoint {node} for shard {}", appointment.shard)
        }
        Change::Bar(barring) => format!("bar {}", crate::view::short(&barring.node.to_string())),
        Change::SetArbitrator(choice) => {
            let prefix = crate::bytes::escaped(&choice.prefix);
            let role = if choice.is_shadow { "shadow" } else { "judge" };
            match choice.arbitrator.is_zero() {
                true => format!("no {role} below `{prefix}`"),
                false => {
                    format!(
                        "{} as {role} below `{prefix}`",
                        crate::view::short(&choice.arbitrator.to_string())
                    )
                }
            }
        }
        Change::StorePart(part) => {
            format!("store a part of component {}", crate::view::short(&part.component.to_string()))
        }
        Change::DropComponent(component) => {
            format!("drop component {}", crate::view::short(&component.to_string()))
        }
        Change::Write(_) => "write a key".to_owned(),
        Change::SetLimit(_) => "set a limit".to_owned(),
    }
}

const RACES_MAX: u32 = 5;
const PATIENCE_MIN: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use io_oi_record::NodeId;

    fn status() -> Status {
        let shards = r#"[{"shard":0,"epoch":1,"leader":null,"tip":1,"committed":1,"certified":1,"mute":null,"governance":4}]"#;
        let cluster = "ab".repeat(32);
        let json = format!(r#"{{"node":"n","cluster":"{cluster}","shards":{shards}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn one_number_is_signed_for_one_change_only() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::beside(&dir.path().join("a.key"));
        let signer = Signer::from_secret(&[7; 32]);
        let (one, other) = (Change::Promote(NodeId([1; 32])), Change::Promote(NodeId([2; 32])));
        let first = archive.sign(&signer, &status(), 5, &one, &[]).unwrap();
        assert_eq!(
            archive.sign(&signer, &status(), 5, &one, &[]).unwrap(),
            first,
            "the same bytes, not signed anew"
        );
        let refused = archive.sign(&signer, &status(), 5, &other, &[]).unwrap_err();
        assert!(refused.to_string().contains("its outcome is open"), "{refused}");
        archive.sign(&signer, &status(), 6, &other, &[]).unwrap();
    }

    #[test]
    fn the_next_number_is_above_every_shard() {
        assert_eq!(newest(&status()), 4);
    }
}
