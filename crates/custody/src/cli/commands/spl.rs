//! `custody rules export`: rules for other systems.

use super::{
    super::{
        args::{ExportRulesArgs, RuleFormat},
        output::plain,
    },
    Failure, Output, Place, code,
};
use crate::core::{load_rules, read_rules};
use custody_engine::detect::{Meta, Rules, shipped};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, process::ExitCode};

/// One file that is written.
#[derive(Serialize)]
struct Exported {
    /// Its name.
    file: String,
    /// The rules in it.
    rules: Vec<String>,
    /// What is in it.
    text: String,
}

pub fn export(place: &Place, args: &ExportRulesArgs, output: &Output) -> Result<ExitCode, Failure> {
    let settings = super::rules::settings(place, None)?;
    let (rules, _) = load_rules(&settings, "")?;
    let own = read_rules(settings.dir.as_deref())?;
    let wanted = |meta: &&&Meta| args.rules.is_empty() || args.rules.iter().any(|name| meta.rule.as_str().starts_with(name.as_str()));
    let metas = rules.metas();
    let metas: Vec<&Meta> = metas.iter().filter(wanted).copied().collect();
    if metas.is_empty() {
        let message = format!("there is no rule {}", plain(&args.rules.join(", ")));
        return Err(Failure::new(code::USAGE, "no_rule", message, "`custody rules list` shows them"));
    }
    let (files, refused) = match args.format {
        RuleFormat::Sigma => (sigma(&metas, &own), BTreeMap::new()),
        RuleFormat::Spl => spl(&rules, &metas),
    };
    if let Some(dir) = &args.out {
        write(dir, &files)?;
    }
    for (rule, why) in &refused {
        output.remark(&format!("{rule} is left out: {}", plain(why)));
    }
    let value = serde_json::json!({"files": files, "left_out": refused, "directory": args.out});
    output.show(&value, || match &args.out {
        Some(dir) => format!("{} files in {}", files.len(), dir.display()),
        None => files.iter().map(|file| file.text.trim_end().to_owned()).collect::<Vec<_>>().join(separator(args.format)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn separator(format: RuleFormat) -> &'static str {
    match format {
        RuleFormat::Sigma => "\n---\n",
        RuleFormat::Spl => "\n",
    }
}

/// The files as they are written: one can hold several rules.
fn sigma(metas: &[&Meta], own: &[(String, String)]) -> Vec<Exported> {
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for meta in metas {
        files.entry(&meta.file).or_default().push(meta.rule.to_string());
    }
    let text = |file: &str| {
        let own = own.iter().find(|(name, _)| name == file).map(|(_, text)| text.as_str());
        own.or_else(|| shipped().iter().find(|(name, _)| *name == file).map(|(_, text)| *text)).unwrap_or_default().to_owned()
    };
    files.into_iter().map(|(file, rules)| Exported { file: file.to_owned(), rules, text: text(file) }).collect()
}

fn spl(rules: &Rules, metas: &[&Meta]) -> (Vec<Exported>, BTreeMap<String, String>) {
    let (mut files, mut refused) = (Vec::new(), BTreeMap::new());
    for meta in metas {
        match rules.spl(&meta.rule) {
            Some(Ok(text)) => {
                files.push(Exported { file: format!("{}.spl", meta.rule), rules: vec![meta.rule.to_string()], text: text + "\n" })
            }
            Some(Err(why)) => {
                refused.insert(meta.rule.to_string(), why);
            }
            None => {}
        }
    }
    (files, refused)
}

fn write(dir: &Path, files: &[Exported]) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::io(&format!("make {}", dir.display()), &error))?;
    for file in files {
        // A rule's name is its author's: only its last part names a file here.
        let name = Path::new(&file.file).file_name().unwrap_or_default();
        let path = dir.join(name);
        std::fs::write(&path, &file.text).map_err(|error| Failure::io(&format!("write {}", path.display()), &error))?;
    }
    Ok(())
}
