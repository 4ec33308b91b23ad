//! What apps may do and how they prove themselves, through the running daemon: each rule with the answer that names it, limits that
//! outlive a restart, users of this machine, and what `outlink app` says.

mod support;

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::MetadataExt, net::UnixStream},
};
use support::{
    SOON,
    queued::queue,
    story::{App, Story},
};

/// A story whose app has these keys, and whose mail is queued.
fn story(keys: &str) -> Story {
    let keys = keys.to_owned();
    Story::new("microsoft", move |text| queue(text).replacen("[app.sandbox]\n", &format!("[app.sandbox]\n{keys}\n"), 1))
}

/// Says the commands before the last one, each of which has to succeed; gives the answer to the last.
fn last(app: &mut App, commands: &[&str]) -> String {
    let (last, before) = commands.split_last().expect("a command");
    for command in before {
        let said = app.say(command);
        assert!(said.starts_with(['2', '3']), "{command}: {said}");
    }
    app.say(last)
}

const MAIL: &str = "MAIL FROM:<robot@sandbox.example>";

#[test]
fn each_rule_of_an_app_answers_with_its_key() {
    let story = story(
        "allowed-from = [\"*@sandbox.example\"]\nallowed-recipients = [\"*@example.org\", \"*@*.example.net\"]\n\
         limits = { recipients = 2, message-size = \"2 KiB\" }",
    );
    let daemon = story.start();
    let mut app = story.app();
    let large = format!("DATA\r\nFrom: robot@sandbox.example\r\n\r\n{}.", "0123456789\r\n".repeat(300));
    for (commands, expected) in [
        (&["MAIL FROM:<boss@example.org>"][..], "550 5.7.1 <boss@example.org> is not in allowed-from of [app.sandbox]"),
        (&[MAIL, "RCPT TO:<a@evil.example>"], "550 5.7.1 <a@evil.example> is not in allowed-recipients of [app.sandbox]"),
        (&[MAIL, "RCPT TO:<a@example.net>"], "550 5.7.1 <a@example.net> is not in allowed-recipients of [app.sandbox]"),
        (&[MAIL, "RCPT TO:<a@x.example.net>"], "250 "),
        (
            &[MAIL, "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "RCPT TO:<c@example.org>"],
            "452 4.5.3 at most 2 recipients in a message (recipients in [app.sandbox.limits])",
        ),
        (&["MAIL FROM:<robot@sandbox.example> SIZE=2049"], "552 5.3.4 "),
        (&["MAIL FROM:<robot@sandbox.example> SIZE=2048"], "250 "),
        (
            &[MAIL, "RCPT TO:<a@example.org>", "DATA", "From: boss@example.org\r\nSubject: x\r\n\r\nx\r\n."],
            "<boss@example.org> is not in allowed-from of [app.sandbox]",
        ),
        (&[MAIL, "RCPT TO:<a@example.org>", &large, ""], "552 5.3.4 "),
        (
            &["MAIL FROM:<>", "RCPT TO:<a@example.org>", "DATA", "From: robot@sandbox.example\r\n\r\nx\r\n."],
            "250 2.0.0 OK queued as ",
        ),
    ] {
        // A large message and its end are one piece for the app, and one answer for each of DATA and the dot.
        let commands: Vec<&str> = commands.to_vec();
        let said = match commands.as_slice() {
            [before @ .., data, ""] => {
                last(&mut app, before);
                let said = app.say(data);
                assert!(said.starts_with("354 "), "{said}");
                app.reply()
            }
            commands => last(&mut app, commands),
        };
        let is_right = match expected.starts_with('<') {
            true => said.starts_with("550 5.7.1 ") && said.contains(expected),
            false => said.starts_with(expected),
        };
        assert!(is_right, "{commands:?}: {said}, expected {expected}");
        app.say("RSET");
    }
    assert!(daemon.output().contains("\"event\":\"app.refused\",\"app\":\"sandbox\""), "{}", daemon.output());
}

#[test]
fn limits_by_the_minute_and_the_day_hold_over_a_restart_and_are_not_spent_by_refused_messages() {
    let story = story("limits = { messages-per-day = 2 }");
    let daemon = story.start();
    let mut app = story.app();
    assert!(last(&mut app, &[MAIL, "RCPT TO:<root>"]).starts_with("550 "));
    app.say("RSET");
    assert!(app.send().starts_with("250 "));
    assert!(app.send().starts_with("250 "));
    let said = app.say(MAIL);
    let expected = "450 4.7.1 messages-per-day = 2 of [app.sandbox.limits] is reached: come again in ";
    let wait = said.strip_prefix(expected).and_then(|rest| rest.strip_suffix(" s")).and_then(|wait| wait.parse::<u32>().ok());
    assert!(wait.is_some_and(|wait| (86_000..=86_460).contains(&wait)), "{said}");
    assert_eq!(daemon.stop().0, Some(0));
    let _daemon = story.start();
    let said = story.app().say(MAIL);
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn an_app_that_is_switched_off_may_not_send_and_its_kept_mail_goes_out() {
    let story = story("enabled = true");
    let daemon = story.start();
    story.good(&["queue", "hold", "--mailbox", "sandbox"]);
    let mut app = story.app();
    assert!(app.send().starts_with("250 "));
    let text = fs::read_to_string(&story.config).expect("it is there");
    fs::write(&story.config, text.replace("enabled = true", "enabled = false")).expect("written");
    story.good(&["reload"]);
    let said = app.say(MAIL);
    assert!(said.starts_with("550 5.7.13 the application sandbox is switched off here"), "{said}");
    let said = App::connect(story.relay).auth("sandbox", &story.password);
    assert!(said.starts_with("535 5.7.13 the application sandbox is switched off here"), "{said}");
    let said = App::connect(story.relay).auth("sandbox", "wrong");
    assert!(said.starts_with("535 5.7.8 "), "only who knows the password hears why: {said}");
    daemon.logged("an app logged in that is switched off", SOON);
    story.good(&["queue", "release", "--mailbox", "sandbox"]);
    support::queued::until("the kept message arrived", SOON, || story.received().len() == 1);
    assert!(story.good(&["app", "list"]).contains("app sandbox: switched off, user sandbox with a password"));
}

/// Speaks with the daemon over a Unix socket, one answer a command.
fn over_socket(path: &std::path::Path, commands: &[&str]) -> Vec<String> {
    let mut stream = BufReader::new(UnixStream::connect(path).expect("the socket is there"));
    stream.get_ref().set_read_timeout(Some(SOON)).expect("a time-out can be set");
    let mut answers = Vec::new();
    let mut reply = |stream: &mut BufReader<UnixStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a reply within the time");
        answers.push(line.trim_end().to_owned());
    };
    reply(&mut stream);
    for command in commands {
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("it can be sent");
        reply(&mut stream);
    }
    answers
}

#[test]
fn a_user_of_this_machine_is_an_app_over_a_unix_socket_and_the_list_says_when_it_sent() {
    let me = fs::metadata("/proc/self").expect("who runs this").uid();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("smtp.sock");
    let more = format!(
        "\n[listener.local-programs]\nbind = \"unix:{}\"\nauth = \"optional\"\n[app.cron]\nunix-user = [\"{me}\"]\nmailbox = \"sandbox\"\n",
        socket.display()
    );
    let story = Story::new("microsoft", |text| queue(text) + &more);
    let daemon = story.start();
    assert!(story.good(&["app", "list"]).contains("app cron: processes of "));
    assert!(story.good(&["app", "list"]).contains("never sent"));
    let said = over_socket(&socket, &["HELO x", MAIL, "RCPT TO:<you@example.org>", "DATA", "Subject: x\r\n\r\nx\r\n."]);
    assert!(said.last().is_some_and(|said| said.starts_with("250 2.0.0 OK queued as ")), "{said:?}");
    let check = |text: &str| {
        let list: Value = serde_json::from_str(text).expect("JSON");
        let app = list["apps"].as_array().and_then(|apps| apps.iter().find(|app| app["app"] == "cron")).expect("the app").clone();
        let last = &app["last"];
        let client = last["client"].as_str().unwrap_or_default();
        assert!(client.starts_with(&format!("unix:uid={me}")), "{app}");
        assert!(
            last["listener"] == "local-programs"
                && last["encrypted"] == false
                && last["proof"] == "unix-user"
                && app["sent_today"] == 1,
            "{app}"
        );
    };
    check(&story.good(&["app", "list", "--json"]));
    assert!(story.app().send().starts_with("250 "));
    let list = story.good(&["app", "list"]);
    assert!(
        list.contains(" from 127.0.0.1:") && list.contains(", by password, listener local, without TLS; 1 message"),
        "{list}"
    );
    assert_eq!(daemon.stop().0, Some(0));
    check(&story.good(&["app", "list", "--json"]));
    let _daemon = story.start();
    check(&story.good(&["app", "list", "--json"]));
    let said = story.good(&["app", "list"]);
    assert!(said.contains(", as a user of this machine, listener local-programs, without TLS; 1 message in 24 hours"), "{said}");
}

#[test]
fn wrong_passwords_from_this_machine_are_slowed_never_refused_and_told_once() {
    let story = story("");
    let daemon = story.start();
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        let said = App::connect(story.relay).auth("sandbox", "wrong");
        assert!(said.starts_with("535 5.7.8 "), "{said}");
    }
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1750), "250, 500 and 1000 ms late");
    assert!(story.app().send().starts_with("250 "), "the right password is taken at once");
    let lines = daemon.output().lines().filter(|line| line.contains("\"event\":\"auth.failed\"")).count();
    assert_eq!(lines, 1, "{}", daemon.output());
}

