//! What an access token says of itself, where it is a JWT, compared with what Exchange Online wants. Pure.
//!
//! The token's signature is not checked, as it is not ours to check: what is read decides only what a person is told, and a few
//! claims are all that ever leaves this file.

use super::finding::{Finding, Of};
use crate::{
    config::{Link, Mailbox},
    provider::{Grant, Provider, preset},
};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// The check's name.
pub(super) const CHECK: &str = "claims";

/// Exchange Online and Microsoft Graph by their application ids, which some tokens name in place of the address.
const EXCHANGE: &str = "00000002-0000-0ff1-ce00-000000000000";
const GRAPH: [&str; 3] = ["00000003-0000-0000-c000-000000000000", "graph.microsoft.com", "00000002-0000-0000-c000-000000000000"];

/// The permission of an app for itself, and the one that a person gives.
const SEND_AS_APP: &str = "SMTP.SendAsApp";
const SEND: &str = "SMTP.Send";

/// How far ahead of our clock a token may have been made.
const AHEAD: u64 = 60;

/// Longest value that is told.
const LONGEST: usize = 100;

/// What was read out of a token.
#[derive(Debug, Clone)]
pub(super) struct Claims(Map<String, Value>);

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    why: String,
    fix: String,
    name: &'static str,
}

/// What the claims come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    told: String,
    problems: Vec<Problem>,
    /// The app's own token names no permission: right with RBAC for Applications, else not. Only a login tells.
    pub(super) has_no_role: bool,
}

impl Claims {
    /// Those of `token`; `None` where it is opaque.
    pub(super) fn of(token: &str) -> Option<Self> {
        crate::oauth::jwt_payload(token).map(Self)
    }

