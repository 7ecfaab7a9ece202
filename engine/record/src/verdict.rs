//! What the arbitrator says about a proposal, and every reason to refuse one.
//!
//! Invariant: a refusal code's number never changes its meaning; a retired number is never given out again.

use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::error::DecodeError;

/// The judgement of one proposal; every node that executes a block reaches the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Takes effect as proposed.
    Accept,
    /// Takes effect together with writes that the arbitrator added.
    AcceptWithWrites,
    /// Stands in the log without effect.
    Refuse(RefusalCode),
}

impl Verdict {
    /// Whether the proposal takes effect.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        !matches!(self, Verdict::Refuse(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::AcceptWithWrites => f.write_str("accept-with-writes"),
            Verdict::Refuse(code) => write!(f, "refuse: {code}"),
        }
    }
}

/// A number that an arbitrator refused with: its own vocabulary, 31 bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArbitratorCode(u32);

impl ArbitratorCode {
    /// The largest arbitrator code.
    pub const MAX: u32 = ARBITRATOR_BIT - 1;

    /// The code, `None` above `MAX`.
    #[must_use]
    pub const fn new(code: u32) -> Option<ArbitratorCode> {
        if code <= Self::MAX { Some(ArbitratorCode(code)) } else { None }
    }

    /// The arbitrator's own number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Set in the number of every code that comes from an arbitrator.
const ARBITRATOR_BIT: u32 = 1 << 31;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $text:literal;)*) => {
        /// Why a proposal was refused. `to_code` is stable for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RefusalCode {
            $($(#[$doc])* $variant,)*
            /// The arbitrator of the key's prefix refused, with a code of its own.
            Arbitrator(ArbitratorCode),
        }

        impl RefusalCode {
            /// Every code of the house itself, without the arbitrators' own.
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$variant,)*];

            /// The stable number: below 2^31 for the house, from 2^31 for arbitrators.
            #[must_use]
            pub const fn to_code(self) -> u32 {
                match self {
                    $(RefusalCode::$variant => $code,)*
                    RefusalCode::Arbitrator(code) => ARBITRATOR_BIT | code.get(),
                }
            }

            /// The code behind a number; an unknown number is refused.
            pub const fn from_code(code: u32) -> Result<RefusalCode, DecodeError> {
                match code {
                    $($code => Ok(RefusalCode::$variant),)*
                    ARBITRATOR_BIT.. => Ok(RefusalCode::Arbitrator(ArbitratorCode(code & !ARBITRATOR_BIT))),
                    _ => Err(DecodeError::RefusalUnknown { code }),
                }
            }

            /// Short stable name, kebab-case, for logs, counters and scripts.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(RefusalCode::$variant => $name,)*
                    RefusalCode::Arbitrator(_) => "arbitrator",
                }
            }

            /// What happened and what to do, one sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(RefusalCode::$variant => $text,)*
                    RefusalCode::Arbitrator(_) =>
                        "the arbitrator of this key's prefix refused it: its code is explained by whoever installed it",
                }
            }
        }
    };
}

