//! What the situations share: the real binary, nodes of its own making, and invented markets.

#![allow(dead_code)] // Every test file is a program of its own and uses a part of this.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dbn::encode::EncodeRecord;
use dbn::encode::dbn::Encoder;
use dbn::{FlagSet, MboMsg, Metadata, RecordHeader, SType, Schema, rtype};
use io_oi_client::{Client, Options};
use serde_json::Value;
use tempfile::TempDir;

/// A fresh directory on the disk that the build is on; memory would not do for O_DIRECT.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// The probe with these arguments.
pub(crate) fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latency-probe"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the probe to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    probe(arguments).output().expect("the probe runs")
}

/// Runs the probe with `--json` and demands success and exactly one object on standard output.
pub(crate) fn run_json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    json(&output)
}

/// The one object on standard output.
pub(crate) fn json(output: &Output) -> Value {
    let out = text(&output.stdout);
    assert_eq!(out.lines().count(), 1, "not exactly one line: {out}");
    serde_json::from_str(&out).expect("one JSON object")
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A node that outlives single runs of the probe; killed when dropped.
pub(crate) struct Node {
    pub dir: TempDir,
    child: Child,
}

impl Node {
    /// Starts one in a fresh directory.
    pub(crate) fn start() -> Self {
        let dir = directory();
        let child = start_in(dir.path());
        Self { dir, child }
    }

    /// Its directory, which `--attach` takes.
    pub(crate) fn path(&self) -> &str {
        self.dir.path().to_str().expect("a readable path")
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the node was running");
        self.child.wait().expect("the node was a child");
    }

    /// Starts it again in the same directory.
    pub(crate) fn restart(&mut self) {
        self.child = start_in(self.dir.path());
    }

    /// An ordinary client.
    pub(crate) fn client(&self) -> Client {
        attach(&self.dir.path().join("io_oi.sock"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_in(dir: &Path) -> Child {
    let mut child = probe(&["node-run", "--node-dir", dir.to_str().expect("a readable path")])
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the probe runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready");
    child
}

/// Attaches, with some patience.
pub(crate) fn attach(socket: &Path) -> Client {
    let options = Options { patience: Duration::from_secs(10), ..Options::default() };
    Client::attach_with(socket, options).expect("the node takes clients")
}

/// The event that a replay's cursor stands at; 0 before the first.
pub(crate) fn cursor_event(client: &mut Client) -> u64 {
    let mut value = Vec::new();
    match client.get_committed(b"replay/cursor", &mut value).expect("readable") {
        None => 0,
        Some(_) => u64::from_le_bytes(value[..8].try_into().expect("a cursor of 24 bytes")),
    }
}

/// Waits for something, at most half a minute.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One market-by-order record, flags none, times rising with `at`.
pub(crate) fn record(
    at: u64,
    instrument: (u16, u32),
    action: char,
    side: char,
    order_id: u64,
    price: i64,
    size: u32,
) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, instrument.0, instrument.1, BEGAN_NS + at * 1_000_000),
        order_id,
        price,
        size,
        flags: FlagSet::empty(),
        channel_id: 0,
        action: action as _,
        side: side as _,
        ts_recv: BEGAN_NS + at * 1_000_000,
        ts_in_delta: 0,
        sequence: at as u32,
    }
}

/// Writes records as a DBN file, compressed when the name ends so.
pub(crate) fn write_dbn(path: &Path, records: &[MboMsg]) -> PathBuf {
    let metadata = Metadata::builder()
        .dataset("TEST.MARKET")
        .schema(Some(Schema::Mbo))
        .start(BEGAN_NS)
        .stype_in(Some(SType::InstrumentId))
        .stype_out(SType::InstrumentId)
        .build();
    let file = File::create(path).expect("a file");
    if path.extension().is_some_and(|extension| extension == "zst") {
        Encoder::with_zstd(file, &metadata).expect("a header").encode_records(records).expect("records");
    } else {
        Encoder::new(file, &metadata).expect("a header").encode_records(records).expect("records");
    }
    path.to_path_buf()
}

/// A busy market of three instruments, one of them at two venues: adds, cancels, modifies, trades, fills, now and then
/// a clear, and some events on orders that nobody added. The same for the same arguments.
pub(crate) fn market(first: u64, count: u64) -> Vec<MboMsg> {
    (first..first + count).map(market_record).collect()
}

fn market_record(at: u64) -> MboMsg {
    let pick = |what: u64, below: u64| mix(at * 16 + what) % below;
    let instrument = [(1, 500), (1, 501), (1, 502), (2, 502)][pick(0, 4) as usize];
    // Ids live in a moving window, so that most events meet an order and some come too late or too early.
    let order_id = at / 8 + pick(1, 40);
    let side = if order_id.is_multiple_of(2) { 'B' } else { 'A' };
    let price = 4_800_000_000_000 + pick(2, 30) as i64 * 250_000_000 * if side == 'B' { -1 } else { 1 };
    let size = 1 + pick(3, 9) as u32;
    let action = match pick(4, 2_000) {
        0 => 'R',
        other => ['A', 'A', 'A', 'A', 'C', 'C', 'C', 'M', 'M', 'T', 'F', 'F'][(other % 12) as usize],
    };
    record(at, instrument, action, side, order_id, price, size)
}

fn mix(word: u64) -> u64 {
    let mut bits = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^= bits >> 29;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^ bits >> 32
}

/// An ordinary Tuesday.
const BEGAN_NS: u64 = 1_700_000_000_000_000_000;
