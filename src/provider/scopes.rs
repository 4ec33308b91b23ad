//! The scopes of a link, checked before they cost anyone an afternoon: the SMTP scope is not Graph's and not the Gmail API's, and
//! a token for the wrong one is given out gladly and then refused by the SMTP server.
//!
//! What is meant beyond doubt is corrected, with a note; what is wrong says what to write instead. Custom providers name their
//! scopes as they like.

use super::{
    Cloud, Grant, Provider,
    microsoft::{self, Addresses, OFFLINE},
    preset::GOOGLE_SCOPE,
};

/// What was found about one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeFinding {
    /// It was changed; nothing needs to be done, but the file should say it right.
    Corrected {
        /// As it was written.
        from: String,
        /// As it is used; several scopes are separated by spaces.
        to: String,
        /// Why.
        note: &'static str,
    },
    /// It cannot work.
    Wrong {
        /// As it was written.
        scope: String,
        /// Why, and what to write.
        why: String,
    },
    /// Without it nothing can work.
    Missing {
        /// What to write.
        scope: &'static str,
        /// Why.
        why: String,
    },
}

/// Checks the scopes of a link and corrects those whose meaning is beyond doubt.
pub fn check_scopes(provider: Provider, cloud: Cloud, grant: Grant, scopes: &mut Vec<String>) -> Vec<ScopeFinding> {
    let mut findings = Vec::new();
    if provider == Provider::Custom {
        return findings;
    }
    split(scopes, &mut findings);
    match (provider, grant) {
        (Provider::Google, _) => google(scopes, &mut findings),
        (_, Grant::ClientCredentials) => application(cloud, scopes, &mut findings),
        _ => delegated(microsoft::cloud(cloud), scopes, &mut findings),
    }
    findings
}

/// Other programs take all scopes in one line; here each is a value of its own.
fn split(scopes: &mut Vec<String>, findings: &mut Vec<ScopeFinding>) {
    let between = |c: char| c == ',' || c.is_whitespace();
    *scopes = std::mem::take(scopes)
        .into_iter()
        .flat_map(|written| {
            let parts: Vec<String> = written.split(between).filter(|part| !part.is_empty()).map(String::from).collect();
            if parts.len() > 1 {
                let note = "each scope is a value of its own in the list";
                findings.push(ScopeFinding::Corrected { from: written, to: parts.join(" "), note });
            }
            parts
        })
        .collect();
}

fn google(scopes: &mut [String], findings: &mut Vec<ScopeFinding>) {
    for scope in scopes.iter_mut() {
        let why = match scope.as_str() {
            GOOGLE_SCOPE | "openid" | "email" | "profile" => continue,
            "https://mail.google.com" => {
                let note = "the slash at the end belongs to Google's scope; without it the token request fails";
                findings.push(ScopeFinding::Corrected { from: scope.clone(), to: GOOGLE_SCOPE.into(), note });
                *scope = GOOGLE_SCOPE.into();
                continue;
            }
            OFFLINE => "Google has no such scope and gives a refresh token without it; remove it".into(),
            text if text.contains("/auth/gmail.") => {
                format!("it is a scope of the Gmail API, and smtp.gmail.com answers 535 to its tokens; write {GOOGLE_SCOPE}")
            }
            text if is_microsoft(text) => format!("it is a scope of Microsoft, but the provider is google; write {GOOGLE_SCOPE}"),
            _ => format!("SMTP at Google takes one scope only; write {GOOGLE_SCOPE}"),
        };
        findings.push(ScopeFinding::Wrong { scope: scope.clone(), why });
    }
    if !scopes.iter().any(|scope| scope == GOOGLE_SCOPE) {
        require(GOOGLE_SCOPE, "it is the only scope that smtp.gmail.com accepts", findings);
    }
}

