//! Arbitrators through the log: stored in parts, seated at a sequence, dropped, and taken back with their records. [P-96]

use io_oi_consensus::{Governance, Seated};
use io_oi_record::governance::{ArbitratorChoice, Change};
use io_oi_record::hash::Domain;
use io_oi_record::limits::{ARBITRATORS_MAX, COMPONENT_BYTES_MAX, COMPONENTS_MAX, PART_BYTES_MAX};
use io_oi_record::{ComponentPart, Hash, JudgeVersions, RefusalCode, Sequence, Shipment};

use crate::support::*;

const VERSIONS: JudgeVersions = JudgeVersions { seal: 1, costs: 1, engine: [48, 0, 8] };

/// A log that is written by hand: each accepted change takes the next place.
struct Log {
    governance: Governance,
    tip: u64,
}

impl Log {
    fn new() -> Log {
        Log { governance: Governance::new(&genesis(), SHARD), tip: 0 }
    }

    fn try_add(&mut self, change: Change, payload: &[u8]) -> Result<Sequence, RefusalCode> {
        let signed = govern(self.governance.judged().number() + 1, change);
        let value = Shipment { signed, payload }.encode().expect("within the limits");
        let judged = self.governance.judge(&value)?;
        self.tip += 1;
        self.governance.append(Sequence(self.tip), judged);
        Ok(Sequence(self.tip))
    }

    fn add(&mut self, change: Change, payload: &[u8]) -> Sequence {
        self.try_add(change, payload).expect("applicable")
    }

    fn store(&mut self, component: Hash, part: &[u8]) -> Result<Sequence, RefusalCode> {
        self.try_add(Change::StorePart(ComponentPart::of(component, part)), part)
    }

    /// A component of one part.
    fn store_whole(&mut self, bytes: &[u8]) -> Hash {
        let component = Domain::Arbitrator.hash(bytes);
        self.store(component, bytes).expect("there is room");
        component
    }

    fn seated(&self, sequence: u64, key: &[u8]) -> (Hash, Hash) {
        let Seated { judge, shadow } = self.governance.seated(Sequence(sequence), key);
        (
            judge.map_or(Hash::ZERO, |judge| judge.component),
            shadow.map_or(Hash::ZERO, |shadow| shadow.component),
        )
    }
}

fn seat(prefix: &[u8], arbitrator: Hash) -> Change {
    let versions = if arbitrator.is_zero() { JudgeVersions::default() } else { VERSIONS };
    Change::SetArbitrator(ArbitratorChoice {
        prefix: prefix.to_vec(),
        arbitrator,
        is_shadow: false,
        versions,
    })
}

fn shadow(prefix: &[u8], arbitrator: Hash) -> Change {
    match seat(prefix, arbitrator) {
        Change::SetArbitrator(choice) => {
            Change::SetArbitrator(ArbitratorChoice { is_shadow: true, ..choice })
        }
        other => other,
    }
}

const NOT_APPLICABLE: Result<Sequence, RefusalCode> = Err(RefusalCode::GovernanceNotApplicable);

#[test]
fn a_component_judges_once_all_its_parts_are_there() {
    let (mut log, whole) = (Log::new(), [b"first part, ".as_slice(), b"second part"].concat());
    let component = Domain::Arbitrator.hash(&whole);
    assert_eq!(log.try_add(seat(b"a/", component), &[]), NOT_APPLICABLE);
    log.store(component, b"first part, ").expect("there is room");
    assert_eq!(log.try_add(seat(b"a/", component), &[]), NOT_APPLICABLE);
    assert_eq!((log.governance.components().count(), log.governance.component_bytes(component)), (0, 12));
    log.store(component, b"second part").expect("there is room");
    assert_eq!(log.governance.components().collect::<Vec<_>>(), [component]);
    assert_eq!(log.governance.component(component), Some(whole));
    assert_eq!(log.store(component, b"more"), NOT_APPLICABLE);
    log.add(seat(b"a/", component), &[]);
}

#[test]
fn a_seat_holds_from_the_next_record_on() {
    let mut log = Log::new();
    let (one, other) = (log.store_whole(b"one"), log.store_whole(b"other"));
    let first = log.add(seat(b"a/", one), &[]).0;
    let second = log.add(seat(b"a/", other), &[]).0;
    assert_eq!(log.seated(first, b"a/k").0, Hash::ZERO);
    assert_eq!(log.seated(first + 1, b"a/k").0, one);
    assert_eq!(log.seated(second, b"a/k").0, one);
    assert_eq!(log.seated(second + 1, b"a/k").0, other);
    assert_eq!(log.seated(u64::MAX, b"b/k").0, Hash::ZERO);
    log.governance.rewind_to(Sequence(second - 1));
    assert_eq!(log.seated(second + 1, b"a/k").0, one);
}

