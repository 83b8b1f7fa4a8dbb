//! `custody held`: calls that wait for a person.

use super::{
    super::{args::HeldCommand, output::plain},
    Failure, Output, Place, code, exit,
};
use crate::api::{AnswerRequest, ApiClient, DaemonFile};
use crate::core::HeldCall;
use std::process::ExitCode;

pub async fn run(place: &Place, command: HeldCommand, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let credential = place.credential(&home)?;
    let Some(file) = DaemonFile::running(&home) else {
        return Err(Failure::new(code::NO_TRUST, "no_daemon", "no daemon runs, so no call waits".to_owned(), "`custody up` starts it"));
    };
    let client = ApiClient::of(&file, credential.token)?;
    let (id, reason, allow) = match command {
        HeldCommand::List => {
            let held = client.held().await?;
            output.show(&held, || match held.is_empty() {
                true => "No call waits.".to_owned(),
                false => output.table(&["HELD CALL", "PRINCIPAL", "TOOL", "SINCE", "DENIED AT"], held.iter().map(row)),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        HeldCommand::Allow { id, reason } => (id, reason, true),
        HeldCommand::Deny { id, reason } => (id, reason, false),
    };
    let held = client.held().await?;
    let digits = id.strip_prefix("den_").unwrap_or(&id);
    let mut found = held.iter().filter(|call| call.id.to_string()["den_".len()..].starts_with(digits));
    let (Some(call), None) = (found.next(), found.next()) else {
        return Err(Failure::new(
            code::USAGE,
            "unknown",
            format!("no single call that waits has the id `{}`", plain(&id)),
            "`custody held list` shows them",
        ));
    };
    let call = client.answer_held(&AnswerRequest { id: call.id, allow, reason }).await?;
    output.show(&call, || format!("{} {}", if allow { "allowed" } else { "denied " }, row(&call).join("  ")))?;
    Ok(exit(true))
}

fn row(call: &HeldCall) -> Vec<String> {
    let tool = format!("{}/{}", call.server, plain(call.tool.as_deref().unwrap_or("?")));
    vec![call.id.to_string(), plain(call.principal.as_str()).to_string(), tool, format!("{:.0}", call.since), format!("{:.0}", call.until)]
}
