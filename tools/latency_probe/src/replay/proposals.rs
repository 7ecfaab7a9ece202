//! Turns one event into the proposals that bring the replicated book up to date.
//!
//! Invariants: an event names every key at most once; the cursor is its last proposal; the same events always give
//! the same proposals in the same order. These three make a cut anywhere in the middle resumable.
//!
//! How events are read (Databento's documentation, and a decision where it leaves one open):
//!
//! | event | effect |
//! |---|---|
//! | add | the order rests; an id that already rests is replaced (counted: `duplicate_adds`) |
//! | add, top of book | everything on that side goes; a level without orders stands for it, none if the price is undefined |
//! | cancel | shrinks the order by `size`; gone at nothing, also when more is cancelled than rests (`over_cancels`) |
//! | modify | the order gets this price, size and side; an unknown order is added (counted: `unknown_orders`) |
//! | fill | the order's `filled` grows; its size waits for the cancel that follows |
//! | trade | `trd/` only |
//! | clear | every order and level of the instrument goes; `trd/` stays |
//! | none, unknown letters | nothing but the cursor |
//! | cancel or fill of an order nobody added | nothing but the cursor (counted: `unknown_orders`) |

use std::collections::BTreeMap;

use super::event::{Action, Event, Instrument, PRICE_UNDEFINED, Side};
use super::words::{CURSOR_KEY, Cursor, LevelValue, Name, OrderValue, TradesValue, Value, extend_history};

/// The state needed to word the next proposal; it lives and dies with the probe.
#[derive(Debug, Default)]
pub(crate) struct Proposer {
    orders: BTreeMap<(Instrument, u64), OrderValue>,
    levels: BTreeMap<(Instrument, Side, i64), Level>,
    tops: BTreeMap<(Instrument, Side), Top>,
    trades: BTreeMap<Instrument, TradesValue>,
    oddities: Oddities,
    cursor: Option<Cursor>,
    /// Levels named by the event at hand, in the order they were named, repeats included.
    touched: Vec<(Instrument, Side, i64)>,
}

/// Events that a clean feed does not have; each is counted and survived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// Cancels, modifies and fills of orders that nobody added.
    pub unknown_orders: u64,
    /// Adds of an order id that already rests.
    pub duplicate_adds: u64,
    /// Cancels of more than rests.
    pub over_cancels: u64,
    /// Action letters this version does not know.
    pub unknown_actions: u64,
}

/// The proposals of one event, in order.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    key_start: usize,
    value_start: usize,
    end: usize,
    delete: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    size: u64,
    orders: u32,
}

#[derive(Debug, Clone, Copy)]
struct Top {
    price: i64,
    size: u32,
}

impl Proposer {
    /// Replaces `steps` by the proposals of this event.
    pub(crate) fn propose(&mut self, event: &Event, steps: &mut Steps) {
        steps.clear();
        self.touched.clear();
        match event.action {
            Action::Add if event.is_top_of_book() => self.replace_top(event, steps),
            Action::Add => self.add(event, steps),
            Action::Cancel => self.cancel(event, steps),
            Action::Modify => self.modify(event, steps),
            Action::Clear => self.clear(event, steps),
            Action::Trade => self.trade(event, steps),
            Action::Fill => self.fill(event, steps),
            Action::None => {}
            Action::Unknown => self.oddities.unknown_actions += 1,
        }
        self.propose_levels(event, steps);
        self.propose_cursor(event, steps);
    }

