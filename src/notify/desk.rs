//! One hook at work: its events wait in order, one is told at a time, and what fails is tried again for a while.

use super::{
    attempt::{Done, Failure},
    event::Event,
    waiting::Waiting,
};
use crate::config::Hook;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The pauses between the tries of one event: a restart of the receiver, a dropped connection, an outage of some minutes. Then whoever
/// reads the log has to help, and newer events have their turn.
pub(super) const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

/// A hook with what waits for it.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Wakes the task: something waits, or it ends.
    wake: Notify,
    /// Ends a pause: the hook is another, or there is no time left.
    hurry: Notify,
}

#[derive(Debug)]
struct State {
    hook: Arc<Hook>,
    waiting: Waiting,
    /// Nothing more comes: what waits is told once more, then it ends.
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(hook: Arc<Hook>) -> Arc<Self> {
        let state = State { hook, waiting: Waiting::default(), is_closed: false };
        Arc::new(Self { state: Mutex::new(state), wake: Notify::new(), hurry: Notify::new() })
    }

    /// The hook as it is now.
    pub(super) fn hook(&self) -> Arc<Hook> {
        self.state().hook.clone()
    }

    /// Takes up another configuration; what waits is told by it.
    pub(super) fn configure(&self, hook: Arc<Hook>) {
        let before = std::mem::replace(&mut self.state().hook, hook.clone());
        if before != hook {
            self.hurry.notify_waiters();
        }
    }

    /// One more event.
    pub(super) fn push(&self, event: Event) {
        self.state().waiting.push(event);
        self.wake.notify_one();
    }

