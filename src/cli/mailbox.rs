//! `outlink mailbox`: sending identities, added, listed, removed.

use super::{
    Config, Exit, Failed, Outcome,
    change::{self, Subject},
    check, link, listing,
    out::say,
    question::{self, Person, needed},
    remove,
};
use crate::{
    config::{
        Settings,
        write::{self, Kind},
    },
    mail::{Address, Name},
    provider::{Grant, Provider},
};
use clap::{Args, Subcommand};

/// `outlink mailbox`.
#[derive(Debug, Subcommand)]
pub(super) enum MailboxCommand {
    /// Add a sending identity of a link; what no flag says is asked for at a terminal
    Add(Box<Add>),
    /// List mailboxes: grant, access token, since when and by whom authorised, what is wrong, kept mail
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Remove a mailbox that no app uses and that has no mail
    Remove {
        /// The mailbox
        #[arg(value_name = "NAME", value_parser = Name::parse)]
        name: Name,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        config: Config,
    },
}

/// `outlink mailbox add`.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name
    #[arg(value_name = "NAME", value_parser = Name::parse)]
    name: Option<Name>,
    /// The link that authorises it
    #[arg(long, value_name = "LINK", value_parser = Name::parse)]
    link: Option<Name>,
    /// Its address, such as alerts@example.com; *@example.com stands for every address of a domain, where the link needs no consent
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The user of the login (XOAUTH2), where it is not the address
    #[arg(long, value_name = "USER")]
    xoauth2_user: Option<String>,
    /// The account that signs in for the consent, where it is not the address: the delegate of a shared mailbox
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// The SMTP server, host:port; needed for a custom provider
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// How its connection is protected: starttls or implicit; by default as its port has it
    #[arg(long, value_name = "WAY")]
    tls: Option<String>,
    /// A sender that passes unchanged: an address, *@domain or *; may be given more than once
    #[arg(long = "allowed-from", value_name = "ADDRESS")]
    allowed_from: Vec<String>,
    /// What becomes of all other senders: keep (the provider decides), rewrite (to the address) or refuse
    #[arg(long, value_name = "WAY")]
    when_from_differs: Option<String>,
    /// Write a mailbox anew that a command wrote before
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    config: Config,
}

/// Does what `outlink mailbox` asks for.
pub(super) fn mailbox(command: MailboxCommand) -> Outcome {
    match command {
        MailboxCommand::Add(add) => self::add(*add),
        MailboxCommand::List { json, config } => listing::mailboxes(&config, json),
        MailboxCommand::Remove { name, yes, config } => remove::remove(&config, Kind::Mailbox, &name, yes),
    }
}

fn add(mut add: Add) -> Outcome {
    let subject = Subject::read(&add.config, Kind::Mailbox)?;
    let (settings, _) = check::load(&add.config)?;
    if settings.links.is_empty() {
        return Err(Failed(Exit::Findings, format!("there is no link yet; `{}` comes first", subject.command("link add"))));
    }
    if let Some(name) = &add.name {
        subject.place(name, add.replace)?;
    }
    let missing = add.missing(&settings);
    if !missing.is_empty() {
        add.ask(question::person_for("this", &missing)?, &settings)?;
    }
    let (Some(name), Some(link), Some(address)) = (&add.name, &add.link, &add.address) else {
        return Err(Failed(Exit::Usage, format!("this needs {}", add.missing(&settings).join(", "))));
    };
    let place = subject.place(name, add.replace)?;
    let written = write::Mailbox {
        link: link.clone(),
        address: address.clone(),
        xoauth2_user: add.xoauth2_user.clone(),
        account: add.account.clone(),
        server: add.server.clone(),
        tls: add.tls.clone(),
        allowed_from: add.allowed_from.clone(),
        when_from_differs: add.when_from_differs.clone(),
    };
    let done = change::carry_out(&subject, &place, name, Some(written.document(name).as_str()))?;
    done.lines.iter().for_each(say);
    next(&subject, &done.settings, name);
    Ok(Exit::Good)
}

