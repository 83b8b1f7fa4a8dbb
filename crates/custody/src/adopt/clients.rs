//! Where well-known clients keep their servers. The sources of these places are named in `docs/adopt.md`.

use super::document;
use std::path::{Path, PathBuf};

/// Clients that can be named instead of a file.
pub const KNOWN: [&str; 4] = ["claude-code", "claude-desktop", "cursor", "vscode"];

/// The operating system that a client runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Linux and its relatives.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// From where places are told.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The system.
    pub system: System,
    /// The user's directory.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`, else `~/.config`; on Windows `%APPDATA%`.
    pub config: PathBuf,
    /// The project.
    pub here: PathBuf,
}

impl Surroundings {
    /// Those of this process; `None` without a home directory.
    pub fn of_process() -> Option<Surroundings> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME").or_else(|| set("USERPROFILE"))?;
        let (system, config) = if cfg!(target_os = "macos") {
            (System::MacOs, None)
        } else if cfg!(windows) {
            (System::Windows, set("APPDATA"))
        } else {
            (System::Linux, set("XDG_CONFIG_HOME"))
        };
        let config = config.unwrap_or_else(|| home.join(".config"));
        Some(Surroundings { system, home, config, here: PathBuf::new() })
    }

    /// Files in which a client keeps servers, those of the project first; `None`: no such client is known.
    pub fn places(&self, client: &str) -> Option<Vec<PathBuf>> {
        // Where desktop applications keep their settings.
        let applications = match self.system {
            System::MacOs => self.home.join("Library/Application Support"),
            System::Linux | System::Windows => self.config.clone(),
        };
        let user = applications.join("Code/User");
        Some(match client {
            "claude-code" => vec![self.here.join(".mcp.json"), self.home.join(".claude.json")],
            "claude-desktop" => vec![applications.join("Claude/claude_desktop_config.json")],
            "cursor" => vec![self.here.join(".cursor/mcp.json"), self.home.join(".cursor/mcp.json")],
            "vscode" => vec![self.here.join(".vscode/mcp.json"), user.join("mcp.json"), user.join("settings.json")],
            _ => return None,
        })
    }
}

/// What a named client stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// It is no name of a client.
    Unknown,
    /// No file of it lists a server; these were looked at.
    Nowhere(Vec<PathBuf>),
    /// The file.
    File(PathBuf),
    /// Several files list servers.
    Several(Vec<PathBuf>),
}

/// The file of a client that lists servers.
pub fn find(client: &str, surroundings: &Surroundings) -> Named {
    let Some(places) = surroundings.places(client) else { return Named::Unknown };
    let lists = |path: &&PathBuf| {
        let text = super::read_text(path, None).ok();
        text.is_some_and(|text| document::servers(&text).is_ok_and(|servers| !servers.is_empty()))
    };
    let mut found: Vec<PathBuf> = places.iter().filter(lists).cloned().collect();
    match found.len() {
        0 => Named::Nowhere(places),
        1 => Named::File(found.remove(0)),
        _ => Named::Several(found),
    }
}

/// The client that keeps servers in files of this name.
pub(super) fn name_of(path: &Path) -> Option<&'static str> {
    let file = path.file_name()?.to_str()?;
    let directory = |up: usize| path.ancestors().nth(up).and_then(Path::file_name).and_then(|name| name.to_str());
    match file {
        ".claude.json" => Some("claude-code"),
        "claude_desktop_config.json" => Some("claude-desktop"),
        "mcp.json" | "settings.json" if directory(1) == Some("User") && directory(2) == Some("Code") => Some("vscode"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(system: System, config: &str) -> Surroundings {
        Surroundings { system, home: "/home/ana".into(), config: config.into(), here: "/work".into() }
    }

    #[test]
    fn places_by_system() {
        let shown = |system, config: &str| {
            let around = surroundings(system, config);
            let lines = KNOWN.iter().flat_map(|client| {
                let places = around.places(client).unwrap();
                places.into_iter().map(move |place| format!("{client:<15}{}", place.display()))
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(shown(System::Linux, "/home/ana/.config"), @r"
        claude-code    /work/.mcp.json
        claude-code    /home/ana/.claude.json
        claude-desktop /home/ana/.config/Claude/claude_desktop_config.json
        cursor         /work/.cursor/mcp.json
        cursor         /home/ana/.cursor/mcp.json
        vscode         /work/.vscode/mcp.json
        vscode         /home/ana/.config/Code/User/mcp.json
        vscode         /home/ana/.config/Code/User/settings.json
        ");
        let mac = shown(System::MacOs, "/ignored");
        assert!(mac.contains("/home/ana/Library/Application Support/Claude/claude_desktop_config.json"), "{mac}");
        assert!(mac.contains("/home/ana/Library/Application Support/Code/User/mcp.json") && !mac.contains("ignored"), "{mac}");
        let windows = shown(System::Windows, "/AppData/Roaming");
        assert!(windows.contains("/AppData/Roaming/Claude/claude_desktop_config.json"), "{windows}");
        assert_eq!(surroundings(System::Linux, "/c").places("emacs"), None);
    }

    #[test]
    fn a_named_client_is_found_where_it_lists_servers() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let around = Surroundings { system: System::Linux, home: at("home"), config: at("config"), here: at("project") };
        assert_eq!(find("nobody", &around), Named::Unknown);
        assert!(matches!(find("cursor", &around), Named::Nowhere(places) if places.len() == 2));
        for directory in ["home/.cursor", "project/.cursor"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        std::fs::write(at("home/.cursor/mcp.json"), r#"{"mcpServers":{"a":{"command":"x"}}}"#).unwrap();
        std::fs::write(at("project/.cursor/mcp.json"), r#"{"mcpServers":{}}"#).unwrap();
        assert_eq!(find("cursor", &around), Named::File(at("home/.cursor/mcp.json")), "one without servers is passed over");
        std::fs::write(at("project/.cursor/mcp.json"), r#"{"mcpServers":{"a":{"command":"x"}}}"#).unwrap();
        assert_eq!(find("cursor", &around), Named::Several(vec![at("project/.cursor/mcp.json"), at("home/.cursor/mcp.json")]));
    }
}
