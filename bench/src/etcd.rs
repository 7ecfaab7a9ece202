//! etcd as Debian ships it: three members on loopback, spoken to in its own gRPC, at its leader.
//!
//! Invariant: an acknowledged put is one that etcd answered with a revision, which it does once a quorum has flushed it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::grpc::{Call, Channel};
use crate::load::{Answered, Subject};

/// A running cluster and a connection to its leader.
pub(crate) struct Etcd {
    channel: Channel,
    open: Vec<(Call, u64)>,
    version: String,
    members: Members,
}

struct Members(Vec<Child>);

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only when the child is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether it is installed, as `etcd --version` says.
pub(crate) fn installed() -> Option<String> {
    let said = Command::new("etcd").arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.lines().next().map(|line| line.trim_start_matches("etcd Version: ").to_owned())
}

impl Etcd {
    /// Starts three members in `dir` and waits for their leader.
    pub(crate) fn start(dir: &Path, version: String) -> io::Result<Self> {
        let ports = free_ports(2 * MEMBERS)?;
        let (peers, clients) = ports.split_at(MEMBERS);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> =
            peers.iter().enumerate().map(|(index, port)| format!("m{index}={}", url(port))).collect();
        let mut members = Members(Vec::new());
        for index in 0..MEMBERS {
            let (peer, client) = (url(&peers[index]), url(&clients[index]));
            let log = std::fs::File::create(dir.join(format!("etcd-{index}.log")))?;
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("m{index}"), "--data-dir"])
                .arg(dir.join(format!("etcd-{index}")));
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
            command.args(["--log-level", "error"]);
            members.0.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        }
        let addresses: Vec<SocketAddr> = clients.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let channel = leader_of(&addresses)?;
        Ok(Self { channel, open: Vec::new(), version, members })
    }

    /// One call that etcd answers from memory, without its quorum: what this client and its transport cost.
    pub(crate) fn round_trip(&mut self) -> io::Result<Duration> {
        let mut message = Vec::new();
        field(&mut message, RANGE_KEY, b"nowhere");
        message.extend_from_slice(&[RANGE_SERIALIZABLE << 3, 1]);
        let began = Instant::now();
        self.channel.ask("/etcdserverpb.KV/Range", &message)?;
        Ok(began.elapsed())
    }

    /// As it names itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Member processes.
    pub(crate) fn count(&self) -> usize {
        self.members.0.len()
    }
}

impl Subject for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn put(&mut self, ticket: u64, key: &[u8], value: &[u8]) -> io::Result<bool> {
        let mut message = Vec::with_capacity(key.len() + value.len() + 8);
        field(&mut message, PUT_KEY, key);
        field(&mut message, PUT_VALUE, value);
        let call = self.channel.call("/etcdserverpb.KV/Put", &message)?;
        self.open.push((call, ticket));
        Ok(true)
    }

    fn send(&mut self) -> io::Result<()> {
        self.channel.flush()
    }

    fn collect(&mut self, answered: &mut Answered<'_>) -> io::Result<()> {
        let open = &mut self.open;
        self.channel.receive(&mut |call, answer| {
            if let Some(at) = open.iter().position(|(asked, _)| *asked == call) {
                let (_, ticket) = open.swap_remove(at);
                answered(ticket, answer.is_some_and(|answer| revision_of(answer) > 0));
            }
        })
    }

    fn read_back(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        field(&mut message, RANGE_KEY, key);
        let answer = self.channel.ask("/etcdserverpb.KV/Range", &message)?;
        let pair = fields(&answer).find(|(number, _)| *number == RANGE_KVS).map(|(_, pair)| pair);
        Ok(pair.and_then(|pair| {
            fields(pair).find(|(number, _)| *number == KV_VALUE).map(|(_, value)| value.to_vec())
        }))
    }
}