impl Add {
    fn missing(&self, settings: &Settings) -> Vec<&'static str> {
        let custom =
            self.link.as_ref().and_then(|link| settings.links.get(link)).is_some_and(|it| it.provider == Provider::Custom);
        [
            ("NAME", self.name.is_none()),
            ("--link", self.link.is_none()),
            ("--address", self.address.is_none()),
            ("--server", custom && self.server.is_none()),
        ]
        .into_iter()
        .filter_map(|(flag, is_missing)| is_missing.then_some(flag))
        .collect()
    }

    fn ask(&mut self, person: Person, settings: &Settings) -> Result<(), Failed> {
        let links: Vec<&Name> = settings.links.keys().collect();
        if self.link.is_none() {
            self.link = Some(links[person.choose("Outgoing link", &links, 0)?].clone());
        }
        let link = self.link.as_ref().and_then(|link| settings.links.get(link));
        if self.address.is_none() {
            self.address = person.text("Address of the mailbox", None, |answer| needed(answer).or_else(|| no_address(answer)))?;
        }
        let address = self.address.clone().unwrap_or_default();
        if self.name.is_none() {
            self.name = ask_name(person, &address, settings)?;
        }
        let differs = |answer: Option<String>| answer.filter(|answer| *answer != address);
        if link.is_some_and(|link| matches!(link.grant, Grant::AuthorizationCode | Grant::DeviceCode)) && self.account.is_none() {
            let prompt = "Account that signs in (another one only for shared mailboxes)";
            self.account = differs(person.text(prompt, Some(&address), no_address)?);
        }
        let is_domain = address.starts_with("*@");
        if self.xoauth2_user.is_none() && !is_domain {
            self.xoauth2_user = differs(person.text("User name of the login (XOAUTH2)", Some(&address), |_| None)?);
        }
        if link.is_some_and(|link| link.provider == Provider::Custom) && self.server.is_none() {
            self.server = person.text("SMTP server (host:port)", None, needed)?;
        }
        self.ask_senders(person, if is_domain { "its own address" } else { &address })
    }

    /// Who may send as whom.
    fn ask_senders(&mut self, person: Person, address: &str) -> Result<(), Failed> {
        if self.allowed_from.is_empty() {
            let prompt = "Senders that pass unchanged (addresses, *@domain, *; with spaces between)";
            let answer = person.text(prompt, Some(address), |_| None)?.filter(|answer| *answer != address).unwrap_or_default();
            self.allowed_from = answer.split([' ', ',']).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        }
        if self.when_from_differs.is_none() {
            let ways = ["keep: the provider decides", "refuse: the app hears 550 5.7.1"];
            let refuse = person.choose("All other senders", &ways, 0)? == 1;
            self.when_from_differs = refuse.then(|| "refuse".to_owned());
        }
        Ok(())
    }
}

fn ask_name(person: Person, address: &str, settings: &Settings) -> Result<Option<Name>, Failed> {
    let local = address.rsplit_once('@').map_or("", |(local, _)| local).to_ascii_lowercase();
    let plain: String = local.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let is_free = |name: &Name| settings.mailbox_names().all(|other| other != name);
    let default = Name::parse(plain.trim_matches('-')).ok().filter(is_free);
    let fault = |answer: &str| match Name::parse(answer) {
        Err(error) => Some(error.to_string()),
        Ok(name) => (!is_free(&name)).then(|| format!("there is a mailbox {name} already")),
    };
    let answer = person.text("Name", default.as_ref().map(Name::as_str), fault)?;
    Ok(answer.and_then(|answer| Name::parse(&answer).ok()))
}

fn no_address(answer: &str) -> Option<String> {
    match Address::parse(answer) {
        Ok(address) if address.domain().is_some() => None,
        Ok(_) => Some("write the whole address, such as alerts@example.com".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// What comes after a new mailbox.
fn next(subject: &Subject, settings: &Settings, name: &Name) {
    let whole = settings.domains.get(name).map(|domain| domain.common());
    let Some(mailbox) = whole.or(settings.mailboxes.get(name).map(|mailbox| &**mailbox)) else { return };
    let Some(link) = settings.links.get(&mailbox.link) else { return };
    if link.grant == Grant::ClientCredentials {
        link::at_the_provider(link, whole.is_none().then_some(mailbox.address.as_str()));
        if whole.is_some() {
            say("MAILBOX stands for each address that is to send; the filter of one scope may name several");
        }
    }
    say("\nnext:");
    if matches!(link.grant, Grant::AuthorizationCode | Grant::DeviceCode) {
        say(format_args!("  {}", subject.command(&format!("authorize {name}"))));
    }
    match settings.apps.values().find(|app| app.mailbox.names(name)) {
        None if whole.is_some() => {
            say(format_args!("  {}", subject.command(&format!("app add NAME --mailbox {name} --allowed-from ADDRESS"))));
        }
        None => say(format_args!("  {}", subject.command(&format!("app add NAME --mailbox {name}")))),
        Some(app) => say(format_args!("  send a test mail as app {}", app.name)),
    }
}
