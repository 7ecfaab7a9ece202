//! The second place of a shard's promises: the highest epoch that it claimed or granted, and whether it is mute for good.
//!
//! The log says the same, but a log can be rolled back by itself (a restored backup, a cloned disk, a repaired file). Once
//! that is found, the log reads on from others and hides it again: from then on this file alone says so. [P-44]
//!
//! ```text
//! byte 0      one line of text, filled up with blanks: epoch E cluster C CHECKSUM
//!             in a mute node's file:                   epoch E mute PAST-LOST cluster C CHECKSUM
//! byte 4096   another; each promise overwrites the lower one, so a torn write leaves the last promise standing
//!
//! PAST-LOST   promise E found F | claim E | vote SEQUENCE
//! ```
//!
//! Invariant: a promise is flushed before anything is said in its epoch, it never goes back, and it needs no new disk space:
//! a node whose disk is full can still be started and stopped. Once one line says mute, every line written says it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use io_oi_record::{ClusterId, Epoch, Sequence};
use io_oi_shard::PastLost;

use super::DirectoryError;
use super::durable::replace;

/// One shard's file.
#[derive(Debug)]
pub(crate) struct Promise {
    path: PathBuf,
    file: File,
    cluster: ClusterId,
    /// What each half says.
    lines: [Line; 2],
}

/// What one half says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    epoch: Epoch,
    past_lost: Option<PastLost>,
}

impl Promise {
    /// Reads what was promised; makes the file, with nothing promised, when there is none.
    pub(crate) fn open(path: PathBuf, cluster: ClusterId) -> Result<Self, DirectoryError> {
        let io = |verb, error| DirectoryError::io(verb, &path, error);
        if !path.exists() {
            let empty = [slot(Line::default(), cluster), slot(Line::default(), cluster)].concat();
            replace(&path, &empty, 0o644).map_err(|error| io("write", error))?;
        }
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| io("open", error))?;
        let mut bytes = [0; 2 * SLOT_BYTES];
        let read = |bytes: &mut [u8]| file.read_exact_at(bytes, 0);
        read(&mut bytes).map_err(|_| DirectoryError::PromiseDamaged { path: path.clone() })?;
        let [first, second] = [0, SLOT_BYTES].map(|at| parse(&bytes[at..at + SLOT_BYTES], cluster));
        let lines = match (first, second) {
            (None, None) => return Err(DirectoryError::PromiseDamaged { path }),
            (first, second) => [first.unwrap_or_default(), second.unwrap_or_default()],
        };
        Ok(Self { path, file, cluster, lines })
    }

    /// The highest epoch promised.
    pub(crate) fn epoch(&self) -> Epoch {
        self.lines[0].epoch.max(self.lines[1].epoch)
    }

    /// What showed that this node's past is lost, when something has. [P-44]
    pub(crate) fn past_lost(&self) -> Option<PastLost> {
        self.lines[0].past_lost.or(self.lines[1].past_lost)
    }

    /// Makes the promise of an epoch durable. Blocks for one flush.
    pub(crate) fn raise(&mut self, epoch: Epoch) -> Result<(), DirectoryError> {
        if epoch <= self.epoch() {
            return Ok(());
        }
        self.write(Line { epoch, past_lost: self.past_lost() })
    }

    /// Makes it durable that the node is mute for good; what was found first stays. Blocks for two flushes: the line that a
    /// later promise overwrites has to say it, too.
    pub(crate) fn keep_mute(&mut self, past_lost: PastLost) -> Result<(), DirectoryError> {
        let line = Line { epoch: self.epoch(), past_lost: self.past_lost().or(Some(past_lost)) };
        while self.lines != [line; 2] {
            self.write(line)?;
        }
        Ok(())
    }

    /// Over the line that says less.
    fn write(&mut self, line: Line) -> Result<(), DirectoryError> {
        let weight = |line: &Line| (line.epoch, line.past_lost.is_some());
        let lower = usize::from(weight(&self.lines[1]) < weight(&self.lines[0]));
        let written = self.file.write_all_at(&slot(line, self.cluster), (lower * SLOT_BYTES) as u64);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|error| DirectoryError::io("write", &self.path, error))?;
        self.lines[lower] = line;
        Ok(())
    }
}

/// One line, closed by a checksum: half a number is a number, too.
fn text(line: Line, cluster: ClusterId) -> String {
    let mute = match line.past_lost {
        None => String::new(),
        Some(PastLost::Promise { promised, found }) => {
            format!(" mute promise {} found {}", promised.get(), found.get())
        }
        Some(PastLost::Claim { epoch }) => format!(" mute claim {}", epoch.get()),
        Some(PastLost::Vote { sequence }) => format!(" mute vote {}", sequence.get()),
    };
    let said = format!("epoch {}{mute} cluster {cluster}", line.epoch.get());
    let sum = blake3::hash(said.as_bytes()).to_hex();
    format!("{said} {}\n", &sum[..16])
}

