//! Tests that mount: in a mount namespace of their own (`unshare`), for which none needs to be root and which leaves nothing behind.

use super::{LONG, SOON, run};
use std::{env, process::Command};

/// Set where the test runs in a namespace of its own.
const INSIDE: &str = "OUTLINK_OWN_MOUNTS";

/// Whether this process may mount. If not, runs the test `name` in a process that may, and checks that it passes.
pub(crate) fn may_mount(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut inside = Command::new("unshare");
    inside.arg("-rm").arg(env::current_exe().expect("this program")).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let output = run(inside, b"", LONG);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "in a mount namespace of its own (`unshare -rm`):\n{said}");
    false
}

/// mount(8).
pub(crate) fn mount(words: &[&str]) {
    let mut mount = Command::new("mount");
    mount.args(words);
    let output = run(mount, b"", SOON);
    assert!(output.status.success(), "mount {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
