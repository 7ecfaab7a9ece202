//! The shard's counters: counted in private memory, shown in shared memory once in a while.
//!
//! Invariant: a counter never goes back while the node lives, unless its label says what it is now (`*_now`, tips).

use io_oi_record::{Nanos, Outcome, RefusalCode};
use io_oi_shard::Machine;
use io_oi_shm::counters::{CounterIndex, Writer};
use io_oi_shm::{CreateError, hot};
use io_oi_wal::Wal;

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
    refused: [u64; REFUSALS],
    refused_by_arbitrator: u64,
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
        match RefusalCode::ALL.iter().position(|known| *known == code) {
            Some(index) => self.refused[index] += 1,
            None => self.refused_by_arbitrator += 1,
        }
    }
}

/// The shared counters of one shard.
#[derive(Debug)]
pub(super) struct Board {
    writer: Writer,
    shown_at: Nanos,
    summed_at: Nanos,
}

/// What is looked at to fill the board.
pub(super) struct Look<'a> {
    pub(super) tally: &'a Tally,
    pub(super) machine: &'a Machine,
    pub(super) wal: &'a Wal,
    pub(super) hot: &'a hot::Writer,
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
        let labels: Vec<&str> = LABELS.iter().copied().chain(refusals.iter().map(String::as_str)).collect();
        let writer = Writer::create(&labels, incarnation, shard)?;
        Ok(Self { writer, shown_at: Nanos::ZERO, summed_at: Nanos::ZERO })
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Whether the board is old enough to be worth the work.
    #[inline]
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        now.since(self.shown_at) >= SHOW_EVERY_NS || now < self.shown_at
    }

    /// Shows everything as it is now.
    pub(super) fn show(&mut self, now: Nanos, look: &Look<'_>) {
        self.shown_at = now;
        self.writer.beat(now.get());
        let Tally { refused, .. } = look.tally;
        for (index, value) in values(look).into_iter().enumerate() {
            self.writer.set(CounterIndex(index as u16), value);
        }
        for (index, value) in refused.iter().enumerate() {
            self.writer.set(CounterIndex((LABELS.len() + index) as u16), *value);
        }
        if now.since(self.summed_at) >= SUM_EVERY_NS || now < self.summed_at {
            self.summed_at = now;
            self.show_sums(look.wal);
        }
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

fn values(look: &Look<'_>) -> [u64; LABELS.len() - SUMMED] {
    let Look { tally, machine, wal, hot, boot, attach, is_disk_full } = look;
    let (counters, log, hot) = (machine.counters(), wal.stats(), hot.stats());
    [
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

/// In the order of `values`, then the sums over the flush histogram; one `refused_*` per refusal code follows.
const LABELS: [&str; 41] = [
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

/// A reader cannot see faster, and forty stores would show in a shard under full load.
const SHOW_EVERY_NS: u64 = 5_000_000;
const SUM_EVERY_NS: u64 = 200_000_000;
