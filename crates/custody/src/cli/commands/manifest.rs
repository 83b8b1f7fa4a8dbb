//! `custody manifest`: what servers say of their tools, and what operators decide about changes (D2).

use super::{
    super::{
        args::{ApproveArgs, ManifestCommand},
        backend::Backend,
        output::{instant, plain, word},
    },
    Failure, Output, Place, code,
};
use crate::core::{ManifestAct, ManifestOrder};
use custody_engine::manifest::{ChangeKind, Shown, State, View};
use custody_model::{DangerClass, ServerName};
use std::{fmt::Write as _, process::ExitCode};

pub async fn run(place: &Place, command: ManifestCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        ManifestCommand::List { server } => {
            let view = view(place, server.as_deref(), None).await?;
            output.show(&view, || list(&view, output))?;
        }
        ManifestCommand::Show { server, name } => {
            let view = view(place, Some(&server), name.as_deref()).await?;
            known(&view, &server, name.as_deref())?;
            output.show(&view.definitions, || view.definitions.iter().map(whole).collect::<Vec<_>>().join("\n"))?;
        }
        ManifestCommand::Diff { server, name } => {
            let mut view = view(place, Some(&server), name.as_deref()).await?;
            known(&view, &server, name.as_deref())?;
            view.definitions.retain(|shown| shown.pending.is_some());
            output.show(&view.definitions, || match view.definitions.is_empty() {
                true => "Nothing differs from what is pinned".to_owned(),
                false => view.definitions.iter().map(difference).collect::<Vec<_>>().join("\n"),
            })?;
        }
        ManifestCommand::Approve(args) => return approve(place, args, output).await,
        ManifestCommand::Reject { server, name, reason } => {
            let order = ManifestOrder {
                act: ManifestAct::Reject,
                server: ServerName(server),
                name,
                change: None,
                minutes: None,
                digests: Vec::new(),
                reason,
            };
            let done = act(place, |_| Ok(order)).await?;
            output.show(&done, || {
                let line = |shown: &Shown| match shown.state {
                    State::Rejected => format!("{}: the pin stays; free again when the server lists it", title(shown)),
                    _ => format!("{}: the pin stays and the server lists it; free again", title(shown)),
                };
                done.iter().map(line).collect::<Vec<_>>().join("\n")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn approve(place: &Place, args: ApproveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let ApproveArgs { server, name, change, ahead, expires, reason } = args;
    let minutes = ahead.then(|| minutes(&expires)).transpose()?;
    let act_word = if ahead { ManifestAct::Announce } else { ManifestAct::Approve };
    let done = act(place, |view| {
        // Only what stands there now: a change in between is not approved unseen.
        let waiting = view.definitions.iter().filter(|shown| shown.server.0 == server && !ahead);
        let digests = waiting.filter(|shown| name.as_ref().is_none_or(|name| *name == shown.name)).filter_map(|shown| shown.pending);
        let digests = digests.collect();
        Ok(ManifestOrder {
            act: act_word,
            server: ServerName(server.clone()),
            name: name.clone(),
            change: Some(change.clone()),
            minutes,
            digests,
            reason,
        })
    })
    .await?;
    output.show(&done, || match ahead {
        true => format!("Announced under {}: changes of {} within {expires} are approved", plain(&change), plain(&server)),
        false => done.iter().map(|shown| format!("{}: approved and pinned; free again", title(shown))).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn act(place: &Place, order: impl FnOnce(&View) -> Result<ManifestOrder, Failure>) -> Result<Vec<Shown>, Failure> {
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let done = async {
        let view = backend.manifest().await?;
        backend.order_manifest(order(&view)?).await
    };
    let done = done.await;
    backend.close().await;
    done
}

async fn view(place: &Place, server: Option<&str>, name: Option<&str>) -> Result<View, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let mut view = backend.manifest().await?;
    let is_server = |of: &ServerName| server.is_none_or(|server| server == of.as_str());
    view.definitions.retain(|shown| is_server(&shown.server) && name.is_none_or(|name| name == shown.name));
    view.announcements.retain(|announced| is_server(&announced.server));
    // What waits for a person comes first; else as the servers are called.
    view.definitions.sort_by_key(|shown| !matches!(shown.state, State::Pending | State::Rejected));
    Ok(view)
}

fn known(view: &View, server: &str, name: Option<&str>) -> Result<(), Failure> {
    if !view.definitions.is_empty() {
        return Ok(());
    }
    let what = name.map_or_else(|| server.to_owned(), |name| format!("{server}/{name}"));
    let help = "`custody manifest list` shows what is known; a server that no agent asked yet has listed nothing";
    Err(Failure::new(code::FAILED_CHECK, "not_found", format!("nothing is known of `{}`", plain(&what)), help))
}

/// `30m`, `4h`, `2d`.
fn minutes(text: &str) -> Result<u32, Failure> {
    let unit = |suffix: char, minutes: u32| text.strip_suffix(suffix)?.parse::<u32>().ok()?.checked_mul(minutes);
    let found = unit('m', 1).or_else(|| unit('h', 60)).or_else(|| unit('d', 24 * 60)).filter(|minutes| *minutes > 0);
    let wrong = || Failure::new(code::USAGE, "usage", format!("`{}` is no time", plain(text)), "such as 30m, 4h or 2d");
    found.ok_or_else(wrong)
}

fn list(view: &View, output: &Output) -> String {
    if view.definitions.is_empty() && view.announcements.is_empty() {
        return "No server has listed anything yet".to_owned();
    }
    let row = |shown: &Shown| {
        let principal = shown.principal.as_ref().map(|principal| format!(" (for {principal})")).unwrap_or_default();
        vec![
            format!("{}{principal}", shown.server),
            shown.listing.noun().to_owned(),
            shown.name.clone(),
            word(&shown.state),
            shown.class.map_or("", DangerClass::as_str).to_owned(),
            shown.seen.or(shown.since).map(instant).unwrap_or_default(),
            shown.change.clone().unwrap_or_default(),
        ]
    };
    let mut text = output.table(&["SERVER", "KIND", "NAME", "STATE", "CLASS", "SINCE", "CHANGE"], view.definitions.iter().map(row));
    for announced in &view.announcements {
        let what = announced.target.as_deref().unwrap_or("all definitions");
        let _ = write!(
            text,
            "\nAnnounced under {} by {}: {} of {}, until {}",
            plain(&announced.change),
            plain(announced.by.as_str()),
            plain(what),
            announced.server,
            instant(announced.until)
        );
    }
    text
}

fn title(shown: &Shown) -> String {
    let principal = shown.principal.as_ref().map(|principal| format!(" for {}", plain(principal.as_str()))).unwrap_or_default();
    format!("{} {}/{}{principal}", shown.listing.noun(), plain(shown.server.as_str()), plain(&shown.name))
}

fn whole(shown: &Shown) -> String {
    let mut text = format!("{}: {}\n", title(shown), word(&shown.state));
    let mut say = |what: &str, digest: Option<custody_model::Digest>, definition: Option<&serde_json::Value>| {
        let Some(digest) = digest else { return };
        let _ = writeln!(text, "  {what} {digest}");
        let pretty = definition.map(|value| serde_json::to_string_pretty(value).unwrap_or_default());
        for line in pretty.as_deref().unwrap_or("(its text is not kept: too long, or erased)").lines() {
            let _ = writeln!(text, "    {}", plain(line));
        }
    };
    say("pinned", shown.pinned, shown.definition.as_ref());
    say("waits ", shown.pending, shown.seen_definition.as_ref());
    text
}

fn difference(shown: &Shown) -> String {
    let class = shown.class.map_or("not known", DangerClass::as_str);
    let mut text = format!("{}: {}, class {class}\n", title(shown), word(&shown.state));
    if !shown.words.is_empty() {
        let _ = writeln!(text, "  words: {}", plain(&shown.words.join(" | ")));
    }
    if let Some(action) = shown.action {
        let _ = writeln!(text, "  quarantined by {action}");
    }
    match (&shown.diff, shown.pinned) {
        (None, None) => text.push_str("  new: nothing is pinned under this name\n"),
        (None, Some(_)) => text.push_str("  it differs; a text is not kept: too long, or erased\n"),
        (Some(diff), _) => {
            for change in &diff.changes {
                let sign = match change.kind {
                    ChangeKind::Added => '+',
                    ChangeKind::Removed => '-',
                    ChangeKind::Changed => '~',
                };
                let _ = writeln!(text, "  {sign} {} ({})", plain(&change.at), change.class.as_str());
                for (mark, value) in [('-', &change.before), ('+', &change.after)] {
                    for line in value.iter().flat_map(|value| value.lines()) {
                        let _ = writeln!(text, "      {mark} {}", plain(line));
                    }
                }
            }
            if diff.more > 0 {
                let _ = writeln!(text, "  and {} more", diff.more);
            }
        }
    }
    text
}
