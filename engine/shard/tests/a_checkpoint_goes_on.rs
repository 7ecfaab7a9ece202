//! A checkpoint at any place of a log: what follows it is read as if the whole log had been read.

mod support;

use std::collections::BTreeMap;

use io_oi_record::{Durability, Epoch, Nanos, NodeId, Precondition, Proposal};
use io_oi_shard::{Effect, Event, LogKind, Machine, PublishStage, RestoreError};
use proptest::prelude::*;
use support::net::{Net, numbered, signer_of};
use support::*;

/// What a log shows while it is read: every committed record, once.
type Shown = Vec<(u64, Vec<u8>, Vec<u8>)>;

/// A machine that read a part of a log, and what it showed.
struct Reading {
    machine: Machine,
    shown: Shown,
}

impl Reading {
    fn of(machine: Machine) -> Self {
        Self { machine, shown: Vec::new() }
    }

    fn read(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.machine.recover_frame(frame.kind, &frame.bytes).expect("the log is sound");
            while let Some(effect) = self.machine.poll_effect() {
                let Effect::Publish { stage: PublishStage::Committed, record, .. } = effect else {
                    panic!("{effect:?} while the log is read");
                };
                self.shown.push((record.sequence.0, record.key.to_vec(), record.value.to_vec()));
            }
        }
    }
}

/// At every place: the checkpoint restores to a machine that writes it again byte for byte, and that ends with the same
/// state as one that reads the whole log, having shown the rest and nothing else.
fn check_every_place(log: &[Frame], fresh: &dyn Fn() -> Machine, genesis: &io_oi_record::Genesis) {
    let mut whole = Reading::of(fresh());
    whole.read(log);
    let (all_shown, end) = (whole.shown, whole.machine.into_checkpoint());
    for place in 0..=log.len() {
        let mut before = Reading::of(fresh());
        before.read(&log[..place]);
        let checkpoint = before.machine.into_checkpoint();
        let mut again = fresh();
        again.restore(genesis, &checkpoint).expect("it was just written");
        assert_eq!(again.into_checkpoint(), checkpoint, "restored and written again at {place}");
        let mut after = Reading::of(fresh());
        after.machine.restore(genesis, &checkpoint).expect("it was just written");
        after.read(&log[place..]);
        let shown = [before.shown, after.shown].concat();
        assert_eq!(shown, all_shown, "shown before and after {place}");
        assert!(after.machine.into_checkpoint() == end, "the state at the end, from a checkpoint at {place}");
    }
}

#[derive(Clone, Debug)]
enum Action {
    Put { session: u32, key: u8, durability: Durability },
    Delete { session: u32, key: u8 },
    Conditional { session: u32, key: u8 },
    Close { session: u32 },
    Open { session: u32 },
    Flush { entries: u64 },
    Elapse { ns: u64 },
    Crash { kept: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    let durability = prop_oneof![4 => Just(Durability::DiskQuorum), 1 => Just(Durability::Certified)];
    let (session, key) = (1..=4u32, 0..4u8);
    prop_oneof![
        12 => (session.clone(), key.clone(), durability)
            .prop_map(|(session, key, durability)| Action::Put { session, key, durability }),
        3 => (session.clone(), key.clone()).prop_map(|(session, key)| Action::Delete { session, key }),
        3 => (session.clone(), key).prop_map(|(session, key)| Action::Conditional { session, key }),
        1 => session.clone().prop_map(|session| Action::Close { session }),
        1 => session.prop_map(|session| Action::Open { session }),
        6 => (1..4u64).prop_map(|entries| Action::Flush { entries }),
        3 => (0..20_000_000u64).prop_map(|ns| Action::Elapse { ns }),
        2 => (0..4u64).prop_map(|kept| Action::Crash { kept }),
    ]
}

/// A log that these actions leave behind.
fn log_of(actions: &[Action]) -> Vec<Frame> {
    let mut world = World::boot();
    world.settle();
    (1..=3).for_each(|counter| world.open(counter));
    let mut numbers: BTreeMap<u32, u64> = BTreeMap::new();
    let mut boot = 1;
    for action in actions {
        let mut submit = |world: &mut World, session: u32, proposal: Proposal<'_>| {
            let number = numbers.entry(session).or_default();
            *number += 1 + u64::from(session == 2);
            let session_sequence = io_oi_record::SessionSequence(*number);
            if world.machine.is_ready() {
                world.submit(session, &Proposal { session_sequence, ..proposal });
            }
        };
        match *action {
            Action::Put { session, key, durability } => {
                submit(&mut world, session, put_at(1, &[key], b"value", durability));
            }
            Action::Delete { session, key } => submit(&mut world, session, delete(1, &[key])),
            Action::Conditional { session, key } => {
                submit(&mut world, session, put_if(1, &[key], b"first", Precondition::Absent));
            }
            Action::Close { session } if world.machine.is_ready() => {
                world.handle(Event::close_session(support::session(session)));
            }
            Action::Open { session } if world.machine.is_ready() => {
                world.handle(Event::open_session(support::session(session)));
            }
            Action::Close { .. } | Action::Open { .. } => {}
            Action::Flush { entries } => {
                let through = world.durable + entries.min(world.unflushed());
                world.flush_through(through);
            }
            Action::Elapse { ns } => {
                world.now = world.now.saturating_add(ns);
                world.handle(Event::Elapsed);
            }
            Action::Crash { kept } => {
                let kept = world.durable + kept.min(world.unflushed());
                let mut log = std::mem::take(&mut world.log);
                log.truncate(world.recovered + kept as usize);
                boot += 1;
                world = World::boot_on(boot, log).expect("our own log is sound");
            }
        }
    }
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 400 }))]

    #[test]
    fn at_any_place_of_any_log_a_checkpoint_says_the_same_as_the_log(
        actions in prop::collection::vec(action(), 1..80),
    ) {
        check_every_place(&log_of(&actions), &|| machine(9), &genesis_of(&[signer().node()]));
    }

    /// The file that carries it is checked; these bytes are not. Whatever they are, nothing breaks.
    #[test]
    fn a_changed_checkpoint_is_refused_or_taken_and_never_a_crash(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let genesis = genesis_of(&[signer().node()]);
        let checkpoint = checkpoint_of_two_boots();
        let mut changed = checkpoint.clone();
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = machine(9).restore(&genesis, &changed);
        let cut = cut.index(checkpoint.len());
        prop_assert!(machine(9).restore(&genesis, &checkpoint[..cut]).is_err(), "cut to {} bytes", cut);
    }
}

