//! The readers as wholes: files as the programs write them, and what comes of them; and any text through all of them.

use super::*;
use crate::{
    config::{self, Variables},
    provider::{Grant, Provider},
};
use proptest::prelude::*;

fn input(name: &str, text: &str) -> Input {
    Input { name: name.into(), text: Secret::new(text.into()) }
}

fn token(user: &str, server: Option<&str>, text: &str) -> TokenFile {
    TokenFile {
        name: format!("/etc/tokens/{user}"),
        user: user.into(),
        server: server.map(str::to_owned),
        content: Ok(Secret::new(text.into())),
    }
}

const CONFIG: &str = "[SMTP-1587]\nserver_address = smtp.office365.com\nserver_port = 587\nstarttls = True\n\n\
    [a@contoso.com]\npermission_url = https://login.microsoftonline.com/common/oauth2/v2.0/authorize\n\
    token_url = https://login.microsoftonline.com/common/oauth2/v2.0/token\n\
    oauth2_scope = https://outlook.office365.com/SMTP.Send offline_access\nredirect_uri = http://localhost\nclient_id = c\n\
    client_secret = s\ntoken_salt = AAAA\ntoken_iterations = 1\nrefresh_token = gAAAAA\n\n[emailproxy]\nallow_catch_all_accounts = 1\n";

#[test]
fn token_files_of_sasl_xoauth2_override_its_configuration() {
    let common = "{\"client_id\": \"common\", \"client_secret\": \"s\", \"use_client_credentials\": \"no\"}";
    let microsoft = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
    let setup = Setup {
        config: Some(input("sasl-xoauth2.conf", common)),
        tokens: vec![
            token("g@example.com", None, "{\"refresh_token\": \"r\", \"expiry\": 0}"),
            token(
                "m@contoso.com",
                None,
                &format!(
                    "{{\"refresh_token\": \"r\", \"client_id\": \"own\", \"token_endpoint\": \"{microsoft}\", \"proxy\": \"http://p:1\"}}"
                ),
            ),
            token(
                "app@contoso.com",
                None,
                &format!("{{\"use_client_credentials\": true, \"refresh_token\": \"\", \"token_endpoint\": \"{microsoft}\"}}"),
            ),
            token(
                "c@example.net",
                Some("smtp.example.net:587"),
                "{\"refresh_token\": \"r\", \"token_endpoint\": \"https://id.example.net/t\"}",
            ),
            token("x", None, "{\"refresh_token\": \"r\"}"),
        ],
    };
    let finding = sasl_xoauth2(&setup, &Extra { scopes: vec!["mail".into()], ..Extra::default() }).unwrap();
    let told: Vec<_> = finding
        .accounts
        .iter()
        .map(|it| (it.address.as_str(), it.client.provider, it.client.grant, it.client.client_id.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ("g@example.com", Provider::Google, Grant::AuthorizationCode, "common"),
            ("m@contoso.com", Provider::Microsoft, Grant::AuthorizationCode, "own"),
            ("app@contoso.com", Provider::Microsoft, Grant::ClientCredentials, "common"),
            ("c@example.net", Provider::Custom, Grant::AuthorizationCode, "common"),
        ]
    );
    assert_eq!(finding.accounts[1].client.proxy.as_deref(), Some("http://p:1"));
    assert_eq!(
        (finding.accounts[2].grant.clone(), finding.accounts[3].server.as_deref()),
        (Granted::NotNeeded, Some("smtp.example.net:587"))
    );
    assert_eq!((finding.left.len(), finding.left[0].what.as_str()), (1, "x"));
}

