//! The client: attaching, staying attached, and the two fast paths through it.
//!
//! Invariants:
//! - a proposal is taken at most once by the cluster, whatever dies in between: session and session sequence stay
//!   the same over every re-attach;
//! - reads never stop: without a node they answer from the last mapping and say so (`Meta::fresh`);
//! - nothing here waits but `attach` and `wait`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_oi_record::attach::{Resume, Welcome};
use io_oi_record::limits::{KEY_BYTES_MAX, SHIPMENT_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::{ClusterId, NodeId, SessionId, ShardId};
use io_oi_shm::bell::ring_if_parked;
use io_oi_shm::{HashSeed, hash_key, shard_of};

use crate::channel::{Channel, ChannelBroken, Draft};
use crate::door::Door;
use crate::handshake::{Attached, Handshake};
use crate::socket::{Socket, deadline_after};
use crate::{AttachError, Options, PutError, Stats, Ticket};

/// One session with one node. Used by one thread at a time; a process may have several.
///
/// After a `fork` the child must not use it: it would write into its parent's rings. The client notices at its next
/// look at the node and refuses, but the calls before that look are the child's own mistake.
pub struct Client {
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) link: Link,
    pub(crate) welcome: Welcome,
    pub(crate) seed: HashSeed,
    writes_everywhere: bool,
    pub(crate) doors: Vec<Door>,
    pub(crate) channels: Vec<Channel>,
    /// How often this client attached: subscriptions notice a change.
    pub(crate) generation: u64,
    pub(crate) stats: Stats,
    /// Calls until the next look at the node, and between two looks.
    calls_until_look: u32,
    calls_per_look: u32,
    owner_process: u32,
}

/// How the client stands with its node.
pub(crate) enum Link {
    /// Every pinned view has a share of the socket: the node keeps the pins of a lane as long as it is open.
    Attached {
        socket: Arc<Socket>,
        looked: Instant,
    },
    Away {
        since: Instant,
        next_try: Instant,
        pause: Duration,
        resuming: Option<Box<Handshake>>,
    },
    Lost {
        reason: String,
    },
}

