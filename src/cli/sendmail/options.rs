//! The command line of sendmail(8), as programs of forty years use it: single letters, alone or together, with their value attached or
//! apart. What has no meaning here is taken and does nothing; what would change the meaning and cannot be done is refused.

use crate::{
    dropbox::LONGEST_ENVID,
    mail::{Address, Notify, Ret, Xtext, addresses},
};
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Send the message on standard input.
    Send,
    /// Speak SMTP on standard input and output.
    Speak,
    /// List the queue.
    List,
    /// Rebuild aliases, which need no rebuilding.
    Aliases,
    /// Write the file that says where the socket is.
    WriteConf,
    /// Say how it is called.
    Help,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// Recipients stand in the header, too.
    pub(super) from_header: bool,
    /// The queue is to be worked off, which the daemon does by itself.
    pub(super) runs_queue: bool,
    /// A lone dot is a line like others.
    pub(super) ignore_dots: bool,
    pub(super) verbose: bool,
    /// `Some(None)`: the null sender.
    pub(super) sender: Option<Option<Address>>,
    pub(super) name: Option<String>,
    pub(super) recipients: Vec<Address>,
    pub(super) notify: Option<Notify>,
    pub(super) ret: Option<Ret>,
    pub(super) envid: Option<Xtext>,
    /// Where the daemon listens, where it is not what `sendmail.conf` says.
    pub(super) socket: Option<PathBuf>,
    /// Where messages are left, likewise.
    pub(super) drop: Option<PathBuf>,
    /// Another file than the usual `sendmail.conf`.
    pub(super) conf: Option<PathBuf>,
    /// The configuration, for what lists its queue or writes `sendmail.conf`.
    pub(super) config: Option<String>,
    /// The domain that `--write-conf` writes.
    pub(super) domain: Option<String>,
}

