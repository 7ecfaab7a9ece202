//! Subscriptions: committed changes under a prefix, in order per shard, gaps told.
//!
//! Invariant: between two changes of one shard nothing is missing unless a `Gap` stands between them.

use io_oi_record::{Epoch, Nanos, Operation, Published, Record, Sequence, ShardId};
use io_oi_shm::feed::{self, Next};

use crate::door::open_feed;
use crate::{Client, ReadError};

/// What a subscription tells.
#[derive(Debug)]
pub enum Change<'a> {
    /// A committed record that wrote a key under the prefix.
    Record {
        /// Its shard.
        shard: ShardId,
        /// The epoch that placed it.
        epoch: Epoch,
        /// Its time: when its block was begun by the leader.
        time: Nanos,
        /// The record, accepted: a put, a delete, or a decision by which an operator writes a key.
        record: Record<'a>,
    },
    /// Changes were missed here: read what matters anew (`Client::get_committed`), then go on.
    Gap {
        /// The shard.
        shard: ShardId,
        /// The last change before the gap, of any key; 0 when none was seen.
        after: Sequence,
        /// How many changes of the shard, of any key. Unknown over a restart of the node.
        missed: Option<u64>,
    },
}

/// A place in the feed of every shard. Made by [`Client::subscribe`]; polled with the same client.
pub struct Subscription {
    prefix: Vec<u8>,
    feeds: Vec<Feed>,
    generation: u64,
    /// Takes the longest frame; allocated once.
    frame: Vec<u8>,
}

struct Feed {
    reader: feed::Reader,
    last: Sequence,
}

impl Client {
    /// Committed changes of keys that start with `prefix`, from now on. The empty prefix takes all.
    ///
    /// # Errors
    /// [`ReadError::Segment`] when a feed cannot be mapped once more.
    pub fn subscribe(&mut self, prefix: &[u8]) -> Result<Subscription, ReadError> {
        let mut subscription = Subscription {
            prefix: prefix.to_vec(),
            feeds: Vec::new(),
            generation: self.generation,
            frame: Vec::new(),
        };
        subscription.open(self)?;
        Ok(subscription)
    }
}

impl Subscription {
    /// Hands everything new to `visit` and gives the number of changes and gaps. Never waits. After a restart of
    /// the node it goes on by itself, with a gap in every shard.
    ///
    /// # Errors
    /// [`ReadError::Segment`] when a feed is corrupt or cannot be mapped again; the next call tries anew. What a node
    /// that is gone left broken is no error: the gap stands for it.
    pub fn poll(
        &mut self,
        client: &mut Client,
        mut visit: impl FnMut(Change<'_>),
    ) -> Result<usize, ReadError> {
        client.tick();
        let mut count = 0;
        let is_current = self.generation == client.generation;
        for index in 0..self.feeds.len() {
            let drained = self.drain(index, &mut visit, &mut count);
            if is_current {
                drained?;
            }
        }
        if is_current {
            return Ok(count);
        }
        // The old feeds gave what they had: nobody writes to a dead node's segment.
        let seen: Vec<Sequence> = self.feeds.iter().map(|feed| feed.last).collect();
        self.open(client)?;
        for (index, after) in seen.into_iter().enumerate() {
            self.feeds[index].last = after;
            visit(Change::Gap { shard: ShardId(index as u16), after, missed: None });
            count += 1;
        }
        Ok(count)
    }

    /// The prefix asked for.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn open(&mut self, client: &Client) -> Result<(), ReadError> {
        let opened = client.doors.iter().map(|door| open_feed(&door.feed));
        let readers: Result<Vec<feed::Reader>, String> = opened.collect();
        let readers = readers.map_err(|reason| ReadError::Segment { reason })?;
        let longest = readers.iter().map(feed::Reader::frame_bytes_max).max().unwrap_or(0);
        self.frame.resize(longest, 0);
        self.feeds = readers.into_iter().map(|reader| Feed { reader, last: Sequence::NONE }).collect();
        self.generation = client.generation;
        Ok(())
    }

    /// Hands over what one feed has, and adds the number of it to `count`, however it ends.
    fn drain(
        &mut self,
        index: usize,
        visit: &mut impl FnMut(Change<'_>),
        count: &mut usize,
    ) -> Result<(), ReadError> {
        let shard = ShardId(index as u16);
        let Feed { reader, last } = &mut self.feeds[index];
        for _ in 0..FRAMES_PER_POLL {
            match reader.poll(&mut self.frame).map_err(unreadable)? {
                Next::Empty => break,
                Next::Lapped { missed } => {
                    visit(Change::Gap { shard, after: *last, missed: Some(missed) });
                    *count += 1;
                }
                Next::Frame(bytes) => {
                    let Published { epoch, time, record } =
                        Published::decode(&self.frame[..bytes]).map_err(unreadable)?;
                    *last = record.sequence;
                    // An operator's write has no key of its own: what it writes stands in its effects.
                    let is_wanted = match record.operation {
                        Operation::Govern => record.writes().any(|write| write.key.starts_with(&self.prefix)),
                        operation => operation.has_key() && record.key.starts_with(&self.prefix),
                    };
                    if is_wanted && record.verdict.is_accepted() {
                        visit(Change::Record { shard, epoch, time, record });
                        *count += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One `poll` ends even while the shard publishes faster than the visitor takes.
const FRAMES_PER_POLL: usize = 4096;

fn unreadable(reason: impl ToString) -> ReadError {
    ReadError::Segment { reason: reason.to_string() }
}
