//! The judges of one shard: an instance of every admitted component, on the shard's own core.
//!
//! Invariant: a sealed judge's instance is made when its component is admitted, and its decisions allocate nothing; what a
//! judge is told comes from the log and from what the log has made of the hot tier.

use io_oi_arbitrator::limits::SEATED_STATE_BYTES_MAX;
use io_oi_arbitrator::sdk::{Context, ReadSet};
use io_oi_arbitrator::{Answer, FaultCounts, GeneralJudge, Judge, Manifest};
use io_oi_record::limits::EFFECTS_BYTES_MAX;
use io_oi_record::{Effects, Hash, RefusalCode, Verdict};
use io_oi_shard::hearing::{Arbiter, Case, Cells, Hearing, Part, Said};
use io_oi_shard::{Seated, Seating, Sitting};

use super::refusals::Refusals;
use crate::court::{Admitted, Looked};

/// An admitted component as the shard's machine asks it.
#[derive(Debug)]
pub(super) struct Asked {
    judge: Tiered,
    fuel_used: u64,
}

/// The judge of one core, in its tier.
#[derive(Debug)]
enum Tiered {
    Sealed(Box<Judge>),
    General(Box<GeneralJudge>),
}

impl Asked {
    /// A judge of it for this core.
    fn new(admitted: &Admitted) -> Asked {
        let judge = match admitted {
            Admitted::Sealed(arbitrator) => Tiered::Sealed(Box::new(arbitrator.judge())),
            Admitted::General(judge) => Tiered::General(Box::new(judge.sibling())),
        };
        Asked { judge, fuel_used: 0 }
    }

    fn manifest(&self) -> &Manifest {
        match &self.judge {
            Tiered::Sealed(judge) => judge.manifest(),
            Tiered::General(judge) => judge.manifest(),
        }
    }

    /// Which faults happened here.
    pub(super) fn faults(&self) -> &FaultCounts {
        match &self.judge {
            Tiered::Sealed(judge) => judge.faults(),
            Tiered::General(judge) => judge.faults(),
        }
    }

    /// Fuel of all decisions so far.
    pub(super) const fn fuel_used(&self) -> u64 {
        self.fuel_used
    }
}

impl Arbiter for Asked {
    fn reads(&self) -> ReadSet {
        self.manifest().reads
    }

    fn state_bytes_max(&self) -> usize {
        self.manifest().state_bytes_max
    }

    fn plan(&mut self, proposal: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        match &mut self.judge {
            Tiered::Sealed(judge) => judge.plan(proposal).map(|keys| keys.for_each(visit)).is_ok(),
            Tiered::General(_) => false, // Admission refuses what would read keys of a plan.
        }
    }

    #[inline]
    fn decide<'a>(&'a mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Said<'a> {
        let ruling = match &mut self.judge {
            Tiered::Sealed(judge) => judge.decide(context, state, proposal),
            Tiered::General(judge) => judge.decide(context, state, proposal),
        };
        self.fuel_used += ruling.fuel;
        match ruling.answer {
            Answer::Accept => Effects::check(ruling.effects).map_or(Said::Fault, Said::Accept),
            Answer::Refuse(code) => Said::Refuse(code),
            Answer::Defer => Said::Defer,
            Answer::Fault(_) => Said::Fault,
        }
    }
}

/// What one component has said here since boot, as a leader's and a follower's together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sayings {
    pub(super) accepted: u64,
    pub(super) accepted_with_writes: u64,
    pub(super) refused: u64,
    pub(super) deferred: u64,
    pub(super) faults: u64,
    pub(super) elsewhere: u64,
    /// What it refused, by its own codes.
    pub(super) refusals: Refusals,
    /// Heard beside another judge.
    pub(super) shadow_heard: u64,
    /// What it said then was something else.
    pub(super) shadow_differences: u64,
}

impl Sayings {
    fn count(&mut self, verdict: Verdict) {
        if let Verdict::Refuse(RefusalCode::Arbitrator(code)) = verdict {
            self.refusals.count(code);
        }
        *match verdict {
            Verdict::Accept => &mut self.accepted,
            Verdict::AcceptWithWrites => &mut self.accepted_with_writes,
            Verdict::Refuse(RefusalCode::ArbitratorDeferred) => &mut self.deferred,
            Verdict::Refuse(RefusalCode::ArbitratorFault) => &mut self.faults,
            Verdict::Refuse(RefusalCode::ArbitratorElsewhere) => &mut self.elsewhere,
            Verdict::Refuse(_) => &mut self.refused,
        } += 1;
    }
}

