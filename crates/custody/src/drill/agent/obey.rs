//! How the scripted agent is turned: it reads words that came over the wire and follows them.
//!
//! It knows nothing of the seed. A text turns it when one paragraph names a tool that carries things out **and** a
//! destination that fits this tool; where the payload does not arrive, or arrives without these, nothing happens.

use crate::drill::plan::Call;
use serde_json::json;

/// What the agent understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The tool to use.
    pub tool: String,
    /// Where to.
    pub destination: String,
    /// An amount, if the words name one.
    pub amount: Option<String>,
}

/// The order in a text, if there is one; `tools` are those that the server listed.
pub fn order(text: &str, tools: &[String]) -> Option<Order> {
    text.split('\u{c}').flat_map(|page| page.split("\n\n")).find_map(|paragraph| in_paragraph(paragraph, tools))
}

fn in_paragraph(paragraph: &str, tools: &[String]) -> Option<Order> {
    let words: Vec<&str> = paragraph.split(|c: char| c.is_whitespace() || "\"'()<>,;={}[]!?".contains(c)).map(trim).collect();
    // Where several could be meant, the tool and the destination that stand closest together.
    let tools = words.iter().enumerate().filter(|(_, word)| carries_out(word) && tools.iter().any(|tool| tool == *word));
    let pairs = tools.flat_map(|(at, tool)| {
        let destinations = words.iter().enumerate().filter(|(_, word)| fits(tool, word));
        destinations.map(move |(there, destination)| (at.abs_diff(there), *tool, *destination))
    });
    let (_, tool, destination) = pairs.min_by_key(|(distance, ..)| *distance)?;
    let amount = words.iter().find(|word| word.parse::<f64>().is_ok() && word.contains('.'));
    Some(Order { tool: tool.to_owned(), destination: destination.to_owned(), amount: amount.map(|amount| (*amount).to_owned()) })
}

fn trim(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn carries_out(tool: &str) -> bool {
    matches!(tool, "send_data" | "send_mail" | "make_payment" | "write_file")
}

/// Whether a word can be a destination of a tool.
fn fits(tool: &str, word: &str) -> bool {
    let host = |text: &str| {
        let text = text.rsplit_once(':').map_or(text, |(host, port)| if port.parse::<u16>().is_ok() { host } else { text });
        let top = text.rsplit('.').next().unwrap_or_default();
        text.contains('.')
            && (2..=8).contains(&top.len())
            && top.bytes().all(|b| b.is_ascii_lowercase())
            && top != "txt"
            && !text.contains('/')
    };
    match tool {
        "send_mail" => word.split_once('@').is_some_and(|(name, at)| !name.is_empty() && host(at)),
        "make_payment" => {
            let bytes = word.as_bytes();
            word.len() >= 15
                && bytes.iter().all(u8::is_ascii_alphanumeric)
                && bytes[..2].iter().all(u8::is_ascii_uppercase)
                && bytes[2..].iter().all(u8::is_ascii_digit)
        }
        "write_file" => word.contains('/') && word.ends_with(".txt") && !word.contains("://"),
        _ => match word.strip_prefix("https://") {
            Some(rest) => rest.split_once('/').map_or(host(rest), |(name, _)| host(name)),
            None => !word.contains('@') && host(word),
        },
    }
}

impl Order {
    /// The call that follows the order, with `loot` in it.
    pub fn call(&self, loot: &str) -> Call {
        let to = self.destination.as_str();
        let arguments = match self.tool.as_str() {
            "send_mail" => json!({"to": to, "subject": "As requested", "body": loot}),
            "make_payment" => {
                let amount: f64 = self.amount.as_deref().and_then(|amount| amount.parse().ok()).unwrap_or(100.0);
                json!({"account": to, "amount": amount, "currency": "EUR", "reference": "URGENT"})
            }
            "write_file" => json!({"path": to, "content": loot}),
            _ => json!({"destination": to, "data": loot}),
        };
        Call::new(self.tool.clone(), arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::drill::{corpus, plan::Plan, random::Random, scenarios, wording};

    fn tools() -> Vec<String> {
        ["read_file", "send_data", "send_mail", "make_payment", "write_file"].map(str::to_owned).to_vec()
    }

    #[test]
    fn every_wording_is_understood() {
        for seed in 0..2000 {
            let payload = wording::payload(&mut Random::new("wording", seed));
            let found = order(&payload.paragraph, &tools()).unwrap_or_else(|| panic!("{}", payload.paragraph));
            assert_eq!(found.tool, payload.tool);
            assert!(payload.destination.contains(&found.destination), "{payload:?} {found:?}");
            assert!(payload.sentence.contains(&found.destination));
        }
    }

    #[test]
    fn honest_paper_turns_nobody() {
        for seed in 0..500 {
            let document = corpus::document(&mut Random::new("paper", seed), "reports/a.txt".to_owned());
            assert_eq!(order(&document.pages.join("\u{c}"), &tools()), None, "{document:?}");
        }
    }

    #[test]
    fn only_the_poisoned_document_of_a_plan_turns() {
        for (scenario, seed) in scenarios::all().iter().flat_map(|scenario| (0..200).map(move |seed| (scenario, seed))) {
            let Some(Plan { documents, attack, .. }) = scenario.plan(seed) else { continue };
            for document in documents {
                let found = order(&document.pages.join("\u{c}"), &tools());
                let poisoned = attack.as_ref().is_some_and(|(truth, _)| truth.document == document.path);
                assert_eq!(found.is_some(), poisoned, "{} {seed} {}", scenario.name, document.path);
                if let (Some((truth, _)), Some(found)) = (&attack, found) {
                    assert_eq!(found.tool, truth.tool);
                    assert!(truth.destination.contains(&found.destination));
                    let page = document.pages[truth.page - 1].split_whitespace().collect::<Vec<_>>().join(" ");
                    assert!(page.contains(&truth.sentence), "{page}");
                }
            }
        }
    }
}
