//! The driver: a virtual clock, every session's next call in order of time, and the real engine behind them.
//!
//! What the daemon does with a message is done here in the same order (`core/decide.rs`, `core/incident.rs`): attribute, look
//! at the freezes, ask the policies, detect, triage, open or join a case, freeze. Ledger and wires are left out.

use super::{
    attacks::Kind,
    cases::Cases,
    deploy::{self, Change, What},
    listings::{Listings, Shown},
    plots::{self, Placed},
    report::{AttackReport, FalseCase, Report, Totals},
    roles::{Client, Company},
    traffic::{self, Session, Start},
    world::{DAY, HOUR, instant},
};
use custody_engine::{
    behavior::{LearnOptions, Learner},
    detect::{Detector, EventKind, Facts, PolicyOutcome, Rules, ToolHints},
    policy::{Action, Policies, Query},
    session::{SessionGraph, SessionLimits},
};
use custody_model::*;
use serde_json::Value;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

/// Refusals after which an agent gives up.
const GIVES_UP: u32 = 4;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many roles.
    pub roles: usize,
    /// Days that are learned from.
    pub learn_days: u32,
    /// Days that are evaluated.
    pub days: u32,
    /// Whether habits are learned once, and not again every night.
    pub learn_once: bool,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// What is mixed in.
    pub attacks: Vec<super::Attack>,
}

impl Options {
    /// The company as it is before the first day.
    pub fn company(&self) -> Company {
        Company::draw(self.seed, self.roles, self.origin())
    }

    /// The first day's midnight, in milliseconds since 1970: a Monday of 2026, by the seed.
    pub fn origin(&self) -> i64 {
        let monday = 20_458 + 7 * (self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as i64 % 52;
        monday * DAY
    }
}

/// What happens next.
#[derive(Debug)]
enum Next {
    /// A change of the company.
    Change(usize),
    /// A session begins.
    Start(Start),
    /// A session with an attack begins.
    Attack(usize),
    /// The next call of a running session.
    Call(u64),
    /// An answer to a running session.
    Answer(u64, usize),
    /// A person has looked at a case.
    Review(CaseId),
}

/// A session on its way.
struct Running {
    session: Session,
    next: usize,
    refused: u32,
    /// The engine's own idea of it.
    known_as: Option<SessionId>,
    links: Vec<Link>,
}

/// What became of an attack so far.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Its first call, or change.
    pub began: Option<i64>,
    /// Calls of the attacker that a server answered.
    pub ran: u32,
    /// The first finding: when, and how many calls had run before.
    pub finding: Option<(i64, u32)>,
    /// Rules that fired, in order.
    pub rules: Vec<RuleId>,
    /// The case: when, how many calls had run before, and what triage said.
    pub case: Option<(i64, u32, Triage)>,
}

/// Everything that moves.
pub struct Simulation<'a> {
    options: &'a Options,
    company: Company,
    changes: Vec<Change>,
    placed: Vec<Placed>,
    fates: Vec<Fate>,
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    due: HashMap<u64, Next>,
    order: u64,
    running: HashMap<u64, Running>,
    graph: SessionGraph,
    policies: Policies,
    learner: Learner,
    /// From when on messages are judged, in milliseconds since 1970.
    judged_from: i64,
    detector: Detector,
    cases: Cases,
    /// The attack that a session carries, since its first hostile call.
    attacked: HashMap<SessionId, usize>,
    listings: Listings,
    sessions_made: u128,
    totals: Totals,
    benign: BTreeMap<RuleId, u64>,
}

