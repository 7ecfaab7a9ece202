//! Election and commit among three nodes, every order of every step, to the end of a bounded world.
//!
//! Invariant: the model keeps the rules of PROTOCOL.md and nothing else: logs are durable only after a flush, a crash
//! loses the rest, a message may be lost, late, or delivered twice. Each rule can be taken out, and then the checker
//! must find the history that the rule is there to forbid; so we know that it would have seen one.
//!
//! What stands for what: a block is its epoch, its leader and how often that leader had started, so that two blocks of
//! one place are told apart; a chain is the list of its blocks, as a header's hash names all before it [P-30]. Sent
//! messages stay in the network for ever; a delivery that changes nothing is no step.
//!
//! Steps that nobody can tell apart are one: a claim, a grant or a follower's block that a crash overtakes before its
//! flush was never there, so each is written and flushed at once; only the leader sends before it flushes. A commit
//! changes nobody's state, so it is noted as soon as the acknowledgements for it exist.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

const NODES: usize = 3;
const LOG_MAX: usize = 3;

/// Epoch, leader, and the leader's boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Block {
    epoch: u8,
    leader: u8,
    boot: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Chain {
    blocks: [Block; LOG_MAX],
    len: u8,
}

impl Chain {
    const EMPTY: Chain = Chain { blocks: [Block { epoch: 0, leader: 0, boot: 0 }; LOG_MAX], len: 0 };

    fn blocks(&self) -> &[Block] {
        &self.blocks[..usize::from(self.len)]
    }

    fn push(&mut self, block: Block) {
        self.blocks[usize::from(self.len)] = block;
        self.len += 1;
    }

    fn prefix(&self, len: usize) -> Chain {
        let mut prefix = Chain::EMPTY;
        self.blocks[..len].iter().for_each(|block| prefix.push(*block));
        prefix
    }

    fn starts_with(&self, other: &Chain) -> bool {
        self.blocks().starts_with(other.blocks())
    }

    /// What two logs are compared by: the epoch of the last block, then its place.
    fn tip(&self) -> (u8, u8) {
        (self.blocks().last().map_or(0, |block| block.epoch), self.len)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Following,
    Standing,
    Leading,
}

/// An epoch, and the candidate to whom it is promised.
type Note = (u8, Option<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    role: Role,
    note: Note,
    chain: Chain,
    durable_note: Note,
    durable_chain: Chain,
    boot: u8,
}

impl Node {
    const NEW: Node = Node {
        role: Role::Following,
        note: (0, None),
        chain: Chain::EMPTY,
        durable_note: (0, None),
        durable_chain: Chain::EMPTY,
        boot: 0,
    };

    fn flush(&mut self) {
        self.durable_chain = self.chain;
        self.durable_note = if self.note.1.is_some() { self.note } else { self.durable_note };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Ballot { epoch: u8, candidate: u8, tip: (u8, u8) },
    Grant { epoch: u8, candidate: u8, voter: u8 },
    Blocks { epoch: u8, chain: Chain },
    Ack { epoch: u8, voter: u8, durable: Chain },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    nodes: [Node; NODES],
    network: BTreeSet<Message>,
    crashes_left: u8,
    /// What was ever committed, by whomever.
    committed: Chain,
    /// Somebody committed the contrary.
    is_split: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stand(usize),
    Flush(usize),
    Lead(usize),
    Append(usize),
    Crash(usize),
    Deliver(Message, usize),
}

/// The rule that is taken out of a model to see it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// A grant is sent before its note is flushed.
    GrantFlush,
    /// A node asks for votes, and leads, before its claim is flushed. [P-22]
    ClaimFlush,
    /// A voter grants an epoch to a candidate with an older log.
    TipCheck,
    /// A follower acknowledges what it holds and has not flushed. [P-50]
    AckFlush,
    /// Blocks of older epochs are committed by counting. [P-52]
    EpochOfCommit,
    /// An acknowledgement counts by its length, whatever chain and epoch it was for. [P-50]
    AckIdentity,
    /// A node follows a leader of an epoch lower than it has promised.
    ClosedEpochs,
    /// One of three is a quorum. [P-11]
    Majority,
    /// A voter grants an epoch twice. [P-23]
    OneGrant,
}

struct Group {
    missing: Missing,
    epochs: u8,
    chain_len: u8,
    crashes: u8,
}

impl Group {
    fn quorum(&self) -> usize {
        if self.missing == Missing::Majority { 1 } else { NODES / 2 + 1 }
    }

