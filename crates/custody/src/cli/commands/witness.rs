//! `custody witness`: cosigns the checkpoints of other machines' ledgers.

use super::{Failure, Output, Place, code};
use crate::{
    api,
    config::Certificate,
    gateway::tls::Tls,
    publish::{Keeper, witness_router},
    trust::loopback,
};
use clap::Args;
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Run a witness.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// Where; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4183")]
    pub listen: SocketAddr,
    /// The verifier key of a log to watch; kept, so that it need not be said again
    #[arg(long = "log", value_name = "VKEY")]
    pub logs: Vec<String>,
    /// The witness's own name, when its directory is new
    #[arg(long, value_name = "NAME", default_value = "custody-witness")]
    pub name: String,
    /// Certificate (PEM); other machines reach a witness over TLS only
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

pub async fn run(place: &Place, args: WitnessArgs, output: &Output) -> Result<ExitCode, Failure> {
    let Some(dir) = &place.home else {
        let help = "give it a directory of its own with --home DIR, on another machine than the ledgers that it watches";
        return Err(Failure::new(code::USAGE, "usage", "a witness keeps its state in no home of a daemon", help));
    };
    if dir.join("ledger").exists() || dir.join("custody.toml").exists() {
        let help = "what lies beside a ledger is changed with it, and proves nothing; choose another directory";
        return Err(Failure::new(code::USAGE, "usage", format!("{} is a home with a ledger", dir.display()), help));
    }
    super::up::log_to_stderr();
    let tls = match (args.cert, args.key) {
        (Some(cert), Some(key)) => {
            Some(Tls::load("witness", &Certificate { cert, key }).map_err(|error| Failure::of(code::BAD_FILE, "tls", error))?)
        }
        _ => None,
    };
    loopback::check_listen("witness", args.listen, tls.is_some()).map_err(|error| Failure::of(code::USAGE, "remote", error))?;
    let keeper = Keeper::open(dir, &args.name, &args.logs).map_err(|error| Failure::of(code::BAD_FILE, "witness", error))?;
    let keeper = Arc::new(keeper);
    let listener = TcpListener::bind(args.listen).await.map_err(|error| Failure::io(&format!("listen on {}", args.listen), &error))?;
    let stop = CancellationToken::new();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listening = api::serve(listener, witness_router(keeper.clone()), tls, stop.clone())
        .map_err(|error| Failure::io("serve the witness", &error))?;
    let address = listening.address;
    let logs = keeper.logs();
    let value = json!({
        "event": "ready",
        "listen": address,
        "vkey": keeper.vkey(),
        "logs": logs.iter().map(|(origin, size)| json!({"origin": origin, "size": size})).collect::<Vec<_>>(),
    });
    output.show(&value, || {
        let mut text = format!("Witness on {scheme}://{address}\nkey  {}\n", keeper.vkey());
        for (origin, size) in &logs {
            let size = size.map_or_else(|| "nothing cosigned yet".to_owned(), |size| format!("{size} entries cosigned"));
            text.push_str(&format!("log  {}: {size}\n", super::super::output::plain(origin)));
        }
        text + "\nIn the ledger's custody.toml:\n[[ledger.witnesses]]\nurl = \""
            + scheme
            + "://"
            + &address.to_string()
            + "\"\nvkey = \""
            + keeper.vkey()
            + "\""
    })?;
    super::until_told().await?;
    stop.cancel();
    listening.ended().await;
    Ok(ExitCode::SUCCESS)
}