impl Options {
    /// Reads the arguments behind the program's name; else what is wrong with them.
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            mode: Mode::Send,
            from_header: false,
            runs_queue: false,
            ignore_dots: false,
            verbose: false,
            sender: None,
            name: None,
            recipients: Vec::new(),
            notify: None,
            ret: None,
            envid: None,
            socket: None,
            drop: None,
            conf: None,
            config: None,
            domain: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => {
                    for recipient in arguments.by_ref() {
                        options.recipient(&recipient)?;
                    }
                }
                "--help" => options.mode = Mode::Help,
                long if long.starts_with("--") => options.long(&long[2..], &mut arguments)?,
                "-" => return Err("`-` is no option and no recipient".to_owned()),
                letters if letters.starts_with('-') => options.letters(&letters[1..], &mut arguments)?,
                recipient => options.recipient(recipient)?,
            }
        }
        Ok(options)
    }

    fn recipient(&mut self, text: &str) -> Result<(), String> {
        let found = addresses(text).map_err(|(element, why)| format!("`{element}` is no recipient: {why}"))?;
        self.recipients.extend(found);
        Ok(())
    }

    fn long(&mut self, option: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value.to_owned())));
        if name == "write-conf" {
            self.mode = Mode::WriteConf;
            return Ok(());
        }
        let is_known = ["socket", "drop", "conf", "config", "domain"].contains(&name);
        let value =
            if is_known { value.or_else(|| rest.next()) } else { return Err(format!("--{name} is no option of sendmail")) };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| format!("--{name} lacks its value"))?;
        match name {
            "socket" => self.socket = Some(value.into()),
            "drop" => self.drop = Some(value.into()),
            "conf" => self.conf = Some(value.into()),
            "config" => self.config = Some(value),
            _ => self.domain = Some(value),
        }
        Ok(())
    }

    /// Letters that stand together, until one that takes the rest as its value.
    fn letters(&mut self, letters: &str, arguments: &mut impl Iterator<Item = String>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            match letter {
                't' => self.from_header = true,
                'i' => self.ignore_dots = true,
                'v' => self.verbose = true,
                'I' => self.mode = Mode::Aliases,
                // Of others' programs: no aliases, also to me, a gateway's message, an initial submission.
                'n' | 'm' | 'G' | 'U' => {}
                'b' => return self.mode(rest),
                // Queue runs, debug levels, submission or transfer: attached or nothing.
                'q' | 'd' | 'A' => {
                    self.runs_queue |= letter == 'q';
                    return Ok(());
                }
                'o' if rest.is_empty() => return Err("-o lacks its option".to_owned()),
                'o' => {
                    self.ignore_dots |= rest == "i";
                    return Ok(());
                }
                'f' | 'r' | 'F' | 'R' | 'N' | 'V' | 'B' | 'C' | 'D' | 'h' | 'L' | 'M' | 'O' | 'p' | 'X' => {
                    let value = match rest {
                        "" => arguments.next().ok_or_else(|| format!("-{letter} lacks its value"))?,
                        rest => rest.to_owned(),
                    };
                    return self.value(letter, &value);
                }
                _ => return Err(format!("-{letter} is no option of sendmail")),
            }
        }
        Ok(())
    }

    fn mode(&mut self, mode: &str) -> Result<(), String> {
        self.mode = match mode {
            "m" => Mode::Send,
            "s" => Mode::Speak,
            "p" => Mode::List,
            "i" => Mode::Aliases,
            _ => return Err(format!("-b{mode} is not done here; `outlink run` is the daemon")),
        };
        Ok(())
    }

    fn value(&mut self, letter: char, value: &str) -> Result<(), String> {
        match letter {
            'f' | 'r' => {
                let bare = value.trim().trim_start_matches('<').trim_end_matches('>');
                self.sender = Some(match bare {
                    "" => None,
                    bare => Some(Address::parse(bare).map_err(|why| format!("`{value}` is no sender: {why}"))?),
                });
            }
            'F' => self.name = Some(value.to_owned()).filter(|name| !name.is_empty()),
            'R' => {
                self.ret = Some(match value.to_ascii_lowercase().as_str() {
                    "full" => Ret::Full,
                    "hdrs" => Ret::Hdrs,
                    _ => return Err(format!("-R takes full or hdrs, not `{value}`")),
                });
            }
            'N' => {
                let wrong = |_| format!("-N takes never, or some of success, failure, delay; not `{value}`");
                self.notify = Some(Notify::parse(value).map_err(wrong)?);
            }
            'V' => {
                let wrong = |_| format!("-V takes at most {LONGEST_ENVID} printable characters in the form of RFC 3461");
                self.envid = Some(Xtext::parse(value, LONGEST_ENVID).map_err(wrong)?);
            }
            // The body's type is seen from the message; the rest belongs to other mail systems' configuration.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    /// What was understood, in a few words.
    fn shown(line: &str) -> String {
        let options = match parse(line) {
            Ok(options) => options,
            Err(why) => return format!("! {why}"),
        };
        let flag = |is: bool, word: &str| if is { format!("{word} ") } else { String::new() };
        let sender =
            options.sender.map_or(String::new(), |sender| format!("f={} ", sender.map_or("<>".into(), |it| it.to_string())));
        let name = options.name.map_or(String::new(), |name| format!("F={name} "));
        let mode = if options.mode == Mode::Send { String::new() } else { format!("{:?} ", options.mode) };
        let to = options.recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let dsn = format!("{}{}", flag(options.notify.is_some(), "N"), flag(options.ret.is_some(), "R"));
        format!(
            "{mode}{}{}{}{sender}{name}{dsn}{to}",
            flag(options.from_header, "t"),
            flag(options.ignore_dots, "i"),
            flag(options.verbose, "v")
        )
        .trim_end()
        .to_owned()
    }

    #[test]
    fn command_lines_of_real_programs_are_understood() {
        for (who, line, expected) in [
            ("cron", "-FCronDaemon -i -B8BITMIME -oem root", "i F=CronDaemon root"),
            ("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", "t i f=root F=CronDaemon"),
            ("PHP", "-t -i", "t i"),
            ("PHP with -f", "-t -i -fwww@example.com", "t i f=www@example.com"),
            ("git send-email", "-i -f a@b.example c@d.example e@f.example", "i f=a@b.example c@d.example,e@f.example"),
            ("mailx", "-i -- a@b.example", "i a@b.example"),
            ("s-nail", "-oi -r a@b.example -- c@d.example", "i f=a@b.example c@d.example"),
            ("logwatch", "-t", "t"),
            ("mutt", "-oem -oi -f a@b.example -N never -R hdrs -- c@d.example", "i f=a@b.example N R c@d.example"),
            ("smartd", "-oi -oem -odi root", "i root"),
            ("together", "-tivf a@b.example", "t i v f=a@b.example"),
            ("attached", "-ti", "t i"),
            ("null sender", "-f <> a@b.example", "f=<> a@b.example"),
            ("brackets", "-r<a@b.example> x", "f=a@b.example x"),
            ("speak", "-bs", "Speak"),
            ("list", "-bp", "List"),
            ("nothing done", "-q30m -G -U -n -m -Am -d0.1 -L tag -O x=y -X /dev/null -h 3 -p a:b a", "a"),
            ("behind --", "-t -- -odd@b.example", "t -odd@b.example"),
            ("list argument", "a@b.example,c@d.example", "a@b.example,c@d.example"),
            ("dots count", "-oem -odb a", "a"),
        ] {
            assert_eq!(shown(line), expected, "{who}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (line, expected) in [
            ("-f", "-f lacks its value"),
            ("-o", "-o lacks its option"),
            ("-z", "-z is no option"),
            ("-bd", "-bd is not done here"),
            ("-N often x", "-N takes never"),
            ("-R some x", "-R takes full"),
            ("-V a=b x", "-V takes at most"),
            ("-", "`-` is no option"),
            ("--sockets x", "--sockets is no option"),
            ("--drop", "--drop lacks its value"),
            ("-f a@b@ x", "is no sender"),
            ("a@", "is no recipient"),
        ] {
            assert!(parse(line).is_err_and(|why| why.contains(expected)), "{line}: {:?}", parse(line));
        }
        // A line end would be a second command.
        assert!(Options::parse(["-f".to_owned(), "a@b.example>\r\nRCPT TO:<c".to_owned()]).is_err());
    }

    #[test]
    fn places_can_be_others() {
        let options = parse("--socket=/a --drop /b --conf /c -t").unwrap();
        assert_eq!((options.socket, options.drop, options.conf), (Some("/a".into()), Some("/b".into()), Some("/c".into())));
        let options = parse("--write-conf --config /d --domain e.example").unwrap();
        assert_eq!(
            (options.mode, options.config, options.domain),
            (Mode::WriteConf, Some("/d".to_owned()), Some("e.example".into()))
        );
    }
}
