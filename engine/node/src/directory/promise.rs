//! The second place of a shard's promises: the highest epoch that it claimed or granted.
//!
//! The log says the same, but a log can be rolled back by itself (a restored backup, a cloned disk, a repaired file).
//!
//! Invariant: the file is replaced, and file and directory are flushed, before anything is said in the promised epoch;
//! it never goes back.

use std::path::{Path, PathBuf};

use io_oi_record::{ClusterId, Epoch};

use super::DirectoryError;
use super::durable::replace;

/// One shard's file.
#[derive(Debug)]
pub(crate) struct Promise {
    path: PathBuf,
    cluster: ClusterId,
    epoch: Epoch,
}

impl Promise {
    /// Reads what was promised; nothing when there is no file yet.
    pub(super) fn open(path: PathBuf, cluster: ClusterId) -> Result<Self, DirectoryError> {
        let epoch = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text, cluster)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Epoch::NONE,
            Err(error) => return Err(DirectoryError::io("read", &path, error)),
        };
        Ok(Self { path, cluster, epoch })
    }

    /// The highest epoch promised.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Makes the promise of an epoch durable. Blocks for two flushes.
    pub(crate) fn raise(&mut self, epoch: Epoch) -> Result<(), DirectoryError> {
        if epoch <= self.epoch {
            return Ok(());
        }
        let text = line(epoch, self.cluster);
        replace(&self.path, text.as_bytes(), 0o644)
            .map_err(|error| DirectoryError::io("write", &self.path, error))?;
        self.epoch = epoch;
        Ok(())
    }
}

/// One line, closed by a checksum: half a number is a number, too.
fn line(epoch: Epoch, cluster: ClusterId) -> String {
    let said = format!("epoch {} cluster {cluster}", epoch.get());
    let sum = blake3::hash(said.as_bytes()).to_hex();
    format!("{said} {}\n", &sum[..16])
}

fn parse(path: &Path, text: &str, cluster: ClusterId) -> Result<Epoch, DirectoryError> {
    let damaged = || DirectoryError::PromiseDamaged { path: path.to_owned() };
    let mut words = text.split_ascii_whitespace();
    let (Some("epoch"), Some(number)) = (words.next(), words.next()) else { return Err(damaged()) };
    let epoch = Epoch(number.parse().map_err(|_| damaged())?);
    if text == line(epoch, cluster) { Ok(epoch) } else { Err(damaged()) }
}

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
    fn a_damaged_or_foreign_promise_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        Promise::open(path.clone(), cluster).unwrap().raise(Epoch(12)).unwrap();
        assert!(Promise::open(path.clone(), ClusterId([4; 32])).is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        for wrong in ["", "epoch 1", &text.replace("12", "11"), &text[..text.len() - 2]] {
            std::fs::write(&path, wrong).unwrap();
            let error = Promise::open(path.clone(), cluster).unwrap_err().to_string();
            assert!(error.contains("promise-0"), "{error}");
        }
    }
}
