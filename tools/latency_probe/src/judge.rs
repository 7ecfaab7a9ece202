//! Target `judge`: one decision of `risk-limit`, fully isolated, beside the same check compiled into the probe.
//!
//! | way | what it is |
//! |---|---|
//! | native | the same source as a plain function: the floor |
//! | sealed | one instance, everything it could change put back after every decision |
//! | general | a fresh instance for every decision, out of a pool |
//!
//! The three take turns over the same orders of sixteen accounts, and every ruling is compared with the plain function's.
//! Decisions of the sandbox are timed one by one, the clock's own cost (`clock_ns`) included; the function in batches of
//! 64, since it is faster than the clock. Allocations are counted by the probe's allocator. Calls of the kernel are
//! counted by forbidding them: a child process gives up every right to call it but `read` and `write`, judges, and then
//! writes how often; a single call would have ended it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use io_oi_arbitrator::sdk::{
    Arbitrator as _, Cell, CellWriter, Context, Decision, Effects, Verdict, WriteReader,
};
use io_oi_arbitrator::{Answer, Arbitrator, Engine, GeneralJudge, Judge, Ruling, sdk};
use io_oi_guests::order::{Order, Side};
use io_oi_guests::risk_limit::Account;
use io_oi_guests::{RiskLimit, prebuilt};
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};

use crate::allocations;
use crate::answers;
use crate::cli::{Bounds, Extent, JudgeAlone};
use crate::clock;
use crate::failure::Failure;
use crate::findings::Findings;
use crate::node_run::die_with_parent;
use crate::recorder::Recorder;
use crate::report::Measured;

/// Measures the three ways in turn.
pub(crate) fn measure(extent: &Extent) -> Result<Findings, Failure> {
    let questions = questions();
    let engine = Engine::new();
    let mut sealed = sealed_judge(&engine)?;
    let mut general = GeneralJudge::admit(&engine, risk_limit()?).map_err(refused)?;
    let bounds = extent.bounds(RUN_LENGTH).split(PIECES);
    let mut native = Run::new(Recorder::of_batches());
    let (mut by_sealed, mut by_general) = (Run::new(Recorder::of_ns()), Run::new(Recorder::of_ns()));
    for _ in 0..PIECES {
        native.piece_of_batches(&questions, bounds);
        by_sealed.piece(&questions, bounds, |question| {
            let ruling = sealed.decide(&question.context, &question.state, &question.proposal);
            (Instant::now(), Seen::of(&ruling))
        });
        by_general.piece(&questions, bounds, |question| {
            let ruling = general.decide(&question.context, &question.state, &question.proposal);
            (Instant::now(), Seen::of(&ruling))
        });
    }
    let (calls, count) = calls_of_the_kernel()?;
    let native = native.measured("native").floor("clock_ns", clock::cost_ns());
    let floor = native.run.ns.p50.0;
    let more =
        |run: Run, way| run.measured(way).bound("native_ns", floor).floor("clock_ns", clock::cost_ns());
    let sealed = more(by_sealed, "sealed").with("syscalls", calls).with("syscalls_over", count);
    let runs = vec![native, sealed, more(by_general, "general")];
    Ok(Findings { payload_bytes: questions[0].proposal.len(), runs, ..Findings::default() })
}

/// One question, with what the plain function answers.
struct Question {
    context: Context,
    state: Vec<u8>,
    proposal: Vec<u8>,
    seen: Seen,
}

/// What can be seen of a ruling, short enough to be compared inside a timed loop.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    verdict: u64,
    effects: u64,
}

impl Seen {
    fn of(ruling: &Ruling<'_>) -> Seen {
        let verdict = match ruling.answer {
            Answer::Accept => 0,
            Answer::Refuse(code) => 1 + u64::from(code.get()),
            Answer::Defer => u64::MAX - 1,
            Answer::Fault(_) => u64::MAX,
        };
        Seen { verdict, effects: answers::fold_bytes(0, ruling.effects) }
    }

    fn of_native(decision: Decision, effects: &[u8]) -> Seen {
        let verdict = match decision.verdict {
            Verdict::Accept => 0,
            Verdict::Refuse => 1 + u64::from(decision.code),
            Verdict::Defer => u64::MAX - 1,
        };
        Seen { verdict, effects: answers::fold_bytes(0, effects) }
    }
}