    /// A node claims an epoch, flushes the claim, and asks for votes. [P-21] [P-22]
    fn stand(&self, world: &mut World, at: usize) -> bool {
        let node = &mut world.nodes[at];
        if node.role != Role::Following || node.note.0 >= self.epochs {
            return false;
        }
        let (epoch, candidate) = (node.note.0 + 1, at as u8);
        node.note = (epoch, Some(candidate));
        node.role = Role::Standing;
        if self.missing != Missing::ClaimFlush {
            node.flush();
        }
        world.network.insert(Message::Ballot { epoch, candidate, tip: node.chain.tip() });
        world.network.insert(Message::Grant { epoch, candidate, voter: candidate });
        true
    }

    /// The leader's blocks become durable with it too: it counts like anybody. [P-50]
    fn flush(&self, world: &mut World, at: usize) -> bool {
        let node = &mut world.nodes[at];
        if node.role != Role::Leading || node.durable_chain == node.chain {
            return false;
        }
        node.flush();
        let (epoch, voter) = (node.note.0, at as u8);
        world.network.insert(Message::Ack { epoch, voter, durable: node.durable_chain });
        true
    }

    /// A quorum has granted the epoch: it begins with a block of its own. [P-24] [P-25]
    fn lead(&self, world: &mut World, at: usize) -> bool {
        let node = world.nodes[at];
        let granted = (0..NODES as u8).filter(|voter| {
            let grant = Message::Grant { epoch: node.note.0, candidate: at as u8, voter: *voter };
            world.network.contains(&grant)
        });
        if node.role != Role::Standing || granted.count() < self.quorum() || node.chain.len >= self.chain_len
        {
            return false;
        }
        world.nodes[at].role = Role::Leading;
        self.append(world, at);
        let node = world.nodes[at];
        for len in 1..usize::from(node.chain.len) {
            world.network.insert(Message::Blocks { epoch: node.note.0, chain: node.chain.prefix(len) });
        }
        true
    }

    /// The leader's next block goes out before it is durable anywhere.
    fn append(&self, world: &mut World, at: usize) -> bool {
        let node = &mut world.nodes[at];
        if node.role != Role::Leading || node.chain.len >= self.chain_len {
            return false;
        }
        let epoch = node.note.0;
        node.chain.push(Block { epoch, leader: at as u8, boot: node.boot });
        world.network.insert(Message::Blocks { epoch, chain: node.chain });
        true
    }

    /// Notes what any leader may commit now.
    fn commit(&self, world: &mut World) {
        for at in 0..NODES {
            let node = world.nodes[at];
            let mut lengths = (1..=usize::from(node.chain.len)).rev();
            let longest =
                lengths.find(|len| node.role == Role::Leading && self.has_quorum(world, &node, *len));
            let Some(len) = longest else { continue };
            let chain = node.chain.prefix(len);
            if chain.starts_with(&world.committed) {
                world.committed = chain;
            } else {
                world.is_split |= !world.committed.starts_with(&chain);
            }
        }
    }

    /// Whether a quorum holds a leader's chain up to `len` durably, its own epoch's block among it. [P-51] [P-52]
    fn has_quorum(&self, world: &World, leader: &Node, len: usize) -> bool {
        let is_of_epoch = leader.chain.blocks()[len - 1].epoch == leader.note.0;
        let counts = |message: &Message| match message {
            Message::Ack { voter, durable, .. } if self.missing == Missing::AckIdentity => {
                (usize::from(durable.len) >= len).then_some(*voter)
            }
            Message::Ack { epoch, voter, durable } => {
                let is_mine = *epoch == leader.note.0 && leader.chain.starts_with(durable);
                (is_mine && usize::from(durable.len) >= len).then_some(*voter)
            }
            _ => None,
        };
        let voters: BTreeSet<u8> = world.network.iter().filter_map(counts).collect();
        (is_of_epoch || self.missing == Missing::EpochOfCommit) && voters.len() >= self.quorum()
    }

