//! The scripted agents: real MCP clients that do their work, read what comes back, and may be turned by it.

mod answer;
mod attempts;
mod connection;
mod listing;
mod obey;
mod raw;

pub use answer::Answer;
pub use connection::{CALL_KEY, Connection, Endpoint};
pub use listing::{Errand, Listing, errand};
pub use obey::Order;

use super::plan::{AgentPlan, Call, Era, Onslaught, Plan, Route, Step};
use futures_util::future::join_all;
use jiff::Timestamp;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// Pause between two calls of an agent that only fills the background: a person's pace, not a condition.
const PACE: Duration = Duration::from_millis(4);
/// Most calls an innocent agent makes while the attack goes on.
const BACKGROUND: usize = 400;

/// Which part of the drill a call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// An agent's own work.
    Own,
    /// Own work of the turned agent, on another connection, while the first denial falls.
    Meanwhile,
    /// The first thing the turned agent does.
    First,
    /// One of the further attempts, from 1, and what it tries.
    Attempt(usize, String),
}

/// One call as the agent saw it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its number, which it carries in `_meta`.
    pub tag: String,
    /// Who.
    pub principal: String,
    /// In which part.
    pub phase: Phase,
    /// The tool.
    pub tool: String,
    /// When it was sent.
    pub at: Timestamp,
    /// What came back.
    pub answer: Answer,
}

/// What turned the agent.
#[derive(Debug, Clone)]
pub struct Turned {
    /// What it understood.
    pub order: Order,
    /// The document it was reading.
    pub document: String,
}

/// What the agents did and saw.
#[derive(Default)]
pub struct Played {
    /// All calls of all agents.
    pub calls: Vec<Sent>,
    /// Whether and by what an agent was turned.
    pub turned: Option<Turned>,
    /// Connections that could not be opened, with the principal, outside of attempts.
    pub unopened: Vec<(String, Answer)>,
    /// What the turned agent does not let go of: its connections, for containment to end.
    kept: Vec<Connection>,
}

impl Played {
    /// Lets go of every connection.
    pub async fn hang_up(&mut self) {
        join_all(std::mem::take(&mut self.kept).into_iter().map(Connection::close)).await;
    }
}

/// Plays a plan against the endpoint of each principal.
pub async fn play(plan: &Plan, endpoint: impl Fn(&str) -> Endpoint) -> Played {
    let stage = Arc::new(Stage::default());
    let (finished, over) = watch::channel(false);
    let attack = plan.attack.as_ref().map(|(_, onslaught)| onslaught.clone());
    let mut tasks = Vec::new();
    let mut leading = Vec::new();
    for agent in &plan.agents {
        let actor = Actor { stage: stage.clone(), plan: agent.clone(), endpoint: endpoint(&agent.principal) };
        match &attack {
            Some(onslaught) if onslaught.principal == agent.principal => {
                leading.push(tokio::spawn(actor.lead(Some(onslaught.clone()))));
            }
            Some(_) => tasks.push(tokio::spawn(actor.background(over.clone()))),
            None => leading.push(tokio::spawn(actor.lead(None))),
        }
    }
    drop(over);
    let broken = join_all(leading).await.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    finished.send_replace(true);
    let broken = broken.into_iter().chain(join_all(tasks).await.into_iter().filter_map(Result::err));
    let mut played = std::mem::take(&mut *stage.played.lock().unwrap_or_else(PoisonError::into_inner));
    played.unopened.extend(broken.map(|error| ("drill".to_owned(), Answer::Broken(error.to_string()))));
    played
}

#[derive(Default)]
struct Stage {
    played: Mutex<Played>,
    count: AtomicU64,
}

