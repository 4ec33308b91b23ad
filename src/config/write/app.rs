//! An app as a command writes it, and another password in a file that stands.

use super::{Document, Kind};
use crate::{config::locate::Layer, mail::Name, secret::PasswordHash};

/// What was given.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct App {
    pub user: Option<String>,
    pub password: Option<PasswordHash>,
    pub disabled: bool,
    pub networks: Vec<String>,
    pub certificate: Vec<String>,
    pub unix_user: Vec<String>,
    pub mailbox: Vec<String>,
    pub fallback: Option<String>,
    pub allowed_from: Vec<String>,
    pub allowed_recipients: Vec<String>,
    pub delivery: Option<String>,
    pub direct_wait: Option<String>,
    pub repair: Option<String>,
    pub expire_after: Option<String>,
    pub warn_after: Option<String>,
    pub bounce_to: Option<String>,
    pub limits: AppLimits,
}

/// Its limits, where they are given.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct AppLimits {
    pub messages_per_minute: Option<u64>,
    pub messages_per_day: Option<u64>,
    pub recipients: Option<u64>,
    pub message_size: Option<String>,
}

impl App {
    /// Its file.
    pub fn document(&self, name: &Name) -> Document {
        let mut document = Document::new(Kind::App, name);
        document.text("user", self.user.as_deref());
        if self.password.is_some() {
            document.comment(&format!(
                "The hash alone: the password was shown once. `outlink app password {name}` makes another one."
            ));
        }
        document.text("password", self.password.as_ref().map(PasswordHash::as_str));
        if self.disabled {
            document.comment("It may not send yet.");
            document.boolean("enabled", false);
        }
        if !self.networks.is_empty() {
            document.comment("Whoever has one of these addresses may send as this app.");
        }
        document.list("networks", &self.networks);
        document.list("certificate", &self.certificate);
        document.list("unix-user", &self.unix_user);
        match self.mailbox.as_slice() {
            [one] => document.text("mailbox", Some(one)),
            several => document.list("mailbox", several),
        }
        document.text("fallback", self.fallback.as_deref());
        document.list("allowed-from", &self.allowed_from);
        document.list("allowed-recipients", &self.allowed_recipients);
        document.text("delivery", self.delivery.as_deref());
        document.text("direct-wait", self.direct_wait.as_deref());
        document.text("repair", self.repair.as_deref());
        document.text("expire-after", self.expire_after.as_deref());
        document.text("warn-after", self.warn_after.as_deref());
        document.text("bounce-to", self.bounce_to.as_deref());
        let AppLimits { messages_per_minute, messages_per_day, recipients, message_size } = &self.limits;
        if [messages_per_minute, messages_per_day, recipients].iter().any(|limit| limit.is_some()) || message_size.is_some() {
            document.begin("limits");
            document.number("messages-per-minute", *messages_per_minute);
            document.number("messages-per-day", *messages_per_day);
            document.number("recipients", *recipients);
            document.text("message-size", message_size.as_deref());
        }
        document
    }
}

/// What becomes of the passwords of an app.
#[derive(Debug, Clone)]
pub enum Passwords {
    /// This one comes first, beside those that it has.
    Add(PasswordHash),
    /// This one alone.
    Only(PasswordHash),
    /// The first alone, which is the newest that a command wrote.
    Newest,
}

/// Why they cannot be changed in this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPasswords {
    /// It is written in another form than commands write it.
    #[error("its [app.{0}] has another form than commands write: change `password` by hand, `outlink app hash` makes a hash")]
    Form(Name),
    /// Nothing is old.
    #[error("app {0} has no older password")]
    NothingOld(Name),
}

/// The file `text` of app `name` with other passwords; all else stays, octet for octet. With how many it has then.
pub fn with_passwords(text: &str, name: &Name, change: Passwords) -> Result<(String, usize), NoPasswords> {
    let form = || NoPasswords::Form(name.clone());
    let layer = Layer::from_toml("".into(), text.to_owned()).map_err(|_| form())?;
    let table: toml::Table = text.parse().map_err(|_| form())?;
    let path = ["app", name.as_str(), "password"].map(str::to_owned);
    let value = table.get("app").and_then(|apps| apps.get(name.as_str())?.get("password"));
    let old: Vec<String> = match value {
        None => Vec::new(),
        Some(toml::Value::String(one)) => vec![one.clone()],
        Some(toml::Value::Array(all)) => all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        Some(_) => return Err(form()),
    };
    let new = match change {
        Passwords::Add(hash) => [vec![hash.as_str().to_owned()], old].concat(),
        Passwords::Only(hash) => vec![hash.as_str().to_owned()],
        Passwords::Newest if old.len() < 2 => return Err(NoPasswords::NothingOld(name.clone())),
        Passwords::Newest => old.into_iter().take(1).collect(),
    };
    let written = match new.as_slice() {
        [one] => toml::Value::from(one.as_str()),
        several => toml::Value::from(several.to_vec()),
    };
    let mut whole = text.to_owned();
    if let Some(place) = layer.place(&path) {
        whole.replace_range(place.value.clone(), &written.to_string());
    } else {
        let head = layer.place(&path[..2]).ok_or_else(form)?.key.start;
        let line = whole[..head].rfind('\n').map_or(0, |at| at + 1);
        let end = whole[head..].find('\n').map(|at| head + at + 1).ok_or_else(form)?;
        if whole[line..end].trim() != format!("[app.{name}]") {
            return Err(form());
        }
        whole.insert_str(end, &format!("password = {written}\n"));
    }
    Ok((whole, new.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn hash(salt: u8) -> PasswordHash {
        PasswordHash::make(&Secret::new("x".to_owned()), &[salt; 16]).unwrap()
    }

    #[test]
    fn passwords_change_and_the_rest_of_the_file_stays() {
        let (name, [a, b]) = (Name::parse("crowd").unwrap(), [hash(1), hash(2)]);
        let (x, y) = (a.as_str(), b.as_str());
        let text = |password: &str| {
            format!("# Mine.\n[app.crowd]\nuser = \"c\" # his\n{password}mailbox = \"m\"\n[app.crowd.limits]\nrecipients = 2\n")
        };
        for (before, change, after) in [
            (
                format!("password = '{x}' # one\n"),
                Passwords::Add(b.clone()),
                Some((format!("password = [\"{y}\", \"{x}\"] # one\n"), 2)),
            ),
            (
                format!("password = [\n  \"{y}\", # new\n  \"{x}\",\n]\n"),
                Passwords::Newest,
                Some((format!("password = \"{y}\"\n"), 1)),
            ),
            (format!("password = [\"{y}\", \"{x}\"]\n"), Passwords::Only(a.clone()), Some((format!("password = \"{x}\"\n"), 1))),
            (format!("password = \"{y}\"\n"), Passwords::Newest, None),
            (String::new(), Passwords::Newest, None),
        ] {
            let found = with_passwords(&text(&before), &name, change).ok();
            assert_eq!(found, after.map(|(after, count)| (text(&after), count)), "{before}");
        }
        let without = "[app.crowd]\nmailbox = \"m\"\n";
        let (added, count) = with_passwords(without, &name, Passwords::Add(a.clone())).unwrap();
        assert_eq!((added, count), (format!("[app.crowd]\npassword = \"{x}\"\nmailbox = \"m\"\n"), 1));
        let inline = "app.crowd = { mailbox = \"m\" }\n";
        assert_eq!(with_passwords(inline, &name, Passwords::Add(a.clone())), Err(NoPasswords::Form(name)));
    }
}
