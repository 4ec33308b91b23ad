//! `outlink sendmail`: what cron, PHP, mail(1) and many others call as /usr/sbin/sendmail.
//!
//! Any user runs it, so it does not read the configuration: `sendmail.conf` beside that, or what is built in, names a socket and a
//! directory. The daemon knows the app by the Unix user. While no daemon answers, or it says `4xx`, the message is left in the drop
//! directory, durably, and the caller is told that all is well. A fault in that file is told, and stops no mail that finds its way all the
//! same: cron looks at no status.

mod conf;
mod message;
mod options;

use super::{CONFIG, Cli, Exit, Failed, Outcome};
use crate::{
    config::{Fault, MESSAGE_SIZE, RECIPIENTS, SendmailConf},
    dropbox::{At, NotTaken, Parcel, Said, hand_over, leave},
    mail::{Address, text},
};
use clap::Parser;
use message::NoMessage;
use options::{Mode, Options};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind, Read, Write, stdin, stdout},
    net::Shutdown,
    os::unix::{ffi::OsStringExt, net::UnixStream},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

/// Longest wait for a place in the socket's queue.
const CONNECT: Duration = Duration::from_secs(10);

const HELP: &str = "usage: outlink sendmail [-t] [-i] [-f SENDER] [-F NAME] [-N never|success,failure,delay] [-R full|hdrs] [-V ENVID] [-v]\n\
     [--socket PATH] [--drop DIRECTORY] [--conf FILE] [--] [RECIPIENT ...] < message\n\
     outlink sendmail -bs    speaks SMTP on standard input and output\n\
     outlink sendmail --write-conf [--config FILE] [--domain DOMAIN]    writes sendmail.conf beside the configuration\n\
     Other options of sendmail(8) are taken and do nothing.";

/// What this process was called to do as sendmail: under that name or one of its companions, or as `outlink sendmail`.
pub(super) fn called(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let with = |first: &str| [OsString::from(first)].into_iter().chain(arguments.iter().skip(1).cloned()).collect();
    match name.and_then(OsStr::to_str) {
        Some("sendmail") => Some(arguments[1..].to_vec()),
        Some("newaliases") => Some(with("-bi")),
        Some("mailq") => Some(with("-bp")),
        _ if arguments.get(1).is_some_and(|word| word == "sendmail") => Some(arguments[2..].to_vec()),
        _ => None,
    }
}

/// Does it.
pub(super) fn sendmail(arguments: Vec<OsString>) -> Outcome {
    let (mut texts, mut foreign) = (Vec::with_capacity(arguments.len()), Vec::new());
    for argument in arguments {
        texts.push(argument.into_string().unwrap_or_else(|octets| {
            let read = text(&octets.into_vec());
            foreign.push(read.clone());
            read
        }));
    }
    let options = Options::parse(texts).map_err(usage)?;
    // Programs of old write a person's name in another set than UTF-8; addresses and paths are not guessed at.
    let is_name = |text: &&String| options.name.as_ref().is_some_and(|name| text.ends_with(name.as_str()));
    if let Some(wrong) = foreign.iter().find(|text| !is_name(text)) {
        return Err(usage(format!("`{wrong}` is not written in UTF-8")));
    }
    match options.mode {
        Mode::Send | Mode::Speak => {
            let (places, faults) = places(&options);
            faults.iter().for_each(|fault| eprintln!("outlink: {fault}"));
            let done = if options.mode == Mode::Send { send(&options, &places) } else { speak(&places.socket) };
            done.map_err(|Failed(exit, why)| match exit {
                // Where the file was to say where to.
                Exit::Unavailable | Exit::Temporary if !faults.is_empty() => Failed(Exit::Configuration, why),
                exit => Failed(exit, why),
            })
        }
        Mode::WriteConf => conf::write(options.config.as_deref().unwrap_or(CONFIG).into(), options.domain),
        Mode::Help => {
            super::out::say(HELP);
            Ok(Exit::Good)
        }
        Mode::Aliases => {
            super::out::say("outlink reads [aliases] of its configuration at start and reload; nothing is to be done");
            Ok(Exit::Good)
        }
        Mode::List => match Cli::try_parse_from(
            ["outlink", "queue"].into_iter().chain(options.config.iter().flat_map(|path| ["--config", path])),
        ) {
            Ok(cli) => super::run(cli.command),
            Err(error) => Err(usage(error.to_string())),
        },
    }
}

fn usage(why: String) -> Failed {
    Failed(Exit::Usage, format!("{why}; see `outlink sendmail --help`"))
}