    /// What was odd so far.
    pub(crate) fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// Where the replay stands after the last event that was proposed.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor.unwrap_or(Cursor::START)
    }

    fn add(&mut self, event: &Event, steps: &mut Steps) {
        if self.leave_level(event.instrument, event.order_id).is_some() {
            self.oddities.duplicate_adds += 1;
        }
        self.rest(event, None, steps);
    }

    fn modify(&mut self, event: &Event, steps: &mut Steps) {
        let before = self.leave_level(event.instrument, event.order_id);
        if before.is_none() {
            self.oddities.unknown_orders += 1;
        }
        self.rest(event, before, steps);
    }

    /// Puts the order at the event's place; a modified order keeps what was filled.
    fn rest(&mut self, event: &Event, before: Option<OrderValue>, steps: &mut Steps) {
        let order = OrderValue {
            event: event.number,
            price: event.price,
            size: event.size,
            side: event.side,
            flags: event.flags,
            filled: before.map_or(0, |order| order.filled),
            last_fill_price: before.map_or(PRICE_UNDEFINED, |order| order.last_fill_price),
            ts_event: event.ts_event,
        };
        let level = self.levels.entry((event.instrument, event.side, event.price)).or_default();
        level.size += u64::from(event.size);
        level.orders += 1;
        self.touch(event.instrument, event.side, event.price);
        self.orders.insert((event.instrument, event.order_id), order);
        steps.put(Name::Order(event.instrument, event.order_id), Value::Order(order));
    }

    fn cancel(&mut self, event: &Event, steps: &mut Steps) {
        let name = Name::Order(event.instrument, event.order_id);
        let Some(mut order) = self.leave_level(event.instrument, event.order_id) else {
            self.oddities.unknown_orders += 1;
            return;
        };
        if event.size > order.size {
            self.oddities.over_cancels += 1;
        }
        order.size = order.size.saturating_sub(event.size);
        if order.size == 0 {
            steps.delete(name);
            return;
        }
        order = OrderValue { event: event.number, flags: event.flags, ts_event: event.ts_event, ..order };
        let level = self.levels.entry((event.instrument, order.side, order.price)).or_default();
        level.size += u64::from(order.size);
        level.orders += 1;
        self.orders.insert((event.instrument, event.order_id), order);
        steps.put(name, Value::Order(order));
    }

    fn fill(&mut self, event: &Event, steps: &mut Steps) {
        let Some(order) = self.orders.get_mut(&(event.instrument, event.order_id)) else {
            self.oddities.unknown_orders += 1;
            return;
        };
        order.filled += u64::from(event.size);
        order.last_fill_price = event.price;
        order.event = event.number;
        order.flags = event.flags;
        order.ts_event = event.ts_event;
        steps.put(Name::Order(event.instrument, event.order_id), Value::Order(*order));
    }

    fn trade(&mut self, event: &Event, steps: &mut Steps) {
        let before = self.trades.get(&event.instrument);
        let trades = TradesValue {
            event: event.number,
            price: event.price,
            size: event.size,
            side: event.side,
            ts_event: event.ts_event,
            trades: before.map_or(0, |t| t.trades) + 1,
            volume: before.map_or(0, |t| t.volume) + u64::from(event.size),
        };
        self.trades.insert(event.instrument, trades);
        steps.put(Name::Trades(event.instrument), Value::Trades(trades));
    }

    fn clear(&mut self, event: &Event, steps: &mut Steps) {
        for side in [Side::Ask, Side::Bid, Side::None] {
            self.empty_side(event.instrument, side, steps);
        }
    }

    fn replace_top(&mut self, event: &Event, steps: &mut Steps) {
        self.empty_side(event.instrument, event.side, steps);
        if event.price != PRICE_UNDEFINED {
            self.tops.insert((event.instrument, event.side), Top { price: event.price, size: event.size });
            self.touch(event.instrument, event.side, event.price);
        }
    }

    fn empty_side(&mut self, instrument: Instrument, side: Side, steps: &mut Steps) {
        self.orders.retain(|(of, id), order| {
            let goes = *of == instrument && order.side == side;
            if goes {
                steps.delete(Name::Order(instrument, *id));
            }
            !goes
        });
        let prices = (instrument, side, i64::MIN)..=(instrument, side, i64::MAX);
        let emptied: Vec<i64> = self.levels.range(prices).map(|(key, _)| key.2).collect();
        for price in emptied {
            self.levels.remove(&(instrument, side, price));
            self.touch(instrument, side, price);
        }
        if let Some(top) = self.tops.remove(&(instrument, side)) {
            self.touch(instrument, side, top.price);
        }
    }

    /// Takes the order out of the book and out of its level.
    fn leave_level(&mut self, instrument: Instrument, order_id: u64) -> Option<OrderValue> {
        let order = self.orders.remove(&(instrument, order_id))?;
        let key = (instrument, order.side, order.price);
        let level = self.levels.get_mut(&key).expect("every resting order stands in a level");
        level.size -= u64::from(order.size);
        level.orders -= 1;
        if level.orders == 0 {
            self.levels.remove(&key);
        }
        self.touch(instrument, order.side, order.price);
        Some(order)
    }

    fn touch(&mut self, instrument: Instrument, side: Side, price: i64) {
        self.touched.push((instrument, side, price));
    }

    /// One proposal per level that the event touched: what it is now, or that it is gone.
    fn propose_levels(&mut self, event: &Event, steps: &mut Steps) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for (instrument, side, price) in &self.touched {
            let top = self.tops.get(&(*instrument, *side)).filter(|top| top.price == *price);
            let level = self.levels.get(&(*instrument, *side, *price));
            let name = Name::Level(*instrument, *side, *price);
            if top.is_none() && level.is_none() {
                steps.delete(name);
                continue;
            }
            let level = level.copied().unwrap_or_default();
            let size = level.size + top.map_or(0, |top| u64::from(top.size));
            steps.put(name, Value::Level(LevelValue { event: event.number, size, orders: level.orders }));
        }
    }

    fn propose_cursor(&mut self, event: &Event, steps: &mut Steps) {
        let before = self.cursor();
        let cursor = Cursor {
            event: event.number,
            history: extend_history(before.history, event),
            proposals: before.proposals + steps.len() as u64 + 1,
        };
        self.cursor = Some(cursor);
        steps.put_cursor(&cursor);
    }
}

