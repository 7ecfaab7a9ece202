//! Keys and values of the replicated book: what stands under which name, byte for byte.
//!
//! Keys are text. Values are fixed-size little-endian words:
//!
//! ```text
//! ord/<instrument>/<order id>             lvl/<instrument>/<side>/<price>     trd/<instrument>
//!   0  event            u64                 0  event    u64                     0  event     u64
//!   8  price            i64 (1e-9)          8  size     u64                     8  price     i64
//!  16  size             u32                16  orders   u32                    16  size      u32
//!  20  side             u8  A B N          20  zero     u32                    20  side      u8
//!  21  flags            u8                                                     21  zero      3 × u8
//!  22  zero             u16                                                    24  ts_event  u64
//!  24  filled           u64              replay/cursor                         32  trades    u64
//!  32  last_fill_price  i64 or MAX         0  event     u64                    40  volume    u64
//!  40  ts_event         u64                8  history   u64
//!                                         16  proposals u64
//! ```
//!
//! `event` is the number of the last event that wrote the value. `history` is a rolling hash of every event up to
//! the cursor: a run is only resumed with the files it was begun with.

use super::event::{Event, Instrument, Side};

/// Where a replay stands: the last proposal of every event.
pub(crate) const CURSOR_KEY: &str = "replay/cursor";
/// Prefixes under which a replay writes, the cursor aside.
pub(crate) const PREFIXES: [&str; 3] = ["ord/", "lvl/", "trd/"];
/// Bytes of the largest and most frequent values, those of orders.
pub(crate) const ORDER_VALUE_BYTES: usize = 48;

/// The name of one replicated value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// One resting order.
    Order(Instrument, u64),
    /// One price level.
    Level(Instrument, Side, i64),
    /// The trades of one instrument.
    Trades(Instrument),
}

/// One replicated value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Under `Name::Order`.
    Order(OrderValue),
    /// Under `Name::Level`.
    Level(LevelValue),
    /// Under `Name::Trades`.
    Trades(TradesValue),
}

/// A resting order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The words are the table above.
pub(crate) struct OrderValue {
    pub event: u64,
    pub price: i64,
    pub size: u32,
    pub side: Side,
    pub flags: u8,
    pub filled: u64,
    pub last_fill_price: i64,
    pub ts_event: u64,
}

/// A price level: the sum over its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The words are the table above.
pub(crate) struct LevelValue {
    pub event: u64,
    pub size: u64,
    pub orders: u32,
}

/// The last trade of an instrument and its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The words are the table above.
pub(crate) struct TradesValue {
    pub event: u64,
    pub price: i64,
    pub size: u32,
    pub side: Side,
    pub ts_event: u64,
    pub trades: u64,
    pub volume: u64,
}

/// How far a replay came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last event that is wholly applied; 0 before the first.
    pub event: u64,
    /// Rolling hash over all events up to it.
    pub history: u64,
    /// Proposals that these events needed, the cursors included.
    pub proposals: u64,
}

impl Name {
    /// Appends the key's text.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        match self {
            Self::Order(instrument, id) => write!(out, "ord/{instrument}/{id}"),
            Self::Level(instrument, side, price) => {
                write!(out, "lvl/{instrument}/{}/{price}", side.letter() as char)
            }
            Self::Trades(instrument) => write!(out, "trd/{instrument}"),
        }
        .expect("writing to a Vec cannot fail");
    }

    /// Reads a key back; `None` for any other text, also for a second spelling of the same name.
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let name = Self::read(key)?;
        let mut again = Vec::with_capacity(key.len());
        name.encode(&mut again);
        (again == key).then_some(name)
    }

    fn read(key: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(key).ok()?;
        let mut parts = text.split('/');
        let (kind, instrument) = (parts.next()?, parts.next()?.parse().ok()?);
        let name = match kind {
            "ord" => Self::Order(instrument, parts.next()?.parse().ok()?),
            "lvl" => {
                let side = match parts.next()? {
                    "A" => Side::Ask,
                    "B" => Side::Bid,
                    "N" => Side::None,
                    _ => return None,
                };
                Self::Level(instrument, side, parts.next()?.parse().ok()?)
            }
            "trd" => Self::Trades(instrument),
            _ => return None,
        };
        parts.next().is_none().then_some(name)
    }
}

impl Value {
    /// Appends the value's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Order(value) => value.encode(out),
            Self::Level(value) => value.encode(out),
            Self::Trades(value) => value.encode(out),
        }
    }

    /// Reads a value back under its name; `None` when the bytes are not such a value.
    pub(crate) fn decode(name: &Name, bytes: &[u8]) -> Option<Self> {
        Some(match name {
            Name::Order(..) => Self::Order(OrderValue::decode(bytes)?),
            Name::Level(..) => Self::Level(LevelValue::decode(bytes)?),
            Name::Trades(..) => Self::Trades(TradesValue::decode(bytes)?),
        })
    }
}

/// The number of the event that wrote a value, whatever its kind: every value begins with it.
pub(crate) fn event_of_value(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?))
}

impl OrderValue {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event.to_le_bytes());
        out.extend_from_slice(&self.price.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&[self.side.letter(), self.flags, 0, 0]);
        out.extend_from_slice(&self.filled.to_le_bytes());
        out.extend_from_slice(&self.last_fill_price.to_le_bytes());
        out.extend_from_slice(&self.ts_event.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words::exact(bytes, ORDER_VALUE_BYTES)?;
        let value = Self {
            event: words.u64(),
            price: words.u64() as i64,
            size: words.u32(),
            side: words.side()?,
            flags: words.u8(),
            filled: words.zeros(2)?.u64(),
            last_fill_price: words.u64() as i64,
            ts_event: words.u64(),
        };
        Some(value)
    }
}

