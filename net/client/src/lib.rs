//! The strategy's side: attach, read shared memory, put into a ring.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = io_oi_client::Client::attach("/run/io_oi/io_oi.sock")?;
//! let ticket = client.put(b"risk/limit", b"100")?; // On to other work at once; everyone on the box sees it soon.
//! let receipt = client.wait(ticket, Instant::now() + Duration::from_secs(1))?; // Flushed by a quorum.
//! let mut value = Vec::new();
//! let meta = client.get_committed(b"risk/limit", &mut value)?.expect("our own write, with its receipt");
//! assert!(meta.sequence >= receipt.sequence);
//! # Ok(()) }
//! ```
//!
//! - **Reads** are loads from shared memory: no system call, no lock, no message.
//! - **Writes** are one copy into a ring; the answer comes as a [`Receipt`] at the [`Durability`] asked for.
//!   `Full` is an answer, never a wait.
//! - **Read your writes**: from its own receipt on, at whatever durability, a client never reads an older version of
//!   that key. Between `put` and the receipt it may read either; see [`Client::put`]. (A `local` or `mem-quorum`
//!   receipt is as good as the node's life: what was not flushed before a crash is gone, and reads show what is left.)
//! - **A node restart** is survived: the client attaches again by itself under the same session, and submits every
//!   proposal without a receipt again under its old session sequence, in order. The node takes each at most once.
//!   Meanwhile reads go on from the last mapping, marked not [`Meta::fresh`], and `put` answers `NodeAway`.
//! - **Any node will do**: a proposal given to a node that does not lead is brought to the leader, and the receipt says
//!   the same as everywhere. A change of leaders is a delay, nothing else. A client whose own node stays away may go on
//!   at another one: [`elsewhere`] says how nothing is done twice then.
//! - **Linearizable reads** ([`Client::get_linearizable`]) cost no message on the box of the shard's leader; elsewhere
//!   they are refused by name.
//! - **Threads and processes**: a client is used by one thread at a time (`Send`, not shared); a process may have
//!   several. After a `fork` the child must attach by itself.
//!
//! Prefixes bound what a client may *write*. Whoever may attach may read every key of the node: the hot segments are
//! shared as a whole.

mod channel;
mod client;
mod door;
pub mod elsewhere;
mod error;
mod handshake;
mod inquiry;
mod options;
mod read;
mod receipts;
mod socket;
mod status;
mod subscription;
mod ticket;
mod window;
mod write;

pub use client::Client;
pub use elsewhere::Unanswered;
pub use error::{AttachError, LinearizableError, PutError, ReadError, WaitError, WriteError};
pub use inquiry::{INQUIRY_BYTES_MAX, InquiryError, inquire, inquire_within};
pub use options::Options;
pub use read::View;
pub use subscription::{Change, Subscription};
pub use ticket::{Expected, Meta, Stats, Ticket, Visible};

pub use io_oi_record::attach::{AttachRefusal, Inquiry, Submission};
pub use io_oi_record::{
    ClusterId, Durability, Epoch, Nanos, NodeId, Outcome, Receipt, RefusalCode, Sequence, SessionId,
    SessionSequence, ShardId, Stage,
};
