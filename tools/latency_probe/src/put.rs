//! Target `put`: what a put into the ring costs the strategy, and how soon another process sees the value.
//!
//! Figures of some tens of nanoseconds are below what one look at the clock costs, so puts are timed in batches; a
//! second run times single puts, clock included, to show the tail. Between batches the open proposals are held far
//! below what ring and window take, so that `Full` never stands inside a figure; if it does, it is an error.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{Client, PutError};
use io_oi_record::{Durability, Operation, Precondition, Proposal, SessionSequence};
use io_oi_shm::lane;

use crate::answers;
use crate::cli::{Bounds, Extent, NodeOptions, Put};
use crate::clock;
use crate::failure::Failure;
use crate::findings::Findings;
use crate::in_flight::InFlight;
use crate::nodes::Nodes;
use crate::probe_keys::{KEY_BYTES, fill_value, key_of, version_of};
use crate::recorder::Recorder;
use crate::report::{Load, Measured};
use crate::watch;

/// Measures puts in batches, single puts, and the visibility of the tentative value.
pub(crate) fn measure(
    options: &Put,
    extent: &Extent,
    node_options: &NodeOptions,
) -> Result<Findings, Failure> {
    let nodes = Nodes::open(node_options, &[])?;
    let mut subject = Subject::new(options, nodes.client("latency-probe put")?)?;
    let bounds = extent.bounds(RUN_LENGTH);
    let runs = vec![
        subject.put_in_batches(options.batch, bounds, "put")?,
        subject.put_in_batches(1, bounds, "put-single")?,
        subject.become_visible(&nodes, bounds)?,
    ];
    let findings = Findings {
        nodes: nodes.count(),
        shards: subject.client.shards(),
        idle: nodes.idle(),
        payload_bytes: options.value_bytes.into(),
        load: Load::Closed,
        runs,
        ..Findings::default()
    };
    drop(subject);
    nodes.close()?;
    Ok(findings)
}

struct Subject {
    client: Client,
    in_flight: InFlight,
    ring: BareRing,
    value: Vec<u8>,
    versions: Vec<u64>,
    next: u64,
    /// Where the times of receipts go, which are not what is measured here.
    unused: Recorder,
}

impl Subject {
    fn new(options: &Put, client: Client) -> Result<Self, Failure> {
        Ok(Self {
            in_flight: InFlight::new(client.shards(), Durability::DiskQuorum),
            client,
            ring: BareRing::new(options.value_bytes.into())?,
            value: vec![0; options.value_bytes.into()],
            versions: vec![0; usize::try_from(options.keys.max(1)).unwrap_or(1)],
            next: 0,
            unused: Recorder::of_ns(),
        })
    }

    fn put_in_batches(
        &mut self,
        batch: u64,
        bounds: Bounds,
        name: &'static str,
    ) -> Result<Measured, Failure> {
        let (mut ring_ns, mut full, mut puts) = (Vec::new(), 0, 0);
        let errors_before = self.in_flight.errors;
        let mut recorder = Recorder::of_batches();
        let mut busy = Duration::ZERO;
        self.fill(batch, bounds.split(10), &mut Recorder::of_batches())?;
        for _ in 0..PIECES {
            for _ in 0..RING_BATCHES_PER_PIECE {
                ring_ns.push(self.ring.push_batch(batch));
            }
            let began = Instant::now();
            let piece = self.fill(batch, bounds.split(PIECES), &mut recorder)?;
            busy += began.elapsed();
            full += piece.full;
            puts += piece.puts;
        }
        self.drain()?;
        let (hash, wrong) = self.check()?;
        Ok(Measured::new(name, OPEN_MAX, recorder.finish())
            .rate(puts as f64 / busy.as_secs_f64())
            .bound("ring_put_ns", clock::median(&mut ring_ns))
            .floor("clock_ns", clock::cost_ns())
            .with("measure", name)
            .with("puts_per_sample", batch)
            .with("clock_included", true)
            .with("full", full)
            .with("keys", self.versions.len())
            .answers(hash, wrong + full + self.in_flight.errors - errors_before))
    }