/// Where the daemon is and where messages are left: by options, else by the file, else as built in. With what is wrong with the file.
fn places(options: &Options) -> (SendmailConf, Vec<Fault>) {
    let (read, faults) = SendmailConf::read(&options.conf.clone().unwrap_or_else(conf::usual));
    let (socket, drop) = (options.socket.clone().unwrap_or(read.socket), options.drop.clone().unwrap_or(read.drop));
    (SendmailConf { socket, drop, domain: read.domain }, faults)
}

fn send(options: &Options, places: &SendmailConf) -> Outcome {
    if options.recipients.is_empty() && !options.from_header {
        if options.runs_queue {
            return Ok(Exit::Good);
        }
        return Err(usage("no recipients: name them, or use -t to take them from To, Cc and Bcc".to_owned()));
    }
    let mut parcel = parcel(options, places.domain.as_deref())?;
    let mut waiting = std::mem::take(&mut parcel.recipients);
    let (mut most, mut sent) = (RECIPIENTS, 0);
    while !waiting.is_empty() {
        let others = waiting.split_off(waiting.len().min(most));
        parcel.recipients = std::mem::replace(&mut waiting, others);
        let taken = match connect(&places.socket) {
            Ok(stream) => hand_over(stream, &parcel, &hostname()),
            Err(why) => Err(NotTaken::Down(why)),
        };
        let done = match taken {
            Ok(said) => {
                if options.verbose {
                    super::out::say(said.text);
                }
                Ok(())
            }
            Err(NotTaken::TooMany(fewer)) => {
                most = fewer;
                waiting.splice(..0, std::mem::take(&mut parcel.recipients));
                continue;
            }
            Err(NotTaken::Down(why)) => set_down(places, options.verbose, &parcel, (&why, None)),
            // What the daemon may take later is none of the caller's care: cron and PHP would not try again.
            Err(NotTaken::Refused(_, Said { code: code @ 400..500, text })) => {
                set_down(places, options.verbose, &parcel, (&format!("outlink said {code} {text}"), Some(Exit::Temporary)))
            }
            Err(NotTaken::Refused(at, said)) => Err(refused(&at, &said)),
        };
        done.map_err(|failed| after(sent, failed))?;
        sent += parcel.recipients.len();
    }
    Ok(Exit::Good)
}

/// What went wrong, and that it did not for the first recipients of very many.
fn after(sent: usize, Failed(exit, why): Failed) -> Failed {
    match sent {
        0 => Failed(exit, why),
        sent => Failed(exit, format!("{why}; the message was taken for the first {sent} recipients, and for no others")),
    }
}

fn parcel(options: &Options, domain: Option<&str>) -> Result<Parcel, Failed> {
    let mut octets = message::read(stdin().lock(), options.ignore_dots).map_err(|error| match error {
        NoMessage::Unreadable(_) => Failed(Exit::InputOutput, error.to_string()),
        NoMessage::TooLarge => Failed(Exit::Data, error.to_string()),
    })?;
    let mut recipients = options.recipients.clone();
    if options.from_header {
        recipients.extend(message::recipients(&octets).map_err(|why| Failed(Exit::Data, why))?);
    }
    if recipients.is_empty() {
        return Err(Failed(Exit::Data, "the message names no recipient in To, Cc or Bcc".to_owned()));
    }
    let sender = match &options.sender {
        Some(sender) => sender.clone(),
        None => Some(own_address(domain)?),
    };
    if let Some(name) = &options.name {
        let address = sender.clone().map_or_else(|| own_address(domain), Ok)?;
        octets = message::add_from(octets, name, &address);
    }
    let (notify, ret, envid) = (options.notify, options.ret, options.envid.clone());
    Ok(Parcel { sender, recipients, notify, ret, envid, octets })
}

/// A connection to the daemon; else why there is none.
fn connect(socket: &Path) -> Result<UnixStream, String> {
    let (tell, told) = mpsc::channel();
    let path = socket.to_owned();
    // A full queue of a socket makes connecting wait without an end.
    thread::spawn(move || tell.send(UnixStream::connect(path)));
    match told.recv_timeout(CONNECT) {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("{}: {error}", socket.display())),
        Err(_) => Err(format!("{}: the daemon takes no connection", socket.display())),
    }
}

/// Leaves the message for a daemon that comes later, or takes it later. `now` is what else the caller hears where that cannot be.
fn set_down(places: &SendmailConf, verbose: bool, parcel: &Parcel, (why, now): (&str, Option<Exit>)) -> Result<(), Failed> {
    let drop = &places.drop;
    let size = parcel.octets.len() as u64;
    if size > MESSAGE_SIZE {
        let why = format!(
            "{why}; and the message cannot be left for later: it has {size} octets, of {} MiB at most",
            MESSAGE_SIZE >> 20
        );
        return Err(Failed(now.unwrap_or(Exit::Data), why));
    }
    match leave(drop, parcel, SystemTime::now()) {
        Ok(id) => {
            if verbose {
                super::out::say(format!("{why}; left in {} as {id}", drop.display()));
            }
            Ok(())
        }
        Err(error) => {
            let exit = now.unwrap_or(match error.kind() {
                ErrorKind::NotFound => Exit::Unavailable,
                ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Temporary,
            });
            Err(Failed(exit, format!("{why}; and the message cannot be left in {}: {error}", drop.display())))
        }
    }
}