/// The samples of one way.
struct Run {
    recorder: Recorder,
    at: usize,
    hash: u64,
    wrong: u64,
    allocations: u64,
    decisions: u64,
}

impl Run {
    fn new(recorder: Recorder) -> Run {
        Run { recorder, at: 0, hash: 0, wrong: 0, allocations: 0, decisions: 0 }
    }

    /// Decisions one by one; `decide` says when it had its ruling, and what is checked is checked behind that.
    fn piece(
        &mut self,
        questions: &[Question],
        bounds: Bounds,
        mut decide: impl FnMut(&Question) -> (Instant, Seen),
    ) {
        for question in &questions[..WARM_UP] {
            std::hint::black_box(decide(question));
        }
        let (began, mut count) = (Instant::now(), 0);
        while !bounds.reached(began, Instant::now(), count) {
            let question = self.next(questions);
            let before = allocations::of_this_thread();
            let from = Instant::now();
            let (to, seen) = decide(question);
            self.allocations += allocations::of_this_thread() - before;
            self.check(question, seen);
            self.recorder.record_ns(to, clock::ns_between(from, to));
            count += 1;
        }
    }

    fn piece_of_batches(&mut self, questions: &[Question], bounds: Bounds) {
        let mut room = [0; RiskLimit::MANIFEST.max_effects as usize];
        let (began, mut count) = (Instant::now(), 0);
        while !bounds.reached(began, Instant::now(), count) {
            let batch: [&Question; BATCH] = std::array::from_fn(|_| self.next(questions));
            let before = allocations::of_this_thread();
            let from = Instant::now();
            for question in batch {
                let mut effects = Effects::new(&mut room);
                let Question { context, state, proposal, .. } = question;
                std::hint::black_box(RiskLimit::decide(context, state, proposal, &mut effects));
            }
            let to = Instant::now();
            self.allocations += allocations::of_this_thread() - before;
            self.recorder.record_batch(to, clock::ns_between(from, to), BATCH as u64);
            for question in batch {
                let seen = native(question, &mut room);
                self.check(question, seen);
            }
            count += 1;
        }
    }

    fn next<'a>(&mut self, questions: &'a [Question]) -> &'a Question {
        self.at = (self.at + 1) % questions.len();
        &questions[self.at]
    }

    fn check(&mut self, question: &Question, seen: Seen) {
        self.wrong += u64::from(seen != question.seen);
        self.hash = answers::fold(answers::fold(self.hash, seen.verdict), seen.effects);
        self.decisions += 1;
    }

    fn measured(self, way: &'static str) -> Measured {
        let samples = self.recorder.finish();
        let p50_ns = samples.ns_at(0.5);
        Measured::new(way, 1, samples)
            .rate(if p50_ns > 0.0 { 1e9 / p50_ns } else { 0.0 })
            .answers(self.hash, self.wrong)
            .with("way", way)
            .with("allocations", self.allocations)
            .with("decisions", self.decisions)
    }
}

fn native(question: &Question, room: &mut [u8]) -> Seen {
    let mut effects = Effects::new(room);
    let decision = RiskLimit::decide(&question.context, &question.state, &question.proposal, &mut effects);
    Seen::of_native(decision, effects.as_slice())
}

/// Orders of sixteen accounts, each at the state that the accepted ones before it left behind.
fn questions() -> Vec<Question> {
    let mut accounts = [Account {
        collar_bps: 400,
        reference_price: 10_000,
        order_max: 90,
        position_max: 500,
        notional_max: u64::MAX / 4,
        window_ns: 1_000_000,
        messages_max: 200,
        ..Account::default()
    }; ACCOUNTS];
    (0..QUESTIONS)
        .map(|number| {
            let dice = answers::scramble(number);
            let which = (dice % ACCOUNTS as u64) as usize;
            let key = format!("ord/acct{which:02}/");
            let order = Order {
                side: if dice & 1 << 20 == 0 { Side::Buy } else { Side::Sell },
                quantity: 1 + (dice >> 24) % 100,
                price: 9_500 + (dice >> 32) % 1_001,
            };
            let context = Context {
                sequence: number + 1,
                time_ns: 1_000_000_000 + number * 1_000,
                seed: dice,
                kind: Context::PUT,
                ..Context::default()
            };
            let mut question = Question {
                context,
                state: state_of(&key, &accounts[which]),
                proposal: proposal_of(&format!("{key}o{number:06}"), &order),
                seen: Seen { verdict: 0, effects: 0 },
            };
            let mut room = [0; RiskLimit::MANIFEST.max_effects as usize];
            question.seen = native(&question, &mut room);
            if question.seen.verdict == 0 {
                let written = WriteReader::new(&room).next().expect("an accepted order writes its account");
                accounts[which] = Account::decode(written.value).expect("an account that was written");
            }
            question
        })
        .collect()
}

