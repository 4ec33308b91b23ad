//! The systemd unit stays hardened: its exposure, as systemd itself counts it, is at most 1.5 of 10.

use std::{collections::BTreeSet, fs, process::Command};

/// All system calls that systemd knows by this name: a set, or one call.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return [name.to_owned()].into();
    }
    let run =
        Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output().expect("systemd-analyze runs");
    let text = String::from_utf8(run.stdout).expect("names");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#') && *line != name);
    lines.flat_map(|line| if line.starts_with('@') { calls(line) } else { [line.to_owned()].into() }).collect()
}

/// The program of a hook is started by the service itself, under its filter of system calls.
#[test]
fn a_hooks_command_may_run_under_the_unit() {
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/outlink.service")).expect("the unit");
    let filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let mut allowed = calls("@default");
    for filter in filters {
        for name in filter.trim_start_matches('~').split_whitespace() {
            match filter.starts_with('~') {
                true => allowed = allowed.difference(&calls(name)).cloned().collect(),
                false => allowed.extend(calls(name)),
            }
        }
    }
    assert!(!allowed.contains("setuid") && !allowed.contains("chown"), "the filter was not read: {allowed:?}");
    // What tokio and the C library need to start a program in a group of its own, to talk with it, to await it and to kill it.
    for call in ["clone", "clone3", "vfork", "execve", "setpgid", "pipe2", "dup2", "pidfd_open", "wait4", "waitid", "kill"] {
        assert!(allowed.contains(call), "{call} is not allowed: a hook's command cannot run");
    }
}

#[test]
fn the_service_is_hardened() {
    let run = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15", "systemd/outlink.service"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("systemd-analyze is missing: the Debian package systemd brings it, and `make test` installs it");
    let report = String::from_utf8_lossy(&run.stdout);
    assert!(report.contains("Overall exposure level"), "no report: {}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "exposure above 1.5:\n{report}");
}
