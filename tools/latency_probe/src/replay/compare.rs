//! Compares every key of the replicated state with the plain book, in both directions.

use std::collections::BTreeMap;
use std::fmt;

use super::words::{Name, Value};

/// The verdict over one node's state.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Keys compared: those of the book and those that only the node has.
    pub keys: u64,
    /// How many of them differ.
    pub differences: u64,
    /// The first of them, at most `FIRST_MAX`.
    pub first: Vec<Difference>,
    /// A hash of every key and value that the node holds, in key order.
    pub answers_hash: u64,
}

/// One key that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The key's text.
    pub key: String,
    /// What is wrong with it.
    pub what: What,
}

/// How a key differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The book has it, the node does not.
    Missing(Value),
    /// The node has it, the book does not.
    Extra(Value),
    /// Both have it, with different values.
    Different {
        /// The book's value.
        book: Value,
        /// The node's value.
        node: Value,
    },
    /// The node's key or value is no word of a replay.
    Unreadable(Vec<u8>),
}

/// How many differences are kept word for word.
pub(crate) const FIRST_MAX: usize = 10;

impl Comparison {
    /// No key differs.
    pub(crate) fn is_equal(&self) -> bool {
        self.differences == 0
    }

    fn note(&mut self, key: String, what: What) {
        self.differences += 1;
        if self.first.len() < FIRST_MAX {
            self.first.push(Difference { key, what });
        }
    }
}

/// Compares what a node holds under the replay's prefixes with what the book expects.
pub(crate) fn compare(held: &BTreeMap<Vec<u8>, Vec<u8>>, expected: &BTreeMap<Name, Value>) -> Comparison {
    let mut comparison = Comparison::default();
    let mut found = BTreeMap::new();
    for (key, bytes) in held {
        comparison.answers_hash = crate::answers::fold_bytes(comparison.answers_hash, key);
        comparison.answers_hash = crate::answers::fold_bytes(comparison.answers_hash, bytes);
        match Name::decode(key).and_then(|name| Some((name, Value::decode(&name, bytes)?))) {
            Some((name, value)) => drop(found.insert(name, value)),
            None => {
                comparison.keys += 1;
                comparison.note(String::from_utf8_lossy(key).into_owned(), What::Unreadable(bytes.clone()));
            }
        }
    }
    for (name, book) in expected {
        comparison.keys += 1;
        match found.remove(name) {
            None => comparison.note(text_of(name), What::Missing(*book)),
            Some(node) if node != *book => {
                comparison.note(text_of(name), What::Different { book: *book, node });
            }
            Some(_) => {}
        }
    }
    for (name, node) in found {
        comparison.keys += 1;
        comparison.note(text_of(&name), What::Extra(node));
    }
    comparison
}

fn text_of(name: &Name) -> String {
    let mut key = Vec::new();
    name.encode(&mut key);
    String::from_utf8_lossy(&key).into_owned()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.what {
            What::Missing(book) => write!(f, "{key}: missing on the node, the book has {book:?}"),
            What::Extra(node) => write!(f, "{key}: the node has {node:?}, the book has nothing"),
            What::Different { book, node } => {
                write!(f, "{key}: the node has {node:?}, the book has {book:?}")
            }
            What::Unreadable(bytes) => {
                write!(f, "{key}: the node has {} bytes that are no value of a replay", bytes.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Instrument, Side};
    use super::super::words::LevelValue;
    use super::*;

    fn level(price: i64, size: u64) -> (Name, Value) {
        let name = Name::Level(Instrument { id: 1, publisher: None }, Side::Bid, price);
        (name, Value::Level(LevelValue { event: 1, size, orders: 1 }))
    }

    fn held(levels: &[(Name, Value)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let bytes = |(name, value): &(Name, Value)| {
            let (mut key, mut bytes) = (Vec::new(), Vec::new());
            name.encode(&mut key);
            value.encode(&mut bytes);
            (key, bytes)
        };
        levels.iter().map(bytes).collect()
    }

    #[test]
    fn equal_states_are_equal() {
        let levels = [level(1, 5), level(2, 6)];
        let comparison = compare(&held(&levels), &levels.into_iter().collect());
        assert!(comparison.is_equal());
        assert_eq!(comparison.keys, 2);
    }

    #[test]
    fn missing_extra_different_and_unreadable_keys_are_all_found() {
        let mut state = held(&[level(1, 5), level(2, 6), level(4, 1)]);
        state.insert(b"ord/zzz".to_vec(), vec![1]);
        let comparison = compare(&state, &[level(1, 5), level(2, 7), level(3, 8)].into_iter().collect());
        assert_eq!(comparison.differences, 4);
        let kinds: Vec<&str> = comparison
            .first
            .iter()
            .map(|difference| match difference.what {
                What::Missing(_) => "missing",
                What::Extra(_) => "extra",
                What::Different { .. } => "different",
                What::Unreadable(_) => "unreadable",
            })
            .collect();
        assert_eq!(kinds, ["unreadable", "different", "missing", "extra"]);
    }

    #[test]
    fn only_the_first_differences_are_kept_but_all_are_counted() {
        let levels: Vec<_> = (0..50).map(|price| level(price, 1)).collect();
        let comparison = compare(&BTreeMap::new(), &levels.into_iter().collect());
        assert_eq!((comparison.differences, comparison.first.len()), (50, FIRST_MAX));
    }
}
