//! Bugs that are put in on purpose, to see that the checkers bite.
//!
//! Invariant: nothing here does anything unless a run asks for it by name.

/// A bug in the world around the machines, as a careless daemon or a dishonest member would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The daemon reports an append as durable while its flush is still under way.
    DurableEarly,
    /// The daemon leaves withdrawn values in the hot tier.
    NoWithdrawal,
    /// The client reads at whoever believes to lead, without a look at the lease.
    ReadWithoutLease,
    /// A member acknowledges as durable what it only holds.
    FalseAck,
    /// The daemon answers a proposal with the receipt of its tentative place.
    ShowsTentativeAsCommitted,
    /// The daemon does not replace the promise file before it reports a promise as durable, and loses the end of its log.
    NoPromiseFile,
    /// The daemon does not keep it that its node is mute for good.
    ForgetsMute,
    /// A bug inside the machines themselves.
    #[cfg(feature = "planted")]
    Machine(io_oi_shard::Planted),
}

impl Bug {
    /// The bugs around the machines.
    const OWN: &'static [Bug] = &[
        Bug::DurableEarly,
        Bug::NoWithdrawal,
        Bug::ReadWithoutLease,
        Bug::FalseAck,
        Bug::ShowsTentativeAsCommitted,
        Bug::NoPromiseFile,
        Bug::ForgetsMute,
    ];

    /// Every bug that this build can plant.
    #[must_use]
    pub fn all() -> Vec<Bug> {
        #[cfg_attr(not(feature = "planted"), expect(unused_mut, reason = "the machines have no bugs here"))]
        let mut all = Self::OWN.to_vec();
        #[cfg(feature = "planted")]
        all.extend(io_oi_shard::Planted::ALL.iter().map(|bug| Bug::Machine(*bug)));
        all
    }

    /// Whether only an idle shard shows it: a voter that deposes a leader which it has just heard is stopped by its newer log
    /// as long as anything is written.
    #[must_use]
    pub fn hides_in_traffic(self) -> bool {
        self.name() == "not-sticky"
    }

    /// As it is named on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Bug::DurableEarly => "durable-early",
            Bug::NoWithdrawal => "daemon-no-withdrawal",
            Bug::ReadWithoutLease => "read-without-lease",
            Bug::FalseAck => "false-ack",
            Bug::ShowsTentativeAsCommitted => "shows-tentative-as-committed",
            Bug::NoPromiseFile => "no-promise-file",
            Bug::ForgetsMute => "forgets-mute",
            #[cfg(feature = "planted")]
            Bug::Machine(bug) => bug.name(),
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Bug> {
        Bug::all().into_iter().find(|bug| bug.name() == name)
    }
}
