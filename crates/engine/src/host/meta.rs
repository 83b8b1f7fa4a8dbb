//! `_meta` of an MCP request, for hosts without a hook: `custody/user`, `custody/model`, `custody/agent`.

use super::{
    Told,
    told::{blocks, named},
};
use custody_model::{HostWord, TurnKind};
use serde_json::{Map, Value};

/// What a request's `_meta` says; `None` where it says nothing for Custody.
pub fn told(meta: &Map<String, Value>) -> Option<Told> {
    let of = |key: &str| meta.get(key).unwrap_or(&Value::Null);
    let words = blocks(of("custody/user"));
    let mut told = Told::new(if words.trim().is_empty() { HostWord::Other } else { HostWord::UserTurn }, "_meta");
    told.detail.build.model = named(of("custody/model"));
    let agent = of("custody/agent");
    told.detail.build.program = named(agent).or_else(|| named(&agent["name"]));
    told.detail.build.version = named(&agent["version"]);
    if told.word == HostWord::UserTurn {
        told.say(TurnKind::User, &words);
    }
    (told.word == HostWord::UserTurn || !told.detail.build.is_empty()).then_some(told)
}
