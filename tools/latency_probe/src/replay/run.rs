//! Drives the events through the node and compares what came of them.
//!
//! Invariants: never more proposals open than the window; nothing that was applied before is proposed again; the run
//! ends well only when every event has its receipts and every key is as the book says.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use io_oi_client::{Client, Expected, PutError, Ticket};
use io_oi_record::ShardId;
use serde_json::Value;

use super::book::Market;
use super::compare::{Comparison, compare};
use super::event::Event;
use super::feed::Feed;
use super::flights::Flights;
use super::guard::{Guard, Guarded};
use super::proposals::{Proposer, Steps};
use super::resume::{Start, check_is_empty};
use super::words::{ORDER_VALUE_BYTES, PREFIXES};
use crate::cli::{NodeOptions, Pace, Replay};
use crate::cluster::{StateHash, Status};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::floors::flush::PlainFile;
use crate::nodes::{self, Nodes};
use crate::recorder::Recorder;
use crate::report::{Load, Measured, ReplayFacts};

/// Replays the files and compares the books.
pub(crate) fn measure(
    options: &Replay,
    node_options: &NodeOptions,
    quiet: bool,
) -> Result<Findings, Failure> {
    check_options(options, node_options)?;
    let feed = Feed::open(&options.files)?;
    let mut nodes = match options.resume {
        true => Nodes::reopen(node_options, &[])?,
        false => Nodes::open(node_options, &[])?,
    };
    let findings = replay(options, feed, &mut nodes, quiet);
    match findings {
        Ok(findings) => {
            nodes.close()?;
            Ok(findings)
        }
        Err(failure) => Err(explain(failure, &mut nodes)),
    }
}

fn check_options(options: &Replay, nodes: &NodeOptions) -> Result<(), Failure> {
    let kills = options.kill_at.is_some() || !options.kill_leader_at.is_empty();
    if kills && !nodes.attach.is_empty() {
        return Err(Failure::Usage("only a node of the probe's own is killed: use --spawn".into()));
    }
    if !options.kill_leader_at.is_empty() && nodes.spawn.unwrap_or(1) < 3 {
        return Err(Failure::Usage("--kill-leader-at wants others to go on: use --spawn 3 or more".into()));
    }
    if !options.kill_leader_at.is_sorted() {
        return Err(Failure::Usage("--kill-leader-at: name the events in order".into()));
    }
    if !(options.speed.is_finite() && options.speed > 0.0) {
        return Err(Failure::Usage("--speed must be more than 0, for example 600".into()));
    }
    Ok(())
}

/// A replay that broke off can be gone on with: says how, and leaves the directory for it.
fn explain(failure: Failure, nodes: &mut Nodes) -> Failure {
    let Failure::NodeGone(reason) = failure else { return failure };
    let death = nodes.death().map(|death| format!(" ({death})")).unwrap_or_default();
    let how = match nodes.keep_directory() {
        Some(path) => {
            let parent = path.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
            format!(
                "its directory is left in {}; go on with the same files and --dir {parent} --resume",
                path.display()
            )
        }
        None => "start it again, then go on with the same files and --resume".into(),
    };
    Failure::NodeGone(format!("{reason}{death}; {how}"))
}

fn replay(options: &Replay, feed: Feed, nodes: &mut Nodes, quiet: bool) -> Result<Findings, Failure> {
    let patience = Duration::try_from_secs_f64(options.patience).unwrap_or(Duration::from_secs(30));
    if options.resume {
        nodes.wait_until_level(patience); // A node that lags behind does not know yet where to go on.
    }
    // Where others lead, a change of leaders is a delay for this client, as it is for most strategies.
    let place = (nodes.wait_for_leader(ShardId(0))? + 1) % nodes.count();
    let mut client = nodes::attach(&nodes.sockets()[place], "latency-probe replay", patience)?;
    let start = Start::read(&mut client)?;
    if !options.resume {
        check_is_empty(&mut client, &start)?;
    }
    let plain = PlainFile::create(&nodes.disk(), "replay-floor", FLOOR_FILE_BYTES)
        .map_err(Failure::io("making the plain file of the flush floor"))?;
    let mut drive = Drive::new(options, patience, (place, client), start, plain, progress(quiet));
    drive.guard = options.risk_limit.then(|| Guard::new(nodes, place, patience)).transpose()?;
    drive.run(feed, nodes)?;

    let mut market = Market::default();
    let mut again = Feed::open(&options.files)?;
    while let Some(event) = again.next_event()? {
        market.handle(&event);
    }
    nodes.wait_until_all_are_ready()?;
    let statuses = nodes.wait_until_level(LEVEL_MAX);
    let comparisons = compare_all(nodes, &market)?;
    if market.events() != drive.proposer.cursor().event {
        return Err(Failure::Usage("the files changed while they were replayed; run it again".into()));
    }
    for (node, comparison) in comparisons.iter().enumerate() {
        for difference in &comparison.first {
            eprintln!("node {node}: different: {difference}");
        }
    }
    let guarded_records = drive.guard.as_ref().map(Guard::records);
    let guarded = drive.guard.take().map(|guard| guard.finish(nodes)).transpose()?;
    let everywhere = Everywhere { comparisons, states: states_of(&statuses), guarded, guarded_records };
    Ok(drive.findings(options, nodes, &market, &everywhere, again.skipped()))
}

