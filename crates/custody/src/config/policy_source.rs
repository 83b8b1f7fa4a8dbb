//! What the engine's policies are compiled from.

use super::{Argument, Config, Role, Text};
use custody_engine::policy::{Constraint, PolicySource, Role as PolicyRole, Scalar, ServerFacts, Task};
use std::collections::HashMap;

impl Config {
    /// The short form for the engine, beside the Cedar files that were read (name and text).
    pub fn policy_source(&self, cedar: Vec<(String, String)>) -> PolicySource {
        PolicySource {
            roles: self.roles.iter().map(|(name, role)| (name.clone(), policy_role(name, role))).collect(),
            servers: self
                .servers
                .iter()
                .map(|(name, s)| (name.clone(), ServerFacts { reads: s.reads.clone(), trust_annotations: s.trust_annotations }))
                .collect(),
            cedar,
        }
    }
}

fn policy_role(name: &str, role: &Role) -> PolicyRole {
    let mut uses: HashMap<String, usize> = HashMap::new();
    let constraints = role.arguments.iter().map(|argument| {
        let id = format!("args:{name}/{}#{}", argument.tool, argument.argument);
        let nth = uses.entry(id.clone()).and_modify(|n| *n += 1).or_insert(1);
        constraint(if *nth == 1 { id } else { format!("{id}/{nth}") }, argument)
    });
    PolicyRole {
        allow: role.allow.clone(),
        read_only: role.read_only,
        hold: role.hold.clone(),
        constraints: constraints.collect(),
        tasks: role.tasks.iter().map(|(task, table)| (task.clone(), Task { allow: table.allow.clone() })).collect(),
    }
}

fn constraint(id: String, argument: &Argument) -> Constraint {
    let Argument { tool, argument, starts_with, one_of, matches, min, max, max_length, optional } = argument.clone();
    let scalar = |text| match text {
        Text::Text(text) => Scalar::Text(text),
        Text::Number(number) => Scalar::Number(number),
        Text::Bool(bool) => Scalar::Bool(bool),
    };
    let one_of = one_of.map(|list| list.into_iter().map(scalar).collect());
    Constraint { id, tool, argument, starts_with, one_of, matches, min, max, max_length, optional }
}
