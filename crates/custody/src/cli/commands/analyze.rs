//! `custody analyze`: was an agent turned, by which words, and which calls follow them.

use super::{
    super::{args::AnalyzeArgs, output::plain},
    Failure, Output, code,
};
use crate::analyze::{Prediction, Recorded, Sessions, predict};
use custody_engine::hijack::{self, Event, Verdict};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

/// Hijacked sessions that are listed; the predictions have them all.
const LISTED: usize = 40;

pub fn run(args: &AnalyzeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let sessions = Sessions::new(input(&args.sessions)?, args.blind);
    let bad = |fault| Failure::of(code::BAD_FILE, "trace_file", fault);
    if let Some(id) = &args.session {
        for recorded in sessions {
            let recorded = recorded.map_err(bad)?;
            if recorded.id == *id {
                return one(&recorded, output);
            }
        }
        let message = format!("there is no session {} in {}", plain(id), args.sessions.display());
        return Err(Failure::new(code::FAILED_CHECK, "no_session", message, ""));
    }
    let mut predictions = args.predictions.as_deref().map(created).transpose()?;
    let mut summary = Summary::default();
    for recorded in sessions {
        let recorded = recorded.map_err(bad)?;
        let verdict = hijack::analyze(&recorded.session);
        let prediction = predict(&recorded, &verdict);
        if let Some(file) = &mut predictions {
            let line = serde_json::to_string(&prediction).map_err(|error| Failure::new(code::OTHER, "json", error.to_string(), ""))?;
            writeln!(file, "{line}").map_err(|error| Failure::io("write the predictions", &error))?;
        }
        summary.count(prediction, &verdict);
    }
    if let Some(mut file) = predictions {
        file.flush().map_err(|error| Failure::io("write the predictions", &error))?;
    }
    if args.predictions.as_deref() == Some(Path::new("-")) {
        return Ok(ExitCode::SUCCESS);
    }
    output.show(&summary, || summary.described(output))?;
    Ok(ExitCode::SUCCESS)
}

/// A file, or standard input for `-`; unpacked when it is packed by gzip.
fn input(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let doing = format!("read {}", path.display());
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(|error| Failure::io(&doing, &error))?))
    };
    let packed = input.fill_buf().map_err(|error| Failure::io(&doing, &error))?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(input))) } else { input })
}

fn created(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout().lock())));
    }
    let file = File::create(path).map_err(|error| Failure::io(&format!("write {}", path.display()), &error))?;
    Ok(Box::new(BufWriter::new(file)))
}

#[derive(Default, Serialize)]
struct Summary {
    sessions: u64,
    hijacked: u64,
    injected: u64,
    listed: Vec<Flagged>,
}

#[derive(Serialize)]
struct Flagged {
    likely: f32,
    #[serde(flatten)]
    prediction: Prediction,
    words: String,
}

impl Summary {
    fn count(&mut self, prediction: Prediction, verdict: &Verdict) {
        self.sessions += 1;
        self.injected += u64::from(prediction.injection);
        if prediction.compromised {
            self.hijacked += 1;
            if self.listed.len() < LISTED {
                let words = verdict.source.as_ref().map(|source| source.excerpt.clone()).unwrap_or_default();
                self.listed.push(Flagged { likely: verdict.likely, prediction, words });
            }
        }
    }

    fn described(&self, output: &Output) -> String {
        let rows = self.listed.iter().map(|flagged| {
            let calls: Vec<String> = flagged.prediction.attacker_calls.iter().map(u64::to_string).collect();
            vec![
                flagged.prediction.id.clone(),
                percent(flagged.likely),
                flagged.prediction.source.map(|event| event.to_string()).unwrap_or_default(),
                calls.join(" "),
                flagged.words.chars().take(100).collect(),
            ]
        });
        let mut text = String::new();
        if !self.listed.is_empty() {
            let _ = writeln!(text, "{}\n", output.table(&["SESSION", "SURE", "SOURCE", "CALLS", "WORDS"], rows));
        }
        if self.hijacked > self.listed.len() as u64 {
            let _ = writeln!(text, "and {} more", self.hijacked - self.listed.len() as u64);
        }
        let _ = writeln!(
            text,
            "{} sessions: {} hijacked, {} in which something spoke to the agent",
            self.sessions, self.hijacked, self.injected
        );
        text
    }
}

#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    prediction: Prediction,
    verdict: &'a Verdict,
}

fn one(recorded: &Recorded, output: &Output) -> Result<ExitCode, Failure> {
    let verdict = hijack::analyze(&recorded.session);
    let prediction = predict(recorded, &verdict);
    output.show(&One { prediction, verdict: &verdict }, || described(recorded, &verdict))?;
    Ok(ExitCode::SUCCESS)
}

/// The passage, and beside it what the agent did, with reasons.
fn described(recorded: &Recorded, verdict: &Verdict) -> String {
    let number = |event: usize| recorded.numbers.get(event).copied().unwrap_or_default();
    let mut text = String::new();
    let said = match (verdict.hijacked, verdict.injected) {
        (true, _) => "HIJACKED: the agent followed words that were not the user's",
        (false, true) => "not hijacked: something spoke to the agent, and the calls do not follow it",
        (false, false) => "not hijacked",
    };
    let _ = writeln!(text, "{}  {said} ({} sure of a hijack)", plain(&recorded.id), percent(verdict.likely));
    if let Some(task) = &recorded.session.task {
        let _ = writeln!(text, "\nThe task\n  {}", plain(task));
    }
    let Some(source) = &verdict.source else {
        let _ = writeln!(text, "\nNothing that was read before a call speaks to the agent.");
        return text;
    };
    let heading = if verdict.hijacked { "The words" } else { "If it was hijacked all the same, the words are" };
    let _ = writeln!(text, "\n{heading} (event {}, bytes {} to {})", number(source.event), source.bytes.start, source.bytes.end);
    for line in source.excerpt.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "  | {}", plain(line.trim()));
    }
    for reason in &source.reasons {
        let _ = writeln!(text, "  - {}", plain(reason));
    }
    if !source.again.is_empty() {
        let events: Vec<String> = source.again.iter().map(|event| number(*event).to_string()).collect();
        let _ = writeln!(text, "  - said again in event {}", events.join(", "));
    }
    let _ = writeln!(text, "\nThe calls");
    for (event, step) in recorded.session.events.iter().enumerate() {
        let Event::Call { tool, arguments } = step else { continue };
        let driven = verdict.calls.iter().find(|call| call.event == event);
        let mark = driven.map_or_else(|| "    ".to_owned(), |driven| format!("{:>4}", percent(driven.likely)));
        let _ = writeln!(text, "{mark}  {:>4}  {} {}", number(event), plain(tool), plain(&arguments.to_string()));
        for reason in driven.iter().flat_map(|driven| &driven.reasons) {
            let _ = writeln!(text, "              - {}", plain(reason));
        }
    }
    let _ = writeln!(text, "\nWhat moved the verdict (above zero: towards a hijack)");
    for moved in &verdict.moved {
        let _ = writeln!(text, "  {:+.2}  {} = {}", moved.by, moved.column, moved.value);
    }
    text
}

fn percent(share: f32) -> String {
    format!("{:.0}%", f64::from(share) * 100.0)
}