/// Runs a simulation; `progress` hears which part of it is done.
pub fn run(options: &Options, rules: Rules, progress: &mut dyn FnMut(f64)) -> Report {
    let company = options.company();
    let origin = options.origin();
    let evaluated = origin + i64::from(options.learn_days) * DAY;
    let all = i64::from(options.learn_days + options.days);
    let changes = deploy::draw(&company, options.seed, origin + 2 * DAY, all - 2);
    let placed = plots::place(&company, options.seed, &options.attacks, evaluated, options.days);
    let policies = compile(&company, origin);
    let by = DecidedBy { engine: env!("CARGO_PKG_VERSION").to_owned(), rules: rules.digest(), policies: policies.digest(), baseline: None };
    let mut simulation = Simulation {
        options,
        fates: vec![Fate::default(); placed.len()],
        changes,
        placed,
        queue: BinaryHeap::new(),
        due: HashMap::new(),
        order: 0,
        running: HashMap::new(),
        graph: SessionGraph::new(SessionLimits::default()),
        policies,
        learner: Learner::new(LearnOptions::default()),
        judged_from: evaluated,
        detector: Detector::new(rules),
        cases: Cases::new(by),
        attacked: HashMap::new(),
        listings: Listings::new(&company.world, origin - 90 * DAY),
        sessions_made: 0,
        totals: Totals::default(),
        benign: BTreeMap::new(),
        company,
    };
    for nth in 0..simulation.changes.len() {
        simulation.at(simulation.changes[nth].at, Next::Change(nth));
    }
    for day in 0..all {
        let midnight = origin + day * DAY;
        if midnight == evaluated || (midnight > evaluated && !options.learn_once) {
            simulation.learn(midnight);
        }
        for start in traffic::starts(&simulation.company, options.seed, midnight / DAY) {
            simulation.at(start.at, Next::Start(start));
        }
        for nth in 0..simulation.placed.len() {
            let at = simulation.placed[nth].at;
            if (midnight..midnight + DAY).contains(&at) {
                simulation.at(at, Next::Attack(nth));
            }
        }
        simulation.until(midnight + DAY);
        simulation.cases.forget_before(midnight - DAY);
        progress((day + 1) as f64 / all as f64);
    }
    // What runs at the end of the last day runs on; no new session begins.
    simulation.until(origin + all * DAY + 8 * HOUR);
    simulation.report()
}

fn compile(company: &Company, now: i64) -> Policies {
    Policies::compile(&company.policies(now)).expect("allowlists of generated names compile")
}

