//! How a client's file would differ, for people: changed lines with what stands around them.
//!
//! Values of variables and headers are secrets more often than not, and terminals are copied from: they are masked.

use super::document::{self, fields};
use similar::TextDiff;
use std::path::Path;

/// What stands instead of a value.
const MASK: &str = "\"…\"";

/// A unified diff; empty when nothing differs.
pub(super) fn between(before: &str, after: &str, path: &Path) -> String {
    let name = path.display().to_string();
    TextDiff::from_lines(&masked(before), &masked(after)).unified_diff().context_radius(2).header(&name, &name).to_string()
}

/// The text with the values of every server's `env` and `headers` masked.
fn masked(text: &str) -> String {
    let mut edits = Vec::new();
    for server in document::servers(text).unwrap_or_default() {
        let own = fields(text, server.span).unwrap_or_default();
        for object in own.into_iter().filter(|field| matches!(field.name.as_str(), "env" | "headers")) {
            let values = fields(text, object.span).unwrap_or_default();
            edits.extend(values.into_iter().map(|value| (value.span, MASK.to_owned())));
        }
    }
    document::splice(text, edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let before = "{\n  \"mcpServers\": {\n    \"a\": { \"command\": \"x\", \"env\": { \"T\": \"s3cret\" } }\n  }\n}\n";
        let after = before.replace("\"x\"", "\"custody\"").replace("s3cret", "cck_key");
        let shown = between(before, &after, Path::new("f.json"));
        insta::assert_snapshot!(shown, @r#"
        --- f.json
        +++ f.json
        @@ -1,5 +1,5 @@
         {
           "mcpServers": {
        -    "a": { "command": "x", "env": { "T": "…" } }
        +    "a": { "command": "custody", "env": { "T": "…" } }
           }
         }
        "#);
        assert_eq!(between(before, before, Path::new("f.json")), "");
    }
}
