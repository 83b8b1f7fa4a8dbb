//! Custody's hook in the settings of Claude Code: put in, taken out, and no other byte touched.
//!
//! Format: the published hooks reference (`docs/hook.md` names it): `hooks.EVENT` is a list of groups, each with an optional
//! `matcher` and a list `hooks` of commands.

use super::{AdoptError, DocumentError, clients::Surroundings, document, document_error, io_error, record::Records};
use crate::trust::{Clients, Home, replace_keeping_mode, write_private};
use custody_engine::host::claude_code::{EVENTS, has_tools};
use custody_model::PrincipalName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use similar::TextDiff;
use std::{
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// Version of what is kept.
const VERSION: u16 = 1;
/// Directory beside the settings.
const BESIDE: &str = "custody-hook";
/// Seconds after which the host gives a hook up. The hook itself ends long before.
const TIMEOUT: u64 = 5;

/// What the hook needs to know: a file that only its user may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookFile {
    /// [`VERSION`].
    pub v: u16,
    /// Scheme, host and port of the agents' listener.
    pub url: String,
    /// The client's key.
    pub key: String,
    /// The listener's own certificate, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// How long the host is kept waiting at most.
    pub deadline_ms: u64,
    /// Whether the host must not go on when Custody cannot be told.
    #[serde(default)]
    pub fail_closed: bool,
}

/// Which settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// `~/.claude/settings.json`.
    User,
    /// `.claude/settings.local.json` of the project, the one that is not committed.
    Project,
    /// This file.
    File(PathBuf),
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct HookOptions {
    /// Where.
    pub which: Which,
    /// Under which name; `None`: that of the adopted client.
    pub client: Option<String>,
    /// The program that the host shall start.
    pub program: String,
    /// See [`HookFile::deadline_ms`].
    pub deadline_ms: u64,
    /// See [`HookFile::fail_closed`].
    pub fail_closed: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Hooked {
    /// The settings.
    pub path: PathBuf,
    /// The principal of what the hook tells.
    pub client: String,
    /// The hook's own file.
    pub file: PathBuf,
    /// Whether the settings were changed.
    pub changed: bool,
    /// Whether the client of that name is adopted.
    pub adopted: bool,
    /// How the settings differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// What was taken out.
#[derive(Debug, Clone, Serialize)]
pub struct Unhooked {
    /// The settings.
    pub path: PathBuf,
    /// Whether they have exactly their earlier bytes, or are gone as before.
    pub exact: bool,
    /// Keys that no longer open the agents' listener.
    pub keys_removed: usize,
    /// How the settings differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Kept in the home until the hook is taken out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u16,
    path: PathBuf,
    client: String,
    /// `None`: there was no such file.
    original: Option<String>,
    installed: String,
}

/// Puts the hook in. Twice is once.
///
/// # Errors
/// See [`AdoptError`]. Nothing was changed.
pub fn install(home: &Home, options: &HookOptions, now: Timestamp) -> Result<Hooked, AdoptError> {
    let path = settings_of(&options.which)?;
    let config = super::check_config(home, &super::read_config(home)?)?;
    let _lock = Records::lock(home.root()).map_err(io_error("use", home.root()))?;
    let (client, adopted) = client_of(&_lock, options)?;
    let current = read(&path)?;
    let kept = read_kept(home, &path)?;
    let directory = path.parent().unwrap_or(Path::new("/")).join(BESIDE);
    let file = directory.join("hook.json");
    let command = format!("{} hook run --file {}", quoted(&options.program), quoted(&file.to_string_lossy()));
    let before = current.clone().unwrap_or_default();
    let bare = edit(&path, &before, |text| without(text, &is_ours))?;
    let text = edit(&path, if bare.trim().is_empty() { "{\n}\n" } else { &bare }, |text| with(text, &command))?;
    let hooked =
        |changed, difference| Hooked { path: path.clone(), client: client.clone(), file: file.clone(), changed, adopted, difference };
    if options.dry_run {
        return Ok(hooked(text != before, Some(difference(&before, &text, &path))));
    }
    make_directory(&directory)?;
    let settings = HookFile {
        v: VERSION,
        url: config.agents.url(),
        key: Clients::mint_for_hook(&home.clients(), PrincipalName(client.clone()), &path, now)?.expose().to_owned(),
        certificate: config.agents.tls.as_ref().filter(|_| config.agents.public_url.is_none()).map(|tls| tls.cert.clone()),
        deadline_ms: options.deadline_ms,
        fail_closed: options.fail_closed,
    };
    write_private(&file, &pretty(&settings)).map_err(io_error("write", &file))?;
    let original = match kept {
        Some(kept) if kept.installed == before => kept.original,
        Some(_) => Some(bare),
        None => current,
    };
    let changed = text != before;
    let kept = Kept { v: VERSION, path: path.clone(), client: client.clone(), original, installed: text.clone() };
    let place = place(home, &path);
    make_directory(place.parent().unwrap_or(Path::new("/")))?;
    write_private(&place, &pretty(&kept)).map_err(io_error("write", &place))?;
    if changed {
        replace_keeping_mode(&path, text.as_bytes()).map_err(io_error("write", &path))?;
    }
    Ok(hooked(changed, None))
}

/// Takes the hook out. Untouched settings get exactly their earlier bytes.
///
/// # Errors
/// See [`AdoptError`].
pub fn remove(home: &Home, which: &Which, dry_run: bool) -> Result<Unhooked, AdoptError> {
    let path = settings_of(which)?;
    let _lock = Records::lock(home.root()).map_err(io_error("use", home.root()))?;
    let current = read(&path)?;
    let kept = read_kept(home, &path)?;
    let before = current.clone().unwrap_or_default();
    let (after, exact) = match &kept {
        Some(kept) if kept.installed == before => (kept.original.clone(), true),
        _ if current.is_none() => (None, true),
        _ => (Some(edit(&path, &before, |text| without(text, &is_ours))?), false),
    };
    let is_its = |one: &crate::trust::clients::ClientRecord| one.hook && one.file.as_deref() == Some(&path);
    if dry_run {
        let difference = difference(&before, after.as_deref().unwrap_or_default(), &path);
        let keys_removed = Clients::open(&home.clients())?.records().iter().filter(|one| is_its(one)).count();
        return Ok(Unhooked { path, exact, keys_removed, difference: Some(difference) });
    }
    match &after {
        Some(text) if current.as_ref() != Some(text) => {
            replace_keeping_mode(&path, text.as_bytes()).map_err(io_error("write", &path))?;
        }
        None if current.is_some() => std::fs::remove_file(&path).map_err(io_error("remove", &path))?,
        _ => {}
    }
    let keys_removed = Clients::revoke(&home.clients(), is_its)?;
    let directory = path.parent().unwrap_or(Path::new("/")).join(BESIDE);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &directory)(error)),
        _ => {}
    }
    if kept.is_some() {
        let place = place(home, &path);
        std::fs::remove_file(&place).map_err(io_error("remove", &place))?;
    }
    Ok(Unhooked { path, exact, keys_removed, difference: None })
}

