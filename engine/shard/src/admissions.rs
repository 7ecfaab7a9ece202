//! Which components this node can run, as its world has found out.
//!
//! Invariant: nobody judges for a component that was not admitted here, and nothing that it judges is shown here: a node that
//! cannot check says so and shows nothing, it never guesses. [P-97]

use alloc::vec::Vec;

use io_oi_consensus::{Seated, Seating, Sitting};
use io_oi_record::{Hash, JudgeVersions, Sequence};

use crate::machine::Machine;
use crate::status::{Admission, Notice};

/// The components that were looked at.
#[derive(Debug)]
pub(crate) struct Admissions {
    known: Vec<(Hash, Admission)>,
    /// The versions by which this node's program judges.
    versions: JudgeVersions,
}

impl Admissions {
    pub(crate) const fn new(versions: JudgeVersions) -> Self {
        Self { known: Vec::new(), versions }
    }

    fn of(&self, component: Hash) -> Option<Admission> {
        self.known.iter().find(|(known, _)| *known == component).map(|(_, admission)| *admission)
    }

    fn set(&mut self, component: Hash, admission: Admission) {
        match self.known.iter_mut().find(|(known, _)| *known == component) {
            Some((_, known)) => *known = admission,
            None => self.known.push((component, admission)),
        }
    }

    /// Whether this component may judge here by these versions.
    pub(crate) fn can_judge(&self, component: Hash, versions: JudgeVersions) -> Admission {
        if versions != self.versions {
            return Admission::Refused;
        }
        self.of(component).unwrap_or(Admission::Pending)
    }
}

impl Machine {
    /// The next component that is stored whole and was not looked at yet: to be answered by [`crate::Event::Admitted`], any
    /// time later. Look again after [`Notice::ComponentsChanged`], and before [`Machine::start`].
    pub fn next_to_admit(&mut self) -> Option<(Hash, Vec<u8>)> {
        let rules = &self.governing.rules;
        let stored = rules.judged().components().iter();
        let mut unseen = stored.filter(|component| self.admissions.of(**component).is_none());
        let (component, bytes) = unseen.find_map(|seen| Some((*seen, rules.component(*seen)?)))?;
        self.admissions.set(component, Admission::Pending);
        Some((component, bytes))
    }

    /// What became of a component here; `None` while it was not looked at.
    pub fn admission(&self, component: Hash) -> Option<Admission> {
        self.admissions.of(component)
    }

    pub(crate) fn handle_admitted(&mut self, component: Hash, is_admitted: bool) {
        let admission = if is_admitted { Admission::Admitted } else { Admission::Refused };
        self.admissions.set(component, admission);
    }

    /// A part of this component stands in the log: perhaps the last one.
    pub(crate) fn note_component(&mut self, component: Hash) {
        if self.governing.rules.is_complete(component) && self.admissions.of(component).is_none() {
            self.notices.push(Notice::ComponentsChanged);
        }
    }

    pub(crate) fn seating(&self, sequence: Sequence) -> Seating<'_> {
        Seating::at(&self.governing.rules, sequence)
    }

    /// Whether this node can judge a record of this key: its judge is admitted here, or nobody judges it. A shadow without
    /// admission is left out by the world.
    pub(crate) fn can_judge(&self, sequence: Sequence, key: &[u8]) -> Admission {
        let Seated { judge, .. } = self.seating(sequence).of(key);
        let can =
            |Sitting { component, versions, .. }: Sitting<'_>| self.admissions.can_judge(component, versions);
        judge.map_or(Admission::Admitted, can)
    }

    /// Whether a component judges that cannot be run here: then others had better lead. [P-97]
    pub(crate) fn lacks_judge(&self) -> bool {
        let seats = self.governing.rules.judged().arbitrators().iter();
        let mut judging = seats.filter(|seat| !seat.arbitrator.is_zero());
        judging.any(|seat| self.admissions.can_judge(seat.arbitrator, seat.versions) != Admission::Admitted)
    }
}
