//! What providers say instead of a consent: in the browser's redirect, on their own page, to a device, or when the code is changed for
//! tokens. Each mailbox has a grant that works; a login that is refused tells why, and leaves it alone.

use super::{
    play::{Grant, Row, client, configuration, import, register},
    support::{
        Program, SOON,
        login::{Page, browse},
        outlink, run,
        story::{App, Story},
    },
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use url::Url;

/// Where a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the redirect.
    Redirect,
    /// On the provider's page: nothing comes back.
    Page,
    /// When the code is changed for tokens, or a device asks for them.
    Token,
    /// When a device asks for its code.
    Device,
    /// As [`Place::Token`], and it is no refusal: the login goes on.
    GoesOn,
}

use Place::{Device, GoesOn, Redirect, Token};

/// Where, `error`, Entra's number, the description, and the advice's name, or its words where a login has its own.
pub(crate) struct Refusal(Place, &'static str, u32, &'static str, &'static str);

pub(crate) const GOOGLE: &[Refusal] = &[
    Refusal(Redirect, "access_denied", 0, "", "google-access-denied"),
    Refusal(Redirect, "interaction_required", 0, "", "grant-ended"),
    Refusal(
        Place::Page,
        "admin_policy_enforced",
        0,
        "Access to your account data is restricted by policies.",
        "google-admin-policy",
    ),
    Refusal(Place::Page, "org_internal", 0, "This client is restricted to users within its organization.", "google-internal-app"),
    Refusal(Place::Page, "disallowed_useragent", 0, "You can't sign in from this screen.", "google-browser-needed"),
    Refusal(Place::Page, "deleted_client", 0, "The OAuth client was deleted.", "google-client-deleted"),
    Refusal(Place::Page, "disabled_client", 0, "The OAuth client was disabled.", "google-client-disabled"),
    Refusal(Place::Page, "invalid_client", 0, "The OAuth client was not found.", "google-client"),
    Refusal(
        Place::Page,
        "redirect_uri_mismatch",
        0,
        "You can't sign in because this app sent an invalid request.",
        "google-redirect",
    ),
    Refusal(
        Place::Page,
        "invalid_request",
        0,
        "device_id and device_name are required for private IP: http://192.168.1.2/",
        "google-private-address",
    ),
    Refusal(Place::Page, "invalid_scope", 0, "Some requested scopes were invalid.", "google-scope"),
    Refusal(Token, "invalid_grant", 0, "Bad Request", "google-grant-malformed"),
    Refusal(Token, "invalid_grant", 0, "Malformed auth code.", "google-grant-ended"),
    Refusal(Token, "invalid_client", 0, "Unauthorized", "google-client"),
    Refusal(Token, "invalid_request", 0, "client_secret is missing.", "google-secret-missing"),
    Refusal(Token, "redirect_uri_mismatch", 0, "Bad Request", "google-redirect"),
    Refusal(Token, "unauthorized_client", 0, "Unauthorized", "google-delegation"),
];

pub(crate) const MICROSOFT: &[Refusal] = &[
    Refusal(Redirect, "access_denied", 65_004, "User declined to consent to access the app.", "login-not-finished"),
    Refusal(
        Redirect,
        "consent_required",
        65_001,
        "The user or administrator has not consented to use the application.",
        "microsoft-consent-missing",
    ),
    Refusal(Redirect, "access_denied", 90_094, "An administrator must grant consent.", "microsoft-consent-missing"),
    Refusal(Redirect, "access_denied", 90_095, "An admin consent request is needed.", "microsoft-consent-missing"),
    Refusal(
        Redirect,
        "interaction_required",
        50_105,
        "The signed in user is not assigned to a role for the application.",
        "microsoft-user-not-assigned",
    ),
    Refusal(
        Redirect,
        "access_denied",
        53_003,
        "Access has been blocked by Conditional Access policies.",
        "microsoft-conditional-access",
    ),
    Refusal(Redirect, "login_required", 50_089, "Authentication failed due to flow token expired.", "microsoft-login-page-old"),
    Refusal(Redirect, "invalid_request", 50_020, "User account does not exist in tenant 'Sandbox'.", "microsoft-foreign-account"),
    Refusal(
        Redirect,
        "invalid_client",
        650_052,
        "The app is trying to access a service that your organization lacks a service principal for.",
        "microsoft-permission-missing",
    ),
    Refusal(Redirect, "invalid_resource", 650_057, "Invalid resource.", "microsoft-permission-missing"),
    Refusal(
        Redirect,
        "invalid_scope",
        70_011,
        "The provided value for the input parameter 'scope' is not valid.",
        "microsoft-scope",
    ),
    Refusal(Redirect, "unauthorized_client", 7_000_112, "Application is disabled.", "microsoft-app-disabled"),
    Refusal(
        Redirect,
        "temporarily_unavailable",
        90_033,
        "A transient error has occurred.",
        "start the login again in some minutes",
    ),
    Refusal(
        Place::Page,
        "invalid_request",
        50_011,
        "The redirect URI specified in the request does not match.",
        "microsoft-redirect",
    ),
    Refusal(
        Place::Page,
        "invalid_request",
        50_194,
        "Application is not configured as a multi-tenant application.",
        "microsoft-single-tenant",
    ),
    Refusal(Place::Page, "invalid_request", 90_002, "Tenant 'sandbox.example' not found.", "microsoft-tenant-not-found"),
    Refusal(
        Place::Page,
        "unauthorized_client",
        700_016,
        "Application was not found in the directory 'Sandbox'.",
        "microsoft-app-not-found",
    ),
    Refusal(Token, "invalid_client", 7_000_215, "Invalid client secret provided.", "microsoft-secret-wrong"),
    Refusal(Token, "invalid_client", 7_000_222, "The provided client secret keys are expired.", "microsoft-secret-expired"),
    Refusal(
        Token,
        "invalid_client",
        7_000_218,
        "The request body must contain 'client_assertion' or 'client_secret'.",
        "microsoft-secret-missing",
    ),
    Refusal(Token, "invalid_client", 700_025, "Client is public so neither should be presented.", "microsoft-public-client"),
    Refusal(Token, "invalid_grant", 54_005, "OAuth2 Authorization code was already redeemed.", "login-not-finished"),
    Refusal(Token, "invalid_grant", 70_008, "The provided authorization code has expired.", "microsoft-grant-ended"),
    Refusal(Token, "invalid_grant", 501_481, "The Code_Verifier does not match the code_challenge.", "microsoft-stale-login"),
    Refusal(Token, "invalid_grant", 50_011, "The reply address does not match.", "microsoft-redirect"),
    Refusal(
        Token,
        "invalid_grant",
        50_126,
        "Error validating credentials due to invalid username or password.",
        "microsoft-user-password",
    ),
];

pub(crate) const DEVICE: &[Refusal] = &[
    Refusal(
        Device,
        "unauthorized_client",
        700_016,
        "Application was not found in the directory 'Sandbox'.",
        "microsoft-app-not-found",
    ),
    Refusal(Device, "invalid_request", 90_002, "Tenant 'sandbox.example' not found.", "microsoft-tenant-not-found"),
    Refusal(
        Device,
        "invalid_client",
        7_000_218,
        "The request body must contain 'client_assertion' or 'client_secret'.",
        "microsoft-secret-missing",
    ),
    Refusal(
        GoesOn,
        "authorization_pending",
        70_016,
        "OAuth 2.0 device flow error. Authorization is pending.",
        "device-code-pending",
    ),
    Refusal(Token, "authorization_declined", 65_004, "User declined to consent to access the app.", "login-not-finished"),
    Refusal(Token, "bad_verification_code", 70_018, "Invalid verification code.", "device-code-ended"),
    Refusal(Token, "expired_token", 70_019, "Verification code expired.", "device-code-ended"),
    Refusal(
        Token,
        "access_denied",
        53_003,
        "Access has been blocked by Conditional Access policies.",
        "microsoft-conditional-access",
    ),
    Refusal(
        Token,
        "invalid_grant",
        530_036,
        "Access has been blocked by Conditional Access policies: device code flow.",
        "microsoft-device-code-blocked",
    ),
    Refusal(
        Token,
        "invalid_client",
        7_000_218,
        "The request body must contain 'client_assertion' or 'client_secret'.",
        "microsoft-secret-missing",
    ),
];

/// A provider, its daemon, and the table.
struct Stage<'a> {
    story: Story,
    daemon: Program,
    refusals: &'a [Refusal],
    by_device: bool,
}