fn settings_of(which: &Which) -> Result<PathBuf, AdoptError> {
    let path = match which {
        Which::File(path) => path.clone(),
        Which::Project => PathBuf::from(".claude/settings.local.json"),
        Which::User => {
            let around = Surroundings::of_process().ok_or_else(|| {
                let error = io::Error::new(io::ErrorKind::NotFound, "the variable HOME is not set");
                io_error("find", Path::new("~/.claude/settings.json"))(error)
            })?;
            around.home.join(".claude/settings.json")
        }
    };
    Ok(super::resolve_missing(&path))
}

/// The principal: the one under which the client's servers are adopted, so that its words and its calls meet.
fn client_of(records: &Records, options: &HookOptions) -> Result<(String, bool), AdoptError> {
    let all = records.all().map_err(io_error("read the records in", Path::new("adopted")))?;
    let known: Vec<&str> = all.iter().map(|record| record.client.as_str()).collect();
    if let Some(client) = &options.client {
        let client = super::config::plain_name(client);
        return Ok((client.clone(), known.contains(&client.as_str())));
    }
    let around = Surroundings::of_process();
    let mut places = around.and_then(|around| around.places("claude-code")).unwrap_or_default();
    if options.which == Which::User {
        places.reverse();
    }
    let places = places.iter().map(|place| super::resolve_missing(place));
    let found = places.filter_map(|place| all.iter().find(|record| record.path == place)).map(|record| record.client.clone()).next();
    let named = found.or_else(|| known.contains(&"claude-code").then(|| "claude-code".to_owned()));
    Ok(match named {
        Some(client) => (client, true),
        None => ("claude-code".to_owned(), false),
    })
}

