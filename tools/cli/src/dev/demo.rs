//! The demonstration: one strategy, one other process, one node or leader that is killed in the middle.
//!
//! Every claim that it prints was checked a line before; a claim that does not hold ends it with an error.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Durability, Expected, Outcome, Receipt, RefusalCode, Ticket, Visible};
use serde_json::Value;

use super::event;
use super::fleet::Fleet;
use crate::failure::Failure;
use crate::output::{Output, duration};

/// Shows everything; every node runs at the end.
pub(super) fn show(
    output: Output,
    fleet: &mut Fleet,
    leader: usize,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let mut client = fleet.attach(leader, "demonstration", PATIENCE)?;
    let socket = fleet.vessels[leader].node.socket.clone();
    let mut show = Show { output, socket: &socket, client: &mut client, interrupted };
    show.write_and_read()?;
    show.compare_and_set()?;
    show.read_elsewhere()?;
    show.measure()?;
    if fleet.vessels.len() == 1 {
        return show.kill_and_restart(fleet);
    }
    // A strategy on a box that does not lead: its node lives, and notices a new leader as a delay.
    let other = (leader + 1) % fleet.vessels.len();
    let mut client = fleet.attach(other, "demonstration", PATIENCE)?;
    let socket = fleet.vessels[other].node.socket.clone();
    Show { output, socket: &socket, client: &mut client, interrupted }.kill_the_leader(fleet, leader)
}

struct Show<'a> {
    output: Output,
    socket: &'a Path,
    client: &'a mut Client,
    interrupted: &'a AtomicBool,
}

