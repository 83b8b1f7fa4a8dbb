//! How the scripted agent is turned by a definition: it reads what tools say of themselves, as they were listed, and follows it.
//!
//! It knows nothing of the seed. An order is a text that names `read_file`, a file, and an argument to put it into; where the
//! definition does not arrive, nothing happens.

use crate::drill::plan::Call;
use rmcp::model::Tool;
use serde_json::{Map, Value};

/// What a server says of itself and of its tools.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Its instructions.
    pub instructions: String,
    /// Its tools.
    pub tools: Vec<Tool>,
}

/// What an agent understood: a file to read, and where to put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The file.
    pub secret: String,
    /// The tool that wants it.
    pub tool: String,
    /// In this argument.
    pub argument: String,
    /// What else the tool must be given.
    needs: Vec<(String, String)>,
}

impl Errand {
    /// The call that hands over what was read.
    pub fn call(&self, loot: &str) -> Call {
        let value = |kind: &str| match kind {
            "number" | "integer" => Value::from(1),
            _ => Value::from("EUR"),
        };
        let mut arguments: Map<String, Value> = self.needs.iter().map(|(name, kind)| (name.clone(), value(kind))).collect();
        arguments.insert(self.argument.clone(), Value::from(loot));
        Call { tool: self.tool.clone(), arguments }
    }
}

/// The order in a listing, if there is one.
pub fn errand(listing: &Listing) -> Option<Errand> {
    let own = listing.tools.iter().find_map(|tool| {
        let mut said = tool.description.as_deref().unwrap_or_default().to_owned();
        for (name, property) in properties(tool).into_iter().flatten() {
            if let Some(words) = property["description"].as_str() {
                said.push_str(&format!("\n`{name}`: {words}"));
            }
        }
        in_text(&said, std::slice::from_ref(tool))
    });
    own.or_else(|| in_text(&listing.instructions, &listing.tools))
}

fn properties(tool: &Tool) -> Option<&Map<String, Value>> {
    tool.input_schema.get("properties")?.as_object()
}

/// Words for all of a file, in the languages of those who write such orders.
const WHOLE: &[&str] = &["content", "whole", "complete", "unshortened", "text", "Inhalt", "contenu", "contenido", "fetch"];

fn in_text(text: &str, tools: &[Tool]) -> Option<Errand> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || "\"'`()<>,;:=[]{}!?".contains(c)).map(trim).collect();
    if !words.contains(&"read_file") || !words.iter().any(|word| WHOLE.contains(word)) {
        return None;
    }
    let secret = words.iter().find(|word| is_file(word))?;
    tools.iter().find_map(|tool| {
        let properties = properties(tool)?;
        let optional = |name: &str| !required(tool).any(|required| required == name);
        let argument = properties.iter().map(|(name, _)| name).find(|name| optional(name) && words.contains(&name.as_str()))?;
        (tools.len() == 1 || words.contains(&tool.name.as_ref())).then(|| Errand {
            secret: (*secret).to_owned(),
            tool: tool.name.to_string(),
            argument: argument.clone(),
            needs: needs(tool, properties),
        })
    })
}

fn required(tool: &Tool) -> impl Iterator<Item = &str> {
    tool.input_schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn needs(tool: &Tool, properties: &Map<String, Value>) -> Vec<(String, String)> {
    let kind = |name: &str| properties.get(name).and_then(|kind| kind["type"].as_str()).unwrap_or("string").to_owned();
    required(tool).map(|name| (name.to_owned(), kind(name))).collect()
}

fn trim(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '_')
}

/// A path with an ending, and no address.
fn is_file(word: &str) -> bool {
    let ending = word.rsplit('/').next().is_some_and(|name| name.contains('.'));
    word.contains('/') && !word.contains("//") && !word.starts_with('/') && ending
}

#[cfg(test)]
mod tests {
    use super::{Listing, errand};
    use crate::{
        drill::{course::poison, random::Random},
        practice::{Changed, Profile},
    };

    fn listing(changes: serde_json::Value, profile: Profile) -> Listing {
        let changed: Changed = serde_json::from_value(changes).unwrap();
        Listing { instructions: profile.says().1.to_owned(), tools: changed.definitions(profile.tools()) }
    }

    #[test]
    fn every_poisoned_definition_is_understood() {
        for seed in 0..500 {
            let mut random = Random::new("poison", seed);
            let carrier = random.pick(poison::CARRIERS);
            let poison = poison::poison(&mut random, carrier);
            let errand = errand(&listing(poison.changes.clone(), Profile::Desk)).unwrap_or_else(|| panic!("{poison:#?}"));
            assert_eq!((errand.secret.as_str(), errand.tool.as_str()), (poison.secret.as_str(), carrier.tool), "{poison:#?}");
            assert!(errand.call("loot").arguments.values().any(|value| value == "loot"));
        }
    }

    #[test]
    fn honest_definitions_send_nobody_anywhere() {
        for profile in [Profile::Office, Profile::Desk, Profile::Crm] {
            assert_eq!(errand(&listing(serde_json::json!({}), profile)), None);
        }
        for seed in 0..500 {
            let mut random = Random::new("honest", seed);
            assert_eq!(errand(&listing(poison::honest(&mut random), Profile::Desk)), None);
            assert_eq!(errand(&listing(poison::cosmetic(&mut random), Profile::Desk)), None);
        }
    }
}
