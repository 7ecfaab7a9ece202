//! One book event of a market-by-order file, in the probe's own words.
//!
//! Invariant: event numbers are dense over all files of a run and start at 1; 0 means "none yet".

use std::fmt;

/// One market-by-order record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number in this run, over all files; the first is 1.
    pub number: u64,
    /// Whose book it changes.
    pub instrument: Instrument,
    /// What happened.
    pub action: Action,
    /// The side named by the record.
    pub side: Side,
    /// The venue's order id.
    pub order_id: u64,
    /// Fixed point, units of 1e-9; `PRICE_UNDEFINED` when there is none.
    pub price: i64,
    /// Order quantity, or the quantity cancelled, traded or filled.
    pub size: u32,
    /// Databento's bit field, as it came.
    pub flags: u8,
    /// Venue time, nanoseconds since the Unix epoch.
    pub ts_event: u64,
    /// Capture time, nanoseconds since the Unix epoch; the pace of a replay.
    pub ts_recv: u64,
}

impl Event {
    /// The record stands for the whole top of one side, not for an order (Databento `F_TOB`).
    pub(crate) fn is_top_of_book(&self) -> bool {
        self.flags & dbn::flags::TOB != 0
    }
}

/// The price of a record that carries none.
pub(crate) const PRICE_UNDEFINED: i64 = dbn::UNDEF_PRICE;

/// What a record does. Databento's documentation: trades and fills do not change the book, because every fill
/// is accompanied by the cancel or modify that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A new resting order.
    Add,
    /// An order shrinks by `size`, and is gone when nothing is left.
    Cancel,
    /// An order gets this price, size and side.
    Modify,
    /// All resting orders of the instrument are gone.
    Clear,
    /// An aggressor traded; the book is untouched.
    Trade,
    /// A resting order was hit; the book is untouched until its cancel comes.
    Fill,
    /// Flags only.
    None,
    /// A letter this version does not know: counted, nothing else.
    Unknown,
}

impl Action {
    /// From the record's letter.
    pub(crate) fn from_letter(letter: u8) -> Self {
        match letter {
            b'A' => Self::Add,
            b'C' => Self::Cancel,
            b'M' => Self::Modify,
            b'R' => Self::Clear,
            b'T' => Self::Trade,
            b'F' => Self::Fill,
            b'N' => Self::None,
            _ => Self::Unknown,
        }
    }
}

/// Which half of the book; `None` where the venue names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// Sell orders.
    Ask,
    /// Buy orders.
    Bid,
    /// Not named; such orders rest in a half of their own.
    None,
}

impl Side {
    /// From the record's letter; anything unknown is `None`.
    pub(crate) fn from_letter(letter: u8) -> Self {
        match letter {
            b'A' => Self::Ask,
            b'B' => Self::Bid,
            _ => Self::None,
        }
    }

    /// The record's letter, as it stands in keys and values.
    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::Ask => b'A',
            Self::Bid => b'B',
            Self::None => b'N',
        }
    }
}

/// One order book: order ids are unique only inside one venue, so the publisher belongs to the name.
///
/// In keys it is `<instrument id>` for the first publisher that a run meets with this id, and
/// `<instrument id>@<publisher>` for every further one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instrument {
    /// Databento's numeric instrument id.
    pub id: u32,
    /// The publisher, named only when the id alone would be ambiguous.
    pub publisher: Option<u16>,
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.publisher {
            None => write!(f, "{}", self.id),
            Some(publisher) => write!(f, "{}@{publisher}", self.id),
        }
    }
}

impl std::str::FromStr for Instrument {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('@') {
            None => Self { id: text.parse()?, publisher: None },
            Some((id, publisher)) => Self { id: id.parse()?, publisher: Some(publisher.parse()?) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_reads_back_from_its_own_name() {
        for instrument in [
            Instrument { id: 17077, publisher: None },
            Instrument { id: u32::MAX, publisher: Some(u16::MAX) },
        ] {
            assert_eq!(instrument.to_string().parse(), Ok(instrument));
        }
        assert!("17077@".parse::<Instrument>().is_err());
        assert!("x".parse::<Instrument>().is_err());
    }

    #[test]
    fn a_hostile_letter_is_an_unknown_action_and_no_side() {
        assert_eq!(Action::from_letter(0), Action::Unknown);
        assert_eq!(Side::from_letter(0xff), Side::None);
    }
}
