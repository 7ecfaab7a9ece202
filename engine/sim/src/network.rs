//! The network between the nodes: when a message arrives, how often, and whether at all.
//!
//! Invariant: a message that goes into a cut link never arrives. What arrives is what was sent: the real links are
//! encrypted and checked, a flipped bit is a lost message there.

use io_oi_shard::Lane;

use crate::random::Random;

/// How links behave while nobody cuts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Typical time on the way.
    pub(crate) delay_ns: u64,
    /// How many times longer it may take now and then.
    pub(crate) tail: u64,
    /// Of a thousand messages, how many are lost.
    pub(crate) lost_per_mille: u64,
    /// Of a thousand messages, how many arrive twice or more.
    pub(crate) repeated_per_mille: u64,
    /// Whether messages of one lane keep their order, as on a healthy stream.
    pub(crate) keeps_order: bool,
}

impl Weather {
    /// A healthy rack.
    pub(crate) const FAIR: Self =
        Self { delay_ns: 40_000, tail: 4, lost_per_mille: 0, repeated_per_mille: 0, keeps_order: true };
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    is_cut: bool,
    clogged_until: u64,
    newest_arrival: [u64; 2],
}

/// Every directed link of the cluster.
#[derive(Debug)]
pub(crate) struct Network {
    count: usize,
    links: Vec<Link>,
    weather: Weather,
    random: Random,
}

impl Network {
    pub(crate) fn new(count: usize, weather: Weather, random: Random) -> Self {
        Self { count, links: vec![Link::default(); count * count], weather, random }
    }

    pub(crate) fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts or mends one direction.
    pub(crate) fn cut(&mut self, from: usize, to: usize, is_cut: bool) {
        self.link(from, to).is_cut = is_cut;
    }

    /// Holds everything back on one direction until then; nothing is lost.
    pub(crate) fn clog(&mut self, from: usize, to: usize, until: u64) {
        self.link(from, to).clogged_until = until;
    }

    /// Mends every link.
    pub(crate) fn heal(&mut self) {
        for link in &mut self.links {
            link.is_cut = false;
            link.clogged_until = 0;
        }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.count + to].is_cut
    }

    /// The longest that a message is on its way in this weather, if every one arrives, once and in order.
    pub(crate) fn delay_ns_max(&self) -> Option<u64> {
        let Weather { delay_ns, tail, lost_per_mille, repeated_per_mille, keeps_order } = self.weather;
        let is_healthy = lost_per_mille == 0 && repeated_per_mille == 0 && keeps_order;
        let are_open = self.links.iter().all(|link| !link.is_cut);
        (is_healthy && are_open).then_some((delay_ns / 2 + delay_ns) * tail.max(1) + ORDERED_NS)
    }

    /// When a message sent now arrives: never, once, or several times.
    pub(crate) fn arrivals(&mut self, time: u64, from: usize, to: usize, lane: Lane) -> Arrivals {
        let weather = self.weather;
        let mut arrivals = Arrivals::default();
        if self.is_cut(from, to) || self.random.chance(weather.lost_per_mille) {
            return arrivals;
        }
        arrivals.push(self.arrival(time, from, to, lane));
        while arrivals.count < ARRIVALS_MAX && self.random.chance(weather.repeated_per_mille) {
            // A copy may come much later: an old message that somebody plays again.
            let late = if self.random.chance(100) { 300_000_000 } else { 20 * weather.delay_ns };
            let at = time + weather.delay_ns + self.random.below(late + 1);
            arrivals.push(at);
        }
        arrivals
    }

    fn arrival(&mut self, time: u64, from: usize, to: usize, lane: Lane) -> u64 {
        let weather = self.weather;
        let at = time + self.random.latency(weather.delay_ns, weather.tail);
        let link = self.link(from, to);
        let mut at = at.max(link.clogged_until);
        if weather.keeps_order {
            let newest = &mut link.newest_arrival[lane as usize];
            at = at.max(*newest + 1);
            *newest = at;
        }
        at
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.count + to]
    }
}

const ARRIVALS_MAX: usize = 3;
/// Messages of one moment arrive one after the other.
const ORDERED_NS: u64 = 1_000;

/// A few moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrivals {
    at: [u64; ARRIVALS_MAX],
    count: usize,
}

impl Arrivals {
    fn push(&mut self, at: u64) {
        self.at[self.count] = at;
        self.count += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.at[..self.count].iter().copied()
    }
}
