//! Server-sent events (WHATWG HTML, 9.2), incremental and bounded. The raw bytes of each event come with it, so that they can
//! pass on as they were.

/// A stretch of the stream: an event, or what stands between events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The bytes as received. Those of all events one after another, and of [`SseDecoder::finish`], are the stream.
    pub raw: Vec<u8>,
    /// The data lines, joined by newlines; `None` when there is none: a comment, or an event without data, which readers ignore.
    pub data: Option<Vec<u8>>,
    /// The `event` field.
    pub event: Option<String>,
    /// The `id` field.
    pub id: Option<String>,
    /// The `retry` field, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// An event beyond the limit. The stream cannot be followed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit.
    pub limit: usize,
}

/// Cuts a byte stream into events.
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// The event so far; its `raw` ends where the line being read starts, or later.
    open: SseEvent,
    /// Where in `open.raw` the line being read starts.
    line: usize,
    /// Whether the byte before was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether nothing was read yet, so that a byte order mark may come.
    first: bool,
    /// Whether a field was read in this event.
    fields: bool,
    failed: bool,
}

impl SseDecoder {
    /// `limit`: largest event in raw bytes.
    pub fn new(limit: usize) -> SseDecoder {
        SseDecoder { limit, open: SseEvent::default(), line: 0, after_cr: false, first: true, fields: false, failed: false }
    }

    /// Takes the next bytes and gives the events that end in them.
    ///
    /// # Errors
    /// An event larger than the limit, now or before. Events that ended before it in the same call were handed to nobody: the
    /// stream is broken for its reader anyhow.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<SseEvent>, EventTooLarge> {
        let mut events = Vec::new();
        while !self.failed && !bytes.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if bytes[0] == b'\n' {
                    self.open.raw.push(b'\n');
                    // The line began after the CR; the LF that belongs to it moves the beginning.
                    self.line = self.open.raw.len();
                    bytes = &bytes[1..];
                    continue;
                }
            }
            let end = memchr::memchr2(b'\r', b'\n', bytes);
            let taken = end.map_or(bytes.len(), |end| end + 1);
            if self.open.raw.len() + taken > self.limit {
                self.failed = true;
                self.open = SseEvent::default();
                break;
            }
            self.open.raw.extend_from_slice(&bytes[..taken]);
            if let Some(end) = end {
                self.after_cr = bytes[end] == b'\r';
                // CR LF in one piece: both bytes go with the event that they end.
                let paired = self.after_cr && bytes.get(taken) == Some(&b'\n');
                if paired {
                    self.open.raw.push(b'\n');
                    self.after_cr = false;
                }
                events.extend(self.end_line(1 + usize::from(paired)));
                bytes = &bytes[taken + usize::from(paired)..];
            } else {
                bytes = &[];
            }
        }
        if self.failed { Err(EventTooLarge { limit: self.limit }) } else { Ok(events) }
    }

    /// The end of the stream: an event that no blank line ended, if there is one. Readers ignore it.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let rest = if self.line < self.open.raw.len() { self.end_line(0) } else { None };
        self.line = 0;
        rest.or_else(|| Some(std::mem::take(&mut self.open)).filter(|event| !event.raw.is_empty()))
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.open.raw.len() + self.open.data.as_ref().map_or(0, Vec::len)
    }

    /// Reads the line that ends `raw`, with `terminator` bytes of CR and LF. Gives the event if it is over.
    fn end_line(&mut self, terminator: usize) -> Option<SseEvent> {
        let raw = std::mem::take(&mut self.open.raw);
        let mut line = &raw[self.line..raw.len() - terminator];
        if std::mem::take(&mut self.first) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        let comment = line.first() == Some(&b':');
        let blank = line.is_empty();
        if !blank && !comment {
            self.field(line);
        }
        self.line = raw.len();
        self.open.raw = raw;
        // A comment between events is a sign of life: it must not wait for the next event.
        if blank || (comment && !self.fields) {
            self.line = 0;
            self.fields = false;
            return Some(std::mem::take(&mut self.open));
        }
        None
    }

    fn field(&mut self, line: &[u8]) {
        self.fields = true;
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"data" => match &mut self.open.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.open.data = Some(value.to_vec()),
            },
            b"event" => self.open.event = Some(text()),
            b"id" if !value.contains(&0) => self.open.id = Some(text()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => self.open.retry_ms = text().parse().ok(),
            _ => {}
        }
    }
}
