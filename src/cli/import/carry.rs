//! Writes what was planned: links, then mailboxes with their grants and apps, each as its own command would.

use super::{
    super::{
        Exit, Failed, app, caller,
        change::{self, Done, Subject},
        reach, runtime,
        seal::{self, Given},
    },
    Arguments, Subjects,
    told::{Item, Report},
};
use crate::{
    config::{Settings, write},
    import::{Client, Granted, Login, Plan, PlannedLink, PlannedMailbox, Proof, Secrets, Standing},
    mail::Name,
    oauth,
    secret::Secret,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

/// Carries a plan out.
pub(super) struct Carrier<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) settings: &'a Settings,
    pub(super) subjects: &'a Subjects,
    /// Where the old program still answers.
    pub(super) running: Option<SocketAddr>,
}

/// What came of one thing: done, or why not. What would fail for all others too ends the import.
type Carried<T> = Result<T, Trouble>;

enum Trouble {
    Here(String),
    Everywhere(Failed),
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed(Exit::Permission | Exit::Unavailable | Exit::Temporary, _) => Self::Everywhere(failed),
            Failed(_, text) => Self::Here(text),
        }
    }
}

impl Carrier<'_> {
    /// Does all that can be done; why it ended early, if it did.
    pub(super) fn carry_out(&self, plan: Plan, report: &mut Report) -> Option<Failed> {
        let granted = match self.granted() {
            Ok(granted) => granted,
            Err(failed) => return Some(failed),
        };
        let Plan { mut links, mailboxes } = plan;
        for (at, link) in links.iter_mut().enumerate() {
            let is_needed = |it: &PlannedMailbox| it.link == at && !matches!(it.standing, Standing::Refused { .. });
            if link.shared.is_none() && !mailboxes.iter().any(is_needed) {
                continue;
            }
            if let Err(failed) = self.link(link, report) {
                return Some(failed);
            }
        }
        for mailbox in mailboxes {
            if let Err(failed) = self.mailbox(&mailbox, &links[mailbox.link], &granted, report) {
                return Some(failed);
            }
        }
        None
    }

    fn link(&self, link: &mut PlannedLink, report: &mut Report) -> Result<(), Failed> {
        let PlannedLink { name, client, standing, shared } = link;
        let id = client.client_id.as_deref().unwrap_or("without a client id");
        let what = format!("{} {}, client {id}", client.provider, client.grant);
        match standing {
            Standing::There => report.add(Item::new("link", name.as_str(), super::told::Became::There).what(what)),
            Standing::Refused { reason, step } => {
                if let Some(section) = shared {
                    report.add(Item::left("link", &format!("of [{section}]"), reason.clone(), step.clone()));
                }
            }
            Standing::New if self.arguments.dry_run => report.add(Item::new("link", name.as_str(), report.became()).what(what)),
            Standing::New => match self.write_link(name, client) {
                Ok(done) => {
                    report.add(Item { file: file_of(&done), ..Item::new("link", name.as_str(), report.became()).what(what) })
                }
                Err(Trouble::Everywhere(failed)) => return Err(failed),
                Err(Trouble::Here(reason)) => {
                    let step = "add it by hand: outlink link add".to_owned();
                    report.add(Item::left("link", name.as_str(), reason.clone(), step.clone()));
                    link.standing = Standing::Refused { reason: format!("its link was not written: {reason}"), step };
                    return Ok(());
                }
            },
        }
        if let (Some(section), Standing::New | Standing::There) = (&link.shared, &link.standing) {
            let command = self.subjects.mailboxes.command(&format!("mailbox add NAME --link {} --address ADDRESS", link.name));
            report
                .notes
                .push(format!("[{section}] served any address of its domain; outlink wants a mailbox for each: {command}"));
        }
        Ok(())
    }

    fn write_link(&self, name: &Name, client: &Client) -> Carried<Done> {
        let subject = &self.subjects.links;
        let place = subject.place(name, false)?;
        let sealed = |secret: &Secret, key: &str| {
            let place = format!("link.{name}.{key}");
            seal::written(&Given::Here(secret.clone()), &place, subject.definitions.state_directory()).map(Some)
        };
        let secrets = match &client.proof {
            Proof::None => Secrets::default(),
            Proof::Secret(secret) => Secrets { client_secret: sealed(secret, "client-secret")?, ..Secrets::default() },
            Proof::Certificate { private_key, .. } => {
                let Given::Here(key) = seal::from_file("its private key", private_key, false)? else {
                    return Err(Trouble::Here("its private key cannot be read".to_owned()));
                };
                Secrets { private_key: sealed(&key, "private-key")?, ..Secrets::default() }
            }
            Proof::ServiceAccount(key) => {
                oauth::ServiceAccount::from_json(key)
                    .map_err(|why| Trouble::Here(format!("the key of its service account: {why}")))?;
                Secrets { service_account: sealed(key, "service-account")?, ..Secrets::default() }
            }
            Proof::ServiceAccountFile(file) => {
                let why = format!("the key of its service account cannot be read from {}", file.display());
                return Err(Trouble::Here(why));
            }
        };
        Ok(self.write(subject, &place, name, client.written(secrets).document(name).as_str())?)
    }

    fn write(&self, subject: &Subject, place: &write::Place, name: &Name, text: &str) -> Result<Done, Failed> {
        change::carry_out(subject, place, name, Some(text))
    }

    fn mailbox(
        &self,
        mailbox: &PlannedMailbox,
        link: &PlannedLink,
        granted: &BTreeSet<String>,
        report: &mut Report,
    ) -> Result<(), Failed> {
        let PlannedMailbox { name, account, standing, .. } = mailbox;
        let what = format!("link {}", link.name);
        let standing = match &link.standing {
            refused @ Standing::Refused { .. } => refused,
            _ => standing,
        };
        match standing {
            Standing::Refused { reason, step } => {
                report
                    .add(Item::left("account", account.address.as_str(), reason.clone(), step.clone()).address(&account.address));
                return Ok(());
            }
            Standing::There => {
                report.add(Item::new("mailbox", name.as_str(), super::told::Became::There).what(what).address(&account.address))
            }
            Standing::New if self.arguments.dry_run => {
                report.add(Item::new("mailbox", name.as_str(), report.became()).what(what).address(&account.address))
            }
            Standing::New => {
                let subject = &self.subjects.mailboxes;
                let written = subject
                    .place(name, false)
                    .and_then(|place| self.write(subject, &place, name, account.written(&link.name).document(name).as_str()));
                match written.map_err(Trouble::from) {
                    Ok(done) => {
                        report.add(Item {
                            file: file_of(&done),
                            ..Item::new("mailbox", name.as_str(), report.became()).what(what).address(&account.address)
                        });
                    }
                    Err(Trouble::Everywhere(failed)) => return Err(failed),
                    Err(Trouble::Here(reason)) => {
                        report.add(Item::left(
                            "account",
                            account.address.as_str(),
                            reason,
                            "add it by hand: outlink mailbox add",
                        ));
                        return Ok(());
                    }
                }
            }
        }
        self.grant(mailbox, granted.contains(name.as_str()), report)?;
        self.app(mailbox, report)
    }

    fn grant(&self, mailbox: &PlannedMailbox, is_granted: bool, report: &mut Report) -> Result<(), Failed> {
        let name = mailbox.name.as_str();
        let token = match &mailbox.account.grant {
            Granted::NotNeeded => return Ok(()),
            _ if is_granted && !self.arguments.refresh_grants => {
                let item = Item::new("grant", name, super::told::Became::There);
                report.add(item.because("the mailbox has one; --refresh-grants puts the file's in its place"));
                return Ok(());
            }
            Granted::Missing(reason) => {
                report.add(Item::left("grant", name, reason.clone(), self.authorize(name)));
                report.consents.push(name.to_owned());
                return Ok(());
            }
            Granted::Token(token) => token,
        };
        if let Some(address) = self.running {
            let reason = format!(
                "{address} answers, so the old program still seems to run; outlink renews at once, and two programs on one \
                                  refresh token may lose it"
            );
            let step = "stop the old program, then run this again (or --still-running, where that is something else)";
            report.add(Item::left("grant", name, reason, step));
            return Ok(());
        }
        if self.arguments.dry_run {
            report.add(Item::new("grant", name, report.became()));
            return Ok(());
        }
        match self.import(&mailbox.name, token) {
            Ok(()) => report.add(Item::new("grant", name, report.became())),
            Err(Trouble::Everywhere(failed)) => return Err(failed),
            Err(Trouble::Here(reason)) => {
                report.add(Item::left("grant", name, reason, self.authorize(name)));
                report.consents.push(name.to_owned());
            }
        }
        Ok(())
    }

    fn authorize(&self, name: &str) -> String {
        format!(
            "run this again when that is mended, or let the account consent anew: {}",
            self.subjects.mailboxes.command(&format!("authorize {name}"))
        )
    }

    /// By the running daemon, else by this program once more: it becomes the owner of the state directory, while this process may have to
    /// stay root to write beside the main file.
    fn import(&self, mailbox: &Name, token: &Secret) -> Carried<()> {
        match reach::connect(&self.settings.state_directory) {
            Ok(client) => {
                let by = caller::name();
                return Ok(runtime()?.block_on(client.import_grant(mailbox, token, by.as_deref())).map_err(reach::failed)?);
            }
            Err(Failed(Exit::Unavailable, _)) => {}
            Err(failed) => return Err(failed.into()),
        }
        let mut command = self.again(&["grant", "import", mailbox.as_str()])?;
        let unasked = |error: std::io::Error| Trouble::Here(format!("cannot start this program once more: {error}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(unasked)?;
        if let Some(mut input) = child.stdin.take() {
            // One that ended early says why itself.
            let _ = input.write_all(token.expose().as_bytes());
        }
        let output = child.wait_with_output().map_err(unasked)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("outlink: ").to_owned();
        let exit = output.status.code().and_then(Exit::of).unwrap_or(Exit::InputOutput);
        Err(Failed(exit, said).into())
    }

    fn again(&self, words: &[&str]) -> Result<Command, Failed> {
        let program = std::env::current_exe()
            .map_err(|error| Failed(Exit::InputOutput, format!("cannot tell which program this is: {error}")))?;
        let mut command = Command::new(program);
        command.args(words).arg("--config").arg(&self.subjects.mailboxes.main);
        Ok(command)
    }

    /// The mailboxes that have a grant.
    fn granted(&self) -> Result<BTreeSet<String>, Failed> {
        let state_directory = &self.settings.state_directory;
        match reach::connect(state_directory) {
            Ok(client) => {
                let links = runtime()?.block_on(client.links()).map_err(reach::failed)?;
                let mailboxes = links.links.into_iter().flat_map(|link| link.mailboxes);
                Ok(mailboxes.filter(|it| it.authorised_since.is_some()).map(|it| it.mailbox).collect())
            }
            // Nothing was ever kept.
            Err(Failed(Exit::Unavailable, _)) if !state_directory.join("outlink.db").exists() => Ok(BTreeSet::new()),
            Err(Failed(Exit::Unavailable, _)) => {
                let unasked = |why: &dyn std::fmt::Display| {
                    Failed(Exit::InputOutput, format!("cannot tell which mailboxes have a grant: {why}"))
                };
                let output = self.again(&["mailbox", "list", "--json"])?.output().map_err(|error| unasked(&error))?;
                if !output.status.success() {
                    let exit = output.status.code().and_then(Exit::of).unwrap_or(Exit::InputOutput);
                    return Err(Failed(
                        exit,
                        String::from_utf8_lossy(&output.stderr).trim_start_matches("outlink: ").trim().to_owned(),
                    ));
                }
                let list: Value = serde_json::from_slice(&output.stdout).map_err(|error| unasked(&error))?;
                let mailboxes = list["mailboxes"].as_array().into_iter().flatten();
                let has_grant = mailboxes.filter(|it| it["authorised_since"].is_string());
                Ok(has_grant.filter_map(|it| it["mailbox"].as_str().map(str::to_owned)).collect())
            }
            Err(failed) => Err(failed),
        }
    }

    fn app(&self, mailbox: &PlannedMailbox, report: &mut Report) -> Result<(), Failed> {
        let PlannedMailbox { name, account, .. } = mailbox;
        let has_app = self.settings.apps.values().any(|app| app.mailbox.names(name));
        if !self.arguments.wants_app(&account.address) {
            if !has_app {
                report.without_app.push(name.to_string());
            }
            return Ok(());
        }
        // Applications of email-oauth2-proxy log in by the account's address; others had no login.
        let user = (account.login != Login::None).then(|| account.address.to_string());
        let user_name = user.clone().unwrap_or_else(|| name.to_string());
        if let Some(app) = self.settings.apps.values().find(|app| app.user.eq_ignore_ascii_case(&user_name)) {
            report.add(Item::new("app", app.name.as_str(), super::told::Became::There).what(format!("user {}", app.user)));
            return Ok(());
        }
        let names = self.subjects.apps.definitions.names(write::Kind::App);
        let numbered = (2..=99).filter_map(|number: u32| Name::parse(&format!("{name}-{number}")).ok());
        let Some(app) = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name)) else {
            report.add(Item::left("app", name.as_str(), "every name like it is taken", "outlink app add"));
            return Ok(());
        };
        let kept = match &account.login {
            Login::Password(password) => Some(password),
            Login::None | Login::Unknown => None,
        };
        let what = if kept.is_some() { "with the password that its applications have" } else { "with a new password" };
        if self.arguments.dry_run {
            report.add(Item::new("app", app.as_str(), report.became()).what(what));
            return Ok(());
        }
        match self.write_app(&app, name, user, kept) {
            Ok((done, password)) => {
                let typed =
                    app::Typed::new(&done.settings, &app, password.as_ref().map_or(app::Password::Kept, app::Password::Made));
                let file = file_of(&done);
                report.apps.push((typed.lines(), typed.json(Path::new(file.as_deref().unwrap_or_default()))));
                report.add(Item { file, ..Item::new("app", app.as_str(), report.became()).what(what) });
            }
            Err(Trouble::Everywhere(failed)) => return Err(failed),
            Err(Trouble::Here(reason)) => report.add(Item::left("app", app.as_str(), reason, "outlink app add")),
        }
        Ok(())
    }

    /// Gives the password where it is a new one.
    fn write_app(
        &self,
        name: &Name,
        mailbox: &Name,
        user: Option<String>,
        kept: Option<&Secret>,
    ) -> Carried<(Done, Option<Secret>)> {
        let subject = &self.subjects.apps;
        let place = subject.place(name, false)?;
        let made = if kept.is_none() { Some(app::make()?) } else { None };
        let hash = kept.or(made.as_ref()).map(app::hash).transpose()?;
        let written = write::App { user, password: hash, mailbox: vec![mailbox.to_string()], ..write::App::default() };
        Ok((self.write(subject, &place, name, written.document(name).as_str())?, made))
    }
}

fn file_of(done: &Done) -> Option<String> {
    done.lines.first().and_then(|line| line.strip_prefix("written: ")).map(str::to_owned)
}
