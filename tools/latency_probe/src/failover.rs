//! Target `failover`: for how long nobody can commit, when the leader dies and when it hands over.
//!
//! A strategy on a box that does not lead writes one record after the other. **Crash**: from `kill -9` of the leader to
//! the first acknowledgement of a record that was submitted after it. **Hand-over**: the longest time between two
//! acknowledgements from the operator's submission to the first one of the new epoch; that whole time is shown beside it.
//!
//! A second strategy lives on the leader's box. When its node is killed it goes on at another one, as
//! `io_oi_client::elsewhere` says: what has no receipt is submitted again under the condition that it is not there.
//!
//! Invariant: every record has a key of its own and is written under the condition that the key is absent, so a record
//! that was done twice would be refused, and one that was lost is missing. At the end every node is asked for all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use io_oi_client::{Client, Expected, PutError, Ticket};
use io_oi_record::{Durability, Outcome, Receipt, RefusalCode, ShardId};

use crate::answers;
use crate::cli::{Failover, NodeOptions};
use crate::clock;
use crate::cluster::{Decision, Status};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::floors::flush::PlainFiles;
use crate::floors::wire::Wire;
use crate::nodes::Nodes;
use crate::probe_keys::{fill_value, version_of};
use crate::recorder::Recorder;
use crate::report::{Load, Measured};

/// Kills and hands over, so many times each.
pub(crate) fn measure(
    options: &Failover,
    node_options: &NodeOptions,
    quiet: bool,
) -> Result<Findings, Failure> {
    let spawn = node_options.spawn.or(Some(3));
    if !node_options.attach.is_empty() || spawn < Some(3) {
        return Err(Failure::Usage(
            "failover kills leaders of a cluster of its own: use --spawn 3 or more".into(),
        ));
    }
    let mut nodes = Nodes::open(&NodeOptions { spawn, ..node_options.clone() }, &[])?;
    let shards = nodes.client("latency-probe failover")?.shards();
    let mut ledger = Ledger::new(options.payload as usize);
    let mut floors = Floors::new(&nodes, options.payload as usize)?;
    let mut runs = Vec::new();
    if options.hand_overs > 0 {
        let measured = hand_overs(options, &nodes, &mut ledger, &mut floors, quiet)?;
        runs.push(floors.beside(measured));
    }
    if options.crashes > 0 {
        let measured = crashes(options, &mut nodes, &mut ledger, &mut floors, quiet)?;
        runs.push(floors.beside(measured));
    }
    drop(floors);
    nodes.wait_until_all_are_ready()?;
    nodes.wait_until_level(LEVEL_MAX);
    let (hash, wrong) = ledger.check(&nodes)?;
    for measured in &mut runs {
        measured.run.errors += wrong;
        measured.run.answers_hash = answers::text(hash);
        measured.run.parameters.insert("records_acknowledged", ledger.acknowledged.len().into());
        measured.run.parameters.insert("records_lost_or_doubled", wrong.into());
    }
    let findings = Findings {
        nodes: nodes.count(),
        shards,
        idle: nodes.idle(),
        payload_bytes: options.payload as usize,
        durability: Durability::DiskQuorum.to_string(),
        load: Load::Closed,
        runs,
        replay: None,
    };
    nodes.close()?;
    Ok(findings)
}