fn read(path: &Path) -> Result<Option<String>, AdoptError> {
    if path.exists() { super::read_text(path, None).map(Some) } else { Ok(None) }
}

fn edit(path: &Path, text: &str, with: impl FnOnce(&str) -> Result<String, serde_json::Error>) -> Result<String, AdoptError> {
    if text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let (mark, rest) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| (&text[..'\u{feff}'.len_utf8()], rest));
    let edited = with(rest).map_err(|source| document_error(path, DocumentError::Json(source), None))?;
    Ok(format!("{mark}{edited}"))
}

/// The settings with a group of ours for each event.
fn with(text: &str, command: &str) -> Result<String, serde_json::Error> {
    // Only the object itself: what stands before and behind it stays.
    let span = whole(text)?;
    let object = &text[span.clone()];
    let own = document::fields(object, 0..object.len())?;
    let group = |event: &str| {
        let mut group = json!({ "hooks": [{ "type": "command", "command": command, "timeout": TIMEOUT }] });
        if has_tools(event) {
            group["matcher"] = "*".into();
        }
        group
    };
    let Some(field) = own.iter().find(|field| field.name == "hooks") else {
        let all: Value = EVENTS.iter().map(|event| ((*event).to_owned(), json!([group(event)]))).collect::<serde_json::Map<_, _>>().into();
        let hooks = match object.contains('\n') {
            // As people write it, below a field of the settings.
            true => serde_json::to_string_pretty(&all)?.replace('\n', "\n  "),
            false => document::render(&all, object),
        };
        let object = document::set_fields(object, 0..object.len(), &[("hooks", hooks)])?;
        return Ok(document::splice(text, vec![(span, object)]));
    };
    let mut hooks = object[field.span.clone()].to_owned();
    for event in EVENTS {
        let group = document::render(&group(event), object);
        let present = document::fields(&hooks, 0..hooks.len())?;
        let list = match present.iter().find(|field| field.name == event) {
            Some(field) => document::push_item(&hooks[field.span.clone()], &group)?,
            None => format!("[{group}]"),
        };
        hooks = document::set_fields(&hooks, 0..hooks.len(), &[(event, list)])?;
    }
    let object = document::set_fields(object, 0..object.len(), &[("hooks", hooks)])?;
    Ok(document::splice(text, vec![(span, object)]))
}

/// The settings without the commands that are meant, and without what is empty then.
fn without(text: &str, meant: &dyn Fn(&Value) -> bool) -> Result<String, serde_json::Error> {
    let span = whole(text)?;
    let mut object = text[span.clone()].to_owned();
    let own = document::fields(&object, 0..object.len())?;
    let Some(field) = own.iter().find(|field| field.name == "hooks") else { return Ok(text.to_owned()) };
    let before = object[field.span.clone()].to_owned();
    let mut hooks = before.clone();
    for event in document::fields(&before, 0..before.len())? {
        let mut list = before[event.span.clone()].to_owned();
        if !list.starts_with('[') {
            continue;
        }
        let untouched = list.clone();
        for group in (0..document::items(&list)?.len()).rev() {
            let place = document::items(&list)?[group].clone();
            let text = list[place.clone()].to_owned();
            if !text.starts_with('{') {
                continue;
            }
            let Some(commands) = document::fields(&text, 0..text.len())?.into_iter().find(|field| field.name == "hooks") else { continue };
            let mut array = text[commands.span.clone()].to_owned();
            if !array.starts_with('[') {
                continue;
            }
            let here = document::items(&array)?;
            let gone: Vec<usize> =
                (0..here.len()).filter(|at| document::value(&array[here[*at].clone()]).is_ok_and(|value| meant(&value))).collect();
            if gone.is_empty() {
                continue;
            }
            if gone.len() == here.len() {
                list = document::remove_item(&list, group)?;
                continue;
            }
            for at in gone.into_iter().rev() {
                array = document::remove_item(&array, at)?;
            }
            let text = document::splice(&text, vec![(commands.span, array)]);
            list = document::splice(&list, vec![(place, text)]);
        }
        if list == untouched {
            continue;
        }
        hooks = match document::items(&list)?.is_empty() {
            true => document::remove_fields(&hooks, &[&event.name])?,
            false => document::set_fields(&hooks, 0..hooks.len(), &[(&event.name, list)])?,
        };
    }
    if hooks == before {
        return Ok(text.to_owned());
    }
    object = match document::fields(&hooks, 0..hooks.len())?.is_empty() {
        true => document::remove_fields(&object, &["hooks"])?,
        false => document::set_fields(&object, 0..object.len(), &[("hooks", hooks)])?,
    };
    Ok(document::splice(text, vec![(span, object)]))
}

