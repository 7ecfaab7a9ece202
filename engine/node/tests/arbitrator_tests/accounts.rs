//! An account as its page says it works, written a second time: wide numbers, no code of the judge, no cell of its own.
//!
//! Invariant: what it says of an order depends on the limits, the orders accepted before, and the time in the receipt.

use io_oi_guests::order::{Order, Side};
use io_oi_guests::risk_limit::{self, Account};

/// The limits of a test, tight enough that each of them is met; the window outlasts it, so that no clock has a say.
pub(crate) fn limits() -> Account {
    Account {
        killed: false,
        collar_bps: 500,
        reference_price: 10_000,
        order_max: 90,
        position_max: 250,
        notional_max: 48_000_000,
        window_ns: 1_000_000_000_000,
        messages_max: 120,
        ..Account::default()
    }
}

/// The account as an outsider keeps it.
pub(crate) struct Model {
    limits: Account,
    position: i128,
    notional: u128,
    window: Option<(u64, u32)>,
    pub(crate) accepted: u64,
}

impl Model {
    pub(crate) fn new(limits: Account) -> Self {
        Self { limits, position: 0, notional: 0, window: None, accepted: 0 }
    }

    /// The code that the order is refused with, if it is.
    pub(crate) fn decide(&mut self, order: &Order, time_ns: u64) -> Result<(), u32> {
        let Account { collar_bps, reference_price, order_max, position_max, notional_max, .. } = self.limits;
        let (begin, messages) = match self.window {
            Some((begin, messages))
                if u128::from(time_ns) < u128::from(begin) + u128::from(self.limits.window_ns) =>
            {
                (begin, messages)
            }
            _ => (time_ns, 0),
        };
        let signed = i128::from(order.quantity) * if order.side == Side::Buy { 1 } else { -1 };
        let position = self.position + signed;
        let notional = self.notional + u128::from(order.quantity) * u128::from(order.price);
        let distance = (i128::from(order.price) - i128::from(reference_price)).unsigned_abs();
        let rules = [
            (messages < self.limits.messages_max, risk_limit::RATE),
            (order.quantity <= order_max, risk_limit::ORDER_TOO_LARGE),
            (
                distance * 10_000 <= u128::from(reference_price) * u128::from(collar_bps),
                risk_limit::OUTSIDE_COLLAR,
            ),
            (position.unsigned_abs() <= position_max.into(), risk_limit::POSITION),
            (notional <= notional_max.into(), risk_limit::NOTIONAL),
        ];
        if let Some((_, code)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(*code);
        }
        (self.position, self.notional, self.window) = (position, notional, Some((begin, messages + 1)));
        self.accepted += 1;
        Ok(())
    }

    /// The cell that the account should have now.
    pub(crate) fn assert_is(&self, cell: &Account) {
        let (begin, messages) = self.window.unwrap_or_default();
        let expected = Account {
            messages,
            window_begin_ns: begin,
            position: self.position.try_into().expect("within the limit"),
            notional: self.notional.try_into().expect("within the limit"),
            orders: self.accepted,
            ..self.limits
        };
        assert_eq!(*cell, expected);
    }
}

/// Orders by chance, the same for the same seed; now and then beyond every limit.
pub(crate) struct Orders(pub(crate) u64);

impl Orders {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let side = if self.below(3) == 0 { Side::Sell } else { Side::Buy };
        Some(Order { side, quantity: 1 + self.below(100), price: 9_450 + self.below(1_100) })
    }
}
