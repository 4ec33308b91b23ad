//! Starts the compiled program and other people's programs for the stories in `tests/`: a temporary directory each, free ports, a
//! deadline on every wait, and an end with the test that started them.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod browser;
pub(crate) mod client_key;
pub(crate) mod clock;
pub(crate) mod dialogue;
pub(crate) mod disk;
pub(crate) mod examination;
pub(crate) mod hunt;
pub(crate) mod letters;
pub(crate) mod login;
pub(crate) mod markdown;
pub(crate) mod mounts;
pub(crate) mod notices;
pub(crate) mod office;
pub(crate) mod proxy;
pub(crate) mod queued;
pub(crate) mod scripted;
pub(crate) mod story;
pub(crate) mod tunnel;
pub(crate) mod wire;
pub(crate) mod world;

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest wait for anything that should be quick; generous, because tests share the machine with compilers.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Longest wait for a message of 25 MB through a debug build.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// The program that stories run instead of the one built for tests.
static OTHER: OnceLock<PathBuf> = OnceLock::new();

/// From now on all stories of this test binary run the release build, whose path `make` hands in.
pub(crate) fn use_release() {
    let path = std::env::var_os("RELEASE_BINARY").map(PathBuf::from).filter(|path| path.is_file());
    let path = path.expect(
        "this test runs the release build: run `make unit`, or `cargo build --locked --release` and then the test with its path \
         in RELEASE_BINARY, such as RELEASE_BINARY=target/release/outlink",
    );
    OTHER.get_or_init(|| path.canonicalize().expect("it is there"));
}

/// The compiled program.
pub(crate) fn outlink() -> Command {
    let mut command = Command::new(OTHER.get().map_or(Path::new(env!("CARGO_BIN_EXE_outlink")), PathBuf::as_path));
    // Nothing of the developer's own environment may change a story.
    for name in ["CRASH_AT", "NOTIFY_SOCKET", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    // Nor may one open windows on the developer's screen.
    for name in ["DISPLAY", "WAYLAND_DISPLAY"] {
        command.env_remove(name);
    }
    command
}

/// A port that was free a moment ago. Below those that the system gives to outgoing connections, of which stories make many; each
/// process begins at another place.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut tries = 0..1000;
    let found = tries.find_map(|_| {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + number % (PORTS.end - PORTS.start)).ok()?;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    found.expect("loopback has a free port")
}

/// The lines that a program wrote, as they come.
#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn read(self: Arc<Self>, stream: impl Read + Send + 'static) {
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|octets| octets > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                self.lines.lock().expect("no reader panics").0.push(text);
                self.changed.notify_all();
                line.clear();
            }
            self.lines.lock().expect("no reader panics").1 = true;
            self.changed.notify_all();
        });
    }

    fn all(&self) -> String {
        self.lines.lock().expect("no reader panics").0.join("\n")
    }

    /// The first line from `from` on that `wanted` takes, and the place behind it; `None` at the deadline or the end of the stream.
    fn next<T>(&self, from: usize, wait: Duration, wanted: impl Fn(&str) -> Option<T>) -> Option<(T, usize)> {
        let deadline = Instant::now() + wait;
        let mut at = from;
        let mut guard = self.lines.lock().expect("no reader panics");
        loop {
            while at < guard.0.len() {
                at += 1;
                if let Some(found) = wanted(&guard.0[at - 1]) {
                    return Some((found, at));
                }
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if guard.1 {
                return None;
            }
            guard = self.changed.wait_timeout(guard, left).expect("no reader panics").0;
        }
    }
}

/// A running program; killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    out: Arc<Lines>,
    err: Arc<Lines>,
    seen: usize,
    what: String,
}

