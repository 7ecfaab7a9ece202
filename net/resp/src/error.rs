//! Why a command gives no answer, in Redis's own words where Redis has words for it.
//!
//! Invariant: the text begins with a code in capitals, as clients of Redis expect.

use io_oi_client::{PutError, ReadError, RefusalCode};
use io_oi_record::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// See each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR offset is out of range")]
    Offset,
    #[error("ERR invalid cursor")]
    Cursor,
    #[error("ERR DB index is out of range")]
    Database,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    Unknown { name: String, arguments: String },
    #[error("ERR unknown subcommand '{subcommand}'. Try {command} HELP.")]
    Subcommand { command: &'static str, subcommand: String },
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
    )]
    NoPassword,
    #[error("NOPROTO unsupported protocol version")]
    NoProtocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolNumber,
    #[error("LOADING Redis is loading the dataset in memory")]
    Loading,
    #[error("ERR the key is empty: a key of io_oi has 1 to {KEY_BYTES_MAX} bytes")]
    KeyEmpty,
    #[error("ERR the key is too long: a key of io_oi has 1 to {KEY_BYTES_MAX} bytes")]
    KeyTooLong,
    #[error(
        "ERR string exceeds maximum allowed size (proto-max-bulk-len): a value of io_oi has at most {VALUE_BYTES_MAX} bytes"
    )]
    ValueTooLong,
    #[error("ERR unsupported: {0}")]
    Unsupported(&'static str),
    #[error("OOM command not allowed when used memory > 'maxmemory'. {}", RefusalCode::HotTierFull.text())]
    MemoryFull,
    #[error("MISCONF {}", RefusalCode::DiskFull.text())]
    DiskFull,
    #[error("TRYAGAIN {}", .0.text())]
    TryAgain(RefusalCode),
    #[error("NOPERM {}", RefusalCode::PrefixNotAllowed.text())]
    NotAllowed,
    #[error("REFUSED {} {}", name_of(.0), .0.text())]
    Refused(RefusalCode),
    #[error(
        "UNKNOWNOUTCOME the session with the node was lost before the answer came: read the key to learn what took effect"
    )]
    OutcomeUnknown,
    #[error("ERR the key could not be read: {0}")]
    Read(ReadError),
    /// Anything that has its text already.
    #[error("{0}")]
    Other(String),
}

impl CommandError {
    /// Why the store said no.
    pub(crate) fn of_refusal(code: RefusalCode) -> Self {
        match code {
            RefusalCode::HotTierFull => Self::MemoryFull,
            RefusalCode::DiskFull => Self::DiskFull,
            RefusalCode::PrefixNotAllowed => Self::NotAllowed,
            RefusalCode::NotLeader
            | RefusalCode::LeaderUnknown
            | RefusalCode::SessionsBusy
            | RefusalCode::NotAccepted
            | RefusalCode::ArbitratorDeferred
            | RefusalCode::ShuttingDown => Self::TryAgain(code),
            RefusalCode::SessionUnknown | RefusalCode::SessionExpired | RefusalCode::AnswerForgotten => {
                Self::OutcomeUnknown
            }
            code => Self::Refused(code),
        }
    }

    /// Why the client took nothing. What passes by itself never comes here.
    pub(crate) fn of_put(error: &PutError) -> Self {
        match error {
            PutError::KeyEmpty => Self::KeyEmpty,
            PutError::KeyTooLong { .. } => Self::KeyTooLong,
            PutError::ValueTooLong { .. } => Self::ValueTooLong,
            PutError::PrefixNotAllowed => Self::NotAllowed,
            error => Self::Other(format!("ERR {error}")),
        }
    }
}

/// An arbitrator's own number stands behind its name.
fn name_of(code: &RefusalCode) -> String {
    match code {
        RefusalCode::Arbitrator(number) => format!("arbitrator({})", number.get()),
        code => code.name().to_owned(),
    }
}
