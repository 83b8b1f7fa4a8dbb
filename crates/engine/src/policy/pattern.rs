//! `server/tool` patterns, in which `*` stands for any run of characters.
//!
//! The halves are matched apart: a tool that calls itself `x/read_file` is not `*/read_file`.

/// Server half and tool half. Without a `/` the pattern names a tool of any server.
pub(super) fn halves(pattern: &str) -> (&str, &str) {
    pattern.split_once('/').unwrap_or(("*", pattern))
}

/// Whether the pattern matches this tool of this server.
pub(super) fn matches(pattern: &str, server: &str, tool: &str) -> bool {
    let (server_half, tool_half) = halves(pattern);
    glob(server_half, server) && glob(tool_half, tool)
}

/// Whether everything that `narrow` matches is matched by `wide` too. May say no where it is yes, never the reverse.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (server, tool) = halves(narrow);
    matches(wide, server, tool)
}

/// Linear in practice: on a mismatch only the last `*` is tried again.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while j < t.len() {
        if i < p.len() && p[i] == b'*' {
            star = Some((i, j));
            i += 1;
        } else if i < p.len() && p[i] == t[j] {
            i += 1;
            j += 1;
        } else if let Some((at, from)) = star {
            i = at + 1;
            j = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    p[i..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obvious and slow.
    fn reference(pattern: &str, text: &str) -> bool {
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => (0..=text.len()).filter(|i| text.is_char_boundary(*i)).any(|i| reference(&pattern[1..], &text[i..])),
            Some(c) => text.strip_prefix(c).is_some_and(|rest| reference(&pattern[c.len_utf8()..], rest)),
        }
    }

    proptest::proptest! {
        #[test]
        fn the_fast_glob_is_the_slow_one(pattern in "[ab*é]{0,8}", text in "[abé]{0,10}") {
            proptest::prop_assert_eq!(glob(&pattern, &text), reference(&pattern, &text));
        }

        #[test]
        fn what_covers_matches(wide in "[ab*]{1,4}/[ab*]{1,4}", narrow in "[ab*]{1,4}/[ab*]{1,4}", server in "[ab]{1,4}", tool in "[ab]{1,4}") {
            if covers(&wide, &narrow) && matches(&narrow, &server, &tool) {
                proptest::prop_assert!(matches(&wide, &server, &tool));
            }
        }
    }

    #[test]
    fn a_tool_cannot_smuggle_a_server() {
        assert!(matches("*/read_file", "files", "read_file"));
        assert!(!matches("*/read_file", "evil", "files/read_file"));
        assert!(!matches("files/read_file", "files", "read_file "));
        assert!(!matches("files/read_file", "files", "Read_file"));
    }
}