fn checkpoint_of_two_boots() -> Vec<u8> {
    let mut world = World::leading();
    for number in 1..=5 {
        world.put(1, number, &[number as u8], b"value");
        world.flush();
    }
    let mut world = World::boot_on(2, world.log).expect("sound");
    world.settle();
    world.put(1, 6, b"more", b"value");
    let mut reading = Reading::of(machine(3));
    reading.read(&world.log);
    reading.machine.into_checkpoint()
}

#[test]
fn a_checkpoint_of_another_group_or_version_is_refused_by_name() {
    let checkpoint = checkpoint_of_two_boots();
    let genesis = genesis_of(&[signer().node()]);
    let restored = |bytes: &[u8]| machine(9).restore(&genesis, bytes);
    assert_eq!(restored(&checkpoint), Ok(()));
    let changed = |at: usize| {
        let mut bytes = checkpoint.clone();
        bytes[at] ^= 1;
        restored(&bytes)
    };
    assert_eq!(changed(0), Err(RestoreError::Version { found: 0 }));
    assert!(matches!(changed(8), Err(RestoreError::Elsewhere { .. })), "another cluster");
    assert!(matches!(changed(40), Err(RestoreError::Elsewhere { .. })), "another shard");
    assert!(matches!(changed(48), Err(RestoreError::Elsewhere { .. })), "another node");
    let other = NodeId([1; 32]);
    let mut three = machine_of(9, &[signer().node(), other, NodeId([2; 32])]);
    let genesis = genesis_of(&[signer().node(), other, NodeId([2; 32])]);
    assert_eq!(
        three.restore(&genesis, &checkpoint),
        Ok(()),
        "the members follow from genesis and governance"
    );
}

/// The bytes are pinned: a program that writes others names another version, so that none is misread.
#[test]
fn the_fields_of_version_1_stay_as_they_are() {
    let golden = include_bytes!("../golden/checkpoint-1.fields");
    let written = checkpoint_of_two_boots();
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/checkpoint-1.fields"), &written)
            .expect("written");
    }
    assert!(written == golden, "the fields of a checkpoint have changed: give them another version");
}

/// Epochs that are closed stay closed: a restored node claims above all of them. [P-20]
#[test]
fn a_restored_node_stands_above_everything_that_its_log_shows() {
    let checkpoint = checkpoint_of_two_boots();
    let genesis = genesis_of(&[signer().node()]);
    let mut machine = machine(3);
    machine.restore(&genesis, &checkpoint).expect("just written");
    assert_eq!(machine.promised(), Epoch(2));
    machine.start(io_oi_record::Now::at(Nanos(1_800_000_000_000_000_000)));
    let mut kinds = Vec::new();
    while let Some(effect) = machine.poll_effect() {
        if let Effect::Append { kind, epoch, .. } = effect {
            kinds.push((kind, epoch));
        }
    }
    assert_eq!(kinds, [(LogKind::Claim, Epoch(3))]);
}

/// Three nodes, a change of leader, blocks that are taken back: each log says the same from each place.
#[test]
fn logs_of_a_group_say_the_same_from_every_place() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let session = net.open(leader, 1);
    for number in 1..=4 {
        net.submit(leader, session, numbered(number, b"key", b"value"));
        net.run_ms(3);
    }
    // Alone, it goes on for a while; what it appends there is given up when it hears the others again.
    net.isolate(leader);
    net.submit(leader, session, numbered(5, b"key", b"alone"));
    net.run_ms(1_000);
    net.cut.clear();
    net.run_ms(400);
    assert_ne!(net.elect(), leader, "the others have elected another leader");
    net.submit(leader, session, numbered(6, b"key", b"again"));
    net.run_ms(200);
    let genesis = genesis_of(&(0..3).map(|node| signer_of(node).node()).collect::<Vec<_>>());
    let rewinds: u64 = (0..3).map(|node| net.machine(node).counters().rewinds).sum();
    assert!(rewinds > 0, "nothing was taken back");
    for node in 0..3 {
        let blocks = net.nodes[node].log.iter().filter(|frame| frame.kind == LogKind::Block).count();
        assert!(blocks >= 5, "node {node} has {blocks} blocks");
        check_every_place(&net.nodes[node].log, &|| net.fresh_machine(node), &genesis);
    }
}
