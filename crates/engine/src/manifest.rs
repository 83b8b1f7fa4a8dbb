//! Definitions in a listing: tools, prompts, resources, with the RFC 8785 digest of each (R4).

use custody_model::Digest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name; for a resource its address.
    pub name: String,
    /// SHA-256 of its canonical JSON (RFC 8785).
    pub digest: Digest,
}

/// The definitions in the answer to a listing, in the order of the listing. `None`: the method lists nothing, or the
/// answer cannot be read.
pub fn definitions(method: &str, answer: &[u8]) -> Option<Vec<Definition>> {
    let (list, name) = match method {
        "tools/list" => ("tools", "name"),
        "prompts/list" => ("prompts", "name"),
        "resources/list" => ("resources", "uri"),
        "resources/templates/list" => ("resourceTemplates", "uriTemplate"),
        _ => return None,
    };
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let items = answer.get("result")?.get(list)?.as_array()?;
    let definition = |item: &Value| {
        let name = item.get(name)?.as_str()?.to_owned();
        let canonical = serde_json_canonicalizer::to_vec(item).ok()?;
        Some(Definition { name, digest: Digest(Sha256::digest(canonical).into()) })
    };
    Some(items.iter().filter_map(definition).collect())
}

/// Digest over all definitions of a listing, whatever their order.
pub fn digest(definitions: &[Definition]) -> Digest {
    let mut digests: Vec<_> = definitions.iter().map(|d| d.digest).collect();
    digests.sort_unstable();
    let mut hash = Sha256::new();
    digests.iter().for_each(|digest| hash.update(digest.0));
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_what_is_said_not_of_how_it_is_spelled() {
        let one =
            definitions("tools/list", br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","description":"x"},{"name":"b"}]}}"#)
                .unwrap();
        let two = definitions("tools/list", br#"{"result": {"tools": [{"name": "b"}, {"description": "\u0078", "name": "a"}]}}"#).unwrap();
        assert_eq!(one[0], two[1]);
        assert_eq!(digest(&one), digest(&two));
        let three = definitions("tools/list", br#"{"result":{"tools":[{"name":"a","description":"y"},{"name":"b"}]}}"#).unwrap();
        assert_ne!(digest(&one), digest(&three));
    }

    #[test]
    fn what_is_no_listing_gives_none() {
        assert_eq!(definitions("tools/call", b"{}"), None);
        assert_eq!(definitions("tools/list", b"{\"result\":{}}"), None);
        assert_eq!(definitions("tools/list", b"not json"), None);
    }
}
