//! Policies sliced by role and action, so that a decision evaluates few of them.
//!
//! A slice holds every policy whose scope could match; the tests compare it with the whole set.

use super::{Action, PolicyError, PolicySource, Query, facts};
use cedar_policy::{
    ActionConstraint, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint, Request,
    RestrictedExpression,
};
use custody_model::{PolicyId, RoleName};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    str::FromStr,
};

/// Ids of the four actions, in the order of slices.
pub(super) const ACTIONS: [&str; 4] = ["call_tool", "read_resource", "get_prompt", "other"];
/// Entity types that policies can name.
const TYPES: [&str; 7] = ["Agent", "Role", "Server", "Tool", "Resource", "Prompt", "Action"];

/// The policies that one role's one kind of action can meet.
pub(super) struct Slice {
    pub policies: PolicySet,
    pub asks: Asks,
}

/// Which facts some policy of a slice reads; the others are not computed.
#[derive(Clone, Copy)]
pub(super) struct Asks {
    names: bool,
    broken: bool,
    read_only: bool,
    time: bool,
    arguments: bool,
}

impl Asks {
    /// By the policies' text. Where that is not plainly `context.name` or `context has name`, everything is given.
    fn of(policies: &[&Policy]) -> Asks {
        let texts: Vec<String> = policies.iter().map(|policy| policy.to_string()).collect();
        let asked: Option<HashSet<&str>> = texts.iter().flat_map(|text| text.split("context").skip(1)).map(name_after_context).collect();
        let reads = |names: &[&str]| asked.as_ref().is_none_or(|asked| names.iter().any(|name| asked.contains(name)));
        Asks {
            names: reads(&["server", "name"]),
            broken: reads(&["broken"]),
            read_only: reads(&["read_only"]),
            time: reads(&["hour", "weekday"]),
            arguments: reads(&["args", "unrepresentable"]),
        }
    }

    /// Whether the answer may differ for the same agent, role, task and name.
    pub(super) fn changing(self) -> bool {
        self.time || self.arguments
    }
}

pub(super) struct Slices {
    by_role: HashMap<String, [Slice; 4]>,
    /// For agents without a role, or in one that no policy knows.
    other: [Slice; 4],
    whys: HashMap<PolicyId, String>,
}

impl Slices {
    pub(super) fn build(source: &PolicySource, short_form: &str) -> Result<Slices, Vec<PolicyError>> {
        let policies = Slices::policies(source, short_form)?;
        let mut roles: BTreeSet<String> = source.roles.keys().cloned().collect();
        roles.extend(policies.iter().filter_map(role_of));
        let slice = |role: Option<&str>| ACTIONS.map(|action| Slice::of(&policies, role, action));
        let whys = policies.iter().filter_map(|p| Some((PolicyId(p.id().to_string()), p.annotation("why")?.to_owned()))).collect();
        Ok(Slices { by_role: roles.into_iter().map(|role| (role.clone(), slice(Some(&role)))).collect(), other: slice(None), whys })
    }

    /// Every policy in every slice.
    #[cfg(test)]
    pub(super) fn unsliced(source: &PolicySource, short_form: &str) -> Slices {
        let policies = Slices::policies(source, short_form).unwrap();
        let mut slices = Slices::build(source, short_form).unwrap();
        for slice in slices.by_role.values_mut().flatten().chain(&mut slices.other) {
            slice.policies = PolicySet::from_policies(policies.clone()).unwrap();
            slice.asks = Asks { names: true, broken: true, read_only: true, time: true, arguments: true };
        }
        slices
    }

    fn policies(source: &PolicySource, short_form: &str) -> Result<Vec<Policy>, Vec<PolicyError>> {
        let mut policies = Vec::new();
        let mut errors = Vec::new();
        let mut ids = HashSet::new();
        for (file, text) in std::iter::once(("custody.toml", short_form)).chain(source.cedar.iter().map(|(f, t)| (f.as_str(), t.as_str())))
        {
            match PolicySet::from_str(text) {
                Ok(set) => read(file, text, &set, &mut ids, &mut policies, &mut errors),
                Err(parse) => errors.extend(PolicyError::syntax(file, text, &parse)),
            }
        }
        if errors.is_empty() { Ok(policies) } else { Err(errors) }
    }

    pub(super) fn of(&self, role: Option<&RoleName>, action: Action<'_>) -> &Slice {
        let slices = role.and_then(|role| self.by_role.get(role.as_str())).unwrap_or(&self.other);
        &slices[index(action)]
    }

    pub(super) fn knows(&self, role: &RoleName) -> bool {
        self.by_role.contains_key(role.as_str())
    }

    /// The `@why` of a policy, or a sentence that names it.
    pub(super) fn why(&self, policy: &PolicyId) -> String {
        self.whys.get(policy).cloned().unwrap_or_else(|| format!("policy `{policy}` forbids it"))
    }
}

/// Gives each policy the id of its annotation and checks what it names.
fn read(file: &str, text: &str, set: &PolicySet, ids: &mut HashSet<String>, out: &mut Vec<Policy>, errors: &mut Vec<PolicyError>) {
    if set.templates().next().is_some() {
        let at = text.find("?principal").or(text.find("?resource")).unwrap_or(0);
        errors.push(PolicyError::at(file, text, at, "templates are not supported: name the principal and resource".to_owned()));
    }
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| number(policy));
    for (i, policy) in policies.into_iter().enumerate() {
        let id = match policy.annotation("id") {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("{file}#{}", i + 1),
        };
        for literal in policy.entity_literals() {
            let kind = literal.type_name().to_string();
            let name: &str = literal.id().unescaped();
            let fault = if !TYPES.contains(&kind.as_str()) {
                format!("`{kind}` is no entity type; known are {}", TYPES.join(", "))
            } else if kind == "Action" && !ACTIONS.contains(&name) {
                format!("`{name}` is no action; known are {}", ACTIONS.join(", "))
            } else {
                continue;
            };
            let at = text.find(&format!("{kind}::")).unwrap_or(0);
            errors.push(PolicyError::at(file, text, at, format!("policy `{id}`: {fault}")));
        }
        if !ids.insert(id.clone()) {
            let at = text.rfind(&format!("\"{id}\"")).unwrap_or(0);
            errors.push(PolicyError::at(file, text, at, format!("the policy id `{id}` is used twice")));
            continue;
        }
        out.push(policy.new_id(cedar_policy::PolicyId::new(id)));
    }
}

