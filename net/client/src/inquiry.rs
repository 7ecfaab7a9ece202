//! Questions to a node that need no session: status, peers, leaders, evidence, proofs, and an operator's change.
//!
//! Invariant: an answer is handed out whole or not at all, and never longer than [`INQUIRY_BYTES_MAX`].

use std::path::Path;
use std::time::Duration;

use io_oi_record::attach::{Answer, AttachRefusal, Inquiry, Refused};
use io_oi_record::limits::PACKET_BYTES_MAX;
use io_oi_record::{Noun, peek_noun};

use crate::AttachError;
use crate::handshake::{connect_error, socket_error};
use crate::socket::{Socket, deadline_after};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InquiryError {
    /// The node could not be reached, or fell silent.
    #[error(transparent)]
    Unreachable(#[from] AttachError),
    /// The node said no.
    #[error("{text}")]
    Refused {
        /// Why, for programs.
        code: AttachRefusal,
        /// Why, for people.
        text: String,
    },
    /// The question breaks a limit, or the answer is none.
    #[error("{what}; node and client must be of the same release")]
    Protocol {
        /// What was wrong.
        what: String,
    },
}

/// Asks the node whose socket is at `path`, at most five seconds.
///
/// # Errors
/// See [`InquiryError`].
pub fn inquire(path: impl AsRef<Path>, inquiry: &Inquiry) -> Result<Vec<u8>, InquiryError> {
    inquire_within(path, inquiry, PATIENCE)
}

/// As [`inquire`], with another patience. A change that is not decided in time is refused as undecided, or the wait
/// ends with `TimedOut`; either way its outcome is open.
///
/// # Errors
/// See [`InquiryError`].
pub fn inquire_within(
    path: impl AsRef<Path>,
    inquiry: &Inquiry,
    patience: Duration,
) -> Result<Vec<u8>, InquiryError> {
    let (path, deadline) = (path.as_ref(), deadline_after(patience));
    let question = inquiry.encode().map_err(|error| protocol(error.to_string()))?;
    let socket = Socket::connect(path, deadline).map_err(|error| connect_error(path, error))?;
    socket.send(&question, deadline).map_err(socket_error)?;
    let (mut whole, mut packet) = (Vec::new(), [0; PACKET_BYTES_MAX]);
    loop {
        let bytes = socket.receive(deadline, true, &mut packet, &mut Vec::new()).map_err(socket_error)?;
        let part = read(&packet[..bytes])?;
        if whole.len() + part.bytes.len() > INQUIRY_BYTES_MAX {
            return Err(protocol(format!("the answer is longer than {INQUIRY_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&part.bytes);
        if part.is_last {
            return Ok(whole);
        }
    }
}

/// Longest answer that is collected: many times the longest proof.
pub const INQUIRY_BYTES_MAX: usize = 64 << 20;

fn read(packet: &[u8]) -> Result<Answer, InquiryError> {
    match peek_noun(packet) {
        Some(Noun::Answer) => Answer::decode(packet).map_err(|error| protocol(error.to_string())),
        Some(Noun::Refused) => {
            let refused = Refused::decode(packet).map_err(|error| protocol(error.to_string()))?;
            Err(InquiryError::Refused { code: refused.code, text: refused.text })
        }
        Some(noun) => Err(protocol(format!("a {noun} packet where an answer was due"))),
        None => Err(protocol("a packet of unknown kind where an answer was due".to_owned())),
    }
}

fn protocol(what: String) -> InquiryError {
    InquiryError::Protocol { what }
}

const PATIENCE: Duration = Duration::from_secs(5);
