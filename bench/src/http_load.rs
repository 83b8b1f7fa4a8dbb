//! Calls over HTTP: connections that stay open, one call under way on each.
//!
//! The HTTP is written by hand. A client library would cost as much as what is measured.

use crate::{
    HttpArgs, Plan,
    message::{self, Era, FIRST_ID, Message},
    sample::{Meter, Sample},
};
use std::{
    cell::RefCell,
    net::{SocketAddr, ToSocketAddrs as _},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};

/// Room for the answer to one call.
const ANSWER: usize = 4 << 20;
/// Ids of one connection.
const IDS: u64 = 800_000;

/// Where.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    authority: String,
    path: String,
    key: Option<String>,
}

/// Opens the connections, then measures.
pub async fn run(args: HttpArgs) -> Result<Sample, String> {
    let target = Target::of(&args.url, args.key.clone())?;
    let plan = args.plan.clone();
    LocalSet::new()
        .run_until(async move {
            let mut lines = Vec::new();
            for nth in 0..args.connections {
                let hint = args.apart.then(|| format!("bench-{}-{nth}", std::process::id()));
                lines.push(Line::open(&target, plan.era, hint).await?);
            }
            let meter = Rc::new(RefCell::new(Meter::new(Duration::from_millis(plan.warm_up), Duration::from_millis(plan.millis))));
            let working: Vec<_> = lines
                .into_iter()
                .enumerate()
                .map(|(nth, line)| tokio::task::spawn_local(call(line, nth as u64, plan.clone(), meter.clone())))
                .collect();
            let mut calls = 0;
            for line in working {
                calls += line.await.map_err(|error| error.to_string())??;
            }
            let meter = Rc::into_inner(meter).expect("all calls are done").into_inner();
            match meter.finish() {
                Some(sample) => Ok(sample),
                None if plan.calls.is_some() => Ok(Sample::unmeasured(calls)),
                None => Err("not one call was answered in the time that is measured".into()),
            }
        })
        .await
}

/// One call after the other.
async fn call(mut line: Line, nth: u64, plan: Plan, meter: Rc<RefCell<Meter>>) -> Result<u64, String> {
    let mut calls: Vec<(Vec<u8>, usize)> = plan
        .era
        .calls(plan.bytes as usize)
        .into_iter()
        .map(|call| {
            let bytes = line.request(&call.message);
            let id_at = bytes.len() - call.message.json.len() + call.id_at;
            (bytes, id_at)
        })
        .collect();
    let until = meter.borrow().until();
    let most = plan.calls.unwrap_or(u64::MAX);
    let mut done = 0;
    let kinds = calls.len() as u64;
    while done < most {
        let id = FIRST_ID + nth * IDS + done % IDS;
        let (request, id_at) = &mut calls[((done + nth) % kinds) as usize];
        message::write_id(request, *id_at, id);
        let began = Instant::now();
        line.send(request).await?;
        let (status, body) = tokio::time::timeout(Plan::PATIENCE, line.answer()).await.map_err(|_| "no answer in time")??;
        let ended = Instant::now();
        if status != 200 || !message::answers(body, id) {
            let body = String::from_utf8_lossy(&body[..body.len().min(400)]);
            return Err(format!("a call was answered with status {status}: {body}"));
        }
        meter.borrow_mut().count(began, ended);
        done += 1;
        if ended >= until {
            break;
        }
    }
    Ok(done)
}

/// A connection that shook hands.
struct Line {
    stream: TcpStream,
    /// Everything before `Mcp-Method`.
    head: String,
    era: Era,
    read: Vec<u8>,
    session: Option<String>,
}

