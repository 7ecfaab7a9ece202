//! Receipts: polled, taken one by one, or waited for.

use std::time::{Duration, Instant};

use io_oi_record::{Receipt, ShardId};

use crate::client::Link;
use crate::window::Standing;
use crate::{Client, Ticket, WaitError};

impl Client {
    /// Hands every receipt that is there, and was not taken yet, to `visit`, in the order they came per shard.
    /// Gives their number. Never waits.
    #[inline]
    pub fn poll(&mut self, mut visit: impl FnMut(Ticket, &Receipt)) -> usize {
        self.tick();
        let mut count = 0;
        for index in 0..self.channels.len() {
            self.collect(index);
            let shard = ShardId(index as u16);
            self.resubmit(shard);
            while let Some(receipt) = self.channels[index].take_first() {
                visit(Ticket { shard, session_sequence: receipt.session_sequence }, &receipt);
                count += 1;
            }
        }
        count
    }

    /// The next receipt that is there and was not taken yet. Never waits.
    #[inline]
    pub fn try_receipt(&mut self) -> Option<(Ticket, Receipt)> {
        self.tick();
        for index in 0..self.channels.len() {
            if self.channels[index].open_count() > 0 {
                self.collect(index);
                self.resubmit(ShardId(index as u16));
            }
            if let Some(receipt) = self.channels[index].take_first() {
                let shard = ShardId(index as u16);
                return Some((Ticket { shard, session_sequence: receipt.session_sequence }, receipt));
            }
        }
        None
    }

    /// The receipt of one ticket, if it is there. Never waits.
    ///
    /// # Errors
    /// [`WaitError::UnknownTicket`], [`WaitError::SessionLost`].
    pub fn receipt(&mut self, ticket: Ticket) -> Result<Option<Receipt>, WaitError> {
        self.tick();
        self.look_for(ticket)
    }

    /// Waits for the receipt of one ticket: spins for a few microseconds, then gives the core away, then naps.
    /// Receipts of other tickets that come in meanwhile are kept for `poll`. While the node is away it goes on
    /// waiting, at most `Options::reattach`.
    ///
    /// # Errors
    /// See [`WaitError`]. After `TimedOut` and `NodeAway` the same ticket may be waited for again.
    pub fn wait(&mut self, ticket: Ticket, deadline: Instant) -> Result<Receipt, WaitError> {
        let mut pause = Pause::new();
        loop {
            if let Some(receipt) = self.look_for(ticket)? {
                return Ok(receipt);
            }
            if !pause.is_clock_due() {
                pause.spin();
                continue;
            }
            let now = Instant::now();
            self.look(now);
            self.check_absence(now)?;
            if now >= deadline {
                return Err(WaitError::TimedOut { session_sequence: ticket.session_sequence });
            }
            pause.pause(now, deadline);
        }
    }

    fn look_for(&mut self, ticket: Ticket) -> Result<Option<Receipt>, WaitError> {
        let unknown = WaitError::UnknownTicket { session_sequence: ticket.session_sequence };
        if ticket.shard.index() >= self.channels.len() {
            return Err(unknown);
        }
        self.collect(ticket.shard.index());
        self.resubmit(ticket.shard);
        let channel = &mut self.channels[ticket.shard.index()];
        match channel.standing(ticket.session_sequence) {
            Standing::Answered => Ok(channel.take(ticket.session_sequence)),
            Standing::Unknown => Err(unknown),
            Standing::Open if matches!(self.link, Link::Lost { .. }) => Err(WaitError::SessionLost),
            Standing::Open => Ok(None),
        }
    }

    fn check_absence(&self, now: Instant) -> Result<(), WaitError> {
        match &self.link {
            Link::Away { since, .. } if now.duration_since(*since) >= self.options.reattach => {
                Err(WaitError::NodeAway)
            }
            _ => Ok(()),
        }
    }
}

/// How a wait passes its time: hot at first, then polite.
struct Pause {
    spins: u32,
    began: Option<Instant>,
    nap: Duration,
}

/// About ten microseconds of spinning: a `local` receipt comes within it when the shard has a core of its own.
const SPINS: u32 = 256;
/// Giving the core away costs about a microsecond and wakes at once: good for a commit, bad for a lunch break.
const YIELD_TIME: Duration = Duration::from_millis(5);
const NAP_MIN: Duration = Duration::from_micros(50);
const NAP_MAX: Duration = Duration::from_millis(1);

impl Pause {
    fn new() -> Self {
        Self { spins: 0, began: None, nap: NAP_MIN }
    }

    #[inline]
    fn is_clock_due(&self) -> bool {
        self.spins >= SPINS
    }

    #[inline]
    fn spin(&mut self) {
        self.spins += 1;
        std::hint::spin_loop();
    }

    fn pause(&mut self, now: Instant, deadline: Instant) {
        let began = *self.began.get_or_insert(now);
        if now.duration_since(began) < YIELD_TIME {
            rustix::thread::sched_yield();
            return;
        }
        std::thread::sleep(self.nap.min(deadline.saturating_duration_since(now)));
        self.nap = (self.nap * 2).min(NAP_MAX);
    }
}
