//! The cell writes that an arbitrator adds to an accepted proposal, behind one another.
//!
//! Invariant: effects that were checked are non-empty, each has a key within the limits, no key stands twice, and bytes and
//! writes are one and the same thing: there is one encoding of every list of writes. It is the encoding that the contract
//! of the arbitrators publishes, so what a judge said stands in the log byte by byte.

use alloc::vec::Vec;

use crate::error::ShapeError;
use crate::limits::{EFFECTS_BYTES_MAX, EFFECTS_MAX, KEY_BYTES_MAX, KEY_BYTES_MIN};

/// Bytes in front of the key of each effect: key length u16, flags u16, value length u32.
pub const EFFECT_HEAD_BYTES: usize = 8;

/// Flag of an effect that removes its key.
const FLAG_DELETE: u16 = 1;

/// One key written or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effect<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its new value; `None` when it is removed.
    pub value: Option<&'a [u8]>,
}

impl<'a> Effect<'a> {
    /// Writes the encoding behind what stands in `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (value, flags) = self.value.map_or((&[][..], FLAG_DELETE), |value| (value, 0));
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(value);
    }

    /// The effect at the front of `bytes`, and what stands behind it.
    fn decode_first(bytes: &'a [u8]) -> Option<(Effect<'a>, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<EFFECT_HEAD_BYTES>()?;
        let [k0, k1, f0, f1, v0, v1, v2, v3] = *head;
        let key_bytes = usize::from(u16::from_le_bytes([k0, k1]));
        let flags = u16::from_le_bytes([f0, f1]);
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let is_delete = flags == FLAG_DELETE;
        let is_shaped = flags <= FLAG_DELETE && !(is_delete && value_bytes > 0);
        if !is_shaped || !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key_bytes) {
            return None;
        }
        let (key, rest) = rest.split_at_checked(key_bytes)?;
        let (value, rest) = rest.split_at_checked(value_bytes)?;
        Some((Effect { key, value: (!is_delete).then_some(value) }, rest))
    }
}

/// Checked effects, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Effects<'a> {
    bytes: &'a [u8],
}

impl<'a> Effects<'a> {
    /// No effects: of every record but one that was accepted with writes.
    pub const NONE: Effects<'static> = Effects { bytes: &[] };

    /// Checks the bytes of effects; none are effects, too.
    pub fn check(bytes: &'a [u8]) -> Result<Effects<'a>, ShapeError> {
        if bytes.len() > EFFECTS_BYTES_MAX {
            return Err(ShapeError::EffectsTooLong { bytes: bytes.len() });
        }
        let mut keys: [&[u8]; EFFECTS_MAX] = [&[]; EFFECTS_MAX];
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            let (effect, behind) = Effect::decode_first(rest).ok_or(ShapeError::EffectsMalformed)?;
            if keys[..count].contains(&effect.key) {
                return Err(ShapeError::EffectsTwice);
            }
            *keys.get_mut(count).ok_or(ShapeError::EffectsTooMany)? = effect.key;
            count += 1;
            rest = behind;
        }
        Ok(Effects { bytes })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The effects in their order.
    pub fn iter(self) -> impl Iterator<Item = Effect<'a>> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (effect, behind) = Effect::decode_first(rest)?;
            rest = behind;
            Some(effect)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(key: &[u8], flags: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from((key.len() as u16).to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(key);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn what_was_checked_reads_in_its_order() {
        let bytes = [effect(b"a", 0, b"1"), effect(b"b", 1, b""), effect(b"c", 0, b"")].concat();
        let effects = Effects::check(&bytes).expect("well-shaped");
        let expected = [
            Effect { key: b"a", value: Some(b"1") },
            Effect { key: b"b", value: None },
            Effect { key: b"c", value: Some(b"") },
        ];
        assert!(effects.iter().eq(expected));
        assert_eq!(effects.as_bytes(), bytes);
        let mut again = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut again));
        assert_eq!(again, bytes);
    }

    #[test]
    fn every_other_shape_is_refused() {
        let long = effect(&[7; KEY_BYTES_MAX + 1], 0, b"");
        let cases = [
            (effect(b"", 0, b"1"), ShapeError::EffectsMalformed),
            (long, ShapeError::EffectsMalformed),
            (effect(b"a", 2, b""), ShapeError::EffectsMalformed),
            (effect(b"a", 1, b"1"), ShapeError::EffectsMalformed),
            (effect(b"a", 0, b"12")[..9].to_vec(), ShapeError::EffectsMalformed),
            ([effect(b"a", 0, b"1"), effect(b"a", 1, b"")].concat(), ShapeError::EffectsTwice),
            ((0..17).flat_map(|n| effect(&[n], 0, b"")).collect(), ShapeError::EffectsTooMany),
        ];
        for (bytes, error) in cases {
            assert_eq!(Effects::check(&bytes), Err(error), "{bytes:?}");
        }
        let many: Vec<u8> = (0..16).flat_map(|n| effect(&[n], 0, b"")).collect();
        assert_eq!(Effects::check(&many).map(|effects| effects.iter().count()), Ok(16));
    }
}