    /// What is not durable is gone, and every epoch that the log shows is closed. [P-20]
    fn crash(&self, world: &mut World, at: usize) -> bool {
        let node = &mut world.nodes[at];
        let mut restarted = Node { role: Role::Following, chain: node.durable_chain, ..*node };
        let shown = restarted.chain.tip().0;
        restarted.note = if shown > node.durable_note.0 { (shown, None) } else { node.durable_note };
        if world.crashes_left == 0 || restarted == *node {
            return false;
        }
        *node = Node { boot: node.boot + 1, ..restarted };
        world.crashes_left -= 1;
        true
    }

    /// What a message makes of a node, and what the node answers; nothing if it changes nothing.
    fn deliver(&self, node: Node, message: Message, at: usize) -> Option<(Node, Option<Message>)> {
        match message {
            Message::Ballot { epoch, candidate, tip } => self.vote(node, epoch, candidate, tip, at),
            Message::Blocks { epoch, chain } => self.follow(node, epoch, chain, at),
            // `lead` and `commit` look at these.
            Message::Grant { .. } | Message::Ack { .. } => None,
        }
    }

    /// A voter promises a new epoch to a candidate whose log is not older than its own.
    fn vote(
        &self,
        voter: Node,
        epoch: u8,
        candidate: u8,
        tip: (u8, u8),
        at: usize,
    ) -> Option<(Node, Option<Message>)> {
        let mut node = voter;
        let is_again = self.missing == Missing::OneGrant && epoch == node.note.0;
        let is_open = epoch > node.note.0 || (is_again && node.note.1 != Some(candidate));
        let is_level = tip >= node.chain.tip() || self.missing == Missing::TipCheck;
        if !is_open {
            return None;
        }
        if !is_level {
            // Not granted, but whoever leads or stands in a lower epoch learns that it is over.
            let deposed = Node { role: Role::Following, note: (epoch, None), ..voter };
            return (voter.role != Role::Following).then_some((deposed, None));
        }
        node.note = (epoch, Some(candidate));
        node.role = Role::Following;
        if self.missing != Missing::GrantFlush {
            node.flush();
        }
        Some((node, Some(Message::Grant { epoch, candidate, voter: at as u8 })))
    }

    /// Takes the leader's chain where it differs from the own one, going back to where they part.
    fn follow(&self, follower: Node, epoch: u8, chain: Chain, at: usize) -> Option<(Node, Option<Message>)> {
        let mut node = follower;
        let is_closed = epoch < node.note.0 && self.missing != Missing::ClosedEpochs;
        let is_own = epoch == node.note.0 && node.role == Role::Leading;
        if is_closed || is_own {
            return None;
        }
        if epoch > node.note.0 {
            node.note = (epoch, None);
        }
        node.role = Role::Following;
        if !node.chain.starts_with(&chain) {
            node.chain = chain;
        }
        if node == follower {
            return None;
        }
        if self.missing != Missing::AckFlush {
            node.flush();
        }
        Some((node, Some(Message::Ack { epoch, voter: at as u8, durable: node.chain })))
    }

