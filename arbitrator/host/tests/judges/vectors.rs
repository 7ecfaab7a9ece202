//! Questions for the standard judges: mostly sensible, often at a limit, sometimes nonsense.
//!
//! Invariant: the same seed asks the same questions.

use io_oi_arbitrator::sdk::{Cell, CellWriter, Context, Write};
use io_oi_guests::order::{Order, Side};
use io_oi_guests::quota::Folder;
use io_oi_guests::risk_limit::Account;

/// Numbers out of a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A number of any magnitude, often a round one.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX - self.below(3),
            2 => i64::MAX.unsigned_abs() - self.below(3),
            3 => self.roll(),
            _ => self.below(200),
        }
    }

    fn bytes(&mut self, longest: u64) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.roll() as u8).collect()
    }
}

/// One question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) context: Context,
    pub(crate) state: Vec<u8>,
    pub(crate) proposal: Vec<u8>,
}

const ACCOUNT: &[u8] = b"ord/acct7/";
const ORDER: &[u8] = b"ord/acct7/o-000017";

/// A question for this judge.
pub(crate) fn question(judge: &str, dice: &mut Dice) -> Question {
    let context = context(dice);
    let (cells, write) = match judge {
        "risk-limit" => risk_limit(dice, &context),
        "quota" => quota(dice),
        "last-writer-wins" | "compare-version" => versioned(dice),
        _ => (Vec::new(), (ORDER.to_vec(), Some(dice.bytes(40)))),
    };
    let mut question = Question { context, state: state(&cells), proposal: proposal(&write) };
    if dice.once_in(20) && !question.state.is_empty() {
        spoil(&mut question.state, dice);
    }
    if dice.once_in(20) {
        spoil(&mut question.proposal, dice);
    }
    question
}

/// The proposals of an auction.
pub(crate) fn batch(dice: &mut Dice) -> Vec<Vec<u8>> {
    let count = dice.below(25);
    (0..count)
        .map(|index| {
            let value =
                if dice.once_in(15) { dice.bytes(30) } else { order(dice, 20, 100).encode().to_vec() };
            let mut bytes = proposal(&(format!("book/o-{index:04}").into_bytes(), Some(value)));
            if dice.once_in(40) {
                spoil(&mut bytes, dice);
            }
            bytes
        })
        .collect()
}

type Stored = (Vec<u8>, Option<Vec<u8>>, u64);
type Written = (Vec<u8>, Option<Vec<u8>>);

fn context(dice: &mut Dice) -> Context {
    Context {
        sequence: dice.roll(),
        epoch: dice.below(9),
        time_ns: 1_000_000 + dice.below(2_000),
        seed: dice.roll(),
        proposer: dice.roll(),
        kind: Context::PUT,
        attrs: dice.below(2) as u32,
    }
}

fn order(dice: &mut Dice, quantity_max: u64, price: u64) -> Order {
    let side = if dice.once_in(2) { Side::Buy } else { Side::Sell };
    let extreme = dice.once_in(12);
    let quantity = if extreme { dice.number().max(1) } else { 1 + dice.below(quantity_max) };
    let price = if dice.once_in(12) { dice.number().max(1) } else { price - 5 + dice.below(11) };
    Order { side, quantity, price }
}

fn risk_limit(dice: &mut Dice, context: &Context) -> (Vec<Stored>, Written) {
    let account = Account {
        killed: dice.once_in(20),
        collar_bps: dice.below(600) as u32,
        reference_price: if dice.once_in(20) { dice.number() } else { 100 },
        order_max: if dice.once_in(8) { dice.number() } else { 40 },
        position_max: if dice.once_in(8) { dice.number() } else { 100 },
        notional_max: if dice.once_in(8) { dice.number() } else { 100_000 },
        window_ns: dice.below(1_500),
        messages_max: dice.below(6) as u32 + 1,
        messages: dice.below(6) as u32,
        window_begin_ns: context.time_ns.saturating_sub(dice.below(2_000)),
        position: if dice.once_in(10) {
            dice.number().cast_signed()
        } else {
            dice.below(220).cast_signed() - 110
        },
        notional: if dice.once_in(10) { dice.number() } else { dice.below(100_000) },
        orders: dice.number(),
    };
    let written = match dice.below(12) {
        0 => (ACCOUNT.to_vec(), Some(account.encode().to_vec())),
        1 => (ACCOUNT.to_vec(), Some(dice.bytes(90))),
        2 => (ORDER.to_vec(), None),
        3 => (ORDER.to_vec(), Some(dice.bytes(30))),
        _ => (ORDER.to_vec(), Some(order(dice, 50, 100).encode().to_vec())),
    };
    let stored = match dice.below(20) {
        0 => None,
        1 => Some(dice.bytes(100)),
        _ => Some(account.encode().to_vec()),
    };
    (vec![(ACCOUNT.to_vec(), stored, dice.roll())], written)
}

fn quota(dice: &mut Dice) -> (Vec<Stored>, Written) {
    let folder = Folder {
        keys_max: dice.below(4),
        bytes_max: dice.below(200),
        keys: if dice.once_in(10) { dice.number() } else { dice.below(4) },
        bytes: if dice.once_in(10) { dice.number() } else { dice.below(200) },
    };
    let folder = if dice.once_in(15) { dice.bytes(40) } else { folder.encode().to_vec() };
    let stored = if dice.once_in(2) { None } else { Some(dice.bytes(60)) };
    let key: &[u8] = [ORDER, ORDER, ORDER, ORDER, ACCOUNT, b"plain"][dice.below(6) as usize];
    let value = if dice.once_in(5) { None } else { Some(dice.bytes(60)) };
    (vec![(ACCOUNT.to_vec(), Some(folder), 3), (ORDER.to_vec(), stored, 4)], (key.to_vec(), value))
}

/// Values that begin with a small number, so that equal ones meet.
fn versioned(dice: &mut Dice) -> (Vec<Stored>, Written) {
    let value = |dice: &mut Dice| {
        let number = if dice.once_in(15) { dice.number() } else { dice.below(3) };
        let mut value = number.to_le_bytes().to_vec();
        value.extend((0..dice.below(3)).map(|_| dice.below(2) as u8));
        value.truncate(if dice.once_in(20) { 5 } else { value.len() });
        value
    };
    let stored = if dice.once_in(5) { None } else { Some(value(dice)) };
    let written = if dice.once_in(10) { None } else { Some(value(dice)) };
    (vec![(ORDER.to_vec(), stored, 9)], (ORDER.to_vec(), written))
}

pub(crate) fn state(cells: &[Stored]) -> Vec<u8> {
    let mut room = vec![0; 4096];
    let mut writer = CellWriter::new(&mut room);
    for (key, value, sequence) in cells {
        let sequence = if value.is_some() { *sequence } else { 0 };
        assert!(writer.push(&Cell { key, value: value.as_deref(), sequence }), "test cells have room");
    }
    writer.as_slice().to_vec()
}

pub(crate) fn proposal((key, value): &Written) -> Vec<u8> {
    let mut room = vec![0; 4096];
    let write = Write { key, value: value.as_deref().unwrap_or(&[]), is_delete: value.is_none() };
    let length = write.encode(&mut room).expect("a test proposal has room");
    room.truncate(length);
    room
}

/// Bytes as a broken client would send them.
fn spoil(bytes: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(3) {
        0 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.extend(dice.bytes(20)),
        _ => {
            if let Some(byte) = bytes.len().checked_sub(1).map(|last| dice.below(last as u64 + 1) as usize) {
                bytes[byte] ^= 1 << dice.below(8);
            }
        }
    }
}
