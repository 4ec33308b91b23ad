//! `outlink doctor` on a set-up that is broken in one way: which finding names it, and with which words.

use super::{SOON, hunt::Hunt, outlink, run, story::Story};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// The longest that a person waits for one broken mailbox.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one run of the command said.
pub(crate) struct Examined {
    pub(crate) status: Option<i32>,
    pub(crate) findings: Vec<Value>,
    pub(crate) took: Duration,
    /// All of it, as JSON and as text for people.
    pub(crate) said: String,
}

/// Runs `outlink doctor --json` with these words and this environment.
pub(crate) fn examine(config: &Path, words: &[&str], environment: &[(String, String)]) -> Examined {
    let mut command = outlink();
    command.args(["doctor", "--json"]).args(words).arg("--config").arg(config);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let begun = Instant::now();
    let output = run(command, b"", SOON);
    let took = begun.elapsed();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}:\n{said}"));
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings: {said}")).clone();
    Examined { status: output.status.code(), findings, took, said }
}

impl Examined {
    /// The finding of this check.
    pub(crate) fn finding(&self, check: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no finding `{check}`:\n{}", self.said))
    }

    /// The checks that ended so.
    pub(crate) fn checks(&self, status: &str) -> Vec<&str> {
        let ended = self.findings.iter().filter(|finding| finding["status"] == status);
        ended.filter_map(|finding| finding["check"].as_str()).collect()
    }

    pub(crate) fn expect(&self, title: &str, wanted: &Wanted<'_>) {
        let Wanted { check, status, advice, what, why, fix } = wanted;
        let finding = self.finding(check);
        let text = |key: &str| finding[key].as_str().unwrap_or_default();
        let all = || format!("{title}:\n{finding:#}\n{}", self.said);
        assert_eq!(finding["status"], *status, "{}", all());
        assert!(advice.is_empty() || finding["advice_name"] == *advice, "advice {advice}? {}", all());
        for (key, word) in [("what", what), ("why", why), ("fix", fix)] {
            assert!(text(key).contains(word), "{key} without {word:?}: {}", all());
        }
        assert!(*status != "failed" || !text("fix").is_empty(), "no fix: {}", all());
        assert!(self.took < PATIENCE, "{title} took {:?}", self.took);
    }
}

/// What the finding has to be.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) check: &'a str,
    pub(crate) status: &'a str,
    /// The name of the advice; empty: any.
    pub(crate) advice: &'a str,
    pub(crate) what: &'a str,
    pub(crate) why: &'a str,
    pub(crate) fix: &'a str,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self { check: "", status: "failed", advice: "", what: "", why: "", fix: "" }
    }
}

/// A set-up that is broken in one way.
pub(crate) struct Broken<'a> {
    pub(crate) title: &'a str,
    pub(crate) personality: &'a str,
    /// Options of the sandbox.
    pub(crate) options: &'a [&'a str],
    /// Texts of the configuration and what takes their place; a whole line goes with `\n`.
    pub(crate) edits: &'a [(&'a str, &'a str)],
    /// A fault of the provider, and its setting.
    pub(crate) faults: &'a [(&'a str, Value)],
    /// Lines of the configuration that begin so are taken out.
    pub(crate) without: &'a [&'a str],
    /// What is written into the client's secret.
    pub(crate) secret: Option<&'a str>,
    /// Whether the grant is imported where there is one.
    pub(crate) import: bool,
    /// Words of the command.
    pub(crate) words: &'a [&'a str],
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) exit: i32,
    pub(crate) wanted: &'a [Wanted<'a>],
}

impl Default for Broken<'_> {
    fn default() -> Self {
        Self {
            title: "",
            personality: "microsoft",
            options: &[],
            edits: &[],
            faults: &[],
            without: &[],
            secret: None,
            import: true,
            words: &[],
            environment: Vec::new(),
            exit: 1,
            wanted: &[],
        }
    }
}

impl Broken<'_> {
    /// Sets it up.
    pub(crate) fn story(&self) -> Story {
        let edit = |text: String| {
            let kept = text.lines().filter(|line| !self.without.iter().any(|begin| line.starts_with(begin)));
            let text = kept.map(|line| format!("{line}\n")).collect::<String>();
            self.edits.iter().fold(text, |text, (from, to)| {
                assert!(text.contains(from), "{}: no {from:?} in\n{text}", self.title);
                text.replace(from, to)
            })
        };
        let story = Story::with(self.personality, self.options, edit);
        if self.import && story.directory.path().join("grant").exists() {
            story.import_grant();
        }
        if let Some(secret) = self.secret {
            fs::write(story.directory.path().join("client-secret"), secret).expect("it can be written");
        }
        for (fault, setting) in self.faults {
            story.fault(fault, setting);
        }
        story
    }

    /// Examines it, and checks what was said; also that nothing secret was.
    pub(crate) fn play(&self) {
        let story = self.story();
        let examined = examine(&story.config, self.words, &self.environment);
        assert_eq!(examined.status, Some(self.exit), "{}:\n{}", self.title, examined.said);
        assert!(!self.wanted.is_empty(), "{}: nothing is wanted", self.title);
        self.wanted.iter().for_each(|wanted| examined.expect(self.title, wanted));
        secrets(story.directory.path()).text(self.title, &examined.said);
    }
}

/// What must not be told of a story.
pub(crate) fn secrets(directory: &Path) -> Hunt {
    let files = ["client-secret", "grant", "service-account.json", "client-key.pem"];
    let found = files.iter().filter_map(|name| fs::read_to_string(directory.join(name)).ok());
    // Of a key file the long lines are the secret.
    let lines: Vec<String> = found.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    Hunt::new(lines.into_iter().filter(|line| line.len() >= 30 && !line.contains("http") && !line.contains("-----")))
}
