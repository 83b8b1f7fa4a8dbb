//! Content-Encoding (RFC 9110, 8.4.1): what comes coded is judged and recorded decoded, and passed on as it was sent.
//!
//! Bounded, whatever a few bytes unfold to. And strict, so that nobody else reads something different: one coding, one stream in it,
//! whole, nothing behind it.

use brotli_decompressor::DecompressorWriter;
use flate2::{Decompress, FlushDecompress, Status, write::GzDecoder};
use http::{HeaderMap, HeaderValue, header};
use std::io::{self, Write};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

/// What is taken, for `Accept-Encoding`.
pub const TAKEN: &str = "gzip, deflate, br, zstd";
/// Largest window of zstd, as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// A coding that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: with the zlib header, as RFC 9110 says.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Why a coded body is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodingError {
    /// Another coding, or several.
    #[error("a body may come in one of these codings, or in none: {TAKEN}")]
    NotTaken,
    /// It unfolds to more.
    #[error("decoded, it has more than {limit} bytes (limits.frame_bytes)")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It is not what the header says.
    #[error("it cannot be decoded as its Content-Encoding says")]
    Broken,
    /// Readers disagree on what that means.
    #[error("bytes follow the end of the coded body")]
    Trailing,
}

impl Coding {
    /// The coding of a message, if it has one.
    ///
    /// # Errors
    /// [`CodingError::NotTaken`].
    pub fn of(headers: &HeaderMap) -> Result<Option<Coding>, CodingError> {
        let mut found = None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| CodingError::NotTaken)?.trim();
            if value.is_empty() || value.eq_ignore_ascii_case("identity") {
                continue;
            }
            let coding = Coding::named(value).filter(|_| found.is_none()).ok_or(CodingError::NotTaken)?;
            found = Some(coding);
        }
        Ok(found)
    }

    fn named(name: &str) -> Option<Coding> {
        let names = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
        ];
        names.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| coding)
    }

    /// The whole of a body, `limit` bytes at most.
    ///
    /// # Errors
    /// [`CodingError`].
    pub fn decode(self, coded: &[u8], limit: usize) -> Result<Vec<u8>, CodingError> {
        let mut decoder = Decoder::new(self, limit);
        decoder.push(coded)?;
        decoder.finish()
    }
}

/// Of what a client takes, what Custody can read too: names and nothing else, for what passes is recorded.
pub fn acceptable(headers: &HeaderMap) -> HeaderValue {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let wanted: Vec<Coding> = values.flat_map(|value| value.split(',')).filter_map(wanted).collect();
    let kept: Vec<&str> = TAKEN.split(", ").filter(|name| Coding::named(name).is_some_and(|coding| wanted.contains(&coding))).collect();
    HeaderValue::try_from(kept.join(", ")).ok().filter(|kept| !kept.is_empty()).unwrap_or(HeaderValue::from_static("identity"))
}

/// One item of `Accept-Encoding`, unless it says no.
fn wanted(item: &str) -> Option<Coding> {
    let mut parts = item.split(';').map(str::trim);
    let coding = Coding::named(parts.next()?)?;
    let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0));
    (!refused).then_some(coding)
}

/// Decodes piece by piece.
pub struct Decoder {
    way: Way,
    limit: usize,
}

enum Way {
    Gzip(GzDecoder<Sink>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Deflate { decoder: Decompress, sink: Sink, over: bool },
    Zstd { decoder: ZstdDecoder<'static>, sink: Sink, over: bool },
}

impl Decoder {
    /// `limit`: bytes decoded between two looks at them.
    pub fn new(coding: Coding, limit: usize) -> Decoder {
        let sink = Sink { decoded: Vec::new(), limit, full: false };
        let way = match coding {
            Coding::Gzip => Way::Gzip(GzDecoder::new(sink)),
            Coding::Brotli => Way::Brotli(Box::new(DecompressorWriter::new(sink, 16 << 10))),
            Coding::Deflate => Way::Deflate { decoder: Decompress::new(true), sink, over: false },
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new().expect("a decoder without a dictionary is made");
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).expect("the window is one of zstd's own");
                Way::Zstd { decoder, sink, over: false }
            }
        };
        Decoder { way, limit }
    }

