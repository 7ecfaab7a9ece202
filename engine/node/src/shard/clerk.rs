//! The shard's clerk: a thread for what would make the shard wait. Promises are made durable, old blocks read back, proofs
//! built, components admitted.
//!
//! Invariant: jobs are done in order, and whoever waits for one is answered once; a shard that has ended is not answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use io_oi_record::attach::AttachRefusal;
use io_oi_record::governance::SignedGovernance;
use io_oi_record::{Epoch, Hash, Sequence, ShardId};
use io_oi_shard::PastLost;
use io_oi_wal::{BlockPlace, LogReader, ReadError};

use super::answers::Answered;
use super::evident::Evident;
use crate::court::Court;
use crate::directory::{Identity, Promise};
use crate::mail::{ClientId, Notice, Notices, Order, Orders};

/// The shard's end.
#[derive(Debug)]
pub(super) struct Clerk {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the clerk works with.
pub(super) struct Desk {
    pub(super) shard: ShardId,
    pub(super) promise: Promise,
    pub(super) log_path: PathBuf,
    pub(super) log_config: io_oi_wal::Config,
    pub(super) evidence_path: PathBuf,
    pub(super) orders: Orders,
    pub(super) notices: Notices,
    pub(super) identity: Arc<Identity>,
    pub(super) court: Arc<Court>,
}

/// A proof that somebody wants.
pub(super) struct Proving {
    pub(super) client: ClientId,
    /// Of the record at this sequence.
    pub(super) sequence: Sequence,
    pub(super) place: BlockPlace,
    /// Every change of the members that was accepted so far.
    pub(super) governance: Vec<SignedGovernance>,
}

enum Job {
    Promise(Epoch),
    KeepMute(PastLost),
    Fetch { sequence: Sequence, place: BlockPlace },
    Prove(Box<Proving>),
    Keep { hash: Hash, bytes: Vec<u8> },
    Admit { component: Hash, bytes: Vec<u8> },
}

impl Clerk {
    /// Starts the thread.
    pub(super) fn hire(desk: Desk) -> std::io::Result<Self> {
        let (jobs, inbox) = channel();
        let name = format!("io_oi-clerk-{}", desk.shard);
        let thread = std::thread::Builder::new().name(name).spawn(move || work(desk, &inbox))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Makes the promise of an epoch durable; answered by [`Order::Promised`].
    pub(super) fn promise(&self, epoch: Epoch) {
        self.give(Job::Promise(epoch));
    }

    /// Makes it durable that this node is mute for good; answered by [`Order::MuteKept`].
    pub(super) fn keep_mute(&self, past_lost: PastLost) {
        self.give(Job::KeepMute(past_lost));
    }

    /// Reads a block back; answered by [`Order::Fetched`].
    pub(super) fn fetch(&self, sequence: Sequence, place: BlockPlace) {
        self.give(Job::Fetch { sequence, place });
    }

    /// Builds a proof; answered to housekeeping.
    pub(super) fn prove(&self, proving: Proving) {
        self.give(Job::Prove(Box::new(proving)));
    }

    /// Writes evidence into a file of its own. Not answered.
    pub(super) fn keep_evidence(&self, hash: Hash, bytes: Vec<u8>) {
        self.give(Job::Keep { hash, bytes });
    }

    /// Admits a component; answered by [`Order::Admitted`].
    pub(super) fn admit(&self, component: Hash, bytes: Vec<u8>) {
        self.give(Job::Admit { component, bytes });
    }

    fn give(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("the clerk works until the shard is dropped");
        assert!(jobs.send(job).is_ok(), "the clerk outlives the shard's last job");
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Its panic was told where it happened.
        }
    }
}

fn work(mut desk: Desk, inbox: &Receiver<Job>) {
    let mut reader = None;
    while let Ok(job) = inbox.recv() {
        match job {
            Job::Promise(epoch) => {
                let result = desk.promise.raise(epoch).map_err(|error| error.to_string());
                desk.orders.send(Order::Promised { epoch, result });
            }
            Job::KeepMute(past_lost) => {
                let result = desk.promise.keep_mute(past_lost).map_err(|error| error.to_string());
                desk.orders.send(Order::MuteKept { result });
            }
            Job::Fetch { sequence, place } => {
                let bytes = desk.fetch(&mut reader, sequence, &place);
                desk.orders.send(Order::Fetched { sequence, bytes });
            }
            Job::Keep { hash, bytes } => desk.keep(hash, &bytes),
            Job::Admit { component, bytes } => {
                let looked = desk.court.admit(component, &bytes);
                desk.orders.send(Order::Admitted { component, looked });
            }
            Job::Prove(proving) => {
                let client = proving.client;
                let answered = desk.prove(&mut reader, *proving);
                desk.notices.send(Notice::Answered { client, answered });
            }
        }
    }
}

impl Desk {
    fn fetch(
        &self,
        reader: &mut Option<LogReader>,
        sequence: Sequence,
        place: &BlockPlace,
    ) -> Option<Vec<u8>> {
        let mut block = Vec::new();
        let read = self.reader(reader).and_then(|reader| reader.read_block(place, &mut block));
        match read {
            Ok(is_held) => is_held.then_some(block),
            Err(error) => {
                *reader = None; // Opened anew next time: a file may have been set aside meanwhile.
                tracing::warn!(shard = %self.shard, %sequence, %error, "an old block cannot be read back");
                None
            }
        }
    }

    /// The log has it, too: a file that cannot be written is a pity, not a danger.
    fn keep(&self, hash: Hash, bytes: &[u8]) {
        let path = self.evidence_path.join(format!("{hash}"));
        let written =
            std::fs::create_dir_all(&self.evidence_path).and_then(|()| std::fs::write(&path, bytes));
        if let Err(error) = written {
            tracing::warn!(shard = %self.shard, path = %path.display(), %error, "evidence is in the log only");
        }
    }

    fn prove(&self, reader: &mut Option<LogReader>, proving: Proving) -> Answered {
        let Proving { sequence, place, governance, .. } = proving;
        let proof = self.reader(reader).and_then(|reader| Evident::collect(reader, &place, sequence));
        match proof {
            Ok(Some(evident)) => match evident.into_proof(&self.identity.genesis, self.shard, governance) {
                Some(proof) => Answered::Bytes(proof),
                None => Answered::Refused(AttachRefusal::NotProvable),
            },
            Ok(None) => Answered::Refused(AttachRefusal::NotProvable),
            Err(error) => {
                *reader = None;
                tracing::warn!(shard = %self.shard, %sequence, %error, "a proof cannot be read from the log");
                Answered::Refused(AttachRefusal::NotFound)
            }
        }
    }

    fn reader<'a>(&self, reader: &'a mut Option<LogReader>) -> Result<&'a mut LogReader, ReadError> {
        match reader {
            Some(reader) => Ok(reader),
            None => Ok(reader.insert(LogReader::open(&self.log_path, &self.log_config)?)),
        }
    }
}
