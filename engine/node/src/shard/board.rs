//! The shard's counters: counted in private memory, shown in shared memory once in a while.
//!
//! Invariant: a counter never goes back while the node lives, unless its label says what it is now (`*_now`, tips).

use io_oi_record::{Hash, Nanos, Now, Outcome, RefusalCode};
use io_oi_shard::{Machine, Role};
use io_oi_shm::counters::{CounterIndex, Writer};
use io_oi_shm::{CreateError, hot};
use io_oi_wal::Wal;

use super::peers::Peers;
use super::refusals::{CODES_MAX, Refusals};

/// What the shard loop counts itself.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) proposals: u64,
    pub(super) receipts: u64,
    pub(super) receipts_undelivered: u64,
    pub(super) accepted: u64,
    pub(super) published: u64,
    pub(super) malformed: u64,
    pub(super) lanes_broken: u64,
    pub(super) receipt_ring_full: u64,
    pub(super) parks: u64,
    pub(super) lanes_now: u64,
    /// Tentative values taken back: another history was decided.
    pub(super) withdrawn: u64,
    /// Messages for other nodes while this one has no endpoint.
    pub(super) frames_unsent: u64,
    refused: [u64; REFUSALS],
    refused_by_arbitrator: u64,
    /// The same, code by code.
    judge_refusals: Refusals,
}

impl Tally {
    /// Counts an answer by its outcome.
    #[inline]
    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Refused(code) => self.note_refusal(code),
        }
    }

    fn note_refusal(&mut self, code: RefusalCode) {
        if let RefusalCode::Arbitrator(code) = code {
            self.refused_by_arbitrator += 1;
            self.judge_refusals.count(code);
        } else if let Some(index) = RefusalCode::ALL.iter().position(|known| *known == code) {
            self.refused[index] += 1;
        }
    }
}

/// The shared counters of one shard.
#[derive(Debug)]
pub(super) struct Board {
    writer: Writer,
    /// Monotonic, as the next one.
    shown_at: Nanos,
    summed_at: Nanos,
    lease: Nanos,
}

/// What is looked at to fill the board.
pub(super) struct Look<'a> {
    pub(super) tally: &'a Tally,
    pub(super) machine: &'a Machine,
    pub(super) wal: &'a Wal,
    pub(super) hot: &'a hot::Writer,
    pub(super) peers: &'a Option<Peers>,
    pub(super) boot: u32,
    pub(super) attach: [u64; 4],
    pub(super) is_disk_full: bool,
}