/// Client credentials: exactly one scope, the resource's `/.default`.
fn application(cloud: Cloud, scopes: &mut [String], findings: &mut Vec<ScopeFinding>) {
    let known = microsoft::cloud(cloud);
    let right = known.application;
    if cloud == Cloud::Consumer {
        let why = "Outlook.com has no client credentials; use the grant authorization-code".into();
        findings.push(ScopeFinding::Wrong { scope: scopes.join(" "), why });
        return;
    }
    for scope in scopes.iter_mut() {
        let why = match resource(scope, known) {
            Resource::Own(_, ".default") if scope == right => continue,
            Resource::Own("outlook.office.com", ".default") => {
                let note = "Exchange Online takes client credentials only with a token for outlook.office365.com";
                findings.push(ScopeFinding::Corrected { from: scope.clone(), to: right.into(), note });
                *scope = right.into();
                continue;
            }
            // Another host of the same cloud; an administrator who writes it knows why.
            Resource::Own(_, ".default") => continue,
            Resource::Own(_, _) | Resource::Short => {
                format!("client credentials name no single permission but all that were granted; write {right}")
            }
            Resource::Identity => format!("client credentials have no person and no refresh token; write {right} alone"),
            other => other.why(scope, known, right),
        };
        findings.push(ScopeFinding::Wrong { scope: scope.clone(), why });
    }
    match scopes.len() {
        0 => require(right, "client credentials ask for the resource's default scope", findings),
        1 => {}
        _ if has_wrong(findings) => {}
        _ => {
            let why = format!("client credentials take exactly one scope; write {right} alone");
            findings.push(ScopeFinding::Wrong { scope: scopes.join(" "), why });
        }
    }
}

/// A person's consent: SMTP.Send of one Outlook resource, with IMAP and POP beside it, and `offline_access`.
fn delegated(known: &Addresses, scopes: &mut Vec<String>, findings: &mut Vec<ScopeFinding>) {
    let right = known.delegated;
    let outlook = scopes.iter().any(|scope| matches!(resource(scope, known), Resource::Own(..)));
    let mut sends = None;
    let mut all = false;
    for scope in scopes.iter() {
        let why = match resource(scope, known) {
            Resource::Own(_, permission) if permission.eq_ignore_ascii_case("SMTP.Send") => {
                sends = sends.or(Some(scope.clone()));
                continue;
            }
            Resource::Own(_, ".default") => {
                all = true;
                continue;
            }
            Resource::Own(_, permission) if permission.eq_ignore_ascii_case("SMTP.SendAsApp") => {
                format!("SMTP.SendAsApp is a permission of client credentials; for a person's consent write {right}")
            }
            Resource::Own(_, permission) if permission.eq_ignore_ascii_case("Mail.Send") => {
                format!("Mail.Send is for Microsoft's HTTP interfaces, and SMTP answers 535 to its tokens; write {right}")
            }
            Resource::Own(..) | Resource::Identity => continue,
            Resource::Graph | Resource::Short if outlook => format!(
                "it belongs to Microsoft Graph, and one request cannot mix Graph with Outlook (AADSTS70011); keep {right} and \
                 {OFFLINE} only"
            ),
            other => other.why(scope, known, right),
        };
        findings.push(ScopeFinding::Wrong { scope: scope.clone(), why });
    }
    match sends {
        Some(scope) if all => {
            let why = format!("`/.default` cannot stand beside single permissions (AADSTS70011); keep {scope} and {OFFLINE}");
            findings.push(ScopeFinding::Wrong { scope: "/.default".into(), why });
        }
        None if !all => require(right, "without it the SMTP server refuses the token", findings),
        _ => {}
    }
    add_offline(scopes, findings);
}

/// Without `offline_access` there is no refresh token: mail would flow for an hour. Nobody can want that, so it is added.
fn add_offline(scopes: &mut Vec<String>, findings: &mut Vec<ScopeFinding>) {
    if has_wrong(findings) || scopes.iter().any(|scope| scope == OFFLINE) {
        return;
    }
    let from = scopes.join(" ");
    scopes.push(OFFLINE.into());
    let note = "without offline_access Microsoft gives no refresh token, and mail would stop after an hour";
    findings.push(ScopeFinding::Corrected { from, to: scopes.join(" "), note });
}

