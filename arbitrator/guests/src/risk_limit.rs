//! Guards an account: order size, price collar, position, notional, message rate, kill switch.
//!
//! Invariant: no sequence of accepted orders takes an account beyond a limit of its cell, and a refused order leaves the
//! cell as it was. Arithmetic that would overflow is a limit exceeded.
//!
//! An order ([`crate::order`]) is put under `prefix/account/anything`; the account's cell is `prefix/account/`, which only
//! an operator writes, and this judge itself with every order that it accepts. Removing an order's key counts as a
//! message and changes nothing else.

use io_oi_arbitrator_sdk::{Arbitrator, CellReader, Context, Decision, Effects, Manifest, ReadSet, Write};

use crate::bytes::{put, u32_at, u64_at};
use crate::code;
use crate::order::{Order, Side};

/// Guards accounts.
#[derive(Clone, Copy, Debug)]
pub struct RiskLimit;

/// The account is switched off.
pub const KILLED: u32 = 16;
/// The order's quantity is above the limit.
pub const ORDER_TOO_LARGE: u32 = 17;
/// The order's price is outside the collar.
pub const OUTSIDE_COLLAR: u32 = 18;
/// The position would go beyond its limit.
pub const POSITION: u32 = 19;
/// The notional would go beyond its limit.
pub const NOTIONAL: u32 = 20;
/// Too many messages in the window.
pub const RATE: u32 = 21;

/// Bytes of an account's cell.
pub const ACCOUNT_BYTES: usize = 88;

/// An account's cell.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | killed: 0 or 1 |
/// | 2 | 2 | zero |
/// | 4 | 4 | collar: the price may differ from the reference by so many ten-thousandths |
/// | 8 | 8 | reference price |
/// | 16 | 8 | largest quantity of one order |
/// | 24 | 8 | largest position, either way |
/// | 32 | 8 | largest notional, all accepted orders together |
/// | 40 | 8 | window of the message rate, nanoseconds |
/// | 48 | 4 | most messages in a window |
/// | 52 | 4 | messages in the window (u32) |
/// | 56 | 8 | begin of the window |
/// | 64 | 8 | position (i64) |
/// | 72 | 8 | notional |
/// | 80 | 8 | orders accepted |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Switched off: nothing is accepted.
    pub killed: bool,
    /// How far the price may be from the reference, in ten-thousandths of it.
    pub collar_bps: u32,
    /// The price that the collar is around.
    pub reference_price: u64,
    /// Largest quantity of one order.
    pub order_max: u64,
    /// Largest position, either way.
    pub position_max: u64,
    /// Largest notional, all accepted orders together.
    pub notional_max: u64,
    /// Length of the window of the message rate.
    pub window_ns: u64,
    /// Most messages in a window.
    pub messages_max: u32,
    /// Messages in the window.
    pub messages: u32,
    /// When the window began.
    pub window_begin_ns: u64,
    /// What is held, negative when it is owed.
    pub position: i64,
    /// Quantity times price of all accepted orders.
    pub notional: u64,
    /// Orders accepted.
    pub orders: u64,
}

