//! Words between the housekeeping thread and the shards. Rare, so they may allocate; rings carry everything else.
//!
//! Invariant: a shard looks for mail by one relaxed load per turn; whoever writes to it sets the flag after the word
//! and rings the mailbox's bell after the flag. That bell never leaves this process: whatever clients do to the one
//! they share, housekeeping is not held up and every word arrives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crossbeam_utils::CachePadded;
use rustix::event::{EventfdFlags, eventfd};

use io_oi_record::{Epoch, Hash, RefusalCode, Sequence, SessionId, ShardId};
use io_oi_shm::bell::Bell;
use io_oi_shm::lane::NodeLane;

use crate::court::Looked;
use crate::rights::Rights;
use crate::shard::{Answered, Question};

/// One attached client, for the life of this process; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u64);

/// From housekeeping, and from the helpers of a shard, to the shard.
#[derive(Debug)]
pub(crate) enum Order {
    /// A client wants a lane.
    Attach(Box<Attachment>),
    /// A client is gone: drain its lane and forget it.
    Detach {
        /// The client.
        client: ClientId,
    },
    /// Nobody came back for a session: close it.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Somebody asks something.
    Ask {
        /// Who.
        client: ClientId,
        /// What.
        question: Question,
    },
    /// From the shard's clerk: the promise of an epoch is durable, or cannot be made so.
    Promised {
        /// The epoch.
        epoch: Epoch,
        /// What went wrong.
        result: Result<(), String>,
    },
    /// From the shard's clerk: the promise file says that this node is mute for good, or cannot be made to.
    MuteKept {
        /// What went wrong.
        result: Result<(), String>,
    },
    /// From the shard's clerk: the block that holds a sequence, or nothing.
    Fetched {
        /// The sequence.
        sequence: Sequence,
        /// The encoded block.
        bytes: Option<Vec<u8>>,
    },
    /// From the shard's clerk: what became of a component.
    Admitted {
        /// The component.
        component: Hash,
        /// It may judge, or why not.
        looked: Looked,
    },
    /// Where the members are to be found, after their names were looked up.
    Peers(Vec<io_oi_quic::Peer>),
    /// Answer what is under way, flush, and end.
    Stop,
}

/// What a shard needs to serve a client.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) client: ClientId,
    pub(crate) session: SessionId,
    /// A new session is opened through the log first; a resumed one is there already.
    pub(crate) is_new: bool,
    pub(crate) lane: NodeLane,
    pub(crate) rights: Arc<Rights>,
}

/// From a shard to housekeeping.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The lane is served, or the session could not be opened.
    Attached { client: ClientId, result: Result<(), RefusalCode> },
    /// The lane is drained, everything in it is answered, and it is gone.
    Detached { client: ClientId },
    /// The lane held bytes that no client of ours writes; it is not read any more.
    Broken { client: ClientId, what: String },
    /// The answer to [`Order::Ask`].
    Answered { client: ClientId, answered: Answered },
    /// The shard cannot go on.
    Failed { what: String },
    /// The shard's thread is about to end: always its last word.
    Ended,
}

/// The housekeeping side of one shard's mailbox; the shard's own helpers write to it, too.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    sender: Sender<Order>,
    flag: Arc<CachePadded<AtomicBool>>,
    bell: Arc<Bell>,
}

/// The shard's side.
#[derive(Debug)]
pub(crate) struct OrderBox {
    receiver: Receiver<Order>,
    flag: Arc<CachePadded<AtomicBool>>,
    bell: Arc<Bell>,
}

/// A mailbox for a shard.
///
/// # Errors
/// No descriptor is to be had.
pub(crate) fn orders() -> std::io::Result<(Orders, OrderBox)> {
    let (sender, receiver) = channel();
    // On a line of its own: the shard looks at it in every turn, and must not lose it to the counts beside it.
    let flag = Arc::new(CachePadded::new(AtomicBool::new(false)));
    let bell = Arc::new(Bell::create()?);
    Ok((Orders { sender, flag: flag.clone(), bell: bell.clone() }, OrderBox { receiver, flag, bell }))
}

impl Orders {
    /// Leaves a word and wakes the shard. A shard that has ended does not mind.
    pub(crate) fn send(&self, order: Order) {
        if self.sender.send(order).is_ok() {
            // Release pairs with the Acquire in `next`: whoever sees the flag finds the word.
            self.flag.store(true, Ordering::Release);
            self.bell.ring();
        }
    }
}

impl OrderBox {
    /// Whether there may be mail.
    #[inline]
    pub(crate) fn is_flagged(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Rings when there is mail.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The next word, if any.
    pub(crate) fn next(&mut self) -> Option<Order> {
        if let Ok(order) = self.receiver.try_recv() {
            return Some(order);
        }
        // A word sent between the look above and this swap sets the flag again after it, or is found below.
        self.flag.swap(false, Ordering::AcqRel);
        self.receiver.try_recv().ok()
    }
}

/// A shard's way to tell housekeeping something.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    shard: ShardId,
    sender: Sender<(ShardId, Notice)>,
    alarm: Arc<OwnedFd>,
}

/// Housekeeping's side: a queue, and a descriptor that becomes readable when something is in it.
#[derive(Debug)]
pub(crate) struct NoticeBox {
    sender: Sender<(ShardId, Notice)>,
    receiver: Receiver<(ShardId, Notice)>,
    alarm: Arc<OwnedFd>,
}

impl NoticeBox {
    /// An empty box.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub(crate) fn new() -> Result<Self, rustix::io::Errno> {
        let (sender, receiver) = channel();
        let alarm = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { sender, receiver, alarm: Arc::new(alarm) })
    }

    /// The sending end for one shard.
    pub(crate) fn sender(&self, shard: ShardId) -> Notices {
        Notices { shard, sender: self.sender.clone(), alarm: self.alarm.clone() }
    }

    /// Wakes housekeeping without saying anything.
    pub(crate) fn alarm(&self) -> Arc<OwnedFd> {
        self.alarm.clone()
    }

    /// Silences the alarm; what is in the box must be read afterwards.
    pub(crate) fn silence(&self) {
        let _ = rustix::io::read(&*self.alarm, &mut [0u8; 8]);
    }

    /// The next notice, if any.
    pub(crate) fn next(&self) -> Option<(ShardId, Notice)> {
        self.receiver.try_recv().ok()
    }
}

impl AsFd for NoticeBox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

impl Notices {
    /// Leaves a word and wakes housekeeping.
    pub(crate) fn send(&self, notice: Notice) {
        if self.sender.send((self.shard, notice)).is_ok() {
            sound(&self.alarm);
        }
    }
}

/// Tells housekeeping that a shard has ended, however it did.
#[derive(Debug)]
pub(crate) struct LastWord(Notices);

impl LastWord {
    /// Spoken when this is dropped.
    pub(crate) fn new(notices: Notices) -> Self {
        Self(notices)
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what =
                "it broke a promise of its own (the message stands above): please report this".to_owned();
            self.0.send(Notice::Failed { what });
        }
        self.0.send(Notice::Ended);
    }
}

/// Makes the alarm readable. It cannot fail: the counter behind it has room for 2^64 alarms.
pub(crate) fn sound(alarm: &OwnedFd) {
    let _ = rustix::io::write(alarm, &1u64.to_ne_bytes());
}