impl Client {
    /// Attaches with the default options.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        Self::attach_with(path, Options::default())
    }

    /// Attaches to the node whose socket is at `path`, as a new session.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach_with(path: impl AsRef<Path>, options: Options) -> Result<Self, AttachError> {
        options.check()?;
        let path = path.as_ref().to_owned();
        let Attached { socket, welcome, doors } = attach_patiently(&path, &options)?;
        let mut client = Self {
            seed: HashSeed::new(welcome.hash_seed),
            writes_everywhere: is_unbounded(&welcome.prefixes),
            channels: doors.iter().map(|_| Channel::new(options.window_bytes)).collect(),
            path,
            options,
            link: Link::Attached { socket: Arc::new(socket), looked: Instant::now() },
            welcome,
            doors,
            generation: 1,
            stats: Stats::default(),
            calls_until_look: 1,
            calls_per_look: 1,
            owner_process: std::process::id(),
        };
        client.hand_over_lanes();
        Ok(client)
    }

    /// The cluster that the node belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.welcome.cluster
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.welcome.node
    }

    /// This client's session, the same for as long as the client lives.
    pub fn session(&self) -> SessionId {
        self.welcome.session
    }

    /// The path given to `attach`.
    pub fn socket_path(&self) -> &Path {
        &self.path
    }

    /// Number of shards.
    pub fn shards(&self) -> u16 {
        self.welcome.shards
    }

    /// The node's boot that this client is attached to, or was last.
    pub fn incarnation(&self) -> u64 {
        self.welcome.incarnation
    }

    /// Key prefixes that this client may write under; none at all, or an empty one, stands for every key.
    pub fn prefixes(&self) -> &[Vec<u8>] {
        &self.welcome.prefixes
    }

    /// Whether no prefix bounds what this client may write.
    pub fn may_write_every_key(&self) -> bool {
        self.writes_everywhere
    }

    /// The shard that owns a key.
    #[inline]
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        match self.welcome.shards {
            1 => ShardId(0),
            shards => ShardId(shard_of(hash_key(&self.seed, key), shards)),
        }
    }

    /// Whether the node was there at the last look.
    pub fn is_attached(&self) -> bool {
        matches!(self.link, Link::Attached { .. })
    }

    /// Why the session cannot go on, if it cannot.
    pub fn lost_reason(&self) -> Option<&str> {
        match &self.link {
            Link::Lost { reason } => Some(reason),
            _ => None,
        }
    }

    /// Looks at the node now: notices that it is gone, or goes one step further in attaching again. Never waits.
    /// Every other call does this now and then; a program that makes no calls for long may do it by hand.
    pub fn tend(&mut self) {
        let now = Instant::now();
        if let Link::Attached { looked, .. } = &mut self.link {
            *looked = now.checked_sub(LOOK_PERIOD).unwrap_or(now);
        }
        self.look(now);
    }

    /// What this client did so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for channel in &self.channels {
            stats.receipts += channel.receipts;
            stats.receipts_unexpected += channel.receipts_unexpected;
            stats.resubmitted += channel.resubmitted;
        }
        stats
    }

    /// Proposals without a receipt, over all shards.
    pub fn open_count(&self) -> usize {
        self.channels.iter().map(Channel::open_count).sum()
    }

    /// The write path: local checks, one copy into the window, one into the ring.
    #[inline]
    pub(crate) fn submit(&mut self, draft: &Draft<'_>) -> Result<Ticket, PutError> {
        self.tick();
        check_lengths(draft.key, draft.value)?;
        if !matches!(self.link, Link::Attached { .. }) {
            return Err(self.why_not_attached());
        }
        if !self.writes_everywhere && !self.is_allowed(draft.key) {
            return Err(PutError::PrefixNotAllowed);
        }
        let shard = self.shard_of(draft.key);
        match self.channels[shard.index()].submit(draft) {
            Ok(session_sequence) => {
                self.wake(shard);
                self.stats.proposals += 1;
                Ok(Ticket { shard, session_sequence })
            }
            Err(_) => self.submit_after_collecting(shard, draft),
        }
    }

    /// As `submit`, for what belongs to a shard and not to a key.
    pub(crate) fn submit_to(&mut self, shard: ShardId, draft: &Draft<'_>) -> Result<Ticket, PutError> {
        self.tick();
        if !matches!(self.link, Link::Attached { .. }) {
            return Err(self.why_not_attached());
        }
        if shard.index() >= self.channels.len() {
            return Err(PutError::NoSuchShard { shard, shards: self.welcome.shards });
        }
        if draft.value.is_empty() || draft.value.len() > SHIPMENT_BYTES_MAX {
            let (value_bytes, value_bytes_max) = (draft.value.len(), SHIPMENT_BYTES_MAX);
            return Err(PutError::ValueTooLong { value_bytes, value_bytes_max });
        }
        self.submit_after_collecting(shard, draft)
    }

    /// Counts calls; now and then looks at the node.
    #[inline(always)]
    pub(crate) fn tick(&mut self) {
        self.calls_until_look -= 1;
        if self.calls_until_look == 0 {
            self.look(Instant::now());
        }
    }

    /// Whether the node is alive, at most every `LOOK_PERIOD`; without a node, one step towards it.
    #[cold]
    pub(crate) fn look(&mut self, now: Instant) {
        match &mut self.link {
            Link::Attached { socket, looked } => {
                let elapsed = now.duration_since(*looked);
                if elapsed >= LOOK_PERIOD {
                    *looked = now;
                    if std::process::id() != self.owner_process {
                        return self.lose_to_parent();
                    }
                    // The socket alone tells: a node that lives may have let go of this client, and its heart beats on.
                    if socket.is_hung_up() {
                        return self.leave(now);
                    }
                }
                self.pace(elapsed);
            }
            Link::Away { .. } => {
                self.calls_until_look = 1;
                self.try_again(now);
            }
            Link::Lost { .. } => self.calls_until_look = CALLS_PER_LOOK_MAX,
        }
    }

    /// Collects the receipts of one shard; a broken ring is replaced by attaching again.
    #[inline]
    pub(crate) fn collect(&mut self, shard: usize) -> usize {
        match self.channels[shard].collect() {
            Ok(count) => count,
            Err(broken) => self.ring_broke(broken),
        }
    }

    /// Sends what a re-attach could not send at once.
    pub(crate) fn resubmit(&mut self, shard: ShardId) {
        let before = self.channels[shard.index()].resubmitted;
        self.channels[shard.index()].resubmit();
        if self.channels[shard.index()].resubmitted != before {
            self.wake(shard);
        }
    }

    /// Rings the bell of a parked shard.
    #[inline]
    fn wake(&mut self, shard: ShardId) {
        let door = &self.doors[shard.index()];
        ring_if_parked(&door.hot, &door.bell);
    }

    #[cold]
    fn submit_after_collecting(&mut self, shard: ShardId, draft: &Draft<'_>) -> Result<Ticket, PutError> {
        self.collect(shard.index());
        match self.channels[shard.index()].submit(draft) {
            Ok(session_sequence) => {
                self.wake(shard);
                self.stats.proposals += 1;
                Ok(Ticket { shard, session_sequence })
            }
            Err(_) => {
                // What an earlier attach left unsent may have gone in before the ring was full.
                self.wake(shard);
                self.look(Instant::now());
                if !self.is_attached() {
                    return Err(self.why_not_attached());
                }
                self.stats.full += 1;
                Err(PutError::Full { shard, open_count: self.channels[shard.index()].open_count() })
            }
        }
    }

    fn is_allowed(&self, key: &[u8]) -> bool {
        self.welcome.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    fn why_not_attached(&self) -> PutError {
        match self.link {
            Link::Lost { .. } => PutError::SessionLost,
            _ => PutError::NodeAway,
        }
    }

    /// Looks come about once per `LOOK_PERIOD`: seldom for a fast caller, at every call for a slow one.
    fn pace(&mut self, elapsed: Duration) {
        self.calls_per_look = match elapsed >= LOOK_PERIOD / 2 {
            true => (self.calls_per_look / 2).max(1),
            false => (self.calls_per_look * 2).min(CALLS_PER_LOOK_MAX),
        };
        self.calls_until_look = self.calls_per_look;
    }

    #[cold]
    fn ring_broke(&mut self, broken: ChannelBroken) -> usize {
        match broken {
            ChannelBroken::Corrupt => self.leave(Instant::now()),
            // The same bytes again would meet the same answer.
            ChannelBroken::Unreadable => self.lose(broken.to_string()),
        }
        0
    }

    /// The node is gone: keep the mappings for reading, forget the rings, begin to look for it.
    fn leave(&mut self, now: Instant) {
        self.channels.iter_mut().for_each(Channel::detach);
        self.link = Link::Away { since: now, next_try: now, pause: TRY_PAUSE_MIN, resuming: None };
        self.calls_until_look = 1;
    }

    fn lose(&mut self, reason: String) {
        self.channels.iter_mut().for_each(Channel::detach);
        self.link = Link::Lost { reason };
        self.calls_until_look = CALLS_PER_LOOK_MAX;
    }

    /// This is a forked child: the rings are its parent's, and stay as they are.
    fn lose_to_parent(&mut self) {
        self.channels.iter_mut().for_each(Channel::abandon);
        self.lose(AttachError::Forked { owner: self.owner_process }.to_string());
    }

    /// One step towards the node, if it is time for one.
    fn try_again(&mut self, now: Instant) {
        let Link::Away { next_try, pause, resuming, .. } = &mut self.link else { return };
        if resuming.is_none() && now < *next_try {
            return;
        }
        if std::process::id() != self.owner_process {
            return self.lose_to_parent();
        }
        let (session, token) = (self.welcome.session, self.welcome.token);
        let begun = match resuming.take() {
            Some(handshake) => Ok(handshake),
            None => {
                Handshake::begin(&self.path, &self.options, CONNECT_PATIENCE, Some(Resume { session, token }))
                    .map(Box::new)
            }
        };
        let stepped = begun.and_then(|mut handshake| Ok((handshake.step(false)?, handshake)));
        match stepped {
            Ok((false, handshake)) => *resuming = Some(handshake),
            Ok((true, handshake)) => self.adopt(handshake.finish(), now),
            Err(error) if is_final(&error) => self.lose(error.to_string()),
            Err(_) => {
                *next_try = now + *pause;
                *pause = (*pause * 2).min(TRY_PAUSE_MAX);
            }
        }
    }

    /// Goes on with the same session on the node's new segments and rings.
    fn adopt(&mut self, attached: Attached, now: Instant) {
        if let Some(what) = what_changed(&self.welcome, &attached.welcome) {
            return self.lose(AttachError::Changed { what }.to_string());
        }
        self.welcome = attached.welcome;
        self.writes_everywhere = is_unbounded(&self.welcome.prefixes);
        self.doors = attached.doors; // Views hold their own share of the old mappings.
        self.link = Link::Attached { socket: Arc::new(attached.socket), looked: now };
        self.generation += 1;
        self.stats.reattached += 1;
        self.calls_per_look = 1;
        self.calls_until_look = 1;
        self.hand_over_lanes();
    }

    fn hand_over_lanes(&mut self) {
        for index in 0..self.doors.len() {
            let lane = self.doors[index].lane.take().expect("a fresh door has its lane");
            self.channels[index].attach(lane);
            self.wake(ShardId(index as u16));
        }
    }
}

