//! Leaving a message in the drop directory, as whoever calls `outlink sendmail`.
//!
//! The directory has mode 3733 and belongs to the daemon: everybody may put files there, nobody else may list them or remove those of
//! others, and each file gets the directory's group, by which the daemon reads it.

use super::{NEW, Parcel, READY};
use crate::relay::new_id;
use std::{
    fs::{self, OpenOptions, Permissions},
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
        .and_then(|()| fs::rename(&new, &ready))
        // Its owner may not open the directory to sync it. The new name changed the file's own time, so that a sync of the file takes
        // the rename along in the journals of ext4, XFS and btrfs.
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&new).or_else(|_| fs::remove_file(&ready));
        return Err(error);
    }
    Ok(id.to_string())
}