/// Whose scope it is, seen from one cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource<'a> {
    /// Of this cloud's Outlook: host and permission.
    Own(&'a str, &'a str),
    /// Of another cloud's Outlook.
    Foreign(&'static str),
    /// Of Microsoft Graph.
    Graph,
    /// Without a resource, which Entra takes for Graph.
    Short,
    /// About the person or the session, of no resource.
    Identity,
    /// Of Google.
    Google,
    /// Anything else.
    Other,
}

fn resource<'a>(scope: &'a str, known: &Addresses) -> Resource<'a> {
    if [OFFLINE, "openid", "profile", "email"].contains(&scope) {
        return Resource::Identity;
    }
    let Some((scheme, rest)) = scope.split_once("://") else {
        return Resource::Short;
    };
    let (host, permission) = rest.split_once('/').unwrap_or((rest, ""));
    match host {
        _ if scheme != "https" => Resource::Other,
        _ if known.hosts.contains(&host) => Resource::Own(host, permission),
        _ if host.ends_with("google.com") || host.ends_with("googleapis.com") => Resource::Google,
        _ if host.contains("graph.microsoft.") || host == "microsoftgraph.chinacloudapi.cn" => Resource::Graph,
        _ => microsoft::cloud_of(host).map_or(Resource::Other, Resource::Foreign),
    }
}

impl Resource<'_> {
    /// Why it cannot be used here, and what to write.
    fn why(self, scope: &str, known: &Addresses, right: &str) -> String {
        match self {
            Self::Graph => format!("it is a scope of Microsoft Graph, and SMTP answers 535 to its tokens; write {right}"),
            Self::Short => format!("without the resource in front Microsoft takes {scope} for one of Graph; write {right}"),
            Self::Foreign(cloud) => {
                format!("it belongs to the cloud {cloud}, but the link says cloud {}; write {right}, or set cloud", known.name)
            }
            Self::Google => format!("it is a scope of Google, but the provider is microsoft; write {right}"),
            Self::Own(..) | Self::Identity | Self::Other => format!("it is no scope of Exchange Online; write {right}"),
        }
    }
}

fn is_microsoft(scope: &str) -> bool {
    let host = scope.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
    host.contains("microsoft") || microsoft::cloud_of(host).is_some()
}

/// A scope that was written wrong has been told already; the same scope is then not missing besides.
fn require(scope: &'static str, why: &str, findings: &mut Vec<ScopeFinding>) {
    if !has_wrong(findings) {
        findings.push(ScopeFinding::Missing { scope, why: why.into() });
    }
}

