//! The Redis gateway as a part of the node: its settings, and its start.
//!
//! Invariant: the gateway is a client like any other; the node gives it nothing but its socket's path.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use io_oi_resp::{Gateway, GatewayError, Limits, Settings, WriteAnswer};
use serde::Deserialize;

/// The `[resp]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RespConfig {
    /// Where Redis clients connect (TCP). None are served when absent.
    pub address: Option<SocketAddr>,
    /// Ports that are tried from that one on, while they are taken.
    pub ports_tried: u16,
    /// When a write is answered.
    pub write: RespWrite,
    /// What `AUTH` wants to hear. Without one, only clients of this host are served.
    pub password: Option<Password>,
    /// Most connections at a time.
    pub clients_max: usize,
    /// Most bytes of answers that wait for one client to take them.
    pub output_bytes_max: usize,
    /// Most bytes of requests and answers over all clients.
    pub memory_bytes_max: usize,
    /// A silent client is disconnected after so many seconds; 0: never.
    pub idle_s: u64,
}

/// When a write of a Redis client is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RespWrite {
    /// When a quorum has flushed it.
    #[default]
    Committed,
    /// When it is visible on this box.
    Local,
}

/// A word that no log shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Default for RespConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            address: None,
            ports_tried: 1,
            write: RespWrite::Committed,
            password: None,
            clients_max: limits.clients_max,
            output_bytes_max: limits.output_bytes_max,
            memory_bytes_max: limits.memory_bytes_max,
            idle_s: 0,
        }
    }
}

impl RespConfig {
    /// The key that is out of bounds, and the bounds.
    pub(crate) fn broken_bounds(&self) -> Option<(&'static str, &'static str)> {
        let is_password = self.password.as_ref().is_none_or(|password| !password.0.is_empty());
        let broken = [
            ("resp.ports_tried", self.ports_tried >= 1, "1 or more"),
            ("resp.password", is_password, "must not be empty: leave the key out to have none"),
            ("resp.clients_max", (1..=1 << 20).contains(&self.clients_max), "1 to 1048576"),
            (
                "resp.output_bytes_max",
                (1 << 20..=1 << 30).contains(&self.output_bytes_max),
                "1048576 to 1073741824",
            ),
            ("resp.memory_bytes_max", self.memory_bytes_max >= 8 << 20, "at least 8388608"),
            ("resp.idle_s", self.idle_s <= 31_536_000, "at most 31536000 (a year)"),
        ];
        broken.into_iter().find(|(_, ok, _)| !ok).map(|(key, _, text)| (key, text))
    }

    /// Serves Redis clients, if an address is set.
    pub(crate) fn open(&self, socket: &Path) -> Result<Option<Gateway>, GatewayError> {
        let Some(address) = self.address else { return Ok(None) };
        let write = match self.write {
            RespWrite::Committed => WriteAnswer::Committed,
            RespWrite::Local => WriteAnswer::Local,
        };
        let limits = Limits {
            clients_max: self.clients_max,
            output_bytes_max: self.output_bytes_max,
            memory_bytes_max: self.memory_bytes_max,
            idle_max: (self.idle_s > 0).then(|| Duration::from_secs(self.idle_s)),
            ..Limits::default()
        };
        let (ports_tried, socket) = (self.ports_tried, socket.to_owned());
        let password = self.password.as_ref().map(|password| password.0.clone());
        Gateway::start(Settings { address, ports_tried, socket, write, password, limits }).map(Some)
    }
}