impl Simulation<'_> {
    fn at(&mut self, at: i64, next: Next) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order)));
        self.due.insert(self.order, next);
    }

    fn until(&mut self, end: i64) {
        while let Some(Reverse((at, order))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at < end) {
            self.queue.pop();
            let Some(next) = self.due.remove(&order) else { continue };
            match next {
                Next::Change(nth) => self.change(nth),
                Next::Start(start) => self.begin(traffic::compose(&self.company, self.options.seed, start)),
                Next::Attack(nth) => self.attack(nth, at),
                Next::Call(number) => self.call(number, at),
                Next::Answer(number, nth) => self.answer(number, nth, at),
                Next::Review(case) => {
                    let (principal, servers) = self.cases.review(case);
                    principal.iter().for_each(|principal| self.detector.forget(principal));
                    servers.iter().for_each(|server| self.listings.put_back(&self.company.world, server, at));
                }
            }
        }
    }

    /// As `custody learn --apply` does it, from all sessions but those of cases that may be incidents.
    fn learn(&mut self, now: i64) {
        self.learner.leave_out(self.cases.sessions_to_exclude());
        let baseline = self.learner.finish(instant(now));
        if now == self.judged_from {
            self.totals.learned_sessions = baseline.sessions;
        }
        self.cases.learned(baseline.digest());
        self.detector.behavior().set_baseline(Some(Arc::new(baseline)));
    }

    fn change(&mut self, nth: usize) {
        let change = self.changes[nth].clone();
        match &change.what {
            What::Release { server, tools } => {
                self.listings.release(&self.company.world, &ServerName::from(*server), tools, false, change.at)
            }
            What::NewTool(tool) => {
                let server = self.company.world.tool(*tool).server.clone();
                self.listings.release(&self.company.world, &server, &[*tool], true, change.at);
            }
            What::NewTask(_) | What::Newcomer(_) => {}
        }
        deploy::apply(&mut self.company, &change, self.options.seed);
        self.policies = compile(&self.company, change.at);
        self.totals.changes += 1;
    }

    fn attack(&mut self, nth: usize, now: i64) {
        let principal = self.company.principals[self.placed[nth].principal].name.clone();
        // Somebody is looking at this agent just now; the attacker comes later.
        if self.cases.is_frozen(&[Scope::Principal(principal)]) {
            return self.at(now + HOUR, Next::Attack(nth));
        }
        let mut placed = self.placed[nth].clone();
        placed.at = now;
        let session = plots::session(&self.company, self.options.seed, nth, &placed);
        self.begin(session);
    }

    fn begin(&mut self, session: Session) {
        let Some(first) = session.calls.first().map(|call| call.at) else { return };
        let number = session.number;
        let links = self.links(&session, first);
        if first >= self.judged_from && session.attack.is_none() {
            self.totals.sessions += 1;
        }
        self.running.insert(number, Running { session, next: 0, refused: 0, known_as: None, links });
        self.at(first, Next::Call(number));
    }

    /// What ties the session's messages together, by the way its client works.
    fn links(&self, session: &Session, now: i64) -> Vec<Link> {
        let role = &self.company.roles[self.company.principals[session.principal].role];
        let process = |ticks: u64| Link::Process(ProcessRef { pid: 1_000 + session.principal as u32, start_ticks: ticks });
        match role.client {
            Client::Process => vec![process(session.number)],
            Client::LongProcess => vec![process((now / DAY) as u64)],
            Client::Connection => vec![Link::Connection(ConnectionId(uuid::Uuid::from_u128(session.number.into())))],
            Client::Hint => vec![
                Link::Connection(ConnectionId(uuid::Uuid::from_u128(session.number.into()))),
                Link::Hint(format!("run-{:x}", session.number)),
            ],
        }
    }

    fn end(&mut self, number: u64) {
        let Some(running) = self.running.remove(&number) else { return };
        let principal = &self.company.principals[running.session.principal].name;
        for link in &running.links {
            if !matches!(link, Link::Process(process) if process.start_ticks < 1_000_000) {
                self.graph.closed(principal, link);
            }
        }
    }

    fn identity(&self, session: &Session) -> Identity {
        let principal = &self.company.principals[session.principal];
        let role = &self.company.roles[principal.role];
        Identity {
            principal: principal.name.clone(),
            assurance: Assurance::ClientKey,
            role: Some(role.name.clone()),
            task: role.kind.declares.then(|| role.tasks[session.task].name.clone()),
        }
    }

    fn call(&mut self, number: u64, now: i64) {
        let Some(running) = self.running.get_mut(&number) else { return };
        let nth = running.next;
        running.next += 1;
        let (Some(call), links) = (running.session.calls.get(nth).cloned(), running.links.clone()) else { return self.end(number) };
        let identity = self.identity(&self.running[&number].session);
        let tool = self.company.world.tool(call.tool);
        let (server, tool) = (tool.server.clone(), tool.spec.name.to_owned());
        let session = self.attribute(&identity, &links, now);
        let attack = self.running[&number].session.attack;
        if let Some(running) = self.running.get_mut(&number) {
            running.known_as = Some(session);
        }
        if let Some(attack) = attack.filter(|attack| call.hostile && self.fates[*attack].began.is_none())
            && self.cases.is_frozen(&self.graph.scopes(session))
        {
            // Another case stopped this agent before its attacker came; the attacker comes again.
            self.at(now + HOUR, Next::Attack(attack));
            return self.end(number);
        }
        if let Some(attack) = attack.filter(|_| call.hostile) {
            self.attacked.insert(session, attack);
            if self.fates[attack].began.is_none() {
                self.fates[attack].began = Some(now);
                if self.tampered(attack, &identity, session, now) {
                    // Nobody sees the changed definition, so nobody obeys it.
                    if let Some(running) = self.running.get_mut(&number) {
                        running.session.calls.retain(|call| !call.hostile);
                    }
                    return self.at(now + 1, Next::Call(number));
                }
            }
        }
        if self.listings.has_changed(&server) {
            self.list(&server, &identity, session, now);
        }
        let own = self.graph.scopes(session);
        let frozen = self.cases.is_frozen(&own);
        if !frozen && self.cases.is_frozen(&[Scope::Tool(server.clone(), ToolName(tool.clone()))]) {
            // It was cut out of the listing: the work is left until the tool is back.
            if let Some(attack) = attack.filter(|attack| self.fates[*attack].began.is_none()) {
                self.at(now + HOUR, Next::Attack(attack));
            }
            return self.end(number);
        }

        let facts = self.facts(&identity, session, &server, &tool, &call, frozen, now);
        self.totals.entries += 1;
        let refused = facts.outcome == Outcome::Denied;
        let stopped = self.observe(&facts, now) || refused;
        if !stopped {
            if let Some(attack) = attack.filter(|_| call.hostile) {
                self.fates[attack].ran += 1;
            }
            self.at(now + call.took.max(1), Next::Answer(number, nth));
        }
        let Some(running) = self.running.get_mut(&number) else { return };
        running.refused = if stopped { running.refused + 1 } else { 0 };
        match running.session.calls.get(nth + 1).map(|next| next.at) {
            Some(next) if running.refused < GIVES_UP => self.at(next.max(now), Next::Call(number)),
            _ => self.at(now + 60_000, Next::Call(number)),
        }
        if let Some(running) = self.running.get_mut(&number)
            && running.refused >= GIVES_UP
        {
            running.next = usize::MAX - 1;
        }
    }

    /// As `core/decide.rs` builds them.
    #[allow(clippy::too_many_arguments, reason = "what one message is judged by")]
    fn facts(
        &self,
        identity: &Identity,
        session: SessionId,
        server: &ServerName,
        tool: &str,
        call: &traffic::Call,
        frozen: bool,
        now: i64,
    ) -> Facts {
        let known = self.company.world.tool(call.tool);
        let policy: PolicyOutcome = self
            .policies
            .decide(&Query {
                principal: &identity.principal,
                role: identity.role.as_ref(),
                task: identity.task.as_ref(),
                action: Action::CallTool(tool),
                server,
                arguments: Some(&call.arguments),
                read_only_hint: known.hints().read_only == Some(true),
                now: instant(now),
            })
            .into();
        let reason = match &policy {
            _ if frozen => Some(DenyReason::Frozen),
            PolicyOutcome::Denied { policy, .. } => Some(DenyReason::Policy(policy.clone())),
            PolicyOutcome::Error { policy, .. } => Some(DenyReason::PolicyError(policy.clone())),
            _ => None,
        };
        let listed_since = self.listings.since(server, &identity.principal, tool);
        Facts {
            event: EventKind::ToolInvoked,
            direction: Direction::ToServer,
            outcome: if reason.is_some() { Outcome::Denied } else { Outcome::Allowed },
            reason,
            policy,
            enforced: true,
            server: server.clone(),
            tool: Some(tool.to_owned()),
            listed: true,
            method: Some("tools/call".to_owned()),
            identity: identity.clone(),
            session: Some(session),
            faults: Vec::new(),
            leaf: Some(LeafIndex(self.totals.entries)),
            arguments: call.arguments.clone(),
            hints: known.hints(),
            listed_since,
            returned: None,
            drift: None,
            hijack: None,
            user: None,
        }
    }

    fn answer(&mut self, number: u64, nth: usize, now: i64) {
        let Some(running) = self.running.get(&number) else { return };
        let (Some(call), Some(session)) = (running.session.calls.get(nth), running.known_as) else { return };
        let identity = self.identity(&running.session);
        let tool = self.company.world.tool(call.tool);
        let (server, tool) = (tool.server.clone(), tool.spec.name.to_owned());
        let facts = Facts {
            event: EventKind::Message,
            direction: Direction::ToAgent,
            outcome: Outcome::Allowed,
            reason: None,
            policy: PolicyOutcome::Undeclared,
            enforced: true,
            server,
            tool: Some(tool),
            listed: true,
            method: Some("tools/call".to_owned()),
            identity,
            session: Some(session),
            faults: Vec::new(),
            leaf: Some(LeafIndex(self.totals.entries)),
            arguments: Value::Null,
            hints: ToolHints::default(),
            listed_since: None,
            returned: Some(call.returned),
            drift: None,
            hijack: None,
            user: None,
        };
        self.totals.entries += 1;
        self.observe(&facts, now);
    }

    /// Where an attack begins at a server: its listing changes, and the agent lists again. Whether that was stopped.
    fn tampered(&mut self, attack: usize, identity: &Identity, session: SessionId, now: i64) -> bool {
        let placed = &mut self.placed[attack];
        let Some(tool) = placed.tool else { return false };
        let order = (placed.attack.kind == Kind::ToolPoisoning).then(|| placed.destination.clone());
        self.listings.tamper(&self.company.world, tool, order.as_deref(), attack, &mut placed.chance);
        let server = self.company.world.tool(tool).server.clone();
        self.list(&server, identity, session, now)
    }

    /// An agent lists a server's tools anew. Whether something of it is withheld.
    fn list(&mut self, server: &ServerName, identity: &Identity, session: SessionId, now: i64) -> bool {
        let shown = self.listings.look(&self.company.world, server, now);
        let mut withheld = false;
        for Shown { drift, tool, attack } in shown {
            if let Some(attack) = attack {
                self.attacked.insert(session, attack);
            }
            let facts = Facts {
                enforced: true,
                tool: Some(tool),
                method: Some(drift.listing.clone()),
                session: Some(session),
                leaf: Some(LeafIndex(self.totals.entries)),
                drift: Some(drift),
                ..Facts::new(EventKind::Message, Direction::ToAgent, server.clone(), identity.clone())
            };
            self.totals.entries += 1;
            withheld |= self.observe(&facts, now);
        }
        withheld
    }

    fn attribute(&mut self, identity: &Identity, links: &[Link], now: i64) -> SessionId {
        let made = &mut self.sessions_made;
        let attribution = self.graph.observe(instant(now), identity, links, || {
            *made += 1;
            SessionId(uuid::Uuid::from_u128(*made))
        });
        for (ended, _) in attribution.ended {
            self.detector.behavior().forget(ended);
        }
        attribution.session
    }

    /// Learns from the message, or judges it. Whether its agent is frozen now.
    fn observe(&mut self, facts: &Facts, now: i64) -> bool {
        self.learner.observe(facts, instant(now));
        if now < self.judged_from {
            self.cases.seen(&facts.identity.principal, now);
            return false;
        }
        self.totals.evaluated += 1;
        self.cases.seen(&facts.identity.principal, now);
        let drafts = self.detector.observe(facts, instant(now));
        let Some(session) = facts.session else { return false };
        let attack = self.attacked.get(&session).copied();
        let mut froze = false;
        for draft in drafts.into_iter().filter(|draft| draft.repeats == 0) {
            let rule = draft.rule.clone();
            match attack {
                None => *self.benign.entry(rule).or_default() += 1,
                Some(nth) => {
                    let fate = &mut self.fates[nth];
                    fate.finding.get_or_insert((now, fate.ran));
                    if !fate.rules.contains(&rule) {
                        fate.rules.push(rule);
                    }
                }
            }
            let principal = self.company.principals.iter().find(|known| known.name == facts.identity.principal);
            let created = principal.map(|principal| instant(principal.joined));
            // Drift is the server's doing: its tool is quarantined, and nobody's identity is touched.
            let scopes = match (&facts.drift, &facts.tool) {
                (Some(_), Some(tool)) => vec![Scope::Tool(facts.server.clone(), ToolName(tool.clone()))],
                _ => self.graph.scopes(session),
            };
            let changes = self.listings.changes(&facts.server, now);
            let answer = self.cases.respond(draft, facts, created, changes, scopes, attack, now);
            froze |= answer.froze;
            if let Some(case) = answer.opened {
                // A person looks at it within hours, by day and by night.
                self.at(now + 2 * HOUR, Next::Review(case));
            }
            if let (Some(nth), Some(triage)) = (attack, answer.triage) {
                let fate = &mut self.fates[nth];
                fate.case.get_or_insert((now, fate.ran, triage));
            }
        }
        froze
    }

    fn report(self) -> Report {
        let name = |place: usize| &self.company.principals[place];
        let attacks = self.placed.iter().zip(&self.fates).enumerate().map(|(nth, (placed, fate))| {
            let principal = name(placed.principal);
            let role = &self.company.roles[principal.role];
            AttackReport::of(nth, placed, fate, role, principal)
        });
        let drifted = |attack: &AttackReport| matches!(attack.kind, Kind::ManifestDrift | Kind::ToolPoisoning);
        let attacks: Vec<AttackReport> = attacks.collect();
        let mut totals = self.totals;
        totals.found = attacks.iter().filter(|attack| attack.found()).count();
        totals.signalled = attacks.iter().filter(|attack| attack.signalled()).count();
        totals.missed = attacks.len() - totals.found;
        totals.manifest = attacks.iter().filter(|attack| drifted(attack)).count();
        let false_cases: Vec<FalseCase> = self.cases.false_cases(&self.company);
        totals.false_cases = false_cases.len();
        totals.roles = self.company.roles.len();
        totals.principals = self.company.principals.len();
        Report::new(self.options, attacks, false_cases, self.benign, totals)
    }
}