impl Stage {
    fn write(&self, change: impl FnOnce(&mut Played)) {
        change(&mut self.played.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One agent at work.
#[derive(Clone)]
struct Actor {
    stage: Arc<Stage>,
    plan: AgentPlan,
    endpoint: Endpoint,
}

impl Actor {
    /// Its own work from first to last, and what it is turned to on the way.
    async fn lead(self, onslaught: Option<Onslaught>) {
        let Some((mut connections, tools)) = self.connect().await else { return };
        let mut turned: Option<Turned> = None;
        let mut loot = String::new();
        let mut hesitates = self.plan.hesitates;
        for step in &self.plan.steps {
            if let Some(turned) = &turned {
                if hesitates == 0 {
                    break;
                }
                hesitates -= 1;
                _ = turned;
            }
            for (call, text) in self.step(step, &mut connections).await {
                if loot.is_empty() {
                    loot = text.chars().take(600).collect();
                }
                if turned.is_none()
                    && let Some(order) = obey::order(&text, &tools)
                {
                    let document = call.arguments.get("path").and_then(|path| path.as_str()).unwrap_or_default().to_owned();
                    turned = Some(Turned { order, document });
                }
            }
        }
        if let (Some(turned), Some(onslaught)) = (turned, onslaught) {
            self.stage.write(|played| played.turned = Some(turned.clone()));
            self.attack(&onslaught, &turned, &loot, &mut connections).await;
            self.stage.write(|played| played.kept.extend(connections.into_iter().flatten()));
            return;
        }
        join_all(connections.into_iter().flatten().map(Connection::close)).await;
    }

    /// Its own work over and over until the others are through, and a little longer.
    async fn background(self, mut over: watch::Receiver<bool>) {
        let Some((mut connections, _)) = self.connect().await else { return };
        let mut left = BACKGROUND;
        let mut encore = 3;
        let steps: Vec<&Step> = self.plan.steps.iter().filter(|step| !matches!(step, Step::Reconnect(_))).collect();
        for step in steps.iter().cycle() {
            self.step(step, &mut connections).await;
            left -= 1;
            if *over.borrow_and_update() {
                encore -= 1;
            }
            if left == 0 || encore == 0 || steps.is_empty() {
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        join_all(connections.into_iter().flatten().map(Connection::close)).await;
    }

    async fn connect(&self) -> Option<(Vec<Option<Connection>>, Vec<String>)> {
        let mut connections = Vec::new();
        let mut tools = Vec::new();
        for era in &self.plan.connections {
            match self.open(*era).await {
                Ok(connection) => {
                    if tools.is_empty() {
                        match connection.tools().await {
                            Ok(listed) => tools = listed,
                            Err(answer) => self.unopened(answer),
                        }
                    }
                    connections.push(Some(connection));
                }
                Err(answer) => {
                    self.unopened(answer);
                    return None;
                }
            }
        }
        Some((connections, tools))
    }

    async fn open(&self, era: Era) -> Result<Connection, Answer> {
        Connection::open(&self.endpoint, era, &self.plan.principal).await
    }

    fn unopened(&self, answer: Answer) {
        self.stage.write(|played| played.unopened.push((self.plan.principal.clone(), answer)));
    }

    /// One step; the calls whose tool ran, with its words.
    async fn step(&self, step: &Step, connections: &mut [Option<Connection>]) -> Vec<(Call, String)> {
        let calls: Vec<(usize, Call)> = match step {
            Step::Call(connection, call) => vec![(*connection, call.clone())],
            Step::Together(calls) => calls.clone(),
            Step::List(connection) => {
                if let Some(Some(connection)) = connections.get(*connection)
                    && let Err(answer) = connection.tools().await
                {
                    self.unopened(answer);
                }
                return Vec::new();
            }
            Step::Reconnect(connection) => {
                if let (Some(place), Some(era)) = (connections.get_mut(*connection), self.plan.connections.get(*connection)) {
                    if let Some(old) = place.take() {
                        old.close().await;
                    }
                    match self.open(*era).await {
                        Ok(new) => *place = Some(new),
                        Err(answer) => self.unopened(answer),
                    }
                }
                return Vec::new();
            }
        };
        let connections = &*connections;
        let sent = calls.into_iter().map(|(connection, call)| async move {
            let answer = self.send(Phase::Own, connections.get(connection).and_then(Option::as_ref), &call).await;
            (call, answer)
        });
        join_all(sent)
            .await
            .into_iter()
            .filter_map(|(call, answer)| match answer {
                Answer::Result(text) => Some((call, text)),
                _ => None,
            })
            .collect()
    }

    async fn attack(&self, onslaught: &Onslaught, turned: &Turned, loot: &str, connections: &mut [Option<Connection>]) {
        let meanwhile = self.start_meanwhile(onslaught, turned).await;
        let connections = &*connections;
        self.send(Phase::First, connections.first().and_then(Option::as_ref), &turned.order.call(loot)).await;
        let attempts = attempts::attempts(onslaught, &turned.order, loot, &turned.document);
        let sent = attempts.iter().enumerate().map(|(number, attempt)| async move {
            let phase = Phase::Attempt(number + 1, attempt.label.clone());
            match &attempt.route {
                Route::Open(connection) => {
                    let connection = connections.get(*connection).or(connections.first()).and_then(Option::as_ref);
                    self.send(phase, connection, &attempt.call).await;
                }
                Route::Reconnect(era) => match self.open(*era).await {
                    Ok(connection) => {
                        self.send(phase, Some(&connection), &attempt.call).await;
                        connection.close().await;
                    }
                    Err(answer) => _ = self.note(phase, self.tag(), &attempt.call, Timestamp::now(), answer),
                },
                Route::Raw(disguise) => {
                    let (tag, at) = (self.tag(), Timestamp::now());
                    let answer = raw::send(&self.endpoint, disguise, &attempt.call, &tag).await;
                    self.note(phase, tag, &attempt.call, at, answer);
                }
            }
        });
        if onslaught.concurrent {
            join_all(sent).await;
        } else {
            for one in sent {
                one.await;
            }
        }
        if let Some(meanwhile) = meanwhile {
            // Its calls are noted one by one; a panic shows as missing calls.
            _ = meanwhile.await;
        }
    }

    /// Starts own work on another connection, and returns once its first answer is there.
    async fn start_meanwhile(&self, onslaught: &Onslaught, turned: &Turned) -> Option<tokio::task::JoinHandle<()>> {
        let count = onslaught.meanwhile;
        if count == 0 {
            return None;
        }
        let (running, started) = oneshot::channel();
        let (actor, call) = (self.clone(), Call::read(&turned.document, None));
        let era = self.plan.connections.last().copied().unwrap_or(Era::Sessions);
        let task = tokio::spawn(async move {
            let mut running = Some(running);
            match actor.open(era).await {
                Ok(connection) => {
                    for _ in 0..count {
                        let answer = actor.send(Phase::Meanwhile, Some(&connection), &call).await;
                        if let Some(running) = running.take() {
                            _ = running.send(());
                        }
                        if !answer.ran() {
                            break;
                        }
                    }
                    connection.close().await;
                }
                Err(answer) => actor.unopened(answer),
            }
        });
        // An error means that it could not connect, which is noted.
        _ = started.await;
        Some(task)
    }

    fn tag(&self) -> String {
        format!("{}/{}", self.plan.principal, self.stage.count.fetch_add(1, Ordering::Relaxed))
    }

    async fn send(&self, phase: Phase, connection: Option<&Connection>, call: &Call) -> Answer {
        let (tag, at) = (self.tag(), Timestamp::now());
        let answer = match connection {
            Some(connection) => connection.call(call, &tag).await,
            None => Answer::Broken("the connection is closed".to_owned()),
        };
        self.note(phase, tag, call, at, answer)
    }

    fn note(&self, phase: Phase, tag: String, call: &Call, at: Timestamp, answer: Answer) -> Answer {
        let sent = Sent { tag, principal: self.plan.principal.clone(), phase, tool: call.tool.clone(), at, answer: answer.clone() };
        self.stage.write(|played| played.calls.push(sent));
        answer
    }
}