impl Line {
    async fn open(target: &Target, era: Era, hint: Option<String>) -> Result<Line, String> {
        let stream = TcpStream::connect(target.address).await.map_err(|error| format!("cannot connect to {}: {error}", target.address))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
            target.path, target.authority
        );
        if let Some(key) = &target.key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        if let Some(hint) = hint {
            head.push_str(&format!("Custody-Session: {hint}\r\n"));
        }
        let mut line = Line { stream, head, era, read: Vec::with_capacity(16 << 10), session: None };
        line.exchange(&era.hello()).await?;
        if let Some(session) = line.session.take() {
            line.head.push_str(&format!("Mcp-Session-Id: {session}\r\n"));
        }
        line.head.push_str(&format!("MCP-Protocol-Version: {}\r\n", era.revision()));
        if let Some(ready) = era.ready() {
            line.exchange(&ready).await?;
        }
        line.exchange(&era.list()).await?;
        Ok(line)
    }

    async fn exchange(&mut self, message: &Message) -> Result<(), String> {
        let request = self.request(message);
        self.send(&request).await?;
        let (status, body) =
            tokio::time::timeout(Plan::PATIENCE, self.answer()).await.map_err(|_| "no answer to the handshake in time")??;
        match status {
            200..300 => Ok(()),
            _ => {
                let words = String::from_utf8_lossy(&body[..body.len().min(400)]);
                Err(format!("`{}` was answered with status {status}: {words}", message.method))
            }
        }
    }

    fn request(&self, message: &Message) -> Vec<u8> {
        let mut head = self.head.clone();
        if self.era == Era::Stateless {
            // The first request has no version yet: sent with every request of this era.
            if message.method == "server/discover" {
                head.push_str(&format!("MCP-Protocol-Version: {}\r\n", self.era.revision()));
            }
            head.push_str(&format!("Mcp-Method: {}\r\n", message.method));
            if let Some(name) = message.name {
                head.push_str(&format!("Mcp-Name: {name}\r\n"));
            }
        }
        format!("{head}Content-Length: {}\r\n\r\n{}", message.json.len(), message.json).into_bytes()
    }

    async fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream.write_all(request).await.map_err(|error| format!("the connection broke: {error}"))
    }

    /// Reads one answer: status and body.
    async fn answer(&mut self) -> Result<(u16, &[u8]), String> {
        self.read.clear();
        let head = loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.read[..head]).map_err(|error| error.to_string())?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("no HTTP status")?;
        let mut length = None;
        let mut chunked = false;
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("mcp-session-id") {
                self.session = Some(value.trim().to_owned());
            }
        }
        let end = match (chunked, length) {
            (true, _) => loop {
                // The last chunk is empty, and nobody here sends trailers.
                if self.read.ends_with(b"\r\n0\r\n\r\n") || &self.read[head..] == b"0\r\n\r\n" {
                    break self.read.len();
                }
                self.more().await?;
            },
            (false, length) => {
                let end = head + length.unwrap_or(0);
                while self.read.len() < end {
                    self.more().await?;
                }
                end
            }
        };
        if end != self.read.len() {
            return Err("there is more than one answer".into());
        }
        Ok((status, &self.read[head..end]))
    }

    async fn more(&mut self) -> Result<(), String> {
        if self.read.len() > ANSWER {
            return Err("the answer is too long".into());
        }
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err("the connection was closed".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }
}

impl Target {
    fn of(url: &str, key: Option<String>) -> Result<Target, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("`{url}` does not begin with http://"))?;
        let (authority, path) = rest.split_once('/').map_or((rest, String::from("/")), |(authority, path)| (authority, format!("/{path}")));
        let address = authority.to_socket_addrs().map_err(|error| format!("`{authority}`: {error}"))?.next();
        let address = address.ok_or_else(|| format!("`{authority}` has no address"))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not on this machine: load is for loopback only"));
        }
        Ok(Target { address, authority: authority.to_owned(), path, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_goes_nowhere_but_to_this_machine() {
        assert!(Target::of("http://127.0.0.1:80/mcp", None).is_ok());
        assert!(Target::of("http://192.0.2.1:80/mcp", None).is_err());
    }
}
