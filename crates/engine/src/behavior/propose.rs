//! A configuration that fits what was learned: roles, allowlists with argument patterns, for a person to review (D17).

use super::{ArgumentKind, Baseline, EVERYBODY, Profile, ToolHabit, arguments::SECRETS};
use std::fmt::Write as _;

/// Arguments with more words than this are not worth a list.
const LISTED: usize = 12;

/// The `[roles]` part of a `custody.toml` that permits what known sessions did, and nothing else. Comments say on how many
/// sessions each line stands.
pub fn propose(baseline: &Baseline) -> String {
    let mut out = String::new();
    let roles = baseline.profiles.iter().filter(|(name, _)| !name.contains('/') && *name != EVERYBODY);
    for (name, profile) in roles {
        let role = name.strip_prefix("client:").unwrap_or(name);
        line(
            &mut out,
            format_args!(
                "# {} sessions; usually {:.0} calls, {:.0} in the busiest minute, {:.0} s",
                profile.sessions,
                profile.calls.usual(),
                profile.peak.usual(),
                profile.seconds.usual()
            ),
        );
        line(&mut out, format_args!("[roles.{}]", quoted(role)));
        if name.starts_with("client:") {
            line(&mut out, format_args!("# No role was declared: this is client {role}. Give it the role in [clients.{}].", quoted(role)));
        }
        allow(&mut out, profile);
        let prefix = format!("{name}/");
        for (task, profile) in baseline.profiles.iter().filter_map(|(name, profile)| Some((name.strip_prefix(&prefix)?, profile))) {
            line(&mut out, format_args!("\n# {} sessions", profile.sessions));
            line(&mut out, format_args!("[roles.{}.tasks.{}]", quoted(role), quoted(task)));
            allow(&mut out, profile);
        }
        for (tool, habit) in tools(profile) {
            arguments(&mut out, role, tool, habit);
        }
        out.push('\n');
    }
    out
}

fn tools(profile: &Profile) -> impl Iterator<Item = (&str, &ToolHabit)> {
    // What is read or prompted is no tool to allow.
    profile
        .tools
        .iter()
        .map(|(name, habit)| (name.as_str(), habit))
        .filter(|(name, _)| !name.ends_with("/resources") && !name.contains("/prompts/"))
}

fn allow(out: &mut String, profile: &Profile) {
    line(out, format_args!("allow = ["));
    for (tool, habit) in tools(profile) {
        line(out, format_args!("  {}, # {} of {} sessions", quoted(tool), habit.calls.samples, profile.sessions));
    }
    line(out, format_args!("]"));
}

fn arguments(out: &mut String, role: &str, tool: &str, habit: &ToolHabit) {
    for (path, argument) in &habit.arguments {
        // Policies name arguments of the first level.
        if path.contains(['.', '[']) {
            continue;
        }
        let places = argument.words.get(&ArgumentKind::Place).filter(|words| words.watched && !words.known.is_empty());
        let values = argument.words.get(&ArgumentKind::Word).filter(|words| words.watched && !words.known.is_empty());
        let constraint = if let Some(places) = places.filter(|places| places.known.len() == 1) {
            let place = places.known.keys().next().map(String::as_str).unwrap_or_default();
            if place.contains(['#', '%', '…']) || place.starts_with(SECRETS) {
                continue;
            }
            format!("starts_with = {}", quoted(place))
        } else if let Some(values) =
            values.filter(|values| values.known.len() <= LISTED && values.known.keys().all(|word| !word.contains(['#', '%'])))
        {
            // A flag has both its values, seen or not.
            if values.known.keys().any(|word| word == "true" || word == "false") {
                continue;
            }
            format!("one_of = [{}]", values.known.keys().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
        } else {
            continue;
        };
        let sessions = argument.words.values().map(|words| words.sessions).max().unwrap_or(0);
        line(out, format_args!("\n# {sessions} sessions"));
        line(out, format_args!("[[roles.{}.arguments]]", quoted(role)));
        line(out, format_args!("tool = {}\nargument = {}\n{constraint}", quoted(tool), quoted(path)));
    }
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string does not fail");
}

/// A TOML basic string; JSON's escapes are a subset of TOML's but for DEL.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is text").replace('\u{7f}', "\\u007f")
}
