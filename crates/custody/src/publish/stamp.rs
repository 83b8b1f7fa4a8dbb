//! Time stamps (RFC 3161): an authority says when a checkpoint existed.
//!
//! What is checked here: that the authority granted it, for this checkpoint, in answer to this request. Its signature is not: that
//! takes a chain of certificates that somebody decides to trust, and `openssl ts -verify` does it (`docs/log.md`).

use jiff::{Timestamp, civil, tz::TimeZone};
use sha2::{Digest as _, Sha256};

/// SHA-256 with its parameter, NULL: an AlgorithmIdentifier.
const SHA256: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];
/// `id-signedData` and `id-ct-TSTInfo`, the bytes of the object identifiers.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTENT: u8 = 0xa0;

/// Not the time stamp that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStamp {
    /// Not DER of the expected shape.
    #[error("not a time stamp response: no {0}")]
    Malformed(&'static str),
    /// The authority refused.
    #[error("the authority did not grant it (status {0})")]
    Refused(u8),
    /// It stamps something else.
    #[error("it stamps something else")]
    Other,
    /// It answers another request: an older one played again.
    #[error("it answers another request")]
    Nonce,
}

/// The request for some bytes, with a nonce (its highest bit is ignored) and the wish for the authority's certificate.
pub fn request(data: &[u8], nonce: [u8; 16]) -> Vec<u8> {
    let imprint = tlv(SEQUENCE, &[&SHA256[..], &tlv(OCTETS, &Sha256::digest(data))].concat());
    let certificate_wanted = [0x01, 0x01, 0xff];
    tlv(SEQUENCE, &[&tlv(INTEGER, &[1])[..], &imprint, &tlv(INTEGER, &positive(nonce)), &certificate_wanted].concat())
}

/// Checks an answer to [`request`], and says when the authority saw the bytes. The signature is not checked.
///
/// # Errors
/// [`BadStamp`].
pub fn check(response: &[u8], data: &[u8], nonce: [u8; 16]) -> Result<Timestamp, BadStamp> {
    let info = info_of(response)?;
    let mut info = Der(&info);
    info.take(INTEGER).ok_or(BadStamp::Malformed("version"))?;
    info.take(OID).ok_or(BadStamp::Malformed("policy"))?;
    let mut imprint = Der(info.take(SEQUENCE).ok_or(BadStamp::Malformed("imprint"))?);
    let algorithm = imprint.take(SEQUENCE).ok_or(BadStamp::Malformed("algorithm"))?;
    // Some write the parameter NULL, some leave it away.
    let same = algorithm == &SHA256[2..] || algorithm == &SHA256[2..13];
    if !same || imprint.take(OCTETS) != Some(Sha256::digest(data).as_slice()) {
        return Err(BadStamp::Other);
    }
    info.take(INTEGER).ok_or(BadStamp::Malformed("serial number"))?;
    let at = time(info.take(TIME).ok_or(BadStamp::Malformed("time"))?).ok_or(BadStamp::Malformed("time"))?;
    // Accuracy and ordering may stand before the nonce.
    let found = std::iter::from_fn(|| info.next()).find(|(tag, _)| *tag == INTEGER);
    if found.map(|(_, value)| value) != Some(&positive(nonce)[..]) {
        return Err(BadStamp::Nonce);
    }
    Ok(at)
}

/// When a stored response says that the bytes existed; neither nonce nor signature is checked.
///
/// # Errors
/// [`BadStamp`].
pub fn stored(response: &[u8], data: &[u8]) -> Result<Timestamp, BadStamp> {
    let info = info_of(response)?;
    let mut rest = Der(&info);
    rest.take(INTEGER).and_then(|_| rest.take(OID)).ok_or(BadStamp::Malformed("policy"))?;
    let mut imprint = Der(rest.take(SEQUENCE).ok_or(BadStamp::Malformed("imprint"))?);
    imprint.take(SEQUENCE).ok_or(BadStamp::Malformed("algorithm"))?;
    if imprint.take(OCTETS) != Some(Sha256::digest(data).as_slice()) {
        return Err(BadStamp::Other);
    }
    rest.take(INTEGER).and_then(|_| rest.take(TIME)).and_then(time).ok_or(BadStamp::Malformed("time"))
}

