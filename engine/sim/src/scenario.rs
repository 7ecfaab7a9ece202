//! What happens to a cluster: everything that one seed decides before the world begins.
//!
//! Invariant: a scenario is a function of its seed and of the few wishes of whoever starts it. It says what happens, never
//! what is right: that is the oracle's.

use io_oi_record::ControlMode;
use io_oi_shard::Verify;

use crate::liar::Lie;
use crate::network::Weather;
use crate::random::Random;

const MS: u64 = 1_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// Whom a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Node(usize),
    /// Whoever leads when it happens, or any node if nobody does.
    Leader,
}

/// Which links are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// These (a bit each) from all others, both ways.
    Halves(u32),
    /// What these say does not reach the others; they hear everything.
    Mouths(u32),
    /// What others say does not reach these.
    Ears(u32),
    /// Two halves that only one node still reaches.
    Bridge(usize),
    /// Each node reaches its two neighbours only.
    Ring,
    /// One node alone with its clients.
    Alone(Who),
}

/// Something that goes wrong, or that somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill {
        who: Who,
        down_ns: u64,
        is_power_cut: bool,
    },
    /// So many steps later, between two effects.
    KillBetween {
        who: Who,
        steps: u64,
        down_ns: u64,
        is_power_cut: bool,
    },
    /// All nodes at once.
    Blackout {
        down_ns: u64,
    },
    Pause {
        who: Who,
        ns: u64,
    },
    Cut {
        cut: Cut,
        ns: u64,
    },
    Clog {
        who: Who,
        ns: u64,
    },
    Storm {
        ns: u64,
    },
    Jump {
        who: Who,
        by_ns: i64,
    },
    SlowDisk {
        who: Who,
        factor: u64,
        ns: u64,
    },
    FullDisk {
        who: Who,
        ns: u64,
    },
    FailFlush {
        who: Who,
        down_ns: u64,
    },
    /// A copy of the disk is put aside.
    Backup {
        who: Who,
    },
    /// The copy is put back in place of what is there, the promise file not.
    RollBack {
        who: Who,
        down_ns: u64,
    },
    /// A bit of the log flips while the node is down.
    Rot {
        who: Who,
        down_ns: u64,
    },
    /// The operator appoints a leader.
    Appoint {
        who: Who,
    },
    /// The operator adds a learner, later promotes it.
    Join {
        promote_after_ns: u64,
    },
    /// The operator seats the arbitrator over every key, or takes it away.
    Seat {
        is_seated: bool,
    },
    /// The operator writes three keys himself, beginning with that write of his.
    Write {
        first: u64,
    },
    /// The operator removes a member.
    Remove {
        who: Who,
    },
}

/// A client at the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) node: usize,
    pub(crate) think_ns: u64,
    pub(crate) patience_ns: u64,
    pub(crate) stays_per_mille: u64,
}

/// Everything that is decided beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) founders: usize,
    pub(crate) others: usize,
    pub(crate) control: ControlMode,
    pub(crate) verify: Verify,
    pub(crate) sessions_max: usize,
    pub(crate) session_window: usize,
    pub(crate) block_records_max: usize,
    pub(crate) weather: Weather,
    pub(crate) storm: Weather,
    /// Drift and first wall-clock error of each node.
    pub(crate) clocks: Vec<(i64, i64)>,
    pub(crate) flush_ns: u64,
    pub(crate) flush_tail: u64,
    pub(crate) keys: u64,
    pub(crate) clients: Vec<ClientPlan>,
    /// A member that lies, and how.
    pub(crate) liar: Option<(usize, Lie)>,
    /// In the order of their time.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// From here on nothing goes wrong any more.
    pub(crate) calm_at: u64,
    /// So long after somebody asked for it something new is decided.
    pub(crate) resumed_within_ns: u64,
}

/// What the one who starts a run may wish.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) nodes: Option<usize>,
    /// Clients that think long: a shard that is idle most of the time.
    pub(crate) is_idle: bool,
    pub(crate) is_judged: bool,
}

/// Draws one fault of a kind.
type Draw = fn(&Scenario, &mut Random) -> Fault;

/// Which kinds of trouble a seed draws from.
#[derive(Clone, Copy, Debug)]
struct Troubles {
    crashes: u64,
    pauses: u64,
    cuts: u64,
    storms: u64,
    clocks: u64,
    disks: u64,
    governance: u64,
}