    fn text(&self, claim: &str) -> Option<String> {
        let text = self.0.get(claim)?.as_str()?;
        Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect())
    }

    fn seconds(&self, claim: &str) -> Option<u64> {
        let value = self.0.get(claim)?;
        value.as_u64().or_else(|| value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64))
    }

    /// The words of a list, or of a text with spaces.
    fn words(&self, claim: &str) -> Vec<String> {
        match self.0.get(claim) {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// The object id of the app's service principal, in an app's own token.
    pub(super) fn object_id(&self) -> Option<String> {
        self.text("oid").filter(|id| is_guid(id) && self.0.get("scp").is_none())
    }

    /// How far its making lies ahead of our clock.
    pub(super) fn ahead(&self, now: SystemTime) -> Option<Duration> {
        let made = self.seconds("iat").max(self.seconds("nbf"))?;
        let ahead = made.checked_sub(unix(now)).filter(|ahead| *ahead > AHEAD)?;
        Some(Duration::from_secs(ahead))
    }

    /// Compares them with what `link` and `mailbox` want; `None` where nothing is known of the provider's tokens.
    pub(super) fn read(&self, link: &Link, mailbox: &Mailbox) -> Option<Reading> {
        if link.provider != Provider::Microsoft {
            return None;
        }
        let app_only = link.grant == Grant::ClientCredentials;
        let audience = self.text("aud").unwrap_or_default();
        let (roles, scopes) = (self.words("roles"), self.words("scp"));
        let found = [
            self.audience(link, &audience),
            (!app_only && !has(&scopes, SEND)).then(|| scope_missing(&scopes, link)),
            self.account(link, mailbox).filter(|_| !app_only),
            self.tenant(link),
            self.app(link),
        ];
        let user = self.user();
        let parts = [
            Some(format!("aud {audience}")),
            Some(if app_only { format!("roles {}", or_none(&roles)) } else { format!("scp {}", or_none(&scopes)) }),
            user.map(|user| format!("user {user}")),
            self.text("appid").or(self.text("azp")).map(|app| format!("app {app}")),
            self.text("tid").map(|tenant| format!("tenant {tenant}")),
        ];
        Some(Reading {
            told: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            problems: found.into_iter().flatten().collect(),
            has_no_role: app_only && !has(&roles, SEND_AS_APP),
        })
    }

    fn audience(&self, link: &Link, audience: &str) -> Option<Problem> {
        let host = audience.strip_prefix("https://").unwrap_or(audience).trim_end_matches('/');
        let app_only = link.grant == Grant::ClientCredentials;
        let wanted = |grant| preset(link.provider, link.cloud, link.tenant.as_deref(), grant, "").scopes;
        let hosts = |grant| {
            wanted(grant).into_iter().filter_map(|scope| Some(scope.strip_prefix("https://")?.split('/').next()?.to_owned()))
        };
        // An app's own token must be for the one host, a person's may be for either.
        let mut fits = hosts(Grant::ClientCredentials).chain(hosts(Grant::AuthorizationCode).filter(|_| !app_only));
        if host == EXCHANGE || fits.any(|known| known == host) {
            return None;
        }
        let right = wanted(link.grant).join(" and ");
        let whose = if GRAPH.contains(&host) { " (Microsoft Graph)" } else { "" };
        Some(Problem {
            why: format!("the token is for {audience}{whose}, and Exchange Online takes only tokens for itself: wrong scope"),
            fix: format!("set `scopes` of link {} to {right}, or leave the key out", link.name),
            name: "microsoft-scope",
        })
    }

    fn user(&self) -> Option<String> {
        ["upn", "preferred_username", "unique_name"].into_iter().find_map(|claim| self.text(claim))
    }

    fn account(&self, link: &Link, mailbox: &Mailbox) -> Option<Problem> {
        let user = self.user()?;
        let wanted = mailbox.account.as_ref().unwrap_or(&mailbox.address).as_str();
        let is_same = |other: &str| user.eq_ignore_ascii_case(other);
        if is_same(wanted) || mailbox.xoauth2_user != mailbox.address.as_str() && is_same(&mailbox.xoauth2_user) {
            return None;
        }
        let name = &mailbox.name;
        Some(Problem {
            why: format!("the token is that of {user}, and mailbox {name} sends as {wanted}"),
            fix: format!(
                "sign in as {wanted} with `outlink authorize {name}`; if {user} may send as {} (a shared mailbox), set account = \
                 \"{user}\" of mailbox {name}; where both are the same person, it is only another name of it (link {})",
                mailbox.address, link.name
            ),
            name: "token-refused",
        })
    }

    fn tenant(&self, link: &Link) -> Option<Problem> {
        let (told, wanted) = (self.text("tid")?, link.tenant.as_deref()?);
        // A domain says nothing of the id.
        if !is_guid(&told) || !is_guid(wanted) || told.eq_ignore_ascii_case(wanted) {
            return None;
        }
        Some(Problem {
            why: format!("the token comes from tenant {told}, and link {} names {wanted}", link.name),
            fix: format!("set `tenant` of link {} to the directory of the mailbox", link.name),
            name: "microsoft-foreign-account",
        })
    }

    fn app(&self, link: &Link) -> Option<Problem> {
        let told = self.text("appid").or(self.text("azp"))?;
        (!told.eq_ignore_ascii_case(&link.client_id)).then(|| Problem {
            why: format!("the token belongs to app {told}, and link {} names {}", link.name, link.client_id),
            fix: format!("compare `client-id` of link {} with the app registration's overview page", link.name),
            name: "microsoft-app-not-found",
        })
    }
}

/// Whether the login that followed let the token in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    Worked,
    Refused,
    NotTried,
}

