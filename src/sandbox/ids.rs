//! How often each Message-ID came: for tests that must account for every one of thousands of messages, however few are kept.

use std::collections::HashMap;

/// Most ids counted: some hundred MB of usual ids. Those that come when it is full are not counted but told.
const MOST: usize = 1_000_000;

/// Message-IDs, each with how often it came.
#[derive(Default)]
pub(super) struct MessageIds {
    counts: HashMap<Box<str>, u64>,
    missed: u64,
}

impl MessageIds {
    /// Counts one more; whether it came before. A message without an id is nobody.
    pub(super) fn count(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return false;
        }
        if let Some(count) = self.counts.get_mut(id) {
            *count += 1;
            return true;
        }
        match self.counts.len() < MOST {
            true => drop(self.counts.insert(id.into(), 1)),
            false => self.missed += 1,
        }
        false
    }

    /// How many different ones are counted.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// How often one came that was not counted, because there were too many others.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// A JSON object, id by count, in no order.
    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.counts).expect("text and numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_counted_and_none_beyond_the_bound() {
        let mut ids = MessageIds::default();
        assert_eq!(["<a@x>", "", "<a@x>", ""].map(|id| ids.count(id)), [false, false, true, false]);
        assert_eq!(ids.json(), br#"{"<a@x>":2}"#);
        assert!((1..MOST).all(|number| !ids.count(&number.to_string())));
        assert_eq!((ids.len(), ids.missed()), (MOST, 0));
        assert!(!ids.count("one more") && !ids.count("one more") && ids.count("<a@x>"));
        assert_eq!((ids.len(), ids.missed()), (MOST, 2));
    }
}