/// One component of this shard: a judge of it, or why it cannot judge here.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) component: Hash,
    pub(super) what: Result<(Admitted, Asked), String>,
}

/// The judges of one shard.
#[derive(Debug, Default)]
pub(super) struct Judges {
    known: Vec<Known>,
    /// Of each, in the same order.
    sayings: Vec<Sayings>,
    hearing: Option<Hearing>,
    /// What the shadow wrote with the proposal at hand.
    shadow_effects: Vec<u8>,
    /// A lie for tests: what an arbitrator refuses is accepted.
    #[cfg(feature = "planted")]
    pub(super) is_tampered: bool,
}

impl Judges {
    /// Nobody, until somebody is admitted.
    pub(super) fn new() -> Judges {
        #[cfg(feature = "planted")]
        let is_tampered = std::env::var("IO_OI_PLANTED").is_ok_and(|wanted| wanted == TAMPERED);
        Judges {
            #[cfg(feature = "planted")]
            is_tampered,
            ..Judges::default()
        }
    }

    /// Takes in what became of a component. Says whether it may judge here.
    #[cold]
    pub(super) fn note(&mut self, component: Hash, looked: Looked) -> bool {
        if let Some(place) = self.place_of(component) {
            return self.known[place].what.is_ok();
        }
        self.shadow_effects.reserve(EFFECTS_BYTES_MAX);
        self.hearing.get_or_insert_with(|| Hearing::new(SEATED_STATE_BYTES_MAX));
        let what = looked.map(|admitted| {
            let asked = Asked::new(&admitted);
            (admitted, asked)
        });
        let is_admitted = what.is_ok();
        self.known.push(Known { component, what });
        self.sayings.push(Sayings::default());
        is_admitted
    }

    /// Every component that was looked at here, with what it has said.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Known, &Sayings)> {
        self.known.iter().zip(&self.sayings)
    }

    fn place_of(&self, component: Hash) -> Option<usize> {
        self.known.iter().position(|known| known.component == component)
    }

    /// Decides a proposal whose precondition holds.
    #[inline]
    pub(super) fn judge(
        &mut self,
        case: &Case<'_>,
        seating: Seating<'_>,
        cells: &mut impl Cells,
    ) -> (Verdict, Effects<'_>) {
        let Seated { judge, shadow } = seating.of(case.proposal.key);
        let shadow = shadow.and_then(|shadow| self.hear_shadow(shadow, case, seating, cells));
        let place = judge.and_then(|judge| self.place_of(judge.component));
        let said = match (place, &mut self.hearing) {
            (Some(place), Some(hearing)) => {
                let (_, asked) = self.known[place].what.as_mut().expect("only admitted judges are asked");
                let said = hearing.hear(asked, Part::Judge, seating, case, cells);
                self.sayings[place].count(said.0);
                said
            }
            _ => (Verdict::Accept, Effects::NONE),
        };
        #[cfg(feature = "planted")]
        let said = if self.is_tampered { tampered(said) } else { said };
        if let Some((place, verdict)) = shadow {
            let differs = verdict != said.0 || self.shadow_effects != said.1.as_bytes();
            self.sayings[place].shadow_heard += 1;
            self.sayings[place].shadow_differences += u64::from(differs);
        }
        said
    }

    /// What the one beside the judge says, if it can be run here; its effects are kept to be compared.
    #[cold]
    fn hear_shadow(
        &mut self,
        shadow: Sitting<'_>,
        case: &Case<'_>,
        seating: Seating<'_>,
        cells: &mut impl Cells,
    ) -> Option<(usize, Verdict)> {
        let place = self.place_of(shadow.component)?;
        let (_, asked) = self.known[place].what.as_mut().ok()?;
        let (verdict, effects) = self.hearing.as_mut()?.hear(asked, Part::Shadow, seating, case, cells);
        self.shadow_effects.clear();
        self.shadow_effects.extend_from_slice(effects.as_bytes());
        Some((place, verdict))
    }
}

/// The fault that [`Judges`] can have in builds for tests of the fault model.
#[cfg(feature = "planted")]
pub(super) const TAMPERED: &str = "tampered-arbitrator";

/// Whoever was bribed accepts what the arbitrator refuses.
#[cfg(feature = "planted")]
fn tampered<'a>((verdict, effects): (Verdict, Effects<'a>)) -> (Verdict, Effects<'a>) {
    match verdict {
        Verdict::Refuse(RefusalCode::Arbitrator(_)) => (Verdict::Accept, Effects::NONE),
        _ => (verdict, effects),
    }
}