/// What the nodes hold at the end.
struct Everywhere {
    /// Each node's book.
    comparisons: Vec<Comparison>,
    /// Each node's committed sequences and hashes of its state, shard by shard; empty for one that does not say.
    states: Vec<Vec<(u64, StateHash)>>,
    /// What became of the account, if one followed the market.
    guarded: Option<Guarded>,
    guarded_records: Option<u64>,
}

impl Everywhere {
    /// All hold the book, and the same state.
    fn is_equal(&self) -> bool {
        self.comparisons.iter().all(Comparison::is_equal) && self.states_are_equal()
    }

    fn states_are_equal(&self) -> bool {
        // One node has nobody to differ from.
        self.states.len() == 1
            || self.states.iter().all(|state| !state.is_empty() && *state == self.states[0])
    }
}

fn states_of(statuses: &[Option<Status>]) -> Vec<Vec<(u64, StateHash)>> {
    let state = |status: &Status| {
        status.shards.iter().map(|shard| (shard.committed, shard.state_hash.clone())).collect::<Vec<_>>()
    };
    statuses.iter().map(|status| status.as_ref().map(state).unwrap_or_default()).collect()
}

/// One replay under way.
struct Drive {
    /// The node that the client is attached to.
    place: usize,
    client: Client,
    /// The account that follows the market.
    guard: Option<Guard>,
    start: Start,
    resumed_at_event: u64,
    proposer: Proposer,
    flights: Flights,
    recorder: Recorder,
    window: usize,
    pace: Pace,
    speed: f64,
    patience: Duration,
    kill_at: Option<u64>,
    kill_leader_at: VecDeque<u64>,
    away_since: Option<Instant>,
    clock: Option<(Instant, u64)>,
    began: Instant,
    /// Time spent on floors in between.
    aside: Duration,
    /// Time spent on events.
    busy: Duration,
    plain: PlainFile,
    flushes_ns: Vec<f64>,
    proposals: u64,
    proposals_skipped: u64,
    kills: u64,
    progress: ProgressBar,
}

impl Drive {
    fn new(
        options: &Replay,
        patience: Duration,
        (place, client): (usize, Client),
        start: Start,
        plain: PlainFile,
        progress: ProgressBar,
    ) -> Self {
        Self {
            place,
            flights: Flights::new(client.shards()),
            client,
            guard: None,
            resumed_at_event: start.event(),
            start,
            proposer: Proposer::default(),
            recorder: Recorder::of_ns(),
            window: options.in_flight as usize,
            pace: options.pace,
            speed: options.speed,
            patience,
            kill_at: options.kill_at,
            kill_leader_at: options.kill_leader_at.iter().copied().collect(),
            away_since: None,
            clock: None,
            began: Instant::now(),
            aside: Duration::ZERO,
            busy: Duration::ZERO,
            plain,
            flushes_ns: Vec::new(),
            proposals: 0,
            proposals_skipped: 0,
            kills: 0,
            progress,
        }
    }

    fn run(&mut self, mut feed: Feed, nodes: &mut Nodes) -> Result<(), Failure> {
        self.measure_floor()?;
        self.began = Instant::now();
        self.aside = Duration::ZERO;
        let mut steps = Steps::default();
        while let Some(event) = feed.next_event()? {
            self.proposer.propose(&event, &mut steps);
            self.start.check_history(&self.proposer.cursor())?;
            self.propose(&event, &steps, nodes)?;
            if let Some(guard) = &mut self.guard {
                guard.offer(&event, nodes)?;
            }
            if event.number % EVENTS_PER_FLOOR == 0 && self.pace == Pace::Max && self.proposals > 0 {
                self.drain()?;
                self.measure_floor()?;
            }
            if event.number % EVENTS_PER_PROGRESS == 0 {
                self.progress.set_position(event.number);
            }
        }
        self.drain()?;
        self.busy = self.began.elapsed().saturating_sub(self.aside);
        self.measure_floor()?;
        self.progress.finish_and_clear();
        match self.kill_at.or(self.kill_leader_at.front().copied()) {
            Some(event) => Err(Failure::Usage(format!(
                "killing at event {event}: the files have only {} events to replay; choose an earlier one",
                self.proposer.cursor().event
            ))),
            None => Ok(()),
        }
    }

