//! Newline framing of stdio: one message per line, memory bounded, bytes as received.

/// What a decoder hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line.
    Whole {
        /// Its bytes without the newline. A CR before the newline stays: it is the sender's.
        bytes: Vec<u8>,
        /// Whether a newline ended it. Only the last line of a stream can lack it.
        terminated: bool,
    },
    /// A line beyond the limit, skipped to the next newline or the end.
    Oversized {
        /// How long it was.
        bytes: u64,
    },
}

/// Cuts a byte stream into lines. Holds at most the limit.
#[derive(Debug)]
pub struct LineDecoder {
    limit: usize,
    pending: Vec<u8>,
    /// Bytes of the oversized line that is being skipped.
    skipping: Option<u64>,
}

impl LineDecoder {
    /// `limit`: longest line in bytes, newline excluded.
    pub fn new(limit: usize) -> LineDecoder {
        LineDecoder { limit, pending: Vec::new(), skipping: None }
    }

    /// Takes the next bytes and gives the lines that end in them.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.take(&bytes[..end]);
            lines.push(self.end(true));
            bytes = &bytes[end + 1..];
        }
        self.take(bytes);
        lines
    }

    /// The end of the stream: what is left, if anything.
    pub fn finish(&mut self) -> Option<Line> {
        (self.skipping.is_some() || !self.pending.is_empty()).then(|| self.end(false))
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.pending.len()
    }

    /// Whether a line beyond the limit is being skipped: its sender can be told before the newline comes.
    pub fn skipping(&self) -> bool {
        self.skipping.is_some()
    }

    fn take(&mut self, bytes: &[u8]) {
        match &mut self.skipping {
            Some(skipped) => *skipped += bytes.len() as u64,
            None if self.pending.len() + bytes.len() > self.limit => {
                self.skipping = Some((self.pending.len() + bytes.len()) as u64);
                self.pending = Vec::new();
            }
            None => self.pending.extend_from_slice(bytes),
        }
    }

    fn end(&mut self, terminated: bool) -> Line {
        match self.skipping.take() {
            Some(bytes) => Line::Oversized { bytes },
            None => Line::Whole { bytes: std::mem::take(&mut self.pending), terminated },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Line {
        Line::Whole { bytes: text.as_bytes().to_vec(), terminated: true }
    }

    #[test]
    fn an_oversized_line_is_skipped_and_the_next_is_read() {
        let mut decoder = LineDecoder::new(4);
        assert_eq!(decoder.push(b"ab\r\nabcde"), [whole("ab\r")]);
        assert!(decoder.skipping());
        assert_eq!(decoder.held(), 0);
        assert_eq!(decoder.push(b"fgh\nabcd\n\nz"), [Line::Oversized { bytes: 8 }, whole("abcd"), whole("")]);
        assert_eq!(decoder.finish(), Some(Line::Whole { bytes: b"z".to_vec(), terminated: false }));
        assert_eq!(decoder.finish(), None);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter_and_no_byte_is_lost(chunks in prop::collection::vec("[ab\\r\\n]{0,9}", 0..9), limit in 1usize..8) {
            let input = chunks.concat();
            let mut decoder = LineDecoder::new(limit);
            let mut lines = Vec::new();
            for chunk in &chunks {
                lines.extend(decoder.push(chunk.as_bytes()));
                prop_assert!(decoder.held() <= limit);
            }
            lines.extend(decoder.finish());
            let mut expected: Vec<Line> = input.split_inclusive('\n').map(|line| {
                let terminated = line.ends_with('\n');
                let bytes = line.strip_suffix('\n').unwrap_or(line).as_bytes().to_vec();
                if bytes.len() > limit { Line::Oversized { bytes: bytes.len() as u64 } } else { Line::Whole { bytes, terminated } }
            }).collect();
            prop_assert_eq!(&mut lines, &mut expected);
        }
    }
}