    /// Nodes are named in the order in which they first do something: the others are renamings of these histories.
    fn is_named(world: &World, at: usize) -> bool {
        at == 0 || world.nodes[at - 1] != Node::NEW
    }
}

impl Model for Group {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            nodes: [Node::NEW; NODES],
            network: BTreeSet::new(),
            crashes_left: self.crashes,
            committed: Chain::EMPTY,
            is_split: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for at in (0..NODES).filter(|at| Group::is_named(world, *at)) {
            steps.extend([
                Step::Stand(at),
                Step::Flush(at),
                Step::Lead(at),
                Step::Append(at),
                Step::Crash(at),
            ]);
            let matters = |message: &&Message| self.deliver(world.nodes[at], **message, at).is_some();
            steps.extend(world.network.iter().filter(matters).map(|message| Step::Deliver(*message, at)));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let is_step = match step {
            Step::Stand(at) => self.stand(&mut next, at),
            Step::Flush(at) => self.flush(&mut next, at),
            Step::Lead(at) => self.lead(&mut next, at),
            Step::Append(at) => self.append(&mut next, at),
            Step::Crash(at) => self.crash(&mut next, at),
            Step::Deliver(message, at) => {
                let heard = self.deliver(world.nodes[at], message, at);
                heard.is_some_and(|(node, answer)| {
                    next.nodes[at] = node;
                    next.network.extend(answer);
                    true
                })
            }
        };
        is_step.then(|| {
            self.commit(&mut next);
            next
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HISTORY, |_, world: &World| !world.is_split),
            Property::always(ONE_CHAIN_PER_EPOCH, |_, world| has_one_chain_per_epoch(world)),
            Property::sometimes("a second leader commits what the first began", |_, world: &World| {
                let epochs: BTreeSet<u8> = world.committed.blocks().iter().map(|block| block.epoch).collect();
                epochs.len() > 1
            }),
            Property::sometimes(
                "a leader is deposed with blocks that nobody else has",
                |_, world: &World| {
                    world.nodes.iter().any(|node| {
                        node.role == Role::Following
                            && !node.chain.starts_with(&world.committed)
                            && node.chain.len > 0
                    })
                },
            ),
        ]
    }
}

const ONE_HISTORY: &str = "no two nodes commit different chains";
const ONE_CHAIN_PER_EPOCH: &str = "nobody signs two blocks for one place of an epoch";

/// Of two chains sent in one epoch, one continues the other. [P-41]
fn has_one_chain_per_epoch(world: &World) -> bool {
    let sent = |message: &Message| match message {
        Message::Blocks { epoch, chain } => Some((*epoch, *chain)),
        _ => None,
    };
    let chains: Vec<(u8, Chain)> = world.network.iter().filter_map(sent).collect();
    chains.iter().enumerate().all(|(at, (epoch, one))| {
        chains[at..]
            .iter()
            .filter(|(other_epoch, _)| other_epoch == epoch)
            .all(|(_, other)| one.starts_with(other) || other.starts_with(one))
    })
}

fn whole(epochs: u8, chain_len: u8, crashes: u8) {
    let group = Group { missing: Missing::Nothing, epochs, chain_len, crashes };
    let checker = group.checker().threads(2).spawn_bfs().join();
    println!(
        "{epochs} epochs, {chain_len} blocks, {crashes} crashes: {} states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done());
    checker.assert_properties();
}

fn bites(missing: Missing, epochs: u8, chain_len: u8, crashes: u8, broken: &'static str) {
    let group = Group { missing, epochs, chain_len, crashes };
    let checker = group.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    assert!(found.contains_key(broken), "{missing:?} was not missed, only {:?}", found.keys());
    println!("{missing:?}: {broken} fails after {} steps", found[broken].clone().into_actions().len());
}

#[test]
fn no_order_of_two_epochs_and_a_crash_splits_the_group() {
    whole(2, 2, 1);
}

#[test]
fn no_order_of_three_epochs_splits_the_group() {
    whole(3, 2, 0);
}

#[test]
fn no_order_in_a_larger_world_splits_the_group() {
    if std::env::var_os("IO_OI_NIGHTLY").is_none() {
        println!("skipped: eleven million states take minutes; set IO_OI_NIGHTLY=1");
        return;
    }
    whole(2, 3, 1);
    whole(3, 3, 0);
}

#[test]
fn every_rule_is_missed_when_it_is_taken_out() {
    bites(Missing::OneGrant, 1, 1, 0, ONE_CHAIN_PER_EPOCH);
    bites(Missing::Majority, 1, 1, 0, ONE_CHAIN_PER_EPOCH);
    bites(Missing::ClaimFlush, 1, 1, 1, ONE_CHAIN_PER_EPOCH);
    bites(Missing::GrantFlush, 1, 1, 1, ONE_CHAIN_PER_EPOCH);
    bites(Missing::TipCheck, 2, 2, 0, ONE_HISTORY);
    bites(Missing::AckFlush, 2, 2, 1, ONE_HISTORY);
    bites(Missing::AckIdentity, 3, 2, 0, ONE_HISTORY);
    bites(Missing::ClosedEpochs, 2, 2, 0, ONE_HISTORY);
    bites(Missing::EpochOfCommit, 4, 2, 0, ONE_HISTORY);
}