    /// Brings one event's proposals into the ring, those aside that were applied before.
    fn propose(&mut self, event: &Event, steps: &Steps, nodes: &mut Nodes) -> Result<(), Failure> {
        let is_marked = [self.kill_at, self.kill_leader_at.front().copied()].contains(&Some(event.number));
        let kill_before = is_marked.then_some(steps.len() / 2);
        let mut begun = false;
        let mut touched = Touched::default();
        for (index, (key, value)) in steps.iter().enumerate() {
            if kill_before == Some(index) {
                self.kill(event.number, nodes)?;
            }
            let shard = self.client.shard_of(key);
            let last = index + 1 == steps.len();
            if last {
                // Shards other than the cursor's own learn first that the event is over for them.
                for other in touched.shards().filter(|other| *other != shard) {
                    let cursor = self.start.cursor_key(other).to_vec();
                    self.step(event, other, &cursor, value, &mut begun)?;
                    self.start.settle(event.number, other);
                }
            }
            self.step(event, shard, key, value, &mut begun)?;
            touched.add(shard);
            if last {
                self.start.settle(event.number, shard);
            }
        }
        if begun {
            self.flights.whole(Instant::now(), &mut self.recorder);
        }
        self.collect()
    }

    fn step(
        &mut self,
        event: &Event,
        shard: ShardId,
        key: &[u8],
        value: Option<&[u8]>,
        begun: &mut bool,
    ) -> Result<(), Failure> {
        if self.start.is_applied(&mut self.client, event.number, shard, key, value)? {
            self.proposals_skipped += 1;
            return Ok(());
        }
        if !*begun {
            let issued = self.issue(event)?;
            self.flights.begin(event.number, issued);
            *begun = true;
        }
        let ticket = self.push(shard, key, value)?;
        self.flights.pushed(ticket);
        self.proposals += 1;
        Ok(())
    }

    /// The moment from which the event's latency counts.
    fn issue(&mut self, event: &Event) -> Result<Instant, Failure> {
        if self.pace == Pace::Max {
            return Ok(Instant::now());
        }
        let stamp = if event.ts_recv == dbn::UNDEF_TIMESTAMP { event.ts_event } else { event.ts_recv };
        let (began, first) = *self.clock.get_or_insert_with(|| (Instant::now(), stamp));
        let offset_ns = stamp.saturating_sub(first) as f64 / self.speed;
        let due = began + Duration::from_nanos(offset_ns as u64);
        loop {
            let now = Instant::now();
            if now >= due {
                return Ok(due);
            }
            self.collect()?;
            self.rest(due - now);
        }
    }

    /// Puts one proposal into the ring; collects receipts while there is no room, waits while the node is away.
    fn push(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) -> Result<Ticket, Failure> {
        while self.flights.open() >= self.window {
            self.collect()?;
            self.rest(Duration::ZERO);
        }
        loop {
            let pushed = match value {
                None => self.client.delete(key),
                Some(value) if key == self.start.cursor_key(shard) && self.is_first_cursor(shard) => {
                    // Nobody else may have moved the cursor since it was read.
                    let expected = match self.start.cursor_sequence(shard) {
                        sequence if sequence.is_none() => Expected::Absent,
                        sequence => Expected::Sequence(sequence),
                    };
                    self.client.compare_and_set(key, expected, value)
                }
                Some(value) => self.client.put(key, value),
            };
            match pushed {
                Ok(ticket) => return Ok(ticket),
                Err(PutError::Full { .. } | PutError::NodeAway) => {
                    self.collect()?;
                    self.rest(Duration::ZERO);
                }
                Err(error) => return Err(self.lost(error.to_string())),
            }
        }
    }

    fn is_first_cursor(&self, shard: ShardId) -> bool {
        !self.start.is_settled(shard)
    }

