//! What others send a witness and a follower: requests, notes, cosignatures, names of tiles. Whatever is read has one form.
#![no_main]

use custody_tlog::{AddCheckpoint, Cosignature, InclusionProof, SignedCheckpoint, Tile, WitnessKey, notes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u64)| {
    let (text, size) = input;
    if let Ok(request) = AddCheckpoint::parse(text) {
        assert_eq!(AddCheckpoint::parse(&request.to_text()).as_ref(), Ok(&request));
        let _ = request.check(request.checkpoint.root());
    }
    if let Some(tile) = Tile::parse(text) {
        assert_eq!(tile.to_string(), text);
        let _ = tile.is_in(size);
    }
    if let Ok(cosignature) = Cosignature::parse(text) {
        assert_eq!(Cosignature::parse(cosignature.line().trim_end()), Ok(cosignature));
    }
    if let Ok(signed) = SignedCheckpoint::parse(text) {
        assert!(signed.note().starts_with(signed.text()));
        let _ = signed.signature_lines().count();
    }
    let _ = WitnessKey::parse(text);
    let _ = InclusionProof::from_text(text);
    let _ = notes(text).count();
});
