//! Looks for one order that explains all answers: Wing and Gong's search with Lowe's memory, key by key.
//!
//! Invariant: an order is looked for among those that keep every operation between its call and its answer; what was
//! tried once (the same set of operations done, the same state) is not tried again.

use std::collections::{BTreeMap, HashSet};

use crate::operation::{Answer, Call, History, Operation};
use crate::register::Register;

/// A history was judged and an order exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys looked at.
    pub keys: usize,
    /// Operations that had to be explained.
    pub operations: usize,
    /// Steps of the search.
    pub steps: u64,
}

/// A history was judged and no order was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No order explains the answers of one key.
    #[error(
        "no order explains what clients saw of key {}: after {explained} of {} operations nothing fits before the \
         answer of operation {stuck}",
        key.escape_ascii(), operations.len()
    )]
    NotLinearizable {
        /// The key.
        key: Vec<u8>,
        /// All operations on it, as places in the history.
        operations: Vec<usize>,
        /// The most operations that one order explained.
        explained: usize,
        /// The operation, as a place in the history, whose answer could not be explained then.
        stuck: usize,
    },
    /// The search was given up: nothing is said about the history.
    #[error("key {} needs more than {steps_max} steps: record shorter histories or use more keys", key.escape_ascii())]
    TooHard {
        /// The key.
        key: Vec<u8>,
        /// The bound that was set.
        steps_max: u64,
    },
}

/// Judges every key of the history. Gives up after `steps_max` steps on one key.
pub fn check(history: &History, steps_max: u64) -> Result<Checked, Violation> {
    let mut by_key: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (place, operation) in history.operations().iter().enumerate() {
        if matters(operation) {
            by_key.entry(&operation.key).or_default().push(place);
        }
    }
    let mut checked = Checked::default();
    for (key, places) in by_key {
        let operations: Vec<&Operation> = places.iter().map(|place| &history.operations()[*place]).collect();
        let learned = with_versions_learned(&operations);
        let operations: Vec<&Operation> = learned.iter().collect();
        match Search::new(&operations).run(steps_max) {
            Ended::Explained { steps } => {
                checked.keys += 1;
                checked.operations += operations.len();
                checked.steps += steps;
            }
            Ended::GivenUp => return Err(Violation::TooHard { key: key.to_vec(), steps_max }),
            Ended::Stuck { explained, at } => {
                let stuck = places[at];
                let (key, operations) = (key.to_vec(), places);
                return Err(Violation::NotLinearizable { key, operations, explained, stuck });
            }
        }
    }
    Ok(checked)
}

/// What never took effect, and a read without an answer, say nothing.
fn matters(operation: &Operation) -> bool {
    match operation.answer {
        Answer::NoEffect => false,
        Answer::Unknown => operation.call != Call::Read,
        _ => true,
    }
}

/// A put without an answer whose value was read later, and which nobody else wrote, has the version that the read saw.
/// Nothing is lost by saying so, and the search gets shorter. Whether its answer came in time stays unknown: its place is
/// still anywhere after its call.
fn with_versions_learned(operations: &[&Operation]) -> Vec<Operation> {
    let mut writers: BTreeMap<&[u8], u32> = BTreeMap::new();
    let mut seen: BTreeMap<&[u8], u64> = BTreeMap::new();
    for operation in operations {
        match (&operation.call, &operation.answer) {
            (Call::Put { value, .. }, _) => *writers.entry(value).or_default() += 1,
            (Call::Read, Answer::Found { version: Some(version), value }) => {
                seen.entry(value).or_insert(*version);
            }
            _ => {}
        }
    }
    let learn = |operation: &&Operation| {
        let mut learned = (*operation).clone();
        if let (Call::Put { value, .. }, Answer::Unknown | Answer::Accepted { version: None }) =
            (&operation.call, &operation.answer)
            && writers.get(value.as_slice()) == Some(&1)
            && let Some(version) = seen.get(value.as_slice())
        {
            learned.answer = Answer::Accepted { version: Some(*version) };
            if operation.answer == Answer::Unknown {
                learned.answered_ns = u64::MAX;
            }
        }
        learned
    };
    operations.iter().map(learn).collect()
}

enum Ended {
    Explained { steps: u64 },
    Stuck { explained: usize, at: usize },
    GivenUp,
}

/// A call or an answer in the list of what is not explained yet.
#[derive(Clone, Copy)]
struct Entry {
    operation: u32,
    is_call: bool,
    before: u32,
    after: u32,
}