fn crashes(
    options: &Failover,
    nodes: &mut Nodes,
    ledger: &mut Ledger,
    floors: &mut Floors,
    quiet: bool,
) -> Result<Measured, Failure> {
    let (mut recorder, mut again) = (Recorder::of_ns(), 0);
    for round in 0..options.crashes {
        floors.measure()?;
        let leader = nodes.wait_for_leader(ShardId(0))?;
        let other = (leader + 1 + round as usize % (nodes.count() - 1)) % nodes.count();
        let mut client = nodes.client_of(other, "latency-probe failover")?;
        let mut on_the_box = nodes.client_of(leader, "latency-probe strategy")?;
        for _ in 0..RECORDS_BEFORE {
            ledger.write(&mut client)?;
        }
        let mut submitted = Vec::new();
        for _ in 0..RECORDS_IN_FLIGHT {
            submitted.push(ledger.submit(&mut on_the_box)?);
        }
        let killed = Instant::now();
        nodes.kill(leader)?;
        let receipt = ledger.write(&mut client)?;
        let back = Instant::now();
        recorder.record_ns(back, clock::ns_between(killed, back));
        nodes.restart(leader)?;
        again += ledger.go_on_elsewhere(on_the_box, &submitted, nodes, other)?;
        for _ in 0..RECORDS_BEFORE {
            ledger.write(&mut client)?;
        }
        tell(quiet, "crash", round, killed, back, &receipt);
        nodes.wait_until_ready(leader)?;
        nodes.wait_until_level(LEVEL_MAX);
    }
    Ok(Measured::new("crash", 1, recorder.finish())
        .with("kind", "crash")
        .with("submitted_again_elsewhere", again))
}

fn hand_overs(
    options: &Failover,
    nodes: &Nodes,
    ledger: &mut Ledger,
    floors: &mut Floors,
    quiet: bool,
) -> Result<Measured, Failure> {
    let (mut recorder, mut whole, mut failed) = (Recorder::of_ns(), Vec::new(), 0);
    for round in 0..options.hand_overs {
        floors.measure()?;
        nodes.wait_until_level(LEVEL_MAX);
        let leader = nodes.wait_for_leader(ShardId(0))?;
        let target = (leader + 1 + round as usize % (nodes.count() - 1)) % nodes.count();
        let statuses = nodes.statuses();
        let (Some(Some(at_leader)), Some(Some(at_target))) = (statuses.get(leader), statuses.get(target))
        else {
            return Err(Failure::NodeGone("a node does not say how it is".into()));
        };
        let operator = nodes.operator().ok_or_else(|| Failure::Usage("no operator's key".into()))?;
        let decision = Decision::appoint(operator, at_leader, &at_target.node, ShardId(0))?;
        let socket = nodes.sockets()[leader].clone();
        // A strategy that stays: neither on the old leader's box nor, where there is a third, on the new one's.
        let place = (0..nodes.count()).find(|place| *place != leader && *place != target).unwrap_or(target);
        let mut client = nodes.client_of(place, "latency-probe failover")?;
        for _ in 0..RECORDS_BEFORE {
            ledger.write(&mut client)?;
        }
        match hand_over(&decision, &socket, at_leader, &mut client, ledger)? {
            None => failed += 1,
            Some(Gap { asked, from, to, first, receipt }) => {
                recorder.record_ns(first, clock::ns_between(from, to));
                whole.push(clock::ns_between(asked, first) as f64);
                tell(quiet, "hand-over", round, from, to, &receipt);
            }
        }
    }
    Ok(Measured::new("hand-over", 1, recorder.finish())
        .with("kind", "hand-over")
        .with("from_submission_p50_ns", clock::median(&mut whole.clone()) as u64)
        .with("from_submission_p99_ns", clock::p99(&mut whole) as u64)
        .with("not_handed_over", failed))
}

/// The longest hole in the acknowledgements around a change of epochs. A record of the old epoch may be acknowledged
/// only together with the new one's first: then the hole lies before it.
struct Gap {
    asked: Instant,
    from: Instant,
    to: Instant,
    first: Instant,
    receipt: Receipt,
}