impl Program {
    /// Starts `command`, with a pipe as its standard input that stays open as long as the program is kept.
    pub(crate) fn start(mut command: Command) -> Self {
        let what = format!("{command:?}");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("cannot start {what}: {e}; `make test` installs what the tests need"));
        let (out, err) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
        out.clone().read(child.stdout.take().expect("it was piped"));
        err.clone().read(child.stderr.take().expect("it was piped"));
        Self { child, out, err, seen: 0, what }
    }

    /// The next JSON line on standard output with this `event`; earlier ones are passed over.
    pub(crate) fn event(&mut self, name: &str, wait: Duration) -> Value {
        let parse = |line: &str| serde_json::from_str::<Value>(line).ok().filter(|value| value["event"] == name);
        let Some((value, seen)) = self.out.next(self.seen, wait, parse) else {
            panic!(
                "no event `{name}` within {wait:?} from {}\nstdout:\n{}\nstderr:\n{}",
                self.what,
                self.out.all(),
                self.err.all()
            );
        };
        self.seen = seen;
        value
    }

    /// All JSON lines so far with this `event`.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.out.all();
        lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|value| value["event"] == name).collect()
    }

    /// Waits for a line on standard error that holds `text`.
    pub(crate) fn logged(&self, text: &str, wait: Duration) -> String {
        let found = self.err.next(0, wait, |line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|| panic!("`{text}` was not logged within {wait:?} by {}:\n{}", self.what, self.err.all())).0
    }

    /// Types `text` for it.
    pub(crate) fn types(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("it was piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it reads standard input");
    }

    /// Everything that it wrote so far.
    pub(crate) fn output(&self) -> String {
        format!("{}\n{}", self.out.all(), self.err.all())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on standard output that holds `text`.
    pub(crate) fn printed(&self, text: &str, wait: Duration) -> String {
        let holds = |line: &str| line.contains(text).then(|| line.to_owned());
        self.out.next(0, wait, holds).unwrap_or_else(|| panic!("no {text:?} within {wait:?}:\n{}", self.output())).0
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it was piped");
        writeln!(stdin, "{line}").unwrap_or_else(|e| panic!("{} does not listen: {e}", self.what));
    }

    /// Sends it a signal: `TERM`, `INT`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} could not be sent to {}", self.what);
    }

    /// SIGKILL; gives all that it wrote.
    pub(crate) fn killed(mut self) -> String {
        self.child.kill().expect("it can be killed");
        self.ended().1
    }

    /// Asks it to stop and waits until it has; gives its exit status and all it wrote.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end; gives its exit status and all it wrote.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + SOON;
        let status = loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("{} did not end within {SOON:?}:\n{}", self.what, self.output()),
                // No event of the standard library tells a child's end within a deadline.
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        // The readers end with the pipes.
        self.out.next(usize::MAX, SOON, |_| None::<()>);
        self.err.next(usize::MAX, SOON, |_| None::<()>);
        (status.code(), self.output())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, killed at the deadline.
pub(crate) fn run(mut command: Command, input: &[u8], wait: Duration) -> Output {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("cannot start {what}: {e}; `make test` installs what the tests need"));
    let mut stdin = child.stdin.take().expect("it was piped");
    let input = input.to_vec();
    let (sender, ended) = std::sync::mpsc::channel();
    let id = child.id();
    thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(wait) {
        Ok(output) => output.expect("its output can be read"),
        Err(_) => {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("no end within {wait:?}: {what}")
        }
    }
}

/// `outlink sandbox --json` on free ports.
pub(crate) struct Sandbox {
    /// The process.
    pub(crate) program: Program,
    /// Where apps send.
    pub(crate) smtp: SocketAddr,
    /// User name for apps.
    pub(crate) user: String,
    /// Password for apps.
    pub(crate) password: String,
    /// The HTTP interface.
    pub(crate) http: SocketAddr,
}

