//! The shard machine without any world: submit, judge, order, block, sign, publish, answer.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_oi_record::{
    ClusterId, ControlMode, Durability, Effects, Epoch, Genesis, Hash, Member, Nanos, Now, Operation,
    Outcome, Precondition, Proposal, SessionId, SessionSequence, ShardId, Signer, TrustMode, Verdict,
};
use io_oi_shard::{AppendIndex, Capacity, Config, Effect, Event, Machine, Origin, Timers, Verify};

/// One leading machine, one open session, and a log that is flushed when the bench says so.
struct Shard {
    machine: Machine,
    session: SessionId,
    appended: u64,
    number: u64,
}

impl Shard {
    fn leading() -> Shard {
        let signer = Signer::from_secret(&[3; 32]);
        let node = signer.node();
        let genesis = Genesis {
            members: vec![Member { node, name: String::from("n0"), address: String::new() }],
            operators: vec![signer.operator()],
            shards: 1,
            trust: TrustMode::Full,
            control: ControlMode::Competitive,
            hash_seed: [5; 16],
            arbitrators: Hash::ZERO,
            created: Nanos(1),
        };
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
        let machine = Machine::new(config).expect("a group of one is a group");
        let session = SessionId { node: node.tag(), boot: 1, counter: 1 };
        let mut shard = Shard { machine, session, appended: 0, number: 0 };
        shard.machine.start(Now::at(Nanos(1)));
        shard.drain();
        shard.flush();
        shard.machine.handle(Now::at(Nanos(2)), Event::open_session(session));
        shard.drain();
        shard.flush_all();
        shard
    }

    fn submit(&mut self, value: &[u8]) -> u64 {
        self.number += 1;
        let proposal = Proposal {
            session_sequence: SessionSequence(self.number),
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key: b"sixteen byte key",
            value,
        };
        let event = Event::Submitted { origin: Origin::Client, session: self.session, proposal };
        self.machine.handle(Now::at(Nanos(self.number)), event);
        self.drain()
    }

    /// Reports everything appended as flushed; how many proposals were answered by it.
    fn flush(&mut self) -> u64 {
        let through = AppendIndex(self.appended);
        self.machine.handle(Now::at(Nanos(self.number)), Event::Durable { through });
        self.drain()
    }

    fn flush_all(&mut self) -> u64 {
        let mut accepted = 0;
        while !self.machine.is_idle() {
            accepted += self.flush();
        }
        accepted
    }

    fn drain(&mut self) -> u64 {
        let mut accepted = 0;
        loop {
            match self.machine.poll_effect() {
                None => return accepted,
                Some(Effect::Judge { sequence, .. }) => {
                    let judged = Event::Judged { sequence, verdict: Verdict::Accept, effects: Effects::NONE };
                    self.machine.handle(Now::at(Nanos(self.number)), judged);
                }
                Some(Effect::Append { index, .. }) => self.appended = index.0,
                Some(Effect::Reply { receipt, .. }) => {
                    accepted += u64::from(receipt.outcome == Outcome::Accepted);
                }
                Some(_) => {}
            }
        }
    }
}

fn order(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("order");
    for batch in [1_u64, 16, 256, 1024] {
        let mut shard = Shard::leading();
        let value = [7; 64];
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new("flush_every", batch), |bencher| {
            bencher.iter(|| {
                let mut accepted = 0;
                for _ in 0..batch {
                    accepted += shard.submit(&value);
                }
                accepted += shard.flush_all();
                assert_eq!(accepted, batch, "every proposal is answered once");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, order);
criterion_main!(benches);
