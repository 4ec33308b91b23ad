//! A person authorises a mailbox: logins under way, their answers, and the new grant, tried before it may replace one that works.
//!
//! A login waits 15 minutes, in memory alone. Once its answer came, the rest runs to its end in a task of its own, whoever waits:
//! the provider gives a code's tokens only once.

mod course;
mod entry;
mod redirect;
mod told;

pub use redirect::Listens;
pub use told::{Begun, Kind, Login, Progress, Why, Wish};

use super::Relay;
use crate::{
    config::{Link, Mailbox},
    mail::Name,
    oauth::consent::{Opening, Refusal as Refused, Return},
    provider::{Grant, Provider},
    tokens::{Consent, Refusal},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use entry::{Entry, Way};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long a login may take; Entra's and Google's own pages end after some ten minutes.
pub const LIFE: Duration = Duration::from_secs(15 * 60);

/// Logins that are remembered, under way or over: a person does one at a time.
const MOST: usize = 64;

/// Longest wait for an end in one request of the control socket; below the time-outs of whatever stands between.
pub const LONGEST_POLL: Duration = Duration::from_secs(25);

/// How long a browser waits for the page that says how it ended: exchange, login and store together, and some.
const LONGEST_PAGE: Duration = Duration::from_secs(120);

/// Logins under way, and those that ended lately.
#[derive(Debug, Default)]
pub(super) struct Authorizations {
    entries: Mutex<Vec<Arc<Entry>>>,
    tasks: TaskTracker,
}

impl Authorizations {
    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends those that wait, and waits for those whose answer came.
    pub(super) async fn close(&self) {
        self.tasks.close();
        let waiting = self.entries().clone();
        for entry in waiting {
            entry.end(told::stopping());
        }
        self.tasks.wait().await;
    }

    /// Takes `entry` up in the place of one that waits for the same mailbox.
    fn add(&self, entry: &Arc<Entry>) -> Result<(), Refusal> {
        let mut entries = self.entries();
        for other in entries.iter().filter(|other| other.mailbox == entry.mailbox) {
            if other.end(told::replaced(&entry.mailbox, entry.by.as_deref())) {
                tracing::info!(event = "consent.refused", mailbox = %other.mailbox, "a newer login takes the place of this one");
            }
        }
        let now = Instant::now();
        entries.retain(|entry| !entry.is_over() || now < entry.until);
        if entries.len() >= MOST {
            let ended = entries.iter().position(|entry| entry.is_over()).ok_or_else(too_many)?;
            entries.remove(ended);
        }
        entries.push(entry.clone());
        Ok(())
    }

    fn by_id(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries().iter().find(|entry| entry.id == id).cloned()
    }

    fn by_state(&self, answer: &Return) -> Option<Arc<Entry>> {
        self.entries().iter().find(|entry| entry.opening.is_answered_by(answer)).cloned()
    }
}

impl Relay {
    /// Begins a login. One that waits for the same mailbox ends by it.
    pub async fn begin_authorization(self: &Arc<Self>, wish: Wish) -> Result<Begun, Refusal> {
        if self.authorizations.tasks.is_closed() {
            return Err(told::refusal("outlink is stopping", "start the login again when it runs"));
        }
        let unknown = || told::unknown_mailbox(&wish.mailbox);
        let name = Name::parse(&wish.mailbox).map_err(|_| unknown())?;
        if self.settings().domains.contains_key(&name) {
            return Err(told::refusal(
                format!("mailbox {name} stands for a whole domain: its link signs in by itself"),
                "nobody has to consent; send",
            ));
        }
        let (mailbox, link) = self.mailbox(&name).ok_or_else(unknown)?;
        let consent = self.tokens.consent(&name)?;
        match kind(&wish, &link)? {
            Kind::Browser => self.begin_browser(wish, (&mailbox, &link), consent),
            Kind::Device => self.begin_device(wish, (&mailbox, &link), consent).await,
        }
    }

    fn begin_browser(self: &Arc<Self>, wish: Wish, about: (&Mailbox, &Link), consent: Consent) -> Result<Begun, Refusal> {
        let redirect = redirect::of(about.1, self.settings().http.bind, wish.port)?;
        let opening = Opening::new(&chance()?);
        let url = consent.address(&opening, &redirect.text)?;
        let way = Way { opening, redirect: redirect.text.clone(), consent: Some(consent) };
        let entry = Arc::new(Entry::new((id()?, about.0, wish.by), way, LIFE));
        self.authorizations.add(&entry)?;
        self.authorizations.tasks.spawn(entry.clone().expire());
        Ok(self.say_begun(Begun::browser(&entry, about, url.as_str(), redirect), &entry))
    }

    async fn begin_device(self: &Arc<Self>, wish: Wish, about: (&Mailbox, &Link), consent: Consent) -> Result<Begun, Refusal> {
        let started = consent.start_device().await?;
        let way = Way { opening: Opening::new(&chance()?), redirect: String::new(), consent: None };
        let entry = Arc::new(Entry::new((id()?, about.0, wish.by), way, started.lifetime));
        self.authorizations.add(&entry)?;
        let begun = Begun::device(&entry, about, &started);
        self.authorizations.tasks.spawn(course::poll(self.clone(), entry.clone(), consent, started));
        Ok(self.say_begun(begun, &entry))
    }

    fn say_begun(&self, begun: Begun, entry: &Entry) -> Begun {
        tracing::info!(event = "consent.begun", mailbox = %entry.mailbox, link = %begun.link, kind = begun.kind.word(),
            by = entry.by.as_deref(), expires = %begun.expires, "a login was begun");
        begun
    }

    /// The answer of a login, pasted or taken by the command's own listener. `Err` when it is none: the login goes on waiting.
    pub fn answer_authorization(self: &Arc<Self>, id: &str, text: &str) -> Result<(), Refusal> {
        let entry = self.authorizations.by_id(id).ok_or_else(told::unknown_login)?;
        let answer = Return::read(text)
            .map_err(|why| self.refuse(&entry.mailbox, told::refusal(why.to_string(), "the login still waits for its answer")))?;
        self.take(&entry, answer)
    }

    /// The answer of some login, as the redirect brought it to our own listener: how that login ended.
    pub async fn answer_redirect(self: &Arc<Self>, query: &str) -> (Option<Name>, Progress) {
        let answer = match Return::read(query) {
            Ok(answer) => answer,
            Err(why) => return (None, Progress::refused(self.refuse_unknown(told::refusal(why.to_string(), told::AGAIN)))),
        };
        let Some(entry) = self.authorizations.by_state(&answer) else {
            return (None, Progress::refused(self.refuse_unknown(told::unknown_state())));
        };
        let mailbox = Some(entry.mailbox.clone());
        match self.take(&entry, answer) {
            Ok(()) => (mailbox, entry.ended_by(Instant::now() + LONGEST_PAGE).await),
            Err(refusal) => (mailbox, Progress::answered(refusal)),
        }
    }

    /// The paths that the `[http]` listener serves; none: it is not needed.
    pub fn redirect_paths(&self) -> BTreeSet<String> {
        redirect::paths(&self.settings())
    }

    /// Where the `[http]` listener listens.
    pub fn redirect_addresses(&self) -> Vec<SocketAddr> {
        redirect::addresses(&self.settings())
    }

    /// How a login stands; waits for its end for `patience`, at most [`LONGEST_POLL`].
    pub async fn authorization(&self, id: &str, patience: Duration) -> Option<Progress> {
        let entry = self.authorizations.by_id(id)?;
        Some(entry.ended_by(Instant::now() + patience.min(LONGEST_POLL)).await)
    }

    /// Gives a login up, unless its answer came already; whether there is such a login.
    pub fn cancel_authorization(&self, id: &str) -> bool {
        let entry = self.authorizations.by_id(id);
        entry.is_some_and(|entry| {
            entry.end(told::cancelled());
            true
        })
    }

    /// Takes an answer that was read.
    fn take(self: &Arc<Self>, entry: &Arc<Entry>, answer: Return) -> Result<(), Refusal> {
        if !entry.opening.is_answered_by(&answer) {
            return Err(self.refuse(&entry.mailbox, told::other_state()));
        }
        let Some(consent) = entry.take() else { return Err(self.refuse(&entry.mailbox, told::used(&entry.progress()))) };
        match entry.opening.code(answer, &consent.issuer()) {
            Ok(code) => {
                let course = course::exchange(self.clone(), entry.clone(), consent, code);
                self.authorizations.tasks.spawn(course);
                Ok(())
            }
            Err(why) => {
                let refusal = match why {
                    Refused::Refused(fault) => consent.refusal(&fault),
                    why @ (Refused::State | Refused::Issuer { .. }) => told::refusal(why.to_string(), told::MIXED_UP),
                };
                entry.finish(Progress::refused(self.refuse(&entry.mailbox, refusal)));
                Ok(())
            }
        }
    }

    fn refuse(&self, mailbox: &Name, refusal: Refusal) -> Refusal {
        let Refusal { reason, advice } = &refusal;
        let (advice, advice_name) = (&advice.text, advice.name());
        tracing::warn!(event = "consent.refused", %mailbox, reason, advice, advice_name, "a login gave no grant");
        refusal
    }

    /// Anybody who reaches the listener can make this happen, so it is no warning.
    fn refuse_unknown(&self, refusal: Refusal) -> Refusal {
        let Refusal { reason, advice } = &refusal;
        tracing::info!(event = "consent.refused", reason, advice = advice.text, "an answer that belongs to no login");
        refusal
    }
}

/// The way of this login: as asked for, or as the link's grant says.
fn kind(wish: &Wish, link: &Link) -> Result<Kind, Refusal> {
    match (wish.kind, link.grant) {
        (Some(Kind::Device), _) | (None, Grant::DeviceCode) if link.provider != Provider::Google => Ok(Kind::Device),
        (Some(Kind::Browser), Grant::DeviceCode) => Err(told::refusal(
            format!("link {} has grant = \"device-code\"", link.name),
            format!("leave out the wish for a browser, or write grant = \"authorization-code\" in [link.{}]", link.name),
        )),
        (Some(Kind::Device), _) => Err(told::no_device_at_google()),
        _ => Ok(Kind::Browser),
    }
}

/// Fresh octets.
fn chance<const LENGTH: usize>() -> Result<[u8; LENGTH], Refusal> {
    let mut octets = [0; LENGTH];
    let filled = aws_lc_rs::rand::fill(&mut octets);
    filled.map(|()| octets).map_err(|_| told::refusal("the system gives no random bytes", "start the login again"))
}

/// By what a login is asked about: nobody can guess another's.
fn id() -> Result<String, Refusal> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(chance::<16>()?))
}

