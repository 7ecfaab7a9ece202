//! A start from a checkpoint shows what a start from the whole log shows, reads nothing else of what lies before, and does
//! without whatever is missing or damaged beside the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use io_oi_client::Client;

use crate::support::{NodeProcess, Random, eventually, get, put, soon};

const VALUE_BYTES: usize = 48 * 1024;
const KEYS: u8 = 40;

/// What every key must show.
type State = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct Load {
    state: State,
    random: Random,
    number: u64,
}

impl Load {
    /// So many writes of long values over and over the same keys, one in ten of them a removal.
    fn write(&mut self, client: &mut Client, writes: usize) {
        for _ in 0..writes {
            self.number += 1;
            let key = vec![b'k', self.random.below(KEYS.into()) as u8];
            let value = (self.random.below(10) > 0).then(|| {
                let mut value = self.number.to_le_bytes().to_vec();
                value.resize(VALUE_BYTES - self.random.below(100) as usize, self.number as u8);
                value
            });
            match &value {
                Some(value) => assert!(put(client, &key, value).is_accepted()),
                None => {
                    let ticket = client.delete(&key).unwrap();
                    assert!(client.wait(ticket, soon()).unwrap().is_accepted());
                }
            }
            self.state.insert(key, value);
        }
    }

    fn check(&self, node: &NodeProcess, what: &str) {
        let mut client = node.attach();
        for (key, value) in &self.state {
            assert!(get(&mut client, key).as_ref() == value.as_ref(), "{what}: key {key:?}");
        }
    }
}

fn files(archive: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(archive).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(kind) && !name.ends_with(".new")
    };
    let mut files: Vec<PathBuf> = entries.filter(is_it).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn every_start_shows_the_same_whatever_it_goes_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, log) = (dir.path().join("shard-0.archive"), dir.path().join("shard-0"));
    let mut load = Load { state: State::new(), random: Random::seeded(), number: 0 };
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    put(&mut client, b"first", &[7; VALUE_BYTES]);
    put(&mut client, b"first", b"in its place");
    load.state.insert(b"first".to_vec(), Some(b"in its place".to_vec()));
    // Two segments and more, and then one more.
    load.write(&mut client, 400);
    eventually("a checkpoint is written", || !files(&archive, "checkpoint").is_empty());
    load.write(&mut client, 250);
    eventually("a second one is written", || files(&archive, "checkpoint").len() == 2);
    load.write(&mut client, 20);
    node.kill();

    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "from a checkpoint");
    load.write(&mut node.attach(), 200);
    load.check(&node, "after more writes");
    node.kill();

    // Killed again and again while the archivist works.
    for _ in 0..4 {
        let node = NodeProcess::start(dir.path(), &[]);
        load.write(&mut node.attach(), 60);
        std::thread::sleep(std::time::Duration::from_millis(load.random.below(400)));
        node.kill();
    }
    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "after kills");
    node.stop();

    flip(&files(&archive, "footer")[0], 3_000);
    std::fs::remove_file(&files(&archive, "footer")[1]).unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "with footers made anew");
    node.stop();

    let newest = files(&archive, "checkpoint").pop().unwrap();
    flip(&newest, 200);
    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "from the older checkpoint");
    node.stop();

    std::fs::rename(&archive, dir.path().join("elsewhere")).unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "from the whole log");
    node.stop();

    // The first value stands no more. Who reads the whole log meets the damage, who goes on from a checkpoint does not.
    flip(&log.join("wal-00000000.log"), 60_000);
    let _ = std::fs::remove_dir_all(&archive); // There, if the archivist was quick.
    std::fs::rename(dir.path().join("elsewhere"), &archive).unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    load.check(&node, "nothing else is read of what lies before");
    node.stop();
    std::fs::remove_dir_all(&archive).unwrap();
    let refusal = NodeProcess::try_start(dir.path(), &[]).err().expect("it is damaged");
    assert!(refusal.contains("damaged"), "{refusal}");
}

/// A checkpoint that another log left there: the log is read as if it were not.
#[test]
fn a_checkpoint_of_another_log_is_left_aside() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut loads = Vec::new();
    for dir in [&one, &other] {
        let mut load = Load { state: State::new(), random: Random::seeded(), number: 0 };
        let node = NodeProcess::start(dir.path(), &[]);
        load.write(&mut node.attach(), 250);
        let archive = dir.path().join("shard-0.archive");
        eventually("a checkpoint is written", || !files(&archive, "checkpoint").is_empty());
        node.stop();
        loads.push(load);
    }
    let archive = |dir: &tempfile::TempDir| dir.path().join("shard-0.archive");
    std::fs::remove_dir_all(archive(&one)).unwrap();
    std::fs::rename(archive(&other), archive(&one)).unwrap();
    let node = NodeProcess::start(one.path(), &[]);
    loads[0].check(&node, "beside the archive of another log");
    node.stop();
}
