//! `custody replay` and `custody rules backtest`: the record judged once more. Nothing is written.

use super::{
    super::{
        args::{BacktestArgs, ReplayArgs},
        output::{instant, plain},
    },
    Failure, Output, Place, code, exit, learn,
};
use crate::{
    config::{self, Config},
    core::{compile_policies, load_rules},
    replay::{Listed, Options, Replayed, replay},
    trust::Home,
};
use custody_engine::detect::Rules;
use custody_store::ledger::Reader;
use jiff::Timestamp;
use std::{fmt::Write as _, path::Path, process::ExitCode, sync::Arc};

/// Findings of each kind that are shown; the JSON form has a thousand.
const SHOWN: usize = 20;

pub fn run(place: &Place, args: ReplayArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = match &args.path {
        Some(path) => Home::open(path)?,
        None => place.open()?,
    };
    let rules = args.rules.map(|dir| rules_of(&config::Rules { dir: Some(dir), ..config::Rules::default() })).transpose()?;
    let policies = match &args.policy {
        Some(path) => Some(compile_policies(&Config::read(path)?)?),
        None => None,
    };
    let baseline = args.baseline.as_ref().map(learn::read).transpose()?.map(Arc::new);
    let asked_for_others = rules.is_some() || policies.is_some() || baseline.is_some();
    let options = Options { rules, policies, baseline, since: since(args.since.as_deref())?, ..Options::default() };
    let replayed = over(place, &home, options, output)?;
    output.show(&replayed, || describe(&replayed, asked_for_others, output))?;
    // With other versions, other findings are an answer and no failure.
    Ok(exit(asked_for_others || replayed.holds()))
}

pub fn backtest(place: &Place, args: BacktestArgs, output: &Output) -> Result<ExitCode, Failure> {
    let rules = rules_of(&super::rules::settings(place, args.dir)?)?;
    let wanted = |rule: &str| args.rules.is_empty() || args.rules.iter().any(|name| rule.starts_with(name.as_str()));
    if !rules.metas().iter().any(|meta| wanted(meta.rule.as_str())) {
        let known = "`custody rules list` and the names in the directory say which there are";
        return Err(Failure::new(code::USAGE, "no_rule", format!("there is no rule {}", plain(&args.rules.join(", "))), known));
    }
    let home = place.open()?;
    let options = Options { rules: Some(rules), since: since(args.since.as_deref())?, ..Options::default() };
    let mut replayed = over(place, &home, options, output)?;
    replayed.rules.retain(|rule, _| wanted(rule.as_str()));
    let value = serde_json::json!({
        "entries": replayed.entries, "messages": replayed.messages, "erased": replayed.erased, "rules": replayed.rules,
    });
    output.show(&value, || {
        let rows = replayed.rules.iter().map(|(rule, of)| {
            let days: Vec<String> = of.days.iter().map(|(day, count)| format!("{day} {count}")).collect();
            vec![rule.to_string(), of.findings.to_string(), of.sessions.to_string(), days.join(", ")]
        });
        let mut text = output.table(&["RULE", "FINDINGS", "SESSIONS", "DAYS"], rows);
        let _ = writeln!(text, "\n\n{} entries, {} messages judged{}", replayed.entries, replayed.messages, erased(&replayed));
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn rules_of(settings: &config::Rules) -> Result<Rules, Failure> {
    Ok(load_rules(settings, "")?.0)
}

fn since(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| learn::moment(text, Timestamp::now())).transpose()
}

fn over(place: &Place, home: &Home, mut options: Options, output: &Output) -> Result<Replayed, Failure> {
    let identity = match home.read_daemon_key().ok().and_then(|key| key.expose().parse().ok()) {
        Some(identity) => identity,
        None => place.credential(home)?.identity().map_err(|error| Failure::io("read the operator's key", &error))?,
    };
    options.base = home.config().parent().map(Path::to_owned).unwrap_or_default();
    let path: &Path = &home.ledger();
    let broken = |error| crate::api::ApiError::from(error);
    let reader = Reader::open(path, vec![identity]).map_err(broken)?;
    let bar = output.progress("reading the record");
    let told = bar.clone();
    let replayed = replay(&reader, options, move |entries| told.set_message(format!("reading the record: {entries} entries")));
    bar.finish_and_clear();
    Ok(replayed.map_err(broken)?)
}

fn erased(replayed: &Replayed) -> String {
    match replayed.erased {
        0 => String::new(),
        count => format!(", {count} not any more, for they are erased"),
    }
}

fn describe(replayed: &Replayed, others: bool, output: &Output) -> String {
    let mut text = String::new();
    let verdict = match (others, replayed.holds()) {
        (true, _) => "With these versions",
        (false, true) => "OK: with the versions of the record, the findings of the record",
        (false, false) => "NOT ALIKE with the versions of the record",
    };
    let _ = writeln!(text, "{verdict}");
    let _ = writeln!(text, "  {} entries, {} messages judged{}", replayed.entries, replayed.messages, erased(replayed));
    let _ = writeln!(
        text,
        "  {} findings of the record: {} found alike, {} at an entry nearby, {} different, {} not found; {} about definitions, which are not judged again, {} erased",
        replayed.recorded,
        replayed.same,
        replayed.beside,
        replayed.different.count,
        replayed.missing.count,
        replayed.definitions,
        replayed.erased_findings
    );
    let _ = writeln!(text, "  {} found only now", replayed.new.count);
    if replayed.policy.would_deny + replayed.policy.would_permit > 0 {
        let change = &replayed.policy;
        let _ = writeln!(
            text,
            "  these policies would deny {} that passed, and permit {} that they denied",
            change.would_deny, change.would_permit
        );
    }
    for version in &replayed.versions {
        let _ = writeln!(text, "  {}", plain(version));
    }
    for (what, listed) in [("DIFFERENT", &replayed.different), ("ONLY THEN", &replayed.missing), ("ONLY NOW", &replayed.new)] {
        list(&mut text, what, listed, output);
    }
    text
}

fn list(text: &mut String, what: &str, listed: &Listed, output: &Output) {
    if listed.count == 0 {
        return;
    }
    let rows = listed.first.iter().take(SHOWN).map(|shown| {
        let leaf = shown.leaf.map(|leaf| leaf.to_string()).unwrap_or_default();
        let who = shown.principal.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![leaf, instant(shown.at), shown.rule.to_string(), who, shown.why.clone()]
    });
    let _ = writeln!(text, "\n{}", output.table(&[what, "AT", "RULE", "AGENT", "WHY"], rows));
    if listed.count > SHOWN as u64 {
        let _ = writeln!(text, "and {} more; --json lists them", listed.count - SHOWN as u64);
    }
}