/// What the caller hears of an answer against its message; nobody was sent anything.
fn refused(at: &At, said: &Said) -> Failed {
    let Said { code, text } = said;
    let exit = match (at, code) {
        (_, 530 | 535) => Exit::Permission,
        _ if text.starts_with("5.7.") => Exit::Permission,
        (At::Recipient(_), _) => Exit::NoUser,
        (At::Message, _) => Exit::Data,
        (At::Sender, _) => Exit::Permission,
    };
    let whose = match at {
        At::Sender if *code == 530 => {
            let uid = rustix::process::getuid().as_raw();
            return Failed(
                exit,
                format!(
                    "outlink knows no app by the user {uid} ({text}); unix-user = [\"…\"] of an app in its configuration names its users"
                ),
            );
        }
        At::Sender => "the sender".to_owned(),
        At::Recipient(recipient) => format!("the recipient <{recipient}>, so nothing was sent"),
        At::Message => "the message".to_owned(),
    };
    Failed(exit, format!("outlink refused {whose}: {code} {text}"))
}

/// Lets the caller speak with the daemon.
fn speak(socket: &Path) -> Outcome {
    let (to, mut from) = match connect(socket).and_then(|to| Ok((to.try_clone().map_err(|error| error.to_string())?, to))) {
        Ok(pair) => pair,
        Err(why) => {
            let _ = stdout().write_all(b"421 4.3.2 outlink does not answer, try again later\r\n");
            return Err(Failed(Exit::Temporary, why));
        }
    };
    thread::spawn(move || {
        let _ = pass(stdin().lock(), &to);
        // The caller has said all; the daemon's last words still come.
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = pass(&mut from, stdout().lock());
    Ok(Exit::Good)
}

/// Copies without holding back a line.
fn pass(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `user@machine` of whoever calls; at `domain` where the machine has one for this.
fn own_address(domain: Option<&str>) -> Result<Address, Failed> {
    let uid = rustix::process::getuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user(&users, uid).unwrap_or_else(|| format!("uid{uid}"));
    let address = format!("{user}@{}", domain.map_or_else(hostname, str::to_owned));
    Address::parse(&address).map_err(|why| Failed(Exit::Configuration, format!("`{address}` is no address: {why}; use -f")))
}

/// The name of a user in the text of /etc/passwd.
fn user(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The machine's name for mail: Debian's /etc/mailname, else its host name.
fn hostname() -> String {
    let mailname = fs::read_to_string("/etc/mailname").unwrap_or_default();
    let machine = || hostname::get().ok().and_then(|name| name.into_string().ok());
    let name = Some(mailname.trim().to_owned()).filter(|name| !name.is_empty()).or_else(machine);
    let is_fit = |name: &String| Address::parse(&format!("x@{name}")).is_ok();
    name.filter(is_fit).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_under_which_it_is_called_says_what_it_does() {
        for (line, expected) in [
            ("/usr/sbin/sendmail -t", Some("-t")),
            ("sendmail", Some("")),
            ("/usr/bin/newaliases", Some("-bi")),
            ("mailq -v", Some("-bp -v")),
            ("/usr/bin/outlink sendmail -i root", Some("-i root")),
            ("outlink queue", None),
            ("outlink", None),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let found = called(&arguments).map(|rest| rest.join(OsStr::new(" ")).into_string().unwrap());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn answers_become_exit_statuses() {
        let recipient = At::Recipient(Address::parse("root").unwrap());
        for (at, code, text, exit) in [
            (At::Sender, 530, "5.7.0 authentication required", Exit::Permission),
            (At::Sender, 550, "5.7.1 not as this", Exit::Permission),
            (recipient.clone(), 550, "5.1.3 no domain", Exit::NoUser),
            (recipient, 550, "5.7.1 not to this", Exit::Permission),
            (At::Message, 552, "5.3.4 too large", Exit::Data),
        ] {
            assert_eq!(refused(&at, &Said { code, text: text.to_owned() }).0, exit, "{code} {text}");
        }
    }

    #[test]
    fn users_are_found_by_their_number() {
        let users = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nbroken\n";
        assert_eq!(user(users, 33).as_deref(), Some("www-data"));
        assert_eq!(user(users, 34), None);
    }
}
