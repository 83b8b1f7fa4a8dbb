//! Calls over pipes.

use crate::{
    StdioArgs,
    message::{self, FIRST_ID},
    sample::{Meter, Sample},
};
use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

/// The longest answer.
const ANSWER: u64 = 4 << 20;

/// Starts the server, shakes hands, then measures. The server ends with its input.
pub fn run(args: &StdioArgs) -> Result<Sample, String> {
    let (program, rest) = args.command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let measured = measure(args, &mut child);
    drop(child.stdin.take());
    if measured.is_err() {
        let _ = child.kill();
    }
    child.wait().map_err(|error| error.to_string())?;
    measured
}

fn measure(args: &StdioArgs, child: &mut Child) -> Result<Sample, String> {
    let plan = &args.plan;
    let mut input = child.stdin.take().expect("piped");
    let mut output = BufReader::with_capacity(64 << 10, child.stdout.take().expect("piped"));
    let mut line = Vec::new();
    for message in [Some(plan.era.hello()), plan.era.ready(), Some(plan.era.list())].into_iter().flatten() {
        send(&mut input, format!("{}\n", message.json).as_bytes())?;
        if message.json.contains("\"id\"") {
            read(&mut output, &mut line)?;
        }
    }
    let mut calls: Vec<(Vec<u8>, usize)> =
        plan.era.calls(plan.bytes as usize).into_iter().map(|call| (format!("{}\n", call.message.json).into_bytes(), call.id_at)).collect();
    let mut meter = Meter::new(Duration::from_millis(plan.warm_up), Duration::from_millis(plan.millis));
    let mut under_way: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut sent = 0;
    let most = plan.calls.unwrap_or(u64::MAX);
    loop {
        while under_way.len() < usize::from(args.in_flight) && sent < most && Instant::now() < meter.until() {
            let kinds = calls.len() as u64;
            let (request, id_at) = &mut calls[(sent % kinds) as usize];
            let id = FIRST_ID + sent;
            message::write_id(request, *id_at, id);
            under_way.push_back((id, Instant::now()));
            send(&mut input, request)?;
            sent += 1;
        }
        let Some((id, began)) = under_way.pop_front() else { break };
        read(&mut output, &mut line)?;
        let ended = Instant::now();
        if !message::answers(&line, id) {
            return Err(format!("a call was answered with: {}", String::from_utf8_lossy(&line[..line.len().min(400)])));
        }
        meter.count(began, ended);
    }
    // Given back, so that the server's input closes with the child.
    child.stdin = Some(input);
    match meter.finish() {
        Some(sample) => Ok(sample),
        None if plan.calls.is_some() => Ok(Sample::unmeasured(sent)),
        None => Err("not one call was answered in the time that is measured".into()),
    }
}

fn send(input: &mut ChildStdin, bytes: &[u8]) -> Result<(), String> {
    input.write_all(bytes).map_err(|error| format!("the server's input broke: {error}"))
}

fn read(output: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), String> {
    line.clear();
    match output.take(ANSWER).read_until(b'\n', line) {
        Ok(0) => Err("the server closed its output".into()),
        Ok(_) if line.ends_with(b"\n") => Ok(()),
        Ok(_) => Err("the server's answer broke off or is too long".into()),
        Err(error) => Err(format!("the server's output broke: {error}")),
    }
}