impl Sandbox {
    /// Starts it, with the contract `direct` so that apps hear the provider, and waits until it is ready.
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut command = outlink();
        command.args(["sandbox", "--json", "--port-relay", "0", "--port-smtp", "0", "--port-http", "0"]);
        command.args(["--delivery", "direct"]).args(more);
        let mut program = Program::start(command);
        let ready = program.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let address = |key: &str| text(key).parse().unwrap_or_else(|e| panic!("`{key}` in {ready}: {e}"));
        Self { smtp: address("smtp"), user: text("user"), password: text("password"), http: address("http"), program }
    }

    /// Switches a fault on.
    pub(crate) fn fault(&self, name: &str) {
        let (status, answer) = http(self.http, "PUT", &format!("/faults/{name}"), "{}");
        assert!((200..300).contains(&status), "fault {name} on: {status} {}", String::from_utf8_lossy(&answer));
    }

    /// Switches it off.
    pub(crate) fn mend(&self, name: &str) {
        let (status, answer) = http(self.http, "DELETE", &format!("/faults/{name}"), "");
        assert!((200..300).contains(&status), "fault {name} off: {status} {}", String::from_utf8_lossy(&answer));
    }

    /// The next message that the provider received: its event, and its octets.
    pub(crate) fn received(&mut self, wait: Duration) -> (Value, Vec<u8>) {
        let event = self.program.event("received", wait);
        let (status, list) = http(self.http, "GET", "/received", "");
        let list: Value = serde_json::from_slice(&list).unwrap_or_else(|e| panic!("GET /received: {status}, {e}"));
        let number =
            &list.as_array().and_then(|all| all.last()).unwrap_or_else(|| panic!("nothing was received: {list}"))["number"];
        let (status, octets) = http(self.http, "GET", &format!("/received/{number}"), "");
        assert_eq!(status, 200, "GET /received/{number}");
        (event, octets)
    }
}

/// One HTTP exchange: status and body. HTTP/1.0, so that the body simply ends with the connection.
pub(crate) fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap_or_else(|e| panic!("{method} {path} at {address}: {e}"));
    stream.set_read_timeout(Some(SOON)).expect("a time-out can be set");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("a request can be sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|e| panic!("{method} {path} at {address}: {e}"));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_off(end))
}

/// `outlink run --config FILE`, started and ready as systemd would see it.
pub(crate) fn start_daemon(config: &Path, directory: &Path, environment: &[(&str, &str)]) -> Program {
    let mut command = outlink();
    command.args(["run", "--config"]).arg(config).envs(environment.iter().copied());
    start_ready(command, directory)
}

/// Starts `command`, which ends up as `outlink run`, and waits until it is ready.
pub(crate) fn start_ready(mut command: Command, directory: &Path) -> Program {
    let socket = directory.join("notify");
    let _ = std::fs::remove_file(&socket);
    let notify = UnixDatagram::bind(&socket).expect("a notify socket can be made");
    notify.set_read_timeout(Some(SOON)).expect("a time-out can be set");
    command.env("NOTIFY_SOCKET", &socket);
    let program = Program::start(command);
    let mut state = [0; 4096];
    loop {
        match notify.recv(&mut state) {
            Ok(length) if String::from_utf8_lossy(&state[..length]).contains("READY=1") => return program,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => panic!("no READY=1 from `outlink run`: {e}\n{}", program.output()),
        }
    }
}

/// A CA and a certificate for this machine's names signed by it, as `ca.pem`, `cert.pem` and `key.pem`; returns the first one's path.
pub(crate) fn write_certificates(directory: &Path) -> PathBuf {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "outlink test CA");
    let issuer = rcgen::CertifiedIssuer::self_signed(ca, ca_key).expect("a CA");
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(["127.0.0.1", "localhost", proxy::HOST].map(str::to_owned)).expect("names");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
    let file = directory.join("ca.pem");
    std::fs::write(&file, issuer.pem()).expect("it can be written");
    std::fs::write(directory.join("cert.pem"), certificate.pem()).expect("it can be written");
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).expect("it can be written");
    file
}
