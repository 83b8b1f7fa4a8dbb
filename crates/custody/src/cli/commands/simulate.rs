//! `custody simulate`: a company at work, with attacks in between, through the real engine.

use super::{
    super::{
        args::SimulateArgs,
        output::{instant, word},
    },
    Failure, Output, code, exit,
};
use crate::config;
use crate::core::load_rules;
use crate::simulate::{self, Options, Report, report};
use indicatif::ProgressStyle;
use std::{io::Read as _, path::Path, process::ExitCode, time::Instant};

pub fn run(args: SimulateArgs, output: &Output) -> Result<ExitCode, Failure> {
    if args.example_attacks {
        output.line(simulate::EXAMPLE)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = Options {
        roles: args.roles.into(),
        learn_days: args.learn_days,
        learn_once: args.learn_once,
        days: args.days,
        seed: args.seed,
        attacks: Vec::new(),
    };
    if args.show_company {
        let company = options.company().described();
        output.show(&company, || described(&company, output))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &args.attacks {
        let name = path.display().to_string();
        let text = read(path)?;
        let bad = |error| Failure::of(code::BAD_FILE, "attack_file", error);
        options.attacks = simulate::parse(&name, &text).map_err(bad)?;
        simulate::check_names(&name, &text, &options.attacks, &options.company(), options.days).map_err(bad)?;
    }
    let (rules, _) = load_rules(&config::Rules { dir: args.rules, ..config::Rules::default() }, "")?;
    let bar = output.progress("simulating");
    let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {percent} % {elapsed}");
    bar.set_length(1_000);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let began = Instant::now();
    let report = simulate::run(&options, rules, &mut |part| bar.set_position((part * 1_000.0) as u64));
    let report = report.timed(began.elapsed().as_secs_f64());
    bar.finish_and_clear();
    output.show(&report, || format!("{}{}", table(&report, output), report::summary(&report)))?;
    let enough = args.require_found.is_none_or(|least| report.totals.found >= least);
    let clean = args.max_false.is_none_or(|most| report.totals.false_cases <= most);
    Ok(exit(enough && clean))
}

fn read(path: &Path) -> Result<String, Failure> {
    let doing = format!("read {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| Failure::io(&doing, &error))?;
    file.take(simulate::FILE as u64 + 1).read_to_string(&mut text).map_err(|error| Failure::io(&doing, &error))?;
    if text.len() > simulate::FILE {
        return Err(Failure::new(code::BAD_FILE, "attack_file", format!("{} is larger than 4 MiB", path.display()), ""));
    }
    Ok(text)
}

fn table(report: &Report, output: &Output) -> String {
    if report.attacks.is_empty() {
        return String::new();
    }
    let rows = report.attacks.iter().map(|attack| {
        let seen = |moment: &Option<report::Moment>| match moment {
            Some(moment) => format!("{} ({} calls)", report::after(moment.after_ms), moment.calls_ran),
            None => "-".to_owned(),
        };
        vec![
            attack.number.to_string(),
            attack.kind.as_str().to_owned(),
            attack.principal.to_string(),
            attack.began.map(instant).unwrap_or_default(),
            attack.result.to_owned(),
            seen(&attack.first_finding),
            seen(&attack.case),
            attack.disposition.map(|disposition| word(&disposition)).unwrap_or_default(),
            attack.rules.iter().map(|rule| rule.as_str()).collect::<Vec<_>>().join(", "),
        ]
    });
    let columns = ["#", "kind", "principal", "began", "result", "first finding after", "case after", "disposition", "rules"];
    format!("{}\n\n", output.table(&columns, rows))
}

fn described(company: &simulate::Described, output: &Output) -> String {
    let roles = company.roles.iter().map(|role| vec![role.name.clone(), role.principals.join(", "), role.tasks.join(", ")]);
    let roles = output.table(&["role", "principals", "tasks"], roles);
    let servers = company.servers.iter().map(|server| vec![server.name.clone(), server.tools.join(", ")]);
    format!("{roles}\n\n{}", output.table(&["server", "tools"], servers))
}
