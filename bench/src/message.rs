//! What is said: the handshake of either era, and a call of the tool `echo` with a text of a given length.

use clap::ValueEnum;

/// Ids have this many digits, so that one can be written over another.
pub const ID_DIGITS: usize = 9;
/// The first id of a call.
pub const FIRST_ID: u64 = 100_000_000;
/// Different texts, used in turn.
const TEXTS: usize = 16;

/// Protocol revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Era {
    /// With a session.
    #[value(name = "2025-11-25")]
    Sessions,
    /// Stateless.
    #[value(name = "2026-07-28")]
    Stateless,
}

impl Era {
    /// Its date.
    pub fn revision(self) -> &'static str {
        match self {
            Era::Sessions => "2025-11-25",
            Era::Stateless => "2026-07-28",
        }
    }

    /// What a client of the era says first; the answer is awaited.
    pub fn hello(self) -> Message {
        match self {
            Era::Sessions => Message::new(
                "initialize",
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"custody-bench","version":"1"}}}"#.to_owned(),
            ),
            Era::Stateless => Message::new("server/discover", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#)),
        }
    }

    /// What follows the answer; nothing is awaited.
    pub fn ready(self) -> Option<Message> {
        (self == Era::Sessions)
            .then(|| Message::new("notifications/initialized", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned()))
    }

    /// Asks for the tools: only a tool that was listed is known by name to who stands between.
    pub fn list(self) -> Message {
        let params = if self == Era::Stateless { format!(r#","params":{{{META}}}"#) } else { String::new() };
        Message::new("tools/list", format!(r#"{{"jsonrpc":"2.0","id":2,"method":"tools/list"{params}}}"#))
    }

    /// Calls with texts of `bytes`. Write the id over the digits at `id_at`.
    pub fn calls(self, bytes: usize) -> Vec<Call> {
        (0..TEXTS as u64).map(|seed| self.call(&text(seed, bytes))).collect()
    }

    fn call(self, text: &str) -> Call {
        let meta = if self == Era::Stateless { format!(",{META}") } else { String::new() };
        let before = r#"{"jsonrpc":"2.0","id":"#;
        let json =
            format!(r#"{before}{FIRST_ID},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}"}}{meta}}}}}"#);
        Call { message: Message { name: Some("echo"), ..Message::new("tools/call", json) }, id_at: before.len() }
    }
}

/// What each request of the stateless era says of its sender.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"custody-bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// A JSON-RPC message, and what the headers say of it.
pub struct Message {
    /// The method.
    pub method: &'static str,
    /// The tool.
    pub name: Option<&'static str>,
    /// The whole of it.
    pub json: String,
}

impl Message {
    fn new(method: &'static str, json: String) -> Message {
        Message { method, name: None, json }
    }
}

/// A call whose id can be changed in place.
pub struct Call {
    /// With the first id.
    pub message: Message,
    /// Where the id's digits begin.
    pub id_at: usize,
}

/// Writes `id` over the digits at `at`.
pub fn write_id(bytes: &mut [u8], at: usize, mut id: u64) {
    for digit in bytes[at..at + ID_DIGITS].iter_mut().rev() {
        *digit = b'0' + (id % 10) as u8;
        id /= 10;
    }
}

/// Words as a report has them, `bytes` long: as compressible as text is.
fn text(seed: u64, bytes: usize) -> String {
    const WORDS: [&str; 32] = [
        "quarterly",
        "report",
        "revenue",
        "of",
        "the",
        "northern",
        "region",
        "rose",
        "by",
        "seven",
        "percent",
        "against",
        "last",
        "year",
        "orders",
        "from",
        "new",
        "customers",
        "and",
        "renewals",
        "stayed",
        "level",
        "margin",
        "fell",
        "two",
        "points",
        "on",
        "freight",
        "costs",
        "see",
        "table",
        "twelve",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(bytes + 12);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[(state % 32) as usize]);
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// Whether these bytes are a good answer to the call with this id.
pub fn answers(body: &[u8], id: u64) -> bool {
    let mut digits = [b'0'; ID_DIGITS];
    write_id(&mut digits, 0, id);
    // The head of an answer: whoever stands between may have written it anew, and may wrap it as an event.
    let head = &body[..body.len().min(512)];
    memchr::memmem::find(head, &digits).is_some() && memchr::memmem::find(head, b"\"result\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_json_with_a_text_of_the_length_asked_for() {
        for era in [Era::Sessions, Era::Stateless] {
            for call in era.calls(4096) {
                let mut json = call.message.json.into_bytes();
                write_id(&mut json, call.id_at, 123_456_789);
                let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
                assert_eq!(value["id"], 123_456_789);
                assert_eq!(value["params"]["arguments"]["text"].as_str().unwrap().len(), 4096);
                assert_eq!(value["params"]["_meta"].is_object(), era == Era::Stateless);
            }
        }
        assert!(answers(br#"{"jsonrpc":"2.0","id":123456789,"result":{}}"#, 123_456_789));
        assert!(!answers(br#"{"jsonrpc":"2.0","id":123456789,"error":{}}"#, 123_456_789));
    }
}
