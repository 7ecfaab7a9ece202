//! Whole clusters in an invented world: one seed replays one history.
//!
//! Invariant: nothing here knows the real clock, network or disk; the shard, consensus and log below are the ones that ship.
//!
//! `scenario` says what happens, `world` makes it happen to `node`s (each a shipping machine on a shipping log), `oracle`
//! keeps what was decided, `checkers` hold everything said and shown against it, `story` tells it to people.

#![forbid(unsafe_code)]

mod chain;
mod checkers;
mod client;
mod clock;
mod cluster;
mod disk;
mod hot;
mod judge;
mod liar;
mod network;
mod node;
mod oracle;
mod planted;
mod process;
mod random;
mod scenario;
mod sights;
mod story;
mod wire;
mod world;

pub use checkers::Violation;
pub use planted::Bug;
pub use sights::{Sight, Sights};

use scenario::{Scenario, Wishes};
use story::Story;
use world::World;

/// Which run, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How many nodes the cluster is founded with; the seed decides unless this says.
    pub nodes: Option<usize>,
    /// Whether the clients think long, so that the shard is idle most of the time.
    pub is_idle: bool,
    /// Whether operators seat an arbitrator over every key, and take it away again.
    pub is_judged: bool,
    /// A bug to put in.
    pub bug: Option<Bug>,
    /// How many lines of the history are kept, the newest; 0 for none.
    pub story_lines: usize,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What a checker found, if one did.
    pub violation: Option<Violation>,
    /// How much time went by in the invented world.
    pub simulated_ns: u64,
    /// Records decided.
    pub decided: u64,
    /// Operations of clients.
    pub operations: u64,
    /// What came to pass.
    pub sights: Sights,
    /// The history, if it was asked for.
    pub story: Vec<String>,
}

/// Runs one seed to its end, or to the first violation.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let Options { nodes, is_idle, is_judged, .. } = *options;
    let scenario = Scenario::new(options.seed, &Wishes { nodes, is_idle, is_judged });
    let mut story = if options.story_lines == 0 { Story::untold() } else { Story::told(options.story_lines) };
    tell_scenario(&mut story, &scenario);
    let ended = World::new(scenario, options.seed, options.bug, story).run();
    Outcome {
        seed: options.seed,
        violation: ended.violation,
        simulated_ns: ended.simulated_ns,
        decided: ended.decided,
        operations: ended.operations,
        sights: ended.sights,
        story: ended.story,
    }
}

fn tell_scenario(story: &mut Story, scenario: &Scenario) {
    let Scenario { founders, others, control, verify, clients, .. } = scenario;
    story.tell(
        0,
        format_args!(
            "{founders} nodes, {others} more may join, {control:?} control, verify {verify:?}, {} clients, calm at {}",
            clients.len(),
            story::Moment(scenario.calm_at)
        ),
    );
    for fault in world::in_words(&scenario.faults) {
        story.tell(0, format_args!("planned: {fault}"));
    }
}
