//! The fast path allocates nothing: submit, judge, append, durable, publish, reply; refusals, retries, full blocks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use io_oi_record::{
    ClusterId, ControlMode, Durability, Epoch, Genesis, Hash, Member, Nanos, Now, Operation, Precondition,
    Proposal, Sequence, SessionId, SessionSequence, ShardId, Signer, TrustMode,
};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{AppendIndex, Capacity, Config, Effect, Event, LogKind, Machine, Origin, Timers, Verify};

/// Counts what this thread asks of the system's allocator.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

#[allow(unsafe_code)]
// SAFETY: every call goes to `System` unchanged; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What happened during a run.
#[derive(Debug, Default)]
struct Tally {
    replies: u64,
    refused: u64,
    tentative: u64,
    committed: u64,
    blocks: u64,
    seals: u64,
}

struct Runner {
    machine: Machine,
    now: Nanos,
    appended: u64,
    newest: Option<Sequence>,
    tally: Tally,
}

impl Runner {
    fn handle(&mut self, event: Event<'_>) {
        self.now = self.now.saturating_add(100);
        self.machine.handle(Now::at(self.now), event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Judge { sequence, proposal, .. } => {
                    let verdict = precondition_verdict(&proposal, self.newest);
                    self.machine.handle(
                        Now::at(self.now),
                        Event::Judged { sequence, verdict, effects: io_oi_record::Effects::NONE },
                    );
                }
                Effect::Append { index, kind, .. } => {
                    self.appended = index.0;
                    self.tally.blocks += u64::from(kind == LogKind::Block);
                    self.tally.seals += u64::from(kind == LogKind::Seal);
                }
                Effect::Publish { stage: io_oi_shard::PublishStage::Tentative, record, .. } => {
                    self.newest = Some(record.sequence);
                    self.tally.tentative += 1;
                }
                Effect::Publish { .. } => self.tally.committed += 1,
                Effect::Reply { receipt, .. } => {
                    self.tally.replies += 1;
                    self.tally.refused += u64::from(!receipt.is_accepted());
                }
                Effect::Send { .. }
                | Effect::Wake { .. }
                | Effect::Fetch { .. }
                | Effect::KeepMute { .. } => {}
            }
        }
    }

    fn flush(&mut self) {
        self.handle(Event::Durable { through: AppendIndex(self.appended) });
    }

    fn submit(&mut self, session: SessionId, number: u64, value: &[u8]) {
        while !self.machine.is_ready() {
            self.flush();
        }
        let durability = match number % 97 {
            1 => Durability::Local,
            2 => Durability::MemQuorum,
            3 => Durability::Certified,
            _ => Durability::DiskQuorum,
        };
        let precondition = if number % 11 == 5 { Precondition::Absent } else { Precondition::None };
        let proposal = Proposal {
            session_sequence: SessionSequence(number),
            operation: Operation::Put,
            precondition,
            durability,
            key: b"sixteen byte key",
            value,
        };
        self.handle(Event::Submitted { origin: Origin::Client, session, proposal });
    }

    /// Small and large values, failing preconditions, retries of old and of unfinished proposals, rare flushes.
    fn run(&mut self, session: SessionId, numbers: std::ops::Range<u64>) -> u64 {
        let small = [7; 64];
        let large = [8; 60 * 1024];
        let mut submissions = 0;
        for number in numbers {
            let is_large = number % 301 == 0;
            self.submit(session, number, if is_large { &large } else { &small });
            submissions += 1;
            if number % 13 == 0 {
                self.submit(session, number.saturating_sub(number % 5000 / 2).max(1), &small);
                submissions += 1;
            }
            if number % 1000 == 0 {
                self.flush();
            }
        }
        for _ in 0..4 {
            self.flush();
        }
        submissions
    }
}

#[test]
fn a_hundred_thousand_proposals_allocate_nothing() {
    let signer = Signer::from_secret(&[3; 32]);
    let member = Member { node: signer.node(), name: String::from("n0"), address: String::new() };
    let genesis = Genesis {
        members: vec![member],
        operators: vec![signer.operator()],
        shards: 1,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
        hash_seed: [5; 16],
        arbitrators: Hash::ZERO,
        created: Nanos(1),
    };
    let session = SessionId { node: signer.node().tag(), boot: 1, counter: 1 };
    let config = Config {
        cluster: ClusterId([7; 32]),
        shard: ShardId(0),
        signer,
        genesis: &genesis,
        arbitrators: Hash::ZERO,
        judge_versions: io_oi_record::JudgeVersions::default(),
        boot: 1,
        seed: 1,
        timers: Timers::default(),
        capacity: Capacity::default(),
        verify: Verify::All,
        promised: Epoch::NONE,
        past_lost: None,
        lost: None,
    };
    let machine = Machine::new(config).expect("the configuration is sound");
    let (now, tally) = (Nanos(1_700_000_000_000_000_000), Tally::default());
    let mut runner = Runner { machine, now, appended: 0, newest: None, tally };
    runner.machine.start(Now::at(now));
    runner.drain();
    runner.flush();
    runner.handle(Event::open_session(session));
    runner.flush();
    runner.run(session, 1..2_000);

    runner.tally = Tally::default();
    let before = ALLOCATIONS.with(Cell::get);
    let submissions = runner.run(session, 2_000..102_000);
    let allocations = ALLOCATIONS.with(Cell::get) - before;

    let tally = &runner.tally;
    println!("{submissions} submissions, {allocations} calls of the allocator, {tally:?}");
    assert_eq!(allocations, 0);
    assert_eq!(tally.replies, submissions, "every submission has exactly one answer");
    assert!(tally.refused > 9_000, "failing preconditions were part of it");
    assert_eq!(tally.tentative, tally.committed);
    assert!(tally.blocks > 100 && tally.seals > 100, "blocks rolled over");
}
