//! Plays sessions in the order of virtual time: the clock is advanced over every pause, and each call is a real one.

use super::plan::{Act, Course, Expect, Run};
use crate::{
    api::ApiClient,
    drill::{
        agent::{Answer, Connection, Endpoint, errand},
        error::DrillError,
        plan::Call,
        proof,
        stage::Stage,
    },
    trust::Home,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    path::Path,
    time::{Duration, Instant},
};

/// Longest wait for a verdict.
const VERDICT: Duration = Duration::from_secs(60);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(50);

/// One call as its agent saw it.
#[derive(Debug, Clone)]
pub struct Did {
    /// Its number, which it carries in `_meta`.
    pub tag: String,
    /// Which client.
    pub client: usize,
    /// Which tool.
    pub tool: String,
    /// Whether it belongs to the trial.
    pub trial: bool,
    /// Whether it is the attack's: of a hostile session, or in obedience to a definition.
    pub hostile: bool,
    /// Whether the tool's definition had changed by then.
    pub changed: bool,
    /// What came back.
    pub answer: Answer,
}

/// What was done and seen.
#[derive(Debug, Default)]
pub struct Played {
    /// All calls.
    pub calls: Vec<Did>,
    /// Agents that read an order in a definition, and followed it.
    pub turned: Vec<String>,
    /// Connections and lists that failed, of sessions that are not hostile.
    pub failed: Vec<String>,
    /// Milliseconds of virtual time that it took.
    pub virtual_ms: u64,
}

/// Plays one part of a course after another on one stage.
pub struct Player<'a> {
    course: &'a Course,
    endpoints: Vec<Vec<Endpoint>>,
    operator: ApiClient,
    start: Timestamp,
    /// Virtual milliseconds, and when they were read.
    clock: (u64, Instant),
    home: Home,
    changes: Vec<std::path::PathBuf>,
    changed: Vec<(usize, Option<String>)>,
    trial: bool,
    count: u64,
    played: Played,
}

/// A session under way.
struct Session<'a> {
    run: &'a Run,
    next: usize,
    connections: BTreeMap<(usize, usize), Connection>,
}

