//! Set-ups that are broken in one way each, examined by `outlink doctor`: the finding that names the cause, the name of its advice,
//! words of its fix, and an end within ten seconds. The provider is the sandbox.

mod support;

use serde_json::{Value, json};
use std::thread;
use support::examination::{Broken, Wanted};

/// A row whose token is refused: the title, what the endpoint says, and the advice with a word of its fix.
type Refused<'a> = (&'a str, &'a str, u32, &'a str, &'a str);

/// Plays all of them, a few at a time.
fn play(broken: &[Broken<'_>]) {
    for some in broken.chunks(4) {
        // A panic of one is a panic of the scope.
        thread::scope(|scope| some.iter().for_each(|broken| drop(scope.spawn(|| broken.play()))));
    }
}

fn refused(error: &str, description: &str, aadsts: u32) -> Value {
    match aadsts {
        0 => json!({"error": error, "description": description}),
        number => json!({"error": error, "description": format!("AADSTS{number}: {description}"), "aadsts": number}),
    }
}

/// What follows a token that there is not.
const NO_LOGIN: Wanted<'_> =
    Wanted { check: "login", status: "not-checked", advice: "", what: "no access token", why: "", fix: "" };

#[test]
fn apps_that_entra_refuses() {
    let rows: [Refused<'_>; 7] = [
        ("a deleted secret", "invalid_client", 7_000_215, "microsoft-secret-wrong", "Value"),
        ("an unknown tenant", "invalid_request", 90_002, "microsoft-tenant-not-found", "Directory ID"),
        ("a tenant of another cloud", "invalid_request", 900_382, "microsoft-wrong-cloud", "gcc-high"),
        ("an unknown app", "unauthorized_client", 700_016, "microsoft-app-not-found", "Application ID"),
        ("a public client with a secret", "invalid_client", 700_025, "microsoft-public-client", "remove `client-secret`"),
        ("a disabled app", "unauthorized_client", 7_000_112, "microsoft-app-disabled", "Enterprise applications"),
        ("a permission that is missing", "invalid_resource", 650_057, "microsoft-permission-missing", "SMTP.SendAsApp"),
    ];
    for (title, error, aadsts, advice, fix) in rows {
        let faults = [("token-refused", refused(error, "refused", aadsts))];
        let wanted = [Wanted { check: "token", advice, fix, ..Wanted::default() }, NO_LOGIN];
        Broken { title, faults: &faults, wanted: &wanted, ..Broken::default() }.play();
    }
}

#[test]
fn people_whom_entra_does_not_let_in() {
    let rows: [Refused<'_>; 6] = [
        ("conditional access", "interaction_required", 53_003, "microsoft-conditional-access", "Sign-in logs"),
        ("a user who is not assigned", "interaction_required", 50_105, "microsoft-user-not-assigned", "Users and groups"),
        ("a second factor", "interaction_required", 50_076, "microsoft-second-factor", "outlink authorize sandbox"),
        ("an account of another tenant", "invalid_grant", 50_020, "microsoft-foreign-account", "account of that tenant"),
        ("sessions that were revoked", "invalid_grant", 50_173, "microsoft-sessions-revoked", "outlink authorize sandbox"),
        ("a consent that nobody gave", "invalid_grant", 65_001, "microsoft-consent-missing", "adminconsent"),
    ];
    for (title, error, aadsts, advice, fix) in rows {
        let faults = [("token-refused", refused(error, "refused", aadsts))];
        let options = ["--grant", "authorization-code"];
        let wanted = [Wanted { check: "token", advice, fix, ..Wanted::default() }, NO_LOGIN];
        Broken { title, options: &options, faults: &faults, wanted: &wanted, ..Broken::default() }.play();
    }
}

#[test]
fn grants_and_accounts_that_google_refuses() {
    let rows: [(&str, &[&str], Value, &str, &str); 5] = [
        ("a consent screen in testing, or a revoked consent", &[], json!({}), "google-grant-ended", "In production"),
        (
            "delegation that is missing",
            &["--grant", "service-account"],
            refused("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method", 0),
            "google-delegation",
            "Domain-wide delegation",
        ),
        (
            "an alias as subject",
            &["--grant", "service-account"],
            refused("invalid_grant", "Invalid email or User ID", 0),
            "google-no-such-user",
            "primary address",
        ),
        (
            "a wrong scope",
            &["--grant", "service-account"],
            refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.", 0),
            "google-scope",
            "https://mail.google.com/",
        ),
        (
            "a disabled client",
            &[],
            refused("disabled_client", "The OAuth client was disabled.", 0),
            "google-client-disabled",
            "enable",
        ),
    ];
    for (title, options, setting, advice, fix) in rows {
        let fault = if setting == json!({}) { "invalid-grant" } else { "token-refused" };
        let faults = [(fault, setting)];
        let wanted = [Wanted { check: "token", advice, fix, ..Wanted::default() }, NO_LOGIN];
        Broken { title, personality: "google", options, faults: &faults, wanted: &wanted, ..Broken::default() }.play();
    }
}

#[test]
fn clients_that_prove_themselves_wrongly() {
    let id = "5c2fbd39-7a3c-4f0e-9d9a-2f2f0f6b8a11";
    let wrong = Wanted { advice: "microsoft-secret-wrong", fix: "Value", ..Wanted::default() };
    play(&[
        Broken {
            title: "the secret's id instead of its value",
            secret: Some(id),
            wanted: &[
                Wanted { check: "client", status: "warning", what: "form of an id", ..wrong },
                Wanted { check: "token", ..wrong },
                NO_LOGIN,
            ],
            ..Broken::default()
        },
        Broken {
            title: "an expired secret",
            faults: &[("client-secret-expired", json!({}))],
            wanted: &[Wanted { check: "token", advice: "microsoft-secret-expired", fix: "24 months", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "a confidential client without a secret",
            options: &["--grant", "authorization-code"],
            without: &["client-secret"],
            wanted: &[Wanted { check: "token", advice: "microsoft-secret-missing", fix: "client-secret", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "an end that the administrator noted has passed",
            edits: &[("tenant =", "client-secret-expires = 2020-01-31\ntenant =")],
            exit: 0,
            wanted: &[Wanted { check: "client", status: "warning", what: "2020-01-31", fix: "new secret", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "no grant yet",
            options: &["--grant", "authorization-code", "--no-grant"],
            wanted: &[
                Wanted { check: "token", why: "no grant", fix: "outlink authorize sandbox", ..Wanted::default() },
                Wanted { check: "ehlo", status: "ok", ..Wanted::default() },
                NO_LOGIN,
            ],
            ..Broken::default()
        },
        Broken {
            title: "a secret whose file is gone",
            edits: &[("client-secret\" }", "not-there\" }")],
            exit: 78,
            wanted: &[Wanted { check: "configuration", what: "client-secret", ..Wanted::default() }],
            ..Broken::default()
        },
    ]);
}

#[test]
fn tokens_that_are_for_something_else() {
    play(&[
        Broken {
            title: "the scope of Graph in the configuration",
            edits: &[("tenant =", "scopes = [\"https://graph.microsoft.com/.default\"]\ntenant =")],
            exit: 78,
            wanted: &[
                Wanted { check: "configuration", what: "Graph", ..Wanted::default() },
                Wanted { check: "everything-else", status: "not-checked", ..Wanted::default() },
            ],
            ..Broken::default()
        },
        Broken {
            title: "a token for Graph",
            options: &["--claims", r#"{"aud": "https://graph.microsoft.com"}"#],
            wanted: &[
                Wanted { check: "token", status: "ok", ..Wanted::default() },
                Wanted {
                    check: "claims",
                    advice: "microsoft-scope",
                    why: "Microsoft Graph",
                    fix: "https://outlook.office365.com/.default",
                    ..Wanted::default()
                },
                Wanted { check: "login", advice: "microsoft-token-refused", ..Wanted::default() },
                Wanted { check: "sender", status: "not-checked", ..Wanted::default() },
            ],
            ..Broken::default()
        },
        Broken {
            title: "an app without the role, that nobody lets in",
            options: &["--claims", r#"{"roles": null}"#],
            faults: &[("auth-535", json!({}))],
            wanted: &[Wanted {
                check: "claims",
                advice: "microsoft-permission-missing",
                why: "right if the app has the role",
                fix: "Add-MailboxPermission -Identity robot@sandbox.example -User 00000000-0000-4000-8000-0000000000e1",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
        Broken {
            title: "an app without the role, that RBAC for Applications lets in",
            options: &["--claims", r#"{"roles": null}"#],
            exit: 0,
            wanted: &[Wanted { check: "claims", status: "ok", what: "RBAC for Applications", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "another person's token",
            options: &["--grant", "authorization-code", "--claims", r#"{"upn": "boss@sandbox.example"}"#],
            faults: &[("auth-535", json!({}))],
            wanted: &[Wanted {
                check: "claims",
                why: "boss@sandbox.example",
                fix: "outlink authorize sandbox",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
    ]);
}

#[test]
fn mailboxes_that_exchange_does_not_let_send() {
    let reply = |step: &str, reply: &str| [("smtp-reply", json!({"step": step, "reply": reply}))];
    let disabled =
        |of: &str| format!("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the {of}.");
    let (tenant, mailbox) = (reply("auth", &disabled("Tenant")), reply("auth", &disabled("Mailbox")));
    let logon = reply("mail", "430 4.2.0 STOREDRV; mailbox logon failure; MapiExceptionLogonFailed");
    play(&[
        Broken {
            title: "SMTP AUTH disabled for the tenant",
            faults: &tenant,
            wanted: &[Wanted {
                check: "login",
                advice: "microsoft-smtp-auth-disabled-tenant",
                fix: "Set-TransportConfig -SmtpClientAuthenticationDisabled $false",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
        Broken {
            title: "SMTP AUTH disabled for the mailbox",
            faults: &mailbox,
            wanted: &[Wanted {
                check: "login",
                advice: "microsoft-smtp-auth-disabled-mailbox",
                fix: "Set-CASMailbox -Identity robot@sandbox.example -SmtpClientAuthenticationDisabled $false",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
        Broken {
            title: "a service principal with another object id",
            faults: &[("auth-535", json!({}))],
            wanted: &[Wanted {
                check: "login",
                advice: "microsoft-token-refused",
                what: "535",
                fix: "New-ServicePrincipal -AppId 00000000-0000-4000-8000-000000000001 -ObjectId 00000000-0000-4000-8000-0000000000e1",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
        Broken {
            title: "a mailbox permission that is missing",
            faults: &logon,
            wanted: &[
                Wanted { check: "login", status: "ok", ..Wanted::default() },
                Wanted {
                    check: "sender",
                    advice: "microsoft-mailbox-logon",
                    fix: "Add-MailboxPermission -Identity robot@sandbox.example -User 00000000-0000-4000-8000-0000000000e1",
                    ..Wanted::default()
                },
            ],
            ..Broken::default()
        },
    ]);
}

#[test]
fn what_only_a_message_shows() {
    play(&[
        Broken {
            title: "a mailbox permission that is missing, told only after a message",
            faults: &[("mailbox-logon-failure", json!({}))],
            words: &["--send", "team@example.org"],
            wanted: &[Wanted { check: "delivery", advice: "microsoft-mailbox-logon", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "sending as others",
            faults: &[("send-as-denied", json!({}))],
            words: &["--send", "team@example.org", "--from", "boss@sandbox.example"],
            wanted: &[Wanted {
                check: "delivery",
                advice: "microsoft-send-as-denied",
                what: "boss@sandbox.example",
                fix: "Add-RecipientPermission",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
        Broken {
            title: "Google's quota",
            personality: "google",
            faults: &[("quota", json!({}))],
            words: &["sandbox", "--send", "team@example.org"],
            wanted: &[Wanted { check: "delivery", advice: "google-quota", fix: "24 hours", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "the provider counts logins",
            personality: "google",
            faults: &[("too-many-logins", json!({}))],
            wanted: &[Wanted { check: "login", advice: "google-too-many-logins", ..Wanted::default() }],
            ..Broken::default()
        },
    ]);
}

#[test]
fn servers_that_are_not_what_the_configuration_says() {
    let refused = [("smtp-reply", json!({"step": "ehlo", "reply": "501 5.5.4 Invalid domain name"}))];
    play(&[
        Broken {
            title: "a name in EHLO that is refused",
            faults: &refused,
            wanted: &[
                Wanted {
                    check: "ehlo",
                    advice: "ehlo-name",
                    what: "EHLO relay.sandbox.example",
                    fix: "`hostname`",
                    ..Wanted::default()
                },
                Wanted { check: "login", status: "not-checked", ..Wanted::default() },
            ],
            ..Broken::default()
        },
        Broken {
            title: "implicit TLS on a port for STARTTLS",
            edits: &[("tls = \"starttls\"", "tls = \"implicit\"")],
            wanted: &[Wanted { check: "server-tls", advice: "tls-not-spoken", fix: "starttls to 587", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "STARTTLS on a port for implicit TLS",
            personality: "google",
            edits: &[("tls = \"implicit\"", "tls = \"starttls\"")],
            wanted: &[Wanted { check: "greeting", advice: "server-silent", fix: "465", ..Wanted::default() }],
            ..Broken::default()
        },
        Broken {
            title: "a private CA that is not named",
            without: &["ca-file"],
            wanted: &[
                Wanted { check: "token", status: "ok", ..Wanted::default() },
                Wanted {
                    check: "server-tls",
                    advice: "tls-untrusted-issuer",
                    what: "outlink sandbox CA",
                    fix: "`ca-file` of link sandbox",
                    ..Wanted::default()
                },
            ],
            ..Broken::default()
        },
        Broken {
            title: "Google's server for a link of Microsoft",
            edits: &[("server = \"127.0.0.1:", "server = \"smtp.gmail.com.invalid:")],
            wanted: &[Wanted {
                check: "server-name",
                advice: "",
                what: "smtp.gmail.com.invalid",
                fix: "server",
                ..Wanted::default()
            }],
            ..Broken::default()
        },
    ]);
}
