//! Tasks by their names, so that a stop can say what it waits for.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::task::JoinSet;

/// How many tasks run under each name.
type Names = BTreeMap<&'static str, usize>;

/// A set of tasks; they end with it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    running: Arc<Mutex<Names>>,
}

impl Tasks {
    /// Runs `task` under `name`.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        *lock(&self.running).entry(name).or_insert(0) += 1;
        // Those that have ended meanwhile.
        while self.set.try_join_next().is_some() {}
        let running = Running { name, all: self.running.clone() };
        self.set.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// Waits for the next one to end; false when none is left.
    pub(super) async fn ended(&mut self) -> bool {
        self.set.join_next().await.is_some()
    }

    /// What still runs, such as `listener (2), renewals`.
    pub(super) fn names(&self) -> String {
        let running = lock(&self.running);
        let named = |(name, count): (&&str, &usize)| match count {
            1 => (*name).to_owned(),
            many => format!("{name} ({many})"),
        };
        running.iter().map(named).collect::<Vec<_>>().join(", ")
    }
}

/// Takes its name back however the task ends.
struct Running {
    name: &'static str,
    all: Arc<Mutex<Names>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        if let Some(count) = all.get_mut(self.name) {
            *count -= 1;
        }
        all.retain(|_, count| *count > 0);
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_still_runs_is_named() {
        let mut tasks = Tasks::default();
        let (end, ended) = oneshot::channel::<()>();
        tasks.spawn("listener", async move { drop(ended.await) });
        tasks.spawn("listener", std::future::pending());
        tasks.spawn("renewals", std::future::pending());
        assert_eq!(tasks.names(), "listener (2), renewals");
        drop(end);
        assert!(tasks.ended().await);
        assert_eq!(tasks.names(), "listener, renewals");
    }
}
