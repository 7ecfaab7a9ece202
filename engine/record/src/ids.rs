//! Names and numbers: every id, sequence, epoch and time as its own type.
//!
//! Invariant: no bare integer or byte array crosses a door; two kinds of number cannot be mixed up.

use core::fmt;
use core::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};

/// A text that should be hexadecimal bytes is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits, found {found} characters: copy the id again, whole")]
pub struct ParseHexError {
    /// Digits that this id has.
    pub digits: usize,
    /// Characters that were given.
    pub found: usize,
}

macro_rules! byte_names {
    ($($(#[$doc:meta])* $name:ident, $bytes:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
        #[rkyv(attr(doc = concat!("Archived form of `", stringify!($name), "`.")))]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// The bytes themselves.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(&self.0, f)?;
                f.write_str(")")
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            /// Reads lower- or upper-case hexadecimal digits, as `Display` writes them.
            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                let mut bytes = [0; $bytes];
                read_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl From<[u8; $bytes]> for $name {
            fn from(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }
    )*};
}

byte_names! {
    /// A node: its ed25519 public key.
    NodeId, 32;
    /// An operator: the ed25519 public key that signs genesis and governance.
    OperatorId, 32;
    /// A cluster: the blake3 hash of its genesis.
    ClusterId, 32;
    /// A blake3 hash, made under one of the domains of `hash`.
    Hash, 32;
    /// An ed25519 signature over a statement.
    Signature, 64;
}

impl NodeId {
    /// The first eight bytes (little endian): short enough for session ids and receipts, not for trust.
    #[must_use]
    pub fn tag(&self) -> NodeTag {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        NodeTag(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Hash {
    /// All zero: the parent of the first block, the set of no arbitrators.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Whether this is `Hash::ZERO`.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Hash::ZERO
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize)]
        #[rkyv(attr(doc = concat!("Archived form of `", stringify!($name), "`.")))]
        pub struct $name(pub $int);

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

numbers! {
    /// One partition of the key space; shard *i* of all nodes forms one consensus group.
    ShardId(u16);
    /// A leader's term in one shard. The first is 1; 0 means "none yet".
    Epoch(u64);
    /// A record's place in its shard's order. Dense, never reused. The first is 1; 0 means "none".
    Sequence(u64);
    /// A proposal's number inside its session and shard. Strictly increasing, gaps allowed. The first is 1 or more.
    SessionSequence(u64);
    /// Nanoseconds since the Unix epoch, or of a clock that only ever goes forward.
    Nanos(u64);
    /// Counts a leader's heartbeats within its epoch; acknowledgements name the newest that they heard.
    Round(u64);
}

impl ShardId {
    /// As an index into per-shard arrays.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

macro_rules! counted {
    ($($name:ident),*) => {$(
        impl $name {
            /// Zero: none yet.
            pub const NONE: $name = $name(0);
            /// The first real one.
            pub const FIRST: $name = $name(1);

            /// Whether this is zero, "none yet".
            #[must_use]
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }

            /// The one after this. 2^64 of them are never used up; running out is our own broken promise.
            #[must_use]
            pub const fn next(self) -> $name {
                match self.0.checked_add(1) {
                    Some(next) => $name(next),
                    None => panic!("ran out of 64-bit numbers"),
                }
            }

            /// This many further, `None` beyond 64 bits.
            #[must_use]
            pub const fn checked_add(self, count: u64) -> Option<$name> {
                match self.0.checked_add(count) {
                    Some(sum) => Some($name(sum)),
                    None => None,
                }
            }
        }
    )*};
}

counted!(Epoch, Sequence, SessionSequence, Round);

impl Nanos {
    /// The Unix epoch itself.
    pub const ZERO: Nanos = Nanos(0);

    /// Later by a duration in nanoseconds, stopping at the end of the range.
    #[must_use]
    pub const fn saturating_add(self, duration_ns: u64) -> Nanos {
        Nanos(self.0.saturating_add(duration_ns))
    }

    /// Nanoseconds from `earlier` to here, 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a node's two clocks say at one moment. The wall clock stamps headers and may jump; timers and leases go by the
/// monotonic one, which is comparable on one node within one boot only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Now {
    /// Nanoseconds since the Unix epoch.
    pub wall: Nanos,
    /// Nanoseconds since some moment before the node started; never goes back.
    pub mono: Nanos,
}

impl Now {
    /// Both clocks at zero.
    pub const ZERO: Now = Now::at(Nanos::ZERO);

    /// Both clocks at the same number: for worlds with one clock.
    #[must_use]
    pub const fn at(nanos: Nanos) -> Now {
        Now { wall: nanos, mono: nanos }
    }
}

/// The first eight bytes of a node id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `NodeTag`."))]
pub struct NodeTag(pub u64);

impl fmt::Display for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0.to_le_bytes(), f)
    }
}

impl fmt::Debug for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeTag({self})")
    }
}

