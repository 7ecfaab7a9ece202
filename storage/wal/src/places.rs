//! Where batches stand in the log, sparsely: from there on any frame is found by reading forward.
//!
//! Invariant: places rise in position and frame number; memory for all of them is taken at the start.

use crate::format::{Chain, LogIndex, Position, SegmentNumber};
use crate::limits::INDEX_SPACING_BYTES;

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    /// Its first frame.
    pub(crate) index: LogIndex,
    pub(crate) segment: SegmentNumber,
    /// Checksum of the frame before.
    pub(crate) chain: Chain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    places: Vec<Place>,
    places_max: usize,
    spacing_bytes: u64,
}

impl Places {
    pub(crate) fn new(places_max: usize) -> Self {
        Self { places: Vec::with_capacity(places_max), places_max, spacing_bytes: INDEX_SPACING_BYTES }
    }

    /// As they were kept.
    pub(crate) fn restored(places: Vec<Place>, spacing_bytes: u64) -> Self {
        Self { places_max: places.len(), places, spacing_bytes }
    }

    /// The same places in memory for `places_max` of them.
    pub(crate) fn with_room_for(&self, places_max: usize) -> Self {
        let mut all = Self::new(places_max);
        all.spacing_bytes = self.spacing_bytes;
        self.places.iter().for_each(|place| all.note(*place));
        all
    }

    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }

    /// Bytes between two places, at least.
    pub(crate) fn spacing_bytes(&self) -> u64 {
        self.spacing_bytes
    }

    /// Notes the next batch.
    pub(crate) fn note(&mut self, place: Place) {
        if let Some(last) = self.places.last() {
            assert!(place.position > last.position && place.index > last.index, "a log only grows");
            if place.position.0 - last.position.0 < self.spacing_bytes {
                return;
            }
        }
        if self.places.len() == self.places_max {
            self.thin();
        }
        self.places.push(place);
    }

    /// The nearest place at or before a frame; none when the log does not hold it.
    pub(crate) fn before(&self, index: LogIndex) -> Option<Place> {
        let behind = self.places.partition_point(|place| place.index <= index);
        Some(self.places[behind.checked_sub(1)?])
    }

    /// Keeps every second place, the first among them.
    fn thin(&mut self) {
        let mut is_kept = false;
        self.places.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
        self.spacing_bytes *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_before_a_frame_is_found_however_often_the_list_was_thinned() {
        let mut places = Places::new(8);
        let place = |number: u64| Place {
            position: Position(4096 + number * 40_000),
            index: LogIndex(1 + number * 10),
            segment: SegmentNumber(0),
            chain: Chain(number as u32),
        };
        for number in 0..1000 {
            places.note(place(number));
            assert!(places.places.len() <= 8);
        }
        assert_eq!(places.before(LogIndex(0)), None);
        for index in (1..10_000).map(LogIndex) {
            let found = places.before(index).unwrap();
            assert!(found.index <= index && found.index.0 + 4000 > index.0, "{index}: {found:?}");
        }
    }
}
