//! The loop: one thread, every socket, one store.
//!
//! Invariants:
//! - it never waits for a socket, a shard or a lock: it sleeps only when nothing is ready and nothing is under way;
//! - a connection is read, run and sent to in turns of bounded length, so that none keeps the others waiting.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_oi_client::AttachError;
use rustix::event::{Timespec, epoll};
use slab::Slab;

use super::connection::{Connection, Surroundings};
use super::{Counts, House};
use crate::store::Store;

/// See the head of the file.
pub(super) struct Reactor {
    house: House,
    counts: Counts,
    listener: TcpListener,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    store: Option<Store>,
    seats: Slab<Seat>,
    /// Seat of each connection by its number.
    places: HashMap<u64, usize>,
    next_id: u64,
    /// Seats that have more to run without being woken.
    eager: HashSet<usize>,
    pace: Pace,
    tended: Instant,
    complained: Option<Instant>,
}

struct Seat {
    /// Away only while it runs.
    connection: Option<Box<Connection>>,
    interest: epoll::EventFlags,
    held_bytes: usize,
}

impl Reactor {
    pub(super) fn new(
        house: House,
        listener: TcpListener,
        wake: Arc<OwnedFd>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let now = Instant::now();
        Ok(Self {
            house,
            counts: Counts::default(),
            listener,
            epoll,
            wake,
            stop,
            store: None,
            seats: Slab::new(),
            places: HashMap::new(),
            next_id: 1,
            eager: HashSet::new(),
            pace: Pace::default(),
            tended: now.checked_sub(TEND_PERIOD).unwrap_or(now),
            complained: None,
        })
    }