#[test]
fn app_add_writes_each_proof_and_says_what_to_type() {
    let story = Story::new("microsoft", |text| {
        queue(text)
            + "\n[listener.office]\nbind = \"0.0.0.0:0\"\nauth = \"none\"\nnetworks = [\"10.1.2.0/24\"]\n\
             [app.office]\nnetworks = [\"10.1.2.0/24\"]\nmailbox = \"sandbox\"\n"
    });
    let said = story.good(&["app", "add", "printer-2nd-floor", "--network", "10.1.2.3", "--mailbox", "sandbox"]);
    for text in ["host ", "port ", "encryption  none", "no user name, no password: it is known by its address"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let said = story.good(&["app", "add", "crowd", "--mailbox", "sandbox", "--json"]);
    let json = said.find('{').and_then(|at| serde_json::Deserializer::from_str(&said[at..]).into_iter::<Value>().next());
    let json = json.and_then(Result::ok).unwrap_or_else(|| panic!("no JSON in {said}"));
    let password = json["password"].as_str().unwrap_or_default();
    assert!(password.len() == 16 && password.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{said}");
    let said = story.good(&["app", "add", "cron", "--unix-user", "root", "--mailbox", "sandbox"]);
    assert!(said.contains("no listener lets it in"), "{said}");
    let (status, said) = story.command(&["app", "add", "bad", "--certificate", "sha1:00", "--mailbox", "sandbox"]);
    assert!(status == Some(78) && said.contains("--certificate: `sha1:00` is no SHA-256 fingerprint"), "{status:?} {said}");
    let list = story.good(&["app", "list"]);
    for text in [
        "app printer-2nd-floor: from 10.1.2.3/32 without one",
        "app cron: processes of root",
        "app crowd: user crowd with a password",
    ] {
        assert!(list.contains(text), "{text}: {list}");
    }
}

/// What `outlink app …` says as JSON.
fn json(story: &Story, words: &[&str]) -> Value {
    let said = story.good(words);
    let json = said.find('{').and_then(|at| serde_json::Deserializer::from_str(&said[at..]).into_iter::<Value>().next());
    json.and_then(Result::ok).unwrap_or_else(|| panic!("no JSON in {said}"))
}

#[test]
fn everything_that_an_app_may_have_is_a_flag() {
    let story = Story::new("microsoft", |text| support::queued::one_more_mailbox(queue(text), "other"));
    let daemon = story.start();
    let words = "app add erp --mailbox sandbox --mailbox other --allowed-from *@sandbox.example --allowed-recipients *@example.org \
                 --messages-per-minute 20 --messages-per-day 1 --recipients 3 --message-size 2MiB --delivery queue --repair legacy \
                 --expire-after 2d --warn-after 1d --bounce-to it@example.org --user erp@sandbox.example --network 10.1.2.3 \
                 --certificate erp.example.org --unix-user root --password --json";
    let added = json(&story, &words.split_whitespace().collect::<Vec<_>>());
    let file = fs::read_to_string(added["file"].as_str().expect("a file")).expect("it was written");
    let keys = "[app.erp]
user = \"erp@sandbox.example\"
networks = [\"10.1.2.3\"]
certificate = [\"erp.example.org\"]
unix-user = [\"root\"]
mailbox = [\"sandbox\", \"other\"]
allowed-from = [\"*@sandbox.example\"]
allowed-recipients = [\"*@example.org\"]
delivery = \"queue\"
repair = \"legacy\"
expire-after = \"2d\"
warn-after = \"1d\"
bounce-to = \"it@example.org\"

[app.erp.limits]
messages-per-minute = 20
messages-per-day = 1
recipients = 3
message-size = \"2MiB\"
";
    let written: String = file.lines().filter(|line| !line.starts_with(['#', 'p'])).map(|line| format!("{line}\n")).collect();
    assert_eq!(written, keys);
    assert!(file.contains("password = \"$argon2id$"), "{file}");
    let warnings = added["warnings"].as_array().map_or(0, Vec::len);
    assert_eq!(warnings, 3, "its certificate, its user and its address are of no use at the one listener: {added}");
    let mut app = App::login(story.relay, "erp@sandbox.example", added["password"].as_str().expect("a password"));
    assert!(app.send().starts_with("250 "));
    assert!(app.say(MAIL).starts_with("450 4.7.1 messages-per-day = 1"), "the limit holds");
    daemon.logged("\"event\":\"message.accepted\"", SOON);
    // A mailbox that an app names as its second one is not removed.
    let (status, said) = story.command(&["mailbox", "remove", "other", "--yes"]);
    assert!(status == Some(1) && said.contains("outlink.toml"), "a person wrote it: {said}");

    let by_sender =
        ["app", "add", "jira", "--mailbox", "by-sender", "--allowed-from", "*@sandbox.example", "--fallback", "other"];
    story.good(&by_sender);
    assert!(story.good(&["app", "list"]).contains("app jira: user jira with a password, mailbox by-sender, else other"));
    let said = story.good(&["app", "add", "later", "--mailbox", "other", "--disabled"]);
    assert!(said.contains("it is switched off"), "{said}");
    assert!(story.good(&["app", "list"]).contains("app later: switched off, "));
}

#[test]
fn a_password_is_changed_without_a_moment_in_which_none_works() {
    let story = Story::new("microsoft", queue);
    let _daemon = story.start();
    let password = |json: &Value| json["password"].as_str().expect("a password").to_owned();
    let works = |password: &str| App::connect(story.relay).auth("erp", password).starts_with("235 ");
    let first = password(&json(&story, &["app", "add", "erp", "--mailbox", "sandbox", "--json"]));
    let (status, said) = story.command(&["app", "password", "erp", "--drop-old"]);
    assert!(status == Some(1) && said.contains("app erp has no older password"), "{status:?} {said}");
    let made = json(&story, &["app", "password", "erp", "--json"]);
    let second = password(&made);
    assert!(made["passwords"] == 2 && works(&first) && works(&second), "{made}");
    let said = story.good(&["app", "password", "erp", "--drop-old"]);
    assert!(said.contains("app erp has one password, the newest") && !said.contains("to type into"), "{said}");
    assert!(!works(&first) && works(&second));
    let said = story.good(&["app", "password", "erp", "--at-once"]);
    assert!(said.contains("app erp has this password alone") && said.contains("to type into erp:"), "{said}");
    assert!(!works(&second));
    let (status, said) = story.command(&["app", "password", "sandbox"]);
    assert!(status == Some(1) && said.contains("where no command wrote it"), "{status:?} {said}");
    let (status, said) = story.command(&["app", "password", "nobody"]);
    assert!(status == Some(1) && said.contains("no app is named nobody"), "{status:?} {said}");
}

/// A story whose listener knows apps by their addresses, too, and whose apps are the sandbox's and `office`, which is this machine.
fn known_by_address() -> Story {
    Story::new("microsoft", |text| {
        queue(text).replacen("[listener.local]\n", "[listener.local]\nauth = \"optional\"\n", 1)
            + "\n[app.office]\nnetworks = [\"127.0.0.1\"]\nmailbox = \"sandbox\"\n"
    })
}

#[test]
fn after_a_failed_login_a_connection_is_nobody_until_one_succeeds() {
    let story = known_by_address();
    let daemon = story.start();
    assert!(App::connect(story.relay).send().starts_with("250 "), "its address is enough");
    let mut app = App::connect(story.relay);
    assert!(app.auth("sandbox", "wrong").starts_with("535 5.7.8 "));
    let said = app.say(MAIL);
    assert!(said.starts_with("530 5.7.0 authentication required"), "a slip is noticed: {said}");
    assert!(app.auth("sandbox", &story.password).starts_with("235 "));
    assert!(app.send().starts_with("250 "));
    support::queued::until("each sent one message", SOON, || {
        ["office", "sandbox"].iter().all(|app| daemon.count(&["message.accepted", &format!("\"app\":\"{app}\"")]) == 1)
    });
}

#[test]
fn a_session_ends_when_what_let_it_in_is_taken_out_of_the_configuration() {
    let story = known_by_address();
    let daemon = story.start();
    let password = |words: &[&str]| json(&story, words)["password"].as_str().expect("a password").to_owned();
    let first = password(&["app", "add", "erp", "--mailbox", "sandbox", "--json"]);
    let mut old = App::login(story.relay, "erp", &first);
    assert!(old.send().starts_with("250 "));
    let second = password(&["app", "password", "erp", "--json"]);
    assert!(old.send().starts_with("250 "), "both passwords are valid");
    let mut new = App::login(story.relay, "erp", &second);
    assert!(last(&mut old, &[MAIL, "RCPT TO:<team@example.org>"]).starts_with("250 "));
    story.good(&["app", "password", "erp", "--drop-old"]);
    assert!(last(&mut old, &["DATA", "Subject: x\r\n\r\nx\r\n."]).starts_with("250 "), "a message that began is finished");
    let said = old.say(MAIL);
    assert_eq!(said, "421 4.7.0 the password of this login is no longer valid: connect again");
    assert_eq!(old.reply(), "", "the connection is closed");
    assert!(new.send().starts_with("250 "), "the other password is still there");

    let mut office = App::connect(story.relay);
    assert!(office.send().starts_with("250 "));
    let text = fs::read_to_string(&story.config).expect("it is there");
    fs::write(&story.config, text.replace("networks = [\"127.0.0.1\"]", "networks = [\"10.1.2.3\"]")).expect("written");
    story.good(&["reload"]);
    let said = office.say(MAIL);
    assert_eq!(said, "421 4.7.0 what proved this application does so no longer: connect again");
    assert!(App::connect(story.relay).say(MAIL).starts_with("530 "));
    daemon.logged("\"event\":\"app.refused\",\"app\":\"erp\"", SOON);
}

#[test]
fn connections_of_a_user_of_this_machine_are_counted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("smtp.sock");
    let more = format!(
        "\n[listener.local-programs]\nbind = \"unix:{}\"\n[listener.local-programs.limits]\nconnections-per-address = 2\n",
        socket.display()
    );
    let story = Story::new("microsoft", |text| queue(text) + &more);
    let _daemon = story.start();
    let open = || {
        let mut stream = BufReader::new(UnixStream::connect(&socket).expect("the socket is there"));
        stream.get_ref().set_read_timeout(Some(SOON)).expect("a time-out can be set");
        let mut line = String::new();
        stream.read_line(&mut line).expect("a reply within the time");
        (stream, line)
    };
    let (first, greeting) = open();
    assert!(greeting.starts_with("220 "), "{greeting}");
    let _second = open();
    let (_, greeting) = open();
    assert!(greeting.starts_with("421 4.7.0 too many connections from this address or user"), "{greeting}");
    drop(first);
    support::queued::until("its place is free again", SOON, || open().1.starts_with("220 "));
}

#[test]
fn the_page_about_connecting_is_followed_to_the_letter() {
    let page = fs::read_to_string("docs/connect.md").expect("it is there");
    let blocks = |language: &str| -> Vec<String> {
        let begin = format!("```{language}\n");
        let pieces = page.split(&begin).skip(1);
        pieces.map(|rest| rest.split("```").next().unwrap_or_default().replace("\\\n", " ")).collect()
    };
    // Its port may be another program's here.
    let listener = blocks("toml").concat().replace(":2526", ":0");
    let story = Story::new("microsoft", |text| {
        let text = text.replace("[mailbox.sandbox]", "[mailbox.scans]").replace("mailbox = \"sandbox\"", "mailbox = \"scans\"");
        queue(text)
    });
    let _daemon = story.start();
    let mut said = Vec::new();
    for line in blocks("sh").iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()) {
        if line == "outlink check" {
            let text = fs::read_to_string(&story.config).expect("it is there");
            fs::write(&story.config, format!("{text}\n{listener}")).expect("written");
        }
        let words: Vec<&str> = line
            .split('\'')
            .enumerate()
            .flat_map(|(at, piece)| match at % 2 {
                0 => piece.split_whitespace().collect::<Vec<_>>(),
                _ => vec![piece],
            })
            .collect();
        assert_eq!(words[0], "outlink", "{line}");
        said.push((line.clone(), story.good(&words[1..])));
    }
    let of = |begin: &str| said.iter().find(|(line, _)| line.starts_with(begin)).map(|(_, said)| said.clone()).expect(begin);
    assert!(of("outlink app add printer").contains("WARNING: no listener lets it in from 10.1.2.3:"));
    assert!(
        of("outlink app list").contains("app erp: user erp with a password") && of("outlink app list").contains("never sent")
    );
    assert!(of("outlink route").contains("goes through mailbox scans"), "{}", of("outlink route"));
    assert!(of("outlink app password crowd").contains("1 older one works beside it until"));
    let list = story.good(&["status"]);
    assert!(list.contains("devices"), "the new listener listens after the reload: {list}");
}
