//! The scanner: one pass over the bytes, no recursion, no tree. Checks JSON and writes down where the envelope's parts lie.

use super::{
    Limits, Span,
    fault::{Fault, Faults, What},
    number::{Sort, Value, number_length},
    text::{case_variant, hex4, unescape_bytes},
};

/// Deeper than this the scan stops; between the configured limit and this it only notes the depth, so that what stands behind a
/// deep value is still found. One level costs 20 bytes.
const HARD_DEPTH: usize = 1 << 16;

/// A part of the envelope. The order matters: [`Parts::forget`] clears ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Slot {
    Nothing,
    Root,
    Item,
    Jsonrpc,
    Id,
    Method,
    Params,
    Name,
    Uri,
    Arguments,
    ParamsProgressToken,
    RequestId,
    ParamsVersion,
    ParamsClientInfo,
    ParamsRequestState,
    TaskId,
    Meta,
    MetaProgressToken,
    MetaVersion,
    MetaClientInfo,
    Traceparent,
    MetaSubscription,
    Result,
    ResultVersion,
    ResultRequestState,
    ServerInfo,
    ResultMeta,
    ResultSubscription,
    Error,
}

const SLOTS: usize = Slot::Error as usize + 1;

/// What kind of object a key stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Other,
    Batch,
    Message,
    Params,
    Meta,
    Result,
    ResultMeta,
}

impl Place {
    /// Keys that matter here.
    fn keys(self) -> &'static [(&'static str, Slot)] {
        match self {
            Place::Other | Place::Batch => &[],
            Place::Message => &[
                ("jsonrpc", Slot::Jsonrpc),
                ("id", Slot::Id),
                ("method", Slot::Method),
                ("params", Slot::Params),
                ("result", Slot::Result),
                ("error", Slot::Error),
            ],
            Place::Params => &[
                ("name", Slot::Name),
                ("uri", Slot::Uri),
                ("arguments", Slot::Arguments),
                ("_meta", Slot::Meta),
                ("progressToken", Slot::ParamsProgressToken),
                ("requestId", Slot::RequestId),
                ("protocolVersion", Slot::ParamsVersion),
                ("clientInfo", Slot::ParamsClientInfo),
                ("requestState", Slot::ParamsRequestState),
                ("taskId", Slot::TaskId),
            ],
            Place::Meta => &[
                ("progressToken", Slot::MetaProgressToken),
                ("io.modelcontextprotocol/protocolVersion", Slot::MetaVersion),
                ("io.modelcontextprotocol/clientInfo", Slot::MetaClientInfo),
                ("io.modelcontextprotocol/subscriptionId", Slot::MetaSubscription),
                ("traceparent", Slot::Traceparent),
            ],
            Place::Result => &[
                ("_meta", Slot::ResultMeta),
                ("protocolVersion", Slot::ResultVersion),
                ("requestState", Slot::ResultRequestState),
                ("serverInfo", Slot::ServerInfo),
            ],
            Place::ResultMeta => &[("io.modelcontextprotocol/subscriptionId", Slot::ResultSubscription)],
        }
    }
}

/// Where the parts of one message lie. Of a key that stands twice, the last counts, as in most parsers; it is reported anyway.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) span: Span,
    /// Whether its closing brace was seen.
    pub(super) whole: bool,
    values: [Option<Value>; SLOTS],
}

impl Parts {
    fn new(at: usize) -> Parts {
        Parts { span: Span { start: at, end: at }, whole: false, values: [None; SLOTS] }
    }

    pub(super) fn value(&self, slot: Slot) -> Option<Value> {
        self.values[slot as usize]
    }

    /// A second `params` replaces the first one wholly.
    fn forget(&mut self, slot: Slot) {
        let last = match slot {
            Slot::Params => Slot::MetaSubscription,
            Slot::Meta => Slot::MetaSubscription,
            Slot::Result => Slot::ResultSubscription,
            Slot::ResultMeta => Slot::ResultSubscription,
            other => other,
        };
        self.values[slot as usize..=last as usize].fill(None);
    }
}

/// What a scan found.
pub(super) struct Scanned {
    /// Sort of the outermost value; `None`: there is none.
    pub(super) root: Option<Sort>,
    /// The messages: one, or those of a batch.
    pub(super) messages: Vec<Parts>,
    /// Whether the bytes are JSON throughout.
    pub(super) json: bool,
    /// First raw CR or LF that has something of the message after it.
    pub(super) line_break: Option<usize>,
    pub(super) faults: Faults,
}

pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Scanned {
    let mut scanner = Scanner {
        bytes,
        at: 0,
        limits,
        levels: Vec::with_capacity(8),
        keys: Vec::with_capacity(16),
        line_break: None,
        out: Scanned { root: None, messages: Vec::new(), json: true, line_break: None, faults: Faults::default() },
    };
    if let Err(error) = std::str::from_utf8(bytes) {
        scanner.out.faults.add(Fault::ambiguous(error.valid_up_to(), What::BadUtf8));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        scanner.out.faults.add(Fault::ambiguous(0, What::ByteOrderMark));
        scanner.at = 3;
    }
    if let Err(Stop(at, what)) = scanner.run() {
        scanner.out.json = false;
        scanner.out.faults.add(Fault::malformed(at, what));
    }
    scanner.out
}

/// The scan cannot go on.
struct Stop(usize, What);

/// One open array or object.
struct Level {
    object: bool,
    place: Place,
    slot: Slot,
    start: u32,
    /// Where its keys start in [`Scanner::keys`].
    keys: u32,
}

/// A key that was seen: hash of its text and offset of its opening quote.
type SeenKey = (u32, u32);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    CommaOrEnd,
    Nothing,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    levels: Vec<Level>,
    /// Keys of all open objects, innermost last.
    keys: Vec<SeenKey>,
    line_break: Option<usize>,
    out: Scanned,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut expect = Expect::Value;
        let mut slot = Slot::Root;
        loop {
            self.skip_white_space();
            let Some(&byte) = self.bytes.get(self.at) else {
                return match expect {
                    Expect::Nothing => Ok(()),
                    _ if self.out.root.is_none() => Err(Stop(self.at, What::Empty)),
                    _ => Err(Stop(self.at, What::EndsEarly)),
                };
            };
            self.out.line_break = self.line_break;
            match (expect, byte) {
                (Expect::Nothing, _) => return Err(Stop(self.at, What::TrailingBytes)),
                (Expect::KeyOrEnd | Expect::CommaOrEnd, b'}') if self.in_object() => expect = self.close(),
                (Expect::ValueOrEnd | Expect::CommaOrEnd, b']') if !self.in_object() => expect = self.close(),
                (Expect::CommaOrEnd, b',') => {
                    self.at += 1;
                    (expect, slot) = match self.levels.last() {
                        Some(level) if level.object => (Expect::Key, Slot::Nothing),
                        Some(level) if level.place == Place::Batch => (Expect::Value, Slot::Item),
                        _ => (Expect::Value, Slot::Nothing),
                    };
                }
                (Expect::CommaOrEnd, _) => return Err(self.unexpected("',' or the end")),
                (Expect::Key | Expect::KeyOrEnd, b'"') => {
                    slot = self.key()?;
                    expect = Expect::Value;
                }
                (Expect::Key | Expect::KeyOrEnd, _) => return Err(self.unexpected("a key")),
                (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => {
                    (expect, slot) = self.open(byte == b'{', slot)?;
                }
                (Expect::Value | Expect::ValueOrEnd, _) => {
                    let start = self.at;
                    let sort = self.scalar(byte, slot)?;
                    self.found(slot, Value { span: Span { start, end: self.at }, sort });
                    expect = self.after_value();
                }
            }
        }
    }

    fn in_object(&self) -> bool {
        self.levels.last().is_some_and(|level| level.object)
    }

    fn after_value(&self) -> Expect {
        if self.levels.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd }
    }

    fn unexpected(&self, wanted: &'static str) -> Stop {
        Stop(self.at, What::Unexpected { byte: self.bytes[self.at], wanted })
    }

    fn skip_white_space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.bytes.get(self.at) {
            if matches!(byte, b'\r' | b'\n') && self.line_break.is_none() {
                self.line_break = Some(self.at);
            }
            self.at += 1;
        }
    }

    fn open(&mut self, object: bool, slot: Slot) -> Result<(Expect, Slot), Stop> {
        let place = match (slot, object) {
            (Slot::Root, false) => Place::Batch,
            (Slot::Root | Slot::Item, true) => Place::Message,
            (Slot::Params, true) => Place::Params,
            (Slot::Meta, true) => Place::Meta,
            (Slot::Result, true) => Place::Result,
            (Slot::ResultMeta, true) => Place::ResultMeta,
            _ => Place::Other,
        };
        let sort = if object { Sort::Object } else { Sort::Array };
        match slot {
            Slot::Root => self.out.root = Some(sort),
            Slot::Item if !object => self.out.faults.add(Fault::malformed(self.at, What::ItemNotAnObject)),
            Slot::Params | Slot::Meta | Slot::Result | Slot::ResultMeta => self.message(|parts| parts.forget(slot)),
            _ => {}
        }
        if place == Place::Message {
            if self.out.messages.len() == self.limits.batch.max(1) {
                self.out.faults.add(Fault::malformed(self.at, What::BatchTooLong { limit: self.limits.batch }));
                return Err(Stop(self.at, What::BatchTooLong { limit: self.limits.batch }));
            }
            self.out.messages.push(Parts::new(self.at));
        }
        if self.levels.len() == self.limits.depth {
            self.out.faults.add(Fault::malformed(self.at, What::TooDeep { limit: self.limits.depth }));
        }
        if self.levels.len() == self.limits.depth.max(HARD_DEPTH) {
            return Err(Stop(self.at, What::TooDeep { limit: self.limits.depth }));
        }
        self.levels.push(Level { object, place, slot, start: self.at as u32, keys: self.keys.len() as u32 });
        self.at += 1;
        Ok(match (object, place) {
            (true, _) => (Expect::KeyOrEnd, Slot::Nothing),
            (false, Place::Batch) => (Expect::ValueOrEnd, Slot::Item),
            (false, _) => (Expect::ValueOrEnd, Slot::Nothing),
        })
    }

    fn close(&mut self) -> Expect {
        self.at += 1;
        let level = self.levels.pop().expect("the caller saw an open level");
        let span = Span { start: level.start as usize, end: self.at };
        if level.object {
            self.find_duplicates(level.keys as usize);
        }
        let sort = if level.object { Sort::Object } else { Sort::Array };
        self.found(level.slot, Value { span, sort });
        if level.place == Place::Message {
            self.message(|parts| (parts.span, parts.whole) = (span, true));
        }
        self.after_value()
    }

    /// Acts on the message that is being read.
    fn message(&mut self, act: impl FnOnce(&mut Parts)) {
        if let Some(parts) = self.out.messages.last_mut() {
            act(parts);
        }
    }

    fn found(&mut self, slot: Slot, value: Value) {
        match slot {
            Slot::Nothing => {}
            Slot::Root => self.out.root = Some(value.sort),
            Slot::Item if matches!(value.sort, Sort::Object | Sort::Array) => {}
            Slot::Item => self.out.faults.add(Fault::malformed(value.span.start, What::ItemNotAnObject)),
            _ => self.message(|parts| {
                if value.sort != Sort::Object {
                    parts.forget(slot);
                }
                parts.values[slot as usize] = Some(value);
            }),
        }
    }

    /// A key and its colon. Gives what its value is to the envelope.
    fn key(&mut self) -> Result<Slot, Stop> {
        let start = self.at;
        let string = self.string()?;
        let bytes = self.bytes;
        let inner = string.inner.of(bytes);
        let text = if string.escaped { unescape_bytes(inner) } else { inner.into() };
        if string.nul {
            self.out.faults.add(Fault::ambiguous(start, What::NulInName));
        }
        self.keys.push((hash(&text), start as u32));
        let place = self.levels.last().map_or(Place::Other, |level| level.place);
        let mut slot = Slot::Nothing;
        let key = if text.len() < 64 && !place.keys().is_empty() { std::str::from_utf8(&text).ok() } else { None };
        for (name, its) in place.keys() {
            if *text == *name.as_bytes() {
                slot = *its;
            } else if let Some(key) = key
                && case_variant(key, name)
            {
                let found = key.to_owned();
                self.out.faults.add(Fault::ambiguous(start, What::CaseVariant { found, key: name }));
            }
        }
        self.skip_white_space();
        match self.bytes.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.unexpected("':'")),
            None => return Err(Stop(self.at, What::EndsEarly)),
        }
        Ok(slot)
    }

    fn scalar(&mut self, byte: u8, slot: Slot) -> Result<Sort, Stop> {
        match byte {
            b'"' => {
                let start = self.at;
                let string = self.string()?;
                if string.nul && matches!(slot, Slot::Method | Slot::Name | Slot::Uri | Slot::Id) {
                    self.out.faults.add(Fault::ambiguous(start, What::NulInName));
                }
                Ok(Sort::Text)
            }
            b'-' | b'0'..=b'9' => {
                let length = number_length(&self.bytes[self.at..]).ok_or(Stop(self.at, What::BadNumber))?;
                self.at += length;
                Ok(Sort::Number)
            }
            b't' => self.literal(b"true", Sort::Bool),
            b'f' => self.literal(b"false", Sort::Bool),
            b'n' => self.literal(b"null", Sort::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, word: &[u8], sort: Sort) -> Result<Sort, Stop> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(sort)
    }

    fn string(&mut self) -> Result<Text, Stop> {
        let start = self.at + 1;
        let mut text = Text { inner: Span { start, end: start }, escaped: false, nul: false };
        let mut at = start;
        loop {
            let plain = memchr::memchr2(b'"', b'\\', &self.bytes[at..]);
            let end = plain.map_or(self.bytes.len(), |plain| at + plain);
            if let Some(control) = find_control(&self.bytes[at..end]) {
                let at = at + control;
                return Err(Stop(at, What::ControlInString { byte: self.bytes[at] }));
            }
            at = end;
            match self.bytes.get(at) {
                None => return Err(Stop(self.bytes.len(), What::EndsEarly)),
                Some(b'"') => {
                    text.inner.end = at;
                    self.at = at + 1;
                    return Ok(text);
                }
                Some(_) => {
                    text.escaped = true;
                    at = self.escape(at, &mut text)?;
                }
            }
        }
    }

    /// Checks the escape at `at`, gives the offset behind it.
    fn escape(&mut self, at: usize, text: &mut Text) -> Result<usize, Stop> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(at + 2),
            Some(b'u') => {}
            Some(_) => return Err(Stop(at, What::BadEscape)),
            None => return Err(Stop(self.bytes.len(), What::EndsEarly)),
        }
        match hex4(&self.bytes[at + 2..]).ok_or(Stop(at, What::BadEscape))? {
            0 => text.nul = true,
            0xd800..=0xdbff => {
                let low = self.bytes[at + 6..].strip_prefix(b"\\u").and_then(hex4);
                if matches!(low, Some(0xdc00..=0xdfff)) {
                    return Ok(at + 12);
                }
                self.out.faults.add(Fault::ambiguous(at, What::LoneSurrogate));
            }
            0xdc00..=0xdfff => self.out.faults.add(Fault::ambiguous(at, What::LoneSurrogate)),
            _ => {}
        }
        Ok(at + 6)
    }

    /// Looks for equal keys among those of the object that ends, and forgets them.
    ///
    /// Sorting by hash keeps it at n log n, whatever the keys; those of equal hash are sorted by their text.
    fn find_duplicates(&mut self, from: usize) {
        let mut keys = std::mem::take(&mut self.keys);
        let bytes = self.bytes;
        let mine = &mut keys[from..];
        mine.sort_unstable();
        for run in mine.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
            run.sort_by_cached_key(|key| key_text(bytes, *key));
            for pair in run.windows(2) {
                let text = key_text(bytes, pair[1]);
                if key_text(bytes, pair[0]) == text {
                    let shown = String::from_utf8_lossy(&text).chars().take(80).collect();
                    let at = pair[0].1.max(pair[1].1) as usize;
                    self.out.faults.add(Fault::ambiguous(at, What::DuplicateKey(shown)));
                }
            }
        }
        keys.truncate(from);
        self.keys = keys;
    }
}

/// The first control character. Looks at many bytes at once, for most strings have none.
fn find_control(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: &u8| *byte < 0x20;
    let chunk = bytes.chunks(64).position(|chunk| chunk.iter().fold(false, |found, byte| found | is_control(byte)))? * 64;
    bytes[chunk..].iter().position(is_control).map(|at| chunk + at)
}

/// A string that was checked: what stands between its quotes.
struct Text {
    inner: Span,
    escaped: bool,
    /// Holds an escaped NUL.
    nul: bool,
}

/// Text of a key seen before. Its end is found again, for storing it would double the cost of every key.
fn key_text(bytes: &[u8], (_, start): SeenKey) -> Vec<u8> {
    let inner = &bytes[start as usize + 1..];
    let mut end = 0;
    while inner[end] != b'"' {
        end += 1 + usize::from(inner[end] == b'\\');
    }
    unescape_bytes(&inner[..end]).into_owned()
}

/// FNV-1a. Collisions can be made at will; they cost a sort, nothing more.
fn hash(bytes: &[u8]) -> u32 {
    let wide = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    (wide ^ (wide >> 32)) as u32
}
