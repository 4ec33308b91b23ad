//! `outlink sendmail --write-conf`: writes `sendmail.conf`, by what the configuration says, for users who may not read that.

use super::super::{CONFIG, Config, Exit, Failed, Outcome, check, out::say};
use crate::{
    config::{Bind, SENDMAIL_CONF, SendmailConf},
    whole::{Like, Unfinished},
};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// How the file begins that may be written anew.
const MARK: &str = "# Written by outlink sendmail";

/// Of the file: everybody reads it.
const MODE: u32 = 0o644;

/// `sendmail.conf` of the usual configuration.
pub(super) fn usual() -> PathBuf {
    beside(Path::new(CONFIG))
}

/// Writes it beside the configuration `main`; `domain` is kept from the old one unless it is given.
pub(super) fn write(main: PathBuf, domain: Option<String>) -> Outcome {
    let file = beside(&main);
    let (settings, _) = check::load(&Config { file: main })?;
    let old = match fs::read_to_string(&file) {
        Ok(old) if !old.starts_with(MARK) => {
            let text = format!("{} was written by a person: edit it, or move it away", file.display());
            return Err(Failed(Exit::Findings, text));
        }
        Ok(old) => Some(SendmailConf::parse(&old, &file).0),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return Err(unwritten(&file, &why)),
    };
    let sockets = settings.listeners.values().filter_map(|it| if let Bind::Unix(path) = &it.bind { Some(path) } else { None });
    let Some(socket) = sockets.clone().next() else {
        let text = "no listener has a Unix socket: bind = \"unix:/run/outlink/smtp.sock\" in a [listener.NAME] of its own";
        return Err(Failed(Exit::Findings, text.to_owned()));
    };
    if sockets.count() > 1 {
        eprintln!(
            "outlink: note: several listeners have a Unix socket; {} is taken, edit the file for another",
            socket.display()
        );
    }
    let domain = domain.or_else(|| old.and_then(|old| old.domain));
    let conf = SendmailConf { socket: socket.clone(), drop: settings.drop.clone(), domain };
    let text = conf.text();
    // What cannot be read again must not be written: a bad --domain.
    let faults = SendmailConf::parse(&text, &file).1;
    if !faults.is_empty() {
        return Err(check::faulty(faults));
    }
    let like = Like { owner: None, group: None, mode: MODE };
    let written = Unfinished::write(&file, text.as_bytes(), like).and_then(Unfinished::replace);
    written.map_err(|why| unwritten(&file, &why))?;
    say(format_args!("written: {}", file.display()));
    let hidden = file.ancestors().skip(1).find(|above| fs::metadata(above).is_ok_and(|it| it.permissions().mode() & 0o001 == 0));
    if let Some(above) = hidden {
        let text = "so that all users find the file in it; what lies in it stays as it is";
        eprintln!("outlink: note: chmod o+x {}, {text}", above.display());
    }
    Ok(Exit::Good)
}

fn unwritten(file: &Path, why: &io::Error) -> Failed {
    let exit = if why.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::InputOutput };
    Failed(exit, format!("cannot write {}: {why}; run this as root", file.display()))
}

fn beside(main: &Path) -> PathBuf {
    main.with_file_name(SENDMAIL_CONF)
}
