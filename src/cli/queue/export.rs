//! `outlink queue export`: the octets of a message (RFC 5322), piece by piece.

use super::super::{Exit, Failed, Outcome, out::Lines, reach::Reached};
use crate::mail::Id;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes the octets of a message to standard output or to a new file, which is its owner's alone.
pub(super) async fn export(reached: &Reached, id: Id, to: Option<&Path>) -> Outcome {
    let id = id.to_string();
    let Some(path) = to else {
        let mut out = Lines::new();
        reached.body(&id, |piece| out.write(piece)).await?;
        out.flush()?;
        return Ok(Exit::Good);
    };
    let fault = |error: io::Error| {
        let exit = if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::InputOutput };
        Failed(exit, format!("cannot write {}: {error}", path.display()))
    };
    // Made with the first piece: what is not there leaves no empty file.
    let mut file: Option<File> = None;
    let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = reached
        .body(&id, |piece| {
            let file = match &mut file {
                Some(file) => file,
                none => none.insert(make().map_err(fault)?),
            };
            file.write_all(piece).map_err(fault)
        })
        .await;
    if written.is_err() && file.is_some() {
        // Half a message is worse than none.
        let _ = std::fs::remove_file(path);
    }
    written?;
    match file {
        Some(file) => file.sync_all().map_err(fault)?,
        None => drop(make().map_err(fault)?),
    }
    Ok(Exit::Good)
}
