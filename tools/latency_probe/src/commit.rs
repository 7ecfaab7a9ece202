//! Target `commit`: from put to receipt, at a durability, for a sweep of requests in flight.
//!
//! Open loop: requests leave by a timetable, and a late one counts from when it should have left. Closed loop: the
//! next leaves when an earlier one is answered; for throughput. The client sits on the leader's box.
//!
//! The floors are measured in turn with the load, the nodes idle meanwhile: a flush with as many files flushed at once as
//! nodes share the disk, and for several nodes one QUIC round trip. What a commit cannot go below is their sum at
//! `disk-quorum` and `certified`, the round trip alone at `mem-quorum`. After each run every key must hold exactly the last version that was acknowledged for it.

use std::time::{Duration, Instant};

use io_oi_client::{Client, PutError};
use io_oi_record::Durability;

use crate::answers;
use crate::cli::{Bounds, Commit, Extent, NodeOptions};
use crate::clock;
use crate::failure::Failure;
use crate::findings::Findings;
use crate::floors::flush::{PlainFiles, block_bytes};
use crate::floors::wire::Wire;
use crate::in_flight::InFlight;
use crate::nodes::Nodes;
use crate::probe_keys::{fill_value, key_of, version_of};
use crate::recorder::Recorder;
use crate::report::{Load, Measured, rounded};

/// Runs the sweep.
pub(crate) fn measure(
    options: &Commit,
    extent: &Extent,
    node_options: &NodeOptions,
) -> Result<Findings, Failure> {
    let nodes = Nodes::open(node_options, &[ring_setting(options)])?;
    let mut subject = Subject::new(options, &nodes)?;
    let bounds = extent.bounds(RUN_LENGTH);
    subject.closed(WARM_UP.min(bounds), 64, &mut Recorder::of_ns())?;
    let mut runs = Vec::new();
    for in_flight in &options.in_flight {
        runs.push(subject.run(options, *in_flight as usize, bounds)?);
    }
    let findings = Findings {
        nodes: nodes.count(),
        shards: subject.client.shards(),
        idle: nodes.idle(),
        payload_bytes: options.payload as usize,
        durability: options.durability.to_string(),
        load: options.load,
        runs,
        replay: None,
    };
    drop(subject);
    nodes.close()?;
    Ok(findings)
}

/// A ring that holds everything that may be in flight, so that `Full` bounds no point of the sweep.
fn ring_setting(options: &Commit) -> String {
    let most = options.in_flight.iter().copied().max().unwrap_or(1) as usize;
    let bytes = most * (options.payload as usize + RECORD_EXTRA_BYTES);
    format!("lane.proposal_bytes={}", bytes.next_power_of_two().clamp(RING_BYTES_MIN, RING_BYTES_MAX))
}

/// The client and the keys it rewrites.
struct Subject {
    client: Client,
    in_flight: InFlight,
    plain: PlainFiles,
    /// Between several nodes only.
    wire: Option<Wire>,
    durability: Durability,
    value: Vec<u8>,
    /// Key number → the last version put; 0 before the first.
    versions: Vec<u64>,
    next: u64,
    full: u64,
}

impl Subject {
    fn new(options: &Commit, nodes: &Nodes) -> Result<Self, Failure> {
        let client = nodes.client("latency-probe commit")?;
        let plain = PlainFiles::create(&nodes.disk(), "commit-floor", FLOOR_FILE_BYTES, nodes.count())
            .map_err(Failure::io("making the plain files of the flush floor"))?;
        let wire = match nodes.count() {
            1 => None,
            _ => Some(Wire::new(options.payload as usize + RECORD_EXTRA_BYTES)?),
        };
        Ok(Self {
            in_flight: InFlight::new(client.shards(), options.durability),
            client,
            plain,
            wire,
            durability: options.durability,
            value: vec![0; options.payload as usize],
            versions: vec![0; usize::try_from(options.keys.max(1)).unwrap_or(1)],
            next: 0,
            full: 0,
        })
    }