impl Show<'_> {
    fn write_and_read(&mut self) -> Result<(), Failure> {
        self.output
            .tell("1. A strategy writes. It goes on at once; the box sees the value; the disk follows.")?;
        let began = Instant::now();
        let ticket = self.client.put(LIMIT, b"100")?;
        let put = began.elapsed();
        let stage = self.wait_visible(LIMIT, b"100")?;
        let visible = began.elapsed();
        let receipt = self.client.wait(ticket, began + PATIENCE)?;
        let committed = began.elapsed();
        accepted(&receipt)?;
        let mut value = Vec::new();
        let meta = self.client.get_committed(LIMIT, &mut value)?;
        let is_there = meta.is_some_and(|meta| meta.sequence == receipt.sequence) && value == b"100";
        check(is_there, "the committed value is not the one that was written")?;
        let fields = [
            ("put_ns", nanoseconds(put)),
            ("visible_ns", nanoseconds(visible)),
            ("visible_as", crate::data::stage_word(stage).into()),
            ("committed_ns", nanoseconds(committed)),
            ("sequence", receipt.sequence.get().into()),
        ];
        self.output.result(event("write", &fields), || {
            let row = |what: &str, says: &str, after: Duration| {
                format!("   {what:<24}{says:<40}{:>9}", words(after))
            };
            let seen = format!("every process sees it, {}", crate::data::stage_word(stage));
            let flushed = format!("flushed, committed as sequence {}", receipt.sequence);
            [
                row("put risk/limit 100", "the call returns", put),
                row("get", &seen, visible),
                row("receipt", &flushed, committed),
                String::new(),
            ]
            .join("\n")
        })
    }

    fn compare_and_set(&mut self) -> Result<(), Failure> {
        self.output
            .tell("2. Two strategies change the same key. Only the one that saw the newest version wins.")?;
        let mut value = Vec::new();
        let seen = self.client.get(LIMIT, &mut value)?.ok_or_else(|| Failure::other("risk/limit is gone"))?;
        let outcomes = [b"120", b"150"].map(|wanted| {
            let ticket = self.client.compare_and_set(LIMIT, Expected::Sequence(seen.sequence), wanted)?;
            Ok::<Receipt, Failure>(self.client.wait(ticket, Instant::now() + PATIENCE)?)
        });
        let [first, second] = outcomes;
        let (first, second) = (first?, second?);
        accepted(&first)?;
        let is_refused = second.outcome == Outcome::Refused(RefusalCode::PreconditionFailed);
        check(is_refused, "the second compare-and-set was not refused")?;
        let fields =
            [("accepted_sequence", first.sequence.get().into()), ("refused", "precondition-failed".into())];
        self.output.result(event("compare-and-set", &fields), || {
            format!(
                "   if sequence is {0}: set 120   accepted as sequence {1}\n   \
                 if sequence is {0}: set 150   refused, {0} is not the newest any more\n",
                seen.sequence, first.sequence
            )
        })
    }

    fn read_elsewhere(&mut self) -> Result<(), Failure> {
        self.output.tell("3. Another process reads the same shared memory. It asks nobody.")?;
        let failed =
            |error: std::io::Error| Failure::other(format!("cannot start the reading process: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let read = Command::new(program)
            .args(["get", "risk/limit", "--json", "--socket"])
            .arg(self.socket)
            .output()
            .map_err(failed)?;
        let line = String::from_utf8_lossy(&read.stdout).trim().to_owned();
        let object: Value = serde_json::from_str(&line)
            .map_err(|error| Failure::other(format!("the reading process said `{line}`: {error}")))?;
        check(object["value"] == "120", "the other process read another value")?;
        self.output.result(event("other-process", &[("read", object)]), || {
            format!("   $ io_oi get risk/limit --json\n   {line}\n")
        })
    }

    fn measure(&mut self) -> Result<(), Failure> {
        self.output.tell("4. Figures of this machine, this minute. `latency-probe` measures properly.")?;
        let put_ns = self.measure_puts()?;
        let read_ns = self.measure_reads()?;
        let (commit_p50_ns, commit_p99_ns) = self.measure_commits()?;
        let fields = [
            ("put_p50_ns", put_ns.into()),
            ("read_ns", read_ns.into()),
            ("commit_p50_ns", commit_p50_ns.into()),
            ("commit_p99_ns", commit_p99_ns.into()),
            ("durability", "disk-quorum".into()),
            ("optimized", (!cfg!(debug_assertions)).into()),
        ];
        let remark = if cfg!(debug_assertions) { "\n   (a debug build: add --release)" } else { "" };
        self.output.result(event("figures", &fields), || {
            format!(
                "   put, 64-byte value                        {:>9}  median of {PUT_BURSTS} bursts of {PUT_BURST}\n   \
                 get, 64-byte value, shared memory         {:>9}  mean of {READS}\n   \
                 durable commit, one after another         {:>9}  median of {COMMITS}, p99 {}{remark}\n",
                duration(put_ns),
                duration(read_ns),
                duration(commit_p50_ns),
                duration(commit_p99_ns),
            )
        })
    }

    fn kill_and_restart(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        self.output.tell("5. The node is killed in the middle of its work (kill -9) and started again.")?;
        let mut tickets = self.submit_chain(0..CHAIN / 4)?;
        let answered_before: Vec<Receipt> = self.answers(&tickets)?;
        tickets.extend(self.submit_chain(CHAIN / 4..CHAIN / 2)?); // In flight when the blow falls.
        let killed = fleet.vessels[0].kill_hard()?;
        let began = Instant::now();
        self.wait_until(
            |client| !client.is_attached(),
            "the client did not notice that the node was killed",
        )?;
        let mut value = Vec::new();
        let stale = self.client.get(LIMIT, &mut value)?;
        check(stale.is_some_and(|meta| !meta.fresh) && value == b"120", "reads stopped with the node")?;
        fleet.start()?;
        self.wait_until(|client| client.is_attached(), "the client did not attach again")?;
        let back = began.elapsed();
        tickets.extend(self.submit_chain(CHAIN / 2..CHAIN)?);
        let receipts = self.answers(&tickets[CHAIN / 4..])?;
        let all: Vec<Receipt> = answered_before.into_iter().chain(receipts).collect();
        check_chain(self.client, &all)?;
        let resubmitted = self.client.stats().resubmitted;
        let fields = [
            ("writes", (CHAIN as u64).into()),
            ("resubmitted", resubmitted.into()),
            ("back_ns", nanoseconds(back)),
            ("lost", 0.into()),
            ("doubled", 0.into()),
        ];
        self.output.result(event("kill-and-restart", &fields), || {
            format!(
                "   process {killed} killed, back after {}\n   \
                 {CHAIN} writes around it: {resubmitted} submitted again by the client, none lost, none twice\n",
                words(back)
            )
        })
    }

    fn kill_the_leader(&mut self, fleet: &mut Fleet, leader: usize) -> Result<(), Failure> {
        self.output.tell(
            "5. The leader is killed in the middle of the work (kill -9). The others go on; it comes back and catches up.",
        )?;
        let mut tickets = self.submit_chain(0..CHAIN / 4)?;
        let mut receipts: Vec<Receipt> = self.answers(&tickets)?;
        tickets.extend(self.submit_chain(CHAIN / 4..CHAIN / 2)?); // In flight when the blow falls.
        fleet.vessels[leader].kill_hard()?;
        let began = Instant::now();
        tickets.extend(self.submit_chain(CHAIN / 2..CHAIN)?);
        receipts.extend(self.answers(&tickets[CHAIN / 4..])?);
        let took = began.elapsed();
        check_chain(self.client, &receipts)?;
        fleet.start()?;
        let before = fleet.vessels[leader].name.clone();
        let after = fleet.wait_for_leader(PATIENCE, self.interrupted)?;
        let after = fleet.vessels[after].name.clone();
        let mut returned = fleet.attach(leader, "demonstration", PATIENCE)?;
        let last = receipts.last().map_or(0, |receipt| receipt.sequence.get());
        let level = Show {
            client: &mut returned,
            output: self.output,
            socket: self.socket,
            interrupted: self.interrupted,
        }
        .wait_until(|client| holds(client, CHAIN - 1, last), "the node that came back did not catch up");
        level?;
        check_chain(&mut returned, &receipts)?;
        let fields = [
            ("writes", (CHAIN as u64).into()),
            ("leader_before", before.clone().into()),
            ("leader_after", after.clone().into()),
            ("answered_ns", nanoseconds(took)),
            ("lost", 0.into()),
            ("doubled", 0.into()),
        ];
        self.output.result(event("kill-the-leader", &fields), || {
            format!(
                "   {before} killed; {after} leads; every write around it was answered after {}\n   \
                 {CHAIN} writes: none lost, none twice; {before} is back and holds them all\n",
                words(took)
            )
        })
    }

    /// Writes of one counter each: a lost or doubled one would show in its receipt's sequence.
    fn submit_chain(&mut self, numbers: std::ops::Range<usize>) -> Result<Vec<Ticket>, Failure> {
        numbers.map(|number| Ok(self.client.put(&chain_key(number), &number.to_le_bytes())?)).collect()
    }

    fn answers(&mut self, tickets: &[Ticket]) -> Result<Vec<Receipt>, Failure> {
        let end = Instant::now() + PATIENCE;
        tickets.iter().map(|ticket| Ok(self.client.wait(*ticket, end)?)).collect()
    }

    /// Bursts small enough to stay in the ring: the figure is the cost of a put, not of waiting for the shard.
    fn measure_puts(&mut self) -> Result<u64, Failure> {
        let mut per_put = Vec::with_capacity(PUT_BURSTS);
        for _ in 0..PUT_BURSTS {
            let began = Instant::now();
            for number in 0..PUT_BURST {
                self.client.put_with(&put_key(number), &[7; 64], Durability::Local)?;
            }
            per_put.push(began.elapsed().as_nanos() as u64 / PUT_BURST);
            self.drain()?;
        }
        Ok(percentile(&mut per_put, 50))
    }

    fn measure_reads(&mut self) -> Result<u64, Failure> {
        let key = put_key(1);
        let mut value = [0; 64];
        let began = Instant::now();
        for _ in 0..READS {
            let found = self.client.get_into(&key, &mut value)?;
            check(found.is_some_and(|meta| meta.value_bytes == 64), "a value disappeared")?;
        }
        Ok(began.elapsed().as_nanos() as u64 / READS as u64)
    }

    fn measure_commits(&mut self) -> Result<(u64, u64), Failure> {
        let mut samples = Vec::with_capacity(COMMITS);
        for number in 0..COMMITS as u64 {
            let began = Instant::now();
            let ticket = self.client.put(b"demo/commit", &number.to_le_bytes())?;
            accepted(&self.client.wait(ticket, began + PATIENCE)?)?;
            samples.push(began.elapsed().as_nanos() as u64);
        }
        Ok((percentile(&mut samples, 50), percentile(&mut samples, 99)))
    }

    fn drain(&mut self) -> Result<(), Failure> {
        self.wait_until(
            |client| {
                client.poll(|_, _| {});
                client.open_count() == 0
            },
            "receipts did not come",
        )
    }

    /// How the value was when it was first seen.
    fn wait_visible(&mut self, key: &[u8], wanted: &[u8]) -> Result<Visible, Failure> {
        let end = Instant::now() + PATIENCE;
        let mut value = Vec::new();
        while Instant::now() < end {
            if let Some(meta) = self.client.get(key, &mut value)?
                && value == wanted
            {
                return Ok(meta.stage);
            }
            std::thread::yield_now(); // On one core the shard needs it to publish.
        }
        Err(Failure::other("the value did not become visible"))
    }

    fn wait_until(
        &mut self,
        mut is_so: impl FnMut(&mut Client) -> bool,
        otherwise: &str,
    ) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !is_so(self.client) {
            self.client.tend();
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::Quiet { exit_code: 0 });
            }
            if let Some(reason) = self.client.lost_reason() {
                return Err(Failure::other(reason));
            }
            check(Instant::now() < end, otherwise)?;
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}

