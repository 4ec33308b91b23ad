//! A person and a browser: `outlink authorize` begun, the provider's page answered, redirects followed by hand.

use super::{Program, SOON, outlink, story::Story};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};
use url::Url;

pub(crate) const ME: &str = "robot@sandbox.example";

/// What a browser got.
pub(crate) struct Page {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> Url {
        let line =
            self.head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
        let (_, to) = line.unwrap_or_else(|| panic!("no redirect: {} {}\n{}", self.status, self.head, self.body));
        Url::parse(to).expect("a redirect is a URL")
    }
}

/// Asks as a browser does, without following redirects.
pub(crate) fn browse(method: &str, url: &Url, body: &str) -> Page {
    let port = url.port_or_known_default().expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap_or_else(|e| panic!("{url}: {e}"));
    stream.set_read_timeout(Some(SOON * 2)).expect("a time-out can be set");
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("{url}: {e}"));
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Page { status, head: head.to_owned(), body: body.to_owned() }
}

/// `outlink authorize`, begun.
pub(crate) struct Login {
    pub(crate) program: Program,
    pub(crate) begun: Value,
}

impl Login {
    pub(crate) fn begin(story: &Story, options: &[&str]) -> Self {
        let mut command = outlink();
        command.args(["authorize", "sandbox", "--json", "--config"]).arg(&story.config).args(options);
        let mut program = Program::start(command);
        let begun = program.event("authorize", SOON);
        Self { program, begun }
    }

    pub(crate) fn url(&self) -> Url {
        Url::parse(self.begun["url"].as_str().expect("an address")).expect("a URL")
    }

    /// Signs in at the provider and presses `decision`; where the browser is sent then.
    pub(crate) fn decide(&self, decision: &str) -> Url {
        browse("POST", &self.url(), &format!("decision={decision}&account={}", ME.replace('@', "%40"))).location()
    }

    /// The last line for programs, and the exit status.
    pub(crate) fn end(mut self, event: &str) -> (Value, Option<i32>) {
        let last = self.program.event(event, SOON * 2);
        (last, self.program.ended().0)
    }
}

/// Where the browser is in which a person signs in.
#[derive(Clone, Copy)]
pub(crate) enum Browser {
    Here,
    /// It cannot come back: what its address bar shows is pasted.
    Elsewhere,
    /// The person types the code of a device there.
    ByCode,
}

impl Browser {
    /// Does what `outlink authorize` tells people, and allows; gives the exit status and what was printed.
    pub(crate) fn allows(self, mut program: Program, account: &str) -> (Option<i32>, String) {
        let form = format!("decision=allow&account={}", account.replace('@', "%40"));
        program.printed("sign in as", SOON);
        if let Self::ByCode = self {
            let said = program.output();
            let page = said.split_whitespace().find(|word| word.starts_with("http")).expect("an address");
            let code = said.lines().skip_while(|line| !line.contains("enter the code")).nth(2).expect("a code").trim();
            let page = browse("POST", &Url::parse(page).expect("a URL"), &format!("user_code={code}&{form}"));
            assert_eq!(page.status, 200, "{}", page.body);
            return program.ended();
        }
        let line = program.printed("/authorize?", SOON);
        let back = browse("POST", &Url::parse(line.trim()).expect("the address has a line of its own"), &form).location();
        match self {
            Self::Elsewhere => program.tell(back.as_str()),
            _ => {
                let page = browse("GET", &back, "");
                assert_eq!(page.status, 200, "{}", page.body);
            }
        }
        program.ended()
    }
}

/// The stored grant's origin and account, as the store has them.
pub(crate) fn grant(story: &Story) -> Option<(String, Option<String>)> {
    let database = rusqlite::Connection::open(story.directory.path().join("state/outlink.db")).expect("the database");
    database.query_row("SELECT origin, account FROM grants", [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}
