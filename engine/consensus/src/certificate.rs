//! Collects signed votes until a quorum of them over one block makes a certificate.
//!
//! Invariant: a certificate that leaves here holds only votes whose signatures were checked, of voters that count, and a
//! quorum of them. Votes are checked when they may complete a certificate, not before. Memory is bounded per voter, so
//! a voter that signs nonsense displaces only its own votes. [P-101]

use alloc::boxed::Box;
use alloc::vec;

use io_oi_record::evidence::Signed;
use io_oi_record::limits::MEMBERS_MAX;
use io_oi_record::{NodeId, QuorumCertificate, Roster, Sequence, Vote};

/// Votes remembered per voter: enough for the blocks between two batches of votes.
const VOTES_MAX: usize = 64;

/// The votes of one voter, newest last.
#[derive(Clone)]
struct Ballots {
    voter: NodeId,
    votes: Box<[Option<Collected>]>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Collected {
    vote: Signed<Vote>,
    is_checked: bool,
}

/// What became of a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteOutcome {
    /// It is kept.
    Collected,
    /// It completed a certificate: see [`Certifier::newest`].
    Certified,
    /// It was there before, or is for a block that is certified already.
    Stale,
    /// Who signed does not vote, or is barred.
    NotCounted,
}

/// The collector of one shard's group.
#[derive(Clone)]
pub struct Certifier {
    voters: Box<[Ballots]>,
    newest: Option<QuorumCertificate>,
    forged_count: u64,
}

impl Default for Certifier {
    fn default() -> Certifier {
        Certifier::new()
    }
}

impl Certifier {
    /// Nothing collected. Allocates everything that it will ever need.
    #[must_use]
    pub fn new() -> Certifier {
        let nobody = Ballots { voter: NodeId([0; 32]), votes: vec![None; VOTES_MAX].into(), next: 0 };
        Certifier { voters: vec![nobody; MEMBERS_MAX].into(), newest: None, forged_count: 0 }
    }

    /// Takes a vote into account that came on the voter's own connection or was checked before; the own one too.
    /// Whether its block stands on the own chain is the caller's to know. [P-101]
    pub fn collect(&mut self, vote: &Signed<Vote>, roster: &Roster) -> VoteOutcome {
        let voter = vote.statement.voter;
        if !roster.is_voter(voter) || roster.is_barred(voter) {
            return VoteOutcome::NotCounted;
        }
        if vote.statement.sequence <= self.certified() || !self.remember(vote, roster) {
            return VoteOutcome::Stale;
        }
        match self.complete(&vote.statement, roster) {
            None => VoteOutcome::Collected,
            Some(certificate) => {
                self.newest = Some(certificate);
                VoteOutcome::Certified
            }
        }
    }

    /// A certificate read from the log, or checked before: nothing at or below it is collected any more.
    pub fn note_certificate(&mut self, certificate: &QuorumCertificate) {
        if certificate.sequence > self.certified() {
            self.newest = Some(*certificate);
        }
    }

    /// Through which sequence a certificate exists.
    #[must_use]
    pub fn certified(&self) -> Sequence {
        self.newest.map_or(Sequence::NONE, |certificate| certificate.sequence)
    }

    /// The newest certificate: it covers everything before it on the chain.
    #[must_use]
    pub const fn newest(&self) -> Option<&QuorumCertificate> {
        self.newest.as_ref()
    }

    /// Votes whose signature turned out to be wrong.
    #[must_use]
    pub const fn forged_count(&self) -> u64 {
        self.forged_count
    }

    /// The places of voters that left are given to those that came.
    fn ballots_of(&mut self, voter: NodeId, roster: &Roster) -> &mut Ballots {
        let known = self.voters.iter().position(|ballots| ballots.voter == voter);
        let place = known.unwrap_or_else(|| {
            let free = self.voters.iter().position(|ballots| !roster.is_voter(ballots.voter));
            let free = free.expect("a cluster has no more voters than members");
            self.voters[free].voter = voter;
            self.voters[free].votes.fill(None);
            self.voters[free].next = 0;
            free
        });
        &mut self.voters[place]
    }

    fn remember(&mut self, vote: &Signed<Vote>, roster: &Roster) -> bool {
        let ballots = self.ballots_of(vote.statement.voter, roster);
        if ballots.votes.iter().flatten().any(|known| known.vote == *vote) {
            return false;
        }
        let place = ballots.next;
        ballots.votes[place] = Some(Collected { vote: *vote, is_checked: false });
        ballots.next = (place + 1) % VOTES_MAX;
        true
    }

    /// The certificate over the block of `like`, if a quorum has truly signed.
    fn complete(&mut self, like: &Vote, roster: &Roster) -> Option<QuorumCertificate> {
        let counts =
            |ballots: &&mut Ballots| roster.is_voter(ballots.voter) && !roster.is_barred(ballots.voter);
        let signed_count = self.voters.iter_mut().filter(counts).filter(|ballots| ballots.has(like)).count();
        if signed_count < roster.quorum_size() {
            return None;
        }
        let mut certificate = QuorumCertificate::over(like);
        for ballots in self.voters.iter_mut().filter(counts) {
            let vote = ballots.checked(like, &mut self.forged_count);
            vote.into_iter().for_each(|vote| {
                certificate.add(&vote);
            });
        }
        (certificate.votes().len() >= roster.quorum_size()).then_some(certificate)
    }
}

impl Ballots {
    fn has(&self, like: &Vote) -> bool {
        self.votes.iter().flatten().any(|known| is_for(&known.vote, like))
    }

    /// This voter's vote for the block, its signature checked; forged ones are thrown out on the way.
    fn checked(&mut self, like: &Vote, forged_count: &mut u64) -> Option<Signed<Vote>> {
        for place in self.votes.iter_mut() {
            let Some(known) = place else { continue };
            if !is_for(&known.vote, like) {
                continue;
            }
            if known.is_checked || known.vote.verify().is_ok() {
                known.is_checked = true;
                return Some(known.vote);
            }
            *forged_count += 1;
            *place = None;
        }
        None
    }
}

fn is_for(vote: &Signed<Vote>, like: &Vote) -> bool {
    Vote { voter: like.voter, ..vote.statement } == *like
}
