//! The same market in plain collections, written apart from the proposals: what the replicated state must equal.
//!
//! Invariant: levels are never kept up to date on the way; they are counted from the resting orders when somebody
//! asks. Only the number of the last event at a level is noted as it passes.

use std::collections::{BTreeMap, HashMap};

use super::event::{Action, Event, Instrument, PRICE_UNDEFINED, Side};
use super::proposals::Oddities;
use super::words::{LevelValue, Name, OrderValue, TradesValue, Value};

/// Every book of a run.
#[derive(Debug, Default)]
pub(crate) struct Market {
    books: HashMap<Instrument, Book>,
    oddities: Oddities,
    events: u64,
}

#[derive(Debug, Default)]
struct Book {
    resting: HashMap<u64, Resting>,
    /// Side letter → price and size of a venue that only shows its top.
    shown: HashMap<u8, (i64, u32)>,
    /// The last event that named this side and price.
    named: HashMap<(u8, i64), u64>,
    tape: Option<Tape>,
}

#[derive(Debug, Clone)]
struct Resting {
    side: Side,
    price: i64,
    open: u32,
    fills: u64,
    fill_price: Option<i64>,
    flags: u8,
    seen_ns: u64,
    seen_event: u64,
}

#[derive(Debug)]
struct Tape {
    last: Event,
    prints: u64,
    volume: u64,
}

impl Market {
    /// Takes in one event.
    pub(crate) fn handle(&mut self, event: &Event) {
        self.events += 1;
        let book = self.books.entry(event.instrument).or_default();
        let known = book.resting.contains_key(&event.order_id);
        match event.action {
            Action::Add if event.is_top_of_book() => book.show_top(event),
            Action::Add => {
                self.oddities.duplicate_adds += u64::from(known);
                book.remove(event.order_id, event.number);
                book.insert(event, None);
            }
            Action::Modify => {
                self.oddities.unknown_orders += u64::from(!known);
                let old = book.remove(event.order_id, event.number);
                book.insert(event, old);
            }
            Action::Cancel if known => self.oddities.over_cancels += u64::from(book.reduce(event)),
            Action::Fill if known => book.fill(event),
            Action::Cancel | Action::Fill => self.oddities.unknown_orders += 1,
            Action::Clear => book.reset(),
            Action::Trade => book.print(event),
            Action::None => {}
            Action::Unknown => self.oddities.unknown_actions += 1,
        }
    }

    /// Events taken in.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// What was odd, counted independently of the proposals.
    pub(crate) fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// Every name and value that the replicated state must hold, no more and no less.
    pub(crate) fn expected(&self) -> BTreeMap<Name, Value> {
        let mut all = BTreeMap::new();
        for (instrument, book) in &self.books {
            for (id, order) in &book.resting {
                all.insert(Name::Order(*instrument, *id), Value::Order(order.value()));
            }
            for ((side, price), level) in book.levels() {
                all.insert(Name::Level(*instrument, side, price), Value::Level(level));
            }
            if let Some(trades) = book.trades() {
                all.insert(Name::Trades(*instrument), Value::Trades(trades));
            }
        }
        all
    }
}

impl Book {
    fn insert(&mut self, event: &Event, old: Option<Resting>) {
        self.named.insert((event.side.letter(), event.price), event.number);
        let order = Resting {
            side: event.side,
            price: event.price,
            open: event.size,
            fills: old.as_ref().map_or(0, |old| old.fills),
            fill_price: old.and_then(|old| old.fill_price),
            flags: event.flags,
            seen_ns: event.ts_event,
            seen_event: event.number,
        };
        self.resting.insert(event.order_id, order);
    }

    fn remove(&mut self, order_id: u64, event: u64) -> Option<Resting> {
        let order = self.resting.remove(&order_id)?;
        self.named.insert((order.side.letter(), order.price), event);
        Some(order)
    }

    /// True when more was cancelled than rested.
    fn reduce(&mut self, event: &Event) -> bool {
        let Some(order) = self.resting.get_mut(&event.order_id) else { return false };
        self.named.insert((order.side.letter(), order.price), event.number);
        let rested = order.open;
        if event.size >= rested {
            self.resting.remove(&event.order_id);
        } else {
            order.open = rested - event.size;
            order.see(event);
        }
        event.size > rested
    }

    fn fill(&mut self, event: &Event) {
        if let Some(order) = self.resting.get_mut(&event.order_id) {
            order.fills += u64::from(event.size);
            order.fill_price = Some(event.price);
            order.see(event);
        }
    }

    fn show_top(&mut self, event: &Event) {
        let side = event.side.letter();
        self.resting.retain(|_, order| order.side != event.side);
        self.shown.remove(&side);
        if event.price != PRICE_UNDEFINED {
            self.shown.insert(side, (event.price, event.size));
            self.named.insert((side, event.price), event.number);
        }
    }

    fn reset(&mut self) {
        self.resting.clear();
        self.shown.clear();
        self.named.clear();
    }

    fn levels(&self) -> BTreeMap<(Side, i64), LevelValue> {
        let mut levels: BTreeMap<(Side, i64), LevelValue> = BTreeMap::new();
        let named = |side: Side, price: i64| self.named.get(&(side.letter(), price)).copied().unwrap_or(0);
        let mut add = |side: Side, price: i64, size: u32, orders: u32| {
            let event = named(side, price);
            let level = levels.entry((side, price)).or_insert(LevelValue { event, size: 0, orders: 0 });
            level.size += u64::from(size);
            level.orders += orders;
        };
        for order in self.resting.values() {
            add(order.side, order.price, order.open, 1);
        }
        for (side, (price, size)) in &self.shown {
            add(Side::from_letter(*side), *price, *size, 0);
        }
        levels
    }

    fn print(&mut self, event: &Event) {
        let tape = self.tape.get_or_insert(Tape { last: *event, prints: 0, volume: 0 });
        tape.last = *event;
        tape.prints += 1;
        tape.volume += u64::from(event.size);
    }

    fn trades(&self) -> Option<TradesValue> {
        let tape = self.tape.as_ref()?;
        Some(TradesValue {
            event: tape.last.number,
            price: tape.last.price,
            size: tape.last.size,
            side: tape.last.side,
            ts_event: tape.last.ts_event,
            trades: tape.prints,
            volume: tape.volume,
        })
    }
}

impl Resting {
    fn see(&mut self, event: &Event) {
        self.flags = event.flags;
        self.seen_ns = event.ts_event;
        self.seen_event = event.number;
    }

    fn value(&self) -> OrderValue {
        OrderValue {
            event: self.seen_event,
            price: self.price,
            size: self.open,
            side: self.side,
            flags: self.flags,
            filled: self.fills,
            last_fill_price: self.fill_price.unwrap_or(PRICE_UNDEFINED),
            ts_event: self.seen_ns,
        }
    }
}
