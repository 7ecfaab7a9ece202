//! The shard's clerk: a thread for what would make the shard wait. Promises are made durable, old blocks read back.
//!
//! Invariant: jobs are done in order, and each is answered by one order; a shard that has ended is not answered.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use io_oi_record::{Epoch, Sequence, ShardId};
use io_oi_wal::{BlockPlace, LogReader};

use crate::directory::Promise;
use crate::mail::{Order, Orders};

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
    pub(super) orders: Orders,
}

enum Job {
    Promise(Epoch),
    Fetch { sequence: Sequence, place: BlockPlace },
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

    /// Reads a block back; answered by [`Order::Fetched`].
    pub(super) fn fetch(&self, sequence: Sequence, place: BlockPlace) {
        self.give(Job::Fetch { sequence, place });
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

fn work(desk: Desk, inbox: &Receiver<Job>) {
    let Desk { shard, mut promise, log_path, log_config, orders } = desk;
    let mut reader = None;
    while let Ok(job) = inbox.recv() {
        orders.send(match job {
            Job::Promise(epoch) => {
                let result = promise.raise(epoch).map_err(|error| error.to_string());
                Order::Promised { epoch, result }
            }
            Job::Fetch { sequence, place } => {
                let mut block = Vec::new();
                let read = read_block(&mut reader, &log_path, &log_config, &place, &mut block);
                let bytes = match read {
                    Ok(is_held) => is_held.then_some(block),
                    Err(error) => {
                        reader = None; // Opened anew next time: a file may have been set aside meanwhile.
                        tracing::warn!(%shard, %sequence, error, "an old block cannot be read back");
                        None
                    }
                };
                Order::Fetched { sequence, bytes }
            }
        });
    }
}

fn read_block(
    reader: &mut Option<LogReader>,
    path: &std::path::Path,
    config: &io_oi_wal::Config,
    place: &BlockPlace,
    out: &mut Vec<u8>,
) -> Result<bool, String> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(LogReader::open(path, config).map_err(|error| error.to_string())?),
    };
    reader.read_block(place, out).map_err(|error| error.to_string())
}
