//! Real clients' files, as data: `tests/adopt/CLIENT/…` goes in, the snapshot says what comes out.
#![allow(clippy::unwrap_used)]

use custody::{
    adopt::{AdoptOptions, Adoption, adopt, release, show_release},
    config::Config,
    trust::{Home, InitOptions},
};
use jiff::Timestamp;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

const FIXTURES: [(&str, &str); 7] = [
    ("claude-code-project", ".mcp.json"),
    ("claude-code-user", ".claude.json"),
    ("claude-desktop", "claude_desktop_config.json"),
    ("cursor", ".cursor/mcp.json"),
    ("generic-streamable", ".mcp.json"),
    ("vscode-user", "Code/User/settings.json"),
    ("vscode-workspace", ".vscode/mcp.json"),
];

struct Place {
    _temp: tempfile::TempDir,
    home: Home,
    file: PathBuf,
    original: String,
}

fn place(client: &str, file: &str) -> Place {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::init(&temp.path().join("home"), &InitOptions::default()).unwrap().home;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adopt").join(client).join(file);
    let original = fs::read_to_string(fixture).unwrap();
    let file = temp.path().join("desk").join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, &original).unwrap();
    Place { _temp: temp, home, file, original }
}

impl Place {
    fn adopt(&self, dry_run: bool) -> Adoption {
        let path = self.file.clone();
        let options = AdoptOptions { path, client: None, role: None, task: None, program: "custody".into(), dry_run };
        adopt(&self.home, &options, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn config(&self) -> String {
        fs::read_to_string(self.home.config()).unwrap()
    }

    /// Without what differs from run to run.
    fn neutral(&self, text: &str) -> String {
        let mut text = text.replace(&self.home.root().display().to_string(), "<home>");
        while let Some(at) = text.find("cck_") {
            let end = text[at..].find('"').map_or(text.len(), |length| at + length);
            text.replace_range(at..end, "<key>");
        }
        text
    }
}

#[test]
fn every_client_is_adopted_and_released_exactly() {
    for (client, file) in FIXTURES {
        let place = place(client, file);
        let before = place.config();
        let done = place.adopt(false);
        let added = place.config().strip_prefix(&before).unwrap().to_owned();
        let left: String = done.left.iter().map(|(name, why)| format!("left {name}: {why}\n")).collect();
        let told = format!("{}\n--- custody.toml ---\n{}\n--- client {} ---\n{left}", place.text(), added.trim(), done.client);
        insta::assert_snapshot!(client, place.neutral(&told));
        assert_eq!(Config::read(&place.home.config()).unwrap().servers.len(), done.servers.len(), "{client}");

        let adopted = place.text();
        assert!(!place.adopt(false).changed, "{client}: twice is once");
        assert_eq!(place.text(), adopted, "{client}");
        let released = release(&place.home, &place.file).unwrap();
        assert!(released.exact, "{client}");
        assert_eq!(place.text(), place.original, "{client}");
        assert_eq!(place.config(), before, "{client}");
    }
}

#[test]
fn what_was_edited_meanwhile_stays_around_the_restored_entries() {
    for (client, file) in FIXTURES {
        let place = place(client, file);
        place.adopt(false);
        let at = place.text().find('{').unwrap() + 1;
        let edited = |text: &str| format!("{} /* mine */\n \"added\": [1, {{\"x\": 2.50}}],{}", &text[..at], &text[at..]);
        fs::write(&place.file, edited(&place.text())).unwrap();
        let released = release(&place.home, &place.file).unwrap();
        assert!(!released.exact && released.kept.is_empty(), "{client}: {released:?}");
        assert_eq!(place.text(), edited(&place.original), "{client}");
    }
}

#[test]
fn a_dry_run_shows_the_difference_without_secrets_and_writes_nothing() {
    for (client, file) in FIXTURES {
        let place = place(client, file);
        let untouched = (place.text(), place.config(), fs::read(place.home.clients()).ok());
        let would = place.adopt(true);
        let shown = would.difference.unwrap();
        assert!(would.changed && shown.contains("+"), "{client}");
        for secret in ["upstream-secret", "k3y-of-docs", "cck_"] {
            assert!(!shown.contains(secret), "{client}: {shown}");
        }
        assert_eq!((place.text(), place.config(), fs::read(place.home.clients()).ok()), untouched, "{client}");

        let done = place.adopt(false);
        assert_eq!((&done.servers, &done.left), (&would.servers, &would.left), "{client}: as it was shown");
        let adopted = (place.text(), place.config(), fs::read(place.home.clients()).ok());
        let would = show_release(&place.home, &place.file).unwrap();
        assert!(would.exact && would.keys_removed == 1, "{client}");
        assert!(would.difference.unwrap().contains("-"), "{client}");
        assert_eq!((place.text(), place.config(), fs::read(place.home.clients()).ok()), adopted, "{client}");
    }
}

#[test]
fn modes_and_links_are_kept() {
    let place = place("claude-code-project", ".mcp.json");
    fs::set_permissions(&place.file, fs::Permissions::from_mode(0o640)).unwrap();
    let link = place.file.with_file_name("linked.json");
    symlink(&place.file, &link).unwrap();
    let through = Place { file: link.clone(), ..place };
    assert!(through.adopt(false).readable_by_others);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let target = fs::canonicalize(&link).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&target).unwrap().contains("cck_"));
    assert!(release(&through.home, &target).unwrap().exact, "by the file itself");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(through.text(), through.original);
}
