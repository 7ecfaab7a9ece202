//! What a command can fail with: what happened, what to do, and the exit code that scripts rely on.

use std::path::PathBuf;

use io_oi_client::{AttachError, AttachRefusal, InquiryError, PutError, ReadError, WaitError, WriteError};
use io_oi_record::RefusalCode;
use miette::Diagnostic;

/// Every way to fail. The exit codes are part of the interface: see `--help`.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Failure {
    #[error("{what}")]
    #[diagnostic(code(io_oi::failed))]
    Other {
        what: String,
        #[help]
        help: Option<String>,
    },
    #[error("{what}")]
    #[diagnostic(code(io_oi::usage), help("see `io_oi help` and `io_oi help COMMAND`"))]
    Usage { what: String },
    #[error("there is no {what}")]
    #[diagnostic(code(io_oi::not_found), help("{help}"))]
    NotFound { what: String, help: &'static str },
    #[error("refused: {text}")]
    #[diagnostic(code(io_oi::refused))]
    Refused {
        name: String,
        text: String,
        #[help]
        help: Option<String>,
    },
    #[error("{what}")]
    #[diagnostic(code(io_oi::unreachable))]
    Unreachable {
        what: String,
        #[help]
        help: Option<String>,
    },
    #[error("{what}")]
    #[diagnostic(
        code(io_oi::outcome_open),
        help(
            "it may still happen: look (`io_oi get`, `io_oi peer list`, `io_oi leader show`) before doing it again"
        )
    )]
    OutcomeOpen { what: String },
    /// A file does not hold what it says that it holds.
    #[error("not proven: {what}")]
    #[diagnostic(code(io_oi::not_proven), help("{help}"))]
    NotProven { what: String, help: String },
    /// Nothing to say: the answer was printed already, or the reader of our output left.
    #[error("")]
    Quiet { exit_code: u8 },
}

impl Failure {
    pub(crate) fn other(what: impl ToString) -> Self {
        Failure::Other { what: what.to_string(), help: None }
    }

    pub(crate) fn with_help(what: impl ToString, help: impl ToString) -> Self {
        Failure::Other { what: what.to_string(), help: Some(help.to_string()) }
    }

    /// The process's exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Other { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::NotFound { .. } => 3,
            Failure::Refused { .. } => 4,
            Failure::Unreachable { .. } => 5,
            Failure::OutcomeOpen { .. } => 6,
            Failure::NotProven { .. } => 7,
            Failure::Quiet { exit_code } => *exit_code,
        }
    }

    /// A stable word for programs.
    pub(crate) fn name(&self) -> &str {
        match self {
            Failure::Other { .. } | Failure::Quiet { .. } => "failed",
            Failure::Usage { .. } => "usage",
            Failure::NotFound { .. } => "not-found",
            Failure::Refused { name, .. } => name,
            Failure::Unreachable { .. } => "unreachable",
            Failure::OutcomeOpen { .. } => "outcome-open",
            Failure::NotProven { .. } => "not-proven",
        }
    }

    /// The key does not exist.
    pub(crate) fn no_key(key: &str) -> Self {
        let help = "keys are exact bytes; `io_oi watch` shows what is written";
        Failure::NotFound { what: format!("key `{key}`"), help }
    }

    /// A question to the node was not answered.
    pub(crate) fn from_inquiry(socket: &std::path::Path, error: InquiryError) -> Self {
        match error {
            InquiryError::Unreachable(error) => Failure::from_attach(socket, error),
            InquiryError::Refused { code: AttachRefusal::Undecided, text } => {
                Failure::OutcomeOpen { what: text }
            }
            InquiryError::Refused { code, text } => {
                Failure::Refused { name: code.name().to_owned(), text, help: None }
            }
            error => Failure::other(error),
        }
    }

    /// No socket was named and none is announced.
    pub(crate) fn no_socket() -> Self {
        Failure::Unreachable {
            what: "no node to talk to: no socket is named, and none is announced".to_owned(),
            help: Some(
                "start one with `io_oi dev`, or name a running node's socket: --socket PATH or IO_OI_SOCKET"
                    .to_owned(),
            ),
        }
    }

    /// Attaching failed.
    pub(crate) fn from_attach(socket: &std::path::Path, error: AttachError) -> Self {
        let socket: PathBuf = socket.to_owned();
        match error {
            AttachError::NodeAbsent { .. } => Failure::Unreachable {
                what: format!("nobody listens at {}", socket.display()),
                help: Some("start a node (`io_oi dev`, `io_oi node run --config FILE`), or name another socket with --socket".to_owned()),
            },
            error @ (AttachError::TimedOut
            | AttachError::HungUp
            | AttachError::NotPermitted { .. }
            | AttachError::BadPath { .. }
            | AttachError::System(_)) => Failure::Unreachable {
                what: error.to_string(),
                help: Some(format!("the socket was {}", socket.display())),
            },
            AttachError::Refused { code, text } => Failure::Refused {
                name: "attach-refused".to_owned(),
                text,
                help: Some(format!("the node at {} refused to attach: {code:?}", socket.display())),
            },
            error => Failure::other(error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::other(error)
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        let name = match error {
            PutError::Full { .. } => "full",
            PutError::KeyEmpty => "key-empty",
            PutError::KeyTooLong { .. } => "key-too-long",
            PutError::ValueTooLong { .. } => "value-too-long",
            PutError::PrefixNotAllowed => "prefix-not-allowed",
            PutError::NodeAway => {
                return Failure::Unreachable { what: error.to_string(), help: None };
            }
            _ => return Failure::other(error),
        };
        Failure::Refused { name: name.to_owned(), text: error.to_string(), help: None }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        Failure::OutcomeOpen { what: error.to_string() }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Put(error) => error.into(),
            WriteError::Wait(error) => error.into(),
            WriteError::Refused { code } => {
                let text = match code {
                    RefusalCode::Arbitrator(_) => format!("{} ({code})", code.text()),
                    _ => code.text().to_string(),
                };
                Failure::Refused { name: code.name().to_string(), text, help: None }
            }
            error => Failure::other(error),
        }
    }
}
