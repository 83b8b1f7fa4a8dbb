//! Who may do what (D1): Cedar policies, and the short form of `custody.toml` that compiles to them.
//!
//! The vocabulary of every policy: principals are `Agent::"name"` in `Role::"name"`; actions are `Action::"call_tool"`,
//! `"read_resource"`, `"get_prompt"` and `"other"` (the rest of the protocol); resources are `Tool::"server/tool"`,
//! `Resource::"server/uri"` and `Prompt::"server/name"` in `Server::"name"`. What a condition can ask is in [`facts`].
//!
//! Three rules hold whatever the policies say. An evaluation error denies. A `forbid` wins over every `permit`. Names
//! match exactly: another case, a look-alike letter or a space is another tool, and nothing permits it.
//!
//! Deliberately absent: freezes. They are looked up in memory before Cedar is asked.

mod cache;
mod compile;
mod constraint;
mod error;
pub mod facts;
mod pattern;
mod slice;
mod source;
#[cfg(test)]
mod tests;

pub use constraint::{Constraint, Scalar};
pub use error::PolicyError;
pub use source::{PolicySource, Role, ServerFacts, Task};

use cedar_policy::{Authorizer, Decision};
use custody_model::{Digest, PolicyId, PrincipalName, RoleName, ServerName, TaskName};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use slice::{Names, Slices};

/// Policies in force, compiled and sliced by role and action.
pub struct Policies {
    source: PolicySource,
    text: String,
    slices: Slices,
    names: Names,
    authorizer: Authorizer,
    cache: cache::Cache,
    digest: Digest,
}

