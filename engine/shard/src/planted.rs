//! Bugs and lies that are put in on purpose, so that tests can show that they are found.
//!
//! Invariant: without the feature `planted` every question here is the constant `false`, and neither the bugs' names nor the
//! door for them exist; with it, nothing happens unless a machine is told to by name.

/// Whether `$bug` is planted in `$machine`; plainly false without the feature.
macro_rules! planted {
    ($machine:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        let is_planted = $machine.planted == Some(crate::planted::Planted::$bug);
        #[cfg(not(feature = "planted"))]
        let is_planted = false;
        is_planted
    }};
}

#[cfg(feature = "planted")]
pub use bugs::Planted;

#[cfg(feature = "planted")]
mod bugs {
    use crate::machine::Machine;

    macro_rules! bugs {
        ($($(#[$doc:meta])* $bug:ident = $name:literal;)*) => {
            /// One bug, or one lie.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub enum Planted {
                $($(#[$doc])* $bug,)*
            }

            impl Planted {
                /// Every one.
                pub const ALL: &'static [Planted] = &[$(Planted::$bug,)*];

                /// As it is named on command lines, kebab-case.
                #[must_use]
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Planted::$bug => $name,)*
                    }
                }
            }
        };
    }

    bugs! {
        /// A voter sends its grant before the promise is flushed.
        GrantUnflushed = "grant-unflushed";
        /// A candidate asks for votes, and may lead, before its claim is flushed.
        ClaimUnflushed = "claim-unflushed";
        /// A voter grants an epoch to whoever asks.
        GrantTwice = "grant-twice";
        /// A voter grants an epoch to a candidate whose log is older than its own.
        GrantStaleLog = "grant-stale-log";
        /// A voter deposes a leader that it has just heard.
        NotSticky = "not-sticky";
        /// A follower acknowledges what it holds and has not flushed.
        AckUnflushed = "ack-unflushed";
        /// A leader counts an acknowledgement that says nothing new as another voter's.
        ///
        /// That a leader counts acknowledgements of other epochs and chains was planted here before, and 3,000 seeds did not
        /// show it. An honest follower names only blocks of the chain of the leader that it speaks to (what it matched and
        /// saw sealed begins anew in each epoch), so within an epoch the hash never differs; and it speaks to its leader
        /// alone, so an old one that comes late was true of the same node's own chain. It is false only if that node has
        /// followed another leader meanwhile, who gave those blocks up, leads again, and begins below them: that takes blocks
        /// of more records than there were start records since, and an acknowledgement two elections late.
        CountsAcksTwice = "counts-acks-twice";
        /// A leader commits blocks of older epochs by counting.
        CommitsOldEpoch = "commits-old-epoch";
        /// A leader commits what it has flushed itself.
        CommitsAlone = "commits-alone";
        /// A follower believes a commit point beyond what it shares with the leader.
        CommitsUnmatched = "commits-unmatched";
        /// What is held is shown and answered as committed.
        PublishesHeld = "publishes-held";
        /// What is given up stays visible.
        NoWithdrawal = "no-withdrawal";
        /// The table of sessions takes every proposal for a new one.
        ForgetsSessions = "forgets-sessions";
        /// A lease lasts longer than voters wait.
        LeaseTooLong = "lease-too-long";
        /// A leader takes a lease without having heard anybody.
        LeaseWithoutQuorum = "lease-without-quorum";
        /// A leader reads before it has committed in its own epoch.
        LeaseBeforeCommit = "lease-before-commit";
        /// A voter signs for a block that it has not flushed.
        VotesUnflushed = "votes-unflushed";
        /// A leader signs two headers for one place.
        TwoHeaders = "two-headers";
        /// A voter signs for two blocks of one place.
        TwoVotes = "two-votes";
        /// A follower shows its leader's headers to nobody: a liar's two histories never meet.
        KeepsHeaders = "keeps-headers";
        /// A leader refuses what its judge accepts.
        WrongVerdict = "wrong-verdict";
    }

    impl Machine {
        /// Puts a bug in, before the log is read.
        pub fn plant(&mut self, bug: Planted) {
            self.planted = Some(bug);
            self.sessions.forgets = bug == Planted::ForgetsSessions;
        }
    }
}