impl Drop for Client {
    /// Closes the session. What was submitted still happens.
    fn drop(&mut self) {
        // A forked child shares these rings with its parent, whose session goes on.
        if matches!(self.link, Link::Attached { .. }) && std::process::id() == self.owner_process {
            for index in 0..self.channels.len() {
                self.channels[index].say_goodbye();
                self.wake(ShardId(index as u16));
            }
        }
    }
}

/// The node is looked at about this often by a client in use.
pub(crate) const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// A look reads the clock (about 25 ns): this makes it less than half a nanosecond per call.
const CALLS_PER_LOOK_MAX: u32 = 64;
/// Between tries to attach again, doubling.
const TRY_PAUSE_MIN: Duration = Duration::from_millis(2);
const TRY_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Attaching again happens inside other calls: a node with a full backlog must not hold them up.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1);

fn attach_patiently(path: &Path, options: &Options) -> Result<Attached, AttachError> {
    let end = deadline_after(options.patience);
    let mut pause = TRY_PAUSE_MIN;
    loop {
        let tried = Handshake::begin(path, options, options.handshake, None).and_then(|mut handshake| {
            let finished = handshake.step(true)?;
            assert!(finished, "a waiting step ends finished or failed");
            Ok(handshake.finish())
        });
        match tried {
            Err(error) if Instant::now() + pause < end && !is_final(&error) => std::thread::sleep(pause),
            tried => return tried,
        }
        pause = (pause * 2).min(TRY_PAUSE_MAX);
    }
}

