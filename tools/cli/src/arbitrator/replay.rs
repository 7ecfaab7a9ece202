//! `io_oi arbitrator test --replay`: what a component would have said to every proposal of a real log.
//!
//! The state that it is shown is the log's own: what was decided then stands, whatever the component says now. So one
//! difference does not make the next, and a log that another judge decided shows where the two disagree. Keys of other
//! shards are not known here, and a proposal that the house itself refused was never a judge's to decide.
//!
//! Invariant: one record, one question, the question that a node would ask.

use std::collections::HashMap;
use std::time::Instant;

use io_oi_arbitrator::sdk::{Cell, Context, ReadSet, Write, WriteReader};
use io_oi_arbitrator::{Answer, World};
use io_oi_record::limits::KEY_BYTES_MAX;
use io_oi_record::{BlockHeader, Operation, Record, RefusalCode, Verdict};
use io_oi_shard::hearing::{Case, cell_of_key_prefix, cell_of_proposer, seed_of};
use serde_json::{Map, Value, json};

use super::admitted::{Bench, Said, word};
use super::history::History;
use super::{file, object};
use crate::args::arbitrator::Test;
use crate::bytes::{escaped_short, insert_json};
use crate::failure::Failure;
use crate::output::{Output, duration};

/// Judges every proposal of the log again.
pub(super) fn replay(output: Output, arguments: &Test, bench: &mut Bench) -> Result<(), Failure> {
    let Some(dir) = &arguments.replay else { return Ok(()) };
    if bench.world() == World::Batch {
        let what = "a log is replayed proposal by proposal, and this component judges batches".to_owned();
        return Err(Failure::Usage { what });
    }
    let history = History::open(dir, arguments.shard)?;
    let prefix = std::os::unix::ffi::OsStrExt::as_bytes(arguments.prefix.as_os_str());
    let mut again = Again { bench, prefix, cells: HashMap::new(), tally: Tally::default() };
    history.visit(&mut |header, record| {
        if let Some(judged) = again.judge(&history, header, record) {
            judged.say(output, &mut again.tally)?;
        }
        again.apply(record);
        Ok(())
    })?;
    let mut tally = again.tally;
    tally.say(output, arguments)?;
    match (tally.faults, tally.different) {
        (0, 0) => Ok(()),
        (0, different) if !arguments.same => {
            output.remark(&format!("{different} answers differ from the log's; --same makes that an error"));
            Ok(())
        }
        (0, different) => Err(Failure::with_help(
            format!("{different} of {} answers differ from what stands in the log", tally.judged),
            "the differences stand above",
        )),
        (faults, _) => Err(Failure::with_help(
            format!("it failed on {faults} of {} proposals of this log", tally.judged),
            "a node refuses what its judge fails on: raise the limits of its manifest, or mend it",
        )),
    }
}

/// A component over a log.
struct Again<'a> {
    bench: &'a mut Bench,
    prefix: &'a [u8],
    /// Every key below the prefix, with the sequence that wrote it.
    cells: HashMap<Vec<u8>, (Vec<u8>, u64)>,
    tally: Tally,
}

/// One record judged again.
struct Judged {
    sequence: u64,
    key: Vec<u8>,
    then: String,
    now: String,
    is_same: bool,
    is_fault: bool,
    fuel: u64,
    ns: u64,
}

#[derive(Default)]
struct Tally {
    judged: u64,
    different: u64,
    faults: u64,
    fuels: Vec<u64>,
    ns: Vec<u64>,
}

impl Again<'_> {
    fn judge(&mut self, history: &History, header: &BlockHeader, record: &Record<'_>) -> Option<Judged> {
        let then = what_was_said(record)?;
        if !record.operation.has_key() || !record.key.starts_with(self.prefix) {
            return None;
        }
        let context = self.context(history, header, record);
        let proposal = proposal(record);
        let now = self.state(&proposal, record, context.proposer);
        let (said, fuel, ns) = match now {
            Ok(state) => {
                let from = Instant::now();
                let (mut said, fuel) = self.bench.decide(&context, &state, &[&proposal]);
                (Ok(said.remove(0)), fuel, from.elapsed().as_nanos() as u64)
            }
            Err(unheard) => (Err(unheard), 0, 0),
        };
        let said = said.and_then(|said| if self.is_home(&said) { Ok(said) } else { Err(ELSEWHERE) });
        let is_same = match &said {
            Ok(said) => is_same(said, record),
            Err(unheard) => then == *unheard,
        };
        let is_fault = matches!(&said, Ok(Said { answer: Answer::Fault(_), .. }) | Err(FAULT));
        let now = said.map_or_else(str::to_owned, |said| word(said.answer));
        Some(Judged {
            sequence: record.sequence.get(),
            key: record.key.to_vec(),
            then,
            now,
            is_same,
            is_fault,
            fuel,
            ns,
        })
    }

    fn context(&self, history: &History, header: &BlockHeader, record: &Record<'_>) -> Context {
        let case = Case {
            sequence: record.sequence,
            epoch: header.epoch,
            time: header.time,
            seed: seed_of(history.cluster, header.shard, header.epoch, record.sequence),
            session: record.session,
            proposal: record.proposal(),
            is_operator: false,
        };
        case.context()
    }

    /// The cells that it reads, as the log before the record says.
    fn state(
        &mut self,
        proposal: &[u8],
        record: &Record<'_>,
        proposer: u64,
    ) -> Result<Vec<u8>, &'static str> {
        let mut room = [0; KEY_BYTES_MAX];
        let keys: Vec<Vec<u8>> = match self.bench.manifest().reads {
            ReadSet::None => Vec::new(),
            ReadSet::CellOfProposer => vec![cell_of_proposer(self.prefix, proposer, &mut room).to_vec()],
            ReadSet::CellOfKeyPrefix => vec![cell_of_key_prefix(self.prefix, record.key).to_vec()],
            ReadSet::Explicit => self.bench.plan(proposal).map_err(|_| FAULT)?,
        };
        let mut state = Vec::new();
        for key in &keys {
            if !key.starts_with(self.prefix) {
                return Err(ELSEWHERE);
            }
            let found = self.cells.get(key);
            let (value, sequence) =
                found.map_or((None, 0), |(value, sequence)| (Some(value.as_slice()), *sequence));
            let cell = Cell { key, value, sequence };
            let begin = state.len();
            state.resize(begin + cell.encoded_bytes(), 0);
            cell.encode(&mut state[begin..]).ok_or(FAULT)?;
        }
        Ok(state)
    }

    /// Whether it writes only below its own prefix.
    fn is_home(&self, said: &Said) -> bool {
        WriteReader::new(&said.effects).all(|write| write.key.starts_with(self.prefix))
    }

    fn apply(&mut self, record: &Record<'_>) {
        // What an operator wrote himself stands, as what the house decided does.
        for write in record.writes().filter(|write| write.key.starts_with(self.prefix)) {
            match write.value {
                Some(value) => {
                    self.cells.insert(write.key.to_vec(), (value.to_vec(), record.sequence.get()));
                }
                None => {
                    self.cells.remove(write.key);
                }
            }
        }
    }
}

