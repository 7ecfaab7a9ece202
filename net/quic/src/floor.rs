//! What one round trip of a small frame costs on this machine: the floor that a commit is compared with.
//!
//! Invariant: it measures the shipping endpoint over the kernel's UDP, two threads, and nothing else.

use crate::{Config, Endpoint, Key, Lane, Limits, Peer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a loop does when it found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Asks again at once: for a core of one's own.
    Spin,
    /// Lets others run first.
    Yield,
    /// Sleeps in the kernel until a packet comes.
    Park,
}

/// What to measure. Keys are ed25519 pairs of (secret seed, public key); the caller has them, this room cannot make any.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    /// The two ends.
    pub keys: [([u8; 32], Key); 2],
    /// Bytes of a frame.
    pub frame_bytes: usize,
    /// Round trips that count.
    pub count: usize,
    /// How both ends wait.
    pub idle: Idle,
    /// Sizes and times of both ends.
    pub limits: Limits,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// The endpoints could not be made.
    #[error(transparent)]
    Bind(#[from] crate::BindError),
    /// No connection, or an answer that never came.
    #[error("no answer came over loopback within {0:?}: is UDP filtered?")]
    Silent(Duration),
}

/// Round trips in nanoseconds, in the order in which they happened. `pin` is called on both threads with 0 and 1.
pub fn measure_round_trip(plan: &RoundTrip, pin: impl Fn(usize) + Sync) -> Result<Vec<u64>, FloorError> {
    let (here, there) = pair(plan)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let echo = std::thread::Builder::new().name("quic floor".to_owned());
        let (pin, is_over) = (&pin, &is_over);
        let thread = echo.spawn_scoped(scope, move || {
            pin(1);
            run_echo(there, plan, is_over);
        });
        let samples = thread.map_err(|_| FloorError::Silent(Duration::ZERO)).and_then(|_| {
            pin(0);
            run_pings(here, plan)
        });
        is_over.store(true, Ordering::Release);
        samples
    })
}

/// Two endpoints on loopback that know each other.
fn pair(plan: &RoundTrip) -> Result<(Endpoint, Endpoint), FloorError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut ends = Vec::new();
    for (secret, own) in plan.keys {
        let config = Config {
            own,
            secret,
            cluster: [0; 32],
            shard: 0,
            seed: 1,
            peers: Vec::new(),
            limits: plan.limits,
        };
        ends.push(Endpoint::bind(any, config)?);
    }
    let addrs = [ends[0].local_addr(), ends[1].local_addr()];
    for (index, end) in ends.iter_mut().enumerate() {
        let other = 1 - index;
        end.set_peers(&[Peer { key: plan.keys[other].1, addr: addrs[other] }]);
    }
    let there = ends.remove(1);
    Ok((ends.remove(0), there))
}

fn run_echo(mut end: Endpoint, plan: &RoundTrip, is_over: &AtomicBool) {
    let start = Instant::now();
    let peer = plan.keys[0].1;
    let mut frame = Vec::with_capacity(plan.frame_bytes);
    while !is_over.load(Ordering::Acquire) {
        let now_ns = nanos(start);
        if !end.poll(now_ns) {
            wait(&end, plan.idle, now_ns);
        }
        loop {
            frame.clear();
            match end.next_frame() {
                Some(arrived) => frame.extend_from_slice(arrived.bytes),
                None => break,
            }
            // A frame that finds the connection gone is missed by the other end, which then gives up.
            let _ = end.send(&peer, Lane::Urgent, &frame);
        }
        end.flush();
    }
}

fn run_pings(mut end: Endpoint, plan: &RoundTrip) -> Result<Vec<u64>, FloorError> {
    let start = Instant::now();
    let peer = plan.keys[1].1;
    let frame = vec![0x5a; plan.frame_bytes];
    while !end.is_connected(&peer) {
        end.poll(nanos(start));
        if start.elapsed() > PATIENCE {
            return Err(FloorError::Silent(PATIENCE));
        }
    }
    let warm = plan.count / 10 + 100;
    let mut samples = Vec::with_capacity(plan.count);
    for number in 0..warm + plan.count {
        let begin = Instant::now();
        if end.send(&peer, Lane::Urgent, &frame).is_err() {
            return Err(FloorError::Silent(begin.elapsed()));
        }
        end.flush();
        await_frame(&mut end, plan, start, begin)?;
        if number >= warm {
            samples.push(nanos(begin));
        }
    }
    Ok(samples)
}

fn await_frame(
    end: &mut Endpoint,
    plan: &RoundTrip,
    start: Instant,
    begin: Instant,
) -> Result<(), FloorError> {
    loop {
        let now_ns = nanos(start);
        if end.poll(now_ns) {
            if end.next_frame().is_some() {
                return Ok(());
            }
            end.flush();
        } else if begin.elapsed() > PATIENCE {
            return Err(FloorError::Silent(PATIENCE));
        } else {
            wait(end, plan.idle, now_ns);
        }
    }
}

/// A loaded machine may take its time, a filtered one takes for ever.
const PATIENCE: Duration = Duration::from_secs(10);

fn wait(end: &Endpoint, idle: Idle, now_ns: u64) {
    match idle {
        Idle::Spin => std::hint::spin_loop(),
        Idle::Yield => std::thread::yield_now(),
        Idle::Park => {
            let wait_ns = end.next_timer_ns().unwrap_or(u64::MAX).saturating_sub(now_ns).min(PARK_NS_MAX);
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: wait_ns as i64 };
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(end.fd(), rustix::event::PollFlags::IN)];
            // Whatever wakes it, the loop looks again.
            let _ = rustix::event::poll(&mut fds, Some(&timeout));
        }
    }
}

/// So that the end of a measurement is noticed.
const PARK_NS_MAX: u64 = 50_000_000;

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
