//! A network in memory, for tests and the simulator: endpoints in one thread, datagrams that somebody may touch.
//!
//! Invariant: without a fate set, every datagram arrives once, in order, unchanged.

use crate::io::Io;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

/// One datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it says it comes from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Decides what becomes of a datagram: whatever it pushes arrives, in that order.
pub type Fate = Box<dyn FnMut(Datagram, &mut Vec<Datagram>)>;

/// All cables of one network.
#[derive(Clone, Default)]
pub struct Air(Rc<RefCell<Cables>>);

#[derive(Default)]
struct Cables {
    waiting: HashMap<SocketAddr, VecDeque<Datagram>>,
    fate: Option<Fate>,
    sent: Vec<Datagram>,
    is_recording: bool,
}

impl Air {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// A socket at this address; one that stood there before is deaf from now on.
    pub fn bind(&self, addr: SocketAddr) -> Memory {
        self.0.borrow_mut().waiting.insert(addr, VecDeque::new());
        Memory { air: self.clone(), addr }
    }

    /// From now on this decides about every datagram.
    pub fn set_fate(&self, fate: impl FnMut(Datagram, &mut Vec<Datagram>) + 'static) {
        self.0.borrow_mut().fate = Some(Box::new(fate));
    }

    /// Every datagram arrives again.
    pub fn clear_fate(&self) {
        self.0.borrow_mut().fate = None;
    }

    /// Keeps a copy of everything sent, until `take_recorded`.
    pub fn record(&self) {
        self.0.borrow_mut().is_recording = true;
    }

    /// What was sent since `record`.
    pub fn take_recorded(&self) -> Vec<Datagram> {
        let mut cables = self.0.borrow_mut();
        cables.is_recording = false;
        std::mem::take(&mut cables.sent)
    }

    /// Puts a datagram before a socket without asking the fate: forgeries, replays, spoofed senders.
    pub fn inject(&self, datagram: Datagram) {
        self.0.borrow_mut().deliver(datagram);
    }

    /// What lies before sockets at this moment.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiting.values().map(VecDeque::len).sum()
    }

    fn send(&self, datagram: Datagram) {
        let mut cables = self.0.borrow_mut();
        if cables.is_recording {
            cables.sent.push(datagram.clone());
        }
        let Some(mut fate) = cables.fate.take() else {
            cables.deliver(datagram);
            return;
        };
        let mut arriving = Vec::new();
        fate(datagram, &mut arriving);
        cables.fate = Some(fate);
        for datagram in arriving {
            cables.deliver(datagram);
        }
    }
}

impl Cables {
    fn deliver(&mut self, datagram: Datagram) {
        if let Some(waiting) = self.waiting.get_mut(&datagram.to) {
            waiting.push_back(datagram);
        }
    }
}

/// One socket of an `Air`.
pub struct Memory {
    air: Air,
    addr: SocketAddr,
}

impl Io for Memory {
    fn receive(&mut self, each: &mut dyn FnMut(SocketAddr, &[u8])) -> bool {
        let arrived =
            self.air.0.borrow_mut().waiting.get_mut(&self.addr).map(std::mem::take).unwrap_or_default();
        for datagram in &arrived {
            each(datagram.from, &datagram.bytes);
        }
        !arrived.is_empty()
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_bytes: usize) -> bool {
        for segment in bytes.chunks(segment_bytes.max(1)) {
            self.air.send(Datagram { from: self.addr, to, bytes: segment.to_vec() });
        }
        true
    }

    fn segments_max(&self) -> usize {
        4
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}