/// What an agent wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// `tools/call` of this tool.
    CallTool(&'a str),
    /// `resources/read` of this address.
    ReadResource(&'a str),
    /// `prompts/get` of this prompt.
    GetPrompt(&'a str),
    /// Any other method.
    Other(&'a str),
}

impl<'a> Action<'a> {
    /// The tool, address, prompt or method.
    pub fn name(self) -> &'a str {
        match self {
            Action::CallTool(name) | Action::ReadResource(name) | Action::GetPrompt(name) | Action::Other(name) => name,
        }
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Who asks.
    pub principal: &'a PrincipalName,
    /// In which role.
    pub role: Option<&'a RoleName>,
    /// For which task.
    pub task: Option<&'a TaskName>,
    /// What.
    pub action: Action<'a>,
    /// Of which server.
    pub server: &'a ServerName,
    /// `params.arguments` as received.
    pub arguments: Option<&'a Value>,
    /// Whether the server annotated the tool `readOnlyHint: true`. Believed only where the configuration says so.
    pub read_only_hint: bool,
    /// When, for policies about hours and weekdays (UTC).
    pub now: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Permitted, by these.
    Allow {
        /// Every `permit` that held.
        policies: Vec<PolicyId>,
    },
    /// Forbidden by this one, or on no allowlist: then the allowlist is named.
    Deny {
        /// Which.
        policy: PolicyId,
        /// Why, in one sentence.
        why: String,
    },
    /// Could not be evaluated, which denies.
    Error {
        /// Which.
        policy: PolicyId,
        /// Why, in one sentence.
        why: String,
    },
    /// No policy is declared: there is nothing to decide.
    Undeclared,
}

impl Policies {
    /// Compiles the short form and the Cedar files.
    ///
    /// # Errors
    /// Every fault of every Cedar file with its place: syntax, an unknown action or entity type, an id used twice.
    pub fn compile(source: &PolicySource) -> Result<Policies, Vec<PolicyError>> {
        let text = compile::cedar(source);
        let slices = Slices::build(source, &text)?;
        let mut hash = Sha256::new();
        // The short form decides more than its Cedar text shows (constraints, declared reads), so all of it counts.
        hash.update(serde_json::to_vec(source).unwrap_or_default());
        hash.update(&text);
        let digest = Digest(hash.finalize().into());
        let (names, authorizer, cache) = (Names::new(), Authorizer::new(), cache::Cache::default());
        Ok(Policies { source: source.clone(), text, slices, names, authorizer, cache, digest })
    }

    /// Nothing declared: every question is [`Verdict::Undeclared`].
    pub fn undeclared() -> Policies {
        Policies::compile(&PolicySource::default()).unwrap_or_else(|_| unreachable!("an empty source has no faults"))
    }

    /// Decides.
    pub fn decide(&self, q: &Query<'_>) -> Verdict {
        if self.source.is_empty() {
            return Verdict::Undeclared;
        }
        let slice = self.slices.of(q.role, q.action);
        let broken = self.broken(q);
        let read_only = self.source.is_read_only(q);
        let key = if slice.asks.changing() { None } else { cache::Key::of(q, &broken, read_only) };
        if let Some(verdict) = key.as_ref().and_then(|key| self.cache.known(key)) {
            return verdict;
        }
        let verdict = self.ask(q, slice, &broken, read_only);
        if let Some(key) = key {
            self.cache.keep(key, &verdict);
        }
        verdict
    }

    fn ask(&self, q: &Query<'_>, slice: &slice::Slice, broken: &[&str], read_only: bool) -> Verdict {
        let request = match slice::request(&self.names, slice, q, broken, read_only) {
            Ok(request) => request,
            Err(why) => return Verdict::Error { policy: self.allowlist_id(q), why },
        };
        let response = self.authorizer.is_authorized(&request.request, &slice.policies, &request.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = PolicyId(error.policy_id().to_string());
            let why = format!("policy `{policy}` cannot be evaluated: {}", bounded(&error.inner().to_string()));
            return Verdict::Error { policy, why };
        }
        let mut reasons: Vec<PolicyId> = response.diagnostics().reason().map(|id| PolicyId(id.to_string())).collect();
        reasons.sort();
        match response.decision() {
            Decision::Allow => Verdict::Allow { policies: reasons },
            Decision::Deny => match reasons.into_iter().next() {
                Some(policy) => Verdict::Deny { why: self.slices.why(&policy), policy },
                None => Verdict::Deny { policy: self.allowlist_id(q), why: self.not_listed(q) },
            },
        }
    }

    /// Patterns that hold for a role and task, for people to read. `None`: nothing is declared for the role.
    pub fn allowlist(&self, role: Option<&RoleName>, task: Option<&TaskName>) -> Option<Vec<String>> {
        let role = self.source.roles.get(role?.as_str())?;
        let Some(task) = task.filter(|_| !role.tasks.is_empty()) else { return Some(role.allow.clone()) };
        let Some(task) = role.tasks.get(task.as_str()) else { return Some(Vec::new()) };
        if role.allow.is_empty() {
            return Some(task.allow.clone());
        }
        let mut both: Vec<String> = Vec::new();
        for (narrow, wide) in [(&task.allow, &role.allow), (&role.allow, &task.allow)] {
            both.extend(narrow.iter().filter(|n| wide.iter().any(|w| pattern::covers(w, n))).cloned());
        }
        both.sort();
        both.dedup();
        Some(both)
    }

    /// Whether an allowed call of this tool waits for a person.
    pub fn holds(&self, role: Option<&RoleName>, server: &ServerName, tool: &str) -> bool {
        let role = role.and_then(|role| self.source.roles.get(role.as_str()));
        role.is_some_and(|role| role.hold.iter().any(|pattern| pattern::matches(pattern, server.as_str(), tool)))
    }

    /// The Cedar text that the short form compiled to.
    pub fn cedar_text(&self) -> &str {
        &self.text
    }

    /// SHA-256 over everything that decides.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The slow reference: every slice holds every policy.
    #[cfg(test)]
    fn unsliced(&self) -> Policies {
        let slices = Slices::unsliced(&self.source, &self.text);
        let (source, text, digest) = (self.source.clone(), self.text.clone(), self.digest);
        let (names, authorizer, cache) = (Names::new(), Authorizer::new(), cache::Cache::default());
        Policies { source, text, slices, names, authorizer, cache, digest }
    }

    /// Ids of the constraints that the arguments break.
    fn broken(&self, q: &Query<'_>) -> Vec<&str> {
        let (Action::CallTool(tool), Some(role)) = (q.action, q.role) else { return Vec::new() };
        let Some(role) = self.source.roles.get(role.as_str()) else { return Vec::new() };
        let about = |c: &&Constraint| pattern::matches(&c.tool, q.server.as_str(), tool);
        role.constraints.iter().filter(about).filter(|c| !c.holds(q.arguments)).map(|c| c.id.as_str()).collect()
    }

    /// The allowlist that would have had to permit it.
    fn allowlist_id(&self, q: &Query<'_>) -> PolicyId {
        let Some(role) = q.role else { return PolicyId::from("role:none") };
        match q.task {
            Some(task) if self.source.roles.get(role.as_str()).is_some_and(|r| !r.tasks.is_empty()) => {
                PolicyId(format!("role:{role}/task:{task}"))
            }
            _ => PolicyId(format!("role:{role}")),
        }
    }

    fn not_listed(&self, q: &Query<'_>) -> String {
        let what = match q.action {
            Action::CallTool(tool) => format!("tool `{}/{}`", q.server, bounded(tool)),
            Action::ReadResource(_) => format!("a resource of server `{}`", q.server),
            Action::GetPrompt(name) => format!("prompt `{}/{}`", q.server, bounded(name)),
            Action::Other(method) => format!("method `{}` of server `{}`", bounded(method), q.server),
        };
        match (q.role, q.task) {
            (None, _) => format!("{what} is permitted to roles only, and the agent has none"),
            (Some(role), _) if !self.slices.knows(role) => format!("{what} was asked for in role `{role}`, which no policy knows"),
            (Some(role), Some(task)) => format!("{what} is not on the allowlist of role `{role}` for task `{task}`"),
            (Some(role), None) => format!("{what} is not on the allowlist of role `{role}`"),
        }
    }
}

/// Text from an agent, made safe to stand in a sentence.
fn bounded(text: &str) -> String {
    const MOST: usize = 120;
    let mut out: String = text.chars().take(MOST).flat_map(char::escape_debug).filter(|c| *c != '`').collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}
