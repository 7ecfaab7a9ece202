//! One thread per shard, hosted by glommio. The only file that names it.
//!
//! Invariant: the executor hosts one loop and nothing else, so the loop never gives control back to it. No timers,
//! files, sockets, channels or blocking calls of the executor's own are used: they are slower than the rings in the
//! loop, and less proven.
//!
//! What stress tests of glommio 0.9 and glommio-ng 0.12 showed (two shared cores):
//! - glommio 0.9 leaves one event descriptor behind per executor (300 after 300), glommio-ng none;
//! - a task yield costs 92 to 96 ns in both, and a task that yields delays timers by the preempt time (8 ms at 10 ms);
//! - with a preempt timer of 1 ms and no standing timer an executor parked for ever with its task runnable (seen once
//!   in six runs). A loop that never yields can never be parked: it has nobody to yield to, so it does not.

use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement as Pinning};

use crate::clock::Clock;
use crate::idle::{Idle, Idler, Pause};

/// What an executor hosts.
pub(crate) trait Hosted {
    /// One turn of the loop. Says whether there was anything to do.
    fn poll(&mut self, clock: &mut Clock) -> bool;

    /// An idle turn that may look at the clock: heartbeat and timer.
    fn look(&mut self, clock: &mut Clock);

    /// Whether the loop ends here.
    fn is_done(&self) -> bool;

    /// Whether it may sleep, and for how long at most.
    fn park_time_max(&self) -> Option<Duration>;

    /// Sleeps until somebody rings, or the time is over. Says whether somebody rang.
    fn park(&mut self, time_max: Duration) -> bool;

    /// The loop has ended.
    fn finish(self);
}

/// Where and how one shard runs.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// The thread's name.
    pub(crate) name: String,
    /// The CPU to pin to.
    pub(crate) core: Option<usize>,
    /// What to do without work.
    pub(crate) idle: Idle,
}

/// A running executor thread.
#[derive(Debug)]
pub(crate) struct Executor {
    thread: glommio::ExecutorJoinHandle<()>,
}

/// Starts the thread; `build` runs on it, and what it returns is polled there until it is done.
///
/// # Errors
/// The thread, its rings or its CPU are not to be had.
pub(crate) fn spawn<H, B>(seat: Seat, build: B) -> Result<Executor, ExecutorError>
where
    H: Hosted + 'static,
    B: FnOnce() -> Option<H> + Send + 'static,
{
    let pinning = seat.core.map_or(Pinning::Unbound, Pinning::Fixed);
    let name = seat.name.clone();
    let thread = LocalExecutorBuilder::new(pinning)
        .name(&seat.name)
        .preempt_timer(PREEMPT_TIMER)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .spawn(move || async move {
            if let Some(hosted) = build() {
                host(hosted, seat.idle);
            }
        })
        .map_err(|error| ExecutorError { name, core: seat.core, text: error.to_string() })?;
    Ok(Executor { thread })
}

impl Executor {
    /// Waits for the thread. Says whether it ended in order, not in a panic.
    pub(crate) fn join(self) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.thread.join().is_ok())).unwrap_or(false)
    }
}

/// Why a shard's thread could not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start thread {name} (cpu {core:?}): {text}. Check `cores`, the limit on locked memory (ulimit -l) and that io_uring is allowed."
)]
pub struct ExecutorError {
    name: String,
    core: Option<usize>,
    text: String,
}

fn host(mut hosted: impl Hosted, idle: Idle) {
    let mut clock = Clock::default();
    let mut idler = Idler::new(idle);
    while !hosted.is_done() {
        clock.turn();
        let worked = hosted.poll(&mut clock);
        let pause = idler.pause_after(worked);
        if !worked && idler.is_time_to_look() {
            hosted.look(&mut clock); // Before parking: a parked shard looks once per wake-up.
        }
        match pause {
            Pause::None => std::hint::spin_loop(),
            Pause::Yield => rustix::thread::sched_yield(),
            Pause::Park => park(&mut hosted, &mut idler),
        }
    }
    hosted.finish();
}

fn park(hosted: &mut impl Hosted, idler: &mut Idler) {
    match hosted.park_time_max() {
        None => rustix::thread::sched_yield(),
        Some(time_max) => {
            if !hosted.park(time_max) {
                idler.woke_for_nothing();
            }
        }
    }
}

/// Long: nothing here is ever preempted, and short ones make the executor park for ever.
const PREEMPT_TIMER: Duration = Duration::from_millis(100);
/// The executor does no input or output of its own; its default of 10 MiB would count against the locked-memory limit.
const IO_MEMORY_BYTES: usize = 64 * 1024;
const RING_DEPTH: usize = 8;
const _: () =
    assert!(PREEMPT_TIMER.as_millis() >= 5, "shorter preempt timers make the executor park for ever");

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Counting {
        turns_left: u32,
        parks: u32,
        done: mpsc::Sender<u32>,
    }

    impl Hosted for Counting {
        fn poll(&mut self, _clock: &mut Clock) -> bool {
            self.turns_left -= 1;
            self.turns_left.is_multiple_of(2)
        }
        fn look(&mut self, clock: &mut Clock) {
            assert!(clock.now().mono.get() > 0);
        }
        fn is_done(&self) -> bool {
            self.turns_left == 0
        }
        fn park_time_max(&self) -> Option<Duration> {
            Some(Duration::from_micros(10))
        }
        fn park(&mut self, time_max: Duration) -> bool {
            self.parks += 1;
            std::thread::sleep(time_max);
            false
        }
        fn finish(self) {
            self.done.send(self.parks).unwrap();
        }
    }

    fn seat(idle: Idle) -> Seat {
        Seat { name: "shard-test".to_owned(), core: None, idle }
    }

    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn executors_come_and_go_without_leaving_descriptors_or_stuck_tasks() {
        let run = |idle| {
            let (done, ended) = mpsc::channel();
            let hosted = move || Some(Counting { turns_left: 5_000, parks: 0, done });
            let executor = spawn(seat(idle), hosted).unwrap();
            ended.recv_timeout(Duration::from_secs(60)).expect("the executor parked with a runnable task");
            assert!(executor.join());
        };
        run(Idle::Yield);
        let before = descriptors();
        for _ in 0..40 {
            run(Idle::Yield);
            run(Idle::Spin);
        }
        // Other tests of this process may open a few of their own meanwhile; a leak would be 80.
        assert!(descriptors() < before + 40, "{before} descriptors became {}", descriptors());
    }

    #[test]
    fn a_panic_inside_is_told_by_join() {
        let executor = spawn(seat(Idle::Yield), || -> Option<Counting> { panic!("on purpose") }).unwrap();
        assert!(!executor.join());
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_an_error_with_advice() {
        let seat = Seat { core: Some(4_000), ..seat(Idle::Yield) };
        let error = spawn(seat, || None::<Counting>).unwrap_err().to_string();
        assert!(error.contains("4000") && error.contains("cores"), "{error}");
    }
}
