//! The pages that a person sees in the browser: plain HTML without scripts, so that a headless browser and curl can use them too.

use axum::{
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

/// `text` inside HTML, in an attribute's double quotes too.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(character),
        }
    }
    out
}

/// A whole page; `body` is HTML.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body{{font:1rem/1.5 sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}}</style>\n\
         <h1>{title}</h1>\n{body}</html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    (status, headers, html).into_response()
}

/// A page that says what is wrong.
pub(super) fn wrong(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, title, &format!("<p>{}</p>\n", escaped(text)))
}

/// A page that asks for an account and an answer. `more` is HTML inside the form.
pub(super) fn question(title: &str, action: &str, (client, scope, account): (&str, &str, &str), more: &str) -> Response {
    let scopes: String = scope.split_whitespace().map(|word| format!("<li>{}</li>\n", escaped(word))).collect();
    let wish = match scope {
        "" => String::new(),
        _ => format!("<p>The application <b>{}</b> asks for:</p>\n<ul>\n{scopes}</ul>\n", escaped(client)),
    };
    let body = format!(
        "<p>This is a provider that <code>outlink sandbox</code> plays; nobody is asked for a password.</p>\n{wish}\
         <form method=\"post\" action=\"{}\">\n{more}\
         <p><label>Account <input name=\"account\" type=\"email\" required size=\"40\" value=\"{}\"></label></p>\n\
         <p><button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button name=\"decision\" value=\"deny\" formnovalidate>Deny</button></p>\n</form>\n",
        escaped(action),
        escaped(account)
    );
    page(StatusCode::OK, title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_request_becomes_markup() {
        assert_eq!(escaped("<a b=\"c\" d='e'>&amp;"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;");
    }
}