/// Submits the appointment while the strategy goes on; `None` when the old leader kept the lead.
fn hand_over(
    decision: &Decision,
    socket: &std::path::Path,
    before: &Status,
    client: &mut Client,
    ledger: &mut Ledger,
) -> Result<Option<Gap>, Failure> {
    let epoch = before.shards[0].epoch;
    let asked = Instant::now();
    std::thread::scope(|scope| {
        let submission = scope.spawn(|| decision.submit(socket));
        let (mut last, mut hole) = (asked, (asked, asked));
        while asked.elapsed() < HAND_OVER_MAX {
            let receipt = ledger.write(client)?;
            let now = Instant::now();
            if now - last > hole.1 - hole.0 {
                hole = (last, now);
            }
            if receipt.epoch.0 > epoch {
                submission.join().map_err(|_| Failure::Refused("the submission broke off".into()))??;
                return Ok(Some(Gap { asked, from: hole.0, to: hole.1, first: now, receipt }));
            }
            last = now;
        }
        submission.join().map_err(|_| Failure::Refused("the submission broke off".into()))??;
        Ok(None)
    })
}

/// What no change of leaders can go below, measured before every round.
struct Floors {
    plain: PlainFiles,
    wire: Wire,
    flushes: Vec<f64>,
    round_trips: Vec<f64>,
}

impl Floors {
    fn new(nodes: &Nodes, payload_bytes: usize) -> Result<Self, Failure> {
        let plain = PlainFiles::create(&nodes.disk(), "failover-floor", FLOOR_FILE_BYTES, nodes.count())
            .map_err(Failure::io("making the plain files of the flush floor"))?;
        let wire = Wire::new(payload_bytes)?;
        Ok(Self { plain, wire, flushes: Vec::new(), round_trips: Vec::new() })
    }

    fn measure(&mut self) -> Result<(), Failure> {
        let flushes = self.plain.append(FLOOR_BLOCK_BYTES, FLUSHES_PER_ROUND);
        self.flushes.extend(flushes.map_err(Failure::io("writing the flush floor"))?);
        self.round_trips.extend(self.wire.round_trips()?);
        Ok(())
    }

    /// The floors of the rounds since the last call, beside what was measured in them.
    fn beside(&mut self, measured: Measured) -> Measured {
        let flush_ns = clock::median(&mut std::mem::take(&mut self.flushes));
        let round_trip_ns = clock::median(&mut std::mem::take(&mut self.round_trips));
        measured.floor("flush_ns", flush_ns).floor("quic_round_trip_ns", round_trip_ns)
    }
}

fn tell(quiet: bool, what: &str, round: u32, from: Instant, to: Instant, receipt: &Receipt) {
    if !quiet {
        let milliseconds = clock::ns_between(from, to) as f64 / 1e6;
        eprintln!("{what} {round}: {milliseconds:.2} ms, epoch {}", receipt.epoch);
    }
}

/// Every record that was written, and what was acknowledged of it.
struct Ledger {
    value: Vec<u8>,
    next: u64,
    /// Number → the sequence that its receipt named; 0 for one that was found done already.
    acknowledged: BTreeMap<u64, u64>,
    /// Refusals that say that a record was there before it was written.
    doubled: u64,
}

impl Ledger {
    fn new(payload_bytes: usize) -> Self {
        Self { value: vec![0; payload_bytes], next: 1, acknowledged: BTreeMap::new(), doubled: 0 }
    }

    /// One record, waited for.
    fn write(&mut self, client: &mut Client) -> Result<Receipt, Failure> {
        let (number, ticket) = self.submit(client)?;
        let receipt = client.wait(ticket, Instant::now() + SILENCE_MAX);
        let receipt = receipt.map_err(|error| Failure::NodeGone(error.to_string()))?;
        match receipt.outcome {
            Outcome::Accepted if receipt.durability >= Durability::DiskQuorum => {
                self.acknowledged.insert(number, receipt.sequence.0);
            }
            Outcome::Refused(RefusalCode::PreconditionFailed) => self.doubled += 1,
            outcome => return Err(Failure::Refused(format!("record {number}: {outcome:?}"))),
        }
        Ok(receipt)
    }

