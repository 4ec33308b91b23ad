//! Which listener lets an app in by what proves it; else why not, and what would. Pure.

use super::settings::{App, Auth, Bind, Listener, ListenerTls};
use ipnet::IpNet;

/// What proves an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Password,
    Certificate,
    User,
    Network(&'a IpNet),
}

/// Why a listener is of no use for a proof, and what in it would have to change; without that, another listener is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) why: String,
    pub(crate) mend: Option<String>,
}

impl Closed {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), mend: None }
    }

    fn mended(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// All that proves it.
pub(crate) fn shown(app: &App, has_password: bool) -> Vec<Shown<'_>> {
    let password = has_password.then_some(Shown::Password);
    let certificate = (!app.certificates.is_empty()).then_some(Shown::Certificate);
    let user = (!app.unix_users.is_empty()).then_some(Shown::User);
    password.into_iter().chain(certificate).chain(user).chain(app.networks.iter().map(Shown::Network)).collect()
}

/// One address without its length.
pub(crate) fn short(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// Whether a listener takes a proof.
pub(crate) fn lets_in(listener: &Listener, shown: Shown<'_>) -> Result<(), Closed> {
    let asks = || Closed::new("it asks for a password (auth = \"required\")").mended("write auth = \"optional\"");
    let is_socket = matches!(listener.bind, Bind::Unix(_));
    match shown {
        Shown::Password if listener.auth == Auth::None => {
            Err(Closed::new("it takes no passwords (auth = \"none\")").mended("write auth = \"optional\""))
        }
        Shown::Password if is_clear(listener) && !listener.networks.iter().any(is_loopback) => {
            let why = "it takes no passwords from other machines without encryption";
            Err(Closed::new(why).mended("write tls = \"starttls\" with `certificate` and `key`, or allow-plaintext-auth = true"))
        }
        Shown::Password => Ok(()),
        Shown::Certificate if listener.tls.files().is_none_or(|files| files.client_ca.is_none()) => {
            let has_tls = listener.tls != ListenerTls::Off;
            let mend = has_tls.then(|| "write client-ca = \"FILE\" and auth = \"optional\"".to_owned());
            Err(Closed { why: "it asks for no client certificates (tls, client-ca)".to_owned(), mend })
        }
        Shown::User if !is_socket && !matches!(listener.bind, Bind::Passed(_)) => Err(Closed::new("it is no Unix socket")),
        Shown::Network(network) => reaches(listener, network).and_then(|()| match listener.auth {
            Auth::Required => Err(asks()),
            Auth::Optional | Auth::None => Ok(()),
        }),
        Shown::Certificate | Shown::User if listener.auth == Auth::Required => Err(asks()),
        Shown::Certificate | Shown::User => Ok(()),
    }
}

/// Whether somebody in `network` can connect.
fn reaches(listener: &Listener, network: &IpNet) -> Result<(), Closed> {
    let is_proxied = !listener.proxy_protocol_from.is_empty();
    let bind = format!("bind = \"{}\"", listener.bind);
    match &listener.bind {
        Bind::Unix(_) => return Err(Closed::new("it is a Unix socket, which nobody reaches from an address")),
        // A load balancer tells of other machines alone.
        Bind::Tcp(_) | Bind::Passed(_) if is_proxied && is_loopback(network) => {
            return Err(Closed::new("behind a load balancer a loopback address proves no app"));
        }
        Bind::Tcp(_) if is_proxied => {}
        Bind::Tcp(address) if address.is_ipv4() != matches!(network, IpNet::V4(_)) => {
            return Err(Closed::new(format!("{bind} is of the other address family")));
        }
        Bind::Tcp(_) if listener.bind.is_local() && !is_loopback(network) => {
            return Err(Closed::new(format!("{bind} is reached from this machine alone")));
        }
        Bind::Tcp(address) if is_loopback(network) && !address.ip().is_loopback() && !address.ip().is_unspecified() => {
            return Err(Closed::new(format!("{bind} is not reached from loopback addresses")));
        }
        Bind::Tcp(_) | Bind::Passed(_) => {}
    }
    match listener.networks.iter().any(|allowed| allowed.contains(network) || network.contains(allowed)) {
        true => Ok(()),
        false => {
            let network = short(network);
            Err(Closed::new(format!("its `networks` do not let {network} connect"))
                .mended(format!("add \"{network}\" to networks")))
        }
    }
}

/// Whether passwords would come in clear text from other machines, from which they are not taken.
pub(crate) fn is_clear(listener: &Listener) -> bool {
    let is_local = listener.bind.is_local() && listener.proxy_protocol_from.is_empty();
    listener.tls == ListenerTls::Off && !listener.allow_plaintext_auth && !is_local
}

pub(crate) fn is_loopback(network: &IpNet) -> bool {
    network.addr().is_loopback()
}