/// Whether trying again could not help.
fn is_final(error: &AttachError) -> bool {
    match error {
        AttachError::NodeAbsent { .. }
        | AttachError::TimedOut
        | AttachError::HungUp
        | AttachError::DescriptorsExhausted
        | AttachError::Segment { .. }
        | AttachError::System(_) => false,
        AttachError::Refused { code, .. } => !code.is_temporary(),
        _ => true,
    }
}

fn is_unbounded(prefixes: &[Vec<u8>]) -> bool {
    prefixes.is_empty() || prefixes.iter().any(Vec::is_empty)
}

fn what_changed(old: &Welcome, new: &Welcome) -> Option<&'static str> {
    let same = [
        (old.cluster == new.cluster, "cluster"),
        (old.node == new.node, "node"),
        (old.session == new.session, "session"),
        (old.shards == new.shards, "shard count"),
        (old.hash_seed == new.hash_seed, "hash seed"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

#[inline]
fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), PutError> {
    if key.is_empty() {
        return Err(PutError::KeyEmpty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(PutError::KeyTooLong { key_bytes: key.len(), key_bytes_max: KEY_BYTES_MAX });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(PutError::ValueTooLong { value_bytes: value.len(), value_bytes_max: VALUE_BYTES_MAX });
    }
    Ok(())
}