const HEAD: u32 = 0;
const NOWHERE: u32 = u32::MAX;

struct Search<'a> {
    operations: &'a [&'a Operation],
    entries: Vec<Entry>,
    /// Each operation's entries: call, and answer if one has to come before what follows it.
    places: Vec<(u32, u32)>,
    /// Operations that an order has to hold.
    required: usize,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (at, operation) in operations.iter().enumerate() {
            // A call at the moment of another's answer may have been first: `false` sorts before `true`.
            events.push((operation.invoked_ns, false, at));
            if is_required(operation) {
                events.push((operation.answered_ns, true, at));
            }
        }
        events.sort_unstable();
        let mut entries = vec![Entry { operation: NOWHERE, is_call: false, before: NOWHERE, after: NOWHERE }];
        let mut places = vec![(NOWHERE, NOWHERE); operations.len()];
        for (_, is_answer, at) in events {
            let place = entries.len() as u32;
            entries[place as usize - 1].after = place;
            let before = place - 1;
            entries.push(Entry { operation: at as u32, is_call: !is_answer, before, after: NOWHERE });
            if is_answer {
                places[at].1 = place;
            } else {
                places[at].0 = place;
            }
        }
        let required = operations.iter().filter(|operation| is_required(operation)).count();
        Self { operations, entries, places, required }
    }

    fn run(mut self, steps_max: u64) -> Ended {
        let mut state = Register::ABSENT;
        let mut done: Vec<(usize, Register)> = Vec::new();
        let mut tried: HashSet<(u128, Option<u32>)> = HashSet::new();
        let (mut set, mut left, mut steps) = (0_u128, self.required, 0_u64);
        let (mut explained, mut stuck) = (0, 0);
        let mut entry = self.entries[HEAD as usize].after;
        while left > 0 {
            steps += 1;
            if steps > steps_max {
                return Ended::GivenUp;
            }
            let at = match entry {
                NOWHERE => None,
                place => Some(self.entries[place as usize]),
            };
            if let Some(Entry { operation, is_call: true, after, .. }) = at {
                let operation = operation as usize;
                let next = state.step(self.operations, operation);
                match next {
                    Some(next) if tried.insert((set ^ mark(operation), next.writer)) => {
                        done.push((operation, state));
                        set ^= mark(operation);
                        left -= usize::from(is_required(self.operations[operation]));
                        state = next;
                        self.lift(operation);
                        entry = self.entries[HEAD as usize].after;
                    }
                    _ => entry = after,
                }
                continue;
            }
            // An answer that nothing before it explains, or the end: take the newest choice back.
            if let Some(Entry { operation, .. }) = at
                && self.required - left >= explained
            {
                (explained, stuck) = (self.required - left, operation as usize);
            }
            let Some((operation, before)) = done.pop() else {
                return Ended::Stuck { explained, at: stuck };
            };
            set ^= mark(operation);
            left += usize::from(is_required(self.operations[operation]));
            state = before;
            self.put_back(operation);
            entry = self.entries[self.places[operation].0 as usize].after;
        }
        Ended::Explained { steps }
    }

    fn lift(&mut self, operation: usize) {
        let (call, answer) = self.places[operation];
        self.unlink(call);
        if answer != NOWHERE {
            self.unlink(answer);
        }
    }

    fn put_back(&mut self, operation: usize) {
        let (call, answer) = self.places[operation];
        if answer != NOWHERE {
            self.link(answer);
        }
        self.link(call);
    }

    fn unlink(&mut self, place: u32) {
        let Entry { before, after, .. } = self.entries[place as usize];
        self.entries[before as usize].after = after;
        if after != NOWHERE {
            self.entries[after as usize].before = before;
        }
    }

    fn link(&mut self, place: u32) {
        let Entry { before, after, .. } = self.entries[place as usize];
        self.entries[before as usize].after = place;
        if after != NOWHERE {
            self.entries[after as usize].before = place;
        }
    }
}

/// Whether an order has to hold the operation: its answer came.
fn is_required(operation: &Operation) -> bool {
    operation.answer != Answer::Unknown && operation.answered_ns != u64::MAX
}

/// A number for each operation, so that sets of them can be told apart by the exclusive or of their numbers: 128 well
/// mixed bits make two different sets that look alike less likely than a broken machine.
fn mark(operation: usize) -> u128 {
    let mix = |seed: u64| {
        let mixed = (operation as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed;
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    u128::from(mix(0)) << 64 | u128::from(mix(0x5851_F42D_4C95_7F2D))
}
