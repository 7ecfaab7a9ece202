//! Where an earlier replay stopped, and which proposals of the event it stopped in are applied already.
//!
//! Why a cursor per shard is enough: a shard sequences the proposals of one session in ring order, so what was applied
//! on it is a prefix of what this module's events would propose to it. The shard's cursor is the last proposal of an
//! event there; only the one event behind it can be applied in part, and every value names the event that wrote it.

use std::thread;
use std::time::{Duration, Instant};

use io_oi_client::Client;
use io_oi_record::{Sequence, ShardId};

use super::words::{CURSOR_KEY, Cursor, PREFIXES, event_of_value};
use crate::failure::Failure;

/// Where each shard stood when this run began.
pub(crate) struct Start {
    marks: Vec<Mark>,
}

struct Mark {
    key: Vec<u8>,
    cursor: Cursor,
    sequence: Sequence,
    /// The event that may have been applied in part is behind us.
    settled: bool,
}

impl Start {
    /// Reads the cursors, once they have not moved for a while: proposals of a probe that was killed may still be on
    /// their way through the node.
    pub(crate) fn read(client: &mut Client) -> Result<Self, Failure> {
        let mut before = Self::look(client)?;
        let mut still_since = Instant::now();
        while still_since.elapsed() < STILL {
            thread::sleep(LOOK_EVERY);
            client.tend();
            let now = Self::look(client)?;
            if !now.same(&before) {
                still_since = Instant::now();
            }
            before = now;
        }
        Ok(before)
    }

    fn look(client: &mut Client) -> Result<Self, Failure> {
        let shards = client.shards();
        let marks = (0..shards).map(|shard| Mark::look(client, cursor_key(client, ShardId(shard))));
        Ok(Self { marks: marks.collect::<Result<_, _>>()? })
    }

    fn same(&self, other: &Self) -> bool {
        self.marks.iter().zip(&other.marks).all(|(one, two)| one.sequence == two.sequence)
    }

    /// No cursor stands anywhere.
    pub(crate) fn is_fresh(&self) -> bool {
        self.marks.iter().all(|mark| mark.cursor == Cursor::START)
    }

    /// The last event that is wholly applied on some shard.
    pub(crate) fn event(&self) -> u64 {
        self.marks.iter().map(|mark| mark.cursor.event).max().unwrap_or(0)
    }

    /// The key of a shard's cursor.
    pub(crate) fn cursor_key(&self, shard: ShardId) -> &[u8] {
        &self.marks[shard.index()].key
    }

    /// The sequence of a shard's cursor when the run began; none when there was no cursor.
    pub(crate) fn cursor_sequence(&self, shard: ShardId) -> Sequence {
        self.marks[shard.index()].sequence
    }

    /// This proposal was applied before the run began.
    pub(crate) fn is_applied(
        &self,
        client: &mut Client,
        event: u64,
        shard: ShardId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<bool, Failure> {
        let mark = &self.marks[shard.index()];
        if event <= mark.cursor.event {
            return Ok(true);
        }
        if mark.settled {
            return Ok(false);
        }
        let held = read(client, key)?;
        Ok(match value {
            None => held.is_none(),
            Some(_) => held.is_some_and(|(bytes, _)| event_of_value(&bytes) == Some(event)),
        })
    }

    /// The shard's cursor was moved by this run.
    pub(crate) fn is_settled(&self, shard: ShardId) -> bool {
        self.marks[shard.index()].settled
    }

    /// An event is wholly proposed on this shard; everything after it was certainly not applied before.
    pub(crate) fn settle(&mut self, event: u64, shard: ShardId) {
        let mark = &mut self.marks[shard.index()];
        mark.settled |= event > mark.cursor.event;
    }

    /// The files are those that the earlier run had: at every cursor the history must be the same.
    pub(crate) fn check_history(&self, cursor: &Cursor) -> Result<(), Failure> {
        let other = |mark: &&Mark| mark.cursor.event == cursor.event && mark.cursor.history != cursor.history;
        match self.marks.iter().find(other) {
            None => Ok(()),
            Some(mark) => Err(Failure::Usage(format!(
                "the node's replay was begun with other files: its history at event {} differs; give the same files in the same order",
                mark.cursor.event
            ))),
        }
    }
}

impl Mark {
    fn look(client: &mut Client, key: Vec<u8>) -> Result<Self, Failure> {
        let Some((bytes, sequence)) = read(client, &key)? else {
            return Ok(Self { key, cursor: Cursor::START, sequence: Sequence(0), settled: false });
        };
        let cursor = Cursor::decode(&bytes).ok_or_else(|| {
            let key = String::from_utf8_lossy(&key);
            Failure::Usage(format!("{key} holds something else than a replay's cursor; use another node"))
        })?;
        Ok(Self { key, cursor, sequence, settled: false })
    }
}

/// A node that holds parts of a book must not get another one on top.
pub(crate) fn check_is_empty(client: &mut Client, start: &Start) -> Result<(), Failure> {
    let mut held = !start.is_fresh();
    for prefix in PREFIXES {
        client
            .scan_committed(prefix.as_bytes(), |_, _, _| held = true)
            .map_err(|error| Failure::Refused(error.to_string()))?;
    }
    match held {
        false => Ok(()),
        true => Err(Failure::Usage(format!(
            "the node already holds a replayed book (up to event {}): go on with --resume, or use a fresh node",
            start.event()
        ))),
    }
}

/// `replay/cursor` where it belongs to this shard, else the first `replay/cursor/<n>` that does.
fn cursor_key(client: &Client, shard: ShardId) -> Vec<u8> {
    let home = CURSOR_KEY.as_bytes().to_vec();
    if client.shard_of(&home) == shard {
        return home;
    }
    let further = (0_u32..).map(|number| format!("{CURSOR_KEY}/{number}").into_bytes());
    further.into_iter().find(|key| client.shard_of(key) == shard).expect("some number hashes to every shard")
}

fn read(client: &mut Client, key: &[u8]) -> Result<Option<(Vec<u8>, Sequence)>, Failure> {
    let mut value = Vec::new();
    let meta = client.get(key, &mut value).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(meta.map(|meta| (value, meta.sequence)))
}

/// Many times what a node needs for everything that fits into a ring.
const STILL: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(10);
