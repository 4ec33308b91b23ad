//! `outlink app password`: another password beside the one that an app has, so that the device can be changed at leisure; then the old
//! one away.

use super::{
    super::{
        Config, Exit, Failed, Outcome,
        change::{self, Subject, unwritten},
        out::{counted, say},
    },
    add::{hash, make},
    typed::{Password, Typed},
};
use crate::{
    config::write::{Kind, Passwords, with_passwords},
    mail::Name,
};
use clap::Args;

/// `outlink app password`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Another {
    /// The app
    #[arg(value_name = "NAME", value_parser = Name::parse)]
    name: Name,
    /// Make none: leave only the newest one, once it is typed into the device
    #[arg(long, conflicts_with = "at_once")]
    drop_old: bool,
    /// Make one, and let the old ones end at once: they are known to somebody
    #[arg(long)]
    at_once: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Changes the passwords of an app.
pub(super) fn password(another: &Another) -> Outcome {
    let (subject, name) = (Subject::read(&another.config, Kind::App)?, &another.name);
    let place = subject.definitions.existing(Kind::App, name).map_err(unwritten)?;
    let made = if another.drop_old { None } else { Some(make()?) };
    let change = match made.as_ref().map(hash).transpose()? {
        None => Passwords::Newest,
        Some(hash) if another.at_once => Passwords::Only(hash),
        Some(hash) => Passwords::Add(hash),
    };
    let (text, count) = with_passwords(place.text().unwrap_or_default(), name, change)
        .map_err(|why| Failed(Exit::Findings, format!("{}: {why}; nothing was changed", place.file().display())))?;
    let mut done = change::carry_out(&subject, &place, name, Some(&text))?;
    done.lines.push(match (count, another.drop_old) {
        (1, true) => format!("app {name} has one password, the newest"),
        (1, false) => format!("app {name} has this password alone"),
        (many, _) => {
            let old = counted((many - 1) as u64, "older one works", "older ones work");
            format!("{old} beside it until `{}`", subject.command(&format!("app password {name} --drop-old")))
        }
    });
    let typed = Typed::new(&done.settings, name, made.as_ref().map_or(Password::Kept, Password::Made));
    if another.json {
        done.lines.iter().for_each(|line| eprintln!("{line}"));
        let mut json = typed.json(place.file());
        json["passwords"] = count.into();
        say(json);
    } else {
        done.lines.iter().for_each(say);
        if made.is_some() {
            typed.lines().iter().for_each(say);
        }
    }
    Ok(Exit::Good)
}
