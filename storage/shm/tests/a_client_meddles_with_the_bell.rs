//! The bell's open file is shared with every client: whatever one of them does to it, nobody else waits.
#![cfg(not(loom))]

use io_oi_shm::bell::Bell;
use rustix::fs::{OFlags, fcntl_setfl};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A bell and a client's hold of it.
fn shared() -> (Bell, Bell) {
    let bell = Bell::create().unwrap();
    let held = Bell::from_fd(bell.fd().try_clone_to_owned().unwrap());
    (bell, held)
}

/// From now on a plain read of the empty counter, or a plain write to the full one, waits for ever.
fn make_waiting(held: &Bell) {
    fcntl_setfl(held.fd(), OFlags::empty()).unwrap();
}

fn fill(held: &Bell) {
    rustix::io::write(held.fd(), &(u64::MAX - 1).to_ne_bytes()).unwrap();
}

/// What `act` gives, on a thread of its own: a wait for ever fails the test instead of holding it up.
fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(act()));
    receiver.recv_timeout(Duration::from_secs(20)).expect("it waits for ever")
}

#[test]
fn a_client_that_makes_the_bell_waiting_does_not_hold_up_the_shard() {
    let (bell, held) = shared();
    make_waiting(&held);
    in_time(move || {
        assert!(!bell.silence());
        assert!(!bell.wait(Duration::ZERO), "nobody rang");
        held.ring();
        assert!(bell.wait(Duration::from_secs(5)));
        assert!(!bell.silence(), "the ring was taken back");
    });
}

#[test]
fn a_client_that_fills_the_counter_holds_up_no_other_client() {
    let (bell, held) = shared();
    make_waiting(&held);
    fill(&held);
    in_time(move || {
        held.ring();
        assert!(bell.wait(Duration::from_secs(5)), "a full counter is a ring");
        assert!(!bell.silence());
        held.ring();
        assert!(bell.silence(), "and it can be rung again");
    });
}

#[test]
fn of_two_bells_either_wakes() {
    let ((shared, held), private) = (shared(), Bell::create().unwrap());
    make_waiting(&held);
    in_time(move || {
        assert!(!shared.wait_either(&private, Duration::ZERO));
        private.ring();
        assert!(shared.wait_either(&private, Duration::from_secs(5)));
        held.ring();
        assert!(shared.wait_either(&private, Duration::from_secs(5)));
        assert!(!shared.silence() && !private.silence(), "both were taken back");
    });
}