/// Cedar numbers the policies of a text `policy0`, `policy1`, ….
fn number(policy: &Policy) -> usize {
    policy.id().to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

fn role_of(policy: &Policy) -> Option<String> {
    let (PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid)) = policy.principal_constraint() else { return None };
    (uid.type_name().to_string() == "Role").then(|| uid.id().unescaped().to_owned())
}

impl Slice {
    fn of(policies: &[Policy], role: Option<&str>, action: &str) -> Slice {
        let chosen: Vec<&Policy> = policies.iter().filter(|p| concerns_role(p, role) && concerns_action(p, action)).collect();
        let asks = Asks::of(&chosen);
        let policies = PolicySet::from_policies(chosen.into_iter().cloned()).expect("ids were checked to be unique");
        Slice { policies, asks }
    }
}

/// The attribute in `.name` or ` has name`; `None` for any other use of the context.
fn name_after_context(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix('.').or_else(|| rest.trim_start().strip_prefix("has ").map(str::trim_start))?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    (end > 0).then_some(&name[..end])
}

fn concerns_role(policy: &Policy, role: Option<&str>) -> bool {
    role_of(policy).is_none_or(|wanted| Some(wanted.as_str()) == role)
}

fn concerns_action(policy: &Policy, action: &str) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == action;
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(&uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

pub(super) fn index(action: Action<'_>) -> usize {
    match action {
        Action::CallTool(_) => 0,
        Action::ReadResource(_) => 1,
        Action::GetPrompt(_) => 2,
        Action::Other(_) => 3,
    }
}

/// Parsed once.
pub(super) struct Names {
    agent: EntityTypeName,
    role: EntityTypeName,
    server: EntityTypeName,
    resources: [EntityTypeName; 3],
    actions: [EntityUid; 4],
}

impl Names {
    pub(super) fn new() -> Names {
        let name = |text: &str| EntityTypeName::from_str(text).expect("a plain word is a type name");
        let action = name("Action");
        Names {
            agent: name("Agent"),
            role: name("Role"),
            server: name("Server"),
            resources: ["Tool", "Resource", "Prompt"].map(name),
            actions: ACTIONS.map(|id| EntityUid::from_type_name_and_id(action.clone(), EntityId::new(id))),
        }
    }
}

/// A request and the entities it speaks of.
pub(super) struct Asked {
    pub request: Request,
    pub entities: Entities,
}

/// Builds what Cedar is asked.
pub(super) fn request(names: &Names, slice: &Slice, q: &Query<'_>, broken: &[&str], read_only: bool) -> Result<Asked, String> {
    let uid = |kind: &EntityTypeName, id: &str| EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
    let at = index(q.action);
    let agent = uid(&names.agent, q.principal.as_str());
    let role: HashSet<EntityUid> = q.role.iter().map(|role| uid(&names.role, role.as_str())).collect();
    let server = uid(&names.server, q.server.as_str());
    let mut entities = vec![Entity::new_no_attrs(agent.clone(), role)];
    let resource = match names.resources.get(at) {
        Some(kind) => {
            let resource = uid(kind, &format!("{}/{}", q.server, q.action.name()));
            entities.push(Entity::new_no_attrs(resource.clone(), HashSet::from([server])));
            resource
        }
        None => server,
    };
    let entities = Entities::from_entities(entities, None).map_err(|e| e.to_string())?;
    let context = context(slice, q, broken, read_only)?;
    let request = Request::new(agent, names.actions[at].clone(), resource, context, None).map_err(|e| e.to_string())?;
    Ok(Asked { request, entities })
}

fn context(slice: &Slice, q: &Query<'_>, broken: &[&str], read_only: bool) -> Result<Context, String> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut pairs = Vec::with_capacity(10);
    let mut add = |name: &str, value| pairs.push((name.to_owned(), value));
    if slice.asks.names {
        add("server", text(q.server.as_str()));
        add("name", text(q.action.name()));
    }
    if let Some(task) = q.task {
        add("task", text(task.as_str()));
    }
    if slice.asks.broken {
        add("broken", RestrictedExpression::new_set(broken.iter().map(|id| text(id))));
    }
    if slice.asks.read_only {
        add("read_only", RestrictedExpression::new_bool(read_only));
    }
    if slice.asks.time {
        let now = q.now.to_zoned(jiff::tz::TimeZone::UTC);
        add("hour", RestrictedExpression::new_long(now.hour().into()));
        add("weekday", RestrictedExpression::new_long(now.weekday().to_monday_one_offset().into()));
    }
    if slice.asks.arguments && matches!(q.action, Action::CallTool(_)) {
        let typed = q.arguments.map(facts::typed);
        let (members, unrepresentable) = typed.map_or_else(Default::default, |t| (t.members, t.unrepresentable));
        add("args", RestrictedExpression::new_record(members).expect("names of a JSON object are unique"));
        add("unrepresentable", RestrictedExpression::new_set(unrepresentable.iter().map(|path| text(path))));
    }
    Context::from_pairs(pairs).map_err(|e| e.to_string())
}