impl LevelValue {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.orders.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words::exact(bytes, 24)?;
        let value = Self { event: words.u64(), size: words.u64(), orders: words.u32() };
        words.zeros(4)?;
        Some(value)
    }
}

impl TradesValue {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event.to_le_bytes());
        out.extend_from_slice(&self.price.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&[self.side.letter(), 0, 0, 0]);
        out.extend_from_slice(&self.ts_event.to_le_bytes());
        out.extend_from_slice(&self.trades.to_le_bytes());
        out.extend_from_slice(&self.volume.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words::exact(bytes, 48)?;
        Some(Self {
            event: words.u64(),
            price: words.u64() as i64,
            size: words.u32(),
            side: words.side()?,
            ts_event: words.zeros(3)?.u64(),
            trades: words.u64(),
            volume: words.u64(),
        })
    }
}

impl Cursor {
    /// Before the first event.
    pub(crate) const START: Self = Self { event: 0, history: 0, proposals: 0 };

    /// Appends the cursor's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for word in [self.event, self.history, self.proposals] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads a cursor back; `None` when the bytes are not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words::exact(bytes, 24)?;
        Some(Self { event: words.u64(), history: words.u64(), proposals: words.u64() })
    }
}

/// Adds one event to a rolling hash of all events before it.
pub(crate) fn extend_history(history: u64, event: &Event) -> u64 {
    let words = [
        event.number,
        u64::from(event.instrument.id) << 32 | event.instrument.publisher.map_or(0, |p| u64::from(p) + 1),
        event.action as u64 | u64::from(event.side.letter()) << 8 | u64::from(event.flags) << 16,
        event.order_id,
        event.price as u64,
        u64::from(event.size),
        event.ts_event,
    ];
    words.iter().fold(history, |hash, word| crate::answers::fold(hash, *word))
}

/// Reads words off the front of a value whose length was checked once.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn exact(bytes: &'a [u8], length: usize) -> Option<Self> {
        (bytes.len() == length).then_some(Self(bytes))
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("the value's length was checked");
        self.0 = rest;
        *head
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn side(&mut self) -> Option<Side> {
        let letter = self.u8();
        let side = Side::from_letter(letter);
        (side.letter() == letter).then_some(side)
    }

    fn zeros(&mut self, count: usize) -> Option<&mut Self> {
        for _ in 0..count {
            if self.u8() != 0 {
                return None;
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument() -> Instrument {
        Instrument { id: 17077, publisher: Some(3) }
    }

    #[test]
    fn every_name_reads_back() {
        for name in [
            Name::Order(instrument(), u64::MAX),
            Name::Level(instrument(), Side::Bid, -1_250_000_000),
            Name::Level(instrument(), Side::None, i64::MAX),
            Name::Trades(instrument()),
        ] {
            let mut key = Vec::new();
            name.encode(&mut key);
            assert_eq!(Name::decode(&key), Some(name), "{}", String::from_utf8_lossy(&key));
        }
    }

    #[test]
    fn foreign_keys_are_no_names() {
        for key in [
            "",
            "ord",
            "ord/1",
            "ord/1/2/3",
            "ord/1/x",
            "lvl/1/C/5",
            "lvl/1/B",
            "trd/",
            "xyz/1",
            "trd/1/2",
            "ord/+1/2",
            "ord/01/2",
        ] {
            assert_eq!(Name::decode(key.as_bytes()), None, "{key}");
        }
        assert_eq!(Name::decode(&[0xff, 0xfe]), None);
    }

    #[test]
    fn every_value_reads_back_and_any_other_length_is_refused() {
        let order = OrderValue {
            event: 1,
            price: i64::MIN,
            size: u32::MAX,
            side: Side::Ask,
            flags: 0xff,
            filled: 7,
            last_fill_price: i64::MAX,
            ts_event: 9,
        };
        let level = LevelValue { event: 2, size: u64::MAX, orders: 3 };
        let trades =
            TradesValue { event: 3, price: -1, size: 5, side: Side::None, ts_event: 6, trades: 7, volume: 8 };
        for (name, value) in [
            (Name::Order(instrument(), 1), Value::Order(order)),
            (Name::Level(instrument(), Side::Ask, 1), Value::Level(level)),
            (Name::Trades(instrument()), Value::Trades(trades)),
        ] {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            assert_eq!(Value::decode(&name, &bytes), Some(value));
            assert_eq!(event_of_value(&bytes), Some(u64::from_le_bytes(bytes[..8].try_into().unwrap())));
            assert_eq!(Value::decode(&name, &bytes[1..]), None);
            bytes.push(0);
            assert_eq!(Value::decode(&name, &bytes), None);
        }
    }

    #[test]
    fn a_value_with_a_foreign_side_or_padding_is_refused() {
        let mut bytes = Vec::new();
        LevelValue { event: 2, size: 3, orders: 3 }.encode(&mut bytes);
        bytes[20] = 1;
        assert_eq!(LevelValue::decode(&bytes), None);
        let mut bytes = vec![0; 48];
        bytes[20] = b'X';
        assert_eq!(OrderValue::decode(&bytes), None);
    }
}