refusals! {
    /// The key's newest version is not what the precondition asked for.
    PreconditionFailed = 1, "precondition-failed",
        "the key had changed: read it again and decide anew";
    /// A later proposal of the session came first; this one never took effect and never will.
    NotAccepted = 2, "not-accepted",
        "a later proposal of this session was accepted first and this one never took effect: submit it again as a new one";
    /// The retried proposal is older than the answers remembered.
    AnswerForgotten = 3, "answer-forgotten",
        "this retry is older than the answers kept for the session: read the key to learn whether it took effect";
    /// The shard does not know the session.
    SessionUnknown = 4, "session-unknown",
        "the shard does not know this session: attach again";
    /// The session was closed, or gave way to newer ones.
    SessionExpired = 5, "session-expired",
        "this session was closed or made room for newer ones: attach again and check what took effect";
    /// The proposal's bytes are not a proposal.
    Malformed = 6, "malformed",
        "the bytes are not a valid proposal: check the client library's version";
    /// The key is longer than allowed.
    KeyTooLong = 7, "key-too-long",
        "the key is longer than 512 bytes: shorten it";
    /// The key is empty.
    KeyEmpty = 8, "key-empty",
        "the key is empty: name the key to write";
    /// The value is longer than allowed.
    ValueTooLong = 9, "value-too-long",
        "the value is longer than 65536 bytes: split it over several keys";
    /// The client may not write under this prefix.
    PrefixNotAllowed = 10, "prefix-not-allowed",
        "this client may not write keys with this prefix: ask the operator to allow it in the node's configuration";
    /// The key belongs to another shard than the one asked.
    WrongShard = 11, "wrong-shard",
        "the key belongs to another shard: check the client library's version";
    /// The hot tier has no room for a new key or value.
    HotTierFull = 12, "hot-tier-full",
        "the hot tier has no room: delete keys or raise hot.entries_max or hot.large_bytes_max";
    /// The log may not grow further.
    DiskFull = 13, "disk-full",
        "the disk has no room for the log: free space on the node's disk, then submit again";
    /// This node does not lead the shard now.
    NotLeader = 14, "not-leader",
        "this node does not lead the shard now: submit again in a moment";
    /// The node is shutting down.
    ShuttingDown = 15, "shutting-down",
        "the node is shutting down: attach again when it is back";
    /// A governance record that no operator of the genesis has signed.
    GovernanceUnsigned = 16, "governance-unsigned",
        "no operator that the genesis names has signed this change: sign it with an operator's key";
    /// A governance record whose number is not the next one.
    GovernanceNumber = 17, "governance-number",
        "the change does not carry the next governance number: read the newest number and sign it anew";
    /// A governance record that cannot be applied to the cluster as it is.
    GovernanceNotApplicable = 18, "governance-not-applicable",
        "the change does not fit the members as they are: look at the peers and decide anew";
    /// Another change of the members is not committed yet.
    GovernancePending = 19, "governance-pending",
        "another change of the members is not committed yet, or too few of those who would stay keep up: submit this one \
         again in a moment";
    /// The learner lacks records.
    LearnerNotLevel = 20, "learner-not-level",
        "the learner lacks records that the leader has: wait until it is level, then promote it";
    /// Nobody leads the shard, or nobody knows who does.
    LeaderUnknown = 21, "leader-unknown",
        "no leader of the shard is known now: submit again in a moment, or appoint one";
    /// Too many evictions of sessions wait for their commit.
    SessionsBusy = 22, "sessions-busy",
        "more sessions are being opened than the quorum can follow: attach again in a moment";
    /// The arbitrator cannot decide as things are.
    ArbitratorDeferred = 23, "arbitrator-deferred",
        "the arbitrator of this key's prefix cannot decide as things are: submit it again later";
    /// The arbitrator failed: trap, fuel, an answer that is none.
    ArbitratorFault = 24, "arbitrator-fault",
        "the arbitrator of this key's prefix failed on this proposal: tell whoever installed it";
    /// The arbitrator wants to read or write what is not its own.
    ArbitratorElsewhere = 25, "arbitrator-elsewhere",
        "the arbitrator reads or writes a key of another shard or of another arbitrator's prefix: one record belongs to one";
    /// The leader cannot run the component, or not yet.
    ArbitratorNotAdmitted = 26, "arbitrator-not-admitted",
        "the leader has not admitted this component, or not by these versions: look at the list of arbitrators for the reason";
}

const _: () = assert!(crate::limits::KEY_BYTES_MAX == 512, "the text of KeyTooLong names the limit");
const _: () = assert!(crate::limits::VALUE_BYTES_MAX == 65536, "the text of ValueTooLong names the limit");

impl RefusalCode {
    /// A refusal with an arbitrator's own number, `None` above `ArbitratorCode::MAX`.
    #[must_use]
    pub const fn arbitrator(code: u32) -> Option<RefusalCode> {
        match ArbitratorCode::new(code) {
            Some(code) => Some(RefusalCode::Arbitrator(code)),
            None => None,
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusalCode::Arbitrator(code) => write!(f, "arbitrator-{}", code.get()),
            _ => f.write_str(self.name()),
        }
    }
}

