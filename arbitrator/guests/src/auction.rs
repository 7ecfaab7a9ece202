//! A call auction: the orders of one batch trade at one price.
//!
//! Invariant: bought and sold quantities are equal, nobody trades at a worse price than his limit, no order with a better
//! price goes without while a worse one trades, and no other price trades more.
//!
//! The price is the one that trades most; then the one that leaves least over; then the lowest. Orders of one price are
//! served in the order of the batch. Each order ([`crate::order`]) is accepted and stored with 16 more bytes: what was
//! traded of it, and at what price (0 and 0 when nothing was). A proposal that is no order is refused and takes no part.

use io_oi_arbitrator_sdk::abi::BATCH_MAX;
use io_oi_arbitrator_sdk::{Batch, BatchArbitrator, Context, Decision, Manifest, Outcomes, Write};

use crate::bytes::put;
use crate::code;
use crate::order::{ORDER_BYTES, Order, Side};

/// Trades a batch at one price.
#[derive(Clone, Copy, Debug)]
pub struct BatchAuction;

/// Bytes of an order after the auction.
const TRADED_BYTES: usize = ORDER_BYTES + 16;

/// Orders by their place in the batch.
type Book = [Option<Order>; BATCH_MAX];

impl BatchArbitrator for BatchAuction {
    const MANIFEST: Manifest = Manifest {
        max_proposal: 3072,
        max_effects: 4096,
        fuel: 600_000,
        ..Manifest::named("batch-auction", (1, 0, 0))
    };

    fn decide_batch(_: &Context, _: &[u8], batch: &Batch<'_>, outcomes: &mut Outcomes<'_>) {
        let mut book: Book = [None; BATCH_MAX];
        for (place, proposal) in book.iter_mut().zip(batch.iter()) {
            *place = order_of(proposal).map(|(_, order)| order);
        }
        let (price, volume) = clear(&book).unwrap_or((0, 0));
        let mut traded = [0; BATCH_MAX];
        serve(&book, Side::Buy, price, volume, &mut traded);
        serve(&book, Side::Sell, price, volume, &mut traded);
        for (proposal, quantity) in batch.iter().zip(traded) {
            let price = if quantity > 0 { price } else { 0 };
            let decision = answer(proposal, quantity, price, outcomes);
            outcomes.push(decision);
        }
    }
}

fn order_of(proposal: &[u8]) -> Option<(Write<'_>, Order)> {
    let write = Write::only(proposal).filter(|write| !write.is_delete)?;
    let order = Order::decode(write.value)?;
    Some((write, order))
}

fn answer(proposal: &[u8], quantity: u64, price: u64, outcomes: &mut Outcomes<'_>) -> Decision {
    let Some((write, order)) = order_of(proposal) else { return Decision::refuse(code::MALFORMED) };
    let mut value = [0; TRADED_BYTES];
    put(&mut value, 0, &order.encode());
    put(&mut value, ORDER_BYTES, &quantity.to_le_bytes());
    put(&mut value, ORDER_BYTES + 8, &price.to_le_bytes());
    if outcomes.effects().put(write.key, &value) { Decision::ACCEPT } else { Decision::refuse(code::NO_ROOM) }
}

/// The price that trades most, and how much; `None` when nothing trades.
fn clear(book: &Book) -> Option<(u64, u64)> {
    let mut best: Option<(u64, u64, u64)> = None;
    for candidate in book.iter().flatten().map(|order| order.price) {
        let (demand, supply) = (willing(book, Side::Buy, candidate), willing(book, Side::Sell, candidate));
        let (volume, left) = (demand.min(supply), demand.abs_diff(supply));
        let is_better = best.is_none_or(|(price, best_volume, best_left)| {
            volume > best_volume || (volume == best_volume && (left, candidate) < (best_left, price))
        });
        if volume > 0 && is_better {
            best = Some((candidate, volume, left));
        }
    }
    best.map(|(price, volume, _)| (price, volume))
}

/// How much one side would trade at this price.
fn willing(book: &Book, side: Side, price: u64) -> u64 {
    let willing = book.iter().flatten().filter(|order| order.side == side && accepts(order, price));
    willing.fold(0, |sum, order| sum.saturating_add(order.quantity))
}

const fn accepts(order: &Order, price: u64) -> bool {
    match order.side {
        Side::Buy => order.price >= price,
        Side::Sell => order.price <= price,
    }
}

/// Gives `volume` to the orders of one side, the best price first.
fn serve(book: &Book, side: Side, price: u64, mut volume: u64, traded: &mut [u64; BATCH_MAX]) {
    while volume > 0 {
        let waiting = book.iter().zip(traded.iter()).enumerate().filter_map(|(index, (order, done))| {
            let order = order.filter(|order| order.side == side && accepts(order, price) && *done == 0)?;
            let rank = if matches!(side, Side::Buy) { u64::MAX - order.price } else { order.price };
            Some((rank, index, order.quantity))
        });
        let Some((_, index, quantity)) = waiting.min() else { return };
        let share = quantity.min(volume);
        if let Some(place) = traded.get_mut(index) {
            *place = share;
        }
        volume -= share;
    }
}
