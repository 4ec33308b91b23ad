//! From findings to links and mailboxes: one link for a client however many accounts it serves, names that are free, what is there already,
//! and what the configuration would refuse, before anything is written.

use super::{Account, Client, Proof, Shared, client::Secrets};
use crate::{
    config::{
        self, Fault, Settings, Variables,
        write::{self, SecretText},
    },
    mail::{Address, Name},
};
use std::collections::BTreeSet;

/// Longest word that a name is made of; numbers come behind it.
const LONGEST: usize = 48;
/// What an app may write instead of a mailbox's name.
const RESERVED: &str = "by-sender";

/// What is to be written.
#[derive(Debug, Default)]
pub struct Plan {
    /// Links.
    pub links: Vec<PlannedLink>,
    /// Mailboxes.
    pub mailboxes: Vec<PlannedMailbox>,
}

/// A link.
#[derive(Debug)]
pub struct PlannedLink {
    /// Its name.
    pub name: Name,
    /// What it is made of.
    pub client: Client,
    /// Whether it has to be written.
    pub standing: Standing,
    /// The catch-all section that it served.
    pub shared: Option<String>,
}

/// A mailbox.
#[derive(Debug)]
pub struct PlannedMailbox {
    /// Its name.
    pub name: Name,
    /// The place of its link in the plan.
    pub link: usize,
    /// What it is made of.
    pub account: Account,
    /// Whether it has to be written.
    pub standing: Standing,
}

/// Where something of a plan stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not there yet.
    New,
    /// It is there.
    There,
    /// It cannot be written, and why.
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        step: String,
    },
}

/// Names that are taken, of whatever file.
#[derive(Debug, Default, Clone)]
struct Taken(BTreeSet<Name>);

/// Plans beside what is configured; `links` and `mailboxes` are all names that are defined, with faults or without.
pub fn plan(accounts: Vec<Account>, shared: Vec<Shared>, settings: &Settings, links: Vec<Name>, mailboxes: Vec<Name>) -> Plan {
    let mut planner = Planner {
        settings,
        links: Taken(links.into_iter().collect()),
        mailboxes: Taken(mailboxes.into_iter().collect()),
        plan: Plan::default(),
    };
    planner.mailboxes.0.extend(Name::parse(RESERVED));
    for account in accounts {
        planner.account(account);
    }
    for Shared { section, client } in shared {
        let address = Address::parse(&format!("any{section}")).ok();
        planner.link(client, address.as_ref(), Some(section));
    }
    planner.plan
}

struct Planner<'a> {
    settings: &'a Settings,
    links: Taken,
    mailboxes: Taken,
    plan: Plan,
}

impl Planner<'_> {
    fn account(&mut self, account: Account) {
        let link = self.link(account.client.clone(), Some(&account.address), None);
        let link_name = self.plan.links[link].name.clone();
        let same = |it: &&PlannedMailbox| it.account.address.is_same(&account.address);
        if let Some(other) = self.plan.mailboxes.iter().find(same) {
            let reason = format!("the files have {} more than once", account.address);
            let step = "one of them is taken; --only and another run take the other one".to_owned();
            let name = other.name.clone();
            return self.plan.mailboxes.push(PlannedMailbox {
                name,
                link,
                account,
                standing: Standing::Refused { reason, step },
            });
        }
        let existing = self.settings.mailboxes.values().find(|mailbox| mailbox.address.is_same(&account.address));
        let (name, standing) = match existing {
            Some(mailbox) if mailbox.link == link_name => (mailbox.name.clone(), Standing::There),
            Some(mailbox) => {
                let reason =
                    format!("mailbox {} sends as {} through another link, {}", mailbox.name, mailbox.address, mailbox.link);
                let step = format!("where the imported one shall take its place: outlink mailbox remove {}", mailbox.name);
                (mailbox.name.clone(), Standing::Refused { reason, step })
            }
            None => {
                let words = mailbox_words(&account.address);
                let name = self.mailboxes.clone().free(&words);
                let client = &self.plan.links[link].client;
                let standing = match &self.plan.links[link].standing {
                    Standing::Refused { reason, step } => Standing::Refused { reason: reason.clone(), step: step.clone() },
                    Standing::New | Standing::There => standing(checked(client, &link_name, Some((&name, &account))).map(drop)),
                };
                if standing == Standing::New {
                    self.mailboxes.0.insert(name.clone());
                }
                (name, standing)
            }
        };
        self.plan.mailboxes.push(PlannedMailbox { name, link, account, standing });
    }

    /// The place of the link for a client.
    fn link(&mut self, client: Client, address: Option<&Address>, shared: Option<String>) -> usize {
        if let Some(at) = self.plan.links.iter().position(|link| link.client.is_same(&client)) {
            let link = &mut self.plan.links[at];
            link.shared = link.shared.take().or(shared);
            return at;
        }
        let word = client.word(address);
        let probe = checked(&client, &Name::parse("imported").unwrap_or_else(|_| self.links.free(&[])), None);
        let there = probe.as_ref().ok().and_then(|link| self.settings.links.values().find(|other| is_same(link, other)));
        let (name, standing) = match there {
            Some(link) => (link.name.clone(), Standing::There),
            None => {
                let standing = standing(probe.map(drop));
                // What is not written takes no name from others.
                let name = match &standing {
                    Standing::Refused { .. } => self.links.clone().free(&[word]),
                    Standing::New | Standing::There => self.links.free(&[word]),
                };
                (name, standing)
            }
        };
        self.plan.links.push(PlannedLink { name, client, standing, shared });
        self.plan.links.len() - 1
    }
}