impl Reading {
    /// As a finding, once the login has shown what cannot be read.
    pub(super) fn finding(self, of: &Of, link: &Link, mailbox: &Mailbox, login: Login) -> Finding {
        let Self { told, mut problems, has_no_role } = self;
        if has_no_role && login != Login::Worked {
            problems.push(role_missing(link, mailbox));
        }
        // The server has the last word: what it lets in is not wrong, whatever its token looks like.
        let mut finding = match (problems.is_empty(), login) {
            (true, Login::Worked) if has_no_role => {
                return of.good(CHECK, format!("{told}: no role {SEND_AS_APP}, so RBAC for Applications lets the app in"));
            }
            (true, _) => return of.good(CHECK, told),
            (false, Login::Worked) => of.warning(CHECK, told),
            (false, _) if problems.iter().all(|problem| problem.name == ROLE) && login == Login::NotTried => {
                of.warning(CHECK, told)
            }
            (false, _) => of.failed(CHECK, told),
        };
        let first = problems.first().map_or("", |problem| problem.name);
        let joined = |part: fn(&Problem) -> &str| problems.iter().map(part).collect::<Vec<_>>().join("; ");
        finding = finding.why(joined(|problem| &problem.why)).fix(joined(|problem| &problem.fix));
        finding.named(first)
    }
}

const ROLE: &str = "microsoft-permission-missing";

fn role_missing(link: &Link, mailbox: &Mailbox) -> Problem {
    let address = &mailbox.address;
    Problem {
        why: format!(
            "the app's token has no role {SEND_AS_APP}: that is right if the app has the role Application {SEND_AS_APP} by RBAC for \
             Applications, and wrong otherwise"
        ),
        fix: format!(
            "either in the app registration of {} under API permissions add Office 365 Exchange Online, Application permissions, \
             {SEND_AS_APP}, grant admin consent, and run `Add-MailboxPermission -Identity {address} -User <object id of the app \
             under Enterprise applications> -AccessRights FullAccess`; or leave it as it is and run `New-ManagementRoleAssignment \
             -Role \"Application {SEND_AS_APP}\" -App {}` with a scope that holds {address}; not both",
            link.client_id, link.client_id
        ),
        name: ROLE,
    }
}

fn scope_missing(scopes: &[String], link: &Link) -> Problem {
    Problem {
        why: format!("the token's scopes are {}, and without {SEND} the server refuses it", or_none(scopes)),
        fix: format!(
            "in the app registration of {} under API permissions add Office 365 Exchange Online, {SEND}, leave `scopes` of link {} \
             out or name it there, and consent again",
            link.client_id, link.name
        ),
        name: "microsoft-scope",
    }
}

fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(wanted))
}

