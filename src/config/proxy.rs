//! `proxy`, `proxy-user`, `proxy-password`: the way to a link's endpoints.

use super::{
    secrets,
    settings::Proxy,
    table::{Table, Wrong},
    words,
};
use url::Url;

/// How a proxy is written.
const EXAMPLE: &str = "write \"http://proxy.example.com:3128\", or \"none\" to use no proxy at all";

/// Takes the keys; without `proxy` the environment decides.
pub(super) fn take(table: &mut Table<'_>) -> Proxy {
    let chosen = table.parsed("proxy", |text| match text {
        "none" => Ok(Proxy::None),
        _ => url(text).map(|url| Proxy::Url { url, user: None, password: None }),
    });
    let companions = ["proxy-user", "proxy-password"].map(|key| table.has(key).then_some(key));
    let user = table.parsed("proxy-user", user);
    let password = secrets::take(table, "proxy-password");
    match chosen {
        Some(Proxy::Url { url, .. }) => {
            if let [None, Some(key)] = companions {
                table.fault(key, Wrong::new("a proxy that wants a password wants a user", "add proxy-user"));
            }
            Proxy::Url { url, user, password }
        }
        other => {
            for key in companions.into_iter().flatten() {
                table.fault(key, Wrong::new("there is no proxy that this would be for", EXAMPLE));
            }
            other.unwrap_or_default()
        }
    }
}

/// Reads a proxy's URL. Credentials have keys of their own, because a URL ends up in logs.
fn url(text: &str) -> Result<Url, Wrong> {
    // What stands before an @ may be a password, so it is not repeated.
    let shown = if text.contains('@') { "this".to_owned() } else { format!("`{text}`") };
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("{shown} is no URL: {error}"), EXAMPLE))?;
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "write them as proxy-user and proxy-password = { file = \"/path\" }";
        return Err(Wrong::new("a user name or password stands in this URL", hint));
    }
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "http" | "https" if url.host().is_some() && plain => Ok(url),
        "http" | "https" => Err(Wrong::new(format!("{shown} has more in it than host and port"), EXAMPLE)),
        _ => Err(Wrong::new(format!("{shown} is no HTTP proxy"), EXAMPLE)),
    }
}

/// RFC 7617 §2: a user name has no colon in it.
fn user(text: &str) -> Result<String, Wrong> {
    match text.contains(':') {
        true => Err(Wrong::new("a user name has no colon in it", "the password goes to proxy-password")),
        false => words::word(text),
    }
}