#[test]
fn newer_token_files_of_mutts_script_hold_the_client_themselves() {
    let text = "{\"registration\": \"microsoft\", \"authflow\": \"devicecode\", \"email\": \"a@contoso.com\", \"refresh_token\": \"r\",\
                \"client_id\": \"c\", \"client_secret\": \"\", \"tenant\": \"contoso.com\"}";
    let finding = mutt_oauth2(&[input("token", text)], None, &Extra::default()).unwrap();
    let client = &finding.accounts[0].client;
    assert_eq!(
        (client.provider, client.grant, client.tenant.as_deref()),
        (Provider::Microsoft, Grant::DeviceCode, Some("contoso.com"))
    );
    assert_eq!((client.proof.clone(), finding.accounts[0].grant.clone()), (Proof::None, Granted::Token(Secret::new("r".into()))));
    let old =
        "{\"registration\": \"google\", \"email\": \"a@gmail.com\", \"refresh_token\": \"r\", \"access_token_expiration\": \"\"}";
    let left = mutt_oauth2(&[input("token", old)], None, &Extra::default()).unwrap().left;
    assert!(left[0].reason.contains("stands in the script") && left[0].step.contains("mutt_oauth2.py"), "{left:?}");
    let extra = Extra { client_id: Some("c".into()), client_secret: Some(Secret::new("s".into())), ..Extra::default() };
    let account = mutt_oauth2(&[input("token", old)], None, &extra).unwrap().accounts.remove(0);
    assert_eq!((account.client.provider, account.client.proof), (Provider::Google, Proof::Secret(Secret::new("s".into()))));
}

#[test]
fn work_that_a_file_asks_for_is_bounded() {
    let text = CONFIG.replace("token_iterations = 1\n", "token_iterations = 4294967295\n");
    let mut asked = 0;
    let finding = email_oauth2_proxy(&input("config", &text), None, &Extra::default(), &mut |_, _| {
        asked += 1;
        Some(Secret::new("p".into()))
    });
    let account = finding.unwrap().accounts.remove(0);
    let Granted::Missing(why) = account.grant else { panic!("{account:?}") };
    assert!(why.contains("token_iterations is no number up to") && asked == 0, "{why}");
}

/// Reads a text as whatever it is, and plans what comes of it.
fn read(text: &str, said: Option<Program>) {
    let (file, extra) = (input("file", text), Extra { scopes: vec!["s".into()], ..Extra::default() });
    let mut finding = Finding::default();
    let found = match recognise(&file, said) {
        Ok(Kind::EmailProxy) => email_oauth2_proxy(&file, Some(&file), &extra, &mut |_, _| None),
        Ok(Kind::SaslConfig) => sasl_xoauth2(&Setup { config: Some(file), tokens: vec![token("a@b.c", None, text)] }, &extra),
        Ok(Kind::SaslToken) => sasl_xoauth2(&Setup { config: None, tokens: vec![token("a@b.c", Some("h:1"), text)] }, &extra),
        Ok(Kind::PostfixMap) => {
            read_map(&file, &mut finding);
            Ok(finding)
        }
        Ok(Kind::MuttToken) => mutt_oauth2(std::slice::from_ref(&file), Some(&file), &extra),
        Ok(Kind::MuttScript) => mutt_oauth2(&[], Some(&file), &extra),
        Err(broken) => Err(broken),
    };
    let Ok(found) = found else { return };
    let (settings, _) = config::parse("hostname = \"a.example.com\"\n", &Variables::new()).unwrap();
    let plan = plan(found.accounts, found.shared, &settings, Vec::new(), Vec::new());
    assert!(plan.mailboxes.iter().all(|mailbox| mailbox.link < plan.links.len()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_configuration_is_read_or_refused(from in 0..CONFIG.len(), length in 0usize..60, more in "([\\[\\]=:@\n \t]|\\PC){0,8}") {
        let to = (from + length).min(CONFIG.len());
        read(&format!("{}{more}{}", &CONFIG[..from], &CONFIG[to..]), None);
    }

    #[test]
    fn any_object_is_read_or_refused(
        entries in proptest::collection::vec((
            "refresh_token|client_id|client_secret|token_endpoint|scope|user|registration|email|tenant|authflow|use_client_credentials|proxy",
            "https://login.microsoftonline.com/t/oauth2/v2.0/token|yes|google|microsoft|a@b.com|devicecode|\\PC{0,12}",
        ), 0..8),
        said in prop_oneof![Just(None), Just(Some(Program::SaslXoauth2)), Just(Some(Program::MuttOauth2))],
    ) {
        let object: serde_json::Map<_, _> = entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        read(&serde_json::Value::from(object).to_string(), said);
    }
}