    /// Times batches until the bounds; takes receipts and prepares values outside the timed part.
    fn fill(&mut self, batch: u64, bounds: Bounds, recorder: &mut Recorder) -> Result<Piece, Failure> {
        let began = Instant::now();
        let mut piece = Piece::default();
        let mut samples = 0;
        let mut keys = vec![[0; KEY_BYTES]; batch as usize];
        let mut tickets = Vec::with_capacity(batch as usize);
        while !bounds.reached(began, Instant::now(), samples) {
            self.make_room()?;
            let number = self.prepare(&mut keys);
            let timed = Instant::now();
            for key in &keys {
                match self.client.put(key, &self.value) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(PutError::Full { .. }) => piece.full += 1,
                    Err(error) => return Err(Failure::Refused(error.to_string())),
                }
            }
            let done = Instant::now();
            recorder.record_batch(done, clock::ns_between(timed, done), batch);
            piece.puts += tickets.len() as u64;
            self.versions[number as usize] += 1;
            tickets.drain(..).for_each(|ticket| self.in_flight.pushed(ticket, done));
            samples += 1;
        }
        Ok(piece)
    }

    /// One value for the whole batch: the key it belongs to comes first, the others of the batch are strangers to the
    /// check and only take part in the figure.
    fn prepare(&mut self, keys: &mut [[u8; KEY_BYTES]]) -> u64 {
        let count = self.versions.len() as u64;
        let number = answers::scramble(self.next) % count;
        keys[0] = key_of(number);
        for (index, key) in keys.iter_mut().enumerate().skip(1) {
            *key = key_of(count + answers::scramble(self.next ^ (index as u64) << 40) % count);
        }
        self.next += 1;
        fill_value(&mut self.value, number, self.versions[number as usize] + 1);
        number
    }

    fn make_room(&mut self) -> Result<(), Failure> {
        // Receipts are taken in bulk: a poll before every batch would leave the client's lines hot for free.
        while self.in_flight.open() > OPEN_MAX {
            self.collect()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while self.in_flight.open() > 0 {
            self.collect()?;
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Failure> {
        self.in_flight.rest(&mut self.client, &mut self.unused)
    }

    fn check(&mut self) -> Result<(u64, u64), Failure> {
        let (mut hash, mut wrong, mut value) = (0, 0, Vec::new());
        for (number, version) in self.versions.iter().enumerate().filter(|(_, version)| **version > 0) {
            let found = self.client.get(&key_of(number as u64), &mut value);
            let found = found.map_err(|error| Failure::Refused(error.to_string()))?;
            let right = found.is_some() && version_of(&value, number as u64) == Some(*version);
            wrong += u64::from(!right);
            hash = answers::fold_bytes(hash, &value);
        }
        Ok((hash, wrong))
    }

    /// Puts stamped values at a steady pace while another process watches the key.
    fn become_visible(&mut self, nodes: &Nodes, bounds: Bounds) -> Result<Measured, Failure> {
        let socket = &nodes.sockets()[0];
        let own = std::env::current_exe().map_err(Failure::io("finding the probe's own program"))?;
        let mut command = Command::new(own);
        command.args(["watch", "--key", watch::KEY, "--attach"]).arg(socket);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut watcher = command.spawn().map_err(Failure::io("starting the watching process"))?;
        let sent = self.stamp(&mut watcher, bounds);
        if sent.is_err() {
            // It would end by itself at the end of its input; nothing is lost by ending it now.
            let _ = watcher.kill();
        }
        drop(watcher.stdin.take());
        let seen = read_all(&mut watcher)?;
        let (sent, per_second) = sent?;
        let mut recorder = Recorder::of_ns();
        let mut torn = 0;
        for line in seen.lines().skip(1) {
            match line.parse::<u64>() {
                Ok(ns) => recorder.record_ns(Instant::now(), ns),
                Err(_) => torn += 1,
            }
        }
        let count = recorder.count();
        let errors = torn + u64::from(count == 0);
        let mut ring_ns: Vec<f64> = (0..RING_BATCHES_PER_PIECE).map(|_| self.ring.push_batch(16)).collect();
        Ok(Measured::new("tentative-visible", 1, recorder.finish())
            .rate(per_second)
            .bound("ring_put_ns", clock::median(&mut ring_ns))
            .with("measure", "tentative-visible")
            .with("process", "reader")
            .with("put", sent)
            .with("overwritten_before_seen", sent.saturating_sub(count))
            .answers(answers::fold(0, count), errors))
    }

    /// Answers how many values were put, and how many per second.
    fn stamp(&mut self, watcher: &mut Child, bounds: Bounds) -> Result<(u64, f64), Failure> {
        // The watcher says a line when it is attached; until then nobody would see anything.
        let out = watcher.stdout.as_mut().ok_or_else(|| Failure::Child("it has no output".into()))?;
        let mut ready = [0];
        out.read_exact(&mut ready).map_err(Failure::io("waiting for the watching process"))?;
        let count = bounds.count.min((bounds.length.as_nanos() / VISIBLE_EVERY.as_nanos()) as u64).max(1);
        let began = Instant::now();
        for index in 0..count {
            let due = began + VISIBLE_EVERY * u32::try_from(index).unwrap_or(u32::MAX);
            while Instant::now() < due {
                self.collect()?;
            }
            watch::fill(&mut self.value, clock::monotonic_ns());
            let ticket = self.client.put(watch::KEY.as_bytes(), &self.value);
            let ticket = ticket.map_err(|error| Failure::Refused(error.to_string()))?;
            self.in_flight.pushed(ticket, due);
        }
        let per_second = count as f64 / began.elapsed().as_secs_f64();
        self.drain()?;
        Ok((count, per_second))
    }
}

/// What one piece of a run did.
#[derive(Default)]
struct Piece {
    puts: u64,
    full: u64,
}

/// A lane of our own with both ends in this process: the same ring without client, node and neighbours.
struct BareRing {
    node: lane::NodeLane,
    client: lane::ClientLane,
    frame: Vec<u8>,
    out: Vec<u8>,
}

impl BareRing {
    fn new(value_bytes: usize) -> Result<Self, Failure> {
        let failed = |error: String| Failure::Child(format!("a ring of its own: {error}"));
        let proposal = Proposal {
            session_sequence: SessionSequence(1),
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key: &key_of(0),
            value: &vec![0; value_bytes],
        };
        let config = lane::Config {
            proposal_ring_bytes: io_oi_record::limits::PROPOSAL_RING_BYTES,
            proposal_frame_bytes_max: io_oi_record::limits::PROPOSAL_BYTES_MAX,
            receipt_ring_bytes: 1 << 16,
            receipt_frame_bytes_max: io_oi_record::limits::RECEIPT_BYTES,
            incarnation: 1,
            shard: 0,
        };
        let (node, file) = lane::NodeLane::create(&config).map_err(|error| failed(error.to_string()))?;
        let client = lane::ClientLane::open(file).map_err(|error| failed(error.to_string()))?;
        let out = vec![0; io_oi_record::limits::PROPOSAL_BYTES_MAX];
        Ok(Self { node, client, frame: vec![1; proposal.encoded_bytes()], out })
    }

    /// Nanoseconds per push of frames as long as the measured puts', into a drained ring.
    fn push_batch(&mut self, batch: u64) -> f64 {
        let began = Instant::now();
        for _ in 0..batch {
            let pushed = self.client.proposals.push(&self.frame);
            std::hint::black_box(pushed).expect("a drained ring takes a batch");
        }
        let ns = clock::ns_between(began, Instant::now()) as f64 / batch as f64;
        while self.node.proposals.pop(&mut self.out).expect("a ring of our own is whole").is_some() {}
        ns
    }
}

fn read_all(child: &mut Child) -> Result<String, Failure> {
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).map_err(Failure::io("reading what the watching process saw"))?;
    }
    let status = child.wait().map_err(Failure::io("waiting for the watching process"))?;
    match status.success() {
        true => Ok(text),
        false => Err(Failure::Child(format!("the watching process ended with {status}"))),
    }
}

const RUN_LENGTH: Duration = Duration::from_secs(2);
const PIECES: u32 = 5;
const RING_BATCHES_PER_PIECE: usize = 200;
/// Half of the answers that a session remembers: far from `Full`.
const OPEN_MAX: usize = 2_048;
/// Slow enough that every value is seen before the next comes, on two cores as well.
const VISIBLE_EVERY: Duration = Duration::from_micros(500);
