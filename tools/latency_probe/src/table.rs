//! The hot table that `hot-read` reads, owned by a node or by a bare writer process; this process only maps it.
//!
//! A value names the key to read next, so that a chain of reads visits every key once per round:
//!
//! ```text
//! 0 next key, 16 bytes | 16 key number u64 | 24 check word u64 | filler that follows from the key number
//! ```

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use io_oi_client::{Client, PutError};
use io_oi_record::Durability;
use io_oi_shm::{HashSeed, hot};

use crate::answers::scramble;
use crate::cli::{HotRead, NodeOptions, TableOwner, TableRun};
use crate::failure::Failure;
use crate::in_flight::{self, InFlight};
use crate::node_run::die_with_parent;
use crate::nodes::{Nodes, first_line};
use crate::probe_keys::{KEY_BYTES, key_of};
use crate::recorder::Recorder;

/// Whoever writes the table.
pub(crate) struct Owner {
    table: Table,
    writer: Writer,
    order: Vec<u32>,
    keys: u64,
}

enum Writer {
    Node(Box<Nodes>),
    Process(Child),
}

/// The reading side.
pub(crate) enum Table {
    /// Through the client: what a strategy has.
    Client(Box<Client>),
    /// The bare table.
    Reader(Box<hot::Reader>),
}

impl Table {
    /// Reads into the buffer; answers the value's length.
    #[inline]
    pub(crate) fn get(&mut self, key: &[u8; KEY_BYTES], value: &mut [u8]) -> Option<usize> {
        match self {
            Self::Client(client) => client.get_into(key, value).ok().flatten().map(|meta| meta.value_bytes),
            Self::Reader(reader) => reader.get(key, value).ok().flatten().map(|found| found.value_bytes),
        }
    }
}

impl Owner {
    /// Makes or attaches to a table and fills it with this many keys.
    pub(crate) fn open(
        options: &HotRead,
        keys: u64,
        nodes: &NodeOptions,
        quiet: bool,
    ) -> Result<Self, Failure> {
        if !(2..=KEYS_MAX).contains(&keys) {
            return Err(Failure::Usage(format!("--keys {keys}: give 2 to {KEYS_MAX}")));
        }
        let order = cycle(keys);
        let (writer, table) = match options.process {
            TableOwner::Writer if !nodes.attach.is_empty() => {
                return Err(Failure::Usage("--process writer needs no node: leave --attach out".into()));
            }
            TableOwner::Writer => spawn_writer(keys, options.value_bytes)?,
            TableOwner::Node => {
                let nodes = Nodes::open(nodes, &settings(keys, options.value_bytes))?;
                let mut client = nodes.client("latency-probe hot-read")?;
                fill(&mut client, &order, options.value_bytes, quiet)?;
                (Writer::Node(Box::new(nodes)), Table::Client(Box::new(client)))
            }
        };
        Ok(Self { table, writer, order, keys })
    }

    /// The reading side.
    pub(crate) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// The cycle in which values name the next key, by key number.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Who writes: `node` or `writer`.
    pub(crate) fn process(&self) -> &'static str {
        match self.writer {
            Writer::Node(_) => "node",
            Writer::Process(_) => "writer",
        }
    }

    /// Nodes taking part.
    pub(crate) fn nodes(&self) -> usize {
        match &self.writer {
            Writer::Node(nodes) => nodes.count(),
            Writer::Process(_) => 0,
        }
    }

    /// Shards of the table.
    pub(crate) fn shards(&self) -> u16 {
        match &self.table {
            Table::Client(client) => client.shards(),
            Table::Reader(_) => 1,
        }
    }

    /// The node's idle strategy.
    pub(crate) fn idle(&self) -> String {
        match &self.writer {
            Writer::Node(nodes) => nodes.idle(),
            Writer::Process(_) => "none".into(),
        }
    }

    /// Ends the writer; an attached node loses the probe's keys.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match (self.writer, self.table) {
            (Writer::Node(nodes), Table::Client(mut client)) => {
                if !nodes.are_spawned() {
                    clean(&mut client, self.keys)?;
                }
                drop(client);
                nodes.close()
            }
            (Writer::Process(mut child), _) => {
                // It ends with its standard input.
                drop(child.stdin.take());
                child.wait().map(drop).map_err(Failure::io("waiting for the writer process"))
            }
            (Writer::Node(nodes), Table::Reader(_)) => nodes.close(),
        }
    }
}

/// The check word of a key's value.
#[inline]
pub(crate) fn check_of(number: u64) -> u64 {
    scramble(number ^ CHECK_SALT)
}

/// The hidden writer process: a table without a node.
pub(crate) fn run(options: &TableRun) -> Result<(), Failure> {
    die_with_parent();
    let failed = |error: String| Failure::Child(error);
    let config = hot::Config {
        entries_max: options.keys,
        large_bytes_max: large_bytes(options.keys, options.value_bytes),
        seed: HashSeed::new([7; 16]),
        ..hot::Config::default()
    };
    let mut writer = hot::Writer::create(&config).map_err(|error| failed(error.to_string()))?;
    let order = cycle(options.keys);
    let mut value = vec![0; options.value_bytes.into()];
    for (at, number) in order.iter().enumerate() {
        let key = key_of(u64::from(*number));
        fill_value(&mut value, *number, order[(at + 1) % order.len()]);
        let stamp = hot::Stamp {
            sequence: hot::Sequence(at as u64 + 1),
            epoch: hot::Epoch(1),
            time_ns: at as u64 + 1,
        };
        writer.room_for(&key, value.len()).map_err(|error| failed(error.to_string()))?;
        writer.publish_committed(&key, Some(&value), stamp).map_err(|error| failed(error.to_string()))?;
    }
    println!("{}", writer.fd().as_raw_fd());
    std::io::stdout().flush().map_err(Failure::io("telling the probe where the table is"))?;
    let mut rest = String::new();
    // An error is an end as well.
    let _ = std::io::stdin().read_line(&mut rest);
    Ok(())
}