/// The first few words, as a terminal may show them.
fn or_none(words: &[String]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

/// Whether it has the form of a GUID.
pub(super) fn is_guid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok() && text.len() == 36
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};
    use serde_json::json;
    use std::sync::Arc;

    const TENANT: &str = "11111111-2222-4333-8444-555555555555";

    fn parts(grant: &str, more: &str) -> (Arc<Link>, Arc<Mailbox>) {
        let secret = "client-secret = { env = \"S\" }";
        let text = format!(
            "[link.l]\nprovider = \"microsoft\"\ngrant = \"{grant}\"\nclient-id = \"id\"\n{secret}\ntenant = \"{TENANT}\"\n\
             [mailbox.m]\nlink = \"l\"\naddress = \"m@b.example\"\n{more}"
        );
        let variables = [("S".to_owned(), "x".to_owned())].into();
        let (settings, _) = crate::config::parse(&text, &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        (settings.links.values().next().unwrap().clone(), settings.mailboxes.values().next().unwrap().clone())
    }

    fn claims(value: Value) -> Claims {
        Claims(value.as_object().unwrap().clone())
    }

    fn judged((grant, more): (&str, &str), value: Value, login: Login) -> Finding {
        let (link, mailbox) = parts(grant, more);
        claims(value).read(&link, &mailbox).unwrap().finding(&Of::default(), &link, &mailbox, login)
    }

    #[test]
    fn a_token_is_compared_with_what_exchange_wants() {
        use Login::{NotTried, Refused, Worked};
        let (app, person) = (("client-credentials", ""), ("authorization-code", ""));
        let shared = ("authorization-code", "account = \"u@b.example\"\n");
        let (own, exchange) = ("https://outlook.office365.com", "00000002-0000-0ff1-ce00-000000000000");
        let role = json!(["SMTP.SendAsApp"]);
        let rows = [
            (app, json!({"aud": own, "roles": role, "appid": "id", "tid": TENANT}), Worked, Status::Ok, ""),
            (app, json!({"aud": format!("{own}/"), "roles": role}), NotTried, Status::Ok, ""),
            (app, json!({"aud": exchange, "roles": role}), NotTried, Status::Ok, ""),
            (app, json!({"aud": "https://outlook.office.com", "roles": role}), Refused, Status::Failed, "wrong scope"),
            (app, json!({"aud": "https://outlook.office.com", "roles": role}), Worked, Status::Warning, "wrong scope"),
            (app, json!({"aud": "00000003-0000-0000-c000-000000000000", "roles": role}), Refused, Status::Failed, "Graph"),
            (app, json!({"roles": role}), NotTried, Status::Failed, "wrong scope"),
            (app, json!({"aud": own}), Worked, Status::Ok, ""),
            (app, json!({"aud": own, "roles": ["Mail.Send"]}), Refused, Status::Failed, "no role SMTP.SendAsApp"),
            (app, json!({"aud": own}), NotTried, Status::Warning, "right if the app has"),
            (app, json!({"aud": own, "roles": role, "appid": "other"}), Refused, Status::Failed, "app other"),
            (app, json!({"aud": own, "roles": role, "tid": exchange}), Refused, Status::Failed, "tenant"),
            (
                person,
                json!({"aud": "https://outlook.office.com", "scp": "SMTP.Send", "upn": "M@B.example"}),
                NotTried,
                Status::Ok,
                "",
            ),
            (
                person,
                json!({"aud": own, "scp": "IMAP.AccessAsUser.All", "upn": "m@b.example"}),
                Refused,
                Status::Failed,
                "scopes are",
            ),
            (
                person,
                json!({"aud": own, "scp": "SMTP.Send", "upn": "u@b.example"}),
                Refused,
                Status::Failed,
                "that of u@b.example",
            ),
            (shared, json!({"aud": own, "scp": "SMTP.Send", "preferred_username": "u@b.example"}), Refused, Status::Ok, ""),
        ];
        for (setup, value, login, status, why) in rows {
            let finding = judged(setup, value.clone(), login);
            assert_eq!(finding.status, status, "{value}: {finding:?}");
            let told = finding.why.unwrap_or_default();
            assert!(if why.is_empty() { told.is_empty() } else { told.contains(why) }, "{value}: {told}");
            assert_eq!(finding.fix.is_some(), status != Status::Ok, "{value}");
        }
    }

    #[test]
    fn what_stands_in_a_token_cannot_steer_a_terminal_or_fill_it() {
        let long = "x".repeat(5000);
        let finding = judged(
            ("authorization-code", ""),
            json!({"aud": format!("\u{1b}[31m{long}"), "scp": long, "upn": long, "appid": [1], "tid": 7}),
            Login::Refused,
        );
        let text = format!("{finding:?}");
        assert!(!text.contains('\u{1b}') && text.len() < 4000, "{text}");
    }

    #[test]
    fn a_token_of_the_future_and_an_apps_object_id_are_seen() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(claims(json!({"iat": 1_003_600, "nbf": 1_000_000})).ahead(now), Some(Duration::from_secs(3600)));
        assert_eq!(claims(json!({"iat": 1_000_060})).ahead(now), None);
        assert_eq!(claims(json!({})).ahead(now), None);
        assert_eq!(claims(json!({"oid": TENANT})).object_id().as_deref(), Some(TENANT));
        assert_eq!(claims(json!({"oid": TENANT, "scp": "SMTP.Send"})).object_id(), None, "a person's");
        assert_eq!(claims(json!({"oid": "`rm -rf`"})).object_id(), None);
    }
}