/// One attached client, for ever: no two sessions of a cluster have the same id, not even after restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `SessionId`."))]
pub struct SessionId {
    /// The node that gave the session out.
    pub node: NodeTag,
    /// How often that node had started; durable before the first session of a boot.
    pub boot: u32,
    /// Counts the sessions of that boot from 1; 0 stands for the node itself (its epoch records).
    pub counter: u32,
}

impl SessionId {
    /// Encoded length in bytes.
    pub const BYTES: usize = 16;

    /// The session under which a node writes its own records.
    #[must_use]
    pub const fn of_node(node: NodeTag, boot: u32) -> SessionId {
        SessionId { node, boot, counter: 0 }
    }

    /// Node tag, boot, counter, each little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.boot.to_le_bytes());
        bytes[12..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.node, self.boot, self.counter)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex(text: &str, out: &mut [u8]) -> Result<(), ParseHexError> {
    let error = ParseHexError { digits: out.len() * 2, found: text.chars().count() };
    if text.len() != error.digits {
        return Err(error);
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(pair[0]).ok_or(error)? << 4 | hex_digit(pair[1]).ok_or(error)?;
    }
    Ok(())
}

fn hex_digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn hex_names_read_back_what_they_show() {
        let node = NodeId(core::array::from_fn(|i| i as u8 * 7));
        assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
        assert_eq!(node.to_string().to_uppercase().parse::<NodeId>(), Ok(node));
    }

    #[test]
    fn hex_names_refuse_other_lengths_and_letters() {
        assert_eq!("00ff".parse::<Hash>(), Err(ParseHexError { digits: 64, found: 4 }));
        assert!("zz".repeat(32).parse::<Hash>().is_err());
        assert!("é".repeat(32).parse::<Hash>().is_err());
        assert!("+1".repeat(32).parse::<Hash>().is_err());
    }

    #[test]
    fn node_tag_is_the_first_eight_bytes_and_shows_them_in_order() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let tag = NodeId(bytes).tag();
        assert_eq!(tag, NodeTag(0x0807_0605_0403_0201));
        assert_eq!(tag.to_string(), "0102030405060708");
        let session = SessionId { node: tag, boot: 3, counter: 9 };
        assert_eq!(session.to_string(), "0102030405060708-3-9");
        assert_eq!(session.to_bytes(), [1, 2, 3, 4, 5, 6, 7, 8, 3, 0, 0, 0, 9, 0, 0, 0]);
    }

    #[test]
    fn numbers_start_at_one_and_count() {
        assert!(Sequence::NONE.is_none());
        assert_eq!(Sequence::NONE.next(), Sequence::FIRST);
        assert_eq!(Epoch(u64::MAX).checked_add(1), None);
        assert_eq!(Nanos(5).since(Nanos(9)), 0);
        assert_eq!(Nanos(u64::MAX).saturating_add(1), Nanos(u64::MAX));
    }
}