/// Plays all refusals; fails with everything that was not as the table says.
pub(crate) fn play(personality: &str, options: &[&str], refusals: &[Refusal]) {
    let story = Story::with(personality, options, |text| text);
    let by_device = options.contains(&"device-code");
    let text = fs::read_to_string(&story.config).expect("it was written");
    let grant = if personality == "google" { Grant::Consent } else { Grant::Application };
    let text = configuration(&text, personality, &story, refusals.iter().map(|_| grant));
    fs::write(&story.config, text).expect("it can be written");
    register(&story, refusals.len());
    (0..refusals.len()).for_each(|at| import(&story, at));
    let daemon = story.start();
    let stage = Stage { story, daemon, refusals, by_device };
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for part in 0..4 {
            let (stage, wrong) = (&stage, &wrong);
            scope.spawn(move || {
                for at in (part..stage.refusals.len()).step_by(4) {
                    if let Err(complaint) = stage.refuse(at) {
                        let Refusal(place, error, number, ..) = stage.refusals[at];
                        wrong.lock().expect("nobody panicked").push(format!("{place:?} {error} {number}: {complaint}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nobody panicked");
    assert!(wrong.is_empty(), "{personality}: {} are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    let (status, output) = stage.daemon.stop();
    assert_eq!(status, Some(0), "{output}");
}

fn expect(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

impl Stage<'_> {
    /// Mail flows; a login is refused; mail flows; a login succeeds; mail flows.
    fn refuse(&self, at: usize) -> Result<(), String> {
        let Refusal(place, ..) = self.refusals[at];
        self.sends(at, "before")?;
        self.arm(at);
        let login = self.begin(at);
        match place {
            Device => self.ends(at, login)?,
            Place::Page => {
                let begun = authorize_event(login)?;
                let page = self.allows(at, &begun.1);
                let Refusal(_, error, _, description, _) = self.refusals[at];
                let plain = page.body.replace("&#39;", "'");
                expect(page.status >= 400 && plain.contains(error) && plain.contains(description), || {
                    format!("the page is {} {plain}", page.status)
                })?;
                self.explains(at, &plain)?;
                begun.0.signal("INT");
                let status = begun.0.ended().0;
                expect(status == Some(1), || format!("given up with {status:?}"))?;
            }
            Redirect | Token => {
                let begun = authorize_event(login)?;
                let page = self.answers(at, &begun.1);
                expect(self.by_device || page.status == 400, || format!("the browser got {} {}", page.status, page.body))?;
                self.ends(at, begun.0)?;
            }
            GoesOn => self.succeeds(at, login)?,
        }
        self.sends(at, "after the refusal")?;
        let login = self.begin(at);
        self.succeeds(at, login)?;
        self.sends(at, "after the login")
    }

    fn arm(&self, at: usize) {
        let Refusal(place, error, number, description, _) = self.refusals[at];
        let mut setting = json!({ "error": error, "times": 1 });
        if !description.is_empty() {
            setting["description"] = description.into();
        }
        if number > 0 {
            setting["aadsts"] = number.into();
        }
        match self.by_device {
            true => setting["client"] = client(at).into(),
            false => setting["mailbox"] = Row::address(at).into(),
        }
        let fault = match place {
            Redirect | Place::Page => "authorize-refused",
            Token | GoesOn => "token-refused",
            Device => "device-refused",
        };
        self.story.fault(fault, &setting);
    }

    fn begin(&self, at: usize) -> Program {
        let mut command = outlink();
        command.args(["authorize", &Row::name(at), "--json", "--config"]).arg(&self.story.config);
        Program::start(command)
    }

    /// The person signs in and allows; what the provider answers.
    fn allows(&self, at: usize, begun: &Value) -> Page {
        let form = format!("decision=allow&account={}", Row::address(at).replace('@', "%40"));
        let text = |key: &str| begun[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {begun}"));
        let (key, form) = match self.by_device {
            true => ("verification_uri", format!("user_code={}&{form}", text("user_code"))),
            false => ("url", form),
        };
        browse("POST", &Url::parse(text(key)).expect("a URL"), &form)
    }

    /// The same, and the browser goes where it is sent.
    fn answers(&self, at: usize, begun: &Value) -> Page {
        let page = self.allows(at, begun);
        if self.by_device { page } else { browse("GET", &page.location(), "") }
    }

    fn succeeds(&self, at: usize, login: Program) -> Result<(), String> {
        let (mut login, begun) = authorize_event(login)?;
        self.answers(at, &begun);
        let last = login.event("done", SOON);
        let status = login.ended().0;
        expect(status == Some(0) && last["login"]["result"] == "accepted", || format!("the login ended with {status:?}: {last}"))
    }

    /// What a person copies out of the provider's page is known.
    fn explains(&self, at: usize, page: &str) -> Result<(), String> {
        let Refusal(.., name) = self.refusals[at];
        let copied = page.split("<p>").nth(1).and_then(|rest| rest.split("</p>").next()).unwrap_or_default();
        let mut command = outlink();
        command.args(["explain", "--json", "--mailbox", &Row::name(at), "--config"]).arg(&self.story.config).arg(copied);
        let output = run(command, b"", SOON);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        expect(output.status.code() == Some(0) && said["meanings"][0]["advice_name"] == name, || {
            format!("{copied:?} is explained by {:?} as {said}", output.status)
        })
    }

    /// The command ends as refused, with the advice, and the log says the same.
    fn ends(&self, at: usize, mut login: Program) -> Result<(), String> {
        let Refusal(place, error, _, _, name) = self.refusals[at];
        let last = login.event("failed", SOON);
        let status = login.ended().0;
        expect(status == Some(1) && last["why"] == "refused", || format!("ended with {status:?}: {last}"))?;
        // Up to the first name that is filled in.
        let cause = outlink::provider::advice_named(name).map_or(name, |entry| entry.cause.split('{').next().unwrap_or_default());
        let text = |value: &Value| {
            format!("{} {}", value["reason"].as_str().unwrap_or_default(), value["advice"].as_str().unwrap_or_default())
        };
        let is_told = |told: &str| told.contains(error) && told.contains(cause);
        expect(is_told(&text(&last)), || format!("{name} is not told: {last}"))?;
        if place == Device {
            return Ok(());
        }
        // The log comes by another pipe than the command's end.
        let deadline = Instant::now() + SOON;
        loop {
            let log = self.daemon.output();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut its = lines.filter(|line| line["event"] == "consent.refused" && line["mailbox"] == Row::name(at).as_str());
            if its.any(|line| is_told(&text(&line))) {
                return Ok(());
            }
            expect(Instant::now() < deadline, || format!("the log does not tell {name}"))?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn sends(&self, at: usize, when: &str) -> Result<(), String> {
        let said = App::login(self.story.relay, &Row::name(at), &self.story.password).send();
        expect(said.starts_with("250 "), || format!("{when}: {said}"))
    }
}

/// The login's first line for programs.
fn authorize_event(mut login: Program) -> Result<(Program, Value), String> {
    let begun = login.event("authorize", SOON);
    Ok((login, begun))
}