/// How a verdict stands in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum VerdictTag {
    Accept = 1,
    AcceptWithWrites = 2,
    Refuse = 3,
}

impl Verdict {
    /// Tag and refusal number; the number is 0 unless refused.
    #[inline]
    pub(crate) const fn to_tag(self) -> (VerdictTag, u32) {
        match self {
            Verdict::Accept => (VerdictTag::Accept, 0),
            Verdict::AcceptWithWrites => (VerdictTag::AcceptWithWrites, 0),
            Verdict::Refuse(code) => (VerdictTag::Refuse, code.to_code()),
        }
    }

    /// The verdict behind tag and number; `None` when an accepting one carries a number.
    #[inline]
    pub(crate) const fn from_tag(tag: VerdictTag, code: u32) -> Result<Option<Verdict>, DecodeError> {
        match (tag, code) {
            (VerdictTag::Accept, 0) => Ok(Some(Verdict::Accept)),
            (VerdictTag::AcceptWithWrites, 0) => Ok(Some(Verdict::AcceptWithWrites)),
            (VerdictTag::Refuse, code) => match RefusalCode::from_code(code) {
                Ok(code) => Ok(Some(Verdict::Refuse(code))),
                Err(error) => Err(error),
            },
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::string::ToString;

    #[test]
    fn every_refusal_code_reads_back_and_has_its_own_number_name_and_text() {
        let mut numbers = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut texts = BTreeSet::new();
        for code in RefusalCode::ALL {
            assert_eq!(RefusalCode::from_code(code.to_code()), Ok(*code));
            assert!(numbers.insert(code.to_code()), "{code:?} shares its number");
            assert!(names.insert(code.name()), "{code:?} shares its name");
            assert!(texts.insert(code.text()), "{code:?} shares its text");
            assert!(code.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code:?}");
            assert!(code.text().contains(": "), "{code:?} must say what to do");
        }
    }

    #[test]
    fn the_numbers_of_the_house_are_these_for_ever() {
        let numbers: std::vec::Vec<_> =
            RefusalCode::ALL.iter().map(|code| std::format!("{}={}", code.to_code(), code.name())).collect();
        assert_eq!(
            numbers.join(" "),
            "1=precondition-failed 2=not-accepted 3=answer-forgotten 4=session-unknown 5=session-expired \
             6=malformed 7=key-too-long 8=key-empty 9=value-too-long 10=prefix-not-allowed 11=wrong-shard \
             12=hot-tier-full 13=disk-full 14=not-leader 15=shutting-down \
             16=governance-unsigned 17=governance-number 18=governance-not-applicable \
             19=governance-pending 20=learner-not-level 21=leader-unknown 22=sessions-busy \
             23=arbitrator-deferred 24=arbitrator-fault 25=arbitrator-elsewhere 26=arbitrator-not-admitted"
        );
    }

    #[test]
    fn arbitrators_have_their_own_half_of_the_numbers() {
        for number in [0, 1, 77, ArbitratorCode::MAX] {
            let code = RefusalCode::arbitrator(number).expect("within 31 bits");
            assert!(code.to_code() >= 1 << 31);
            assert_eq!(RefusalCode::from_code(code.to_code()), Ok(code));
            assert_eq!(code.to_string(), std::format!("arbitrator-{number}"));
        }
        assert_eq!(RefusalCode::arbitrator(ArbitratorCode::MAX + 1), None);
    }

    #[test]
    fn unknown_numbers_are_refused() {
        for number in [0, 27, 1000, (1 << 31) - 1] {
            assert_eq!(RefusalCode::from_code(number), Err(DecodeError::RefusalUnknown { code: number }));
        }
    }

    #[test]
    fn an_accepting_verdict_carries_no_refusal_number() {
        assert_eq!(Verdict::from_tag(VerdictTag::Accept, 1), Ok(None));
        assert_eq!(Verdict::from_tag(VerdictTag::AcceptWithWrites, 6), Ok(None));
        assert!(Verdict::from_tag(VerdictTag::Refuse, 0).is_err());
    }
}