#[test]
fn the_longest_prefix_decides_and_a_shadow_is_promoted() {
    let mut log = Log::new();
    let (one, other) = (log.store_whole(b"one"), log.store_whole(b"other"));
    log.add(seat(b"", one), &[]);
    log.add(shadow(b"a/b/", other), &[]);
    assert_eq!(log.seated(u64::MAX, b"a/b/k"), (one, other));
    assert_eq!(log.seated(u64::MAX, b"a/k"), (one, Hash::ZERO));
    assert_eq!(log.try_add(shadow(b"", one), &[]), NOT_APPLICABLE, "it judges there already");
    let promoted = log.add(seat(b"a/b/", other), &[]).0;
    assert_eq!(log.seated(promoted, b"a/b/k"), (one, other));
    assert_eq!(log.seated(promoted + 1, b"a/b/k"), (other, Hash::ZERO));
    log.add(seat(b"a/b/", Hash::ZERO), &[]);
    assert_eq!(log.seated(u64::MAX, b"a/b/k"), (one, Hash::ZERO));
    assert_eq!(log.try_add(seat(b"a/b/", Hash::ZERO), &[]), NOT_APPLICABLE);
}

#[test]
fn what_is_used_is_not_dropped_and_what_was_dropped_comes_back_with_a_rewind() {
    let mut log = Log::new();
    let one = log.store_whole(b"one");
    log.add(seat(b"a/", one), &[]);
    assert_eq!(log.try_add(Change::DropComponent(one), &[]), NOT_APPLICABLE);
    let removed = log.add(seat(b"a/", Hash::ZERO), &[]);
    log.add(Change::DropComponent(one), &[]);
    assert_eq!(log.try_add(seat(b"a/", one), &[]), NOT_APPLICABLE);
    log.governance.rewind_to(removed);
    log.tip = removed.0;
    assert_eq!(log.governance.components().count(), 1);
    let dropped = log.add(Change::DropComponent(one), &[]);
    log.governance.commit_through(dropped);
    assert_eq!((log.governance.components().count(), log.governance.component_bytes(one)), (0, 0));
    log.store_whole(b"one");
    log.add(seat(b"a/", one), &[]);
}

#[test]
fn no_more_is_stored_than_there_is_room_for() {
    let mut log = Log::new();
    let endless = Hash([7; 32]);
    let part = vec![7; PART_BYTES_MAX];
    for _ in 0..COMPONENT_BYTES_MAX / PART_BYTES_MAX {
        log.store(endless, &part).expect("there is room");
    }
    assert_eq!(log.store(endless, &part), NOT_APPLICABLE);
    for number in 1..COMPONENTS_MAX {
        log.store_whole(&[number as u8]);
    }
    assert_eq!(log.store(Hash([8; 32]), b"one more"), NOT_APPLICABLE);
    log.add(Change::DropComponent(endless), &[]);
    log.store(Hash([8; 32]), b"one more").expect("there is room again");
}

/// A leader knows of a commit before its followers do: all of them judge the next part alike.
#[test]
fn what_was_dropped_takes_no_room_whoever_knows_that_it_is_committed() {
    let mut log = Log::new();
    let (part, many) = (vec![7; PART_BYTES_MAX], COMPONENT_BYTES_MAX / PART_BYTES_MAX);
    let endless = |number: usize| Hash([number as u8 + 1; 32]);
    let stored =
        (0..COMPONENTS_MAX).find(|number| (0..many).any(|_| log.store(endless(*number), &part).is_err()));
    let fullest = stored.expect("all of them together are bounded");
    assert_eq!(log.store(endless(fullest), &part), NOT_APPLICABLE);
    let dropped = log.add(Change::DropComponent(endless(0)), &[]);
    let mut knowing = Log { governance: log.governance.clone(), tip: log.tip };
    knowing.governance.commit_through(dropped);
    let said = [log, knowing].map(|mut log| log.store(endless(fullest), &part));
    assert_eq!(said, [Ok(dropped.next()); 2]);
}

#[test]
fn no_more_prefixes_are_seated_than_there_is_room_for() {
    let mut log = Log::new();
    let one = log.store_whole(b"one");
    let prefix = |number: usize| format!("p{number:03}/").into_bytes();
    for number in (0..ARBITRATORS_MAX).rev() {
        log.add(seat(&prefix(number), one), &[]);
    }
    assert_eq!(log.try_add(seat(&prefix(ARBITRATORS_MAX), one), &[]), NOT_APPLICABLE);
    log.add(seat(&prefix(8), Hash::ZERO), &[]);
    let seats = log.governance.judged().arbitrators();
    assert_eq!(seats.len(), ARBITRATORS_MAX - 1);
    assert!(seats.is_sorted_by_key(|seat| &seat.prefix));
}

/// The slow way and the fast way to find a seat agree at every sequence: the log that ends there is asked, too.
#[test]
fn a_longer_log_says_the_same_of_the_past() {
    let mut log = Log::new();
    let components = [log.store_whole(b"one"), log.store_whole(b"two"), Hash::ZERO];
    let (mut random, mut before) = (7_u64, Vec::new());
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let prefix: &[u8] = [b"".as_slice(), b"a/", b"a/b/", b"c"][draw(4) as usize];
        let component = components[draw(3) as usize];
        let change = if draw(2) == 0 { seat(prefix, component) } else { shadow(prefix, component) };
        let _ = log.try_add(change, &[]);
        before.push((log.tip, log.governance.clone()));
    }
    for (tip, past) in before {
        for key in [b"a/b/k".as_slice(), b"a/k", b"c", b"d"] {
            let at = Sequence(tip + 1);
            assert_eq!(past.seated(at, key), log.governance.seated(at, key), "{key:?} at {at}");
        }
    }
}
