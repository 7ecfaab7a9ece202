//! The gateway's thread: its settings, its counts, its beginning and its end.
//!
//! Invariant: a gateway that is handed out listens, and none outlives its handle.

mod connection;
mod reactor;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::request;
use crate::store::WriteAnswer;
use reactor::Reactor;

pub(crate) use connection::KEEPALIVE;

/// What an operator chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Redis clients connect (TCP).
    pub address: SocketAddr,
    /// Ports above that one are tried, so many in all, when it is taken.
    pub ports_tried: u16,
    /// The node's attach socket.
    pub socket: PathBuf,
    /// When a write is answered.
    pub write: WriteAnswer,
    /// What `AUTH` wants to hear. Without one, only clients of this host are served.
    pub password: Option<String>,
    /// What clients may take.
    pub limits: Limits,
}

/// Bounds of what clients take, together and each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time (Redis: `maxclients`).
    pub clients_max: usize,
    /// Of one request.
    pub request: request::Limits,
    /// Most bytes of answers that wait for one client to take them; a longer answer ends its connection.
    pub output_bytes_max: usize,
    /// Most bytes of requests and answers over all clients; beyond it whoever holds most is disconnected.
    pub memory_bytes_max: usize,
    /// A silent client is disconnected after this long (Redis: `timeout`); never, when absent.
    pub idle_max: Option<Duration>,
    /// A client that leaves a request half sent, or answers untaken, for this long is disconnected.
    pub stall_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            request: request::Limits {
                bulk_bytes_max: 1 << 20,
                request_bytes_max: 4 << 20,
                arguments_max: 1 << 20,
            },
            output_bytes_max: 32 << 20,
            memory_bytes_max: 256 << 20,
            idle_max: None,
            stall_max: Duration::from_secs(60),
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened at.
    #[error(
        "Redis clients cannot be served at {address}: {error}. Choose another address, or end what holds this one."
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Descriptors or threads are used up.
    #[error(
        "the system has no descriptors or threads left for the Redis gateway ({0}): raise its limits (ulimit -n, -u)"
    )]
    Resources(io::Error),
}

/// A running gateway. Dropping it disconnects its clients and waits for its thread.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Listens, and serves from a thread of its own. The node need not take clients yet: until it does, commands that need it
    /// are answered as Redis does while it loads.
    ///
    /// # Errors
    /// See [`GatewayError`]; nothing keeps running.
    pub fn start(settings: Settings) -> Result<Self, GatewayError> {
        let (listener, address) = listen(settings.address, settings.ports_tried)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags).map_err(|errno| GatewayError::Resources(errno.into()))?);
        let stop = Arc::new(AtomicBool::new(false));
        let house = House::new(settings, address);
        let reactor = Reactor::new(house, listener, wake.clone(), stop.clone());
        let reactor = reactor.map_err(GatewayError::Resources)?;
        let thread = std::thread::Builder::new().name("io_oi-resp".to_owned());
        let thread = thread.spawn(move || reactor.run()).map_err(GatewayError::Resources)?;
        tracing::info!(%address, "Redis clients are served");
        Ok(Self { address, stop, wake, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Fails only when the counter is full, and then it wakes anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the Redis gateway broke a promise of its own: please report this");
        }
    }
}

fn listen(wanted: SocketAddr, ports_tried: u16) -> Result<(TcpListener, SocketAddr), GatewayError> {
    let mut address = wanted;
    for _ in 1..ports_tried.max(1) {
        match bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < u16::MAX => {
                address.set_port(address.port() + 1);
            }
            bound => return bound.map_err(|error| GatewayError::Listen { address, error }),
        }
    }
    bind(address).map_err(|error| GatewayError::Listen { address, error })
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// What all commands know of the gateway.
pub(crate) struct House {
    socket: PathBuf,
    address: SocketAddr,
    write: WriteAnswer,
    /// Not the password itself: comparing hashes tells nothing by the time it takes.
    password: Option<blake3::Hash>,
    limits: Limits,
    started: Instant,
    random: Cell<u64>,
}

impl House {
    fn new(settings: Settings, address: SocketAddr) -> Self {
        let mut limits = settings.limits;
        limits.clients_max = limits.clients_max.min(descriptors().saturating_sub(DESCRIPTORS_KEPT));
        if limits.clients_max < settings.limits.clients_max {
            let (wanted, clients_max) = (settings.limits.clients_max, limits.clients_max);
            tracing::warn!(wanted, clients_max, "fewer Redis clients are served: raise ulimit -n");
        }
        let seed = rapid_seed(address);
        Self {
            socket: settings.socket,
            address,
            write: settings.write,
            password: settings.password.map(|password| blake3::hash(password.as_bytes())),
            limits,
            started: Instant::now(),
            random: Cell::new(seed),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn write(&self) -> WriteAnswer {
        self.write
    }

    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    pub(crate) fn is_password(&self, password: &[u8]) -> bool {
        self.password.is_some_and(|wanted| wanted == blake3::hash(password))
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether a client from there is served at all: without a password, only this host's.
    fn is_welcome(&self, from: IpAddr) -> bool {
        self.has_password() || from.to_canonical().is_loopback()
    }

    /// A number by chance, good enough to pick a key (xorshift64*).
    pub(crate) fn random(&self) -> u64 {
        let mut word = self.random.get();
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        self.random.set(word);
        word.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn rapid_seed(address: SocketAddr) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64 ^ u64::from(address.port()) << 48) | 1
}

/// How many descriptors this process may have, after raising the limit as far as it may be.
fn descriptors() -> usize {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// For logs, shared memory, and the other clients of the node.
const DESCRIPTORS_KEPT: usize = 512;

/// A number that goes up, or up and down; of one thread.
#[derive(Debug, Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.set(value);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What the gateway did so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connected: Count,
    pub(crate) connections: Count,
    pub(crate) refused_connections: Count,
    pub(crate) evicted: Count,
    pub(crate) commands: Count,
    pub(crate) errors: Count,
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) refused_passwords: Count,
    pub(crate) buffer_bytes: Count,
}

impl Counts {
    pub(crate) fn count_read(&self, is_hit: bool) {
        if is_hit { &self.hits } else { &self.misses }.add(1);
    }
}