fn state_of(key: &str, account: &Account) -> Vec<u8> {
    let mut room = [0; 256];
    let mut writer = CellWriter::new(&mut room);
    let cell = Cell { key: key.as_bytes(), value: Some(&account.encode()), sequence: 1 };
    assert!(writer.push(&cell), "an account's cell has room");
    writer.as_slice().to_vec()
}

fn proposal_of(key: &str, order: &Order) -> Vec<u8> {
    let mut room = [0; 128];
    let write = sdk::Write { key: key.as_bytes(), value: &order.encode(), is_delete: false };
    let length = write.encode(&mut room).expect("an order has room");
    room[..length].to_vec()
}

fn risk_limit() -> Result<&'static [u8], Failure> {
    prebuilt::component("risk-limit").ok_or_else(|| Failure::Usage("this build ships no risk-limit".into()))
}

fn sealed_judge(engine: &Engine) -> Result<Judge, Failure> {
    Ok(Arbitrator::admit(engine, risk_limit()?).map_err(refused)?.judge())
}

fn refused(refusal: io_oi_arbitrator::Refusal) -> Failure {
    Failure::Refused(refusal.to_string())
}

/// Has a child judge without the right to call the kernel. Answers the calls (0, or why they are unknown) and over how
/// many decisions.
fn calls_of_the_kernel() -> Result<(serde_json::Value, u64), Failure> {
    let program = std::env::current_exe().map_err(Failure::io("finding the probe's own file"))?;
    let mut child = Command::new(program)
        .args(["judge-alone", "--decisions", &ALONE.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::io("starting the probe's child"))?;
    let output = child.stdout.take().ok_or_else(|| Failure::Child("it has no output".into()))?;
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let (ready, done) = (lines.next(), lines.next());
    // It cannot even end without a call, so it is ended.
    let _ = child.kill();
    let _ = child.wait();
    match (ready.as_deref(), done) {
        (Some(READY), Some(done)) if done == ALONE.to_string() => Ok((0.into(), ALONE)),
        (Some(READY), _) => Ok(("some: the kernel ended the child".into(), 0)),
        _ => Ok(("unknown: this kernel has no strict mode".into(), 0)),
    }
}

/// The child: judges, and calls the kernel for nothing but to say that it is done.
pub(crate) fn alone(options: &JudgeAlone) -> Result<(), Failure> {
    die_with_parent();
    let questions = questions();
    let mut judge = sealed_judge(&Engine::new())?;
    let mut out = std::io::stdout().lock();
    let mut decide = |question: &Question| {
        std::hint::black_box(judge.decide(&question.context, &question.state, &question.proposal));
    };
    decide(&questions[0]);
    writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(Failure::io("writing to the probe"))?;
    if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
        return writeln!(out, "no strict mode").map_err(Failure::io("writing to the probe"));
    }
    for number in 0..options.decisions {
        decide(&questions[number as usize % questions.len()]);
    }
    writeln!(out, "{}", options.decisions).map_err(Failure::io("writing to the probe"))?;
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}

const RUN_LENGTH: std::time::Duration = std::time::Duration::from_secs(6);
const PIECES: u32 = 5;
const QUESTIONS: u64 = 4_096;
const ACCOUNTS: usize = 16;
const BATCH: usize = 64;
/// The first decisions of a piece only bring the caches back.
const WARM_UP: usize = 256;
/// Decisions of the child.
const ALONE: u64 = 100_000;
const READY: &str = "ready";