    /// Nothing more comes; what waits is still told.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.wake.notify_one();
        self.hurry.notify_waiters();
    }

    /// Forgets what waits; how many those were.
    pub(super) fn clear(&self) -> usize {
        self.state().waiting.clear()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event, with the hook as it is then; `None` when nothing more comes.
    async fn next(&self) -> Option<(Arc<Hook>, Event)> {
        loop {
            {
                let mut state = self.state();
                if let Some(event) = state.waiting.next() {
                    return Some((state.hook.clone(), event));
                }
                if state.is_closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Tells one event after the other by `attempt`, with these pauses between the tries of one.
    pub(super) async fn work<A>(self: Arc<Self>, pauses: [Duration; 4], attempt: impl Fn(Arc<Hook>, Event) -> A)
    where
        A: Future<Output = Result<Done, Failure>>,
    {
        let mut failures = 0;
        while let Some((hook, event)) = self.next().await {
            let begun = std::time::Instant::now();
            let attempted = attempt(hook.clone(), event.clone()).await;
            let ms = begun.elapsed().as_millis() as u64;
            let tries = failures + 1;
            let Event { id, mailbox, link, state, left_out, .. } = &event;
            let mailbox = mailbox.as_ref().map(tracing::field::display);
            let pause = pauses.get(failures).filter(|_| !self.state().is_closed);
            match (attempted, pause) {
                (Ok(done), _) => {
                    tracing::info!(event = "notify.sent", hook = %hook.name, notification = %id, mailbox, %link, %state, left_out, tries, ms,
                        "{}", done.0);
                    self.state().waiting.works();
                    failures = 0;
                }
                (Err(failure), Some(pause)) if failure.is_passing => {
                    tracing::debug!(hook = %hook.name, notification = %id, why = failure.why, seconds = pause.as_secs(), "a hook is tried again");
                    failures += 1;
                    let hurry = self.hurry.notified();
                    tokio::pin!(hurry);
                    // From here on a change is noticed.
                    hurry.as_mut().enable();
                    self.state().waiting.put_back(event);
                    if !self.state().is_closed && timeout(*pause, hurry).await.is_ok() {
                        failures = 0;
                    }
                }
                (Err(failure), _) => {
                    tracing::warn!(event = "notify.failed", hook = %hook.name, notification = %id, mailbox, %link, %state, left_out, tries, ms,
                        reason = failure.why, advice = failure.step, "a hook failed: nobody was told of this change by it");
                    failures = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Action,
        mail::State as Word,
        notify::event::tests::{event, name},
    };
    use Word::{Failing, NeedsConsent, Ready};
    use tokio::sync::mpsc;

    /// Longer than any test.
    const LONG: u64 = 3_600_000;

    fn hook(program: &str) -> Arc<Hook> {
        let action = Action::Command(vec![program.to_owned()]);
        Arc::new(Hook { name: name("page"), action, states: Word::ALL.into(), only: None, timeout: Duration::from_secs(1) })
    }

    /// What a desk tried: the program, what changed, its state, what was left out.
    type Tried = (String, String, Word, u64);

    /// A desk at work whose tries are told one by one, and go as `goes` says; with pauses in milliseconds.
    fn at_work(
        pauses: [u64; 4],
        goes: impl Fn(&Tried) -> Result<Done, Failure> + Send + 'static,
    ) -> (Arc<Desk>, mpsc::UnboundedReceiver<Tried>, tokio::task::JoinHandle<()>) {
        let desk = Desk::new(hook("/one"));
        let (tell, told) = mpsc::unbounded_channel();
        let work = desk.clone().work(pauses.map(Duration::from_millis), move |hook: Arc<Hook>, event: Event| {
            let Action::Command(words) = &hook.action else { panic!("{hook:?}") };
            let tried = (words[0].clone(), event.what(), event.state, event.left_out);
            let went = goes(&tried);
            // A test that has seen enough is gone.
            let _ = tell.send(tried);
            std::future::ready(went)
        });
        (desk, told, tokio::spawn(work))
    }

    fn passing() -> Result<Done, Failure> {
        Err(Failure::passing("no route".into(), "mend it"))
    }

    fn good() -> Result<Done, Failure> {
        Ok(Done("done".into()))
    }

    fn tried(mailbox: &str, state: Word, left_out: u64) -> Tried {
        ("/one".into(), format!("mailbox {mailbox}"), state, left_out)
    }

    async fn next(told: &mut mpsc::UnboundedReceiver<Tried>) -> Tried {
        timeout(Duration::from_secs(10), told.recv()).await.expect("a try").expect("it works")
    }

    #[tokio::test]
    async fn what_fails_is_tried_five_times_and_then_the_next_has_its_turn() {
        let (desk, mut told, task) = at_work([1; 4], |(_, what, ..)| if what == "mailbox a" { passing() } else { good() });
        desk.push(event("a", Ready, Failing));
        desk.push(event("b", Ready, Failing));
        for _ in 0..5 {
            assert_eq!(next(&mut told).await, tried("a", Failing, 0));
        }
        assert_eq!(next(&mut told).await, tried("b", Failing, 0));
        desk.close();
        task.await.unwrap();
        assert!(told.recv().await.is_none());
    }

    #[tokio::test]
    async fn what_a_person_has_to_mend_is_not_tried_again() {
        let (desk, mut told, _task) = at_work([LONG; 4], |_| Err(Failure::lasting("401".into(), "compare the secrets")));
        desk.push(event("a", Ready, Failing));
        desk.push(event("a", Failing, Ready));
        assert_eq!([next(&mut told).await, next(&mut told).await], [tried("a", Failing, 0), tried("a", Ready, 0)]);
    }

    #[tokio::test]
    async fn a_newer_change_takes_the_place_of_one_that_failed_and_another_hook_is_tried_at_once() {
        let (desk, mut told, task) = at_work([LONG; 4], |(program, ..)| if program == "/one" { passing() } else { good() });
        desk.push(event("a", Ready, Failing));
        assert_eq!(next(&mut told).await, tried("a", Failing, 0));
        desk.push(event("a", Failing, NeedsConsent));
        let again = async {
            loop {
                // Its pause may not have begun yet.
                desk.configure(hook("/one"));
                desk.configure(hook("/two"));
                match timeout(Duration::from_millis(20), told.recv()).await {
                    Ok(Some(tried)) if tried.0 == "/two" => return tried,
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => panic!("it ended"),
                }
            }
        };
        let again = timeout(Duration::from_secs(10), again).await.expect("it is tried again");
        assert_eq!(again, ("/two".into(), "mailbox a".into(), NeedsConsent, 1));
        desk.close();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn at_the_end_each_is_tried_once_more_without_a_pause() {
        let (desk, mut told, task) = at_work([LONG; 4], |_| passing());
        desk.push(event("a", Ready, Failing));
        desk.push(event("b", Ready, Failing));
        assert_eq!(next(&mut told).await, tried("a", Failing, 0));
        desk.close();
        assert_eq!([next(&mut told).await, next(&mut told).await], [tried("a", Failing, 0), tried("b", Failing, 0)]);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_hook_that_is_taken_out_tells_nothing_more() {
        let (desk, mut told, task) = at_work([LONG; 4], |_| passing());
        desk.push(event("a", Ready, Failing));
        next(&mut told).await;
        // Until its failure is put back, there is nothing to forget.
        while desk.clear() == 0 {
            tokio::task::yield_now().await;
        }
        desk.close();
        task.await.unwrap();
        assert!(told.recv().await.is_none());
    }
}
