//! Mail: it ends in `mail.mbox` and goes nowhere.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, text};
use crate::practice::world::{ToolError, World};
use serde_json::{Map, Value, json};

pub(super) const SEND_MAIL: PracticeTool = PracticeTool {
    name: "send_mail",
    description: "Send a mail (practice: appended to mail.mbox, nothing leaves the machine).",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["to", "subject", "body"], "properties": {
            "to": {"type": "string", "description": "Mail address"}, "subject": {"type": "string"}, "body": {"type": "string"}}})
    },
    run: send_mail,
};

fn send_mail(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let to = text(arguments, "to", SHORT_BYTES)?;
    let subject = text(arguments, "subject", SHORT_BYTES)?;
    let body = text(arguments, "body", TEXT_BYTES)?;
    let one_line = |value: &str| value.chars().all(|c| !c.is_control());
    if !one_line(to) || !to.contains('@') || to.contains(char::is_whitespace) {
        return Err(ToolError::Argument { name: "to", expected: "a mail address" });
    }
    if !one_line(subject) {
        return Err(ToolError::Argument { name: "subject", expected: "one line" });
    }
    let now = jiff::Timestamp::now();
    let date =
        jiff::fmt::strtime::format("%a, %d %b %Y %H:%M:%S +0000", &now.to_zoned(jiff::tz::TimeZone::UTC)).map_err(std::io::Error::other)?;
    let mut message = format!("From practice@localhost {date}\nFrom: practice@localhost\nTo: {to}\nSubject: {subject}\nDate: {date}\n\n");
    for line in body.lines() {
        // mboxrd: a line that looks like the start of a mail gets one more `>`.
        if line.trim_start_matches('>').starts_with("From ") {
            message.push('>');
        }
        message.push_str(line);
        message.push('\n');
    }
    message.push('\n');
    world.append("mail.mbox", message.as_bytes())?;
    Ok(format!("mail to {to} sent"))
}
