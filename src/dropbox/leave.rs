//! Leaving a message in the drop directory, as whoever calls `outlink sendmail`.
//!
//! The directory has mode 3733 and belongs to the daemon: everybody may put files there, nobody else may list them or remove those of
//! others, and each file gets the directory's group, by which the daemon reads it.

use super::{NEW, Parcel, READY};
use crate::relay::new_id;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::SystemTime,
};

/// Of a message: its owner writes it, the daemon reads it by its group.
const MODE: u32 = 0o640;

/// Leaves `parcel` in `directory`; when it returns `Ok`, it is durable. Gives its name.
pub fn leave(directory: &Path, parcel: &Parcel, now: SystemTime) -> io::Result<String> {
    let id = new_id(now);
    let (new, ready) = (directory.join(format!("{NEW}{id}")), directory.join(format!("{READY}{id}")));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file
        .write_all(&parcel.write())
        // Whatever the caller's umask.
        .and_then(|()| file.set_permissions(Permissions::from_mode(MODE)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, &ready));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    // Its owner may not read the directory, which only root could then open for a sync; the rename of a synced file is in the journal of
    // every common file system within seconds.
    if let Ok(directory) = File::open(directory) {
        directory.sync_all()?;
    }
    Ok(id.to_string())
}