impl Steps {
    /// How many proposals.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The proposals in order: key, and the value to put or `None` to delete.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.steps.iter().map(|step| {
            let key = &self.bytes[step.key_start..step.value_start];
            (key, (!step.delete).then(|| &self.bytes[step.value_start..step.end]))
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.steps.clear();
    }

    fn put(&mut self, name: Name, value: Value) {
        self.push(false, |bytes| name.encode(bytes), |bytes| value.encode(bytes));
    }

    fn delete(&mut self, name: Name) {
        self.push(true, |bytes| name.encode(bytes), |_| {});
    }

    fn put_cursor(&mut self, cursor: &Cursor) {
        self.push(
            false,
            |bytes| bytes.extend_from_slice(CURSOR_KEY.as_bytes()),
            |bytes| cursor.encode(bytes),
        );
    }

    fn push(&mut self, delete: bool, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let key_start = self.bytes.len();
        key(&mut self.bytes);
        let value_start = self.bytes.len();
        value(&mut self.bytes);
        self.steps.push(Step { key_start, value_start, end: self.bytes.len(), delete });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::book::Market;
    use super::super::event::{Action, Event, Instrument, PRICE_UNDEFINED, Side};
    use super::super::words::{CURSOR_KEY, Name, Value};
    use super::*;

    /// What a node would hold after these proposals.
    #[derive(Default)]
    struct Held(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Held {
        fn apply(&mut self, steps: &Steps) {
            let mut named = std::collections::BTreeSet::new();
            for (key, value) in steps.iter() {
                assert!(named.insert(key.to_vec()), "{} twice in one event", String::from_utf8_lossy(key));
                match value {
                    Some(value) => drop(self.0.insert(key.to_vec(), value.to_vec())),
                    None => assert!(self.0.remove(key).is_some(), "deleted a key that was not there"),
                }
            }
        }

        fn book(&self) -> BTreeMap<Name, Value> {
            let names = self.0.iter().filter(|(key, _)| key.as_slice() != CURSOR_KEY.as_bytes());
            names
                .map(|(key, value)| {
                    let name = Name::decode(key).expect("a key of ours");
                    (name, Value::decode(&name, value).expect("a value of ours"))
                })
                .collect()
        }

        fn cursor(&self) -> Cursor {
            Cursor::decode(&self.0[CURSOR_KEY.as_bytes()]).expect("a cursor")
        }
    }

    /// Replays events through proposals and through the plain book and demands equality after every one.
    fn replay(events: &[Event]) -> (Proposer, Market, Held) {
        let (mut proposer, mut market, mut held) = (Proposer::default(), Market::default(), Held::default());
        let mut steps = Steps::default();
        for event in events {
            proposer.propose(event, &mut steps);
            held.apply(&steps);
            market.handle(event);
            assert_eq!(held.book(), market.expected(), "after {event:?}");
            assert_eq!(held.cursor().event, event.number);
        }
        assert_eq!(proposer.oddities(), market.oddities());
        (proposer, market, held)
    }

    fn event(number: u64, action: Action, order_id: u64, side: Side, price: i64, size: u32) -> Event {
        let instrument = Instrument { id: 5, publisher: None };
        Event {
            number,
            instrument,
            action,
            side,
            order_id,
            price,
            size,
            flags: 0,
            ts_event: number,
            ts_recv: number,
        }
    }

    /// Any field may be anything, over few ids and prices so that orders meet.
    fn hostile_event(number: u64, seed: u64) -> Event {
        let pick = |what: u64, below: u64| crate::answers::scramble(seed ^ (number << 8) ^ what) % below;
        let letters = b"AAAAACCCMMMTFFRN?";
        let letter = match letters[pick(1, letters.len() as u64) as usize] {
            b'R' if pick(2, 8) != 0 => b'A',
            letter => letter,
        };
        let prices = [i64::MIN, -1, 0, 1, 2, 3, i64::MAX - 1, PRICE_UNDEFINED];
        let sizes = [0, 1, 2, 5, u32::MAX];
        Event {
            number,
            instrument: Instrument { id: pick(3, 3) as u32, publisher: (pick(4, 4) == 0).then_some(9) },
            action: Action::from_letter(letter),
            side: [Side::Ask, Side::Bid, Side::None][pick(5, 3) as usize],
            order_id: pick(6, 12),
            price: prices[pick(7, prices.len() as u64) as usize],
            size: sizes[pick(8, sizes.len() as u64) as usize],
            flags: if pick(9, 12) == 0 { dbn::flags::TOB } else { pick(10, 64) as u8 },
            ts_event: pick(11, u64::MAX),
            ts_recv: number,
        }
    }

    #[test]
    fn hostile_events_leave_both_books_equal_after_every_one() {
        for seed in 0..20 {
            let events: Vec<Event> = (1..=400).map(|number| hostile_event(number, seed << 32)).collect();
            let (proposer, market, held) = replay(&events);
            assert_eq!(market.events(), 400);
            assert_eq!(proposer.cursor(), held.cursor());
        }
    }

    #[test]
    fn a_partial_cancel_shrinks_and_a_whole_one_deletes() {
        let (_, market, _) = replay(&[
            event(1, Action::Add, 1, Side::Bid, 100, 5),
            event(2, Action::Add, 2, Side::Bid, 100, 7),
            event(3, Action::Cancel, 1, Side::Bid, 100, 2),
        ]);
        let instrument = Instrument { id: 5, publisher: None };
        let level = LevelValue { event: 3, size: 10, orders: 2 };
        assert_eq!(market.expected()[&Name::Level(instrument, Side::Bid, 100)], Value::Level(level));

        let (_, market, held) = replay(&[
            event(1, Action::Add, 1, Side::Bid, 100, 5),
            event(2, Action::Cancel, 1, Side::Bid, 100, 9),
        ]);
        assert_eq!(market.oddities().over_cancels, 1);
        assert!(held.book().is_empty());
    }

    #[test]
    fn a_fill_leaves_the_size_and_a_trade_leaves_the_book() {
        let (_, market, _) = replay(&[
            event(1, Action::Add, 1, Side::Ask, 100, 5),
            event(2, Action::Trade, 0, Side::Bid, 100, 3),
            event(3, Action::Fill, 1, Side::Ask, 100, 3),
        ]);
        let expected = market.expected();
        let instrument = Instrument { id: 5, publisher: None };
        let Value::Order(order) = expected[&Name::Order(instrument, 1)] else { panic!("an order") };
        assert_eq!((order.size, order.filled, order.last_fill_price, order.event), (5, 3, 100, 3));
        let Value::Level(level) = expected[&Name::Level(instrument, Side::Ask, 100)] else {
            panic!("a level")
        };
        assert_eq!((level.size, level.orders, level.event), (5, 1, 1));
        let Value::Trades(trades) = expected[&Name::Trades(instrument)] else { panic!("trades") };
        assert_eq!((trades.trades, trades.volume), (1, 3));
    }

    #[test]
    fn a_modify_moves_the_order_and_an_unknown_one_is_added_and_counted() {
        let (_, market, _) = replay(&[
            event(1, Action::Add, 1, Side::Bid, 100, 5),
            event(2, Action::Modify, 1, Side::Bid, 101, 4),
            event(3, Action::Modify, 2, Side::Ask, 105, 6),
            event(4, Action::Cancel, 77, Side::Ask, 105, 6),
            event(5, Action::Fill, 78, Side::Ask, 105, 6),
        ]);
        assert_eq!(market.oddities().unknown_orders, 3);
        let instrument = Instrument { id: 5, publisher: None };
        let names: Vec<Name> = market.expected().into_keys().collect();
        assert_eq!(
            names,
            [
                Name::Order(instrument, 1),
                Name::Order(instrument, 2),
                Name::Level(instrument, Side::Ask, 105),
                Name::Level(instrument, Side::Bid, 101),
            ]
        );
    }

    #[test]
    fn a_clear_empties_one_instrument_and_no_other() {
        let mut foreign = event(2, Action::Add, 1, Side::Bid, 100, 5);
        foreign.instrument.id = 6;
        let (_, market, _) = replay(&[
            event(1, Action::Add, 1, Side::Bid, 100, 5),
            foreign,
            event(3, Action::Trade, 0, Side::Bid, 100, 3),
            event(4, Action::Clear, 0, Side::None, PRICE_UNDEFINED, 0),
        ]);
        let names: Vec<Name> = market.expected().into_keys().collect();
        assert_eq!(
            names,
            [
                Name::Order(foreign.instrument, 1),
                Name::Level(foreign.instrument, Side::Bid, 100),
                Name::Trades(Instrument { id: 5, publisher: None }),
            ]
        );
    }

    #[test]
    fn a_top_of_book_add_replaces_its_side() {
        let top = |number, price, size| Event {
            flags: dbn::flags::TOB,
            ..event(number, Action::Add, 0, Side::Bid, price, size)
        };
        let (_, market, _) =
            replay(&[event(1, Action::Add, 1, Side::Bid, 100, 5), top(2, 101, 9), top(3, 102, 8)]);
        let instrument = Instrument { id: 5, publisher: None };
        let level = Value::Level(LevelValue { event: 3, size: 8, orders: 0 });
        assert_eq!(market.expected(), BTreeMap::from([(Name::Level(instrument, Side::Bid, 102), level)]));
        let (_, market, _) = replay(&[top(1, 101, 9), top(2, PRICE_UNDEFINED, 0)]);
        assert!(market.expected().is_empty());
    }

    #[test]
    fn the_same_events_give_the_same_proposals() {
        let events: Vec<Event> = (1..=300).map(|number| hostile_event(number, 7)).collect();
        let run = || {
            let (mut proposer, mut steps, mut hash) = (Proposer::default(), Steps::default(), 0);
            for event in &events {
                proposer.propose(event, &mut steps);
                for (key, value) in steps.iter() {
                    hash = crate::answers::fold_bytes(hash, key);
                    hash = crate::answers::fold_bytes(hash, value.unwrap_or(b"deleted"));
                }
            }
            (hash, proposer.cursor())
        };
        assert_eq!(run(), run());
    }
}
