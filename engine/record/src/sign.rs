//! Signing and checking statements: every signature says where and what it is for.
//!
//! Invariant: the signed bytes start with the house's domain tag, the cluster, the shard and the statement's kind,
//! so that a signature made in one place is worth nothing in another. Checking is strict (`verify_strict`): keys and
//! nonces of small order and non-canonical signatures are refused, so every node agrees on every signature.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use crate::codec::{FORMAT_VERSION, Noun};
use crate::ids::{ClusterId, NodeId, OperatorId, ShardId, Signature};

/// Stands in front of everything that is ever signed.
pub const DOMAIN_TAG: [u8; 16] = *b"io_oi signed v1\0";

/// Bytes in front of the statement's body: domain tag, cluster, shard, kind.
pub const PREAMBLE_BYTES: usize = DOMAIN_TAG.len() + ClusterId::BYTES + 2 + 1;
const _: () = assert!(PREAMBLE_BYTES == 51, "FORMAT.md draws the preamble");

/// What a statement is. The number is part of the signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StatementKind {
    /// A leader's header over one block.
    BlockHeader = 1,
    /// A follower's durable acknowledgement of a block.
    Vote = 2,
    /// A candidate's request for an epoch.
    Ballot = 3,
    /// A voter's durable promise of an epoch.
    BallotGrant = 4,
    /// An operator's change of the cluster.
    Governance = 5,
    /// The birth of the cluster.
    Genesis = 6,
    /// A reporter's charge against a key.
    Evidence = 7,
}

/// Something that can be signed.
pub trait Statement {
    /// Which kind it is.
    const KIND: StatementKind;

    /// The cluster it belongs to.
    fn cluster(&self) -> ClusterId;

    /// The shard it belongs to; 0 for statements about the whole cluster.
    fn shard(&self) -> ShardId;

    /// The public key that this statement says it is signed by.
    fn signed_by(&self) -> [u8; 32];

    /// Hands the exact bytes to sign to `look`: the preamble, then the statement's encoding.
    fn with_signed_bytes<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R;
}

/// Writes the preamble of a statement to the front of `out`.
pub(crate) fn write_preamble(kind: StatementKind, cluster: ClusterId, shard: ShardId, out: &mut [u8]) {
    let (tag, rest) = out.split_at_mut(DOMAIN_TAG.len());
    tag.copy_from_slice(&DOMAIN_TAG);
    rest[..32].copy_from_slice(&cluster.0);
    rest[32..34].copy_from_slice(&shard.0.to_le_bytes());
    rest[34] = kind as u8;
}

/// Preamble and body of a statement of `BODY` bytes, together `ALL`, on the stack.
pub(crate) fn fixed_statement<const BODY: usize, const ALL: usize>(
    kind: StatementKind,
    cluster: ClusterId,
    shard: ShardId,
    body: &[u8; BODY],
) -> [u8; ALL] {
    const { assert!(BODY + PREAMBLE_BYTES == ALL) };
    let mut out = [0; ALL];
    write_preamble(kind, cluster, shard, &mut out);
    out[PREAMBLE_BYTES..].copy_from_slice(body);
    out
}

/// Preamble and body of a statement of any length.
pub(crate) fn long_statement(
    kind: StatementKind,
    cluster: ClusterId,
    shard: ShardId,
    body: &[u8],
) -> alloc::vec::Vec<u8> {
    let mut out = alloc::vec![0; PREAMBLE_BYTES];
    write_preamble(kind, cluster, shard, &mut out);
    out.extend_from_slice(body);
    out
}

/// Holds a secret key and signs statements with it. The secret is wiped from memory on drop.
pub struct Signer {
    key: SigningKey,
}

impl Signer {
    /// The signer of a 32-byte secret (the contents of a key file).
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Signer {
        Signer { key: SigningKey::from_bytes(secret) }
    }

    /// This key as a node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// This key as an operator.
    #[must_use]
    pub fn operator(&self) -> OperatorId {
        OperatorId(self.key.verifying_key().to_bytes())
    }

    /// Signs a statement that names this key as its signer; any other is our own broken promise.
    #[must_use]
    pub fn sign<S: Statement>(&self, statement: &S) -> Signature {
        assert_eq!(statement.signed_by(), self.node().0, "a signer only signs for itself");
        self.sign_as_witness(statement)
    }

    /// Signs a statement that has several signers, a genesis for instance.
    #[must_use]
    pub fn sign_as_witness<S: Statement>(&self, statement: &S) -> Signature {
        statement.with_signed_bytes(|bytes| {
            let signature = Signature(self.key.sign(bytes).to_bytes());
            #[cfg(feature = "verify_once")]
            once::note(self.key.verifying_key().as_bytes(), bytes, &signature);
            signature
        })
    }

    /// A secret for one purpose of this node alone, derived from its key; `purpose` must be unique in the program.
    #[must_use]
    pub fn derive_secret(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, self.key.as_bytes())
    }
}

impl fmt::Debug for Signer {
    /// Shows the public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.node())
    }
}

/// A signature or key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The public key is no point of the curve, or of small order.
    #[error("the public key is not usable: check the member's key in the genesis")]
    KeyUnusable,
    /// The signature does not belong to this statement and key.
    #[error(
        "the signature does not match the statement and key: refuse the statement and suspect its sender"
    )]
    SignatureWrong,
}

/// A public key made ready for checking many signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
}

impl VerifyingKey {
    /// Prepares a key; refuses bytes that are no key and keys of small order, under which anything verifies.
    pub fn new(public_key: &[u8; 32]) -> Result<VerifyingKey, VerifyError> {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(public_key).map_err(|_| VerifyError::KeyUnusable)?;
        if key.is_weak() {
            return Err(VerifyError::KeyUnusable);
        }
        Ok(VerifyingKey { key })
    }

    /// The key as a node id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.key.to_bytes())
    }

    /// Checks that this key signed the statement, whoever the statement names.
    pub fn verify<S: Statement>(&self, statement: &S, signature: &Signature) -> Result<(), VerifyError> {
        statement.with_signed_bytes(|bytes| self.verify_bytes(bytes, signature))
    }

    fn verify_bytes(&self, bytes: &[u8], signature: &Signature) -> Result<(), VerifyError> {
        #[cfg(feature = "verify_once")]
        if once::is_known(self.key.as_bytes(), bytes, signature) {
            return Ok(());
        }
        let checked = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.key.verify_strict(bytes, &checked).map_err(|_| VerifyError::SignatureWrong)?;
        #[cfg(feature = "verify_once")]
        once::note(self.key.as_bytes(), bytes, signature);
        Ok(())
    }
}

/// Checks that the key which the statement names signed it.
pub fn verify<S: Statement>(statement: &S, signature: &Signature) -> Result<(), VerifyError> {
    #[cfg(feature = "verify_once")]
    if statement.with_signed_bytes(|bytes| once::is_known(&statement.signed_by(), bytes, signature)) {
        return Ok(());
    }
    VerifyingKey::new(&statement.signed_by())?.verify(statement, signature)
}

// Kinds and nouns are numbered apart; both stand in the signed bytes, so both are pinned.
const _: () =
    assert!(StatementKind::Evidence as u8 == 7 && Noun::Evidence as u8 == 11 && FORMAT_VERSION == 1);

#[cfg(feature = "verify_once")]
mod once;
#[cfg(test)]
mod tests;
