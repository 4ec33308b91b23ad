//! Postfix as a relay to the simulated provider: an instance of its own in a temporary directory, beside whatever else the machine has.
//!
//! It is set up as well as its manual knows: limits of concurrency and processes raised, connections to the provider and their TLS used
//! again, no look-ups by DNS. Its syncs stay as Debian has them. TLS and login at the provider are as outlink's, with PLAIN.

use super::support::{Program, SOON, free_port, run};
use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// The provider as a relay sees it.
pub(crate) struct Provider<'a> {
    pub(crate) smtp: SocketAddr,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) ca: &'a Path,
    /// Connections to it at most.
    pub(crate) connections: usize,
}

/// A running instance; stopped when it is dropped.
pub(crate) struct Postfix {
    directory: tempfile::TempDir,
    /// `postfix start-fg`, which ends with the master.
    _script: Program,
    pub(crate) smtp: SocketAddr,
    /// The master's process.
    pub(crate) id: u32,
}

/// Why there is no Postfix to compare with, if there is none.
pub(crate) fn missing() -> Option<&'static str> {
    let found = Command::new("postconf").args(["-d", "mail_version"]).output().is_ok_and(|output| output.status.success());
    match (found, is_root()) {
        (true, true) => None,
        (false, _) => Some("Postfix is not installed (`scripts/install-postfix`): its rows are left out"),
        (true, false) => Some("only root can start an instance of Postfix: its rows are left out"),
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

impl Postfix {
    /// Starts it with its queue below `place`, and waits until it answers.
    pub(crate) fn start(place: &Path, provider: &Provider<'_>) -> Self {
        let directory = tempfile::Builder::new().prefix("outlink-postfix-").tempdir_in(place).expect("a temporary directory");
        // Its processes run as another user.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let port = free_port();
        let settings = directory.path().join("etc");
        fs::create_dir(directory.path().join("queue")).expect("it is ours");
        fs::create_dir(&settings).expect("it is ours");
        fs::copy(provider.ca, settings.join("ca.pem")).expect("the provider wrote it");
        fs::write(settings.join("main.cf"), main_cf(directory.path(), provider)).expect("it is ours");
        fs::write(settings.join("master.cf"), master_cf(port)).expect("it is ours");
        let mut command = Command::new("postfix");
        command.arg("-c").arg(settings).arg("start-fg");
        let script = Program::start(command);
        let smtp = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(smtp).is_err() {
            assert!(Instant::now() < deadline, "Postfix does not answer within {SOON:?}:\n{}", script.output());
            // No event tells that it listens.
            std::thread::sleep(Duration::from_millis(20));
        }
        let id = fs::read_to_string(directory.path().join("queue/pid/master.pid")).expect("a running master wrote it");
        Self { _script: script, smtp, id: id.trim().parse().expect("a process id"), directory }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let mut command = Command::new("timeout");
        command.args(["20", "postfix", "-c"]).arg(self.directory.path().join("etc")).arg("stop");
        run(command, b"", SOON);
    }
}

fn main_cf(directory: &Path, provider: &Provider<'_>) -> String {
    let directory = directory.display();
    let Provider { smtp, user, password, connections, .. } = provider;
    format!(
        "compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/maillog
maillog_file_prefixes = /
myhostname = relay.sandbox.example
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
default_process_limit = 400
in_flow_delay = 0
message_size_limit = 52428800
smtp_dns_support_level = disabled
smtp_host_lookup = native
relayhost = [{ip}]:{port}
default_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:{user}:{password}
smtp_sasl_mechanism_filter = plain
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_CAfile = {directory}/etc/ca.pem
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:{directory}/data/smtp_sessions
smtp_connection_cache_destinations = [{ip}]:{port}
smtp_connection_cache_time_limit = 60s
",
        ip = smtp.ip(),
        port = smtp.port(),
    )
}

/// What a relay needs, without chroot.
fn master_cf(port: u16) -> String {
    let mut text = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    for service in [
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "verify unix - - n - 1 verify",
        "flush unix n - n 1000? 0 flush",
        "proxymap unix - - n - - proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "tlsproxy unix - - n - 0 tlsproxy",
        "postlog unix-dgram n - n - 1 postlogd",
    ] {
        let _ = writeln!(text, "{service}");
    }
    text
}
