//! How QUIC is tuned for one rack: a wide window, quick acknowledgements, bounded memory.
//!
//! Invariant: what a peer can make us hold is the two windows of its connection, whatever it sends.

use crate::Limits;
use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{
    AckFrequencyConfig, Connection, IdleTimeout, MtuDiscoveryConfig, RttEstimator, TransportConfig, VarInt,
};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sizes that bound one connection.
pub(crate) fn transport(limits: &Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut acknowledge = AckFrequencyConfig::default();
    acknowledge.max_ack_delay(Some(ACKNOWLEDGE_WITHIN)).ack_eliciting_threshold(ACKNOWLEDGE_PACKETS);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(crate::LANES as u32))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(limits.window_bytes))
        .receive_window(VarInt::from_u32(limits.window_bytes.saturating_mul(crate::LANES as u32)))
        .send_window(u64::from(limits.window_bytes) * crate::LANES as u64 + SEND_SLACK_BYTES)
        // Else a long frame, once begun, would be finished before an urgent one may pass.
        .send_fairness(true)
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_nanos(limits.idle_ns)).ok())
        .keep_alive_interval(Some(Duration::from_nanos(limits.keep_alive_ns)))
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(limits.mtu.min(limits.mtu_max))
        .min_mtu(MTU_MIN)
        .ack_frequency_config(Some(acknowledge))
        .crypto_buffer_size(CRYPTO_BYTES_MAX)
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(RackFactory));
    if limits.mtu_max > limits.mtu {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(limits.mtu_max);
        config.mtu_discovery_config(Some(discovery));
    } else {
        config.mtu_discovery_config(None);
    }
    config
}

/// Bulk may fill its lane's window while urgent frames still find room.
const SEND_SLACK_BYTES: u64 = 64 * 1024;
/// RFC 9000: every path of QUIC carries this.
const MTU_MIN: u16 = 1200;
/// The smallest that quinn-proto accepts; a lost last packet is then noticed in a few milliseconds, not in 25.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(1);
/// Every fourth packet of bulk is acknowledged at once: rarer, and a small window waits for the timer above. Small
/// frames are answered by frames that carry the acknowledgement.
const ACKNOWLEDGE_PACKETS: VarInt = VarInt::from_u32(3);
/// A rack answers in microseconds; a loaded host in milliseconds. Too small only repeats a packet.
const INITIAL_RTT: Duration = Duration::from_millis(3);
/// A raw key and its signature fit thirty times.
const CRYPTO_BYTES_MAX: usize = 8 * 1024;

/// Datagrams that one burst may hold.
pub(crate) fn burst(connection: &Connection, segments_max: usize) -> usize {
    (BURST_BYTES_MAX / usize::from(connection.current_mtu().max(1))).clamp(1, segments_max)
}

/// The kernel cuts up to 64 KiB, headers included, into datagrams; a longer send would be lost whole.
const BURST_BYTES_MAX: usize = 65_000;

/// Builds `Rack`.
#[derive(Debug)]
struct RackFactory;

impl ControllerFactory for RackFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Rack {
            window: WINDOW_BYTES_FIRST,
            threshold: WINDOW_BYTES_MAX,
            mtu: u64::from(mtu),
            recovery: now,
        })
    }
}

/// Congestion control for one switch: starts wide and doubles each round trip until packets are lost; then it halves,
/// at most once a round trip, and grows by `GROW_BYTES` a round trip.
///
/// The window is the true one. A larger one would switch quinn-proto's pacer off, but a count of bytes in flight of our
/// own drifts (a controller is told of packets that are never acknowledged), and a drifted count once held a connection
/// shut for ever. The pacer lets a burst of ten datagrams and of two milliseconds pass: small frames never wait for it.
#[derive(Clone, Debug)]
struct Rack {
    window: u64,
    /// Below it the window doubles.
    threshold: u64,
    mtu: u64,
    recovery: Instant,
}

/// About what a receiving socket holds without help from the administrator (`net.core.rmem_max`).
const WINDOW_BYTES_FIRST: u64 = 128 * 1024;
/// Beyond this the windows of the lanes bound what is in flight.
const WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// One datagram of Ethernet, whatever the path carries: a jumbo step would lose again in the next round trips.
const GROW_BYTES: u64 = 1_500;

impl Rack {
    /// So that a loss shows by the packets behind the lost one, not by a timer.
    fn floor(&self) -> u64 {
        4 * self.mtu
    }
}

impl Controller for Rack {
    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        if !app_limited && sent > self.recovery {
            let more = if self.window < self.threshold { bytes } else { GROW_BYTES * bytes / self.window };
            self.window = (self.window + more).min(WINDOW_BYTES_MAX);
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, _lost_bytes: u64) {
        if sent <= self.recovery {
            return;
        }
        self.recovery = now;
        self.threshold = (self.window / 2).max(self.floor());
        self.window = if is_persistent { self.floor() } else { self.threshold };
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
        self.window = self.window.max(self.floor());
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW_BYTES_FIRST
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
