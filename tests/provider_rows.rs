//! Every row of the providers' error tables, played by the sandbox and driven through the daemon: what the log says and advises, how
//! link and mailbox stand, what becomes of the mail, and that it flows again when the fault is over.
//!
//! All rows of a provider are on at once, each on a link, a mailbox and an app of its own, beside one daemon; time is moved, not
//! waited for.

mod support;

#[path = "provider_rows/consents.rs"]
mod consents;
#[path = "provider_rows/google.rs"]
mod google;
#[path = "provider_rows/microsoft.rs"]
mod microsoft;
#[path = "provider_rows/play.rs"]
mod play;

use play::play;

#[test]
fn every_row_of_google_is_told_and_mended() {
    play("google", google::ROWS);
}

#[test]
fn every_row_of_microsoft_is_told_and_mended() {
    play("microsoft", microsoft::ROWS);
}

#[test]
fn every_row_before_a_login_is_told_and_mended() {
    std::thread::scope(|scope| {
        for (personality, rows) in [("google", google::STRANGERS), ("microsoft", microsoft::STRANGERS)] {
            rows.iter().for_each(|row| drop(scope.spawn(move || play(personality, std::slice::from_ref(row)))));
        }
    });
}

#[test]
fn every_refusal_of_a_consent_is_told_and_destroys_no_grant() {
    for (personality, options, refusals) in [
        ("google", &[][..], consents::GOOGLE),
        ("microsoft", &["--grant", "authorization-code"], consents::MICROSOFT),
        ("microsoft", &["--grant", "device-code", "--device-interval", "1s"], consents::DEVICE),
    ] {
        consents::play(personality, options, refusals);
    }
}
