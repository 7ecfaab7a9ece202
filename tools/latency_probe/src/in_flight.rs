//! Proposals without a receipt, and the moment each one's latency counts from.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use io_oi_client::{Client, Ticket};
use io_oi_record::{Durability, Outcome, Receipt, SessionSequence};

use crate::clock;
use crate::failure::Failure;
use crate::recorder::Recorder;

/// Proposals without a receipt.
pub(crate) struct InFlight {
    shards: Vec<VecDeque<(SessionSequence, Instant)>>,
    durability: Durability,
    open: usize,
    /// Since when nothing came, in calls that found nothing.
    silent_since: Option<Instant>,
    /// Receipts that came.
    pub receipts: u64,
    /// Refusals, weak receipts, and receipts nobody waits for.
    pub errors: u64,
}

impl InFlight {
    /// Nothing in flight; every receipt must reach this durability.
    pub(crate) fn new(shards: u16, durability: Durability) -> Self {
        let shards = (0..shards).map(|_| VecDeque::new()).collect();
        Self { shards, durability, open: 0, silent_since: None, receipts: 0, errors: 0 }
    }

    /// How many.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// A proposal is in the ring; its latency counts from `from`.
    pub(crate) fn pushed(&mut self, ticket: Ticket, from: Instant) {
        self.shards[ticket.shard.index()].push_back((ticket.session_sequence, from));
        self.open += 1;
    }

    /// As `collect`; gives the core away when nothing is there, and notices a node that is gone or silent.
    pub(crate) fn rest(&mut self, client: &mut Client, recorder: &mut Recorder) -> Result<(), Failure> {
        if self.collect(client, recorder) > 0 || self.open == 0 {
            self.silent_since = None;
            return Ok(());
        }
        if !client.is_attached() {
            return Err(Failure::NodeGone("the node under measurement hung up; see its log".into()));
        }
        if client.open_count() == 0 {
            return Err(Failure::Refused(format!(
                "{} receipts were lost on the way; report this",
                self.open
            )));
        }
        rustix::thread::sched_yield();
        let now = Instant::now();
        match now.duration_since(*self.silent_since.get_or_insert(now)) >= SILENCE_MAX {
            true => {
                Err(Failure::NodeGone(format!("no receipt for {} s; see its log", SILENCE_MAX.as_secs())))
            }
            false => Ok(()),
        }
    }

    /// Takes the receipts that are there and records their latencies; answers how many.
    pub(crate) fn collect(&mut self, client: &mut Client, recorder: &mut Recorder) -> usize {
        let mut now = None;
        client.poll(|ticket, receipt| {
            // One look at the clock for all receipts that stood there together.
            let now = *now.get_or_insert_with(Instant::now);
            self.settle(ticket, receipt, now, recorder);
        })
    }

    fn settle(&mut self, ticket: Ticket, receipt: &Receipt, now: Instant, recorder: &mut Recorder) {
        let shard = &mut self.shards[ticket.shard.index()];
        let place = shard.binary_search_by_key(&ticket.session_sequence, |open| open.0);
        let Some((_, from)) = place.ok().and_then(|place| shard.remove(place)) else {
            self.errors += 1;
            return;
        };
        self.open -= 1;
        self.receipts += 1;
        let good = receipt.outcome == Outcome::Accepted && receipt.durability >= self.durability;
        self.errors += u64::from(!good);
        recorder.record_ns(now, clock::ns_between(from, now));
    }
}

/// A disk of these hosts has been seen to stall for seconds; a node that answers nothing for so long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What a session remembers: with more open, the client would have to forget receipts that nobody took yet.
pub(crate) const OPEN_MAX: usize = io_oi_record::limits::SESSION_WINDOW;
