//! `custody contain` and `custody undo` (C10).

use super::{
    super::{
        args::{ContainArgs, ContainTargetArgs, UndoArgs},
        backend::Backend,
        output::plain,
    },
    Failure, Output, Place, exit,
};
use crate::api::{ContainOptions, ContainRequest, ContainTarget, UndoRequest};
use custody_model::{OperatorName, PrincipalName, Receipt, ServerName, ToolName};
use std::process::ExitCode;

pub async fn contain(place: &Place, args: ContainArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let (target, flags) = match args.target {
        ContainTargetArgs::Session { id, flags } => (ContainTarget::Session(backend.session_id(&id).await?), flags),
        ContainTargetArgs::Principal { id, flags } => (ContainTarget::Principal(PrincipalName(id)), flags),
        ContainTargetArgs::Server { id, flags } => (ContainTarget::Server(ServerName(id)), flags),
        ContainTargetArgs::Tool { id, flags } => match id.split_once('/') {
            Some((server, tool)) if !server.is_empty() && !tool.is_empty() => {
                (ContainTarget::Tool(server.into(), ToolName::from(tool)), flags)
            }
            _ => {
                return Err(Failure::new(
                    super::code::USAGE,
                    "usage",
                    format!("`{}` is not SERVER/TOOL", plain(&id)),
                    "such as practice/send_data",
                ));
            }
        },
    };
    if flags.terminate {
        output.remark(
            "The freeze can be undone (`custody undo ACTION --reason …`). Terminating cannot: connections and processes end for good, once the \
             evidence is preserved.",
        );
    } else {
        output.remark("Freezing: nothing of it reaches a server until `custody undo ACTION --reason …`. Nothing is ended.");
    }
    let options = ContainOptions { terminate: flags.terminate, break_glass: flags.break_glass.map(OperatorName) };
    let receipts = backend.contain(ContainRequest { target, reason: flags.reason, options }).await;
    backend.close().await;
    let receipts = receipts?;
    output.show(&receipts, || {
        let mut text = receipts.iter().map(line).collect::<Vec<_>>().join("\n");
        if let Some(freeze) = receipts.first().filter(|receipt| receipt.ok) {
            text.push_str(&format!("\nThe freeze is lifted by: custody undo {} --reason …", freeze.action));
        }
        text
    })?;
    Ok(exit(receipts.iter().all(|receipt| receipt.ok)))
}

pub async fn undo(place: &Place, args: UndoArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let receipt = backend.undo(UndoRequest { action: args.action, reason: args.reason }).await;
    backend.close().await;
    let receipt = receipt?;
    output.show(&receipt, || line(&receipt))?;
    Ok(exit(receipt.ok))
}

fn line(receipt: &Receipt) -> String {
    let state = if receipt.ok { "ok    " } else { "FAILED" };
    let glass = receipt.glass_broken_by.as_ref().map(|name| format!(" (glass broken by {name})")).unwrap_or_default();
    format!("{state} {} {}{glass} in {:.1} ms", receipt.action, plain(&receipt.result), receipt.took_us as f64 / 1000.0)
}
