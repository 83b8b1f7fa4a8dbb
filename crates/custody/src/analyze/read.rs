//! Rows of the trace format, one at a time.

use custody_engine::hijack::{Event, Session};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    io::{self, BufRead, Read as _},
};

/// Longest line in bytes. A session of 20 MB fits, with its escapes.
pub const LINE: usize = 256 << 20;

/// A session of the file.
#[derive(Debug)]
pub struct Recorded {
    /// Its id.
    pub id: String,
    /// What is judged.
    pub session: Session,
    /// The number that the file gives each event.
    pub numbers: Vec<u64>,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Fault {
    /// It cannot be read.
    #[error("line {line} cannot be read")]
    Io {
        /// From 1.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not end.
    #[error("line {line} is longer than {} MiB", LINE >> 20)]
    TooLong {
        /// From 1.
        line: u64,
    },
    /// It is not a session.
    #[error("line {line} is not a session")]
    #[diagnostic(help("one JSON object a line: {{\"id\", \"user_task\", \"tools\": [names], \"events\": [tool_call | tool_result]}}"))]
    Row {
        /// From 1.
        line: u64,
        /// What the reader says.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    user_task: Option<String>,
    #[serde(default)]
    tools: Vec<Tool>,
    events: Vec<Step>,
}

/// A name, or a definition with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tool {
    Name(String),
    Definition { name: String },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Step {
    ToolCall {
        i: u64,
        tool: String,
        #[serde(default)]
        args: Value,
    },
    ToolResult {
        i: u64,
        #[serde(default)]
        call: Option<u64>,
        #[serde(default)]
        content: Option<Value>,
    },
}

/// The sessions of a reader, in order. Holds one line at a time.
pub struct Sessions<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    blind: bool,
}

impl<R: BufRead> Sessions<R> {
    /// `blind`: as if the host had not told the user's words.
    pub fn new(input: R, blind: bool) -> Sessions<R> {
        Sessions { input, line: 0, buffer: Vec::new(), blind }
    }

    fn next_line(&mut self) -> Result<bool, Fault> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let line = self.line;
            let read = (&mut self.input).take(LINE as u64 + 1).read_until(b'\n', &mut self.buffer);
            match read.map_err(|source| Fault::Io { line, source })? {
                0 => return Ok(false),
                _ if self.buffer.len() > LINE => return Err(Fault::TooLong { line }),
                _ if self.buffer.trim_ascii().is_empty() => {}
                _ => return Ok(true),
            }
        }
    }
}

impl<R: BufRead> Iterator for Sessions<R> {
    type Item = Result<Recorded, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_line() {
            Ok(false) => None,
            Ok(true) => {
                let row = serde_json::from_slice::<Row>(&self.buffer);
                Some(row.map(|row| recorded(row, self.blind)).map_err(|source| Fault::Row { line: self.line, source }))
            }
            Err(fault) => Some(Err(fault)),
        }
    }
}

fn recorded(row: Row, blind: bool) -> Recorded {
    let mut positions: HashMap<u64, usize> = HashMap::new();
    let mut numbers = Vec::with_capacity(row.events.len());
    let mut events = Vec::with_capacity(row.events.len());
    for step in row.events {
        match step {
            Step::ToolCall { i, tool, args } => {
                positions.insert(i, events.len());
                numbers.push(i);
                events.push(Event::Call { tool, arguments: args });
            }
            Step::ToolResult { i, call, content } => {
                let content = match content {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text,
                    Some(other) => other.to_string(),
                };
                numbers.push(i);
                events.push(Event::Result { call: call.and_then(|call| positions.get(&call).copied()), content });
            }
        }
    }
    let tools = row.tools.into_iter().map(|tool| match tool {
        Tool::Name(name) | Tool::Definition { name } => name,
    });
    let task = row.user_task.filter(|_| !blind);
    Recorded { id: row.id, session: Session { task, tools: tools.collect(), events }, numbers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Recorded, Fault>> {
        Sessions::new(text.as_bytes(), false).collect()
    }

    #[test]
    fn only_what_an_observer_knows_is_read() {
        let row = r#"{"id":"a","user_task":"t","tools":["x",{"name":"y","description":"d"}],"label":{"compromised":7},"events":[
            {"i":0,"type":"tool_call","tool":"x","args":{"q":1},"attacker":true},
            {"i":1,"type":"tool_result","tool":"x","call":0,"content":"c","error":null},
            {"i":5,"type":"tool_result","call":99,"content":null},{"i":6,"type":"tool_result","content":{"k":[1]}}]}"#;
        let read = read(&row.replace('\n', " "));
        let session = read[0].as_ref().unwrap();
        assert_eq!(session.numbers, [0, 1, 5, 6]);
        assert_eq!(session.session.tools, ["x", "y"]);
        let told = |at: usize| match &session.session.events[at] {
            Event::Result { call, content } => (*call, content.as_str()),
            Event::Call { .. } => panic!("a call"),
        };
        assert_eq!([told(1), told(2), told(3)], [(Some(0), "c"), (None, ""), (None, "{\"k\":[1]}")]);
    }

    #[test]
    fn faults_name_their_line_and_the_rest_can_be_read() {
        let read = read("{\"id\":\"a\",\"events\":[]}\n\n{\"id\":3}\n[]\n{\"id\":\"b\",\"events\":[]}");
        let told: Vec<String> = read.iter().map(|row| row.as_ref().map_or_else(ToString::to_string, |row| row.id.clone())).collect();
        assert_eq!(told, ["a", "line 3 is not a session", "line 4 is not a session", "b"]);
    }

    #[test]
    fn blind_drops_the_task() {
        let row = "{\"id\":\"a\",\"user_task\":\"t\",\"events\":[]}";
        assert_eq!(Sessions::new(row.as_bytes(), true).next().unwrap().unwrap().session.task, None);
        assert_eq!(read(row)[0].as_ref().unwrap().session.task.as_deref(), Some("t"));
    }
}
