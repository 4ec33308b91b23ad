//! `[aliases]`: the addresses of recipients that programs of this machine name without a domain, such as `root`.

use super::{
    settings::Aliases,
    table::{Table, Wrong},
    words,
};
use crate::mail::Address;

/// More than any machine has users that send.
const MOST: usize = 1000;

/// Reads all.
pub(super) fn read(table: &mut Table<'_>) -> Aliases {
    let (count, texts) = table.texts(|name, text| {
        let is_local = Address::parse(name).is_ok_and(|address| address.domain().is_none());
        if !is_local {
            let hint = "write a name without a domain, such as root = \"it@example.com\", or \"*\" for all others";
            return Err(Wrong::new(format!("`{name}` is no recipient without a domain"), hint));
        }
        words::address(&text).map(|_| text)
    });
    if count > MOST {
        table.fault_here(format!("there are more than {MOST} aliases"));
    }
    let read = |(name, text): (String, String)| Some((name.to_lowercase(), Address::parse(&text).ok()?));
    Aliases::new(texts.into_iter().filter_map(read).collect())
}
