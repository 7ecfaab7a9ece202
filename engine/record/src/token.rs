//! Session tokens: what a client shows to get its session back.
//!
//! Invariant: a token is worth something only to the user it was given to and to the node that gave it; nothing is
//! stored, because it can be made again.

use rkyv::{Archive, Deserialize, Serialize};

use crate::ids::SessionId;
use crate::sign::Signer;

/// Proof that a session was given to this user by this node.
#[derive(Clone, Copy, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `SessionToken`."))]
pub struct SessionToken(pub [u8; 32]);

impl PartialEq for SessionToken {
    /// Takes the same time whatever the difference, so that guessing learns nothing.
    fn eq(&self, other: &SessionToken) -> bool {
        blake3::Hash::from(self.0) == blake3::Hash::from(other.0)
    }
}

impl Eq for SessionToken {}

impl core::fmt::Debug for SessionToken {
    /// Shows nothing: a token in a log is a token given away.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// Makes and checks the tokens of one node.
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The token key that belongs to a node's secret key.
    #[must_use]
    pub fn of(signer: &Signer) -> TokenKey {
        TokenKey(signer.derive_secret("io_oi 2025 session token v1"))
    }

    /// The token of a session given to the user `uid`.
    #[must_use]
    pub fn token(&self, session: SessionId, uid: u32) -> SessionToken {
        let mut bytes = [0; SessionId::BYTES + 4];
        bytes[..SessionId::BYTES].copy_from_slice(&session.to_bytes());
        bytes[SessionId::BYTES..].copy_from_slice(&uid.to_le_bytes());
        SessionToken(*blake3::keyed_hash(&self.0, &bytes).as_bytes())
    }

    /// Whether this is the token of that session and user.
    #[must_use]
    pub fn accepts(&self, token: &SessionToken, session: SessionId, uid: u32) -> bool {
        self.token(session, uid) == *token
    }
}

impl core::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeTag;

    #[test]
    fn a_token_opens_its_own_session_for_its_own_user_at_its_own_node_only() {
        let key = TokenKey::of(&Signer::from_secret(&[1; 32]));
        let session = SessionId { node: NodeTag(7), boot: 1, counter: 1 };
        let token = key.token(session, 1000);
        assert!(key.accepts(&token, session, 1000));
        assert!(!key.accepts(&token, session, 1001));
        assert!(!key.accepts(&token, SessionId { counter: 2, ..session }, 1000));
        assert!(!TokenKey::of(&Signer::from_secret(&[2; 32])).accepts(&token, session, 1000));
    }
}
