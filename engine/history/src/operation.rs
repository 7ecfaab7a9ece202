//! What clients did: one call each, and what they were told.
//!
//! Invariant: an operation is answered at most once, and never before it was invoked.

/// What a write asks of the key before it takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The key does not exist.
    Absent,
    /// The key's newest version has this number.
    VersionIs(u64),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A linearizable read.
    Read,
    /// Write this value.
    Put {
        /// The value.
        value: Vec<u8>,
        /// What must hold first.
        only_if: Condition,
    },
    /// Remove the key.
    Delete {
        /// What must hold first.
        only_if: Condition,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing, or nothing certain: it may take effect at any time after its call, or never.
    Unknown,
    /// It surely never took effect, and says nothing about the key.
    NoEffect,
    /// A write took effect.
    Accepted {
        /// The number of the version that it made, where the system tells.
        version: Option<u64>,
    },
    /// A write found its condition not met.
    Refused,
    /// A read found this.
    Found {
        /// The version's number, where the system tells.
        version: Option<u64>,
        /// The value.
        value: Vec<u8>,
    },
    /// A read found nothing.
    Missing,
}

/// One call of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called; one client makes one call at a time.
    pub client: u64,
    /// The key.
    pub key: Vec<u8>,
    /// When it was called.
    pub invoked_ns: u64,
    /// When the answer came; meaningless while it is unknown.
    pub answered_ns: u64,
    /// What was asked.
    pub call: Call,
    /// What was told.
    pub answer: Answer,
}

/// Names one operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub usize);

/// Everything that clients did, in the order of their calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client calls.
    pub fn invoke(&mut self, now_ns: u64, client: u64, key: &[u8], call: Call) -> OperationId {
        let key = key.to_vec();
        let (answer, answered_ns) = (Answer::Unknown, u64::MAX);
        self.operations.push(Operation { client, key, invoked_ns: now_ns, answered_ns, call, answer });
        OperationId(self.operations.len() - 1)
    }

    /// The client is told. [`Answer::Unknown`] when it gave up waiting.
    pub fn answer(&mut self, now_ns: u64, operation: OperationId, answer: Answer) {
        let operation = &mut self.operations[operation.0];
        assert_eq!(operation.answer, Answer::Unknown, "an operation is answered once");
        assert!(operation.invoked_ns <= now_ns, "an answer follows its call");
        if answer != Answer::Unknown {
            operation.answered_ns = now_ns;
            operation.answer = answer;
        }
    }

    /// Adds an operation that was recorded elsewhere.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// All operations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (client, key) = (self.client, self.key.escape_ascii());
        write!(f, "[{} .. ", self.invoked_ns)?;
        match self.answer {
            Answer::Unknown => f.write_str("?")?,
            _ => write!(f, "{}", self.answered_ns)?,
        }
        write!(f, "] client {client} ")?;
        match &self.call {
            Call::Read => write!(f, "reads {key}")?,
            Call::Put { value, only_if } => write!(f, "puts {key} = {}{only_if}", value.escape_ascii())?,
            Call::Delete { only_if } => write!(f, "deletes {key}{only_if}")?,
        }
        match &self.answer {
            Answer::Unknown => f.write_str(": no answer"),
            Answer::NoEffect => f.write_str(": never took effect"),
            Answer::Accepted { version: None } => f.write_str(": accepted"),
            Answer::Accepted { version: Some(version) } => write!(f, ": accepted as version {version}"),
            Answer::Refused => f.write_str(": condition not met"),
            Answer::Found { version: None, value } => write!(f, ": found {}", value.escape_ascii()),
            Answer::Found { version: Some(version), value } => {
                write!(f, ": found {} version {version}", value.escape_ascii())
            }
            Answer::Missing => f.write_str(": found nothing"),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Absent => f.write_str(" if absent"),
            Self::VersionIs(version) => write!(f, " if version {version}"),
        }
    }
}
