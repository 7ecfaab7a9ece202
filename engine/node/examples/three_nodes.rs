//! Three nodes in one process, on loopback: founds a cluster, puts through each node, reads on each, prints how long a put
//! takes. `cargo run --release -p io_oi_node --example three_nodes [PUTS [IN_FLIGHT [IDLE]]]`
//!
//! Invariant: a figure is printed only after every node shows the last value put.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_client::{Client, Inquiry, inquire};
use io_oi_node::directory::{install_genesis, make_key};
use io_oi_node::{AcceptAll, Config, Node, NodeHandle};
use io_oi_record::genesis::{ControlMode, Genesis, Member, TrustMode};
use io_oi_record::proof::RecordProof;
use io_oi_record::{Nanos, SignedGenesis, Signer};

fn main() -> Result<(), Box<dyn Error>> {
    let number = |place: usize, default: usize| -> usize {
        std::env::args().nth(place).and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let (puts, in_flight) = (number(1, 2_000), number(2, 1));
    let idle = std::env::args().nth(3).unwrap_or_else(|| "yield".to_owned());
    let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).try_init();
    let home = tempfile::tempdir()?;
    let nodes = start_three(home.path(), &idle)?;
    let mut clients = nodes.iter().map(|node| attach(node)).collect::<Result<Vec<_>, _>>()?;
    for (place, client) in clients.iter_mut().enumerate() {
        measure(place, client, puts, in_flight)?;
    }
    for client in &mut clients {
        see(client, b"last/2", puts as u64)?;
    }
    drop(clients);
    for node in &nodes {
        ask(node)?;
    }
    for node in nodes {
        node.stop()?;
    }
    Ok(())
}

fn start_three(home: &Path, idle: &str) -> Result<Vec<NodeHandle>, Box<dyn Error>> {
    let port = 20_000 + (std::process::id() % 20_000) as u16;
    let dirs: Vec<_> = (0..3).map(|place| home.join(format!("n{place}"))).collect();
    let mut members = Vec::new();
    for (place, dir) in dirs.iter().enumerate() {
        let address = format!("127.0.0.1:{}", port + place as u16);
        members.push(Member { node: make_key(dir)?, name: format!("n{place}"), address });
    }
    let operator = Signer::from_secret(&[7; 32]);
    let genesis = Genesis {
        members,
        operators: vec![operator.operator()],
        shards: 1,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
        hash_seed: [1; 16],
        arbitrators: AcceptAll.arbitrators(),
        created: Nanos(1),
    };
    let signed = SignedGenesis::sign(genesis, &[&operator])?;
    let mut nodes = Vec::new();
    for dir in &dirs {
        install_genesis(dir, &signed)?;
        let config =
            Config::layered("example", "", [], &[format!("dir={}", dir.display()), format!("idle={idle}")])?;
        nodes.push(Node::start(config)?);
    }
    Ok(nodes)
}

/// A cluster that has just started has no leader for a moment.
fn attach(node: &NodeHandle) -> Result<Client, Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Client::attach(node.socket_path()) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn measure(place: usize, client: &mut Client, puts: usize, in_flight: usize) -> Result<(), Box<dyn Error>> {
    let key = format!("last/{place}");
    let mut waiting = std::collections::VecDeque::new();
    let mut took_ns = Vec::with_capacity(puts);
    let started = Instant::now();
    let soon = || Instant::now() + Duration::from_secs(20);
    for number in 1..=puts as u64 {
        waiting.push_back((Instant::now(), client.put(key.as_bytes(), &number.to_le_bytes())?));
        if waiting.len() >= in_flight {
            let (since, ticket) = waiting.pop_front().ok_or("nothing waits")?;
            client.wait(ticket, soon())?;
            took_ns.push(since.elapsed().as_nanos());
        }
    }
    for (since, ticket) in waiting {
        client.wait(ticket, soon())?;
        took_ns.push(since.elapsed().as_nanos());
    }
    let per_second = puts as f64 / started.elapsed().as_secs_f64();
    took_ns.sort_unstable();
    let at = |part: f64| took_ns[((took_ns.len() - 1) as f64 * part) as usize] / 1_000;
    println!(
        "node {place}: {puts} puts, {in_flight} in flight: p50 {} us, p99 {} us, p99.9 {} us, {per_second:.0}/s",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    Ok(())
}

/// What the node says of itself, and a proof that needs nobody's word.
fn ask(node: &NodeHandle) -> Result<(), Box<dyn Error>> {
    for inquiry in [Inquiry::Status, Inquiry::Peers, Inquiry::Leader, Inquiry::Evidence] {
        println!("{inquiry:?}: {}", String::from_utf8(inquire(node.socket_path(), &inquiry)?)?);
    }
    let proof = RecordProof::decode(&inquire(node.socket_path(), &Inquiry::Prove(b"last/2".to_vec()))?)?;
    let proven = proof.verify(&proof.genesis.genesis)?;
    println!("proven: sequence {}, {} voters", proven.sequence, proven.voters.len());
    Ok(())
}

fn see(client: &mut Client, key: &[u8], expected: u64) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut value = Vec::new();
    loop {
        let found = client.get_committed(key, &mut value)?;
        if found.is_some() && value == expected.to_le_bytes() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err("a node does not show the last value".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
