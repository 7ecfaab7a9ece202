//! A full disk stops acceptance with a clear refusal, loses nothing, and recovers when space returns.

use std::path::Path;
use std::process::Command;

use io_oi_record::attach::AttachRefusal;
use io_oi_record::{Outcome, RefusalCode};

use crate::raw::RawClient;
use crate::support::{NodeProcess, counter, eventually, get, put, soon};

/// A file system of its own, unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"], dir.path())?;
        Ok(Self { dir })
    }

    fn grow(&self, mebibytes: u32) {
        mount(&["-o", &format!("remount,size={mebibytes}m")], self.dir.path()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<(), String> {
    let output =
        Command::new("mount").args(arguments).arg(path).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_recovers_when_space_returns() {
    let disk = match SmallDisk::mount(40) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let dir = disk.dir.path();
    let settings = ["wal.strategy=thread"];
    let node = NodeProcess::start(dir, &settings);
    let mut client = node.attach();
    let value = vec![7u8; 32 * 1024];
    let mut newest = [None; 64];
    let mut accepted = 0u64;
    let refusal = loop {
        let mut value = value.clone();
        value[..8].copy_from_slice(&accepted.to_le_bytes());
        let receipt = put(&mut client, &(accepted % 64).to_le_bytes(), &value);
        match receipt.outcome {
            Outcome::Accepted => newest[accepted as usize % 64] = Some(accepted),
            Outcome::Refused(code) => break code,
        }
        accepted += 1;
        assert!(accepted < 10_000, "40 MiB took 320 MiB");
    };
    assert_eq!(refusal, RefusalCode::DiskFull);
    assert!(refusal.text().len() > 20);
    eventually("the board says so", || counter(&client, "disk_full_now") == 1);
    let check = |client: &mut io_oi_client::Client| {
        for (key, version) in (0u64..).zip(newest) {
            let found = get(client, &key.to_le_bytes())
                .map(|value| u64::from_le_bytes(value[..8].try_into().unwrap()));
            assert_eq!(found, version, "key {key}");
        }
    };
    check(&mut client);
    drop(client);
    node.kill();
    let node = NodeProcess::start(dir, &settings);
    let mut client = node.attach();
    check(&mut client);
    // A new start may find a little more room than the last one left; it comes to the same end.
    let after_restart =
        (0..1_000).map(|_| put(&mut client, b"more", &value).outcome).find(|o| *o != Outcome::Accepted);
    assert_eq!(after_restart, Some(Outcome::Refused(RefusalCode::DiskFull)));
    disk.grow(120);
    let deadline = soon();
    while !put(&mut client, b"more", &value).is_accepted() {
        assert!(std::time::Instant::now() < deadline, "space returned, but nothing is accepted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    check(&mut client);
    node.stop();
}

/// Puts until the disk is full.
fn fill(client: &mut io_oi_client::Client) {
    let value = vec![7u8; 32 * 1024];
    let refused = (0..10_000u64)
        .map(|count| put(client, &(count % 64).to_le_bytes(), &value).outcome)
        .find(|outcome| *outcome != Outcome::Accepted);
    assert_eq!(refused, Some(Outcome::Refused(RefusalCode::DiskFull)));
}

#[test]
fn space_that_returns_while_nobody_is_attached_is_noticed() {
    let disk = match SmallDisk::mount(40) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let node = NodeProcess::start(disk.dir.path(), &["wal.strategy=thread"]);
    let mut client = node.attach();
    fill(&mut client);
    eventually("the board says so", || counter(&client, "disk_full_now") == 1);
    drop(client);
    disk.grow(120);
    let mut client = node.attach();
    eventually("acceptance comes back by itself", || counter(&client, "disk_full_now") == 0);
    assert!(put(&mut client, b"after", b"v").is_accepted());
    node.stop();
}

#[test]
fn a_node_on_a_full_disk_starts_is_read_and_stops() {
    let disk = match SmallDisk::mount(40) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let settings = ["wal.strategy=thread"];
    let node = NodeProcess::start(disk.dir.path(), &settings);
    fill(&mut node.attach());
    node.kill();
    for _ in 0..3 {
        let node = NodeProcess::start(disk.dir.path(), &settings);
        let mut client = node.attach();
        fill(&mut client);
        assert_eq!(get(&mut client, &0u64.to_le_bytes()), Some(vec![7; 32 * 1024]));
        node.stop();
    }
}

#[test]
fn clients_that_only_come_and_go_leave_room_to_start_and_stop() {
    let disk = match SmallDisk::mount(40) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let settings = ["wal.strategy=thread", "idle=yield"];
    let node = NodeProcess::start(disk.dir.path(), &settings);
    fill(&mut node.attach());
    // Each session costs the log a sector at least.
    let refusal = (0..4_000).find_map(|_| RawClient::attach(&node.socket, None).err());
    assert_eq!(refusal, Some(AttachRefusal::ResourcesExhausted));
    node.stop();
    NodeProcess::start(disk.dir.path(), &settings).stop();
}

#[test]
fn a_disk_without_room_for_the_first_segment_is_named() {
    let disk = match SmallDisk::mount(4) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let refusal = NodeProcess::try_start(disk.dir.path(), &["wal.strategy=thread"]).err().expect("it starts");
    assert!(refusal.contains("space"), "{refusal}");
}