/// So many times longer the clients of an idle shard think.
const IDLE_THINKS_LONGER: u64 = 25;
/// So much time for a repaired log to become whole before the next one rots.
const ROT_TURN_NS: u64 = 350 * MS;
/// Faults heal, and then this long later something new is decided at the latest.
/// Under strict control an operator may have to appoint another, and takes his time.
const RESUME_NS: u64 = 2_000 * MS;

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn new(seed: u64, wishes: &Wishes) -> Self {
        let mut random = Random::new(seed).fork("scenario");
        let founders = wishes.nodes.unwrap_or_else(|| *random.pick(&[1, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]));
        let others = if founders < 6 { random.below(3) as usize } else { 0 };
        let control = if random.chance(300) { ControlMode::Strict } else { ControlMode::Competitive };
        let verify = *random.pick(&[Verify::All, Verify::All, Verify::All, Verify::Sampled(3), Verify::Off]);
        let troubles = Troubles::some(&mut random);
        let calm_at = random.between(1_000, 4_000) * MS;
        let by_hand_ns = if control == ControlMode::Strict { RESUME_NS } else { 0 };
        let resumed_within_ns = RESUME_NS + by_hand_ns;
        let mut scenario = Self {
            founders,
            others,
            control,
            verify,
            sessions_max: random.between(6, 24) as usize,
            session_window: *random.pick(&[4, 16, 64]),
            block_records_max: *random.pick(&[1, 3, 16, 64]),
            weather: some_weather(&mut random),
            storm: some_storm(&mut random),
            clocks: (0..founders + others).map(|_| some_clock(&mut random)).collect(),
            flush_ns: random.between(20, 800) * 1_000,
            flush_tail: *random.pick(&[2, 10, 50]),
            keys: random.between(1, 6),
            clients: some_clients(founders, &mut random),
            liar: some_liar(founders, &troubles, &mut random),
            faults: Vec::new(),
            calm_at,
            resumed_within_ns,
        };
        scenario.faults = scenario.some_faults(&troubles, &mut random);
        if wishes.is_idle {
            scenario.clients.iter_mut().for_each(|client| client.think_ns *= IDLE_THINKS_LONGER);
        }
        if wishes.is_judged {
            let at = |eighth: u64, is_seated| (scenario.calm_at / 8 * eighth, Fault::Seat { is_seated });
            scenario.faults.extend([at(1, true), at(5, false), at(7, true)]);
            let writes = |eighth: u64| (scenario.calm_at / 8 * eighth, Fault::Write { first: eighth });
            scenario.faults.extend([writes(2), writes(4), writes(6)]);
        }
        scenario.rot_all(&mut Random::new(seed).fork("rot of all"));
        scenario
    }

    /// How many boxes there are, those that join later included.
    pub(crate) fn boxes(&self) -> usize {
        self.founders + self.others
    }

    fn some_faults(&self, troubles: &Troubles, random: &mut Random) -> Vec<(u64, Fault)> {
        let mut faults = Vec::new();
        let kinds: [(u64, Draw); 7] = [
            (troubles.crashes, Self::some_crash),
            (troubles.pauses, Self::some_pause),
            (troubles.cuts, Self::some_cut),
            (troubles.storms, Self::some_storm),
            (troubles.clocks, Self::some_jump),
            (troubles.disks, Self::some_disk_fault),
            (troubles.governance, Self::some_change),
        ];
        for (count, kind) in kinds {
            for _ in 0..count {
                let time = random.below(self.calm_at);
                faults.push((time, kind(self, random)));
            }
        }
        faults.sort_by_key(|(time, _)| *time);
        faults
    }

    /// Now and then every founder's disk rots, one after the other, and then all lose power: as many repaired logs as make a
    /// quorum, or all, start together.
    fn rot_all(&mut self, random: &mut Random) {
        let turns = self.founders as u64 + 1;
        let turn_ns = self.calm_at / (turns + 1);
        if self.founders < 3 || self.liar.is_some() || turn_ns < ROT_TURN_NS || !random.chance(60) {
            return;
        }
        for node in 0..self.founders {
            let time = (node as u64 + 1) * turn_ns;
            let rot = Fault::Rot { who: Who::Node(node), down_ns: random.between(5, 60) * MS };
            self.faults.push((time, rot));
        }
        self.faults.push((turns * turn_ns, Fault::Blackout { down_ns: 60 * MS }));
        self.faults.sort_by_key(|(time, _)| *time);
    }

    fn who(&self, random: &mut Random) -> Who {
        if random.chance(450) { Who::Leader } else { Who::Node(random.index(self.boxes())) }
    }

    fn some_crash(&self, random: &mut Random) -> Fault {
        let who = self.who(random);
        let down_ns = random.between(5, 600) * MS;
        let is_power_cut = random.chance(600);
        match random.below(10) {
            0..4 => Fault::Kill { who, down_ns, is_power_cut },
            4..9 => Fault::KillBetween { who, steps: random.below(400), down_ns, is_power_cut },
            _ => Fault::Blackout { down_ns },
        }
    }

    fn some_pause(&self, random: &mut Random) -> Fault {
        let ms = if random.chance(150) { random.between(1_000, 10_000) } else { random.between(20, 700) };
        Fault::Pause { who: self.who(random), ns: ms * MS }
    }

    fn some_cut(&self, random: &mut Random) -> Fault {
        let some = || 1_u64 << self.boxes();
        let cut = match random.below(10) {
            0..2 => Cut::Halves(random.below(some()) as u32),
            2 => Cut::Mouths(random.below(some()) as u32),
            3 => Cut::Ears(random.below(some()) as u32),
            4 => Cut::Bridge(random.index(self.boxes())),
            5 => Cut::Ring,
            _ => Cut::Alone(self.who(random)),
        };
        Fault::Cut { cut, ns: random.between(50, 1_500) * MS }
    }

    fn some_storm(&self, random: &mut Random) -> Fault {
        let ns = random.between(100, 1_500) * MS;
        if random.chance(500) { Fault::Storm { ns } } else { Fault::Clog { who: self.who(random), ns } }
    }

    fn some_jump(&self, random: &mut Random) -> Fault {
        let far = if random.chance(500) { HOUR_NS } else { 20_000_000_000 };
        let by_ns = if random.chance(500) { far } else { -far };
        Fault::Jump { who: self.who(random), by_ns }
    }

    fn some_disk_fault(&self, random: &mut Random) -> Fault {
        let who = self.who(random);
        let ns = random.between(50, 1_000) * MS;
        match random.below(8) {
            0..3 => Fault::SlowDisk { who, factor: *random.pick(&[10, 100, 10_000]), ns },
            3 => Fault::FullDisk { who, ns },
            4 => Fault::FailFlush { who, down_ns: ns },
            5 => Fault::Backup { who },
            6 => Fault::RollBack { who, down_ns: ns },
            _ => Fault::Rot { who, down_ns: ns },
        }
    }

    fn some_change(&self, random: &mut Random) -> Fault {
        match random.below(6) {
            0..2 => Fault::Join { promote_after_ns: random.between(1, 600) * MS },
            2 => Fault::Remove { who: self.who(random) },
            _ => Fault::Appoint { who: Who::Node(random.index(self.boxes())) },
        }
    }
}

