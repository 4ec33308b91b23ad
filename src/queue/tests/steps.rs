//! What may happen to a queue, and how often.

use super::machine::{HOUR, MAILBOXES};
use crate::{
    queue::Order,
    store::{LARGEST_IN_MEMORY, tests::name},
};
use proptest::{prelude::*, sample::select};
use std::time::Duration;

/// What may happen. Numbers that choose among messages count around.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Accept { mailbox: usize, app: usize, author: usize, recipients: usize, settled: usize, octets: usize, start: Start },
    Claim { owner: usize, mailbox: usize, app: usize, most: usize },
    Probe { owner: usize, mailbox: usize, author: usize },
    Settle { which: usize, how: How },
    SettleLate { which: usize, how: How },
    Unclaim { which: usize },
    HoldClaimed { which: usize },
    Crash { unnamed: bool },
    Renew { owner: usize },
    Advance(Duration),
    Stop { mailbox: usize },
    GoOn { mailbox: usize },
    Order { order: Order, which: Option<usize>, mailbox: usize },
    ReleaseSender { mailbox: usize, author: usize },
    FitTo { mailboxes: usize, apps: usize },
    FailHeld { mailbox: usize, since: Option<Duration> },
    Forget,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    Waiting,
    Claimed { owner: usize },
    Held,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Delivered,
    Refused,
    /// The first ones are delivered, the others wait.
    InPart(usize),
    Retry(Duration),
    Warned,
    Hold,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (mailbox, app, author, owner, which) = (0..2_usize, 0..3_usize, 0..2_usize, 0..2_usize, any::<usize>());
    let octets = prop_oneof![9 => 0..3000_usize, 1 => LARGEST_IN_MEMORY + 1..LARGEST_IN_MEMORY + 70_000];
    let start = prop_oneof![4 => Just(Start::Waiting), 2 => owner.clone().prop_map(|owner| Start::Claimed { owner }), 1 => Just(Start::Held)];
    let accept = (mailbox.clone(), app.clone(), author.clone(), 1..=5_usize, 0..8_usize, octets, start);
    let passing = select(vec![1, 60, 599, 601, 3600, 13 * 3600, 50 * 3600]).prop_map(Duration::from_secs);
    let order = prop_oneof![
        Just(Order::Retry),
        Just(Order::Hold),
        Just(Order::Release),
        Just(Order::Discard),
        select(&MAILBOXES[..]).prop_map(|mailbox| Order::Move(name(mailbox)))
    ];
    prop_oneof![
        10 => accept.prop_map(|(mailbox, app, author, recipients, settled, octets, start)| Step::Accept {
            mailbox, app, author, recipients, settled: settled.min(recipients - 1) * usize::from(settled < 3), octets, start
        }),
        8 => (owner.clone(), mailbox.clone(), app, 1..4_usize)
            .prop_map(|(owner, mailbox, app, most)| Step::Claim { owner, mailbox, app, most }),
        3 => (owner.clone(), mailbox.clone(), author.clone()).prop_map(|(owner, mailbox, author)| Step::Probe { owner, mailbox, author }),
        8 => (which, how()).prop_map(|(which, how)| Step::Settle { which, how }),
        2 => (which, how()).prop_map(|(which, how)| Step::SettleLate { which, how }),
        1 => which.prop_map(|which| Step::Unclaim { which }),
        1 => which.prop_map(|which| Step::HoldClaimed { which }),
        1 => any::<bool>().prop_map(|unnamed| Step::Crash { unnamed }),
        2 => owner.prop_map(|owner| Step::Renew { owner }),
        6 => passing.prop_map(Step::Advance),
        1 => mailbox.clone().prop_map(|mailbox| Step::Stop { mailbox }),
        1 => mailbox.clone().prop_map(|mailbox| Step::GoOn { mailbox }),
        5 => (order, proptest::option::of(which), mailbox.clone())
            .prop_map(|(order, which, mailbox)| Step::Order { order, which, mailbox }),
        2 => (mailbox.clone(), author).prop_map(|(mailbox, author)| Step::ReleaseSender { mailbox, author }),
        2 => (0..4_usize, 0..8_usize).prop_map(|(mailboxes, apps)| Step::FitTo { mailboxes, apps }),
        1 => (mailbox, proptest::option::of(Just(30 * HOUR))).prop_map(|(mailbox, since)| Step::FailHeld { mailbox, since }),
        1 => Just(Step::Forget),
    ]
}

fn how() -> impl Strategy<Value = How> {
    let pause = select(vec![60, 3600]).prop_map(Duration::from_secs);
    prop_oneof![
        2 => Just(How::Delivered),
        1 => Just(How::Refused),
        2 => (1..4_usize).prop_map(How::InPart),
        2 => pause.prop_map(How::Retry),
        1 => Just(How::Warned),
        2 => Just(How::Hold),
    ]
}
