//! The sandbox over real loopback sockets: tokens, dialogues, faults.

use super::*;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const WAIT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Client(BufStream<Box<dyn Stream>>);

impl Client {
    async fn plain(address: SocketAddr) -> Self {
        Self(BufStream::new(Box::new(TcpStream::connect(address).await.unwrap())))
    }

    /// A client that has said EHLO under TLS.
    async fn secure(provider: &Provider) -> Self {
        let mut client = Self::plain(provider.smtp()).await;
        if !provider.shared.personality.implicit_tls {
            client.read().await;
            assert!(!client.ask("EHLO relay.example.com").await.contains("AUTH"), "no AUTH before TLS");
            assert!(client.ask("AUTH XOAUTH2").await.starts_with("530"));
            assert!(client.ask("STARTTLS").await.starts_with("220"));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, client.0.into_inner()).await.unwrap();
        let mut client = Self(BufStream::new(Box::new(stream)));
        if provider.shared.personality.implicit_tls {
            assert!(client.read().await.starts_with("220 smtp.gmail.com ESMTP"));
        }
        assert!(client.ask("EHLO relay.example.com").await.contains("AUTH"));
        client
    }

    /// A client that is logged in with a good token.
    async fn ready(provider: &Provider) -> Self {
        let mut client = Self::secure(provider).await;
        let token = provider.shared.tokens.issue(None, "c", access_scope(provider));
        assert!(client.xoauth2(ADDRESS, token.expose()).await.starts_with("235"));
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// One whole reply; empty when the connection has ended.
    async fn read(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let read = timeout(WAIT, self.0.read_line(&mut reply)).await.expect("a reply in time");
            if read.unwrap_or(0) == 0 || reply.as_bytes().get(start + 3) == Some(&b' ') {
                return reply;
            }
        }
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.read().await
    }

    async fn xoauth2(&mut self, user: &str, token: &str) -> String {
        assert_eq!(self.ask("AUTH XOAUTH2").await, "334 \r\n");
        self.ask(&STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))).await
    }

    /// Sends a message by DATA, each command on its own; the last reply.
    async fn message(&mut self, text: &str) -> String {
        for command in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<a@example.com>"] {
            let reply = self.ask(command).await;
            if !reply.starts_with("250") {
                return reply;
            }
        }
        assert!(self.ask("DATA").await.starts_with("354"));
        self.send(text.as_bytes()).await;
        self.ask(".").await
    }
}

fn access_scope(provider: &Provider) -> &'static str {
    match provider.shared.options.provider {
        provider::Provider::Microsoft => "https://outlook.office365.com/.default",
        other => scope_of_smtp(other),
    }
}

fn options(provider: provider::Provider) -> Options {
    Options { provider, smtp_port: 0, http_port: 0, ..Options::default() }
}

async fn start(provider: provider::Provider) -> Provider {
    Provider::start(options(provider)).await.unwrap()
}

const GOOGLE: provider::Provider = provider::Provider::Google;
const MICROSOFT: provider::Provider = provider::Provider::Microsoft;
const CUSTOM: provider::Provider = provider::Provider::Custom;