fn spawn_writer(keys: u64, value_bytes: u16) -> Result<(Writer, Table), Failure> {
    let own = std::env::current_exe().map_err(Failure::io("finding the probe's own program"))?;
    let mut command = Command::new(own);
    command.arg("table-run").args(["--keys", &keys.to_string(), "--value-bytes", &value_bytes.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(Failure::io("starting the writer process"))?;
    let Some(descriptor) = first_line(&mut child, FILL_MAX) else {
        // It has said why on standard error.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Failure::Child("the writer process made no table; is there enough memory?".into()));
    };
    let path = format!("/proc/{}/fd/{descriptor}", child.id());
    let file = OpenOptions::new().read(true).open(path).map_err(Failure::io("opening the writer's table"))?;
    let reader = hot::Reader::open(OwnedFd::from(file)).map_err(|error| Failure::Child(error.to_string()))?;
    Ok((Writer::Process(child), Table::Reader(Box::new(reader))))
}

/// Commits every key, many in flight.
fn fill(client: &mut Client, order: &[u32], value_bytes: u16, quiet: bool) -> Result<(), Failure> {
    let mut in_flight = InFlight::new(client.shards(), Durability::DiskQuorum);
    let mut recorder = Recorder::of_ns();
    let mut value = vec![0; value_bytes.into()];
    let progress = if quiet { ProgressBar::hidden() } else { ProgressBar::new(order.len() as u64) };
    for (at, number) in order.iter().enumerate() {
        fill_value(&mut value, *number, order[(at + 1) % order.len()]);
        let key = key_of(u64::from(*number));
        push(client, &mut in_flight, &mut recorder, |client| client.put(&key, &value))?;
        if at % 4_096 == 0 {
            progress.set_position(at as u64);
        }
    }
    finish(client, &mut in_flight, &mut recorder)?;
    progress.finish_and_clear();
    Ok(())
}

/// Takes the probe's keys out of a node that is not its own.
fn clean(client: &mut Client, keys: u64) -> Result<(), Failure> {
    let mut in_flight = InFlight::new(client.shards(), Durability::DiskQuorum);
    let mut recorder = Recorder::of_ns();
    for number in 0..keys {
        push(client, &mut in_flight, &mut recorder, |client| client.delete(&key_of(number)))?;
    }
    finish(client, &mut in_flight, &mut recorder)
}

fn push(
    client: &mut Client,
    in_flight: &mut InFlight,
    recorder: &mut Recorder,
    put: impl Fn(&mut Client) -> Result<io_oi_client::Ticket, PutError>,
) -> Result<(), Failure> {
    while in_flight.open() >= in_flight::OPEN_MAX {
        in_flight.rest(client, recorder)?;
    }
    loop {
        match put(client) {
            Ok(ticket) => {
                in_flight.pushed(ticket, Instant::now());
                return Ok(());
            }
            Err(PutError::Full { .. }) => in_flight.rest(client, recorder)?,
            Err(error) => return Err(Failure::Refused(error.to_string())),
        }
    }
}

fn finish(client: &mut Client, in_flight: &mut InFlight, recorder: &mut Recorder) -> Result<(), Failure> {
    while in_flight.open() > 0 {
        in_flight.rest(client, recorder)?;
    }
    match in_flight.errors {
        0 => Ok(()),
        errors => Err(Failure::Refused(format!(
            "{errors} of the keys were refused while the table was filled; raise hot.entries_max of the node"
        ))),
    }
}

fn fill_value(value: &mut [u8], number: u32, next: u32) {
    value[..KEY_BYTES].copy_from_slice(&key_of(u64::from(next)));
    value[16..24].copy_from_slice(&u64::from(number).to_le_bytes());
    value[24..32].copy_from_slice(&check_of(u64::from(number)).to_le_bytes());
    for (index, chunk) in value[32..].chunks_mut(8).enumerate() {
        let word = scramble(u64::from(number) << 8 | index as u64).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// All key numbers once, in an order that follows from their count alone.
fn cycle(keys: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..keys as u32).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, (scramble(last as u64 ^ keys << 32) % (last as u64 + 1)) as usize);
    }
    order
}

/// A table for this working set and no other, in a log with few segments.
fn settings(keys: u64, value_bytes: u16) -> Vec<String> {
    vec![format!("hot.entries_max={keys}"), format!("hot.large_bytes_max={}", large_bytes(keys, value_bytes))]
}

/// Room for values that do not stand in their slot, with as much again for versions on their way out.
fn large_bytes(keys: u64, value_bytes: u16) -> u64 {
    match usize::from(value_bytes) + KEY_BYTES <= 88 {
        true => 1 << 20,
        false => (keys * u64::from(value_bytes).next_power_of_two() * 2).max(16 << 20),
    }
}

const CHECK_SALT: u64 = 0x0c4e_c6ed_a5e1_u64;
/// Key numbers are 32-bit here, and a table of more takes more memory than hosts of this kind have.
const KEYS_MAX: u64 = 100_000_000;
const FILL_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cycle_has_every_number_once() {
        let mut order = cycle(1_000);
        assert_ne!(order, (0..1_000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_value_names_the_next_key_and_its_own_number() {
        let mut value = [0; 64];
        fill_value(&mut value, 5, 6);
        assert_eq!(value[..KEY_BYTES], key_of(6));
        assert_eq!(value[24..32], check_of(5).to_le_bytes());
    }
}