impl Troubles {
    fn some(random: &mut Random) -> Self {
        let mut some = |most: u64| if random.chance(450) { random.between(1, most) } else { 0 };
        Self {
            crashes: some(8),
            pauses: some(4),
            cuts: some(6),
            storms: some(3),
            clocks: some(3),
            disks: some(5),
            governance: some(5),
        }
    }
}

fn some_weather(random: &mut Random) -> Weather {
    match random.below(4) {
        0..2 => Weather::FAIR,
        2 => Weather { delay_ns: 500_000, tail: 20, ..Weather::FAIR },
        _ => Weather { lost_per_mille: 10, repeated_per_mille: 10, keeps_order: false, ..Weather::FAIR },
    }
}

fn some_storm(random: &mut Random) -> Weather {
    Weather {
        delay_ns: random.between(50, 5_000) * 1_000,
        tail: random.between(2, 50),
        lost_per_mille: random.below(300),
        repeated_per_mille: random.below(500),
        keeps_order: random.chance(300),
    }
}

/// Liars live in clusters that can spare one, with honest disks and members that stay.
fn some_liar(founders: usize, troubles: &Troubles, random: &mut Random) -> Option<(usize, Lie)> {
    let can_spare = founders >= 3 && troubles.governance == 0 && troubles.disks == 0;
    let lie = *random.pick(Lie::PROVABLE);
    (can_spare && random.chance(500)).then(|| (random.index(founders), lie))
}

fn some_clock(random: &mut Random) -> (i64, i64) {
    let drift = random.below(401) as i64 - 200;
    let wall_error = random.below(2_000_000_000) as i64 - 1_000_000_000;
    (drift, wall_error)
}

fn some_clients(nodes: usize, random: &mut Random) -> Vec<ClientPlan> {
    let count = random.between(1, 8);
    let hurry = *random.pick(&[2, 6, 12, 20]);
    let plan = |random: &mut Random| ClientPlan {
        node: random.index(nodes),
        think_ns: random.between(1, 20) * MS * hurry / 4,
        patience_ns: random.between(50, 400) * MS,
        stays_per_mille: random.between(200, 900),
    };
    (0..count).map(|_| plan(random)).collect()
}
