//! Carries frames between a client's and a server's pipes, one decision each.

use super::{
    ConnectionInfo, Decider, Forward, Handover,
    answer::{invalid, unavailable},
    hello::Word,
    pending::Pending,
    streams::{Input, Output},
};
use custody_engine::wire::{
    Limits,
    lines::{Line, LineDecoder},
    read_frame,
};
use custody_model::{ConnectionId, Direction, ServerName};
use std::{io, sync::Mutex as StdMutex, time::Duration};
use tokio::{net::UnixStream, sync::Mutex, time::timeout};

/// What one connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct PumpLimits {
    /// Limits of a frame.
    pub frame: Limits,
    /// Most requests followed at once, so that they can be answered when the server dies.
    pub pending: usize,
    /// How long the server may take to end, at each step: after its input was closed, after SIGTERM; and how long its last words
    /// may take after its end.
    pub grace: Duration,
}

impl Default for PumpLimits {
    fn default() -> Self {
        PumpLimits { frame: Limits::default(), pending: 4096, grace: Duration::from_secs(2) }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpEnd {
    /// The client closed its end, and the server ended after its last answer.
    Client,
    /// The server ended while the client still listened.
    Server,
    /// The shim was killed: the client's way of ending its server.
    Shim,
    /// The client's end broke while something was written to it.
    Broken,
}

/// Carries frames until one end is gone, then stops the rest. When it returns, the server's process has ended.
pub async fn pump<D: Decider>(handover: Handover, id: ConnectionId, decider: &D, limits: &PumpLimits) -> PumpEnd {
    let Handover { hello, peer, client, process, client_in, client_out, server_in, server_out, shim } = handover;
    let connection = ConnectionInfo { id, server: ServerName(hello.server), client, peer, process };
    let mut carrier = Carrier {
        connection,
        decider,
        limits,
        client_out: Mutex::new((client_out, false)),
        server_in: Mutex::new(Some(server_in)),
        pending: StdMutex::new(Pending::new(limits.pending)),
    };
    // A shim that is gone already is found out below.
    let _ = carrier.connection.process.say(&Word::Accepted);
    let end = carrier.run(client_in, server_out, &shim).await;
    carrier.finish(end).await;
    let _ = carrier.connection.process.say(&Word::Done);
    end
}

struct Carrier<'a, D: Decider> {
    connection: ConnectionInfo,
    decider: &'a D,
    limits: &'a PumpLimits,
    /// With whether its last line still wants its newline.
    client_out: Mutex<(Output, bool)>,
    /// `None` once the client has no more to say.
    server_in: Mutex<Option<Output>>,
    pending: StdMutex<Pending<D::Call>>,
}

impl<D: Decider> Carrier<'_, D> {
    async fn run(&self, client_in: Input, server_out: Input, shim: &UnixStream) -> PumpEnd {
        let client_gone = std::sync::atomic::AtomicBool::new(false);
        let to_server = async {
            let end = self.carry_to_server(client_in).await;
            *self.server_in.lock().await = None;
            client_gone.store(true, std::sync::atomic::Ordering::Relaxed);
            match end {
                Ok(()) => std::future::pending().await,
                Err(Broken) => PumpEnd::Broken,
            }
        };
        let mut to_agent = std::pin::pin!(self.carry_to_agent(server_out));
        let server_ended = async {
            self.connection.process.ended().await;
            // What it said before its end is still in the pipe.
            tokio::time::sleep(self.limits.grace).await;
        };
        let end = tokio::select! {
            biased;
            result = &mut to_agent => match result {
                Ok(()) => PumpEnd::Server,
                Err(Broken) => PumpEnd::Broken,
            },
            end = to_server => end,
            () = hung_up(shim) => PumpEnd::Shim,
            () = server_ended => PumpEnd::Server,
        };
        match end {
            PumpEnd::Server if client_gone.load(std::sync::atomic::Ordering::Relaxed) => PumpEnd::Client,
            other => other,
        }
    }

