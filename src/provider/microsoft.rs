//! Microsoft's clouds: where each one logs in and submits mail, and which scopes it knows.
//!
//! The SMTP hosts and scopes of GCC High, DoD and China rest on one secondary source each; configuration can override them.

use super::Cloud;

/// The scope without which Entra gives no refresh token.
pub(super) const OFFLINE: &str = "offline_access";

/// What differs from cloud to cloud.
pub(super) struct Addresses {
    /// Entra's host.
    pub(super) login: &'static str,
    /// SMTP submission, STARTTLS; Exchange Online offers no 465.
    pub(super) server: &'static str,
    /// Scope of a person's consent. GCC is given office365.com, the worldwide cloud office.com, as Atlassian's page has it.
    pub(super) delegated: &'static str,
    /// Scope of client credentials. Worldwide it is office365.com: a token for `outlook.office.com/.default` gets `535 5.7.3`.
    pub(super) application: &'static str,
    /// Hosts whose scopes this cloud takes.
    pub(super) hosts: &'static [&'static str],
    /// How messages to people name it.
    pub(super) name: &'static str,
}

/// The addresses of one cloud.
pub(super) const fn cloud(cloud: Cloud) -> &'static Addresses {
    match cloud {
        Cloud::Global => &GLOBAL,
        Cloud::Gcc => &GCC,
        Cloud::GccHigh => &GCC_HIGH,
        Cloud::Dod => &DOD,
        Cloud::China => &CHINA,
        Cloud::Consumer => &CONSUMER,
    }
}

/// The cloud whose Outlook resource `host` is, by its configuration value; `None` for a host of no cloud.
pub(super) fn cloud_of(host: &str) -> Option<&'static str> {
    [&GLOBAL, &GCC_HIGH, &DOD, &CHINA].into_iter().find(|known| known.hosts.contains(&host)).map(|known| known.name)
}

const WORLDWIDE: &[&str] = &["outlook.office.com", "outlook.office365.com"];

static GLOBAL: Addresses = Addresses {
    login: "login.microsoftonline.com",
    server: "smtp.office365.com:587",
    delegated: "https://outlook.office.com/SMTP.Send",
    application: "https://outlook.office365.com/.default",
    hosts: WORLDWIDE,
    name: "global",
};

static GCC: Addresses = Addresses {
    login: "login.microsoftonline.com",
    server: "smtp.office365.com:587",
    delegated: "https://outlook.office365.com/SMTP.Send",
    application: "https://outlook.office365.com/.default",
    hosts: WORLDWIDE,
    name: "gcc",
};

static GCC_HIGH: Addresses = Addresses {
    login: "login.microsoftonline.us",
    server: "smtp.office365.us:587",
    delegated: "https://outlook.office365.us/SMTP.Send",
    application: "https://outlook.office365.us/.default",
    hosts: &["outlook.office365.us"],
    name: "gcc-high",
};

static DOD: Addresses = Addresses {
    login: "login.microsoftonline.us",
    server: "outlook-dod.office365.us:587",
    delegated: "https://outlook.office365.us/SMTP.Send",
    application: "https://outlook.office365.us/.default",
    // Some installations use the second one.
    hosts: &["outlook.office365.us", "webmail.apps.mil"],
    name: "dod",
};

static CHINA: Addresses = Addresses {
    login: "login.partner.microsoftonline.cn",
    server: "smtp.partner.outlook.cn:587",
    delegated: "https://partner.outlook.cn/SMTP.Send",
    application: "https://partner.outlook.cn/.default",
    hosts: &["partner.outlook.cn"],
    name: "china",
};

static CONSUMER: Addresses = Addresses {
    login: "login.microsoftonline.com",
    server: "smtp-mail.outlook.com:587",
    delegated: "https://outlook.office.com/SMTP.Send",
    application: "https://outlook.office365.com/.default",
    hosts: WORLDWIDE,
    name: "consumer",
};