/// Where the object of the settings stands.
fn whole(text: &str) -> Result<std::ops::Range<usize>, serde_json::Error> {
    document::fields(text, 0..text.len())?;
    document::object(text).ok_or_else(|| serde::de::Error::custom("the settings are no object"))
}

/// A command of a Custody, whichever home it is of.
fn is_ours(command: &Value) -> bool {
    command["command"].as_str().is_some_and(|command| command.contains(" hook run --file ") && command.contains(BESIDE))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn difference(before: &str, after: &str, path: &Path) -> String {
    let name = path.display().to_string();
    TextDiff::from_lines(before, after).unified_diff().context_radius(2).header(&name, &name).to_string()
}

fn make_directory(path: &Path) -> Result<(), AdoptError> {
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("make", path)(error)),
        _ => {}
    }
    // A key lies in it, and it may lie in a repository.
    if path.ends_with(BESIDE) {
        let ignore = path.join(".gitignore");
        std::fs::write(&ignore, "*\n").map_err(io_error("write", &ignore))?;
    }
    Ok(())
}

fn place(home: &Home, path: &Path) -> PathBuf {
    let name = hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()));
    home.root().join("hooks").join(format!("{}.json", &name[..32]))
}

fn read_kept(home: &Home, path: &Path) -> Result<Option<Kept>, AdoptError> {
    let place = place(home, path);
    let bytes = match std::fs::read(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error("read", &place))?,
    };
    let strange = |error: serde_json::Error| io_error("read", &place)(io::Error::new(io::ErrorKind::InvalidData, error));
    serde_json::from_slice(&bytes).map(Some).map_err(strange)
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "custody hook run --file /h/.claude/custody-hook/hook.json";

    fn hooked(text: &str) -> String {
        with(text, COMMAND).unwrap()
    }

    #[test]
    fn what_was_put_in_can_be_taken_out_and_nothing_else_changes() {
        for text in [
            "{}",
            "{\n}\n",
            "{\"a\":1}",
            "{\n  // my model\n  \"model\": \"opus\",\n  \"permissions\": { \"allow\": [\"Bash(ls:*)\"] },\n}\n",
            "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      { \"matcher\": \"Bash\", \"hooks\": [ { \"type\": \"command\", \"command\": \"./check.sh\" } ] }\n    ]\n  },\n  \"unknown\": [1, 2]\n}\n",
            "{\"hooks\":{\"Notification\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"say hi\"}]}]}}",
        ] {
            let more = hooked(text);
            let value = document::value(&more).unwrap();
            for event in EVENTS {
                let groups = value["hooks"][event].as_array().unwrap();
                assert_eq!(groups.last().unwrap()["hooks"][0]["command"], COMMAND, "{more}");
                assert_eq!(groups.last().unwrap()["matcher"].is_string(), has_tools(event));
            }
            assert_eq!(document::value(&without(&more, &is_ours).unwrap()).unwrap(), document::value(text).unwrap(), "{more}");
            for kept in ["// my model", "./check.sh", "\"unknown\": [1, 2]", "say hi"] {
                assert_eq!(more.contains(kept), text.contains(kept), "{more}");
                assert_eq!(without(&more, &is_ours).unwrap().contains(kept), text.contains(kept));
            }
        }
    }

    #[test]
    fn a_command_of_ours_beside_another_goes_alone() {
        let text = format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{{"command":"{COMMAND}"}},{{"command":"mine"}}]}},"odd"],"Odd":7}}}}"#);
        assert_eq!(without(&text, &is_ours).unwrap(), r#"{"hooks":{"Stop":[{"hooks":[{"command":"mine"}]},"odd"],"Odd":7}}"#);
        assert_eq!(without(r#"{"hooks":[]}"#, &is_ours).ok(), None);
        assert_eq!(without("{}", &is_ours).unwrap(), "{}");
    }

    #[test]
    fn paths_with_blanks_are_one_word_for_the_shell() {
        assert_eq!(quoted("/a/b.json"), "/a/b.json");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
