//! A reply of one's own (the fault `smtp-reply`), laid out on the wire as the provider lays out its replies.
//!
//! Google repeats code and enhanced code on each line, breaks at some seventy columns and ends with the transaction and ` - gsmtp`
//! (or ` - gcdp`, where a rule of the customer's spoke). Exchange says everything on one line, however long, with the server in
//! brackets, and with pages of diagnostics where its store refused.

use super::{
    faults::Step,
    session::{Session, Turn},
};
use crate::provider::Provider;

/// Where Google breaks a line.
const COLUMNS: usize = 72;

/// What a reply says.
struct Said {
    code: u16,
    /// With a space behind, or empty.
    enhanced: String,
    lines: Vec<String>,
}

/// What is wrong with a reply, in a sentence.
pub(super) fn check(reply: &str) -> Result<(), String> {
    read(reply).map(drop).ok_or_else(|| "`reply` begins with a code from 400 to 599, such as \"550 5.1.1 no such user\"".into())
}

/// Reads `CODE ENHANCED text`; further lines may repeat both. A line ends at a line feed, or where `\\n` is written.
fn read(reply: &str) -> Option<Said> {
    let clean: String = reply.replace("\\n", "\n").chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let (code, rest) = clean.split_at_checked(3)?;
    let number: u16 = code.parse().ok().filter(|number| (400..600).contains(number))?;
    let rest = rest.strip_prefix([' ', '-']).or_else(|| rest.is_empty().then_some(rest))?;
    let word = rest.split([' ', '\n']).next().unwrap_or_default();
    let is_enhanced = word.split('.').count() == 3 && word.split('.').all(|part| part.parse::<u16>().is_ok());
    let enhanced = if is_enhanced { format!("{word} ") } else { String::new() };
    let of_line = |line: &str| {
        let line = line.strip_prefix(code).map_or(line, |line| line.trim_start_matches(['-', ' ']));
        line.strip_prefix(enhanced.trim_end()).unwrap_or(line).trim().to_owned()
    };
    Some(Said { code: number, lines: clean.split('\n').map(of_line).collect(), enhanced })
}

impl Session {
    /// The reply of one's own for this step and user, laid out, and what the connection does then.
    pub(super) fn spoken(&self, step: Step, user: Option<&str>) -> Option<(String, Turn)> {
        let reply = self.shared.faults.reply(step, user, &self.shared.clock)?;
        let said = read(&reply)?;
        // RFC 5321 §3.8: 421 closes the channel. After a refusal in the greeting nothing sensible can follow.
        let turn = if said.code == 421 || step == Step::Greeting { Turn::Close } else { Turn::Again };
        Some((laid_out(self.shared.options.provider, said, &self.id), turn))
    }

    /// Gives it, if there is one.
    pub(super) fn speak(&self, step: Step, out: &mut Vec<u8>) -> Option<Turn> {
        let (reply, turn) = self.spoken(step, self.user())?;
        out.extend_from_slice(reply.as_bytes());
        Some(turn)
    }
}

/// The whole reply, line ends included.
fn laid_out(provider: Provider, said: Said, id: &str) -> String {
    let Said { code, enhanced, lines } = said;
    let lines = match provider {
        Provider::Google => google(lines, id),
        Provider::Microsoft => vec![microsoft(&lines.join(" "), id)],
        Provider::Custom => lines,
    };
    let last = lines.len().saturating_sub(1);
    let line = |(at, text): (usize, &String)| format!("{code}{}{enhanced}{text}\r\n", if at == last { ' ' } else { '-' });
    lines.iter().enumerate().map(line).collect()
}

fn google(lines: Vec<String>, id: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for line in lines {
        let mut now = String::new();
        for word in line.split(' ') {
            if !now.is_empty() && now.len() + word.len() > COLUMNS {
                broken.push(std::mem::take(&mut now));
            }
            now += if now.is_empty() { "" } else { " " };
            now += word;
        }
        broken.push(now);
    }
    if let Some(last) = broken.last_mut() {
        let (text, by) = match last.strip_suffix("- gcdp") {
            Some(text) => (text.trim_end(), "gcdp"),
            None => (last.trim_end_matches("- gsmtp").trim_end(), "gsmtp"),
        };
        *last = format!("{text} {id} - {by}").trim_start().to_owned();
    }
    broken
}

fn microsoft(text: &str, id: &str) -> String {
    match text.contains("STOREDRV") && !text.contains("[BeginDiagnosticData]") {
        true => {
            let diagnostics: String = (0..110).map(|n| format!("{n}.35250:{:08X}, ", n * 65_793)).collect();
            format!(
                "{text}; Failed to process message with exception [BeginDiagnosticData]{diagnostics}[EndDiagnosticData] \
                 [Hostname=SANDBOX01.prod.outlook.com]"
            )
        }
        false if text.contains("[Hostname=") => text.to_owned(),
        false => format!("{text} [SANDBOX01.prod.outlook.com {id}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(provider: Provider, reply: &str) -> String {
        laid_out(provider, read(reply).unwrap(), "ID")
    }

    #[test]
    fn each_provider_lays_out_its_replies_in_its_own_way() {
        let reply =
            "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=B";
        assert_eq!(
            shown(Provider::Google, reply),
            "535-5.7.8 Username and Password not accepted. For more information, go to\r\n\
             535 5.7.8 https://support.google.com/mail/?p=B ID - gsmtp\r\n"
        );
        assert_eq!(shown(Provider::Google, "550 5.7.1 By a rule. - gcdp"), "550 5.7.1 By a rule. ID - gcdp\r\n");
        assert_eq!(
            shown(Provider::Microsoft, "535 5.7.3 Authentication\\nunsuccessful"),
            "535 5.7.3 Authentication unsuccessful [SANDBOX01.prod.outlook.com ID]\r\n"
        );
        let store = shown(Provider::Microsoft, "430 4.2.0 STOREDRV; mailbox logon failure");
        assert!(store.len() > 1500 && store.matches("\r\n").count() == 1 && store.contains("EndDiagnosticData"), "{store}");
        assert_eq!(shown(Provider::Custom, "450-one\n450 two"), "450-one\r\n450 two\r\n");
    }

    #[test]
    fn what_is_no_refusal_is_not_taken() {
        for reply in ["", "45", "250 2.0.0 OK", "354 go", "999 x", "5501 x", "hello", "\u{e9}50 x"] {
            assert!(check(reply).is_err(), "{reply}");
        }
        for reply in ["450", "450 later", "550-5.1.1 no\n550 5.1.1 such", "421 4.7.0 bye\r\nQUIT"] {
            assert!(check(reply).is_ok(), "{reply}");
        }
    }
}
