//! The systemd unit stays hardened: its exposure, as systemd itself counts it, is at most 1.5 of 10.

use std::process::Command;

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
