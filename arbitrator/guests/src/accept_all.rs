//! Accepts everything: the default judge.
//!
//! Invariant: it has no opinion.

use io_oi_arbitrator_sdk::{Arbitrator, Context, Decision, Effects, Manifest};

/// Accepts everything.
#[derive(Clone, Copy, Debug)]
pub struct AcceptAll;

impl Arbitrator for AcceptAll {
    const MANIFEST: Manifest =
        Manifest { max_proposal: 2048, fuel: 2_000, ..Manifest::named("accept-all", (1, 0, 0)) };

    fn decide(_: &Context, _: &[u8], _: &[u8], _: &mut Effects<'_>) -> Decision {
        Decision::ACCEPT
    }
}
