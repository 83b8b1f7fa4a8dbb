//! One process of a stdio server, and the task that reads from it.

use super::{Command, Key, WriteFailure, batch::is_whole, modern::Params, routes::*};
use crate::core::{Attached, Core, Peer, Permit, Returned};
use crate::gateway::reply;
use custody_engine::wire::{
    self, Frame,
    lines::{Line, LineDecoder},
    splice,
};
use custody_model::{PrincipalName, ProcessRef, ServerName, Shape};
use std::{
    io,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

/// How long a server may take to end once its input is closed.
const LEAVE: Duration = Duration::from_secs(2);

/// A running server and the streams of its agents.
pub struct Process {
    pub(super) key: Key,
    pub(super) principal: PrincipalName,
    /// Whether several protocol clients share it, so that ids must be rewritten.
    pub(super) shared: bool,
    server: ServerName,
    peer: Peer,
    stdin: Mutex<Option<ChildStdin>>,
    routes: Routes,
    params: Arc<Params>,
    used: std::sync::Mutex<Instant>,
    stop: CancellationToken,
    /// Its end has begun: nobody waits for a full pipe any more.
    ending: CancellationToken,
    over: CancellationToken,
    core: Arc<Core>,
}

impl Process {
    /// Starts the server and the task that reads from it.
    pub(super) fn start(
        server: &ServerName,
        command: &Command,
        key: Key,
        peer: &Peer,
        params: Arc<Params>,
        core: Arc<Core>,
    ) -> io::Result<Arc<Self>> {
        let mut child = tokio::process::Command::new(&command.program)
            .args(&command.args)
            .envs(command.env.iter().map(|(name, value)| (name, value.expose())))
            .current_dir(&command.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let attached = core.attach(peer, None, child.id().and_then(process_ref));
        let process = Arc::new(Process {
            shared: matches!(key, Key::Principal(_)),
            key,
            principal: peer.identity.principal.clone(),
            server: server.clone(),
            peer: peer.clone(),
            stdin: Mutex::new(stdin),
            routes: Routes::default(),
            params,
            used: std::sync::Mutex::new(Instant::now()),
            stop: CancellationToken::new(),
            ending: CancellationToken::new(),
            over: CancellationToken::new(),
            core: core.clone(),
        });
        core.spawn(process.clone().run(child, stdout, attached));
        Ok(process)
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Closes the input, waits, kills.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.over.cancelled().await;
    }

    /// Hands over one permitted message, as one line. An agent that hangs up meanwhile leaves no half line behind.
    pub(super) async fn write(self: &Arc<Self>, permit: Permit, bytes: &[u8]) -> Result<(), WriteFailure> {
        let mut line = Vec::with_capacity(bytes.len() + 1);
        line.extend_from_slice(bytes);
        line.push(b'\n');
        let process = self.clone();
        let writing = tokio::spawn(async move { process.write_line(permit, &line).await });
        writing.await.unwrap_or_else(|error| Err(WriteFailure::Gone(io::Error::other(error))))
    }

    async fn write_line(&self, permit: Permit, line: &[u8]) -> Result<(), WriteFailure> {
        *self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
        let mut stdin = self.stdin.lock().await;
        let Some(pipe) = stdin.as_mut() else { return Err(WriteFailure::Gone(io::ErrorKind::BrokenPipe.into())) };
        let sending = self.core.redeem(permit).map_err(WriteFailure::Overtaken)?;
        let written = tokio::select! {
            written = pipe.write_all(line) => written,
            () = self.ending.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
        };
        drop(sending);
        written.map_err(WriteFailure::Gone)
    }

    async fn run(self: Arc<Self>, mut child: Child, mut stdout: ChildStdout, attached: Attached) {
        let idle = self.core.config().sessions.idle();
        let stopping = self.core.stopping();
        let mut decoder = LineDecoder::new(self.core.config().limits.frame_bytes);
        let mut buffer = vec![0; 64 << 10];
        let mut patient = true;
        'reading: loop {
            let rest = idle.saturating_sub(self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed());
            let read = tokio::select! {
                read = stdout.read(&mut buffer) => read,
                () = self.stop.cancelled() => break,
                () = stopping.cancelled() => break,
                () = attached.ended() => { patient = false; break }
                () = tokio::time::sleep(rest) => {
                    if rest.is_zero() { break } else { continue }
                }
            };
            let Ok(count @ 1..) = read else { break };
            for line in decoder.push(&buffer[..count]) {
                match line {
                    // An agent that does not read must not keep the server from ending.
                    Line::Whole { bytes, .. } => tokio::select! {
                        () = self.deliver(bytes) => {}
                        () = stopping.cancelled() => break 'reading,
                        () = attached.ended() => { patient = false; break 'reading }
                    },
                    Line::Oversized { bytes } => {
                        tracing::warn!(server = %self.server, bytes, "a line over the limit is skipped (limits.frame_bytes)")
                    }
                }
            }
        }
        self.ending.cancel();
        self.stdin.lock().await.take();
        if patient {
            let _ = tokio::time::timeout(LEAVE, child.wait()).await;
        }
        let _ = child.kill().await;
        self.over.cancel();
        for pending in self.routes.drain() {
            let body = reply::json_rpc_error(
                pending.call.id.as_deref(),
                reply::UPSTREAM_FAILED,
                &format!("server `{}` ended before it answered", self.server),
                None,
            );
            self.core.told(&pending.peer, Some(&pending.call), &body);
            if let Some(out) = pending.out {
                let _ = out.try_send(Delivery { bytes: body, last: true, code: None, id: None, _room: None });
            }
        }
    }

    /// Takes one line: a message, or a batch of them.
    async fn deliver(&self, line: Vec<u8>) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let frame = wire::read_frame(&line, &self.core.wire_limits());
        if !is_whole(&frame) {
            return self.deliver_one(line, frame).await;
        }
        for item in &frame.items {
            let bytes = item.span.of(&line).to_vec();
            let frame = wire::read_frame(&bytes, &self.core.wire_limits());
            self.deliver_one(bytes, frame).await;
        }
    }

    /// Records one message and gives it to whom it belongs.
    async fn deliver_one(&self, line: Vec<u8>, frame: Frame) {
        let answers = matches!(frame.shape, Shape::Result | Shape::Error);
        let port = frame.id.filter(|_| answers).and_then(|id| self.port(id.of(&line)));
        let progress =
            frame.progress_token.filter(|_| frame.method.is_some()).and_then(|token| self.port(token.of(&line)).filter(|_| self.shared));
        let subscribed =
            frame.subscription.filter(|_| frame.method.is_some() && self.shared).and_then(|subscription| self.port(subscription.of(&line)));
        let code = frame.error.and_then(|error| error_code(error.of(&line)));
        let waiting = match (&port, progress.as_ref().or(subscribed.as_ref())) {
            (Some(port), _) => self.routes.close(port),
            (None, Some(port)) => self.routes.find(port),
            (None, None) => None,
        };
        let spliced = waiting.as_ref().filter(|_| self.shared).map(|pending| restore(&line, &frame, pending));
        let to = waiting.clone().or_else(|| (!answers).then(|| self.routes.oldest()).flatten());
        let peer = to.as_ref().map_or(&self.peer, |pending| &pending.peer);
        let call = to.as_ref().map(|pending| &pending.call);
        let recorded = self.core.to_agent_spliced(peer, call, &line, spliced.as_ref()).await;
        let (bytes, code) = match recorded {
            Returned::Pass => (spliced.map_or(line, |spliced| spliced.bytes), code),
            Returned::Sanitised(body) | Returned::Withheld(body) | Returned::NotRecorded(body) => (body, None),
            Returned::Dropped => return,
        };
        if call.and_then(|call| call.method.as_deref()) == Some("tools/list") {
            self.params.learn(&bytes);
        }
        let last = port.is_some();
        let unasked = waiting.is_none();
        let (out, id) = match (unasked, self.routes.listener(), to) {
            (true, Some(listener), _) => (Some(listener), None),
            (.., Some(to)) => match to.stream.and_then(|stream| self.routes.keep_event(stream, &bytes, last)) {
                Some((id, out)) => (Some(out), Some(id)),
                None => (to.out, None),
            },
            (.., None) => (None, None),
        };
        match out {
            // Backpressure: a slow agent slows its own server down.
            Some(out) => {
                let sending = async {
                    let room = self.routes.room(bytes.len()).await;
                    let _ = out.send(Delivery { bytes, last, code, id, _room: room }).await;
                };
                tokio::select! {
                    () = sending => {}
                    () = out.closed() => {}
                    () = self.stop.cancelled() => {}
                }
            }
            None if !answers => self.routes.keep(bytes),
            None => tracing::debug!(server = %self.server, "an answer that nobody waits for"),
        }
    }

    fn port(&self, raw: &[u8]) -> Option<Port> {
        match self.shared {
            true => std::str::from_utf8(raw).ok()?.parse().ok().map(Port::Number),
            false => Some(Port::Raw(wire::id_key(raw))),
        }
    }
}

/// The process of this number, told apart from a later one by its start. `None` when it has ended already.
fn process_ref(pid: u32) -> Option<ProcessRef> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after the last one are numbers. Start is field 22.
    let start_ticks = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ProcessRef { pid, start_ticks })
}

/// The code of a JSON-RPC error.
fn error_code(error: &[u8]) -> Option<i64> {
    serde_json::from_slice::<serde_json::Value>(error).ok()?.get("code")?.as_i64()
}

/// Puts the agent's own id and token back.
fn restore(line: &[u8], frame: &Frame, pending: &Pending) -> splice::Spliced {
    let mut edits = splice::id_edits(line, frame, |_| pending.call.id.clone());
    edits.extend(splice::token_edit(line, frame, |_| pending.token.clone()));
    splice::splice(line, edits, false)
}
