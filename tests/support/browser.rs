//! A person with a browser: Chromium, driven through the provider's pages by `tests/clients/browser.mjs`.

use super::{Program, SOON, proxy};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::Command};

/// Who goes there, and what for.
pub(crate) struct Person<'a> {
    pub(crate) account: &'a str,
    /// `allow` or `deny`.
    pub(crate) answer: &'a str,
    /// What a device shows.
    pub(crate) code: Option<&'a str>,
    /// Where the name of the proxy leads.
    pub(crate) proxy: Option<SocketAddr>,
    /// A host and port of the machine that the browser is not on: nobody answers there.
    pub(crate) elsewhere: Option<&'a str>,
    /// Whether the address bar is read with the secrets in it.
    pub(crate) whole: bool,
}

impl Person<'_> {
    /// One who allows.
    pub(crate) fn allowing(account: &str) -> Person<'_> {
        Person { account, answer: "allow", code: None, proxy: None, elsewhere: None, whole: false }
    }

    /// Opens `url` and goes on to the last page: its `url`, `text`, and whether it was `unreachable`. `directory` has `cert.pem` of the
    /// proxy, and takes the browser's own directory.
    pub(crate) fn visits(&self, url: &str, directory: &Path) -> Value {
        let home = tempfile::tempdir_in(directory).expect("a directory for the browser");
        let mut hosts = serde_json::Map::new();
        hosts.extend(self.elsewhere.map(|place| (place.to_owned(), json!("127.0.0.1:1"))));
        hosts.extend(self.proxy.map(|place| (proxy::HOST.to_owned(), json!(place.to_string()))));
        let order = json!({
            "url": url, "directory": home.path(), "account": self.account, "answer": self.answer, "code": self.code,
            "hosts": hosts, "certificate": directory.join("cert.pem"), "whole": self.whole,
        });
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/browser.mjs")).arg(order.to_string());
        let mut browser = Program::start(command);
        let landed = browser.event("landed", SOON * 3);
        let (status, output) = browser.ended();
        assert_eq!(status, Some(0), "{output}");
        landed
    }
}
