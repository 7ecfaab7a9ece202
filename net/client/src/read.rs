//! Reading: a few loads from shared memory, no system call, no lock.
//!
//! Invariant: a value handed out is whole and belongs to the key asked for; a key that cannot exist is an error, an
//! absent one is `None`.

use std::sync::Arc;

use io_oi_record::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::{Epoch, Nanos, Sequence};
use io_oi_shm::{hash_key, hot, shard_of};

use crate::client::Link;
use crate::socket::Socket;
use crate::{Client, LinearizableError, Meta, ReadError, Visible};

impl Client {
    /// The newest version of `key` on this box, tentative or committed, into `value` (whose old contents go).
    ///
    /// # Errors
    /// See [`ReadError`]. An absent or deleted key is `None`.
    #[inline]
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, ReadError> {
        self.get_grown(key, value, hot::Reader::get_hashed)
    }

    /// The newest committed version of `key`, into `value` (whose old contents go).
    ///
    /// # Errors
    /// See [`ReadError`]. A key that was never committed, or deleted, is `None`.
    #[inline]
    pub fn get_committed(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, ReadError> {
        self.get_grown(key, value, hot::Reader::get_committed_hashed)
    }

    /// The newest committed version of `key` in the whole cluster, into `value` (whose old contents go): nothing that
    /// was acknowledged anywhere before this call is missing from it. No message is sent: on the box of the shard's
    /// leader the leader's lease is proof that nobody else decides, and the lease stands beside the values.
    ///
    /// # Errors
    /// [`LinearizableError::NoLease`] on every other box, and while a leader has no lease yet: read at the leader, or
    /// write the key conditionally instead (`compare_and_set` is decided by the quorum everywhere).
    pub fn get_linearizable(
        &mut self,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, LinearizableError> {
        let shard = self.shard_of(key);
        let until_ns = self.doors[shard.index()].counters.lease();
        // In this order: while the lease held, nobody else could decide, and what the leader had acknowledged by then
        // it had published. The value is read after that moment, so nothing acknowledged before it is missing.
        if until_ns == 0 || monotonic_ns() >= until_ns {
            value.clear();
            return Err(LinearizableError::NoLease { shard });
        }
        Ok(self.get_committed(key, value)?)
    }

    /// As [`Client::get`], into a buffer of the caller's own; `Meta::value_bytes` says how much of it was used.
    ///
    /// # Errors
    /// See [`ReadError`]; `BufferTooSmall` tells the length needed.
    #[inline]
    pub fn get_into(&mut self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Meta>, ReadError> {
        self.get_with(key, buffer, hot::Reader::get_hashed)
    }

    /// As [`Client::get_committed`], into a buffer of the caller's own.
    ///
    /// # Errors
    /// See [`ReadError`]; `BufferTooSmall` tells the length needed.
    #[inline]
    pub fn get_committed_into(&mut self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Meta>, ReadError> {
        self.get_with(key, buffer, hot::Reader::get_committed_hashed)
    }

    /// The newest version of `key` without copying a large value: it stays as it is while the view lives, whatever
    /// is written meanwhile, and even when the node is restarted. A view of a large value holds one of this client's
    /// pins of the shard (64 of them), and its connection: the node counts the client as attached until its views
    /// are gone, too, and a client that lost its rings attaches again only then. While the node is away the value is
    /// copied, because nobody would heed a pin.
    ///
    /// # Errors
    /// See [`ReadError`]; `PinsTaken` when too many views are held.
    pub fn view(&mut self, key: &[u8]) -> Result<Option<View>, ReadError> {
        self.tick();
        let Link::Attached { socket, .. } = &self.link else { return self.view_copied(key) };
        self.stats.reads += 1;
        check_key(key)?;
        let door = &self.doors[self.shard_of(key).index()];
        let view = door.hot.view(key, &door.pins).map_err(|error| read_error(error, 0))?;
        Ok(view.map(|view| View(Content::Shared { _heeded: view.is_pinned().then(|| socket.clone()), view })))
    }

    /// Hands every committed key that starts with `prefix` to `visit`: key, value, and what stands beside it. All
    /// shards, in no order; what is only tentative is not seen. Reads the whole table: for tools, not for strategies.
    /// A key that comes or goes meanwhile may be missed or seen twice.
    ///
    /// # Errors
    /// [`ReadError::Stalled`]; what was visited until then was right.
    pub fn scan_committed(
        &mut self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8], &Meta),
    ) -> Result<(), ReadError> {
        self.tick();
        let fresh = matches!(self.link, Link::Attached { .. });
        for door in &self.doors {
            let visit =
                |key: &[u8], value: &[u8], found: &hot::Found| visit(key, value, &meta_of(found, fresh));
            door.hot.scan_committed(prefix, visit).map_err(|error| read_error(error, 0))?;
        }
        Ok(())
    }

    /// As [`Client::scan_committed`] of all keys, a part at a time: `count` places of the hot tables from the place `from` on,
    /// the first being 0. Gives the place to go on from, `None` behind the last. Whoever goes through all places meets every
    /// key that is there all the while, once, however long that takes; a restart of the node ends that promise.
    ///
    /// # Errors
    /// [`ReadError::Stalled`]; what was visited until then was right.
    pub fn scan_committed_from(
        &mut self,
        from: u64,
        count: u64,
        mut visit: impl FnMut(&[u8], &[u8], &Meta),
    ) -> Result<Option<u64>, ReadError> {
        self.tick();
        let fresh = matches!(self.link, Link::Attached { .. });
        let (mut before, end) = (0, from.saturating_add(count));
        for door in &self.doors {
            let places = door.hot.places();
            let (first, behind) = (from.max(before), end.min(before + places));
            if first < behind {
                let visit =
                    |key: &[u8], value: &[u8], found: &hot::Found| visit(key, value, &meta_of(found, fresh));
                let scanned = door.hot.scan_committed_places(first - before, behind - first, visit);
                scanned.map_err(|error| read_error(error, 0))?;
            }
            before += places;
        }
        Ok((end < before).then_some(end))
    }

    /// Places of the hot tables, over all shards: what [`Client::scan_committed_from`] goes through.
    pub fn scan_places(&self) -> u64 {
        self.doors.iter().map(|door| door.hot.places()).sum()
    }

    #[cold]
    fn view_copied(&mut self, key: &[u8]) -> Result<Option<View>, ReadError> {
        let mut bytes = Vec::new();
        let meta = self.get(key, &mut bytes)?;
        Ok(meta.map(|meta| View(Content::Copied { bytes: bytes.into_boxed_slice(), meta })))
    }

    #[inline(always)]
    fn get_with(
        &mut self,
        key: &[u8],
        buffer: &mut [u8],
        read: impl Read,
    ) -> Result<Option<Meta>, ReadError> {
        self.tick();
        self.stats.reads += 1;
        check_key(key)?;
        let hash = hash_key(&self.seed, key);
        let shard = match self.welcome.shards {
            1 => 0,
            shards => usize::from(shard_of(hash, shards)),
        };
        let fresh = matches!(self.link, Link::Attached { .. });
        match read(&self.doors[shard].hot, hash, key, buffer) {
            Ok(found) => Ok(found.map(|found| meta_of(&found, fresh))),
            Err(error) => Err(read_error(error, buffer.len())),
        }
    }

    #[inline(always)]
    fn get_grown(
        &mut self,
        key: &[u8],
        value: &mut Vec<u8>,
        read: impl Read,
    ) -> Result<Option<Meta>, ReadError> {
        // Clearing a large buffer for every small value would cost more than the read.
        value.resize(value.len().clamp(FIRST_BYTES, VALUE_BYTES_MAX), 0);
        loop {
            match self.get_with(key, value, read) {
                Err(ReadError::BufferTooSmall { value_bytes, .. }) => value.resize(value_bytes, 0),
                Ok(Some(meta)) => {
                    value.truncate(meta.value_bytes);
                    return Ok(Some(meta));
                }
                other => {
                    value.clear();
                    return other;
                }
            }
        }
    }
}

/// One version of a value, looked at where it stands.
pub struct View(Content);

/// Fields go in the order they are written in: first the pin, then the connection that makes the node heed it.
enum Content {
    Shared { view: hot::View, _heeded: Option<Arc<Socket>> },
    Copied { bytes: Box<[u8]>, meta: Meta },
}

impl View {
    /// The value.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Shared { view, .. } => view.bytes(),
            Content::Copied { bytes, .. } => bytes,
        }
    }