fn has_wrong(findings: &[ScopeFinding]) -> bool {
    findings.iter().any(|finding| !matches!(finding, ScopeFinding::Corrected { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::preset;

    /// What the findings say in short, and the scopes afterwards.
    fn check(provider: Provider, cloud: Cloud, grant: Grant, written: &[&str]) -> (String, Vec<String>) {
        let mut scopes: Vec<String> = written.iter().map(|scope| (*scope).into()).collect();
        let told = check_scopes(provider, cloud, grant, &mut scopes).into_iter().map(|finding| match finding {
            ScopeFinding::Corrected { from, to, note } => format!("corrected {from} -> {to}: {note}"),
            ScopeFinding::Wrong { scope, why } => format!("wrong {scope}: {why}"),
            ScopeFinding::Missing { scope, why } => format!("missing {scope}: {why}"),
        });
        (told.collect::<Vec<_>>().join("\n"), scopes)
    }

    #[test]
    fn what_presets_fill_in_passes() {
        use Cloud::*;
        for cloud in [Global, Gcc, GccHigh, Dod, China, Consumer] {
            for grant in [Grant::AuthorizationCode, Grant::DeviceCode, Grant::ClientCredentials] {
                if cloud == Consumer && grant == Grant::ClientCredentials {
                    continue;
                }
                let mut scopes = preset(Provider::Microsoft, cloud, Some("t"), grant, "").scopes;
                assert_eq!(check_scopes(Provider::Microsoft, cloud, grant, &mut scopes), [], "{cloud:?} {grant}");
            }
        }
        for grant in [Grant::AuthorizationCode, Grant::ServiceAccount] {
            let mut scopes = preset(Provider::Google, Global, None, grant, "").scopes;
            assert_eq!(check_scopes(Provider::Google, Global, grant, &mut scopes), []);
        }
    }

    #[test]
    fn a_custom_provider_may_ask_for_anything() {
        for scopes in [&[][..], &["mail.send", "a,b c"], &["https://graph.microsoft.com/.default"]] {
            assert_eq!(check(Provider::Custom, Cloud::Global, Grant::ClientCredentials, scopes).0, "");
        }
    }

    #[test]
    fn each_mistake_with_google_has_its_own_message() {
        for (scopes, expected) in [
            (&["https://mail.google.com"][..], "corrected https://mail.google.com -> https://mail.google.com/: the slash"),
            (
                &["https://www.googleapis.com/auth/gmail.send"],
                "wrong https://www.googleapis.com/auth/gmail.send: it is a scope of the Gmail API",
            ),
            (&["https://mail.google.com/", "offline_access"], "wrong offline_access: Google has no such scope"),
            (&["https://outlook.office.com/SMTP.Send"], "wrong https://outlook.office.com/SMTP.Send: it is a scope of Microsoft"),
            (&["http://mail.google.com/"], "wrong http://mail.google.com/: SMTP at Google takes one scope"),
            (
                &["https://mail.google.com/,email"],
                "corrected https://mail.google.com/,email -> https://mail.google.com/ email: each",
            ),
            (&["openid"], "missing https://mail.google.com/: it is the only"),
            (&[], "missing https://mail.google.com/: it is the only"),
        ] {
            let (told, _) = check(Provider::Google, Cloud::Global, Grant::AuthorizationCode, scopes);
            assert!(told.starts_with(expected) && told.lines().count() == 1, "{scopes:?}: {told}");
        }
        let corrected = check(Provider::Google, Cloud::Global, Grant::AuthorizationCode, &["https://mail.google.com"]).1;
        assert_eq!(corrected, ["https://mail.google.com/"]);
    }

    #[test]
    fn each_mistake_with_a_persons_consent_at_microsoft_has_its_own_message() {
        const SEND: &str = "https://outlook.office.com/SMTP.Send";
        for (cloud, scopes, expected) in [
            (Cloud::Global, &[SEND, "offline_access"][..], ""),
            (Cloud::Global, &["https://outlook.office365.com/smtp.send", "offline_access"], ""),
            (Cloud::Dod, &["https://webmail.apps.mil/SMTP.Send", "offline_access"], ""),
            (Cloud::Global, &["https://outlook.office.com/.default", "offline_access"], ""),
            (
                Cloud::Global,
                &[
                    "https://outlook.office.com/IMAP.AccessAsUser.All",
                    "https://outlook.office.com/POP.AccessAsUser.All",
                    SEND,
                    "offline_access",
                    "openid",
                ],
                "",
            ),
            (
                Cloud::Global,
                &[SEND],
                "corrected https://outlook.office.com/SMTP.Send -> https://outlook.office.com/SMTP.Send offline_access: ",
            ),
            (
                Cloud::Global,
                &["https://graph.microsoft.com/Mail.Send", "offline_access"],
                "wrong https://graph.microsoft.com/Mail.Send: it is a scope of Microsoft Graph",
            ),
            (
                Cloud::Global,
                &[SEND, "https://graph.microsoft.com/Mail.Send"],
                "wrong https://graph.microsoft.com/Mail.Send: it belongs to Microsoft Graph, and one request cannot mix",
            ),
            (Cloud::Global, &[SEND, "User.Read"], "wrong User.Read: it belongs to Microsoft Graph, and one request cannot mix"),
            (Cloud::Global, &["SMTP.Send"], "wrong SMTP.Send: without the resource in front"),
            (
                Cloud::Global,
                &["https://outlook.office.com/Mail.Send"],
                "wrong https://outlook.office.com/Mail.Send: Mail.Send is for",
            ),
            (
                Cloud::Global,
                &["https://outlook.office365.com/SMTP.SendAsApp"],
                "wrong https://outlook.office365.com/SMTP.SendAsApp: SMTP.SendAsApp is",
            ),
            (Cloud::Global, &[SEND, "https://outlook.office.com/.default"], "wrong /.default: `/.default` cannot stand"),
            (
                Cloud::Global,
                &["https://outlook.office365.us/SMTP.Send"],
                "wrong https://outlook.office365.us/SMTP.Send: it belongs to the cloud gcc-high, but the link says cloud global",
            ),
            (
                Cloud::GccHigh,
                &[SEND],
                "wrong https://outlook.office.com/SMTP.Send: it belongs to the cloud global, but the link says cloud gcc-high",
            ),
            (Cloud::China, &[SEND], "wrong https://outlook.office.com/SMTP.Send: it belongs to the cloud global"),
            (Cloud::Global, &["https://mail.google.com/"], "wrong https://mail.google.com/: it is a scope of Google"),
            (Cloud::Global, &["https://example.com/x"], "wrong https://example.com/x: it is no scope of Exchange Online"),
            (Cloud::Global, &["offline_access"], "missing https://outlook.office.com/SMTP.Send: "),
            (Cloud::Gcc, &[], "missing https://outlook.office365.com/SMTP.Send: "),
        ] {
            let (told, _) = check(Provider::Microsoft, cloud, Grant::AuthorizationCode, scopes);
            assert!(
                told.starts_with(expected) && told.lines().count() == usize::from(!expected.is_empty()),
                "{scopes:?}: {told}"
            );
        }
    }

    #[test]
    fn each_mistake_with_client_credentials_has_its_own_message() {
        const RIGHT: &str = "https://outlook.office365.com/.default";
        for (cloud, scopes, expected) in [
            (Cloud::Global, &[RIGHT][..], ""),
            (
                Cloud::Global,
                &["https://outlook.office.com/.default"],
                "corrected https://outlook.office.com/.default -> https://outlook.office365.com/.default: ",
            ),
            (
                Cloud::Global,
                &["https://outlook.office365.com/SMTP.Send"],
                "wrong https://outlook.office365.com/SMTP.Send: client credentials name no single",
            ),
            (Cloud::Global, &["SMTP.SendAsApp"], "wrong SMTP.SendAsApp: client credentials name no single"),
            (
                Cloud::Global,
                &["https://graph.microsoft.com/.default"],
                "wrong https://graph.microsoft.com/.default: it is a scope of Microsoft Graph",
            ),
            (Cloud::Global, &[RIGHT, "offline_access"], "wrong offline_access: client credentials have no person"),
            (
                Cloud::Global,
                &[RIGHT, RIGHT],
                "wrong https://outlook.office365.com/.default https://outlook.office365.com/.default: client credentials \
                 take exactly one",
            ),
            (
                Cloud::Global,
                &["https://outlook.office365.us/.default"],
                "wrong https://outlook.office365.us/.default: it belongs to the cloud gcc-high",
            ),
            (Cloud::GccHigh, &[RIGHT], "wrong https://outlook.office365.com/.default: it belongs to the cloud global"),
            (Cloud::Consumer, &[RIGHT], "wrong https://outlook.office365.com/.default: Outlook.com has no client credentials"),
            (Cloud::Global, &[], "missing https://outlook.office365.com/.default: "),
        ] {
            let (told, _) = check(Provider::Microsoft, cloud, Grant::ClientCredentials, scopes);
            assert!(
                told.starts_with(expected) && told.lines().count() == usize::from(!expected.is_empty()),
                "{scopes:?}: {told}"
            );
        }
    }

    #[test]
    fn a_line_of_scopes_becomes_a_list() {
        let written = ["https://outlook.office.com/SMTP.Send offline_access"];
        let (told, scopes) = check(Provider::Microsoft, Cloud::Global, Grant::AuthorizationCode, &written);
        assert!(told.starts_with("corrected"), "{told}");
        assert_eq!(scopes, ["https://outlook.office.com/SMTP.Send", "offline_access"]);
    }
}
