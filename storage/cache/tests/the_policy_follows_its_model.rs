//! Random calls beside a plain model: the bound, the sum, the deadlines and who is held, after every single call.

use std::collections::BTreeMap;

use io_oi_cache::{Admission, Config, EntryId, Epoch, Nanos, Newcomer, Policy, StandsFor};
use proptest::prelude::*;

const ENTRIES: u32 = 24;
const BYTES_MAX: u64 = 1_000;

#[derive(Clone, Debug)]
enum Call {
    Hit { entry: u32, log2: u32 },
    Admit { hash: u64, weight: u64, expires: Option<u64>, is_written: bool },
    Rewrite { entry: u32, weight: u64, expires: Option<u64> },
    Hold(u32),
    Release(u32),
    Remove(u32),
    Expire { step: u64, count_max: usize },
    Prune { epochs: u64, count: usize },
}

fn calls() -> impl Strategy<Value = Call> {
    let entry = || 0..ENTRIES;
    // Deadlines close to the clock of the test, so that many are just due or just not.
    let expires = || proptest::option::of(0..60_u64);
    let weight = || prop_oneof![8 => 0..120_u64, 1 => 0..1_200_u64];
    prop_oneof![
        // Readers make up entries and counts.
        6 => (0..2 * ENTRIES, 0..40_u32).prop_map(|(entry, log2)| Call::Hit { entry, log2 }),
        8 => (0..60_u64, weight(), expires(), any::<bool>()).prop_map(|(hash, weight, expires, is_written)| {
            Call::Admit { hash, weight, expires, is_written }
        }),
        3 => (entry(), weight(), expires())
            .prop_map(|(entry, weight, expires)| Call::Rewrite { entry, weight, expires }),
        2 => entry().prop_map(Call::Hold),
        2 => entry().prop_map(Call::Release),
        2 => entry().prop_map(Call::Remove),
        2 => (0..5_u64, 0..4_usize).prop_map(|(step, count_max)| Call::Expire { step, count_max }),
        1 => (0..20_u64, 0..30_usize).prop_map(|(epochs, count)| Call::Prune { epochs, count }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    hash: u64,
    weight: u64,
    expires: Option<u64>,
    is_held: bool,
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u32, Known>,
    now: u64,
    epoch: u64,
    went: Vec<u32>,
}

impl Model {
    fn held_bytes(&self) -> u64 {
        self.entries.values().filter(|known| known.is_held).map(|known| known.weight).sum()
    }

    fn used_bytes(&self) -> u64 {
        self.entries.values().map(|known| known.weight).sum()
    }

    /// Somebody was named to go: it must be there, and may be held only when its time has come.
    fn goes(&mut self, entry: EntryId, may_be_held: bool) {
        let known = self.entries.remove(&entry.0).expect("only who is there can go");
        assert!(may_be_held || !known.is_held, "who is held stays");
        self.went.push(entry.0);
    }

    fn call(&mut self, policy: &mut Policy, call: &Call) {
        match *call {
            Call::Hit { entry, log2 } => {
                let before = policy.stats().hits_on_nobody;
                policy.hit(EntryId(entry), StandsFor::power_of_two(log2));
                let is_counted = policy.stats().hits_on_nobody > before;
                assert_eq!(is_counted, !self.entries.contains_key(&entry));
            }
            Call::Admit { hash, weight, expires, is_written } => {
                self.admit(policy, hash, weight, expires, is_written)
            }
            Call::Rewrite { entry, weight, expires } => self.rewrite(policy, entry, weight, expires),
            Call::Hold(entry) => {
                if let Some(known) = self.entries.get_mut(&entry) {
                    known.is_held = true;
                    policy.hold(EntryId(entry));
                }
            }
            Call::Release(entry) => {
                if let Some(known) = self.entries.get_mut(&entry) {
                    known.is_held = false;
                    policy.release(EntryId(entry));
                }
            }
            Call::Remove(entry) => {
                if self.entries.remove(&entry).is_some() {
                    policy.remove(EntryId(entry));
                }
            }
            Call::Expire { step, count_max } => self.expire(policy, step, count_max),
            Call::Prune { epochs, count } => {
                self.epoch += epochs;
                policy.advance(Epoch(self.epoch));
                let (used, entries) = (self.used_bytes(), self.entries.len());
                let went = policy.prune(count, |entry| self.goes(entry, false));
                assert_eq!(went, entries - self.entries.len());
                assert!(went == 0 || used > BYTES_MAX / 2, "nobody is pruned while there is room");
            }
        }
    }

    fn admit(&mut self, policy: &mut Policy, hash: u64, weight: u64, expires: Option<u64>, is_written: bool) {
        let Some(entry) = (0..ENTRIES).find(|entry| !self.entries.contains_key(entry)) else { return };
        let (before, could) = (self.entries.len(), self.held_bytes() + weight <= BYTES_MAX);
        let newcomer = Newcomer { hash, weight_bytes: weight, expires: expires.map(Nanos), is_written };
        let fitted = self.used_bytes() + weight <= BYTES_MAX;
        match policy.admit(EntryId(entry), &newcomer, |entry| self.goes(entry, false)) {
            Admission::Admitted => {
                assert!(could);
                self.entries.insert(entry, Known { hash, weight, expires, is_held: false });
            }
            Admission::Declined => {
                assert!(!is_written && !fitted && before == self.entries.len());
            }
            Admission::Full => assert!(!could && before == self.entries.len()),
        }
    }

    fn rewrite(&mut self, policy: &mut Policy, entry: u32, weight: u64, expires: Option<u64>) {
        let Some(known) = self.entries.get(&entry).copied() else { return };
        let held_others = self.held_bytes() - if known.is_held { known.weight } else { 0 };
        let could = held_others + weight.max(known.weight) <= BYTES_MAX;
        let before = self.entries.len();
        match policy.rewrite(EntryId(entry), weight, expires.map(Nanos), |other| {
            assert_ne!(other.0, entry, "nobody goes for his own growth");
            self.goes(other, false);
        }) {
            Admission::Admitted => {
                assert!(could);
                self.entries.insert(entry, Known { weight, expires, ..known });
            }
            Admission::Full => assert!(!could && before == self.entries.len()),
            Admission::Declined => panic!("what is written is never declined"),
        }
    }

    fn expire(&mut self, policy: &mut Policy, step: u64, count_max: usize) {
        self.now += step;
        let now = self.now;
        let is_due = |known: &Known| known.expires.is_some_and(|expires| expires <= now);
        let due = self.entries.values().filter(|known| is_due(known)).count();
        let went = policy.expire(Nanos(now), count_max, |entry| {
            assert!(is_due(&self.entries[&entry.0]), "nobody goes before its time");
            self.goes(entry, true);
        });
        assert_eq!(went, due.min(count_max), "everybody goes whose time has come");
    }

    fn check(&self, policy: &Policy) {
        let stats = policy.stats();
        assert_eq!(stats.used_bytes, self.used_bytes());
        assert!(stats.used_bytes <= BYTES_MAX);
        assert_eq!(stats.entries, self.entries.len() as u64);
        let earliest = self.entries.values().filter_map(|known| known.expires).min();
        assert_eq!(policy.next_deadline(), earliest.map(Nanos));
        for entry in 0..2 * ENTRIES {
            let known = self.entries.get(&entry);
            let tracked = policy.tracked(EntryId(entry)).map(|tracked| Known {
                hash: tracked.hash,
                weight: tracked.weight_bytes,
                expires: tracked.expires.map(|expires| expires.0),
                is_held: tracked.is_held,
            });
            assert_eq!(tracked.as_ref(), known);
            for now in [self.now, self.now + 1] {
                let is_live = known.is_some_and(|known| known.expires.is_none_or(|expires| now < expires));
                assert_eq!(policy.is_live(EntryId(entry), Nanos(now)), is_live, "exact to the nanosecond");
            }
        }
    }
}

fn policy() -> Policy {
    let config = Config {
        entries_max: ENTRIES,
        entries_expected: ENTRIES / 2,
        bytes_max: BYTES_MAX,
        prune_above_bytes: BYTES_MAX / 2,
        keep_epochs: 4,
        seed: 11,
    };
    Policy::new(&config).expect("these sizes fit each other")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_call_keeps_what_is_promised(calls in proptest::collection::vec(calls(), 1..300)) {
        let (mut policy, mut model) = (policy(), Model::default());
        for call in &calls {
            model.call(&mut policy, call);
            model.check(&policy);
        }
    }

    #[test]
    fn the_same_calls_let_the_same_go(calls in proptest::collection::vec(calls(), 1..200)) {
        let went = |calls: &[Call]| {
            let (mut policy, mut model) = (policy(), Model::default());
            calls.iter().for_each(|call| model.call(&mut policy, call));
            model.went
        };
        prop_assert_eq!(went(&calls), went(&calls));
    }
}
