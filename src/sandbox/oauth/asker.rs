//! Who asks at an OAuth endpoint, as far as the request tells before anything of it is checked: whom a fault may strike.

use super::super::{Shared, faults::Who};
use super::{Form, jwt::Jwt};

/// The mailbox that a token is asked for, and the client that asks.
#[derive(Debug, Default)]
pub(super) struct Asker {
    mailbox: Option<String>,
    client: Option<String>,
}

impl Asker {
    /// Of a form: by refresh token, code, or a service account's assertion; an application's own token is for no mailbox.
    pub(super) fn of(shared: &Shared, form: &Form) -> Self {
        let field = |name: &str| form.get(name).map(String::as_str);
        let jwt = field("assertion").and_then(Jwt::read);
        let claim = |name| jwt.as_ref().map(|jwt| jwt.text(name).to_owned()).filter(|text| !text.is_empty());
        let hinted = || field("login_hint").map(str::to_owned);
        let mailbox = match (field("refresh_token"), field("code")) {
            (Some(token), _) => shared.tokens.mailbox(token),
            (None, Some(code)) => shared.codes.account(code),
            (None, None) => claim("sub").or_else(hinted),
        };
        Self { mailbox, client: field("client_id").map(str::to_owned).or_else(|| claim("iss")) }
    }

    pub(super) fn who(&self) -> Who<'_> {
        Who { mailbox: self.mailbox.as_deref(), client: self.client.as_deref() }
    }
}
