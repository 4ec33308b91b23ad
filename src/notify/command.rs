//! A hook that is a program: JSON on its standard input, a clean environment, a process group of its own.
//!
//! Nothing that it does can hold us up. Its output is read as it comes, and only its end is kept; what is left of its group when it ends,
//! or when its time is over, is killed; pipes that somebody still holds then are closed on our side.

use super::{
    attempt::{Done, Failure},
    event::{Event, one_line},
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    env, io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};

/// Octets of each output that are kept: its end, where the reason stands.
const KEPT: usize = 1600;

/// Characters of its output that are told.
const TOLD: usize = 400;

/// How long what it wrote last is waited for when it has ended, and how long its end when it was killed.
const LAST: Duration = Duration::from_secs(1);

/// Where programs are looked for, as far as our own environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kills a process group when it goes, however that comes: also when the program that waits for it is stopped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // A number is given anew only after all others were, so that none of a new group is met a moment after the end of an old one.
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs it once.
pub(super) async fn run(words: &[String], event: &Event, json: String, limit: Duration) -> Result<Done, Failure> {
    let deadline = Instant::now() + limit;
    let program = words.first().map_or("", String::as_str);
    let mut child = match timeout_at(deadline, start(words, event)).await {
        Ok(child) => child.map_err(|error| not_started(program, &error))?,
        Err(_) => return Err(too_late(program, limit, "")),
    };
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let talk = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // One that does not want to know closes it, or never reads.
                    let _ = stdin.write_all(json.as_bytes()).await;
                }
            };
            tokio::join!(feed, keep_end(stdout, &mut out), keep_end(stderr, &mut err));
        };
        tokio::pin!(talk);
        let mut has_ended_talking = false;
        let ended = timeout_at(deadline, async {
            tokio::select! {
                ended = child.wait() => return ended,
                () = &mut talk => has_ended_talking = true,
            }
            child.wait().await
        })
        .await;
        drop(group);
        // With its group gone the pipes end, unless somebody left the group and still holds them.
        if !has_ended_talking {
            let _ = timeout(LAST, &mut talk).await;
        }
        ended
    };
    let said = said(&err, &out);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(Done(format!("{program} ended with status 0"))),
        Ok(Ok(status)) => Err(Failure::passing(
            format!("{program} {}{said}", in_words(status)),
            "run it by hand as the service's user, with the event's JSON on standard input",
        )),
        Ok(Err(error)) => {
            Err(Failure::passing(format!("the end of {program} cannot be awaited: {error}"), "look at the system's log"))
        }
        Err(_) => {
            // Killed above; awaited, so that it leaves no zombie.
            let _ = timeout(LAST, child.wait()).await;
            Err(too_late(program, limit, &said))
        }
    }
}

/// Starts it. Beside the runtime: a file on a share that hangs must not hold up mail.
async fn start(words: &[String], event: &Event) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(event)).current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.spawn()).await.map_err(io::Error::other)?
}

/// What every program expects, and the event for scripts that read no JSON.
fn environment(event: &Event) -> Vec<(&'static str, String)> {
    let ours =
        |name, otherwise: &str| (name, env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(otherwise.to_owned()));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        ours("PATH", PATH),
        ours("LANG", "C.UTF-8"),
        ours("HOME", "/"),
        ("EVENT", event.event.to_owned()),
        ("EVENT_ID", event.id.clone()),
        ("EVENT_LINK", event.link.clone()),
        ("EVENT_MAILBOX", text(&event.mailbox)),
        ("EVENT_STATE", event.state.to_string()),
        ("EVENT_BEFORE", event.before.to_string()),
        ("EVENT_REASON", text(&event.reason)),
        ("EVENT_ADVICE", text(&event.advice)),
        ("EVENT_TEXT", event.text.clone()),
    ]
}

/// Reads to the end and keeps the last octets.
async fn keep_end(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
}