/// Asks every member who leads until one says: "I do".
fn leader_of(addresses: &[SocketAddr]) -> io::Result<Channel> {
    let end = Instant::now() + START_MAX;
    while Instant::now() < end {
        for address in addresses {
            let Ok(mut channel) = Channel::connect(*address) else { continue };
            let Ok(status) = channel.ask("/etcdserverpb.Maintenance/Status", &[]) else { continue };
            let header =
                fields(&status).find(|(number, _)| *number == HEADER).map_or(&[][..], |(_, bytes)| bytes);
            let own = varints(header).find(|(number, _)| *number == HEADER_MEMBER);
            let leader = varints(&status).find(|(number, _)| *number == STATUS_LEADER);
            if let (Some((_, own)), Some((_, leader))) = (own, leader)
                && own == leader
                && own != 0
            {
                return Ok(channel);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!("no leader within {} s", START_MAX.as_secs())))
}

/// Ports that nobody has at this moment.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn revision_of(answer: &[u8]) -> u64 {
    let header = fields(answer).find(|(number, _)| *number == HEADER).map_or(&[][..], |(_, bytes)| bytes);
    varints(header).find(|(number, _)| *number == HEADER_REVISION).map_or(0, |(_, revision)| revision)
}

/// One field of bytes in protobuf's encoding.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

enum Found<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Every field of a message, as far as it can be read.
fn walk(mut message: &[u8]) -> impl Iterator<Item = (u8, Found<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut message)?;
        let found = match tag & 7 {
            0 => Found::Number(varint(&mut message)?),
            1 => Found::Bytes(message.split_off(..8)?),
            2 => {
                let length = varint(&mut message)? as usize;
                Found::Bytes(message.split_off(..length)?)
            }
            5 => Found::Bytes(message.split_off(..4)?),
            _ => return None,
        };
        Some(((tag >> 3) as u8, found))
    })
}

fn fields(message: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    walk(message).filter_map(|(number, found)| match found {
        Found::Bytes(bytes) => Some((number, bytes)),
        Found::Number(_) => None,
    })
}

fn varints(message: &[u8]) -> impl Iterator<Item = (u8, u64)> {
    walk(message).filter_map(|(number, found)| match found {
        Found::Number(value) => Some((number, value)),
        Found::Bytes(_) => None,
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const MEMBERS: usize = 3;
const START_MAX: Duration = Duration::from_secs(30);

// Field numbers of etcd's rpc.proto and kv.proto.
const PUT_KEY: u8 = 1;
const PUT_VALUE: u8 = 2;
const RANGE_KEY: u8 = 1;
const RANGE_SERIALIZABLE: u8 = 7;
const RANGE_KVS: u8 = 2;
const KV_VALUE: u8 = 5;
const HEADER: u8 = 1;
const HEADER_MEMBER: u8 = 2;
const HEADER_REVISION: u8 = 3;
const STATUS_LEADER: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_and_found_again() {
        let mut message = Vec::new();
        field(&mut message, 1, b"key");
        field(&mut message, 5, &[7; 300]);
        message.extend_from_slice(&[3 << 3, 0xac, 0x02]);
        let found: Vec<(u8, usize)> = fields(&message).map(|(number, bytes)| (number, bytes.len())).collect();
        assert_eq!(found, [(1, 3), (5, 300)]);
        assert_eq!(varints(&message).collect::<Vec<_>>(), [(3, 300)]);
    }

    #[test]
    fn a_cut_message_ends_the_walk() {
        assert_eq!(fields(&[10, 200, 1, 2]).count(), 0);
        assert_eq!(varints(&[0xff; 20]).count(), 0);
    }

    #[test]
    fn a_real_etcd_keeps_what_it_acknowledged() {
        let Some(version) = installed() else {
            println!("skipped: etcd is not installed (apt-get install etcd-server)");
            return;
        };
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut etcd = Etcd::start(dir.path(), version).unwrap();
        let mut row = crate::load::Row::default();
        // The last is more than the server's window takes at once.
        for (in_flight, count) in [(1, 50), (8, 50), (400, 800)] {
            let turn =
                crate::load::Turn { in_flight, count, length: Duration::from_secs(60), payload_bytes: 256 };
            row.turn(&mut etcd, &turn, in_flight as u64).unwrap();
        }
        assert_eq!((row.count(), row.errors), (900, 0));
        assert_eq!(etcd.read_back(b"rival/nothing").unwrap(), None);
        etcd.round_trip().unwrap();
    }
}
