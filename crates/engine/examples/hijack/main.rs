//! Trains and scores the models of [`custody_engine::hijack`] on recorded sessions with known truth.
//!
//! `… score [--cv suite|wording|both] [--by source|suite|wording|role|fold] [--blind] [--out FILE]`: figures of models that had
//! not seen the suite, the wording, or either; with `--live` of every verdict that a daemon would have given, the likeliest. `… train [--blind] --out FILE`: the model of all sessions. `--data FILE` for both.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, missing_docs)]

mod boost;
mod data;
mod folds;
mod learn;
mod score;
mod wordings;

use score::Said;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let on = |flag: &str| args.iter().any(|arg| arg == flag);
    let value = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1)).cloned();
    let path = value("--data").unwrap_or_else(|| "../shared/traces/public.jsonl.gz".to_owned());
    let (blind, live) = (on("--blind"), on("--live"));
    let started = std::time::Instant::now();
    let set = data::load(&path, blind, !on("--no-rewording"));
    let (cases, others) = (&set.cases, &set.reworded);
    eprintln!("{} sessions, {} of them in other words, {:.1} s", cases.len(), others.len(), started.elapsed().as_secs_f64());
    if on("train") {
        let mut model = learn::learn(cases.iter().chain(others).collect(), &folds::suite);
        (model.hijacked, model.injected, model.attackers) = if blind { (0.52, 0.9, 0.25) } else { (0.52, 0.9, 0.3) };
        std::fs::write(value("--out").expect("--out FILE"), serde_json::to_string(&model).unwrap() + "\n").unwrap();
        return;
    }
    let folds = folds::folds(cases, &value("--cv").unwrap_or_else(|| "suite".to_owned()));
    let mut said = vec![Said::default(); cases.len()];
    let only: Vec<usize> = value("--folds").iter().flat_map(|list| list.split(',')).filter_map(|fold| fold.parse().ok()).collect();
    for (number, fold) in folds.iter().enumerate().filter(|(number, _)| only.is_empty() || only.contains(number)) {
        let mine = cases.iter().filter(|case| (fold.learn)(case));
        let model = learn::learn(mine.chain(others.iter().filter(|case| (fold.learn_reworded)(case))).collect(), &folds::suite);
        for at in &fold.judge {
            let ask = if live { score::ask_live } else { score::ask };
            said[*at] = ask(&cases[*at], &model, number);
        }
        eprintln!("fold {number}: {} judged, {:.0} s", fold.judge.len(), started.elapsed().as_secs_f64());
    }
    let (cases, said): (Vec<_>, Vec<_>) = cases
        .iter()
        .zip(said)
        .enumerate()
        .filter(|(at, _)| only.is_empty() || only.iter().any(|fold| folds[*fold].judge.contains(at)))
        .map(|(_, pair)| pair)
        .unzip();
    let (cases, said) = (&cases[..], &said[..]);
    score::report(cases, said, &value("--by").unwrap_or_default(), value("--at").and_then(|at| at.parse().ok()));
    if let Some(path) = value("--out") {
        score::write(&path, cases, said);
    }
}