/// Every write has its own sequence, in the order of submission, and its key holds it.
fn check_chain(client: &mut Client, receipts: &[Receipt]) -> Result<(), Failure> {
    check(receipts.len() == CHAIN, "receipts are missing")?;
    let mut last = vec![0; usize::from(client.shards())];
    for (number, receipt) in receipts.iter().enumerate() {
        accepted(receipt)?;
        let shard = client.shard_of(&chain_key(number)).index();
        check(receipt.sequence.get() > last[shard], "the order of the writes was changed")?;
        last[shard] = receipt.sequence.get();
        check(
            holds(client, number, receipt.sequence.get()),
            "an acknowledged write is lost or was done twice",
        )?;
    }
    Ok(())
}

/// Whether a write of the chain stands committed at its sequence.
fn holds(client: &mut Client, number: usize, sequence: u64) -> bool {
    let mut value = Vec::new();
    let found = client.get_committed(&chain_key(number), &mut value).ok().flatten();
    found.is_some_and(|meta| meta.sequence.get() == sequence) && value == number.to_le_bytes()
}

const LIMIT: &[u8] = b"risk/limit";
/// A newcomer's patience with a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
const PUT_BURSTS: usize = 41;
const PUT_BURST: u64 = 500;
const READS: usize = 200_000;
const COMMITS: usize = 200;
/// Writes around the kill.
const CHAIN: usize = 400;
const _: () = assert!(CHAIN.is_multiple_of(4) && CHAIN / 2 < io_oi_record::limits::SESSION_WINDOW);

/// Sixteen bytes, 64 different ones.
fn put_key(number: u64) -> [u8; 16] {
    let mut key = *b"demo/put........";
    key[8..].copy_from_slice(&(number % 64).to_le_bytes());
    key
}

fn chain_key(number: usize) -> Vec<u8> {
    format!("demo/chain/{number}").into_bytes()
}

fn accepted(receipt: &Receipt) -> Result<(), Failure> {
    match receipt.outcome {
        Outcome::Accepted => Ok(()),
        Outcome::Refused(code) => Err(io_oi_client::WriteError::Refused { code }.into()),
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::other(otherwise)) }
}

fn percentile(samples: &mut [u64], percent: usize) -> u64 {
    samples.sort_unstable();
    samples[(samples.len() - 1) * percent / 100]
}

fn nanoseconds(duration: Duration) -> Value {
    (duration.as_nanos() as u64).into()
}

fn words(elapsed: Duration) -> String {
    duration(elapsed.as_nanos() as u64)
}
