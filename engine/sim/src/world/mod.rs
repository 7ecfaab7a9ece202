//! The invented world: one queue of moments, and everything that happens at them.
//!
//! Invariant: what happens follows from the scenario and its seed. Things of one moment happen in the order in which they
//! were asked for; no hash table, thread or clock of the real world takes part.

mod clients;
mod faults;
mod nodes;
mod operator;
mod trial;

use self::operator::Operator;
use self::trial::Trial;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;

use io_oi_record::{NodeId, Sequence};
use io_oi_shard::PastLost;

use crate::checkers::{Said, Signing, Standing, Violation, Witness};
use crate::client::{Client, Habits};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::disk::Medium;
use crate::liar::{Liar, Lie};
use crate::network::{Network, Weather};
use crate::node::{BUFFER_BYTES, Node, Setup};
use crate::planted::Bug;
use crate::process::Out;
use crate::random::Random;
use crate::scenario::{Fault, Scenario};
use crate::sights::{Sight, Sights};
use crate::story::Story;

/// Something that happens at a moment.
#[derive(Clone, Debug)]
enum What {
    Deliver { to: usize, from: NodeId, bytes: Rc<[u8]> },
    Flush { node: usize, boot: u32 },
    Wake { node: usize, boot: u32 },
    Fetch { node: usize, boot: u32, sequence: Sequence },
    KeepMute { node: usize, boot: u32, past_lost: PastLost },
    Start { node: usize },
    Client { client: usize, turn: u64 },
    Fault { place: usize },
    Follow { after: After },
    Operator,
    Stuck,
    Calm,
    Look,
    Trial,
}

/// What follows a fault some time later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Links,
    Weather,
    Disk { node: usize },
    Promote { node: usize },
}