fn standing(checked: Result<(), Vec<Fault>>) -> Standing {
    let Err(faults) = checked else { return Standing::New };
    let fatal: Vec<_> = faults.iter().filter(|fault| fault.is_fatal()).collect();
    let said = |fault: &&Fault| format!("{}: {}", fault.key.rsplit('.').next().unwrap_or_default(), fault.message);
    let hints = fatal.iter().map(|fault| fault.hint.as_ref()).filter(|hint: &&str| !hint.is_empty());
    Standing::Refused {
        reason: fatal.iter().map(said).collect::<Vec<_>>().join("; "),
        step: format!("add it by hand ({})", hints.collect::<Vec<_>>().join("; ")),
    }
}

/// The link, and the mailbox where there is one, as the configuration would read them; secrets are taken for granted.
fn checked(client: &Client, name: &Name, mailbox: Option<(&Name, &Account)>) -> Result<config::Link, Vec<Fault>> {
    let given = || Some(SecretText::Credential("imported".to_owned()));
    let secrets = match &client.proof {
        Proof::None => Secrets::default(),
        Proof::Secret(_) => Secrets { client_secret: given(), ..Secrets::default() },
        // With the key in a file of its own the certificate is looked at as it will be.
        Proof::Certificate { private_key, .. } => {
            let private_key = SecretText::File(private_key.to_string_lossy().into_owned());
            Secrets { private_key: Some(private_key), ..Secrets::default() }
        }
        Proof::ServiceAccount(_) | Proof::ServiceAccountFile(_) => Secrets { service_account: given(), ..Secrets::default() },
    };
    let mut text = client.written(secrets).document(name).as_str().to_owned();
    if let Some((mailbox, account)) = mailbox {
        text.push_str(account.written(name).document(mailbox).as_str());
    }
    let (settings, _) = config::parse(&text, &Variables::new())?;
    settings.links.get(name).map(|link| link.as_ref().clone()).ok_or_else(Vec::new)
}

/// Whether both are the same client. Its proof does not count: the link that is there has one that works, as far as anybody knows.
fn is_same(one: &config::Link, other: &config::Link) -> bool {
    let tenant = |link: &config::Link| link.tenant.as_ref().map(|tenant| tenant.to_ascii_lowercase());
    (one.provider, one.cloud, one.grant, &one.client_id, &one.token_endpoint)
        == (other.provider, other.cloud, other.grant, &other.client_id, &other.token_endpoint)
        && tenant(one) == tenant(other)
}

impl Account {
    /// The mailbox as it is written.
    pub fn written(&self, link: &Name) -> write::Mailbox {
        write::Mailbox {
            link: link.clone(),
            address: self.address.to_string(),
            xoauth2_user: self.xoauth2_user.clone(),
            account: None,
            server: self.server.clone(),
            tls: self.tls.map(str::to_owned),
            allowed_from: Vec::new(),
            when_from_differs: None,
        }
    }
}

/// The local part, and with the domain where that is taken.
fn mailbox_words(address: &Address) -> [String; 2] {
    let domain = address.domain().unwrap_or_default();
    [address.local().to_owned(), format!("{}-{domain}", address.local())]
}

impl Taken {
    /// A name made of the first word that is free, else of the last with a number; it is taken from here on.
    fn free(&mut self, words: &[String]) -> Name {
        let mut candidates: Vec<String> = words.iter().map(|word| plain(word)).filter(|word| !word.is_empty()).collect();
        if candidates.is_empty() {
            candidates.push("imported".to_owned());
        }
        let last = candidates[candidates.len() - 1].clone();
        let numbered = (2..).map(|number: u32| format!("{last}-{number}"));
        let mut names = candidates.into_iter().chain(numbered).filter_map(|word| Name::parse(&word).ok());
        // Numbers do not end, and there are fewer names.
        let name = names.find(|name| !self.0.contains(name)).expect("one of all numbers is free");
        self.0.insert(name.clone());
        name
    }
}

/// `[a-z0-9-]` of a text: what is none becomes a single `-`.
fn plain(text: &str) -> String {
    let mut word = String::new();
    for character in text.chars().map(|c| c.to_ascii_lowercase()) {
        match character {
            'a'..='z' | '0'..='9' => word.push(character),
            _ if word.is_empty() || word.ends_with('-') => {}
            _ => word.push('-'),
        }
        if word.len() >= LONGEST {
            break;
        }
    }
    word.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn free(taken: &mut Taken, words: &[&str]) -> String {
        taken.free(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn names_are_made_of_addresses_and_never_taken_twice() {
        let mut taken = Taken::default();
        taken.0.extend(Name::parse("alerts"));
        assert_eq!(free(&mut taken, &["alerts", "alerts-contoso.com"]), "alerts-contoso-com");
        assert_eq!(free(&mut taken, &["alerts", "alerts-contoso.com"]), "alerts-contoso-com-2");
        assert_eq!(free(&mut taken, &["No_Reply+x"]), "no-reply-x");
        assert_eq!(free(&mut taken, &["é"]), "imported");
        assert_eq!(free(&mut taken, &[]), "imported-2");
    }

    proptest! {
        #[test]
        fn any_words_make_names(words in proptest::collection::vec("\\PC{0,80}", 0..4)) {
            let mut taken = Taken::default();
            let names: BTreeSet<_> = (0..5).map(|_| taken.free(&words)).collect();
            prop_assert_eq!(names.len(), 5);
        }
    }
}