    /// What stands beside the value.
    pub fn meta(&self) -> Meta {
        match &self.0 {
            Content::Shared { view, .. } => {
                let (stamp, stage, value_bytes) = (view.stamp(), view.stage(), view.bytes().len());
                meta_of(&hot::Found { value_bytes, stamp, stage }, true)
            }
            Content::Copied { meta, .. } => *meta,
        }
    }
}

impl std::ops::Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

/// One of the table's ways to read: table, hash, key, buffer.
trait Read: Copy + Fn(&hot::Reader, u64, &[u8], &mut [u8]) -> Result<Option<hot::Found>, hot::ReadError> {}
impl<F> Read for F where
    F: Copy + Fn(&hot::Reader, u64, &[u8], &mut [u8]) -> Result<Option<hot::Found>, hot::ReadError>
{
}

/// The clock that the leader's lease ends by: one for every process of a box.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Room for a first try: most values of a strategy are smaller.
const FIRST_BYTES: usize = 128;

#[inline]
fn check_key(key: &[u8]) -> Result<(), ReadError> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        key_bytes => Err(ReadError::KeyLength { key_bytes, key_bytes_max: KEY_BYTES_MAX }),
    }
}

#[inline]
fn meta_of(found: &hot::Found, fresh: bool) -> Meta {
    Meta {
        sequence: Sequence(found.stamp.sequence.0),
        epoch: Epoch(found.stamp.epoch.0),
        stage: match found.stage {
            hot::Stage::Tentative => Visible::Tentative,
            hot::Stage::Committed => Visible::Committed,
        },
        time: Nanos(found.stamp.time_ns),
        value_bytes: found.value_bytes,
        fresh,
    }
}

#[cold]
fn read_error(error: hot::ReadError, buffer_bytes: usize) -> ReadError {
    match error {
        hot::ReadError::BufferTooSmall { value_bytes } => {
            ReadError::BufferTooSmall { value_bytes, buffer_bytes }
        }
        hot::ReadError::Stalled => ReadError::Stalled,
        hot::ReadError::PinsTaken => ReadError::PinsTaken,
    }
}