struct Moment {
    time: u64,
    order: u64,
    what: What,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

/// A whole cluster, its clients, and everything between them.
pub(crate) struct World {
    scenario: Scenario,
    cluster: Cluster,
    setup: Setup,
    time: u64,
    order: u64,
    moments: BinaryHeap<Reverse<Moment>>,
    nodes: Vec<Node>,
    network: Network,
    clients: Vec<Client>,
    witness: Witness,
    story: Story,
    sights: Sights,
    random: Random,
    out: Vec<Out>,
    decided_at_calm: Sequence,
    /// When somebody first wanted something decided in the calm.
    asked_at: Option<u64>,
    happened_in_ms: u64,
    is_quiet: bool,
    quiet_since: u64,
    is_over: bool,
    newest_leader: Option<(io_oi_record::Epoch, usize)>,
    operator: Operator,
    liar: Option<Liar>,
    bug: Option<Bug>,
    /// Who has evidence against whom.
    convicted: BTreeSet<(usize, usize)>,
    trial: Trial,
    /// What each node has heard the liar sign, in each of its boots.
    heard: BTreeMap<(usize, u32), Signing>,
    /// Seals of the liar that came before their blocks, each with the node and its boot.
    early_seals: Vec<((usize, u32), Said)>,
    /// Nodes that have heard the liar contradict itself, each with the boot.
    proven: BTreeSet<(usize, u32)>,
    /// Through where anybody has shown anything as committed, and who did first.
    shown_through: (Sequence, usize),
    /// Who alone may lead under strict control.
    appointed: Option<usize>,
}

/// What a run came to.
pub(crate) struct Ended {
    pub(crate) violation: Option<Violation>,
    pub(crate) simulated_ns: u64,
    pub(crate) story: Vec<String>,
    pub(crate) sights: Sights,
    pub(crate) decided: u64,
    pub(crate) operations: u64,
}

impl World {
    pub(crate) fn new(scenario: Scenario, seed: u64, bug: Option<Bug>, story: Story) -> Self {
        let mut random = Random::new(seed).fork("world");
        let cluster =
            Cluster::new(scenario.founders, scenario.others, scenario.control, random.fork("cluster"));
        let setup = Setup::new(
            scenario.sessions_max,
            scenario.session_window,
            scenario.block_records_max,
            scenario.verify,
        );
        let network = Network::new(scenario.boxes(), scenario.weather, random.fork("network"));
        let node = |(identity, (drift, wall)): (&crate::cluster::Identity, &(i64, i64))| {
            let disk = Medium::new(BUFFER_BYTES, random.fork("disk"));
            Node::new(identity.clone(), Clock::new(*drift, *wall), disk)
        };
        let nodes = cluster.identities.iter().zip(&scenario.clocks).map(node).collect();
        let witness = Witness::of((1 << scenario.founders) - 1);
        let lie = (bug == Some(Bug::FalseAck)).then_some((seed as usize % scenario.founders, Lie::FalseAck));
        let liar =
            lie.or(scenario.liar).map(|(node, lie)| Liar::new(node, lie, scenario.founders, &mut random));
        let mut witness = witness;
        witness.liars = liar.as_ref().map_or(0, |liar| 1 << liar.node);
        let mut world = Self {
            clients: Vec::new(),
            setup,
            time: 0,
            order: 0,
            moments: BinaryHeap::new(),
            nodes,
            network,
            witness,
            story,
            sights: Sights::default(),
            out: Vec::new(),
            decided_at_calm: Sequence::NONE,
            asked_at: None,
            happened_in_ms: 0,
            is_quiet: false,
            quiet_since: 0,
            is_over: false,
            newest_leader: None,
            operator: Operator::default(),
            liar,
            bug,
            convicted: BTreeSet::new(),
            trial: Trial::default(),
            heard: BTreeMap::new(),
            early_seals: Vec::new(),
            proven: BTreeSet::new(),
            shown_through: (Sequence::NONE, 0),
            appointed: Some(0),
            cluster,
            random,
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.scenario.founders {
            self.nodes[node].is_in_use = true;
            let late = self.random.below(2_000_000);
            self.at(late, What::Start { node });
        }
        for (number, plan) in self.scenario.clients.clone().into_iter().enumerate() {
            let habits = Habits {
                think_ns: plan.think_ns,
                patience_ns: plan.patience_ns,
                keys: self.scenario.keys,
                stays_per_mille: plan.stays_per_mille,
            };
            let random = self.random.fork("client");
            self.clients.push(Client::new(number as u64, plan.node, habits, random));
            let late = self.random.below(50_000_000);
            self.at(late, What::Client { client: number, turn: 0 });
        }
        for place in 0..self.scenario.faults.len() {
            self.at(self.scenario.faults[place].0, What::Fault { place });
        }
        self.at(self.scenario.calm_at, What::Calm);
        self.at(self.scenario.calm_at + STUCK_NS, What::Stuck);
        self.at(self.scenario.calm_at + CALM_NS, What::Look);
    }

    /// Runs until the end, or until a checker finds something.
    pub(crate) fn run(mut self) -> Ended {
        while self.witness.violation().is_none() && !self.is_over {
            let Reverse(moment) = self.moments.pop().expect("there is always somebody who looks again");
            self.count(moment.time);
            self.time = moment.time;
            self.happen(moment.what);
        }
        self.tell_nodes();
        let violation = self.witness.take_violation();
        if let Some(violation) = &violation {
            self.story
                .tell(self.time, format_args!("VIOLATION of `{}`: {}", violation.checker, violation.what));
        }
        Ended {
            violation,
            simulated_ns: self.time,
            sights: self.sights,
            decided: self.witness.truth.through().0,
            operations: self.witness.history.len() as u64,
            story: self.story.into_lines(),
        }
    }

    /// Where everybody stands when the story ends.
    fn tell_nodes(&mut self) {
        if !self.story.is_heard() {
            return;
        }
        for (node, it) in self.nodes.iter().enumerate() {
            let Some(process) = &it.process else {
                self.story.tell(self.time, format_args!("n{node} is down"));
                continue;
            };
            let status = process.machine.status();
            let (ready, idle, waiting) =
                (process.machine.is_ready(), process.machine.is_idle(), process.inbox.len());
            self.story.tell(
                self.time,
                format_args!(
                    "n{node} is {:?} in e{}, tip {}, committed {}, certified {}, mute {:?}, ready {ready}, idle {idle}, {waiting} wait",
                    status.role, status.epoch, status.tip, status.committed, status.certified, status.mute
                ),
            );
        }
    }

    /// A world in which more and more happens in less and less time never ends.
    fn count(&mut self, time: u64) {
        self.happened_in_ms = if time / MS == self.time / MS { self.happened_in_ms + 1 } else { 0 };
        if self.happened_in_ms > HAPPENS_IN_MS_MAX {
            let what = format!("{HAPPENS_IN_MS_MAX} things happened within one millisecond");
            self.witness.note(time, "progress", Err(what));
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { to, from, bytes } => self.deliver(to, from, bytes),
            What::Flush { node, boot } => self.flush(node, boot),
            What::Wake { node, boot } => self.wake(node, boot),
            What::Fetch { node, boot, sequence } => self.fetch(node, boot, sequence),
            What::KeepMute { node, boot, past_lost } => self.keep_mute(node, boot, past_lost),
            What::Start { node } => self.start(node),
            What::Client { client, turn } if self.clients[client].turn == turn => self.client(client),
            What::Client { .. } => {}
            What::Fault { place } => self.fault(self.scenario.faults[place].1),
            What::Follow { after } => self.follow(after),
            What::Operator => self.operate(),
            What::Stuck => self.appoint_another(),
            What::Calm => self.calm(),
            What::Look => self.look(),
            What::Trial => self.judge_trial(),
        }
    }

    /// Asks for something at a later moment.
    fn at(&mut self, time: u64, what: What) {
        self.order += 1;
        self.moments.push(Reverse(Moment { time: time.max(self.time), order: self.order, what }));
    }

    /// In the calm: first something new has to be decided, then everybody has to have everything. As soon as that is so
    /// the run is over, and when it takes too long.
    fn look(&mut self) {
        let has_resumed = self.witness.truth.through() > self.decided_at_calm;
        if !self.is_quiet {
            let waited_ns = self.asked_at.map_or(0, |asked_at| self.time - asked_at);
            if waited_ns >= self.scenario.resumed_within_ns {
                self.witness.resumed(self.time, self.decided_at_calm, waited_ns);
            }
            if has_resumed {
                self.story.tell(self.time, format_args!("quiet from here on"));
                self.is_quiet = true;
                self.quiet_since = self.time;
            }
        } else {
            let waited_ns = self.time - self.quiet_since;
            if waited_ns >= LEVEL_NS_MAX || waited_ns >= LEVEL_NS_MIN && self.is_level() {
                self.end();
                self.is_over = true;
            }
        }
        self.at(self.time + LOOK_NS, What::Look);
    }

    fn is_level(&self) -> bool {
        let through = self.witness.truth.through();
        let mut standings = (0..self.nodes.len()).map(|node| self.standing(node));
        let is_level = standings.all(|it| !it.is_expected || it.is_up && it.committed == through);
        is_level && self.ignorant().is_empty() && self.clients.iter().all(|client| client.pending.is_none())
    }

    fn end(&mut self) {
        let standings: Vec<Standing> = (0..self.nodes.len()).map(|node| self.standing(node)).collect();
        for node in 0..self.nodes.len() {
            if let Some(process) = &self.nodes[node].process {
                let committed = process.machine.committed();
                let (sequence, hash) = process.machine.status().state_hash;
                self.witness.state_hash(self.time, node, sequence, hash);
                self.witness.shows_at_end(self.time, node, &process.hot, committed);
                if process.machine.session_counts().1 > 0 {
                    self.sights.see(Sight::Eviction);
                }
                let mute = process.machine.status().mute;
                let it = &self.nodes[node];
                let is_right = mute.is_some() == it.is_rolled_back || it.has_left || self.is_liar(node);
                self.witness.silence(self.time, node, is_right, &format!("{mute:?}"));
            }
        }
        let waiting: Vec<String> = self.clients.iter().filter_map(Client::waits_for).collect();
        self.check_conviction();
        self.witness.ended(self.time, &standings, &waiting);
    }

    /// Whoever lied provably is convicted on every honest node.
    fn check_conviction(&mut self) {
        for (node, liar) in self.ignorant() {
            self.witness.convicted(self.time, node, liar, false);
        }
    }

    /// Honest nodes that do not bar a member that lied provably, each with the liar. Whoever has heard both statements since
    /// it booted has to, and as soon as one honest node does, all of them: what reached nobody, or was lost with everybody
    /// who knew it, proves nothing to anybody.
    fn ignorant(&self) -> Vec<(usize, usize)> {
        let Some(liar) = self.liar.as_ref().filter(|liar| liar.has_left_proof()) else { return Vec::new() };
        let accused = self.nodes[liar.node].identity.node;
        let bars = |node: usize| {
            self.nodes[node].process.as_ref().is_some_and(|process| process.machine.is_barred(accused))
        };
        let honest = (0..self.nodes.len()).filter(|node| self.standing(*node).is_expected);
        let honest: Vec<usize> = honest.collect();
        let is_known = honest.iter().any(|node| bars(*node));
        let has_to = |node: &usize| is_known || self.proven.contains(&(*node, self.nodes[*node].boot));
        let ignorant = honest.into_iter().filter(|node| has_to(node) && !bars(*node));
        ignorant.map(|node| (node, liar.node)).collect()
    }

    fn standing(&self, node: usize) -> Standing {
        let it = &self.nodes[node];
        let is_expected = it.is_in_use && !it.is_rolled_back && !it.has_left && !self.is_liar(node);
        let process = self.nodes[node].process.as_ref();
        let committed = process.map_or(Sequence::NONE, |process| process.machine.committed());
        Standing { node, is_expected, is_up: process.is_some(), committed }
    }

    fn is_liar(&self, node: usize) -> bool {
        self.liar.as_ref().is_some_and(|liar| liar.node == node)
    }

    /// Who leads by its own word, the newest epoch first.
    fn leader(&self) -> Option<usize> {
        let leads =
            |node: &usize| self.nodes[*node].process.as_ref().is_some_and(|it| it.machine.is_leading());
        let epoch = |node: &usize| self.nodes[*node].process.as_ref().map(|it| it.machine.epoch());
        (0..self.nodes.len()).filter(leads).max_by_key(epoch)
    }

    fn calm(&mut self) {
        self.story.tell(self.time, format_args!("calm from here on"));
        self.network.heal();
        self.network.set_weather(Weather::FAIR);
        self.decided_at_calm = self.witness.truth.through();
        for node in 0..self.nodes.len() {
            self.mend(node);
        }
        self.appoint_somebody();
        self.asked_at = self.is_asked().then_some(self.time);
    }
}

/// So long after the last fault the operator of a cluster under strict control looks whether its leader leads.
const STUCK_NS: u64 = 600 * MS;
const MS: u64 = 1_000_000;
/// The calm lasts at least so long, is looked at so often, and the quiet at its end lasts so long.
const CALM_NS: u64 = 400 * MS;
const LOOK_NS: u64 = 50 * MS;
const LEVEL_NS_MIN: u64 = 100 * MS;
const LEVEL_NS_MAX: u64 = 2_000 * MS;
/// Far more than any cluster of seven does in a millisecond.
const HAPPENS_IN_MS_MAX: u64 = 50_000;

/// The faults of a scenario in words, for its story.
pub(crate) fn in_words(faults: &[(u64, Fault)]) -> impl Iterator<Item = String> + '_ {
    faults.iter().map(|(time, fault)| format!("{} {fault:?}", crate::story::Moment(*time)))
}
