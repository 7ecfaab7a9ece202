//! One order, as it stands in the value of a proposal: 24 bytes.
//!
//! Invariant: an order that reads has a side, a quantity and a price, none of them zero.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | side: 1 buy, 2 sell |
//! | 2 | 6 | zero |
//! | 8 | 8 | quantity |
//! | 16 | 8 | price, in the market's smallest unit |

use crate::bytes::{put, u64_at};

/// Bytes of an order.
pub const ORDER_BYTES: usize = 24;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Raises the position.
    Buy = 1,
    /// Lowers the position.
    Sell = 2,
}

/// A limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which way.
    pub side: Side,
    /// How much.
    pub quantity: u64,
    /// At what price, in the market's smallest unit.
    pub price: u64,
}

impl Order {
    /// The order that fills `bytes` exactly.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Order> {
        let (head, _) = bytes.split_first_chunk::<8>()?;
        let side = match *head {
            [1, 1, 0, 0, 0, 0, 0, 0] => Side::Buy,
            [1, 2, 0, 0, 0, 0, 0, 0] => Side::Sell,
            _ => return None,
        };
        let order = Order { side, quantity: u64_at(bytes, 8)?, price: u64_at(bytes, 16)? };
        (bytes.len() == ORDER_BYTES && order.quantity > 0 && order.price > 0).then_some(order)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ORDER_BYTES] {
        let mut bytes = [0; ORDER_BYTES];
        put(&mut bytes, 0, &[1, self.side as u8]);
        put(&mut bytes, 8, &self.quantity.to_le_bytes());
        put(&mut bytes, 16, &self.price.to_le_bytes());
        bytes
    }
}