/// What is signed: the TSTInfo inside the token of a response that was granted, without its own header.
fn info_of(response: &[u8]) -> Result<Vec<u8>, BadStamp> {
    let missing = BadStamp::Malformed;
    let mut outer = Der(Der(response).take(SEQUENCE).ok_or(missing("response"))?);
    let mut status = Der(outer.take(SEQUENCE).ok_or(missing("status"))?);
    match status.take(INTEGER).ok_or(missing("status"))? {
        [0 | 1] => {}
        other => return Err(BadStamp::Refused(other.last().copied().unwrap_or_default())),
    }
    let mut token = Der(outer.take(SEQUENCE).ok_or(missing("token"))?);
    if token.take(OID) != Some(&SIGNED_DATA[..]) {
        return Err(missing("signed data"));
    }
    let mut signed = Der(Der(token.take(CONTENT).ok_or(missing("signed data"))?).take(SEQUENCE).ok_or(missing("signed data"))?);
    signed.take(INTEGER).and_then(|_| signed.take(SET)).ok_or(missing("digest algorithms"))?;
    let mut content = Der(signed.take(SEQUENCE).ok_or(missing("content"))?);
    if content.take(OID) != Some(&TST_INFO[..]) {
        return Err(missing("time stamp information"));
    }
    let octets = Der(content.take(CONTENT).ok_or(missing("content"))?).take(OCTETS).ok_or(missing("content"))?;
    Der(octets).take(SEQUENCE).map(<[u8]>::to_vec).ok_or(missing("time stamp information"))
}

/// A number above zero in its shortest form.
fn positive(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

/// `20261122013000Z`, or with a fraction.
fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, _) = text.split_once('.').unwrap_or((text, ""));
    let at = civil::DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    debug_assert!(value.len() < 128, "all that we write is short");
    [&[tag, value.len() as u8][..], value].concat()
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The value of the next element, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = Der(self.0).next()?;
        if found != tag {
            return None;
        }
        self.next();
        Some(value)
    }

    /// Tag and value of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to four bytes of length; the indefinite form is no DER.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A granted response without signatures, as far as it is read.
    fn response(status: u8, data: &[u8], nonce: Option<[u8; 16]>) -> Vec<u8> {
        let long = |tag: u8, value: &[u8]| [&[tag, 0x82, (value.len() >> 8) as u8, value.len() as u8][..], value].concat();
        let imprint = tlv(SEQUENCE, &[&SHA256[..], &tlv(OCTETS, &Sha256::digest(data))].concat());
        let nonce = nonce.map(|nonce| tlv(INTEGER, &positive(nonce))).unwrap_or_default();
        let accuracy = tlv(SEQUENCE, &tlv(INTEGER, &[1]));
        let info = [
            &tlv(INTEGER, &[1])[..],
            &tlv(OID, &[0x2a, 3]),
            &imprint,
            &tlv(INTEGER, &[7]),
            &tlv(TIME, b"20261122013000.5Z"),
            &accuracy,
            &nonce,
        ];
        let content = [tlv(OID, &TST_INFO), long(CONTENT, &long(OCTETS, &long(SEQUENCE, &info.concat())))].concat();
        let signed = [tlv(INTEGER, &[3]), tlv(SET, &[]), long(SEQUENCE, &content)].concat();
        let token = [tlv(OID, &SIGNED_DATA), long(CONTENT, &long(SEQUENCE, &signed))].concat();
        long(SEQUENCE, &[tlv(SEQUENCE, &tlv(INTEGER, &[status])), long(SEQUENCE, &token)].concat())
    }

    #[test]
    fn only_the_answer_to_this_request_for_these_bytes_counts() {
        let nonce = [0x81; 16];
        let good = response(0, b"checkpoint", Some(nonce));
        assert_eq!(check(&good, b"checkpoint", nonce).unwrap().to_string(), "2026-11-22T01:30:00Z");
        assert_eq!(stored(&good, b"checkpoint").unwrap().to_string(), "2026-11-22T01:30:00Z");
        assert_eq!(check(&good, b"another", nonce), Err(BadStamp::Other));
        assert_eq!(stored(&good, b"another"), Err(BadStamp::Other));
        assert_eq!(check(&good, b"checkpoint", [0x82; 16]), Err(BadStamp::Nonce));
        assert_eq!(check(&response(0, b"checkpoint", None), b"checkpoint", nonce), Err(BadStamp::Nonce));
        assert_eq!(check(&response(2, b"checkpoint", Some(nonce)), b"checkpoint", nonce), Err(BadStamp::Refused(2)));
        for len in 0..good.len() {
            assert!(check(&good[..len], b"checkpoint", nonce).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..300, with in any::<u8>()) {
            let _ = check(&bytes, b"x", [1; 16]);
            let mut good = response(0, b"x", Some([1; 16]));
            let at = at % good.len();
            good[at] = with;
            let _ = check(&good, b"x", [1; 16]);
            let _ = stored(&good, b"x");
        }
    }
}