    /// Until the handle is dropped.
    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.turn();
        }
        self.finish();
    }

    /// What was begun gets its answer, if it comes soon; nothing more is read.
    fn finish(&mut self) {
        let end = Instant::now() + FINISH_PATIENCE;
        while Instant::now() < end && self.store.as_ref().is_some_and(Store::is_waiting) {
            self.advance_store();
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn turn(&mut self) {
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let timeout = self.timeout();
        let ready: Vec<(u64, epoll::EventFlags)> =
            match epoll::wait(&self.epoll, &mut room[..], Some(&timeout)) {
                Ok((events, _)) => events.iter().map(|event| (event.data.u64(), event.flags)).collect(),
                // A signal: the next turn looks again.
                Err(_) => Vec::new(),
            };
        let now = Instant::now();
        let mut has_moved = !ready.is_empty();
        for (token, flags) in ready {
            match token {
                LISTENER => self.accept(now),
                WAKE => self.hear_wake(),
                id => self.hear(id, flags, now),
            }
        }
        has_moved |= self.advance_store();
        for place in std::mem::take(&mut self.eager) {
            self.serve(place, None);
            has_moved = true;
        }
        if now.saturating_duration_since(self.tended) >= TEND_PERIOD {
            self.tended = now;
            self.tend(now);
        }
        self.pace.note(has_moved, now);
    }

    fn hear(&mut self, id: u64, flags: epoll::EventFlags, now: Instant) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.serve(place, Some(now));
        // Nobody is there to take an answer; what was begun goes on.
        if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) && self.places.contains_key(&id)
        {
            self.drop_out(place);
        }
    }

    fn hear_wake(&self) {
        // It may have been heard already.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// How long to sleep.
    fn timeout(&self) -> Timespec {
        let is_waiting = self.store.as_ref().is_some_and(Store::is_waiting);
        let pause = match (self.eager.is_empty(), is_waiting) {
            (false, _) => Duration::ZERO,
            (true, true) => self.pace.pause(),
            (true, false) => TEND_PERIOD,
        };
        Timespec { tv_sec: pause.as_secs() as _, tv_nsec: pause.subsec_nanos().into() }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, from)) => self.welcome(stream, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Gone again before we came.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if self
                        .complained
                        .is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_PERIOD)
                    {
                        self.complained = Some(now);
                        tracing::warn!(%error, "a Redis client could not be accepted: raise ulimit -n");
                    }
                    std::thread::sleep(ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream, from: SocketAddr) {
        self.counts.connections.add(1);
        let refusal = if self.seats.len() >= self.house.limits().clients_max {
            Some("-ERR max number of clients reached\r\n")
        } else if !self.house.is_welcome(from.ip()) {
            Some(DENIED)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.counts.refused_connections.add(1);
            // Into an empty buffer, or never.
            let _ = stream.set_nonblocking(true).and_then(|()| stream.write(text.as_bytes()));
            return;
        }
        let id = self.next_id;
        let Ok(connection) = Connection::new(stream, id, &self.house) else { return };
        let entry = self.seats.vacant_entry();
        let (place, interest) = (entry.key(), epoll::EventFlags::IN);
        let data = epoll::EventData::new_u64(id);
        if epoll::add(&self.epoll, connection.stream(), data, interest).is_err() {
            return;
        }
        entry.insert(Seat { connection: Some(Box::new(connection)), interest, held_bytes: 0 });
        self.places.insert(id, place);
        self.next_id += 1;
        self.counts.connected.set(self.seats.len() as u64);
    }

    /// One turn of one connection: reads when `heard`, runs, sends.
    fn serve(&mut self, place: usize, heard: Option<Instant>) {
        let Some(seat) = self.seats.get_mut(place) else { return };
        let Some(mut connection) = seat.connection.take() else { return };
        if let Some(now) = heard {
            connection.read(now);
        }
        let seats = &self.seats;
        let others = || {
            let now = Instant::now();
            let others = seats.iter().filter_map(|(_, seat)| seat.connection.as_ref());
            others.map(|other| other.peer.line(now)).collect()
        };
        let around = Surroundings { house: &self.house, counts: &self.counts, others: &others };
        let has_more = connection.advance(self.store.as_mut(), &around);
        if connection.is_done() {
            return self.dismiss(place, *connection);
        }
        if has_more {
            self.eager.insert(place);
        }
        self.seat(place, connection);
        self.bound_memory();
    }

    /// Puts a connection back, with what it wants to be woken for.
    fn seat(&mut self, place: usize, connection: Box<Connection>) {
        let seat = &mut self.seats[place];
        let mut interest = epoll::EventFlags::empty();
        if connection.wants_input() {
            interest |= epoll::EventFlags::IN;
        }
        if connection.wants_output() {
            interest |= epoll::EventFlags::OUT;
        }
        let data = epoll::EventData::new_u64(connection.peer.id);
        if interest != seat.interest
            && epoll::modify(&self.epoll, connection.stream(), data, interest).is_ok()
        {
            seat.interest = interest;
        }
        let held_bytes = connection.held_bytes();
        let all = self.counts.buffer_bytes.get() - seat.held_bytes as u64 + held_bytes as u64;
        self.counts.buffer_bytes.set(all);
        seat.held_bytes = held_bytes;
        seat.connection = Some(connection);
    }

    fn dismiss(&mut self, place: usize, mut connection: Connection) {
        if let Some(store) = &mut self.store {
            connection.abandon(store);
        }
        let seat = self.seats.remove(place);
        self.counts.buffer_bytes.set(self.counts.buffer_bytes.get() - seat.held_bytes as u64);
        self.counts.connected.set(self.seats.len() as u64);
        self.places.remove(&connection.peer.id);
        self.eager.remove(&place);
        // Closing the socket takes it out of the epoll set.
        connection.hang_up();
    }

    /// While all hold too much together, whoever holds most goes.
    fn bound_memory(&mut self) {
        while self.counts.buffer_bytes.get() > self.house.limits().memory_bytes_max as u64 {
            let largest = self.seats.iter().max_by_key(|(_, seat)| seat.held_bytes).map(|(place, _)| place);
            let Some(place) = largest else { return };
            let Some(connection) = &self.seats[place].connection else { return };
            tracing::warn!(address = %connection.peer.address, "clients hold too much memory: the largest is disconnected");
            self.counts.evicted.add(1);
            self.drop_out(place);
        }
    }

    /// Takes receipts and serves whoever waited for them. True when there were any.
    fn advance_store(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        if store.is_waiting() {
            store.poll();
        }
        self.serve_finished()
    }

    fn serve_finished(&mut self) -> bool {
        let mut waiters = HashSet::new();
        while let Some(waiter) = self.store.as_mut().and_then(Store::take_finished) {
            waiters.insert(waiter);
        }
        for waiter in &waiters {
            if let Some(place) = self.places.get(waiter).copied() {
                self.serve(place, None);
            }
        }
        !waiters.is_empty()
    }

    /// What is done now and then: the link to the node, and those who are late.
    fn tend(&mut self, now: Instant) {
        self.tend_store();
        let late = self.seats.iter().filter(|(_, seat)| {
            seat.connection.as_ref().is_some_and(|connection| connection.is_late(&self.house, now))
        });
        let late: Vec<usize> = late.map(|(place, _)| place).collect();
        for place in late {
            self.drop_out(place);
        }
    }

    fn drop_out(&mut self, place: usize) {
        if let Some(connection) = self.seats.get_mut(place).and_then(|seat| seat.connection.take()) {
            self.dismiss(place, *connection);
        }
    }

    fn tend_store(&mut self) {
        let Some(store) = &mut self.store else { return self.attach() };
        store.client_mut().tend();
        if let Some(reason) = store.why_over() {
            tracing::warn!(reason, "the session of the Redis gateway was lost: it attaches anew");
            store.give_up();
            self.serve_finished();
            self.store = None;
        }
    }

    fn attach(&mut self) {
        match Store::attach(&self.house.socket, self.house.write) {
            Ok(store) => self.store = Some(store),
            // It starts, or has no leader yet.
            Err(AttachError::NodeAbsent { .. } | AttachError::TimedOut | AttachError::HungUp) => {}
            Err(error) => tracing::debug!(%error, "the Redis gateway is not attached yet"),
        }
    }
}

/// How the loop passes its time while the shards work.
#[derive(Debug, Default)]
struct Pace {
    /// Since when nothing has moved.
    still: Option<Instant>,
    nap: Duration,
}

impl Pace {
    fn note(&mut self, has_moved: bool, now: Instant) {
        if has_moved {
            self.still = None;
            self.nap = Duration::ZERO;
            return;
        }
        let since = *self.still.get_or_insert(now);
        if now.saturating_duration_since(since) < YIELD_TIME {
            rustix::thread::sched_yield();
        } else {
            self.nap = (self.nap * 2).clamp(NAP_MIN, NAP_MAX);
        }
    }

    fn pause(&self) -> Duration {
        self.nap
    }
}

const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
const EVENTS_MAX: usize = 256;
const ACCEPTS_PER_TURN: usize = 64;
/// When descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);
const TEND_PERIOD: Duration = Duration::from_millis(100);
/// After the last sign of life of the shards: a commit is most often there sooner.
const YIELD_TIME: Duration = Duration::from_millis(3);
const NAP_MIN: Duration = Duration::from_micros(50);
const NAP_MAX: Duration = Duration::from_millis(1);
/// How long a gateway that stops waits for what was begun.
const FINISH_PATIENCE: Duration = Duration::from_secs(2);

/// As Redis says it, with what to do here.
const DENIED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for \
    the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from \
    external computers, set `resp.password` in the node's configuration.\r\n";
