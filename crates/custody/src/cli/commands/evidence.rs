//! `custody evidence export`.

use super::{
    super::{args::ExportArgs, backend::Backend},
    Failure, Output, Place,
};
use crate::api::ExportRequest;
use custody_model::Presence;
use std::process::ExitCode;

pub async fn export(place: &Place, args: ExportArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    // The daemon has another working directory.
    let out = args.out.map(std::path::absolute).transpose().map_err(|error| Failure::io("find the directory", &error))?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let progress = output.progress("writing the evidence bundle");
    let exported = backend.export(ExportRequest { case: args.incident, out, reason: args.reason }).await;
    progress.finish_and_clear();
    backend.close().await;
    let exported = exported?;
    output.show(&exported, || {
        let present = exported.items.iter().filter(|item| matches!(item.presence, Presence::Present { .. })).count();
        format!(
            "Wrote {}\n  {present} of {} items, tag manifest sha256 {}\n\n{}\n\nCheck it anywhere: `custody verify {}`",
            exported.path.display(),
            exported.items.len(),
            exported.digest,
            super::incidents::items_table(&exported.items, output),
            exported.path.display(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
