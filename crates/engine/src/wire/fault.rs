//! What can be wrong with a frame.

use custody_model::DenyReason;
use std::fmt;

/// Something wrong with a frame, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON, not JSON-RPC, or over a limit.
    Malformed(Flaw),
    /// Two parsers could read it differently.
    Ambiguous(Flaw),
}

/// A byte offset in the frame and what is wrong there. Headers have no offset: theirs is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Byte offset.
    pub at: usize,
    /// What is wrong.
    pub what: What,
}

/// The flaws that are looked for. `Display` gives them in words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "Display says each in words")]
pub enum What {
    TooLarge { bytes: usize, limit: usize },
    TooDeep { limit: usize },
    BatchTooLong { limit: usize },
    Empty,
    EndsEarly,
    Unexpected { byte: u8, wanted: &'static str },
    ControlInString { byte: u8 },
    BadEscape,
    BadNumber,
    TrailingBytes,
    NotAMessage,
    EmptyBatch,
    ItemNotAnObject,
    MethodNotText,
    NoId,
    NoTarget { key: &'static str },
    TargetNotText { key: &'static str },
    ByteOrderMark,
    BadUtf8,
    LoneSurrogate,
    NulInName,
    DuplicateKey(String),
    CaseVariant { found: String, key: &'static str },
    OddId(&'static str),
    OddJsonrpc,
    ParamsNotAnObject,
    ArgumentsNotAnObject,
    ResultAndError,
    RequestAndResponse,
    HeaderMissing(&'static str),
    HeaderMismatch(&'static str),
    HeaderUnreadable(&'static str),
    LineBreak,
}

impl Fault {
    /// Where and what.
    pub fn flaw(&self) -> &Flaw {
        match self {
            Fault::Malformed(flaw) | Fault::Ambiguous(flaw) => flaw,
        }
    }

    /// The reason a denial gives in the ledger.
    pub fn reason(&self) -> DenyReason {
        match self {
            Fault::Malformed(_) => DenyReason::Malformed,
            Fault::Ambiguous(_) => DenyReason::Ambiguous,
        }
    }

    pub(super) fn malformed(at: usize, what: What) -> Fault {
        Fault::Malformed(Flaw { at, what })
    }

    pub(super) fn ambiguous(at: usize, what: What) -> Fault {
        Fault::Ambiguous(Flaw { at, what })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Fault::Malformed(_) => "malformed",
            Fault::Ambiguous(_) => "ambiguous",
        };
        let Flaw { at, what } = self.flaw();
        write!(f, "{kind} at byte {at}: {what}")
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::TooLarge { bytes, limit } => write!(f, "{bytes} bytes, {limit} allowed"),
            What::TooDeep { limit } => write!(f, "nested deeper than {limit}"),
            What::BatchTooLong { limit } => write!(f, "more than {limit} messages in a batch"),
            What::Empty => f.write_str("nothing but white space"),
            What::EndsEarly => f.write_str("ends in the middle"),
            What::Unexpected { byte, wanted } => write!(f, "{} where {wanted} should be", shown(*byte)),
            What::ControlInString { byte } => write!(f, "{} inside a string", shown(*byte)),
            What::BadEscape => f.write_str("an escape that JSON does not have"),
            What::BadNumber => f.write_str("a number that JSON does not have"),
            What::TrailingBytes => f.write_str("bytes after the end of the message"),
            What::NotAMessage => f.write_str("JSON, but no JSON-RPC message"),
            What::EmptyBatch => f.write_str("a batch of nothing"),
            What::ItemNotAnObject => f.write_str("a batch item that is no message"),
            What::MethodNotText => f.write_str("a method that is no string"),
            What::NoId => f.write_str("a result without an id"),
            What::NoTarget { key } => write!(f, "a call without params.{key}"),
            What::TargetNotText { key } => write!(f, "params.{key} is no string"),
            What::ByteOrderMark => f.write_str("a byte order mark"),
            What::BadUtf8 => f.write_str("not UTF-8"),
            What::LoneSurrogate => f.write_str("half a surrogate pair"),
            What::NulInName => f.write_str("a NUL character in a name"),
            What::DuplicateKey(key) => write!(f, "the key {key:?} twice in one object"),
            What::CaseVariant { found, key } => write!(f, "the key {found:?}, which some parsers take for {key:?}"),
            What::OddId(how) => write!(f, "an id that is {how}"),
            What::OddJsonrpc => f.write_str("jsonrpc is not \"2.0\""),
            What::ParamsNotAnObject => f.write_str("params is no object"),
            What::ArgumentsNotAnObject => f.write_str("params.arguments is no object"),
            What::ResultAndError => f.write_str("a result and an error in one message"),
            What::RequestAndResponse => f.write_str("a method and a result or error in one message"),
            What::HeaderMissing(name) => write!(f, "the header {name} is missing"),
            What::HeaderMismatch(name) => write!(f, "the header {name} does not say what the body says"),
            What::HeaderUnreadable(name) => write!(f, "the header {name} cannot be decoded"),
            What::LineBreak => f.write_str("a line break inside the message, where some readers of lines start a new message"),
        }
    }
}

fn shown(byte: u8) -> String {
    match byte {
        0x21..=0x7e => format!("'{}'", byte as char),
        _ => format!("byte 0x{byte:02x}"),
    }
}

/// Faults found so far. Bounded: a hostile frame could hold millions.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    const MOST: usize = 16;

    pub(super) fn add(&mut self, fault: Fault) {
        if self.0.len() < Self::MOST {
            self.0.push(fault);
        }
    }
}
