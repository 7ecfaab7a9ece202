//! Flipped, cut, repeated, reordered, lost and invented datagrams: no panic, no wrong frame, and speech goes on.
//!
//! Invariant: whatever arrives as a frame was sent as one, once, in order.

mod cable;

use cable::World;
use io_oi_quic::memory::Datagram;
use io_oi_quic::{Key, Lane, Notice};

/// A generator that a failure can be repeated with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Everything two nodes say to each other from the first packet to the first frames.
fn corpus() -> Vec<Datagram> {
    let mut world = World::new(2);
    world.air.record();
    world.connect();
    world.send(0, 1, Lane::Urgent, b"an urgent frame");
    world.send(1, 0, Lane::Bulk, &[7; 3_000]);
    world.run_ms(20);
    let recorded = world.air.take_recorded();
    assert!(recorded.len() > 8);
    recorded
}

#[test]
fn every_flipped_bit_of_every_packet_is_survived_by_a_standing_connection() {
    let mut world = World::new(2);
    world.connect();
    let mut flipped = 0_u64;
    for datagram in corpus() {
        for bit in 0..datagram.bytes.len() * 8 {
            let mut damaged = datagram.clone();
            damaged.bytes[bit / 8] ^= 1 << (bit % 8);
            world.air.inject(damaged);
            flipped += 1;
            if flipped.is_multiple_of(64) {
                world.turn();
            }
        }
    }
    assert!(flipped > 50_000, "{flipped}");
    world.run_ms(10);
    assert!(world.is_connected());
    for index in 0..2 {
        assert_eq!(world.place(index).end.stats().connections, 1, "the first connection still stands");
        assert!(world.place(index).frames.is_empty());
    }
    world.send(0, 1, Lane::Urgent, b"still");
    world.run_ms(2);
    assert_eq!(world.place(1).frames.pop().unwrap().2, b"still");
}

#[test]
fn every_flipped_bit_before_the_true_packet_is_survived_from_the_first_packet_on() {
    let mut flipped = 0;
    for victim in 0..16 {
        let mut world = World::new(2);
        let mut count = 0;
        world.air.set_fate(move |datagram, arrives| {
            if count == victim {
                for bit in 0..datagram.bytes.len() * 8 {
                    let mut damaged = datagram.clone();
                    damaged.bytes[bit / 8] ^= 1 << (bit % 8);
                    arrives.push(damaged);
                }
            }
            count += 1;
            arrives.push(datagram);
        });
        assert!(world.run_until(3_000, |world| world.is_connected()), "packet {victim}");
        world.send(0, 1, Lane::Urgent, b"question");
        world.send(1, 0, Lane::Bulk, &[1; 5_000]);
        let arrived = |world: &mut World| (0..2).all(|index| world.place(index).frames.len() == 1);
        assert!(world.run_until(3_000, arrived), "packet {victim}");
        assert_eq!(world.place(1).frames[0].2, b"question");
        assert_eq!(world.place(0).frames[0].2, [1; 5_000]);
        flipped += world.place(0).end.stats().datagrams_received;
        flipped += world.place(1).end.stats().datagrams_received;
    }
    assert!(flipped > 60_000, "{flipped}");
}

#[test]
fn a_flip_in_any_packet_of_a_live_exchange_delays_and_changes_nothing() {
    // The n-th packet of the conversation arrives damaged, for every n and a bit in each of its parts.
    for victim in 0..30 {
        for place in [0.0, 0.02, 0.3, 0.99] {
            let mut world = World::new(2);
            let mut count = 0;
            world.air.set_fate(move |mut datagram, arrives| {
                if count == victim {
                    let byte = (datagram.bytes.len() as f64 * place) as usize;
                    datagram.bytes[byte] ^= 0x10;
                }
                count += 1;
                arrives.push(datagram);
            });
            assert!(world.run_until(2_000, |world| world.is_connected()), "packet {victim} at {place}");
            world.send(0, 1, Lane::Urgent, b"question");
            world.send(1, 0, Lane::Bulk, &[1; 5_000]);
            let arrived = |world: &mut World| (0..2).all(|index| world.place(index).frames.len() == 1);
            assert!(world.run_until(2_000, arrived), "packet {victim} at {place}");
            assert_eq!(world.place(1).frames[0].2, b"question");
            assert_eq!(world.place(0).frames[0].2, [1; 5_000]);
        }
    }
}

