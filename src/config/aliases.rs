//! `[aliases]`: the addresses of recipients that programs of this machine name without a domain, such as `root`.

use super::{
    settings::Aliases,
    table::{Table, Wrong},
    words,
};
use crate::mail::Address;
use std::collections::BTreeMap;

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
    let mut all = BTreeMap::new();
    for (name, text) in texts {
        let Ok(address) = Address::parse(&text) else { continue };
        if all.insert(name.to_lowercase(), address).is_some() {
            let hint = "names are compared without case; leave one of them";
            table.fault(&name, Wrong::new(format!("`{}` stands here twice", name.to_lowercase()), hint));
        }
    }
    Aliases::new(all)
}
