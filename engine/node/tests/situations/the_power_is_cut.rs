//! The file system goes away under a working node: the shard stops loudly, and what it acknowledged is there when
//! the power is back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{FAILED_CODE, NodeProcess, Random, attach, eventually, get};

const KEYS: u64 = 32;

/// A file system in a file; unmounted when dropped.
struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    fn make() -> Result<Self, String> {
        let mount = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(mount.path()).unwrap();
        std::fs::File::create(mount.image()).unwrap().set_len(96 << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), mount.image().as_ref()])?;
        mount.mount()?;
        Ok(mount)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), self.image().as_ref(), self.path().as_ref()])
    }

    /// The shutdown call of the file system, without writing its log: unflushed bytes are gone.
    fn cut_power(&self) -> Result<(), String> {
        const CALL: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $flag = pack('L', 2); \
                            defined(ioctl($d, 0x8004587d, $flag)) or die $!;";
        run("perl", &["-e".as_ref(), CALL.as_ref(), self.path().as_ref()])
    }

    fn restore_power(&self) {
        for _ in 0..200 {
            if run("umount", &[self.path().as_ref()]).is_ok() {
                return self.mount().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the file system stays in use");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l".as_ref(), self.path().as_ref()]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn a_failed_flush_ends_the_node_and_loses_nothing_acknowledged() {
    let disk = match Mount::make() {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no ext4 on a loop device: {reason}"),
    };
    let mut random = Random::seeded();
    let mut newest = [None; KEYS as usize];
    let mut version = 0;
    for _ in 0..4 {
        let node = NodeProcess::start(&disk.path(), &["wal.strategy=linked"]);
        check(&node, &newest, version);
        let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
        let first = version;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_until(&node.socket, &is_over, &answers, first));
            eventually("the first put is acknowledged", || answers.load(Ordering::Relaxed) > 0);
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            disk.cut_power().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            is_over.store(true, Ordering::Relaxed);
            let (acknowledged, last) = writer.join().unwrap();
            for (key, version) in acknowledged {
                newest[key as usize] = newest[key as usize].max(Some(version));
            }
            version = last;
        });
        let (word, status) = node.wait_for_the_end();
        assert!(word.contains("the log failed"), "{word}");
        assert_eq!(status.code(), Some(FAILED_CODE));
        disk.restore_power();
    }
    let node = NodeProcess::start(&disk.path(), &[]);
    check(&node, &newest, version);
    node.stop();
}

/// Every key holds its newest acknowledged version or a later one that was on its way.
fn check(node: &NodeProcess, newest: &[Option<u64>; KEYS as usize], last: u64) {
    let mut client = node.attach();
    for (key, acknowledged) in (0u64..).zip(newest) {
        let found =
            get(&mut client, &key.to_le_bytes()).map(|value| u64::from_le_bytes(value.try_into().unwrap()));
        assert!(found >= *acknowledged, "key {key}: {found:?} is older than {acknowledged:?}");
        assert!(found.is_none_or(|version| version <= last), "key {key}: {found:?} was never put");
    }
}

/// Puts growing versions; what was acknowledged, and the last version submitted.
fn write_until(
    socket: &Path,
    is_over: &AtomicBool,
    answers: &AtomicU64,
    first: u64,
) -> (Vec<(u64, u64)>, u64) {
    let mut client = attach(socket);
    let mut submitted = std::collections::HashMap::new();
    let mut acknowledged = Vec::new();
    let mut version = first;
    while !is_over.load(Ordering::Relaxed) {
        if client.open_count() < 64
            && let Ok(ticket) =
                client.put(&((version + 1) % KEYS).to_le_bytes(), &(version + 1).to_le_bytes())
        {
            version += 1;
            submitted.insert(ticket, version);
        }
        client.poll(|ticket, receipt| {
            assert!(receipt.is_accepted());
            let version = submitted[&ticket];
            acknowledged.push((version % KEYS, version));
            answers.fetch_add(1, Ordering::Relaxed);
        });
    }
    (acknowledged, version)
}