#[test]
fn loss_repetition_reordering_and_damage_leave_frames_whole_and_in_order() {
    let mut pairs_whole = 0;
    for seed in 1..=12_u64 {
        let mut world = World::new(3);
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut late: Vec<Datagram> = Vec::new();
        world.air.set_fate(move |datagram, arrives| {
            match dice.roll(10) {
                0 => {}
                1 => arrives.extend([datagram.clone(), datagram]),
                2 | 3 => late.push(datagram),
                4 => {
                    let mut damaged = datagram;
                    let bit = dice.roll(damaged.bytes.len() as u64 * 8) as usize;
                    damaged.bytes[bit / 8] ^= 1 << (bit % 8);
                    arrives.push(damaged);
                }
                _ => arrives.push(datagram),
            }
            if dice.roll(4) == 0 {
                arrives.append(&mut late);
            }
        });
        assert!(world.run_until(20_000, |world| world.is_connected()), "seed {seed}");
        let mut sent = std::collections::HashMap::<(usize, usize), u32>::new();
        for _ in 0..300 {
            for from in 0..3 {
                for to in (0..3).filter(|to| *to != from) {
                    let number = sent.get(&(from, to)).copied().unwrap_or_default();
                    let mut frame = vec![number as u8; 4 + (number as usize * 97) % 4_000];
                    frame[..4].copy_from_slice(&number.to_le_bytes());
                    let key = world.nodes[to].key;
                    if world.place(from).end.send(&key, Lane::Urgent, &frame).is_ok() {
                        sent.insert((from, to), number + 1);
                    }
                }
            }
            world.turn();
        }
        let all = |world: &mut World| {
            (0..3).all(|to| {
                let wanted: u32 = (0..3).filter_map(|from| sent.get(&(from, to))).sum();
                let urgent = world.place(to).frames.iter().filter(|(_, lane, _)| *lane == Lane::Urgent);
                urgent.count() as u32 == wanted
            })
        };
        // Shards never fall silent, and what is late on this network waits for the next datagram.
        for _ in 0..3_000 {
            for from in 0..3 {
                for to in 0..3 {
                    let key = world.nodes[to].key;
                    let _ = world.place(from).end.send(&key, Lane::Bulk, b"beat");
                }
            }
            if world.run_until(20, all) {
                break;
            }
        }
        let keys: Vec<Key> = world.nodes.iter().map(|node| node.key).collect();
        let has_lost = |world: &mut World, one: usize, other: usize| {
            world.place(one).notices.contains(&Notice::Lost(keys[other]))
        };
        for to in 0..3 {
            for from in (0..3).filter(|from| *from != to) {
                let (next, count) =
                    count_in_order(&world.place(to).frames, &keys[from], sent[&(from, to)], seed);
                // A connection that this weather broke took frames with it; any other carried all of them.
                let broke = has_lost(&mut world, from, to) || has_lost(&mut world, to, from);
                let whole = (sent[&(from, to)], sent[&(from, to)]);
                assert!((next, count) == whole || broke, "seed {seed}: {count} to {next} of {whole:?}");
                pairs_whole += u32::from(!broke);
            }
            assert_eq!(world.place(to).end.stats().violations, 0, "seed {seed}");
        }
    }
    assert!(pairs_whole > 36, "{pairs_whole} of 72 pairs were never cut");
}

/// The number behind the newest frame, and how many came; every one is whole, and none comes before an older one.
fn count_in_order(frames: &[(Key, Lane, Vec<u8>)], from: &Key, sent: u32, seed: u64) -> (u32, u32) {
    let (mut next, mut count) = (0, 0);
    for (_, _, bytes) in frames.iter().filter(|(key, lane, _)| key == from && *lane == Lane::Urgent) {
        let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        assert!(number >= next && number < sent, "seed {seed}: {number} after {next} of {sent}");
        assert_eq!(bytes.len(), 4 + (number as usize * 97) % 4_000);
        assert!(bytes[4..].iter().all(|byte| *byte == number as u8));
        next = number + 1;
        count += 1;
    }
    (next, count)
}

#[test]
fn invented_datagrams_from_a_peer_s_address_change_nothing() {
    let mut world = World::new(2);
    world.connect();
    let (from, to) = (world.nodes[0].addr, world.nodes[1].addr);
    let mut dice = Dice(77);
    for number in 0..20_000_u64 {
        let length = [0, 1, 7, 20, 21, 40, 1200, 1500][dice.roll(8) as usize];
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
        if let Some(first) = bytes.first_mut() {
            // Every kind of header: long with all types and versions, short, and without the fixed bit.
            *first = [0x40, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x80, 0xff][dice.roll(8) as usize];
        }
        if bytes.len() > 4 && number % 2 == 0 {
            bytes[1..5].copy_from_slice(&1_u32.to_be_bytes());
        }
        world.air.inject(Datagram { from, to, bytes });
        if number % 32 == 0 {
            world.turn();
        }
    }
    world.run_ms(10);
    assert!(world.is_connected());
    assert_eq!(world.place(1).end.stats().connections, 1);
    assert!(world.place(1).frames.is_empty());
}
