//! How the bytes of an arbitrator travel: in parts, each beside the small record that an operator signs.
//!
//! Invariant: what is signed names the hash of what travels with it, so a part is authentic wherever it is read; and who
//! only has to follow who decided what (a proof) needs the signed record alone.

use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, check_kind};
use crate::error::{DecodeError, EncodeError};
use crate::genesis::{check_count, check_max};
use crate::governance::{Change, SignedGovernance};
use crate::hash::Domain;
use crate::ids::Hash;
use crate::limits::{OPERATOR_WRITE_BYTES_MAX, PART_BYTES_MAX, SHIPMENT_BYTES_MAX};
use crate::proposal::{Operation, Proposal};

/// The next part of a component. A component is complete once its parts, one behind the other, have its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `ComponentPart`."))]
pub struct ComponentPart {
    /// Hash of the whole component.
    pub component: Hash,
    /// Hash of the part's bytes, which travel beside the signed record.
    pub part: Hash,
}

impl ComponentPart {
    /// Names the next part of a component.
    #[must_use]
    pub fn of(component: Hash, bytes: &[u8]) -> ComponentPart {
        ComponentPart { component, part: Domain::Arbitrator.hash(bytes) }
    }
}

/// What the fuel and the answers of a judge may depend on beside its own bytes. A node judges only by the versions that
/// its own program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `JudgeVersions`."))]
pub struct JudgeVersions {
    /// How components are sealed.
    pub seal: u16,
    /// The table of what operators cost.
    pub costs: u16,
    /// The engine's major, minor and patch version.
    pub engine: [u16; 3],
}

impl core::fmt::Display for JudgeVersions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [major, minor, patch] = self.engine;
        write!(f, "seal {}, costs {}, engine {major}.{minor}.{patch}", self.seal, self.costs)
    }
}

/// The value of a `Govern` proposal: the signed record, and the bytes that travel with it, if it names any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment<'a> {
    /// What was decided.
    pub signed: SignedGovernance,
    /// The bytes that it names; empty unless it names some.
    pub payload: &'a [u8],
}

/// Bytes in front of the signed record of a shipment with a payload: kind, version, length of the record.
pub const SHIPMENT_HEAD_BYTES: usize = 4;

impl From<SignedGovernance> for Shipment<'static> {
    /// A record with which nothing travels.
    fn from(signed: SignedGovernance) -> Shipment<'static> {
        Shipment { signed, payload: &[] }
    }
}

impl<'a> Shipment<'a> {
    /// The signed record alone when nothing travels with it, else a head, the record, and the payload.
    ///
    /// # Errors
    ///
    /// When a limit is broken, or the payload is not the one that is named.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let signed = self.signed.encode()?;
        self.check()?;
        if self.payload.is_empty() {
            return Ok(signed);
        }
        let mut bytes = alloc::vec![Noun::Shipment as u8, FORMAT_VERSION];
        bytes.extend_from_slice(&(signed.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&signed);
        bytes.extend_from_slice(self.payload);
        Ok(bytes)
    }

    /// Reads a shipment that fills `bytes` exactly, and checks the payload against its name. Says nothing about the
    /// signature.
    ///
    /// # Errors
    ///
    /// When the bytes are no shipment.
    pub fn decode(bytes: &'a [u8]) -> Result<Shipment<'a>, DecodeError> {
        let noun = Noun::Shipment;
        if bytes.first() != Some(&(noun as u8)) {
            let shipment = Shipment { signed: SignedGovernance::decode(bytes)?, payload: &[] };
            shipment.check().map_err(DecodeError::Limit)?;
            return Ok(shipment);
        }
        if bytes.len() > SHIPMENT_BYTES_MAX {
            return Err(DecodeError::TooLong { noun, found: bytes.len(), max: SHIPMENT_BYTES_MAX });
        }
        check_kind(noun, bytes, SHIPMENT_HEAD_BYTES)?;
        let (head, rest) = bytes.split_at(SHIPMENT_HEAD_BYTES);
        let signed_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let Some((signed, payload)) = rest.split_at_checked(signed_bytes) else {
            let named = SHIPMENT_HEAD_BYTES + signed_bytes;
            return Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() });
        };
        if payload.is_empty() {
            return Err(DecodeError::NotCanonical { noun });
        }
        let shipment = Shipment { signed: SignedGovernance::decode(signed)?, payload };
        shipment.check().map_err(DecodeError::Limit)?;
        Ok(shipment)
    }

    fn check(&self) -> Result<(), EncodeError> {
        match self.signed.governance.change {
            Change::StorePart(part) => {
                check_count("a component's part", self.payload.len(), PART_BYTES_MAX)?;
                if Domain::Arbitrator.hash(self.payload) == part.part {
                    Ok(())
                } else {
                    Err(EncodeError::PayloadWrong)
                }
            }
            Change::Write(hash) => {
                check_count("an operator's write", self.payload.len(), OPERATOR_WRITE_BYTES_MAX)?;
                if Domain::OperatorWrite.hash(self.payload) == hash && self.write().is_some() {
                    Ok(())
                } else {
                    Err(EncodeError::PayloadWrong)
                }
            }
            _ => check_max("what travels with this change", self.payload.len(), 0),
        }
    }

    /// The put or delete that an operator has signed, when the change is one; its key and value stand in the payload.
    #[must_use]
    pub fn write(&self) -> Option<Proposal<'a>> {
        let Change::Write(_) = self.signed.governance.change else { return None };
        Proposal::decode(self.payload).ok().filter(|write| write.operation.has_key())
    }
}

impl Change {
    /// The change that writes one key, and what travels with it.
    ///
    /// # Errors
    ///
    /// When the proposal is no put or delete, or is longer than `OPERATOR_WRITE_BYTES_MAX`.
    pub fn write(proposal: &Proposal<'_>) -> Result<(Change, Vec<u8>), EncodeError> {
        let mut payload = alloc::vec![0; proposal.encoded_bytes()];
        proposal.encode(&mut payload)?;
        check_max("an operator's write", payload.len(), OPERATOR_WRITE_BYTES_MAX)?;
        if !proposal.operation.has_key() {
            return Err(EncodeError::PayloadWrong);
        }
        Ok((Change::Write(Domain::OperatorWrite.hash(&payload)), payload))
    }
}

impl<'a> Proposal<'a> {
    /// What an operator writes by this proposal, if it is a governance record that writes a key.
    #[must_use]
    #[inline]
    pub fn operators_write(&self) -> Option<Proposal<'a>> {
        if self.operation == Operation::Govern { Shipment::decode(self.value).ok()?.write() } else { None }
    }
}
