//! The second place of a shard's promises: the highest epoch that it claimed or granted.
//!
//! The log says the same, but a log can be rolled back by itself (a restored backup, a cloned disk, a repaired file).
//!
//! ```text
//! byte 0      one line of text, filled up with blanks: epoch E cluster C CHECKSUM
//! byte 4096   another; each promise overwrites the lower one, so a torn write leaves the last promise standing
//! ```
//!
//! Invariant: a promise is flushed before anything is said in its epoch, it never goes back, and it needs no new disk space:
//! a node whose disk is full can still be started and stopped.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use io_oi_record::{ClusterId, Epoch};

use super::DirectoryError;
use super::durable::replace;

/// One shard's file.
#[derive(Debug)]
pub(crate) struct Promise {
    path: PathBuf,
    file: File,
    cluster: ClusterId,
    /// What each half says.
    epochs: [Epoch; 2],
}

impl Promise {
    /// Reads what was promised; makes the file, with nothing promised, when there is none.
    pub(super) fn open(path: PathBuf, cluster: ClusterId) -> Result<Self, DirectoryError> {
        let io = |verb, error| DirectoryError::io(verb, &path, error);
        if !path.exists() {
            let empty = [slot(Epoch::NONE, cluster), slot(Epoch::NONE, cluster)].concat();
            replace(&path, &empty, 0o644).map_err(|error| io("write", error))?;
        }
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| io("open", error))?;
        let mut bytes = [0; 2 * SLOT_BYTES];
        let read = |bytes: &mut [u8]| file.read_exact_at(bytes, 0);
        read(&mut bytes).map_err(|_| DirectoryError::PromiseDamaged { path: path.clone() })?;
        let [first, second] = [0, SLOT_BYTES].map(|at| parse(&bytes[at..at + SLOT_BYTES], cluster));
        let epochs = match (first, second) {
            (None, None) => return Err(DirectoryError::PromiseDamaged { path }),
            (first, second) => [first.unwrap_or_default(), second.unwrap_or_default()],
        };
        Ok(Self { path, file, cluster, epochs })
    }

    /// The highest epoch promised.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epochs[0].max(self.epochs[1])
    }

    /// Makes the promise of an epoch durable. Blocks for one flush.
    pub(crate) fn raise(&mut self, epoch: Epoch) -> Result<(), DirectoryError> {
        if epoch <= self.epoch() {
            return Ok(());
        }
        let lower = usize::from(self.epochs[1] < self.epochs[0]);
        let written = self.file.write_all_at(&slot(epoch, self.cluster), (lower * SLOT_BYTES) as u64);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|error| DirectoryError::io("write", &self.path, error))?;
        self.epochs[lower] = epoch;
        Ok(())
    }
}

/// One line, closed by a checksum: half a number is a number, too.
fn line(epoch: Epoch, cluster: ClusterId) -> String {
    let said = format!("epoch {} cluster {cluster}", epoch.get());
    let sum = blake3::hash(said.as_bytes()).to_hex();
    format!("{said} {}\n", &sum[..16])
}

fn slot(epoch: Epoch, cluster: ClusterId) -> [u8; SLOT_BYTES] {
    let mut slot = [b' '; SLOT_BYTES];
    let line = line(epoch, cluster);
    slot[..line.len()].copy_from_slice(line.as_bytes());
    slot
}

fn parse(slot: &[u8], cluster: ClusterId) -> Option<Epoch> {
    let text = std::str::from_utf8(slot).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (Some("epoch"), Some(number)) = (words.next(), words.next()) else { return None };
    let epoch = Epoch(number.parse().ok()?);
    (text.trim_end() == line(epoch, cluster).trim_end()).then_some(epoch)
}

/// What a disk writes whole or not at all, with room to spare.
const SLOT_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_outlives_the_process_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        let mut promise = Promise::open(path.clone(), cluster).unwrap();
        assert_eq!(promise.epoch(), Epoch::NONE);
        promise.raise(Epoch(7)).unwrap();
        promise.raise(Epoch(5)).unwrap();
        assert_eq!(Promise::open(path, cluster).unwrap().epoch(), Epoch(7));
    }

    #[test]
    fn a_torn_write_leaves_the_last_promise_standing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        let mut promise = Promise::open(path.clone(), cluster).unwrap();
        for epoch in 1..=9 {
            promise.raise(Epoch(epoch)).unwrap();
            let whole = std::fs::read(&path).unwrap();
            let newest = if epoch % 2 == 1 { 0 } else { SLOT_BYTES };
            for harm in 0..120 {
                let mut torn = whole.clone();
                torn[newest + harm] ^= 1;
                std::fs::write(&path, &torn).unwrap();
                let found = Promise::open(path.clone(), cluster).unwrap().epoch();
                assert!(
                    found == Epoch(epoch - 1) || found == Epoch(epoch),
                    "epoch {epoch}: {found} at {harm}"
                );
            }
            std::fs::write(&path, &whole).unwrap();
            promise = Promise::open(path.clone(), cluster).unwrap();
        }
    }

    #[test]
    fn a_damaged_or_foreign_promise_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        Promise::open(path.clone(), cluster).unwrap().raise(Epoch(12)).unwrap();
        assert!(Promise::open(path.clone(), ClusterId([4; 32])).is_err());
        let whole = std::fs::read(&path).unwrap();
        for wrong in [&b""[..], b"epoch 1", &whole[..SLOT_BYTES], &[0; 2 * SLOT_BYTES]] {
            std::fs::write(&path, wrong).unwrap();
            let error = Promise::open(path.clone(), cluster).unwrap_err().to_string();
            assert!(error.contains("promise-0"), "{error}");
        }
    }
}