/// A judge that fails, and one that reaches for what is not its own: both are refused without a word of its own.
const FAULT: &str = "fault";
const ELSEWHERE: &str = "elsewhere";

/// The judge's word in the log; `None` where no judge was asked.
fn what_was_said(record: &Record<'_>) -> Option<String> {
    match record.verdict {
        Verdict::Accept | Verdict::AcceptWithWrites => Some("accept".to_owned()),
        Verdict::Refuse(RefusalCode::Arbitrator(code)) => Some(format!("refuse {}", code.get())),
        Verdict::Refuse(code) => Some(code.name().strip_prefix("arbitrator-")?.replace("deferred", "defer")),
    }
}

fn is_same(said: &Said, record: &Record<'_>) -> bool {
    match (said.answer, record.verdict) {
        (Answer::Accept, Verdict::Accept | Verdict::AcceptWithWrites) => {
            said.effects == record.effects.as_bytes()
        }
        (Answer::Fault(_), _) => what_was_said(record).as_deref() == Some(FAULT),
        _ => what_was_said(record) == Some(word(said.answer)),
    }
}

fn proposal(record: &Record<'_>) -> Vec<u8> {
    let is_delete = record.operation == Operation::Delete;
    let write = Write { key: record.key, value: record.value, is_delete };
    let mut bytes = vec![0; write.encoded_bytes()];
    write.encode(&mut bytes).expect("keys and values of a record are within the limits of a write");
    bytes
}

impl Judged {
    fn say(self, output: Output, tally: &mut Tally) -> Result<(), Failure> {
        tally.judged += 1;
        tally.different += u64::from(!self.is_same);
        tally.faults += u64::from(self.is_fault);
        tally.fuels.push(self.fuel);
        tally.ns.push(self.ns);
        let Judged { sequence, key, then, now, is_same, fuel, ns, .. } = self;
        if output.is_json() {
            let mut fields = object(json!({"sequence": sequence, "then": then, "now": now, "same": is_same,
                "fuel": fuel, "ns": ns}));
            insert_json(&mut fields, "key", &key);
            return output.result(fields, String::new);
        }
        if is_same || tally.different > SHOWN_MAX {
            return Ok(());
        }
        let key = escaped_short(&key, 40);
        let effects = if then == now { ", with other effects" } else { "" };
        output.tell(&format!("sequence {sequence}, {key}: {then} in the log, {now} now{effects}"))
    }
}

impl Tally {
    fn say(&mut self, output: Output, arguments: &Test) -> Result<(), Failure> {
        self.fuels.sort_unstable();
        self.ns.sort_unstable();
        let at = |sorted: &[u64], share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied();
        let (fuel_p50, fuel_max) = (at(&self.fuels, 0.5), self.fuels.last().copied());
        let (ns_p50, ns_p99, ns_max) = (at(&self.ns, 0.5), at(&self.ns, 0.99), self.ns.last().copied());
        let mut fields: Map<String, Value> = Map::from_iter([file(&arguments.file)]);
        fields.extend(object(json!({"judged": self.judged, "different": self.different, "faults": self.faults,
            "fuel_p50": fuel_p50, "fuel_max": fuel_max, "ns_p50": ns_p50, "ns_p99": ns_p99, "ns_max": ns_max})));
        let (judged, different, faults) = (self.judged, self.different, self.faults);
        output.result(fields, || {
            let time = |ns: Option<u64>| ns.map_or("-".to_owned(), duration);
            let fuel = |fuel: Option<u64>| fuel.map_or("-".to_owned(), |fuel| fuel.to_string());
            format!(
                "{judged} proposals judged again: {different} otherwise than in the log, {faults} faults\n\
                 fuel: median {}, most {}; time: median {}, p99 {}, longest {}",
                fuel(fuel_p50),
                fuel(fuel_max),
                time(ns_p50),
                time(ns_p99),
                time(ns_max)
            )
        })
    }
}

/// Differences that people are shown; programs get every record.
const SHOWN_MAX: u64 = 20;