/// One HTTP request; status, head and body.
async fn http(provider: &Provider, method: &str, path: &str, body: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    let host = provider.http();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

async fn http_json(provider: &Provider, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = http(provider, method, path, body).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn ask_token(provider: &Provider, fields: &[(&str, &str)]) -> (u16, Value) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", provider.client_id()).append_pair("client_secret", provider.client_secret().expose());
    form.extend_pairs(fields);
    http_json(provider, "POST", "/token", &form.finish()).await
}

async fn refresh(provider: &Provider, token: &str) -> (u16, Value) {
    ask_token(provider, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

#[tokio::test]
async fn a_google_token_from_the_endpoint_logs_in_and_is_named_in_what_was_received() {
    let mut provider = start(GOOGLE).await;
    let grant = provider.refresh_token(ADDRESS);
    let (status, answer) = refresh(&provider, grant.expose()).await;
    assert_eq!((status, &answer["expires_in"], &answer["refresh_token"]), (200, &json!(3599), &Value::Null));
    let mut client = Client::secure(&provider).await;
    assert_eq!(client.xoauth2(ADDRESS, answer["access_token"].as_str().unwrap()).await, "235 2.7.0 Accepted\r\n");
    assert!(client.ask("AUTH XOAUTH2").await.starts_with("503 5.7.0 No identity changes permitted"));
    assert!(client.message("Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n").await.starts_with("250 2.0.0 OK  "));
    let received = provider.received().await.unwrap();
    assert_eq!((received.subject.as_str(), received.token.as_str(), received.number), ("hi", "access token #1", 1));
    assert_eq!((received.user.as_str(), received.to.as_slice()), (ADDRESS, &["a@example.com".to_owned()][..]));
    let stats = http_json(&provider, "GET", "/stats", "").await.1;
    assert_eq!((&stats["logins"], &stats["token_requests"], &stats["messages"]), (&json!(1), &json!(1), &json!(1)));
    provider.stop().await;
}

#[tokio::test]
async fn google_explains_a_refused_token_before_its_reply() {
    let provider = start(GOOGLE).await;
    let mut client = Client::secure(&provider).await;
    let challenge = client.xoauth2(ADDRESS, "ya29.nonsense").await;
    let json = STANDARD.decode(challenge.strip_prefix("334 ").unwrap().trim_end()).unwrap();
    assert_eq!(json, b"{\"status\":\"401\",\"schemes\":\"bearer mac\",\"scope\":\"https://mail.google.com/\"}\n");
    assert!(client.ask("").await.starts_with("535-5.7.8 Username and Password not accepted"));
    let long = STANDARD.encode(format!("user={ADDRESS}\x01auth=Bearer {}\x01\x01", "x".repeat(1024)));
    assert!(client.ask(&format!("AUTH XOAUTH2 {long}")).await.starts_with("555-5.5.2 Syntax error, command line too long"));
    let token = provider.shared.tokens.issue(Some(ADDRESS), "c", GOOGLE_SCOPE);
    let bearer = STANDARD.encode(format!("n,a={ADDRESS},\x01host=h\x01port=1\x01auth=Bearer {}\x01\x01", token.expose()));
    assert!(client.ask(&format!("AUTH OAUTHBEARER {bearer}")).await.starts_with("235"));
}

#[tokio::test]
async fn microsoft_refuses_a_token_at_once_and_rotates_refresh_tokens() {
    let provider = start(MICROSOFT).await;
    let mut client = Client::secure(&provider).await;
    assert!(client.ask("AUTH OAUTHBEARER").await.starts_with("504"));
    assert!(client.xoauth2(ADDRESS, "nonsense").await.starts_with("535 5.7.3 Authentication unsuccessful ["));
    assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("530 5.7.57 Client not authenticated"));
    let first = provider.refresh_token(ADDRESS);
    let (_, answer) = refresh(&provider, first.expose()).await;
    let second = answer["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh(&provider, first.expose()).await.0, 200, "the old one stays valid");
    assert_eq!(refresh(&provider, &second).await.0, 200);
    let inline = format!("user={ADDRESS}\x01auth=Bearer {}\x01\x01", answer["access_token"].as_str().unwrap());
    assert!(client.ask(&format!("AUTH XOAUTH2 {}", STANDARD.encode(inline))).await.starts_with("235 2.7.0"));
}

#[tokio::test]
async fn a_token_ends_when_the_clock_says_so() {
    let provider = start(MICROSOFT).await;
    let scope = ("scope", "https://outlook.office365.com/.default");
    let (_, answer) = ask_token(&provider, &[("grant_type", "client_credentials"), scope]).await;
    let token = answer["access_token"].as_str().unwrap();
    assert!(Client::secure(&provider).await.xoauth2("any@sandbox.example", token).await.starts_with("235"));
    assert_eq!(http(&provider, "PUT", "/clock", r#"{"advance_seconds": 3599}"#).await.0, 200);
    assert!(Client::secure(&provider).await.xoauth2("any@sandbox.example", token).await.starts_with("535 5.7.3"));
    assert_eq!(http_json(&provider, "PUT", "/clock", r#"{"now": "2030-01-01T00:00:00Z"}"#).await.0, 200);
    let now = http_json(&provider, "GET", "/clock", "").await.1;
    assert!(now["now"].as_str().unwrap().starts_with("2030-01-01T00:00:0"));
    assert_eq!(http(&provider, "PUT", "/clock", "{}").await.0, 400);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_have_the_providers_shape() {
    let form = |fields: &str| fields.to_owned();
    for (who, body, status, error, code) in [
        (GOOGLE, form("client_id=other&grant_type=refresh_token"), 401, "invalid_client", Value::Null),
        (GOOGLE, form("client_id=ID&grant_type=refresh_token"), 400, "invalid_request", Value::Null),
        (GOOGLE, form("client_id=ID&client_secret=no"), 401, "invalid_client", Value::Null),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=client_credentials"),
            400,
            "unsupported_grant_type",
            Value::Null,
        ),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x"),
            400,
            "invalid_grant",
            Value::Null,
        ),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x&scope=https://mail.google.com"),
            400,
            "invalid_scope",
            Value::Null,
        ),
        (MICROSOFT, form("client_id=other"), 400, "unauthorized_client", json!(700_016)),
        (MICROSOFT, form("client_id=ID"), 401, "invalid_client", json!(7_000_218)),
        (MICROSOFT, form("client_id=ID&client_secret=no"), 401, "invalid_client", json!(7_000_215)),
        (MICROSOFT, form("client_id=ID&client_secret=SECRET"), 400, "invalid_request", json!(900_144)),
        (MICROSOFT, form("client_id=ID&client_secret=SECRET&grant_type=password"), 400, "unsupported_grant_type", json!(70_003)),
        (
            MICROSOFT,
            form("client_id=ID&client_secret=SECRET&grant_type=client_credentials&scope=https://outlook.office.com/SMTP.Send"),
            400,
            "invalid_scope",
            json!(70_011),
        ),
        (CUSTOM, form("client_id=ID&client_secret=no"), 401, "invalid_client", Value::Null),
        (
            CUSTOM,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x"),
            400,
            "invalid_grant",
            Value::Null,
        ),
    ] {
        let provider = start(who).await;
        let body =
            body.replace("=ID", &format!("={}", provider.client_id())).replace("SECRET", provider.client_secret().expose());
        let (got, answer) = http_json(&provider, "POST", "/token", &body).await;
        assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{who} {answer}");
        assert_eq!(answer["error_codes"][0], code, "{who} {answer}");
        if who == MICROSOFT {
            assert!(answer["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")), "{answer}");
            assert!(answer["trace_id"].is_string() && answer["correlation_id"].is_string() && answer["timestamp"].is_string());
        }
    }
}

#[tokio::test]
async fn basic_client_authentication_works() {
    let provider = start(CUSTOM).await;
    let pair = STANDARD.encode(format!("{}:{}", provider.client_id(), provider.client_secret().expose()));
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    let body = "grant_type=client_credentials&scope=mail.send";
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {pair}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
}

#[tokio::test]
async fn a_message_is_kept_byte_for_byte_by_data_and_by_bdat() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let text = b"Subject: dots\r\n\r\n.one\r\n..two\r\n.\r\nlone\nlf\n.\ncr\r.\r\r\n\xff last";
    let stuffed = stuff(text);
    client.send(b"MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<a@example.com> X=1\r\nDATA\r\n").await;
    for code in ["250", "250", "354"] {
        assert!(client.read().await.starts_with(code));
    }
    client.send(&[&stuffed[..], b"\r\n.\r\nNOOP\r\n"].concat()).await;
    assert!(client.read().await.starts_with("250 2.0.0 OK  "));
    assert!(client.read().await.starts_with("250"), "what was pipelined behind the end is answered");
    // BDAT in two chunks, in one group with everything.
    let head = format!("MAIL FROM:<x@y>\r\nRCPT TO:<b@example.com>\r\nBDAT 5\r\n{}", std::str::from_utf8(&text[..5]).unwrap());
    let tail = [format!("BDAT {} LAST\r\n", text.len() - 5).as_bytes(), &text[5..], b"QUIT\r\n"].concat();
    client.send(&[head.as_bytes(), &tail].concat()).await;
    for code in ["250", "250", "250", "250 2.0.0 OK  ", "221"] {
        assert!(client.read().await.starts_with(code));
    }
    assert_eq!(http(&provider, "GET", "/received/1", "").await.2, [&text[..], b"\r\n"].concat());
    let (status, head, body) = http(&provider, "GET", "/received/2", "").await;
    assert_eq!((status, body.as_slice()), (200, &text[..]));
    assert!(head.contains("x-envelope-to: b@example.com"), "{head}");
    let envelope = http_json(&provider, "GET", "/received/1?envelope", "").await.1;
    assert_eq!(envelope["envelope"]["mail_parameters"], json!(["BODY=8BITMIME"]));
    assert_eq!(
        (&envelope["envelope"]["by"], &envelope["kept"], &envelope["envelope"]["tls"]),
        (&json!("DATA"), &json!(true), &json!(true))
    );
    assert_eq!(http_json(&provider, "GET", "/received", "").await.1.as_array().unwrap().len(), 2);
    assert_eq!(http(&provider, "DELETE", "/received", "").await.0, 204);
    assert_eq!(http(&provider, "GET", "/received/1", "").await.0, 404);
}

/// Stuffs dots at the beginnings of lines, a line being what CRLF ends.
fn stuff(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        if *byte == b'.' && (index == 0 || text[..index].ends_with(b"\r\n")) {
            out.push(b'.');
        }
        out.push(*byte);
    }
    out
}

#[tokio::test]
async fn large_messages_at_once_stay_within_the_bound() {
    let bound = 6 << 20;
    let provider = Provider::start(Options { accept_password: true, keep_bytes: bound, ..options(CUSTOM) }).await.unwrap();
    let text = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "x".repeat(998)).repeat(3000));
    let login = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{USER}\0{}", provider.password().expose())));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (address, text, login) = (provider.smtp_plain().unwrap(), text.clone(), login.clone());
        tasks.spawn(async move {
            let mut client = Client::plain(address).await;
            client.read().await;
            client.ask("EHLO x").await;
            assert!(client.ask(&login).await.starts_with("235"));
            assert!(client.message(&text).await.starts_with("250"));
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let stats = provider.stats();
    assert_eq!((&stats["messages"], &stats["bytes"]), (&json!(8), &json!(8 * text.len())));
    assert!(stats["kept_bytes"].as_u64().unwrap() <= bound as u64, "{stats}");
    assert!(provider.shared.mailroom.list().iter().all(|received| received.subject == "large"));
}

#[tokio::test]
async fn slow_replies_come_one_after_the_other() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    provider.switch_on(Fault::SlowReplies, Setting { milliseconds: Some(50), times: Some(3), ..Setting::default() });
    let begun = std::time::Instant::now();
    client.send(b"NOOP\r\nNOOP\r\nNOOP\r\n").await;
    for _ in 0..3 {
        assert!(client.read().await.starts_with("250"));
    }
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn bad_sequences_are_refused_and_a_refused_chunk_is_swallowed() {
    let provider = start(MICROSOFT).await;
    let mut client = Client::ready(&provider).await;
    assert!(client.ask("RCPT TO:<a@b>").await.starts_with("503"));
    assert!(client.ask("MAIL FROM: <a@b>").await.starts_with("501"));
    assert!(client.ask("MAIL FROM:<a@b> SIZE=157286401").await.starts_with("552 5.3.4"));
    assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("250"));
    assert!(client.ask("DATA").await.starts_with("503 5.5.2 Need rcpt"));
    client.send(b"BDAT 6 LAST\r\nQUIT\r\nRSET\r\n").await;
    assert!(client.read().await.starts_with("503"), "no recipient");
    assert!(client.read().await.starts_with("250 2.0.0 Resetting"), "its octets were no command");
    assert!(client.ask("VRFY x").await.starts_with("500 5.3.3 Unrecognized command 'VRFY'"));
}

#[tokio::test]
async fn every_fault_of_the_smtp_server_strikes_once_and_then_mail_flows() {
    for (fault, who, reply) in [
        (Fault::Auth535, MICROSOFT, "535 5.7.3"),
        (Fault::ExpiredToken, MICROSOFT, "535 5.7.3"),
        (Fault::SmtpAuthDisabled, MICROSOFT, "535 5.7.139"),
        (Fault::TooManyConnections, MICROSOFT, "432 4.3.2 Concurrent connections limit exceeded"),
        (Fault::TooManyLogins, GOOGLE, "454 4.7.0 Too many login attempts"),
        (Fault::Busy, GOOGLE, "421 4.7.0"),
        (Fault::Busy, MICROSOFT, "421 4.3.2"),
        (Fault::Quota, GOOGLE, "550-5.4.5 Daily user sending limit exceeded"),
        (Fault::Quota, MICROSOFT, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),
        (Fault::SendAsDenied, MICROSOFT, "554 5.2.252 SendAsDenied; robot@sandbox.example not allowed to send as robot@"),
        (Fault::MailboxLogonFailure, MICROSOFT, "430 4.2.0 STOREDRV; mailbox logon failure"),
        (Fault::RecipientRefused, GOOGLE, "550-5.1.1"),
        (Fault::DropInData, GOOGLE, ""),
        (Fault::FinalReplyLost, GOOGLE, ""),
    ] {
        let provider = start(who).await;
        let mut client = Client::secure(&provider).await;
        let token = provider.shared.tokens.issue(None, "c", access_scope(&provider));
        let path = format!("/faults/{}", fault.name());
        assert_eq!(http(&provider, "PUT", &path, r#"{"times": 1}"#).await.0, 204);
        let login = client.xoauth2(ADDRESS, token.expose()).await;
        let answer = match login.starts_with("235") {
            true => client.message("Subject: x\r\n\r\n").await,
            false => login,
        };
        assert!(answer.starts_with(reply) && answer.is_empty() == reply.is_empty(), "{}: {answer}", fault.name());
        if fault == Fault::SendAsDenied {
            assert!(answer.len() > 1500, "as long as Exchange's");
        }
        assert_eq!(provider.stats()["messages"], u64::from(fault == Fault::FinalReplyLost));
        let mut client = Client::ready(&provider).await;
        assert!(client.message("Subject: x\r\n\r\n").await.starts_with("250"), "{}", fault.name());
    }
}

#[tokio::test]
async fn a_refused_bdat_swallows_its_octets_and_data_still_works() {
    let provider = start(GOOGLE).await;
    provider.switch_on(Fault::BdatRefused, Setting::default());
    let mut client = Client::ready(&provider).await;
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<refused@b>\r\nBDAT 6 LAST\r\nQUIT\r\n").await;
    for code in ["250", "250", "502"] {
        assert!(client.read().await.starts_with(code));
    }
    assert!(client.ask("DATA").await.starts_with("354"));
    assert!(client.ask("x\r\n.").await.starts_with("250"));
}

#[tokio::test]
async fn one_recipient_of_several_is_refused() {
    let provider = start(GOOGLE).await;
    provider.switch_on(Fault::RecipientRefused, Setting::default());
    let mut client = Client::ready(&provider).await;
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\nRCPT TO:<Refused3@b>\r\nDATA\r\nx\r\n.\r\n").await;
    for code in ["250", "550-5.1.1", "250", "550-5.1.1", "354", "250"] {
        assert!(client.read().await.starts_with(code), "{code}");
    }
    assert_eq!(provider.shared.mailroom.list()[0].to, ["2@b"]);
}

#[tokio::test]
async fn faults_of_the_token_server() {
    let provider = start(GOOGLE).await;
    let grant = provider.refresh_token(ADDRESS);
    provider.switch_on(Fault::InvalidGrant, Setting { times: Some(1), ..Setting::default() });
    let (status, answer) = refresh(&provider, grant.expose()).await;
    assert_eq!((status, answer["error_description"].as_str()), (400, Some("Token has been expired or revoked.")));
    provider.switch_on(Fault::TokenServerDown, Setting { times: Some(1), ..Setting::default() });
    let (status, head, _) = http(&provider, "POST", "/token", "").await;
    assert!(status == 503 && head.contains("text/html"), "{head}");
    provider.switch_on(Fault::TokenServerThrottled, Setting { times: Some(1), ..Setting::default() });
    let (status, head, _) = http(&provider, "POST", "/token", "").await;
    assert!(status == 429 && head.contains("retry-after: 10"), "{head}");
    provider.switch_on(Fault::TokenServerSlow, Setting { times: Some(1), milliseconds: Some(30), ..Setting::default() });
    let begun = std::time::Instant::now();
    assert_eq!(refresh(&provider, grant.expose()).await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(provider.stats()["token_refusals"], 3);
}

#[tokio::test]
async fn faults_are_listed_and_unknown_ones_are_named() {
    let provider = start(GOOGLE).await;
    let (status, answer) = http_json(&provider, "PUT", "/faults/flood", "").await;
    assert_eq!((status, answer["faults"].as_array().unwrap().len()), (404, Fault::ALL.len()));
    assert_eq!(http(&provider, "PUT", "/faults/busy", r#"{"tims": 1}"#).await.0, 400);
    assert_eq!(http(&provider, "PUT", "/faults/busy", r#"{"mailbox": "a@b"}"#).await.0, 204);
    assert_eq!(http(&provider, "PUT", "/faults/round-trip", r#"{"milliseconds": 7}"#).await.0, 204);
    let (_, list) = http_json(&provider, "GET", "/faults", "").await;
    let on: Vec<&str> =
        list.as_array().unwrap().iter().filter(|f| f["on"] == true).map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(on, ["busy", "round-trip"]);
    assert_eq!(http(&provider, "DELETE", "/faults/busy", "").await.0, 204);
    assert_eq!(http(&provider, "DELETE", "/faults/round-trip", "").await.0, 204);
    assert!(provider.shared.faults.round_trip().is_zero());
}

#[tokio::test]
async fn a_page_of_another_name_is_not_answered() {
    let provider = start(GOOGLE).await;
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    stream.write_all(b"GET /received HTTP/1.1\r\nHost: evil.example:8026\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

/// Loopback itself takes well under a millisecond, so round trips can be counted by the clock.
#[tokio::test]
async fn a_pipelined_group_costs_one_round_trip_and_lock_step_one_each() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let trip = Duration::from_millis(100);
    provider.switch_on(Fault::RoundTrip, Setting { milliseconds: Some(100), ..Setting::default() });
    let begun = std::time::Instant::now();
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3 LAST\r\nx\r\n").await;
    for _ in 0..3 {
        assert!(client.read().await.starts_with("250"));
    }
    let together = begun.elapsed();
    let begun = std::time::Instant::now();
    assert!(client.message("x\r\n").await.starts_with("250"));
    let one_by_one = begun.elapsed();
    assert!(together >= trip && together < trip * 2, "{together:?}");
    assert!(one_by_one >= trip * 4 && one_by_one < trip * 6, "{one_by_one:?}");
}

#[tokio::test]
async fn a_password_works_on_both_ports_only_when_asked_for() {
    let provider = Provider::start(Options { accept_password: true, ..options(MICROSOFT) }).await.unwrap();
    let plain = |password: &str| STANDARD.encode(format!("\0{USER}\0{password}"));
    let mut client = Client::plain(provider.smtp_plain().unwrap()).await;
    client.read().await;
    assert!(client.ask("EHLO x").await.contains("AUTH PLAIN LOGIN\r\n"));
    assert!(client.ask(&format!("AUTH PLAIN {}", plain("wrong"))).await.starts_with("535"));
    assert!(client.ask(&format!("AUTH PLAIN {}", plain(provider.password().expose()))).await.starts_with("235"));
    assert!(client.message("x\r\n").await.starts_with("250"));
    let mut client = Client::secure(&provider).await;
    assert_eq!(client.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.ask(&STANDARD.encode(USER)).await, "334 UGFzc3dvcmQ6\r\n");
    assert!(client.ask(&STANDARD.encode(provider.password().expose())).await.starts_with("235"));
    assert_eq!(provider.shared.mailroom.list()[0].token, "password");

    let provider = start(MICROSOFT).await;
    assert!(provider.smtp_plain().is_none());
    let mut client = Client::secure(&provider).await;
    client.ask("AUTH LOGIN").await;
    client.ask(&STANDARD.encode(USER)).await;
    let reply = client.ask(&STANDARD.encode(provider.password().expose())).await;
    assert!(reply.starts_with("535 5.7.139 Authentication unsuccessful, basic authentication is disabled"), "{reply}");
}

#[tokio::test]
async fn limits_are_enforced_only_when_asked() {
    for limits in [true, false] {
        let provider = Provider::start(Options { limits, ..options(MICROSOFT) }).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(Client::ready(&provider).await);
        }
        let token = provider.shared.tokens.issue(None, "c", access_scope(&provider));
        let fourth = Client::secure(&provider).await.xoauth2(ADDRESS, token.expose()).await;
        assert_eq!(fourth.starts_with("432 4.3.2"), limits, "{fourth}");
        let client = &mut clients[0];
        for number in 1..=31 {
            let reply = client.message("x\r\n").await;
            assert_eq!(reply.starts_with("432 4.3.2 STOREDRV"), limits && number == 31, "{number} {reply}");
        }
        let over = &provider.stats()["mailboxes"][ADDRESS]["over_limit"];
        assert_eq!(over, &json!({ "connections": 1, "messages-per-minute": 1 }));
    }
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_sentence_with_its_option() {
    let provider = start(GOOGLE).await;
    let port = provider.http().port();
    let why = Provider::start(Options { http_port: port, ..options(GOOGLE) }).await.err().unwrap();
    let text =
        format!("port {port} on 127.0.0.1 is taken by another program; choose another one with --port-http (0 takes a free one)");
    assert_eq!(why.to_string(), text);
}

#[tokio::test]
async fn the_written_configuration_holds_no_secret_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    for who in [GOOGLE, MICROSOFT, CUSTOM] {
        let provider = start(who).await;
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let file = provider.write_config(directory.path(), 0).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let config: toml::Table = text.parse().unwrap();
            assert_eq!(config["mailbox"]["sandbox"]["server"].as_str(), Some(provider.smtp().to_string().as_str()));
            assert!(config["app"]["sandbox"]["password"].as_str().unwrap().starts_with("$argon2id$"));
            assert!(!text.contains(provider.client_secret().expose()) && !text.contains(provider.password().expose()));
        }
        for name in ["client-secret", "grant"].iter().filter(|name| **name != "grant" || who == GOOGLE) {
            let file = directory.path().join(name);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_to_string(directory.path().join("ca.pem")).unwrap(), provider.ca_pem());
    }
}

#[tokio::test]
async fn the_relays_own_trust_takes_the_written_ca_and_nothing_else_does() {
    let provider = start(GOOGLE).await;
    let directory = tempfile::tempdir().unwrap();
    provider.write_config(directory.path(), 2525).unwrap();
    for (ca, trusted) in [(Some(directory.path().join("ca.pem")), true), (None, false)] {
        let Ok(config) = crate::tls::client_config(ca.as_deref()) else {
            assert!(!trusted, "a system without a trust store trusts nothing");
            continue;
        };
        for name in ["127.0.0.1", "localhost"] {
            let stream = TcpStream::connect(provider.smtp()).await.unwrap();
            let connected = TlsConnector::from(config.clone()).connect(ServerName::try_from(name).unwrap(), stream).await;
            assert_eq!(connected.is_ok(), trusted, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_ends_every_connection() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let smtp = provider.smtp();
    timeout(WAIT, provider.stop()).await.unwrap();
    assert_eq!(client.read().await, "");
    assert!(TcpStream::connect(smtp).await.is_err());
}