    /// Takes the next coded bytes.
    ///
    /// # Errors
    /// [`CodingError`]; then nothing more can be decoded.
    pub fn push(&mut self, coded: &[u8]) -> Result<(), CodingError> {
        let pushed = match &mut self.way {
            // What is in it must be seen now, not with the next piece.
            Way::Gzip(decoder) => decoder.write_all(coded).and_then(|()| decoder.flush()),
            Way::Brotli(decoder) => decoder.write_all(coded),
            Way::Deflate { decoder, sink, over } => step(coded, sink, over, |input, output| {
                let (read, written) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output, FlushDecompress::None)?;
                let counts = (decoder.total_in() - read, decoder.total_out() - written);
                Ok((counts.0 as usize, counts.1 as usize, status == Status::StreamEnd))
            }),
            Way::Zstd { decoder, sink, over } => step(coded, sink, over, |input, output| {
                let status = decoder.run_on_buffers(input, output)?;
                Ok((status.bytes_read, status.bytes_written, status.remaining == 0))
            }),
        };
        pushed.map_err(|error| self.why(&error))
    }

    /// What was decoded since the last look.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sink().decoded)
    }

    /// The end of the body: what was decoded since the last look.
    ///
    /// # Errors
    /// [`CodingError`]: also when it is not the end.
    pub fn finish(mut self) -> Result<Vec<u8>, CodingError> {
        let finished = match &mut self.way {
            Way::Gzip(decoder) => decoder.try_finish(),
            Way::Brotli(decoder) => decoder.close(),
            Way::Deflate { over, .. } | Way::Zstd { over, .. } => over.then_some(()).ok_or(io::ErrorKind::UnexpectedEof.into()),
        };
        finished.map_err(|error| self.why(&error))?;
        Ok(self.take())
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.way {
            Way::Gzip(decoder) => decoder.get_mut(),
            Way::Brotli(decoder) => decoder.get_mut(),
            Way::Deflate { sink, .. } | Way::Zstd { sink, .. } => sink,
        }
    }

    fn why(&mut self, error: &io::Error) -> CodingError {
        match error.kind() {
            _ if self.sink().full => CodingError::TooLarge { limit: self.limit },
            io::ErrorKind::WriteZero => CodingError::Trailing,
            _ => CodingError::Broken,
        }
    }
}

/// Decodes all of `input` in small pieces. `run` says how much it read and wrote, and whether that was the end.
fn step(
    mut input: &[u8],
    sink: &mut Sink,
    over: &mut bool,
    mut run: impl FnMut(&[u8], &mut [u8]) -> io::Result<(usize, usize, bool)>,
) -> io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        if *over {
            return if input.is_empty() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) };
        }
        let (read, written, ended) = run(input, &mut piece)?;
        input = &input[read..];
        sink.write_all(&piece[..written])?;
        *over = ended;
        if !ended && input.is_empty() && written < piece.len() {
            return Ok(());
        }
        if !ended && read == 0 && written == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Takes so much and no more.
struct Sink {
    decoded: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.decoded.len() {
            self.full = true;
            return Err(io::Error::other("over the limit"));
        }
        self.decoded.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};

    const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    /// The same, by the brotli of Node.js 22.
    const PING_BR: &str = "8b13807b226a736f6e727063223a22322e30222c226964223a312c226d6574686f64223a2270696e67227d03";

    fn all(plain: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(plain).unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(plain).unwrap();
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, deflate.finish().unwrap()),
            (Coding::Zstd, zstd::encode_all(plain, 3).unwrap()),
        ]
    }

    fn codings() -> Vec<(Coding, Vec<u8>)> {
        let mut codings = all(PING);
        codings.push((Coding::Brotli, hex::decode(PING_BR).unwrap()));
        codings
    }

    #[test]
    fn each_coding_is_read_whole_and_in_pieces() {
        for (coding, coded) in codings() {
            assert_eq!(coding.decode(&coded, PING.len()).as_deref(), Ok(PING), "{coding:?}");
            let mut decoder = Decoder::new(coding, 64);
            let mut decoded = Vec::new();
            for byte in &coded {
                decoder.push(&[*byte]).unwrap();
                decoded.extend(decoder.take());
            }
            assert_eq!(decoded, PING, "{coding:?} in pieces, at once");
            assert_eq!(decoder.finish(), Ok(Vec::new()), "{coding:?}");
        }
    }

    #[test]
    fn what_is_cut_changed_or_followed_by_more_is_refused() {
        for (coding, coded) in codings() {
            for cut in 0..coded.len() {
                assert!(coding.decode(&coded[..cut], 1 << 20).is_err(), "{coding:?} cut at {cut}");
            }
            let more = [coded.as_slice(), b"x"].concat();
            assert_eq!(coding.decode(&more, 1 << 20), Err(CodingError::Trailing), "{coding:?}");
            let twice = [coded.as_slice(), coded.as_slice()].concat();
            assert_eq!(coding.decode(&twice, 1 << 20), Err(CodingError::Trailing), "{coding:?} twice");
            assert_eq!(coding.decode(b"not coded at all", 1 << 20), Err(CodingError::Broken), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let limit = 1 << 20;
        let plain = vec![b' '; 64 << 20];
        for (coding, coded) in all(&plain) {
            assert!(coded.len() < 100 << 10, "{coding:?}: {}", coded.len());
            assert_eq!(coding.decode(&coded, limit), Err(CodingError::TooLarge { limit }), "{coding:?}");
        }
        assert_eq!(Coding::Brotli.decode(&hex::decode(PING_BR).unwrap(), 10), Err(CodingError::TooLarge { limit: 10 }));
    }

    #[test]
    fn one_coding_that_is_known_is_taken() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("content-encoding", HeaderValue::from_static(value));
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity"]), Ok(None));
        assert_eq!(of(&["GZip"]), Ok(Some(Coding::Gzip)));
        for refused in [&["gzip, br"][..], &["gzip", "br"], &["compress"], &["aws-chunked"]] {
            assert_eq!(of(refused), Err(CodingError::NotTaken), "{refused:?}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(acceptable(&headers), "identity");
        headers.insert("accept-encoding", HeaderValue::from_static("br, zstd; q=0, dcb, gzip;q=0.5, *"));
        assert_eq!(acceptable(&headers), "gzip, br");
    }
}
