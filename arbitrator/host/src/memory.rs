//! Looking into a guest's memory.
//!
//! Invariant: every pointer and length that a guest says is checked against its memory before it is followed.

/// The bytes at `at`, when all of them are memory.
#[inline]
pub(crate) fn region(memory: &[u8], at: u32, bytes: u32) -> Option<&[u8]> {
    memory.get(at as usize..)?.get(..bytes as usize)
}

/// The same, to be written.
#[inline]
pub(crate) fn region_mut(memory: &mut [u8], at: u32, bytes: usize) -> Option<&mut [u8]> {
    memory.get_mut(at as usize..)?.get_mut(..bytes)
}

/// Pointer and length of the list whose head stands at `at`.
#[inline]
pub(crate) fn list(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((u32_at(bytes, at)?, u32_at(bytes, at + 4)?))
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let (number, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u16::from_le_bytes(*number))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let (number, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_le_bytes(*number))
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let (number, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*number))
}
