//! The wire floor: one round trip of a small frame between two of the shipping QUIC endpoints, two threads, loopback.
//!
//! Invariant: it is measured with the very endpoint that the nodes speak through, so it is no other implementation's.

use io_oi_quic::Limits;
use io_oi_quic::floor::{Idle, RoundTrip, measure_round_trip};
use io_oi_record::Signer;

use crate::cluster::random;
use crate::failure::Failure;

/// Two ends that know each other.
pub(crate) struct Wire {
    plan: RoundTrip,
}

impl Wire {
    /// Frames of this many bytes.
    pub(crate) fn new(frame_bytes: usize) -> Result<Self, Failure> {
        let end = || {
            let secret = random()?;
            Ok::<_, Failure>((secret, Signer::from_secret(&secret).node().0))
        };
        // Both ends give the core away between two looks, as nodes do that share cores.
        let (count, idle) = (ROUND_TRIPS, Idle::Yield);
        let limits = Limits::default();
        Ok(Self { plan: RoundTrip { keys: [end()?, end()?], frame_bytes, count, idle, limits } })
    }

    /// Some round trips, nanoseconds each.
    pub(crate) fn round_trips(&self) -> Result<Vec<f64>, Failure> {
        let samples = measure_round_trip(&self.plan, |_| {});
        let samples = samples.map_err(|error| Failure::Refused(format!("the wire floor: {error}")))?;
        Ok(samples.into_iter().map(|ns| ns as f64).collect())
    }
}

/// Enough for a median; some milliseconds.
const ROUND_TRIPS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_takes_some_time() {
        let round_trips = Wire::new(256).expect("keys").round_trips().expect("loopback");
        assert_eq!(round_trips.len(), ROUND_TRIPS);
        assert!(round_trips.iter().all(|ns| *ns > 0.0));
    }
}