fn slot(line: Line, cluster: ClusterId) -> [u8; SLOT_BYTES] {
    let mut slot = [b' '; SLOT_BYTES];
    let text = text(line, cluster);
    slot[..text.len()].copy_from_slice(text.as_bytes());
    slot
}

fn parse(slot: &[u8], cluster: ClusterId) -> Option<Line> {
    let found = std::str::from_utf8(slot).ok()?;
    let words: Vec<&str> = found.split_ascii_whitespace().collect();
    let (epoch, rest) = match words[..] {
        ["epoch", epoch, ref rest @ ..] => (Epoch(epoch.parse().ok()?), rest),
        _ => return None,
    };
    let past_lost = match *rest {
        ["cluster", ..] => None,
        ["mute", "promise", promised, "found", found, ..] => Some(PastLost::Promise {
            promised: Epoch(promised.parse().ok()?),
            found: Epoch(found.parse().ok()?),
        }),
        ["mute", "claim", epoch, ..] => Some(PastLost::Claim { epoch: Epoch(epoch.parse().ok()?) }),
        ["mute", "vote", sequence, ..] => Some(PastLost::Vote { sequence: Sequence(sequence.parse().ok()?) }),
        _ => return None,
    };
    let line = Line { epoch, past_lost };
    (found.trim_end() == text(line, cluster).trim_end()).then_some(line)
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

    const LOST: [PastLost; 3] = [
        PastLost::Promise { promised: Epoch(7), found: Epoch(3) },
        PastLost::Claim { epoch: Epoch(9) },
        PastLost::Vote { sequence: Sequence(u64::MAX) },
    ];

    #[test]
    fn a_mute_node_stays_mute_whatever_it_promises_to_follow() {
        for past_lost in LOST {
            let dir = tempfile::tempdir().unwrap();
            let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
            let mut promise = Promise::open(path.clone(), cluster).unwrap();
            promise.raise(Epoch(7)).unwrap();
            assert_eq!(promise.past_lost(), None);
            promise.keep_mute(past_lost).unwrap();
            promise.keep_mute(PastLost::Claim { epoch: Epoch(1) }).unwrap();
            for epoch in [7, 8, 11] {
                promise.raise(Epoch(epoch)).unwrap();
                promise = Promise::open(path.clone(), cluster).unwrap();
                assert_eq!((promise.epoch(), promise.past_lost()), (Epoch(epoch), Some(past_lost)));
            }
        }
    }

    /// Every write that can be torn while a node falls mute and goes on: before the first whole line nothing is kept, from
    /// then on nothing forgets it.
    #[test]
    fn a_torn_write_forgets_no_muteness() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        for promises in [4, 5] {
            let _ = std::fs::remove_file(&path);
            let mut promise = Promise::open(path.clone(), cluster).unwrap();
            (1..=promises).for_each(|epoch| promise.raise(Epoch(epoch)).unwrap());
            let line = Line { epoch: Epoch(promises), past_lost: Some(LOST[0]) };
            let next = Line { epoch: Epoch(promises + 1), ..line };
            let mut is_kept = false;
            for line in [line, line, next] {
                let before = std::fs::read(&path).unwrap();
                promise.write(line).unwrap();
                let whole = std::fs::read(&path).unwrap();
                let places: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != before[*at]).collect();
                for at in places {
                    let mut torn = whole.clone();
                    torn[at] ^= 0x80; // No text at all.
                    std::fs::write(&path, &torn).unwrap();
                    let found = Promise::open(path.clone(), cluster).unwrap();
                    assert!(found.epoch() >= Epoch(promises), "{found:?}");
                    assert_eq!(found.past_lost().is_some(), is_kept, "{found:?}");
                }
                std::fs::write(&path, &whole).unwrap();
                is_kept = true;
            }
        }
    }

    #[test]
    fn a_file_of_an_earlier_release_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cluster) = (dir.path().join("promise-0"), ClusterId([3; 32]));
        let said = format!("epoch 12 cluster {cluster}");
        let line = format!("{said} {}\n", &blake3::hash(said.as_bytes()).to_hex()[..16]);
        let slot = format!("{line:<0$}", SLOT_BYTES);
        std::fs::write(&path, [slot.as_bytes(), slot.as_bytes()].concat()).unwrap();
        let mut promise = Promise::open(path.clone(), cluster).unwrap();
        assert_eq!((promise.epoch(), promise.past_lost()), (Epoch(12), None));
        promise.keep_mute(LOST[1]).unwrap();
        assert_eq!(Promise::open(path, cluster).unwrap().past_lost(), Some(LOST[1]));
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