impl Account {
    /// The account whose bytes these are exactly.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Account> {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let killed = match *head {
            [1, 0, 0, 0] => false,
            [1, 1, 0, 0] => true,
            _ => return None,
        };
        if bytes.len() != ACCOUNT_BYTES {
            return None;
        }
        Some(Account {
            killed,
            collar_bps: u32_at(bytes, 4)?,
            reference_price: u64_at(bytes, 8)?,
            order_max: u64_at(bytes, 16)?,
            position_max: u64_at(bytes, 24)?,
            notional_max: u64_at(bytes, 32)?,
            window_ns: u64_at(bytes, 40)?,
            messages_max: u32_at(bytes, 48)?,
            messages: u32_at(bytes, 52)?,
            window_begin_ns: u64_at(bytes, 56)?,
            position: u64_at(bytes, 64)?.cast_signed(),
            notional: u64_at(bytes, 72)?,
            orders: u64_at(bytes, 80)?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ACCOUNT_BYTES] {
        let mut bytes = [0; ACCOUNT_BYTES];
        put(&mut bytes, 0, &[1, u8::from(self.killed)]);
        put(&mut bytes, 4, &self.collar_bps.to_le_bytes());
        put(&mut bytes, 8, &self.reference_price.to_le_bytes());
        put(&mut bytes, 16, &self.order_max.to_le_bytes());
        put(&mut bytes, 24, &self.position_max.to_le_bytes());
        put(&mut bytes, 32, &self.notional_max.to_le_bytes());
        put(&mut bytes, 40, &self.window_ns.to_le_bytes());
        put(&mut bytes, 48, &self.messages_max.to_le_bytes());
        put(&mut bytes, 52, &self.messages.to_le_bytes());
        put(&mut bytes, 56, &self.window_begin_ns.to_le_bytes());
        put(&mut bytes, 64, &self.position.to_le_bytes());
        put(&mut bytes, 72, &self.notional.to_le_bytes());
        put(&mut bytes, 80, &self.orders.to_le_bytes());
        bytes
    }

    /// Counts a message at `time_ns`; windows begin with their first message.
    fn count_message(&mut self, time_ns: u64) -> Result<(), u32> {
        if self.killed {
            return Err(KILLED);
        }
        if time_ns.saturating_sub(self.window_begin_ns) >= self.window_ns {
            (self.window_begin_ns, self.messages) = (time_ns, 0);
        }
        if self.messages >= self.messages_max {
            return Err(RATE);
        }
        self.messages += 1;
        Ok(())
    }

    /// Takes the order in, or says which limit forbids it.
    fn take(&mut self, order: &Order) -> Result<(), u32> {
        if order.quantity > self.order_max {
            return Err(ORDER_TOO_LARGE);
        }
        let distance = order.price.abs_diff(self.reference_price).checked_mul(10_000);
        let allowed = self.reference_price.checked_mul(self.collar_bps.into());
        if distance.is_none_or(|distance| allowed.is_some_and(|allowed| distance > allowed)) {
            return Err(OUTSIDE_COLLAR);
        }
        let quantity = i64::try_from(order.quantity).map_err(|_| POSITION)?;
        let position = match order.side {
            Side::Buy => self.position.checked_add(quantity),
            Side::Sell => self.position.checked_sub(quantity),
        };
        let position =
            position.filter(|position| position.unsigned_abs() <= self.position_max).ok_or(POSITION)?;
        let notional =
            order.quantity.checked_mul(order.price).and_then(|more| self.notional.checked_add(more));
        let notional = notional.filter(|notional| *notional <= self.notional_max).ok_or(NOTIONAL)?;
        (self.position, self.notional) = (position, notional);
        self.orders = self.orders.saturating_add(1);
        Ok(())
    }
}

impl Arbitrator for RiskLimit {
    const MANIFEST: Manifest = Manifest {
        reads: ReadSet::CellOfKeyPrefix,
        max_state: 640,
        max_proposal: 640,
        max_effects: 640,
        fuel: 20_000,
        ..Manifest::named("risk-limit", (1, 0, 0))
    };

    fn decide(context: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Decision {
        match judge(context, state, proposal, effects) {
            Ok(()) => Decision::ACCEPT,
            Err(code) => {
                effects.clear();
                Decision::refuse(code)
            }
        }
    }
}

fn judge(context: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Result<(), u32> {
    let write = Write::only(proposal).ok_or(code::MALFORMED)?;
    let cell = CellReader::new(state).next().ok_or(code::STATE)?;
    if write.key == cell.key {
        return judge_account(context, &write);
    }
    let mut account = cell.value.and_then(Account::decode).ok_or(code::STATE)?;
    account.count_message(context.time_ns)?;
    if !write.is_delete {
        account.take(&Order::decode(write.value).ok_or(code::MALFORMED)?)?;
    }
    if effects.put(cell.key, &account.encode()) { Ok(()) } else { Err(code::NO_ROOM) }
}

/// The account's own cell: operators alone, and never by bytes that would lock everybody out.
fn judge_account(context: &Context, write: &Write<'_>) -> Result<(), u32> {
    if !context.is_operator() {
        return Err(code::NOT_OPERATOR);
    }
    if write.is_delete || Account::decode(write.value).is_some() { Ok(()) } else { Err(code::MALFORMED) }
}
