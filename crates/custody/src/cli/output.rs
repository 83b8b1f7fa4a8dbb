//! Text for people, JSON for scripts. A reader that goes away (`| head`) ends the program quietly.

use super::Failure;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// Longest text in a cell.
const CELL: usize = 300;

/// Where a command's result goes.
pub(super) struct Output {
    pub json: bool,
    /// Colours: standard output is a terminal, and NO_COLOR is not set.
    colour: bool,
}

impl Output {
    pub fn new(json: bool) -> Output {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output { json, colour: !json && !forbidden && io::stdout().is_terminal() }
    }

    /// JSON when it was asked for, else the text.
    pub fn show(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(value).map_err(|error| Failure::new(super::code::OTHER, "json", error.to_string(), ""))?
        } else {
            text()
        };
        self.line(&text)
    }

    /// One text, with a newline.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n'))
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::io("write to standard output", &error))
    }

    /// A remark for people, on standard error; scripts do not get it.
    pub fn remark(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    pub fn table(&self, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        if !io::stdout().is_terminal() {
            // A file has no width: lines stay whole for `grep`.
            table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        }
        table.set_header(columns.iter().map(|name| Cell::new(*name)));
        for row in rows {
            table.add_row(row.into_iter().map(|text| self.cell(&text)));
        }
        table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    fn cell(&self, text: &str) -> Cell {
        let cell = Cell::new(plain(text));
        if !self.colour {
            return cell;
        }
        match text {
            "P1" | "critical" | "DENIED" | "frozen" | "FAILED" => cell.fg(Color::Red),
            "P2" | "high" | "HELD" | "open" => cell.fg(Color::Yellow),
            "ok" | "ALLOWED" | "contained" => cell.fg(Color::Green),
            _ => cell,
        }
    }

    /// Something that lasts. Shown on a terminal only, and only when it lasts.
    pub fn progress(&self, what: &str) -> ProgressBar {
        let target = if self.json || !io::stderr().is_terminal() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// Text of agents and servers made safe for a terminal: one line, no control characters, no changes of direction, not endless.
pub(super) fn plain(text: &str) -> String {
    let unsafe_here = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown = String::with_capacity(text.len().min(CELL));
    for (count, character) in text.chars().enumerate() {
        if count == CELL {
            shown.push('…');
            break;
        }
        if unsafe_here(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// `2026-11-21 09:14:03Z`.
pub(super) fn instant(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `2026-11-21 09:14:03.418Z`, where the order within a second matters.
pub(super) fn precise(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// The serde name of a value that is one word, such as `data_exfiltration`.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered_by_what_agents_send() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\td\u{9b}1m"), "a\\u{1b}[2Jb\\u{202e}c\\u{9}d\\u{9b}1m");
        assert_eq!(plain("zwölf\nP1"), "zwölf\\u{a}P1", "no line of its own in a table");
        assert_eq!(plain(&"x".repeat(400)).chars().count(), CELL + 1);
    }
}