    fn run(&mut self, options: &Commit, in_flight: usize, bounds: Bounds) -> Result<Measured, Failure> {
        let calibration = CALIBRATION.min(bounds);
        let closed_per_second = match options.load {
            Load::Closed => None,
            Load::Open => Some(self.closed(calibration, in_flight, &mut Recorder::of_ns())?),
        };
        let rate = options.rate.or(closed_per_second.map(|rate| rate * SHARE_OF_CLOSED)).unwrap_or(f64::MAX);
        let block = block_bytes(in_flight.saturating_mul(options.payload as usize + RECORD_EXTRA_BYTES));
        let (mut flushes, mut round_trips, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        let mut recorder = Recorder::of_ns();
        let errors_before = self.in_flight.errors;
        for _ in 0..PIECES {
            let appends = self.plain.append(block, FLUSHES_PER_PIECE);
            flushes.extend(appends.map_err(Failure::io("writing the flush floor"))?);
            if let Some(wire) = &self.wire {
                round_trips.extend(wire.round_trips()?);
            }
            let piece = bounds.split(PIECES);
            rates.push(match options.load {
                Load::Closed => self.closed(piece, in_flight, &mut recorder)?,
                Load::Open => self.open(piece, in_flight, rate, &mut recorder)?,
            });
        }
        let (hash, wrong) = self.check()?;
        let flush_p99 = clock::p99(&mut flushes.clone());
        let measured = Measured::new(format!("in-flight-{in_flight}"), in_flight, recorder.finish())
            .rate(clock::median(&mut rates))
            .floor("flush_p99_ns", flush_p99)
            .with("loop", if options.load == Load::Open { "open" } else { "closed" })
            .with("flush_block_bytes", block)
            .with("flush_direct", self.plain.are_direct())
            .with("keys", self.versions.len())
            .with("full", std::mem::take(&mut self.full))
            .answers(hash, wrong + self.in_flight.errors - errors_before);
        let measured = self.bounded(measured, clock::median(&mut flushes), round_trips);
        Ok(match (options.load, closed_per_second) {
            (Load::Open, Some(closed)) => {
                measured.with("offered_per_second", rounded(rate)).with("closed_per_second", rounded(closed))
            }
            _ => measured,
        })
    }

    /// With what a commit of this durability cannot go below.
    fn bounded(&self, measured: Measured, flush_ns: f64, mut round_trips: Vec<f64>) -> Measured {
        if self.wire.is_none() {
            return measured.bound("flush_ns", flush_ns);
        }
        let round_trip_p99 = clock::p99(&mut round_trips.clone());
        let round_trip_ns = clock::median(&mut round_trips);
        let measured = measured
            .floor("flush_ns", flush_ns)
            .floor("quic_round_trip_ns", round_trip_ns)
            .floor("quic_round_trip_p99_ns", round_trip_p99);
        match self.durability {
            Durability::Local => measured,
            Durability::MemQuorum => measured.bound("commit_ns", round_trip_ns),
            Durability::DiskQuorum | Durability::Certified => {
                measured.bound("commit_ns", round_trip_ns + flush_ns)
            }
        }
    }

    /// As many as may be in flight, all the time; answers receipts per second.
    fn closed(&mut self, bounds: Bounds, in_flight: usize, recorder: &mut Recorder) -> Result<f64, Failure> {
        let (began, before) = (Instant::now(), self.in_flight.receipts);
        let mut sent = 0;
        loop {
            let now = Instant::now();
            let over = bounds.reached(began, now, sent);
            if over && self.in_flight.open() == 0 {
                break;
            }
            let mut from = now;
            while !over && self.in_flight.open() < in_flight && sent < bounds.count && self.put(from)? {
                sent += 1;
                from = Instant::now();
            }
            self.in_flight.rest(&mut self.client, recorder)?;
        }
        Ok((self.in_flight.receipts - before) as f64 / began.elapsed().as_secs_f64())
    }

    /// By timetable; answers receipts per second.
    fn open(
        &mut self,
        bounds: Bounds,
        in_flight: usize,
        rate: f64,
        recorder: &mut Recorder,
    ) -> Result<f64, Failure> {
        let (began, before) = (Instant::now(), self.in_flight.receipts);
        let mut sent = 0_u64;
        loop {
            let now = Instant::now();
            let due = began + Duration::from_secs_f64(sent as f64 / rate);
            let over = sent >= bounds.count || due.duration_since(began) >= bounds.length;
            if over && self.in_flight.open() == 0 {
                break;
            }
            if !over && now >= due && self.in_flight.open() < in_flight {
                sent += u64::from(self.put(due)?);
            }
            self.in_flight.rest(&mut self.client, recorder)?;
        }
        Ok((self.in_flight.receipts - before) as f64 / began.elapsed().as_secs_f64())
    }

    /// One request; false when the ring had no room.
    fn put(&mut self, from: Instant) -> Result<bool, Failure> {
        let number = answers::scramble(self.next) % self.versions.len() as u64;
        let version = self.versions[number as usize] + 1;
        fill_value(&mut self.value, number, version);
        match self.client.put_with(&key_of(number), &self.value, self.durability) {
            Ok(ticket) => {
                self.in_flight.pushed(ticket, from);
                self.versions[number as usize] = version;
                self.next += 1;
                Ok(true)
            }
            Err(PutError::Full { .. }) => {
                self.full += 1;
                Ok(false)
            }
            Err(error) => Err(Failure::Refused(error.to_string())),
        }
    }

    /// Every key holds the last version put; answers a hash of all values and how many are wrong.
    fn check(&mut self) -> Result<(u64, u64), Failure> {
        let (mut hash, mut wrong) = (0, 0);
        let mut value = Vec::new();
        for (number, version) in self.versions.iter().enumerate().filter(|(_, version)| **version > 0) {
            let found = self.client.get(&key_of(number as u64), &mut value);
            let found = found.map_err(|error| Failure::Refused(error.to_string()))?;
            let right = found.is_some() && version_of(&value, number as u64) == Some(*version);
            wrong += u64::from(!right);
            hash = answers::fold_bytes(hash, &value);
        }
        Ok((hash, wrong))
    }
}

impl Bounds {
    /// The tighter of both.
    fn min(self, other: Bounds) -> Bounds {
        Bounds { length: self.length.min(other.length), count: self.count.min(other.count) }
    }
}

const RUN_LENGTH: Duration = Duration::from_secs(3);
const WARM_UP: Bounds = Bounds { length: Duration::from_millis(300), count: 20_000 };
const CALIBRATION: Bounds = Bounds { length: Duration::from_millis(300), count: u64::MAX };
/// At full load a queue grows without bound, and latency says only how long the run was.
const SHARE_OF_CLOSED: f64 = 0.7;
/// Load and floor take turns this often.
const PIECES: u32 = 5;
const FLUSHES_PER_PIECE: usize = 20;
/// A node's own default, and the most that it takes.
const RING_BYTES_MIN: usize = 1 << 20;
const RING_BYTES_MAX: usize = 64 << 20;
const FLOOR_FILE_BYTES: u64 = 32 << 20;
/// About what a record adds to its payload in a block: key, head, hash.
const RECORD_EXTRA_BYTES: usize = 128;
