//! `custody init`.

use super::{super::args::InitArgs, Failure, Output, Place};
use crate::trust::{Grade, Home, InitOptions};
use custody_model::OperatorName;
use serde_json::json;
use std::process::ExitCode;

pub fn run(place: &Place, args: InitArgs, output: &Output) -> Result<ExitCode, Failure> {
    let options = InitOptions {
        grade: if args.enforcing { Grade::Enforcing } else { Grade::Observe },
        operator: OperatorName(args.operator),
        agents: args.agents,
        operators: args.operators,
        origin: args.origin,
    };
    let made = Home::init(&place.root()?, &options)?;
    let home = &made.home;
    let value = json!({
        "home": home.root(),
        "grade": options.grade,
        "origin": made.origin,
        "vkey": made.vkey,
        "operator": made.credential.name,
        "operator_key": home.operator_key(),
        "config": home.config(),
    });
    output.show(&value, || {
        let grade = match options.grade {
            Grade::Observe => "observe grade: the daemon runs under your own account, so an agent with a shell could tamper with it",
            Grade::Enforcing => {
                "enforcing grade: run the daemon under the account that owns this home, and no agent under it (`custody status` checks)"
            }
        };
        format!(
            "Made {home}\n\n  operator key   {key}\n                 whoever has it can contain, undo and read evidence: keep a copy off this machine\n  verifier key   \
             {vkey}\n                 keep it elsewhere: `custody verify --vkey` then needs to trust nothing on this machine\n  configuration  \
             {config}\n\n{grade}\n\nNext: `custody adopt` beside a .mcp.json, then `custody up`",
            home = home.root().display(),
            key = home.operator_key().display(),
            vkey = made.vkey,
            config = home.config().display(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