    /// Takes the receipts that are there, and notices a node that stays away.
    fn collect(&mut self) -> Result<(), Failure> {
        let (flights, recorder) = (&mut self.flights, &mut self.recorder);
        let now = Instant::now();
        let mut settled = Ok(());
        self.client.poll(|ticket, receipt| {
            if settled.is_ok() {
                settled = flights.settle(ticket, receipt, now, recorder);
            }
        });
        settled?;
        if let Some(guard) = &mut self.guard {
            guard.collect()?;
        }
        if let Some(reason) = self.client.lost_reason() {
            return Err(Failure::NodeGone(reason.to_owned()));
        }
        if self.client.is_attached() {
            self.away_since = None;
            return Ok(());
        }
        let since = *self.away_since.get_or_insert(now);
        match now.duration_since(since) >= self.patience {
            true => Err(Failure::NodeGone(format!("no node for {} s", self.patience.as_secs_f64()))),
            false => Ok(()),
        }
    }

    fn lost(&self, error: String) -> Failure {
        match self.client.lost_reason() {
            Some(reason) => Failure::NodeGone(reason.to_owned()),
            None => Failure::Refused(error),
        }
    }

    /// Gives the core away; sleeps when nothing is open for a while, or when the node is away.
    fn rest(&self, spare: Duration) {
        if !self.client.is_attached() {
            std::thread::sleep(Duration::from_millis(1));
        } else if self.flights.open() == 0 && spare > SLEEP_SPARE {
            std::thread::sleep((spare - SLEEP_SPARE).min(Duration::from_millis(10)));
        } else {
            rustix::thread::sched_yield();
        }
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while self.flights.open() > 0 {
            self.collect()?;
            self.rest(Duration::ZERO);
        }
        Ok(())
    }

    fn kill(&mut self, event: u64, nodes: &mut Nodes) -> Result<(), Failure> {
        self.kills += 1;
        if self.kill_at == Some(event) {
            self.kill_at = None;
            nodes.kill(self.place)?;
            nodes.restart(self.place)?;
            return nodes.wait_until_ready(self.place);
        }
        self.kill_leader_at.pop_front();
        let leader = nodes.wait_for_leader(ShardId(0))?;
        nodes.kill(leader)?;
        // Not waited for: the others go on meanwhile.
        nodes.restart(leader)
    }

    fn measure_floor(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        for _ in 0..FLUSHES_PER_FLOOR {
            let flush =
                self.plain.append(FLOOR_BLOCK_BYTES).map_err(Failure::io("writing the flush floor"))?;
            self.flushes_ns.push(flush as f64);
        }
        self.aside += began.elapsed();
        Ok(())
    }

