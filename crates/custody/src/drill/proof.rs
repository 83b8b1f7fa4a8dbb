//! Export and verification, with the same commands that the drill's report tells people to run.

use super::{error::DrillError, figures::EvidenceFigure};
use crate::trust::{Home, OperatorCredential};
use custody_model::{CaseId, Digest, ItemReport, Presence};
use custody_store::ledger::Reader;
use serde_json::Value;
use sha2::Digest as _;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// Reads the ledger beside the daemon, with the operator's eyes.
pub fn reader(home: &Home) -> Result<Reader, DrillError> {
    let credential = OperatorCredential::read(&home.operator_key())?;
    let identity = credential.identity().map_err(DrillError::io("read", home.operator_key()))?;
    Ok(Reader::open(&home.ledger(), vec![identity])?)
}

/// `custody evidence export`, then `custody verify` on what it wrote.
pub async fn export(home: &Home, case: CaseId) -> Result<EvidenceFigure, DrillError> {
    let case = case.to_string();
    let (exported, answer) = custody(home, &["evidence", "export", &case, "--reason", "drill"]).await?;
    let answer = answer.filter(|_| exported).unwrap_or_default();
    let path = answer.get("path").and_then(Value::as_str).map(PathBuf::from).unwrap_or_default();
    let reports: Vec<ItemReport> = answer.get("items").and_then(|items| serde_json::from_value(items.clone()).ok()).unwrap_or_default();
    let mut evidence = EvidenceFigure { path: path.clone(), items: Vec::new(), missing: Vec::new(), verified: false };
    for report in reports {
        let name = serde_json::to_value(report.item).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        match report.presence {
            Presence::Present { .. } => evidence.items.push(name),
            Presence::Missing { why } => evidence.missing.push(format!("{name}: {why}")),
        }
    }
    evidence.verified = exported && path.is_dir() && verify(home, Some(&path)).await?;
    Ok(evidence)
}

/// `custody learn --apply`; what it said, if it succeeded.
pub async fn learn(home: &Home) -> Result<Option<Value>, DrillError> {
    let (learned, answer) = custody(home, &["learn", "--apply"]).await?;
    Ok(learned.then(|| answer.unwrap_or_default()))
}

/// `custody manifest approve --ahead`: a change that is announced.
pub async fn announce(home: &Home, server: &str, tool: &str, reference: &str) -> Result<bool, DrillError> {
    Ok(custody(home, &["manifest", "approve", server, tool, "--ahead", "--change", reference]).await?.0)
}

/// `custody verify` on the home.
pub async fn verify_home(home: &Home) -> Result<bool, DrillError> {
    verify(home, Some(home.root())).await
}

async fn verify(home: &Home, path: Option<&Path>) -> Result<bool, DrillError> {
    let path = path.map(|path| path.to_string_lossy().into_owned());
    let arguments: Vec<&str> = std::iter::once("verify").chain(path.as_deref()).collect();
    Ok(custody(home, &arguments).await?.0)
}

/// Runs this program; whether it succeeded, and its JSON.
async fn custody(home: &Home, arguments: &[&str]) -> Result<(bool, Option<Value>), DrillError> {
    let program = std::env::current_exe().map_err(DrillError::io("find", "this program"))?;
    let output = Command::new(&program)
        .arg("--home")
        .arg(home.root())
        .arg("--json")
        .args(arguments)
        .env_remove("CUSTODY_OPERATOR_KEY")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(DrillError::io("start", &program))?;
    Ok((output.status.success(), serde_json::from_slice(&output.stdout).ok()))
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}
