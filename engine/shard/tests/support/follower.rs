//! A follower of three whose leader is whatever a test wants it to be.

use io_oi_record::message::{BlockMessage, Message, SealMessage};
use io_oi_record::*;
use io_oi_shard::{AppendIndex, Effect, Event, LogKind, Machine, Notice};

use super::{CLUSTER, SHARD, config_of, genesis_of, signer};

/// The node under test is the second member; this one leads.
pub fn liar() -> Signer {
    Signer::from_secret(&[40; 32])
}

pub fn other() -> Signer {
    Signer::from_secret(&[41; 32])
}

/// A follower of three, and what it did.
pub struct Follower {
    pub machine: Machine,
    pub now: Now,
    pub sent: Vec<(NodeId, Vec<u8>)>,
    pub appended: Vec<LogKind>,
    pub notices: Vec<Notice>,
    /// What was judged here, and every key that was shown.
    pub judged: Vec<Sequence>,
    pub shown: Vec<Vec<u8>>,
}

impl Follower {
    pub fn new() -> Follower {
        let genesis = genesis_of(&[liar().node(), signer().node(), other().node()]);
        let machine = Machine::new(config_of(1, &genesis)).expect("a sound configuration");
        let now = Now::at(Nanos(1_000_000_000));
        let (sent, appended, notices) = (Vec::new(), Vec::new(), Vec::new());
        let (judged, shown) = (Vec::new(), Vec::new());
        let mut follower = Follower { machine, now, sent, appended, notices, judged, shown };
        follower.machine.start(now);
        follower.drain();
        follower
    }

    /// Performs every effect: the judge here accepts everything, and every flush succeeds at once.
    pub fn drain(&mut self) {
        loop {
            let mut event = None;
            match self.machine.poll_effect() {
                None => break,
                Some(Effect::Judge { sequence, .. }) => {
                    self.judged.push(sequence);
                    event = Some(Event::Judged {
                        sequence,
                        verdict: Verdict::Accept,
                        effects: io_oi_record::Effects::NONE,
                    });
                }
                Some(Effect::Append { index, kind, .. }) => {
                    self.appended.push(kind);
                    event = Some(Event::Durable { through: AppendIndex(index.0) });
                }
                Some(Effect::Publish { record, .. }) => self.shown.push(record.key.to_vec()),
                Some(Effect::Send { to, bytes, .. }) => self.sent.push((to, bytes.to_vec())),
                Some(_) => {}
            }
            if let Some(event) = event {
                self.machine.handle(self.now, event);
            }
        }
        while let Some(notice) = self.machine.poll_notice() {
            self.notices.push(notice);
        }
    }

    pub fn receive(&mut self, message: &Message<'_>) {
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(CLUSTER, SHARD, Epoch(1), &mut bytes).expect("fits");
        self.machine.handle(self.now, Event::Received { from: liar().node(), bytes: &bytes });
        self.drain();
    }

    /// The messages sent lately, of one kind each.
    pub fn heard<T>(&self, pick: impl Fn(Message<'_>) -> Option<T>) -> Vec<T> {
        let decoded = self.sent.iter().filter_map(|(_, bytes)| Message::decode(bytes, CLUSTER, SHARD).ok());
        decoded.filter_map(|(_, message)| pick(message)).collect()
    }

    pub fn acknowledged(&self) -> Sequence {
        let durable = self.heard(|message| match message {
            Message::Ack(ack) => Some(ack.durable),
            _ => None,
        });
        durable.into_iter().max().unwrap_or(Sequence::NONE)
    }
}

pub fn block_message(block: &[u8]) -> Message<'_> {
    let (committed, round) = (Sequence::NONE, Round::FIRST);
    Message::Block(BlockMessage { committed, round, wants_held: false, wants_votes: true, block })
}

pub fn seal_message(header: &BlockHeader) -> Message<'static> {
    Message::Seal(SealMessage {
        last_sequence: header.last_sequence(),
        header_hash: header.hash(),
        signature: liar().sign(header),
    })
}
