//! A change as an operator brings it to a node: signed, with what travels with it.

use io_oi_record::governance::{ArbitratorChoice, Change, Governance, SignedGovernance};
use io_oi_record::{ClusterId, Hash, JudgeVersions, Nanos, Shipment, Signer};

/// The change under its number.
pub(crate) fn signed_shipment(
    cluster: ClusterId,
    operator: &Signer,
    number: u64,
    change: Change,
    payload: &[u8],
) -> Vec<u8> {
    let governance =
        Governance { cluster, number, time: Nanos(number), change, operator: operator.operator() };
    let signed = SignedGovernance::sign(governance, operator);
    Shipment { signed, payload }.encode().expect("within the limits")
}

/// The judge of a prefix from now on; the zero hash for nobody.
pub(crate) fn seat(prefix: &[u8], arbitrator: Hash, is_shadow: bool) -> Change {
    let versions = if arbitrator.is_zero() { JudgeVersions::default() } else { io_oi_arbitrator::VERSIONS };
    Change::SetArbitrator(ArbitratorChoice { prefix: prefix.to_vec(), arbitrator, is_shadow, versions })
}