    fn findings(
        mut self,
        options: &Replay,
        nodes: &Nodes,
        market: &Market,
        everywhere: &Everywhere,
        skipped: u64,
    ) -> Findings {
        let busy = self.busy.as_secs_f64().max(1e-9);
        let comparisons = &everywhere.comparisons;
        let equal = everywhere.is_equal();
        let foreign = self.flights.foreign_records();
        // Nodes of our own have one session, this one: between its receipts stand only the records of their epochs.
        let epochs = self.kills.max(self.flights.epochs());
        // An account's own records and its deployment stand between ours.
        let is_alone = everywhere.guarded_records.is_none();
        let twice = is_alone && nodes.are_spawned() && foreign > EPOCH_RECORDS_MAX * epochs;
        let odd_counts = market.oddities() != self.proposer.oddities();
        let unanswered = self.proposals - self.flights.receipts();
        let contradicted = everywhere.guarded.as_ref().map_or(0, |guarded| guarded.differences);
        let stats = self.client.stats();
        let hash = comparisons.first().map_or(0, |comparison| comparison.answers_hash);
        let samples = self.recorder.finish();
        let events_applied = samples.count();
        let measured = Measured::new("replay", options.in_flight as usize, samples)
            .rate(events_applied as f64 / busy)
            .bound("flush_ns", crate::clock::median(&mut self.flushes_ns))
            .with("pace", if options.pace == Pace::Max { "max" } else { "real" })
            .with("speed", if options.pace == Pace::Max { Value::Null } else { options.speed.into() })
            .answers(
                hash,
                u64::from(!equal) + u64::from(twice) + u64::from(odd_counts) + unanswered + contradicted,
            );
        let oddities = market.oddities();
        let differences: u64 = comparisons.iter().map(|comparison| comparison.differences).sum();
        let first = comparisons.iter().flat_map(|comparison| &comparison.first).map(ToString::to_string);
        let more = BTreeMap::from([
            ("proposals", self.proposals.into()),
            ("proposals_applied_before", self.proposals_skipped.into()),
            ("receipts", self.flights.receipts().into()),
            ("commits_per_second", crate::report::rounded(self.proposals as f64 / busy).into()),
            ("events_applied", events_applied.into()),
            ("resumed_at_event", self.resumed_at_event.into()),
            ("duplicate_adds", oddities.duplicate_adds.into()),
            ("over_cancels", oddities.over_cancels.into()),
            ("unknown_actions", oddities.unknown_actions.into()),
            ("records_of_other_schemas", skipped.into()),
            ("records_of_others", foreign.into()),
            ("kills", self.kills.into()),
            ("reattached", stats.reattached.into()),
            ("resubmitted", stats.resubmitted.into()),
            ("keys_compared", comparisons.iter().map(|comparison| comparison.keys).sum::<u64>().into()),
            ("books", books(comparisons).into()),
            ("state_hashes", hashes(&everywhere.states).into()),
            ("state_hashes_equal", everywhere.states_are_equal().into()),
            ("differences", differences.into()),
            ("risk_limit", everywhere.guarded.as_ref().map_or(Value::Null, |guarded| guarded.facts.clone())),
            ("first_differences", first.collect::<Vec<_>>().into()),
        ]);
        let replay = ReplayFacts {
            events: market.events(),
            unknown_orders: oddities.unknown_orders,
            book: if equal { "equal" } else { "different" },
            resumed: self.resumed_at_event > 0,
            more,
        };
        Findings {
            nodes: nodes.count(),
            shards: self.client.shards(),
            idle: nodes.idle(),
            payload_bytes: ORDER_VALUE_BYTES,
            durability: "disk-quorum".into(),
            load: if options.pace == Pace::Max { Load::Closed } else { Load::Open },
            runs: vec![measured],
            replay: Some(replay),
        }
    }
}

/// One word per node.
fn books(comparisons: &[Comparison]) -> Vec<&'static str> {
    comparisons.iter().map(|comparison| if comparison.is_equal() { "equal" } else { "different" }).collect()
}

/// Every node's hashes with their sequences, shard by shard.
fn hashes(states: &[Vec<(u64, StateHash)>]) -> Vec<Vec<String>> {
    let text = |(_, state): &(u64, StateHash)| format!("{} at {}", state.hash, state.sequence);
    states.iter().map(|state| state.iter().map(text).collect()).collect()
}

/// Compares every node's committed state with the book.
fn compare_all(nodes: &Nodes, market: &Market) -> Result<Vec<Comparison>, Failure> {
    let expected = market.expected();
    let one = |socket: &PathBuf| {
        let mut client = nodes::attach(socket, "latency-probe compare", LEVEL_MAX)?;
        Ok(compare(&held(&mut client)?, &expected))
    };
    nodes.sockets().iter().map(one).collect()
}

/// Everything committed that a node holds under the replay's prefixes.
fn held(client: &mut Client) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Failure> {
    let mut held = BTreeMap::new();
    for prefix in PREFIXES {
        client
            .scan_committed(prefix.as_bytes(), |key, value, _| {
                drop(held.insert(key.to_vec(), value.to_vec()))
            })
            .map_err(|error| Failure::Refused(error.to_string()))?;
    }
    Ok(held)
}

/// The shards that an event has proposals for; few.
#[derive(Default)]
struct Touched(Vec<ShardId>);

impl Touched {
    fn add(&mut self, shard: ShardId) {
        if !self.0.contains(&shard) {
            self.0.push(shard);
        }
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.0.clone().into_iter()
    }
}

fn progress(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} events, {per_sec}, {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is ours"))
}

/// A block of the log with a window's worth of small proposals is some pages; the floor takes the smallest.
const FLOOR_BLOCK_BYTES: usize = 4_096;
const FLOOR_FILE_BYTES: u64 = 8 << 20;
const FLUSHES_PER_FLOOR: usize = 16;
const EVENTS_PER_FLOOR: u64 = 10_000;
const EVENTS_PER_PROGRESS: u64 = 1_000;
/// The record with which a node begins an epoch, and one for its session's bookkeeping.
const EPOCH_RECORDS_MAX: u64 = 2;
/// A node that was restarted has read its log and caught up by then, or never will.
const LEVEL_MAX: Duration = Duration::from_secs(30);
/// Sleeping wakes late by about this much.
const SLEEP_SPARE: Duration = Duration::from_micros(500);