fn too_many() -> Refusal {
    told::refusal(format!("{MOST} logins are under way already"), "finish some of them, or wait a quarter of an hour")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login that waits for this mailbox.
    fn waiting(mailbox: &str, life: Duration) -> Arc<Entry> {
        let text = "[link.l]\nprovider = \"custom\"\ngrant = \"authorization-code\"\nclient-id = \"id\"\nscopes = [\"mail.send\"]\n\
             token-endpoint = \"https://login.example.com/token\"\n\
             [mailbox.a]\nlink = \"l\"\naddress = \"a@example.com\"\nserver = \"smtp.example.com:587\"\n";
        let (settings, _) = crate::config::parse(text, &Default::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut named = (**settings.mailboxes.values().next().expect("one mailbox")).clone();
        named.name = Name::parse(mailbox).unwrap();
        let way = Way { opening: Opening::new(&chance().unwrap()), redirect: String::new(), consent: None };
        Arc::new(Entry::new((id().unwrap(), &named, Some("ann".into())), way, life))
    }

    async fn why(entry: &Entry) -> Option<Why> {
        match entry.ended_by(Instant::now()).await {
            Progress::Failed { why, .. } => Some(why),
            Progress::Pending | Progress::Working | Progress::Done { .. } => None,
        }
    }

    #[tokio::test]
    async fn a_login_that_nobody_finishes_ends_in_time_and_ends_once() {
        let entry = waiting("a", Duration::from_millis(1));
        entry.clone().expire().await;
        assert_eq!(why(&entry).await, Some(Why::Expired));
        assert!(!entry.end(told::cancelled()));
        assert_eq!(why(&entry).await, Some(Why::Expired));
        // What was answered is not ended by its time.
        let answered = waiting("a", Duration::from_millis(1));
        assert!(answered.take_device() && !answered.take_device());
        answered.clone().expire().await;
        assert_eq!(answered.ended_by(Instant::now()).await, Progress::Working);
    }

    #[test]
    fn a_login_that_was_given_up_is_not_answered_besides() {
        for _ in 0..2_000 {
            let entry = waiting("a", LIFE);
            let start = std::sync::Barrier::new(2);
            let (ended, taken) = std::thread::scope(|scope| {
                let ending = scope.spawn(|| {
                    start.wait();
                    entry.end(told::cancelled())
                });
                start.wait();
                let taken = entry.take_device();
                (ending.join().unwrap(), taken)
            });
            assert!(ended != taken, "ended: {ended}, taken: {taken}");
        }
    }

    #[tokio::test]
    async fn logins_are_bounded_and_one_of_each_mailbox_waits() {
        let all = Authorizations::default();
        let entries: Vec<_> = (0..MOST).map(|number| waiting(&format!("m{number}"), LIFE)).collect();
        entries.iter().for_each(|entry| all.add(entry).unwrap());
        assert!(all.add(&waiting("one-more", LIFE)).unwrap_err().reason.contains("under way already"));
        // A newer one of a mailbox ends the older one, whose place it takes.
        all.add(&waiting("m7", LIFE)).unwrap();
        assert_eq!((why(&entries[7]).await, why(&entries[8]).await), (Some(Why::Replaced), None));
        assert!(all.by_id(&entries[8].id).is_some() && all.entries().len() == MOST);
        all.close().await;
        assert_eq!(why(&entries[8]).await, Some(Why::Stopping));
    }
}