impl<'a> Player<'a> {
    /// For a course on a stage that stands.
    ///
    /// # Errors
    /// When the operator's credential cannot be read.
    pub fn new(course: &'a Course, stage: &Stage) -> Result<Player<'a>, DrillError> {
        let servers = &course.setting.servers;
        let of_client = |client: &crate::drill::plan::Client| servers.iter().map(|s| stage.endpoint(&client.principal, s.name)).collect();
        Ok(Player {
            course,
            endpoints: course.setting.clients.iter().map(of_client).collect(),
            operator: stage.operator()?,
            home: stage.home.clone(),
            start: stage.clock().unwrap_or_default(),
            clock: (0, Instant::now()),
            changes: servers.iter().map(|server| stage.files().changes_of(server.name)).collect(),
            changed: Vec::new(),
            trial: false,
            count: 0,
            played: Played::default(),
        })
    }

    /// What came of it all.
    pub fn played(self) -> Played {
        Played { virtual_ms: self.clock.0, ..self.played }
    }

    /// Plays these sessions, event by event.
    ///
    /// # Errors
    /// When the clock cannot be advanced or a file not be written: then it is no drill.
    pub async fn play(&mut self, runs: &'a [Run], trial: bool) -> Result<(), DrillError> {
        self.trial = trial;
        let mut sessions: Vec<Session<'a>> = runs.iter().map(|run| Session { run, next: 0, connections: BTreeMap::new() }).collect();
        let first = |run: &Run| Some(run.at_ms + run.moves.first()?.after_ms);
        let mut queue: BinaryHeap<Reverse<(u64, usize)>> =
            runs.iter().enumerate().filter_map(|(number, run)| Some(Reverse((first(run)?, number)))).collect();
        while let Some(Reverse((at_ms, number))) = queue.pop() {
            self.wait_until(at_ms).await?;
            let session = &mut sessions[number];
            let act = &session.run.moves[session.next].act;
            self.act(session, act).await?;
            session.next += 1;
            match session.run.moves.get(session.next) {
                Some(next) => queue.push(Reverse((at_ms + next.after_ms, number))),
                None => join_all(std::mem::take(&mut session.connections).into_values().map(Connection::close)).await.clear(),
            }
        }
        Ok(())
    }

    /// Lets a minute pass, so that what was found is worked through; whether there is any incident.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn settle(&mut self) -> Result<bool, DrillError> {
        self.operator.advance_clock(60_000).await.map_err(DrillError::Clock)?;
        let until = Instant::now() + VERDICT;
        loop {
            let found = !self.operator.incidents().await.map_err(DrillError::Clock)?.is_empty();
            // A verdict is worked out beside the traffic.
            if found || !matches!(self.course.expect, Expect::Told(_)) || Instant::now() > until {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn wait_until(&mut self, at_ms: u64) -> Result<(), DrillError> {
        let now = self.clock.0 + u64::try_from(self.clock.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        // What is less than this apart happens at once.
        if at_ms <= now + 2 {
            return Ok(());
        }
        let reading = self.operator.advance_clock(at_ms - now).await.map_err(DrillError::Clock)?;
        let since = reading.now.duration_since(self.start);
        self.clock = (u64::try_from(since.as_millis()).unwrap_or_default(), Instant::now());
        Ok(())
    }

    async fn act(&mut self, session: &mut Session<'_>, act: &Act) -> Result<(), DrillError> {
        match act {
            Act::Change(server, changes) => {
                self.changed.extend(changed_tools(changes).into_iter().map(|tool| (*server, tool)));
                replace(&self.changes[*server], changes)?;
            }
            Act::Announce(server, tool, reference) => self.announce(*server, tool, reference).await?,
            Act::HangUp => join_all(std::mem::take(&mut session.connections).into_values().map(Connection::close)).await.clear(),
            Act::Call(server, call) => {
                let answer = self.call(session, *server, 0, call, session.run.hostile).await;
                _ = answer;
            }
            Act::Together(server, calls) => self.together(session, *server, calls).await,
            Act::List(server) => self.list(session, *server).await,
        }
        Ok(())
    }

    /// Opens a connection unless there is one.
    async fn connected(&mut self, session: &mut Session<'_>, server: usize, number: usize) -> Result<(), Answer> {
        let Some(client) = session.run.client else { return Err(Answer::Broken("nobody's session".to_owned())) };
        if session.connections.contains_key(&(server, number)) {
            return Ok(());
        }
        let name = &self.course.setting.clients[client].principal;
        match Connection::open(&self.endpoints[client][server], session.run.era, name).await {
            Ok(connection) => {
                session.connections.insert((server, number), connection);
                Ok(())
            }
            Err(answer) => {
                if !session.run.hostile {
                    self.played.failed.push(format!("{name} cannot connect: {answer:?}"));
                }
                Err(answer)
            }
        }
    }

    async fn call(&mut self, session: &mut Session<'_>, server: usize, number: usize, call: &Call, hostile: bool) -> Answer {
        let tag = self.tag(session);
        let answer = match self.connected(session, server, number).await {
            Ok(()) => session.connections[&(server, number)].call(call, &tag).await,
            Err(answer) => answer,
        };
        self.note(session, tag, server, call, hostile, answer.clone());
        answer
    }

    async fn together(&mut self, session: &mut Session<'_>, server: usize, calls: &[Call]) {
        let mut ready = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            let tag = self.tag(session);
            match self.connected(session, server, number).await {
                Ok(()) => ready.push((number, call, tag)),
                Err(answer) => self.note(session, tag, server, call, session.run.hostile, answer),
            }
        }
        let connections = &session.connections;
        let sent = ready.into_iter().map(|(number, call, tag)| async move {
            let answer = connections[&(server, number)].call(call, &tag).await;
            (call, tag, answer)
        });
        for (call, tag, answer) in join_all(sent).await {
            self.note(session, tag, server, call, session.run.hostile, answer);
        }
    }

    /// Lists, reads, and follows what it reads.
    async fn list(&mut self, session: &mut Session<'_>, server: usize) {
        if self.connected(session, server, 0).await.is_err() {
            return;
        }
        let connection = &session.connections[&(server, 0)];
        let listed = match connection.definitions().await {
            Ok(listed) => listed,
            Err(answer) => {
                if !session.run.hostile {
                    self.played.failed.push(format!("no list of tools: {answer:?}"));
                }
                return;
            }
        };
        let Some(order) = errand(&listed) else { return };
        let client = session.run.client.unwrap_or_default();
        self.played.turned.push(self.course.setting.clients[client].principal.clone());
        let read = self.call(session, 0, 0, &Call::read(&order.secret, None), true).await;
        let loot = if let Answer::Result(text) = read { text } else { String::new() };
        self.call(session, server, 0, &order.call(&loot), true).await;
    }

    async fn announce(&mut self, server: usize, tool: &str, reference: &str) -> Result<(), DrillError> {
        let server = self.course.setting.servers[server].name;
        if !proof::announce(&self.home, server, tool, reference).await? {
            self.played.failed.push(format!("the change {reference} of {server}/{tool} could not be announced"));
        }
        Ok(())
    }

    fn tag(&mut self, session: &Session<'_>) -> String {
        self.count += 1;
        let client = session.run.client.unwrap_or_default();
        format!("{}/{}", self.course.setting.clients[client].principal, self.count)
    }

    fn note(&mut self, session: &Session<'_>, tag: String, server: usize, call: &Call, hostile: bool, answer: Answer) {
        let changed = self.changed.iter().any(|(at, tool)| *at == server && tool.as_deref().is_none_or(|tool| tool == call.tool));
        let expected = !matches!(self.course.expect, Expect::Silence | Expect::Told(_));
        let did = Did {
            tag,
            client: session.run.client.unwrap_or_default(),
            tool: call.tool.clone(),
            trial: self.trial,
            hostile,
            changed: changed && expected,
            answer,
        };
        self.played.calls.push(did);
    }
}

/// Which tools a change is about; `None`: the server's instructions.
fn changed_tools(changes: &Value) -> Vec<Option<String>> {
    let tools = changes["tools"].as_object().into_iter().flatten().map(|(tool, _)| Some(tool.clone()));
    tools.chain(changes["instructions"].is_string().then_some(None)).collect()
}

/// Whole or not at all: the server reads it at any time.
fn replace(path: &Path, changes: &Value) -> Result<(), DrillError> {
    let passing = path.with_extension("new");
    std::fs::write(&passing, changes.to_string()).map_err(DrillError::io("write", &passing))?;
    std::fs::rename(&passing, path).map_err(DrillError::io("write", path))
}
