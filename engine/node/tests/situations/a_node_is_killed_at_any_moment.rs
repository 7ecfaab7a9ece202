//! kill -9 loses nothing acknowledged, and a client that comes back finishes what it began, once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use io_oi_client::{Expected, PutError, Ticket};
use io_oi_record::Sequence;

use crate::support::{NodeProcess, Random, attach, eventually, get, soon};

const ROUNDS: u32 = 20;
const KEYS: u64 = 64;

#[test]
fn twenty_kills_lose_nothing_acknowledged_and_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(dir.path(), &[]);
    let socket = node.socket.clone();
    let (is_over, links) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&socket, &is_over));
        let chain = scope.spawn(|| build_a_chain_until(&socket, &is_over, &links));
        let over = EndsWithMe(&is_over);
        let mut random = Random::seeded();
        for round in 0..ROUNDS {
            // Every other kill waits for work; the rest may hit a node that still reads its log or lets clients in.
            if round % 2 == 0 {
                let before = links.load(Ordering::Relaxed);
                eventually("the chain grows", || links.load(Ordering::Relaxed) > before);
            }
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            node.kill();
            node = NodeProcess::start(dir.path(), &[]);
        }
        drop(over);
        let (newest, puts) = writer.join().unwrap();
        let links = chain.join().unwrap();
        node.kill();
        node = NodeProcess::start(dir.path(), &[]);
        let mut client = node.attach();
        for (key, value) in &newest {
            assert_eq!(
                get(&mut client, &key.to_le_bytes()).as_deref(),
                Some(&value.to_le_bytes()[..]),
                "key {key}"
            );
        }
        assert_eq!(get(&mut client, b"chain").as_deref(), Some(&links.to_le_bytes()[..]));
        println!("{ROUNDS} kills, {puts} puts, {links} links");
        assert!(puts > 0 && links >= u64::from(ROUNDS / 2));
        node.stop();
    });
}

/// Ends the clients, whatever happens: a scope waits for its threads, so a test that fails would hang instead.
struct EndsWithMe<'a>(&'a AtomicBool);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts as fast as receipts come back. The last value put under each key, and how many puts there were.
fn write_until(socket: &std::path::Path, is_over: &AtomicBool) -> (HashMap<u64, u64>, u64) {
    let mut client = attach(socket);
    let mut newest = HashMap::new();
    let (mut puts, mut answered) = (0u64, 0u64);
    let take = |client: &mut io_oi_client::Client, answered: &mut u64| {
        client.poll(|_, receipt| {
            assert!(receipt.is_accepted(), "{receipt:?}");
            *answered += 1;
        })
    };
    while !is_over.load(Ordering::Relaxed) {
        match client.put(&(puts % KEYS).to_le_bytes(), &puts.to_le_bytes()) {
            Ok(Ticket { .. }) => {
                newest.insert(puts % KEYS, puts);
                puts += 1;
            }
            Err(PutError::KeyEmpty | PutError::KeyTooLong { .. }) => unreachable!("the keys are fine"),
            Err(_) => std::thread::sleep(Duration::from_micros(100)), // Full, or away.
        }
        take(&mut client, &mut answered);
        if client.open_count() > 512 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let deadline = soon();
    while answered < puts {
        assert!(
            std::time::Instant::now() < deadline,
            "{answered} of {puts} puts were answered, the client waits for {}, attached: {}, {:?}; node: {:?}",
            client.open_count(),
            client.is_attached(),
            client.stats(),
            client.counters(io_oi_record::ShardId(0)).collect::<Vec<_>>(),
        );
        take(&mut client, &mut answered);
        std::thread::sleep(Duration::from_micros(200));
    }
    (newest, puts)
}

/// Each link holds only on the one before it: a lost link or one applied twice breaks the chain.
fn build_a_chain_until(socket: &std::path::Path, is_over: &AtomicBool, links_seen: &AtomicU64) -> u64 {
    let mut client = attach(socket);
    let (mut links, mut before): (u64, Option<Sequence>) = (0, None);
    while !is_over.load(Ordering::Relaxed) {
        let expected = before.map_or(Expected::Absent, Expected::Sequence);
        links += 1;
        let ticket = loop {
            match client.compare_and_set(b"chain", expected, &links.to_le_bytes()) {
                Ok(ticket) => break ticket,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let receipt = client.wait(ticket, soon()).unwrap();
        assert!(receipt.is_accepted(), "link {links}: {receipt:?}");
        before = Some(receipt.sequence);
        links_seen.store(links, Ordering::Relaxed);
    }
    links
}
