//! The pure crates stay pure: `model`, `tlog` and `engine` have no runtime, files, sockets, clock or randomness.
//!
//! Two checks, because each sees what the other cannot: the dependency tree (nothing in it does I/O), and the sources (no use of
//! the standard library's I/O and clock, nor of the random and clock functions of crates that are there for their types).

use std::path::{Path, PathBuf};
use std::process::Command;

const PURE: [&str; 3] = ["model", "tlog", "engine"];

/// Crates whose work is I/O, time or randomness. `getrandom` is absent: `uuid` and `ahash` bring it, the source check covers its use.
const FORBIDDEN_CRATES: &[&str] = &[
    "async-std",
    "axum",
    "custody",
    "custody-store",
    "fs-err",
    "futures-executor",
    "hyper",
    "hyper-util",
    "indicatif",
    "lettre",
    "memmap2",
    "mio",
    "nix",
    "notify",
    "polling",
    "rand",
    "reqwest",
    "rmcp",
    "rusqlite",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tokio-util",
    "tracing-subscriber",
    "ureq",
    "walkdir",
];

const FORBIDDEN_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "println!",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Uuid::now_v7",
    "Uuid::new_v4",
    "Utc::now",
    "Local::now",
    "getrandom",
    "OsRng",
    "thread_rng",
    "rand::",
    "File::open",
    "read_to_string(",
    "include_dir",
];

#[test]
fn pure_crates_depend_on_nothing_that_does_io() {
    for name in PURE {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"])
            .args(["--package", &format!("custody-{name}")])
            .current_dir(workspace())
            .output()
            .expect("cargo runs");
        assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).expect("cargo prints UTF-8");
        assert!(tree.contains("thiserror"), "the tree of {name} was not read: {tree}");
        assert_eq!(forbidden_crates(&tree), Vec::<String>::new(), "crates/{name} must not depend on these");
    }
}

#[test]
fn pure_crates_use_no_io_clock_or_randomness() {
    for name in PURE {
        let mut files = Vec::new();
        rust_files(&workspace().join("crates").join(name).join("src"), &mut files);
        assert!(!files.is_empty(), "no sources found for {name}");
        for file in files {
            let source = std::fs::read_to_string(&file).expect("a source file is readable");
            assert_eq!(forbidden_words(&source), Vec::<String>::new(), "in {}", file.display());
        }
    }
}

#[test]
fn the_tree_check_sees_a_crate_that_does_io() {
    let tree = "custody-engine v0.1.0 (/w/crates/engine)\nserde v1.0.0\ntokio v1.47.0\ntokio-macros v2.5.0\nsocket2 v0.6.0 (*)\n";
    assert_eq!(forbidden_crates(tree), ["tokio", "socket2"]);
}

#[test]
fn the_source_check_sees_io_outside_comments_and_tests() {
    let source = "\
//! Reads nothing; std::fs is not for us.
use std::{collections::BTreeMap, fs};
fn f() { let now = jiff::Timestamp::now(); } // Instant::now
/* std::net */
#[cfg(test)]
mod tests { fn g() { std::fs::read(\"x\"); } }
";
    assert_eq!(forbidden_words(source), ["2: fs", "3: Timestamp::now"]);
    assert_eq!(forbidden_words("fn f() { std::process::exit(1) }"), ["1: std::process"]);
    assert_eq!(forbidden_words("use std::{\n    io::Read,\n    net::TcpStream,\n};"), ["1: net"]);
}

/// The forbidden crates in what `cargo tree --prefix none` printed.
fn forbidden_crates(tree: &str) -> Vec<String> {
    tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| FORBIDDEN_CRATES.contains(name)).map(str::to_owned).collect()
}

/// The forbidden words of a source, each as `line: word`; comments and what follows the first `#[cfg(test)] mod` are left out.
fn forbidden_words(source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for word in FORBIDDEN_WORDS.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}: {word}", index + 1));
        }
    }
    for (start, _) in code.match_indices("use std::{") {
        let line = code[..start].matches('\n').count() + 1;
        let group = code[start + "use std::{".len()..].split(';').next().unwrap_or_default();
        let names = group.split(|c: char| !c.is_alphanumeric() && c != '_');
        for name in names.filter(|name| ["fs", "net", "process", "env", "thread"].contains(name)) {
            found.push(format!("{line}: {name}"));
        }
    }
    found.sort();
    found
}

/// The source without comments and without its test module, its line numbers kept.
fn code_only(source: &str) -> String {
    let mut code = String::new();
    let mut in_block = false;
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_tests = line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod "));
        if opens_tests && lines.peek().is_some_and(|next| next.contains('{')) {
            break;
        }
        let mut text = line;
        if in_block {
            let Some(end) = text.find("*/") else {
                code.push('\n');
                continue;
            };
            in_block = false;
            text = &text[end + 2..];
        }
        let text = text.split("//").next().unwrap_or_default();
        match text.split_once("/*") {
            Some((before, rest)) => {
                code.push_str(before);
                in_block = !rest.contains("*/");
            }
            None => code.push_str(text),
        }
        code.push('\n');
    }
    code
}

/// Every `.rs` file below a folder, except `tests.rs` and what lies in a `tests` folder: those are compiled for tests alone.
fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("an entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            rust_files(&path, into);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders below the workspace").to_path_buf()
}

/// Promise 6: the list of permitted splices is closed, and the page says what the code does.
#[test]
fn the_permitted_splices_are_those_of_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let section = page.split("## Permitted splices").nth(1).unwrap().split("\n## ").next().unwrap();
    let told: std::collections::BTreeSet<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let all = custody_model::Splice::ALL.map(|splice| serde_json::to_value(splice).unwrap().as_str().unwrap().to_owned());
    assert_eq!(told, all.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>());
    // And none is left out of the list.
    let source = std::fs::read_to_string(root.join("crates/model/src/message.rs")).unwrap();
    let variants = source.split("pub enum Splice {").nth(1).unwrap().split('}').next().unwrap();
    let variants = variants.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("///"));
    assert_eq!(variants.count(), all.len());
}
