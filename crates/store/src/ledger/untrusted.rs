//! Everything that reads bytes of a ledger which somebody else may have written, in one place for the fuzzer.

use super::{keys::KeyFile, layout::Head, reader::parse_entry, seal::DataKey};
use custody_model::{Commitment, KeyId};
use custody_tlog::{InclusionProof, SignedCheckpoint, Verifier, notes};

/// Feeds bytes to each reader. Must return, whatever they are; that is all it is for.
pub fn read_untrusted(bytes: &[u8]) {
    let _ = parse_entry(bytes);
    let _ = serde_json::from_slice::<Head>(bytes);
    let _ = serde_json::from_slice::<KeyFile>(bytes);
    let key = DataKey::new(KeyId(uuid::Uuid::nil()), &[7; 32]);
    let _ = key.open(bytes, Commitment([0; 32]), bytes.len() as u64);
    let _ = key.open_envelope(bytes.to_vec(), bytes.len() as u64 * 4);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for note in notes(text) {
        let _ = SignedCheckpoint::parse(note);
    }
    let _ = Verifier::parse(text);
    if let Ok((proof, checkpoint)) = InclusionProof::from_text(text) {
        let _ = proof.check(checkpoint.root(), checkpoint.root());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
            read_untrusted(&bytes);
            read_untrusted(text.as_bytes());
            read_untrusted(format!("c2sp.org/tlog-proof@v1\nindex 3\n{text}\n\no\n9\nAAAA\n\n— o {text}\n").as_bytes());
        }
    }
}