    fn submit(&mut self, client: &mut Client) -> Result<(u64, Ticket), Failure> {
        let number = self.next;
        self.next += 1;
        fill_value(&mut self.value, number, 1);
        let began = Instant::now();
        loop {
            match client.compare_and_set(&key_of(number), Expected::Absent, &self.value) {
                Ok(ticket) => return Ok((number, ticket)),
                Err(PutError::Full { .. } | PutError::NodeAway) if began.elapsed() < SILENCE_MAX => {
                    client.tend();
                    rustix::thread::sched_yield();
                }
                Err(error) => return Err(Failure::Refused(error.to_string())),
            }
        }
    }

    /// The strategy on the dead leader's box goes on at another node. Answers how many it had to submit again.
    fn go_on_elsewhere(
        &mut self,
        mut old: Client,
        submitted: &[(u64, Ticket)],
        nodes: &Nodes,
        place: usize,
    ) -> Result<u64, Failure> {
        let numbers: BTreeMap<Ticket, u64> =
            submitted.iter().map(|(number, ticket)| (*ticket, *number)).collect();
        old.tend();
        old.poll(|ticket, receipt| {
            if let Some(number) = numbers.get(&ticket).filter(|_| receipt.outcome == Outcome::Accepted) {
                self.acknowledged.insert(*number, receipt.sequence.0);
            }
        });
        let unanswered = old.into_unanswered();
        let mut client = nodes.client_of(place, "latency-probe strategy")?;
        for proposal in &unanswered {
            let number = numbers[&proposal.ticket];
            let ticket = client.compare_and_set(&proposal.key, Expected::Absent, &proposal.value);
            let ticket = ticket.map_err(|error| Failure::Refused(error.to_string()))?;
            let receipt = client.wait(ticket, Instant::now() + SILENCE_MAX);
            let receipt = receipt.map_err(|error| Failure::NodeGone(error.to_string()))?;
            match receipt.outcome {
                Outcome::Accepted => self.acknowledged.insert(number, receipt.sequence.0),
                // It was decided before its node died: done once, at a sequence that nobody was told.
                Outcome::Refused(RefusalCode::PreconditionFailed) => self.acknowledged.insert(number, 0),
                outcome => return Err(Failure::Refused(format!("record {number}: {outcome:?}"))),
            };
        }
        Ok(unanswered.len() as u64)
    }

    /// Every node holds every acknowledged record at the sequence that was acknowledged; a hash of all values, and how
    /// many are wrong.
    fn check(&self, nodes: &Nodes) -> Result<(u64, u64), Failure> {
        let (mut hash, mut wrong, mut value) = (0, self.doubled, Vec::new());
        for place in 0..nodes.count() {
            let mut client = nodes.client_of(place, "latency-probe check")?;
            hash = 0;
            for (number, sequence) in &self.acknowledged {
                let found = client.get_committed(&key_of(*number), &mut value);
                let found = found.map_err(|error| Failure::Refused(error.to_string()))?;
                let is_there = found.is_some_and(|meta| *sequence == 0 || meta.sequence.0 == *sequence);
                let is_right = is_there && version_of(&value, *number) == Some(1);
                if !is_right {
                    eprintln!("node {place}: record {number} of sequence {sequence} is lost or another");
                }
                wrong += u64::from(!is_right);
                hash = answers::fold_bytes(hash, &value);
            }
        }
        Ok((hash, wrong))
    }
}

fn key_of(number: u64) -> Vec<u8> {
    format!("failover/{number}").into_bytes()
}

const FLOOR_FILE_BYTES: u64 = 4 << 20;
/// A claim, a grant and a small block each take one page of the log.
const FLOOR_BLOCK_BYTES: usize = 4_096;
const FLUSHES_PER_ROUND: usize = 5;
/// So many records before and after every change: the pipe is warm, and there is something to lose.
const RECORDS_BEFORE: u32 = 20;
/// What the strategy on the leader's box has open when its node dies.
const RECORDS_IN_FLIGHT: u32 = 16;
const SILENCE_MAX: Duration = Duration::from_secs(30);
const LEVEL_MAX: Duration = Duration::from_secs(30);
/// A leader that was not relieved by then goes on.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);
