//! Named steps at which a test ends the process, as a kill would: nothing is flushed, nothing said.
//!
//! Between the layers 2 and 3, below all that it interrupts. Without the feature `crash-points` it is nothing. `tests/crashes.rs` names every step.

/// Ends the process here if the environment names this step in `CRASH_AT`, as `STEP` or `STEP:N` for its Nth passing.
#[cfg(feature = "crash-points")]
pub fn point(step: &str) {
    use std::{
        collections::HashMap,
        sync::{LazyLock, Mutex, PoisonError},
    };
    static AT: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let wanted = std::env::var("CRASH_AT").ok()?;
        let (step, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((step.to_owned(), times.parse().ok()?))
    });
    static PASSED: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);
    let Some((wanted, times)) = &*AT else { return };
    if wanted != step {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.entry(step.to_owned()).or_insert(0);
    *count += 1;
    if count == times {
        std::process::abort();
    }
}

/// Without the feature: nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_step: &str) {}
