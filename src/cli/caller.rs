//! Who runs a command: kept with the grants that it brings.

use std::os::unix::fs::MetadataExt;

/// Who runs this: the name of the Unix user, or who called sudo.
pub(super) fn name() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_user = |line: &&str| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(uid));
    let user = users.lines().find(is_user).and_then(|line| line.split(':').next()).map(str::to_owned);
    let caller = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
    caller.or(user).or_else(|| Some(uid.to_string()))
}
