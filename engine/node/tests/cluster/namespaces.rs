//! One network namespace for each node, joined by a bridge in one more.
//!
//! A cut in one direction gives the sender a hardware address for its peer that nobody has: the frame leaves and is
//! lost, and no socket hears of it. That needs neither a packet filter nor a traffic shaper.
//!
//! Invariant: names carry the process that made them; what a killed test left behind is removed by the next one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The namespaces of one cluster; removed when dropped.
pub(crate) struct Namespaces {
    prefix: String,
    places: usize,
}

impl Namespaces {
    /// One namespace a place and the switch between them, or why that is not possible here.
    pub(crate) fn make(places: usize) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("they need root".to_owned());
        }
        remove_leftovers();
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let made = Self { prefix: format!("{NAME}-{}-{count}", std::process::id()), places };
        made.build()?;
        Ok(made)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        (0..self.places).try_for_each(|place| self.join(place))?;
        for from in 0..self.places {
            for to in (0..self.places).filter(|to| *to != from) {
                self.set_neighbour(from, to, &hardware_address(to))?;
            }
        }
        Ok(())
    }

    /// A namespace and its cable.
    fn join(&self, place: usize) -> Result<(), String> {
        let (name, switch) = (self.name(place), self.switch());
        let (hardware, port) = (hardware_address(place), format!("port{place}"));
        ip(&["netns", "add", &name])?;
        ip(&[
            "link", "add", "eth0", "netns", &name, "address", &hardware, "type", "veth", "peer", "name",
            &port, "netns", &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{}/24", self.address(place)), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    pub(crate) fn address(&self, place: usize) -> IpAddr {
        assert!(place < self.places);
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1 + place as u8))
    }

    /// The file that stands for the namespace.
    pub(crate) fn path(&self, place: usize) -> PathBuf {
        assert!(place < self.places);
        Path::new(REGISTER).join(self.name(place))
    }

    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.set_neighbour(from, to, NOBODY).unwrap();
    }

    pub(crate) fn mend(&self, from: usize, to: usize) {
        self.set_neighbour(from, to, &hardware_address(to)).unwrap();
    }

    fn set_neighbour(&self, from: usize, to: usize, hardware: &str) -> Result<(), String> {
        let (name, address) = (self.name(from), self.address(to).to_string());
        ip(&[
            "-n",
            &name,
            "neigh",
            "replace",
            &address,
            "lladdr",
            hardware,
            "nud",
            "permanent",
            "dev",
            "eth0",
        ])
    }

    fn name(&self, place: usize) -> String {
        format!("{}-n{place}", self.prefix)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.places).map(|place| self.name(place)).chain([self.switch()]) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A frame to this address reaches no interface.
const NOBODY: &str = "02:10:01:ff:ff:ff";
const NAME: &str = "io_oi-test";
const REGISTER: &str = "/run/netns";

fn hardware_address(place: usize) -> String {
    format!("02:10:01:00:00:{:02x}", 1 + place)
}

/// Namespaces of tests that were killed before they could remove them.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(REGISTER) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(&format!("{NAME}-")).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|digits| digits.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::Namespaces;
    use crate::support::enter_network_namespace;

    /// A socket inside a place; a thread of its own has to go there for it.
    fn socket_at(namespaces: &Namespaces, place: usize) -> UdpSocket {
        let (path, address) = (namespaces.path(place), namespaces.address(place));
        let bound = std::thread::spawn(move || {
            enter_network_namespace(&path);
            UdpSocket::bind((address, 7_000)).unwrap()
        });
        let socket = bound.join().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    #[test]
    fn a_cut_between_namespaces_is_one_way_silent_and_mended() {
        let namespaces = match Namespaces::make(3) {
            Ok(namespaces) => namespaces,
            Err(reason) => return println!("skipped: no network namespaces: {reason}"),
        };
        let sockets: Vec<UdpSocket> = (0..3).map(|place| socket_at(&namespaces, place)).collect();
        let mut buffer = [0; 64];
        let say = |from: usize, to: usize, word: &str| {
            sockets[from].send_to(word.as_bytes(), (namespaces.address(to), 7_000)).unwrap();
        };
        namespaces.cut(0, 1);
        say(0, 1, "lost");
        say(0, 2, "kept");
        say(1, 0, "back");
        assert_eq!(sockets[2].recv_from(&mut buffer).unwrap().0, 4);
        let (_, source) = sockets[0].recv_from(&mut buffer).unwrap();
        assert_eq!(source.ip(), namespaces.address(1));
        namespaces.mend(0, 1);
        say(0, 1, "after");
        assert_eq!(sockets[1].recv_from(&mut buffer).unwrap().0, 5, "what was cut stays lost");
    }
}