    async fn carry_to_server(&self, mut client_in: Input) -> Result<(), Broken> {
        let mut lines = LineDecoder::new(self.limits.frame.bytes);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = client_in.read(&mut buffer).await.unwrap_or(0);
            let ended = if read == 0 { lines.finish().into_iter().collect() } else { lines.push(&buffer[..read]) };
            for line in ended {
                match line {
                    Line::Oversized { bytes } => {
                        self.decider.oversized(&self.connection, Direction::ToServer, bytes).await;
                        let words = format!("a message of {bytes} bytes is too large: {} are allowed", self.limits.frame.bytes);
                        self.tell_client(&invalid(&words), true).await?;
                    }
                    Line::Whole { bytes, terminated } => {
                        let forward = self.decider.to_server(&self.connection, bytes).await;
                        self.forward_to_server(forward, terminated).await?;
                    }
                }
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// A server that no longer reads is not an error of ours: its end shows soon, and its pending requests are answered then.
    async fn forward_to_server(&self, forward: Forward<D::Permit>, terminated: bool) -> Result<(), Broken> {
        match forward {
            Forward::Drop => Ok(()),
            Forward::Reply(bytes) => self.tell_client(&bytes, true).await,
            Forward::Send(bytes, permit) => {
                let frame = read_frame(&bytes, &self.limits.frame);
                let mut server_in = self.server_in.lock().await;
                let Some(output) = server_in.as_mut() else { return Ok(()) };
                // A broken pipe shows again when it is written to.
                let _ = output.writable().await;
                let call = self.decider.call(&permit);
                let sending = match self.decider.redeem(&self.connection, permit) {
                    Ok(sending) => sending,
                    Err(None) => return Ok(()),
                    Err(Some(reply)) => return self.tell_client(&reply, true).await,
                };
                // Before the first byte: the answer may be faster than the next line here.
                self.pending.lock().expect("nobody panics in here").sent(&bytes, &frame, &call);
                if write_line(output, bytes, terminated).await.is_err() {
                    *server_in = None;
                }
                drop(sending);
                Ok(())
            }
        }
    }

    async fn carry_to_agent(&self, mut server_out: Input) -> Result<(), Broken> {
        let mut lines = LineDecoder::new(self.limits.frame.bytes);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = server_out.read(&mut buffer).await.unwrap_or(0);
            let ended = if read == 0 { lines.finish().into_iter().collect() } else { lines.push(&buffer[..read]) };
            for line in ended {
                match line {
                    Line::Oversized { bytes } => {
                        self.decider.oversized(&self.connection, Direction::ToAgent, bytes).await;
                        // Which request it answered nobody knows any more: better an error too many than a client that waits for ever.
                        let words = format!("the server sent a message of {bytes} bytes; {} are allowed", self.limits.frame.bytes);
                        self.answer_pending(&words).await?;
                    }
                    Line::Whole { bytes, terminated } => self.hear_server(bytes, terminated).await?,
                }
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    async fn hear_server(&self, bytes: Vec<u8>, terminated: bool) -> Result<(), Broken> {
        let frame = read_frame(&bytes, &self.limits.frame);
        let call = self.pending.lock().expect("nobody panics in here").answered(&bytes, &frame);
        match self.decider.to_agent(&self.connection, call, bytes).await {
            Forward::Drop => Ok(()),
            Forward::Send(bytes, ()) => self.tell_client(&bytes, terminated).await,
            Forward::Reply(bytes) => {
                let mut server_in = self.server_in.lock().await;
                if let Some(output) = server_in.as_mut()
                    && write_line(output, bytes, true).await.is_err()
                {
                    *server_in = None;
                }
                Ok(())
            }
        }
    }

    async fn tell_client(&self, bytes: &[u8], terminated: bool) -> Result<(), Broken> {
        let (output, open) = &mut *self.client_out.lock().await;
        // A server that ended in the middle of a line must not swallow what Custody says after it.
        let mut line = if std::mem::replace(open, !terminated) { b"\n".to_vec() } else { Vec::new() };
        line.extend_from_slice(bytes);
        write_line(output, line, terminated).await.map_err(|_| Broken)
    }

    async fn answer_pending(&self, words: &str) -> Result<(), Broken> {
        let left = self.pending.lock().expect("nobody panics in here").take();
        for sent in left {
            let answer = unavailable(&sent.id, words);
            self.decider.answered_for_server(&self.connection, sent.call, &answer).await;
            self.tell_client(&answer, true).await?;
        }
        Ok(())
    }

    /// Tells the client what it will not hear from the server any more, and ends the server.
    async fn finish(&mut self, end: PumpEnd) {
        let process = self.connection.process.clone();
        *self.server_in.get_mut() = None;
        if end != PumpEnd::Broken {
            let words = format!("the MCP server {:?} ended before it answered", self.connection.server.as_str());
            // A client that is gone needs no answer, and one that does not read must not hold up the end.
            let _ = timeout(self.limits.grace, self.answer_pending(&words)).await;
        }
        // With its input closed a server should end by itself; one whose shim was killed is not waited for.
        if end == PumpEnd::Shim || timeout(self.limits.grace, process.ended()).await.is_err() {
            process.stop(self.limits.grace).await;
        }
    }
}

/// The client's end is gone.
struct Broken;

/// Writes a frame and its newline as one piece.
async fn write_line(output: &mut Output, mut bytes: Vec<u8>, terminated: bool) -> io::Result<()> {
    if terminated {
        bytes.push(b'\n');
    }
    output.write_all(&bytes).await
}

/// Waits until the shim closes its socket. It has nothing more to say: what it says is dropped.
async fn hung_up(shim: &UnixStream) {
    let mut buffer = [0; 256];
    loop {
        if shim.readable().await.is_err() {
            return;
        }
        match shim.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