impl Board {
    pub(super) fn create(incarnation: u64, shard: u16) -> Result<Self, CreateError> {
        let refusals: Vec<String> = RefusalCode::ALL
            .iter()
            .map(|code| format!("refused_{}", code.name().replace('-', "_")))
            .collect();
        let codes = (0..CODES_MAX).flat_map(|row| {
            [format!("{JUDGE_CODE_LABEL}{row}"), format!("{JUDGE_CODE_LABEL}{row}_refusals")]
        });
        let refusals: Vec<String> =
            refusals.into_iter().chain(codes).chain([JUDGE_CODES_OTHER_LABEL.to_owned()]).collect();
        let labels: Vec<&str> = LABELS.iter().copied().chain(refusals.iter().map(String::as_str)).collect();
        let writer = Writer::create(&labels, incarnation, shard)?;
        Ok(Self { writer, shown_at: Nanos::ZERO, summed_at: Nanos::ZERO, lease: Nanos::ZERO })
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Until when a read here is linearizable. Told at once, after everything that was committed before is shown.
    #[inline]
    pub(super) fn show_lease(&mut self, machine: &Machine) {
        let until = machine.lease_until();
        if until == self.lease {
            return;
        }
        self.lease = until;
        if until != Nanos::ZERO {
            self.writer.set(LEASE_EPOCH, machine.epoch().get());
        }
        self.writer.set(LEASE_UNTIL, until.get());
        self.writer.set_lease(until.get());
    }

    /// Takes the lease back from readers, whatever was promised: another node may lead from now on.
    #[cold]
    pub(super) fn void_lease(&mut self) {
        self.lease = Nanos::ZERO;
        self.writer.set(LEASE_UNTIL, 0);
        self.writer.set_lease(0);
    }

    /// Whether the board is old enough to be worth the work.
    #[inline]
    pub(super) fn is_due(&self, now: Now) -> bool {
        now.mono.since(self.shown_at) >= SHOW_EVERY_NS
    }

    /// Shows everything as it is now.
    pub(super) fn show(&mut self, now: Now, look: &Look<'_>) {
        self.shown_at = now.mono;
        self.writer.beat(now.wall.get());
        let Tally { refused, judge_refusals, .. } = look.tally;
        for (index, value) in values(look).into_iter().enumerate() {
            self.writer.set(CounterIndex((LEASE_LABELS + index) as u16), value);
        }
        for (index, value) in refused.iter().enumerate() {
            self.writer.set(CounterIndex((LABELS.len() + index) as u16), *value);
        }
        self.show_codes(judge_refusals);
        if now.mono.since(self.summed_at) >= SUM_EVERY_NS {
            self.summed_at = now.mono;
            self.show_sums(look.wal);
        }
    }

    /// A row that no code has taken stands at zero, and is left alone.
    fn show_codes(&mut self, refusals: &Refusals) {
        let mut index = LABELS.len() + REFUSALS;
        for (code, count) in refusals.rows() {
            self.writer.set(CounterIndex(index as u16), (*code).into());
            self.writer.set(CounterIndex(index as u16 + 1), *count);
            index += 2;
        }
        let others = LABELS.len() + REFUSALS + 2 * CODES_MAX;
        self.writer.set(CounterIndex(others as u16), refusals.others());
    }

    /// Walking the histogram costs a microsecond, so it is done less often.
    fn show_sums(&mut self, wal: &Wal) {
        let flush_ns = &wal.stats().flush_ns;
        let sums = [
            flush_ns.quantile_ns(0.5),
            flush_ns.quantile_ns(0.99),
            flush_ns.quantile_ns(0.999),
            flush_ns.max_ns(),
            flush_ns.mean_ns(),
        ];
        for (index, value) in sums.into_iter().enumerate() {
            self.writer.set(CounterIndex((LABELS.len() - SUMMED + index) as u16), value);
        }
    }
}

fn values(look: &Look<'_>) -> [u64; LABELS.len() - LEASE_LABELS - SUMMED] {
    let Look { tally, machine, wal, hot, peers, boot, attach, is_disk_full } = look;
    let (counters, log, hot) = (machine.counters(), wal.stats(), hot.stats());
    let net = peers.as_ref().map(Peers::stats).unwrap_or_default();
    let frames_dropped = tally.frames_unsent + peers.as_ref().map_or(0, Peers::frames_dropped);
    [
        role_number(machine.role()),
        machine.leader().map_or(0, |leader| leader.tag().0),
        machine.certified().get(),
        machine.roster().number(),
        machine.evidence().count() as u64,
        machine.state_hash().0.get(),
        first_word(&machine.state_hash().1),
        machine.members_version(),
        tally.withdrawn,
        counters.messages_refused,
        counters.messages_stale,
        counters.signatures_checked,
        counters.votes,
        counters.verdicts_contradicted,
        counters.records_withheld,
        counters.rewinds,
        net.frames_sent,
        net.frames_received,
        frames_dropped,
        net.datagrams_sent,
        net.datagrams_received,
        net.connections,
        net.handshakes_refused,
        net.strangers_ignored,
        net.violations,
        u64::from(*boot),
        machine.epoch().get(),
        machine.last_sequence().get(),
        machine.committed().get(),
        tally.proposals,
        tally.receipts,
        tally.receipts_undelivered,
        tally.accepted,
        tally.refused_by_arbitrator,
        tally.published,
        counters.records,
        counters.records_refused,
        counters.blocks,
        counters.signatures,
        counters.retries,
        tally.malformed,
        tally.lanes_broken,
        tally.lanes_now,
        tally.receipt_ring_full,
        tally.parks,
        hot.entries,
        hot.large_used_bytes,
        log.batches,
        log.frames,
        log.payload_bytes,
        log.written_bytes,
        log.segments_filled,
        log.prepare_failures,
        wal.room_bytes() as u64,
        wal.in_flight_for().as_nanos() as u64,
        wal.enter_retries(),
        u64::from(*is_disk_full),
        attach[0],
        attach[1],
        attach[2],
        attach[3],
    ]
}

/// Enough of a hash to see that two nodes differ.
fn first_word(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What a node is in its shard, as the board says it.
fn role_number(role: Role) -> u64 {
    match role {
        Role::Idle | Role::Following => 0,
        Role::PreVoting => 1,
        Role::Claiming => 2,
        Role::Standing => 3,
        Role::Leading => 4,
        Role::Mute => 5,
    }
}

const LEASE_EPOCH: CounterIndex = CounterIndex(0);
const LEASE_UNTIL: CounterIndex = CounterIndex(1);
/// The first labels: written when they change, not with the others.
const LEASE_LABELS: usize = 2;

/// The lease's, then those in the order of `values`, then the sums over the flush histogram; one `refused_*` per refusal code follows,
/// then the codes of judges.
const LABELS: [&str; 68] = [
    "lease_epoch",
    "lease_until_ns",
    "role",
    "leader_tag",
    "certified",
    "governance",
    "evidence",
    "state_hash_sequence",
    "state_hash",
    "members_version",
    "withdrawn",
    "messages_refused",
    "messages_stale",
    "signatures_checked",
    "votes",
    "verdicts_contradicted",
    "records_withheld",
    "rewinds",
    "frames_sent",
    "frames_received",
    "frames_dropped",
    "datagrams_sent",
    "datagrams_received",
    "connections",
    "handshakes_refused",
    "strangers_ignored",
    "wire_violations",
    "boot",
    "epoch",
    "sequence",
    "committed",
    "proposals",
    "receipts",
    "receipts_undelivered",
    "accepted",
    "refused_by_arbitrator",
    "published",
    "records",
    "records_refused",
    "blocks",
    "signatures",
    "retries",
    "malformed",
    "lanes_broken",
    "lanes_now",
    "receipt_ring_full",
    "parks",
    "hot_entries_now",
    "hot_large_bytes_now",
    "log_flushes",
    "log_frames",
    "log_payload_bytes",
    "log_written_bytes",
    "log_segments_filled",
    "log_prepare_failures",
    "log_room_bytes_now",
    "log_in_flight_ns_now",
    "log_enter_retries",
    "disk_full_now",
    "clients_now",
    "attaches",
    "attaches_refused",
    "attaches_malformed",
    "flush_ns_p50",
    "flush_ns_p99",
    "flush_ns_p999",
    "flush_ns_max",
    "flush_ns_mean",
];
const SUMMED: usize = 5;
const REFUSALS: usize = RefusalCode::ALL.len();
/// Behind those, two for each row of [`Refusals`]: the code, and how often it was the answer; then the rest.
const JUDGE_CODE_LABEL: &str = "judge_code_";
const JUDGE_CODES_OTHER_LABEL: &str = "judge_codes_other_refusals";

/// A reader cannot see faster, and forty stores would show in a shard under full load.
const SHOW_EVERY_NS: u64 = 5_000_000;
const SUM_EVERY_NS: u64 = 200_000_000;