/// The end of what it wrote, for a log line; complaints before other output.
fn said(err: &[u8], out: &[u8]) -> String {
    let text = [err, out].map(|octets| one_line(&String::from_utf8_lossy(octets))).into_iter().find(|text| !text.is_empty());
    let Some(text) = text else { return String::new() };
    let from = text.char_indices().rev().nth(TOLD).map_or(0, |(at, _)| at);
    format!(" and said: {}{}", if from > 0 { "... " } else { "" }, &text[from..])
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn too_late(program: &str, limit: Duration, said: &str) -> Failure {
    Failure::passing(
        format!("{program} did not end within {} seconds and was killed{said}", limit.as_secs()),
        "let it end sooner, or raise the hook's timeout",
    )
}

fn not_started(program: &str, error: &io::Error) -> Failure {
    let step = "let the service's user read and execute it; a script begins with #! and the path of its interpreter";
    let why = format!("cannot start {program}: {error}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Failure::lasting(why, step),
        _ => Failure::passing(why, step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mail::State, notify::event::tests::event};
    use std::{fs, path::Path, time::Instant as Clock};

    /// Runs a script with `sh`.
    async fn script(text: &str, limit: Duration) -> Result<Done, Failure> {
        let mut event = event("alerts", State::Ready, State::NeedsConsent);
        event.reason = Some("it's \"gone\"; rm -rf /".into());
        let words = ["/bin/sh", "-c", text].map(str::to_owned);
        run(&words, &event, event.json(), limit).await
    }

    /// Waits until a killed process is gone; a zombie, which somebody else has to bury, is no program that runs.
    async fn dies(pid: &str) {
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        let begun = Clock::now();
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{pid} lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_command_reads_the_event_and_has_a_clean_environment() {
        let directory = tempfile::tempdir().unwrap();
        let (input, environment) = (directory.path().join("input"), directory.path().join("environment"));
        script(&format!("cat > {}; env > {}", input.display(), environment.display()), LIMIT).await.unwrap();
        let mut event = event("alerts", State::Ready, State::NeedsConsent);
        event.reason = Some("it's \"gone\"; rm -rf /".into());
        assert_eq!(fs::read_to_string(input).unwrap(), event.json());
        let environment = fs::read_to_string(environment).unwrap();
        for line in
            ["EVENT=mailbox.changed", "EVENT_MAILBOX=alerts", "EVENT_STATE=needs-consent", "EVENT_REASON=it's \"gone\"; rm -rf /"]
        {
            assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
        }
        assert!(!environment.contains("OUTLINK_") && !environment.contains("CARGO"), "{environment}");
    }

    #[tokio::test]
    async fn a_failure_tells_its_status_and_the_end_of_what_it_said() {
        let failure = script("echo fine; seq 1 200000; echo 'no \u{1b}[31mroute' >&2; exit 3", LIMIT).await.unwrap_err();
        assert_eq!(failure.why, "/bin/sh ended with status 3 and said: no [31mroute");
        assert!(failure.is_passing);
        let failure = script("seq 1 200000; kill -9 $$", LIMIT).await.unwrap_err();
        assert!(
            failure.why.starts_with("/bin/sh was ended by signal 9 and said: ... ") && failure.why.ends_with(" 200000"),
            "{failure:?}"
        );
        assert!(failure.why.len() < 600);
    }

    #[tokio::test]
    async fn a_command_that_reads_nothing_is_not_waited_for() {
        assert!(script("exec <&-; exit 0", LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_not_tried_again() {
        let event = event("alerts", State::Ready, State::Failing);
        let failure = run(&["/nonexistent/page".into()], &event, event.json(), LIMIT).await.unwrap_err();
        assert!(failure.why.starts_with("cannot start /nonexistent/page: No such file") && !failure.is_passing, "{failure:?}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children_and_leaves_no_zombie() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let begun = Clock::now();
        let text = format!("sleep 1000 & echo $! $$ > {}; echo stuck; wait", pids.display());
        let failure = script(&text, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(failure.why, "/bin/sh did not end within 2 seconds and was killed and said: stuck");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let pids = fs::read_to_string(pids).unwrap();
        let (child, leader) = pids.trim().split_once(' ').unwrap();
        dies(child).await;
        assert!(!Path::new("/proc").join(leader).exists(), "it was awaited");
    }

    #[tokio::test]
    async fn a_child_that_holds_the_pipes_does_not_hold_us() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let begun = Clock::now();
        // In the group, and out of it.
        script(&format!("sleep 1000 & echo $! > {0}; exit 0", pids.display()), LIMIT).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5));
        // The group ends with its leader.
        dies(&fs::read_to_string(&pids).unwrap()).await;
        fs::remove_file(&pids).unwrap();
        script(
            &format!("setsid sh -c 'echo $$ > {0}; exec sleep 1000' & while ! test -s {0}; do :; done", pids.display()),
            LIMIT,
        )
        .await
        .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        let escaped = fs::read_to_string(&pids).unwrap();
        let _ = std::process::Command::new("kill").args(["-9", escaped.trim()]).status();
    }

    #[tokio::test]
    async fn a_run_that_is_given_up_takes_its_group_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let text = format!("sleep 1000 & echo $! > {}.new; mv {0}.new {0}; wait", pids.display());
        let given_up = timeout(Duration::from_secs(20), async {
            tokio::select! {
                _ = script(&text, Duration::from_secs(100)) => panic!("it hangs"),
                () = async { while !pids.exists() { tokio::time::sleep(Duration::from_millis(10)).await } } => {}
            }
        });
        given_up.await.unwrap();
        dies(&fs::read_to_string(pids).unwrap()).await;
    }
}
