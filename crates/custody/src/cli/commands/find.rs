//! `custody find` and `custody rebuild`: what was recorded, searched; and the tables that are searched, made anew.

use super::{
    super::{
        backend::Backend,
        output::{instant, plain, word},
    },
    Failure, Output, Place, code,
};
use crate::{
    api::FindRequest,
    core::{Rebuilt, rebuild},
};
use clap::Args;
use custody_store::projection::{Hit, Page};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(in crate::cli) struct FindArgs {
    /// Terms that must all hold: KEY:VALUE, a word, or either with - before it
    #[arg(
        value_name = "QUERY",
        required = true,
        num_args = 1..,
        long_help = "Terms that must all hold: KEY:VALUE, a bare word, or either with - before it.\n\n\
Keys: tool, server, outcome (allowed, denied, held), reason; rule, priority, incident; session, principal, role, task; after, before \
(2h, 7d, 2026-11-22, 2026-11-22T10:00:00Z); kind (session, finding, call). * stands for any text, ? for one character; quote what has spaces: \
role:\"night shift\". Put `--` before a query that begins with -."
    )]
    query: Vec<String>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Where the page begins: what the page before said
    #[arg(long, value_name = "PLACE")]
    page: Option<String>,
}

pub(in crate::cli) async fn find(place: &Place, args: FindArgs, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let query = args.query.join(" ");
    let page = backend.find(FindRequest { query, limit: Some(args.limit), page: args.page }).await?;
    output.show(&page, || table(&page, output))?;
    Ok(ExitCode::SUCCESS)
}

fn table(page: &Page, output: &Output) -> String {
    if page.hits.is_empty() {
        return "Nothing found".into();
    }
    let name = |name: Option<&str>| plain(name.unwrap_or("erased"));
    let id = |id: Option<&dyn std::fmt::Display>| id.map_or_else(|| "-".to_owned(), ToString::to_string);
    let rows = page.hits.iter().map(|hit| match hit {
        Hit::Session(row) => vec![
            "session".into(),
            "-".into(),
            instant(row.started),
            row.id.to_string(),
            name(row.principal.as_ref().map(|p| p.as_str())),
            format!("{} calls, {} denied, {} findings", row.calls, row.denied, row.findings),
            row.why.clone().unwrap_or_else(|| "open".into()),
        ],
        Hit::Finding(row) => vec![
            "finding".into(),
            row.leaf.to_string(),
            instant(row.at),
            id(row.session.as_ref().map(|id| id as _)),
            name(row.principal.as_ref().map(|p| p.as_str())),
            format!("{}: {}", row.rule, row.why.as_deref().unwrap_or("erased")),
            word(&row.priority),
        ],
        Hit::Call(row) => vec![
            "call".into(),
            row.leaf.to_string(),
            instant(row.at),
            id(row.session.as_ref().map(|id| id as _)),
            name(row.principal.as_ref().map(|p| p.as_str())),
            format!("{}/{}", row.server, row.tool.as_deref().unwrap_or("erased")),
            match &row.reason {
                Some(reason) => format!("{} ({reason})", word(&row.outcome)),
                None => word(&row.outcome),
            },
        ],
    });
    let table = output.table(&["KIND", "ENTRY", "AT", "SESSION", "PRINCIPAL", "WHAT", "OUTCOME"], rows);
    match &page.next {
        Some(next) => format!("{table}\n\nThere is more: --page {next}"),
        None => table,
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RebuildArgs {
    /// Only say whether the tables are what the ledger says
    #[arg(long)]
    check: bool,
}

/// With the operator's own key, so that also what the daemon can no longer open is there.
pub(in crate::cli) async fn rebuild_tables(place: &Place, args: RebuildArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let (_, credential) = place.authorise(&home)?;
    if crate::api::DaemonFile::running(&home).is_some() {
        let help = "stop the daemon; its tables follow the ledger by themselves";
        return Err(Failure::new(code::FAILED_CHECK, "running", "a daemon works with this home", help));
    }
    let own = credential.identity().map_err(|error| Failure::io("read the operator's identity", &error))?;
    let bar = output.progress("rebuilding");
    let told = bar.clone();
    let tell = move |entries: u64| told.set_message(format!("rebuilding: {entries} entries"));
    let rebuilt = rebuild(&home, own, args.check, &tell).await;
    bar.finish_and_clear();
    let rebuilt = rebuilt?;
    output.show(&rebuilt, || describe(&rebuilt))?;
    Ok(super::exit(!args.check || rebuilt.same == Some(true)))
}

fn describe(rebuilt: &Rebuilt) -> String {
    let Rebuilt { entries, took_ms, digest, same, replaced, .. } = rebuilt;
    let rate = entries * 1000 / took_ms.max(&1);
    let compared = match same {
        Some(true) => "the same as before",
        Some(false) => "not the same as before",
        None => "there was none that could be read before",
    };
    let kept = if *replaced { "" } else { "\nNothing was changed" };
    format!("{entries} entries in {took_ms} ms ({rate}/s)\n  dump sha256 {digest}: {compared}{kept}")
}

impl Backend {
    async fn find(&self, request: FindRequest) -> Result<Page, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.find(&request).await?,
            Backend::Offline(home) => home.find(request).await?,
            Backend::Core { core, .. } => crate::api::Service::find(core.clone(), request).await?,
        })
    }
}
