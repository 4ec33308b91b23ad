//! nginx as a reverse proxy: TLS outside, the daemon's HTTP listener behind it.

use super::{Program, SOON, free_port};
use std::{fs, net::SocketAddr, path::Path, process::Command};

/// A name that leads nowhere but in the test's browser.
pub(crate) const HOST: &str = "relay.example.com";

/// A running nginx; ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    _program: Program,
}

impl Proxy {
    /// Before `upstream`, with `cert.pem` and `key.pem` of `directory`.
    pub(crate) fn start(directory: &Path, upstream: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let prefix = directory.join("nginx");
        fs::create_dir(&prefix).expect("it can be made");
        let template = include_str!("../clients/nginx.conf");
        let filled = [
            ("{prefix}", prefix.display().to_string()),
            ("{certificates}", directory.display().to_string()),
            ("{listen}", address.to_string()),
            ("{host}", HOST.to_owned()),
            ("{upstream}", upstream.to_string()),
        ];
        let text = filled.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
        fs::write(prefix.join("nginx.conf"), text).expect("it can be written");
        // A user's path often leaves out where it is.
        let places = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let program = places.into_iter().find(|place| Path::new(place).is_file()).unwrap_or("nginx");
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(&prefix).arg("-c").arg(prefix.join("nginx.conf"));
        let program = Program::start(command);
        // Said after its sockets listen.
        program.logged("getrlimit", SOON);
        Self { address, _program: program }
    }
}
