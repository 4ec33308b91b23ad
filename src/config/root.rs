//! The outermost table, and the small ones that stand in it.

use super::{
    aliases, app, checks, link, listener, mailbox, notify, queue,
    settings::{Aliases, DomainMailbox, Http, Log, LogFormat, Mailbox, Queue, Settings},
    table::{Reader, Table, Wrong},
    words,
};
use crate::mail::Name;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

/// Of the OAuth callback: what is registered at providers, so it stays.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);

/// Where programs leave messages while the daemon is down.
pub const DROP: &str = "/var/spool/outlink/drop";

/// Reads everything. What comes back counts only when the reader found no fault.
pub(super) fn read(reader: &Reader<'_>) -> Option<Settings> {
    let mut root = reader.root();
    ignore_foreign_variables(&mut root);
    let state_directory = state_directory(&mut root);
    let hostname = root.parsed("hostname", words::hostname);
    let control_group = root.parsed("control-group", words::word);
    let log = root.table("log").map_or_else(default_log, |mut table| read_log(&mut table));
    let http = root.table("http").map_or(Http { bind: HTTP }, |mut table| read_http(&mut table));
    let queue = root.table("queue").map_or_else(Queue::default, |mut table| queue::read(&mut table));
    let aliases = root.table("aliases").map_or_else(Aliases::default, |mut table| aliases::read(&mut table));
    let drop = root.table("drop").and_then(|mut table| read_drop(&mut table)).unwrap_or_else(|| DROP.into());
    root.later(&["store"]);

    let (links, declared_links) = all(root.tables("link"), link::read);
    let (found, declared) = all(root.tables("mailbox"), |name, table| mailbox::read(name, table, &links, &declared_links));
    let (mailboxes, domains) = sorted(found);
    let known = notify::Declared { links: &declared_links, mailboxes: &declared, good: &mailboxes, domains: &domains };
    let (hooks, _) = all(root.tables("notify"), |name, table| notify::read(name, table, &known));
    let (apps, _) = all(root.tables("app"), |name, table| app::read(name, table, &declared));
    let (mut listeners, declared) = all(root.tables("listener"), listener::read);
    if declared.is_empty() {
        listeners.extend(listener::default().map(|listener| (listener.name.clone(), Arc::new(listener))));
    }
    root.finish();
    checks::apps(reader, &apps);
    checks::domains(reader, &domains, &apps);
    checks::warnings(reader, &queue, &apps);
    checks::listeners(reader, &listeners, &apps);
    checks::ways_in(reader, &listeners, &apps, &drop);
    let state_directory = state_directory?;
    let sealed = reader.take_sealed();
    Some(Settings {
        state_directory,
        hostname,
        listeners,
        links,
        mailboxes,
        domains,
        apps,
        aliases,
        hooks,
        queue,
        drop,
        http,
        log,
        control_group,
        sealed,
    })
}

type Domains = BTreeMap<Name, Arc<DomainMailbox>>;

/// Mailboxes of one address, and of whole domains.
fn sorted(found: BTreeMap<Name, Arc<mailbox::Found>>) -> (BTreeMap<Name, Arc<Mailbox>>, Domains) {
    let (mut mailboxes, mut domains) = (BTreeMap::new(), BTreeMap::new());
    for (name, found) in found {
        match &*found {
            mailbox::Found::One(mailbox) => drop(mailboxes.insert(name, mailbox.clone())),
            mailbox::Found::Domain(domain) => drop(domains.insert(name, domain.clone())),
        }
    }
    (mailboxes, domains)
}

/// Reads each named table; those with a fault are only declared.
fn all<'a, T>(
    tables: Vec<(Name, Table<'a>)>,
    mut read: impl FnMut(Name, &mut Table<'a>) -> Option<T>,
) -> (BTreeMap<Name, Arc<T>>, BTreeSet<Name>) {
    let declared = tables.iter().map(|(name, _)| name.clone()).collect();
    let read =
        tables.into_iter().filter_map(|(name, mut table)| Some((name.clone(), Arc::new(read(name, &mut table)?)))).collect();
    (read, declared)
}

/// Variables such as `OUTLINK_PORT_2525_TCP` (an orchestrator's) or `OUTLINK_CONTOSO_SECRET` (named by an `{ env = … }`) look like keys of
/// the outermost table. They are no reason to refuse; a slip in a table's key is.
fn ignore_foreign_variables(root: &mut Table<'_>) {
    const KNOWN: [&str; 14] = [
        "state-directory",
        "hostname",
        "control-group",
        "log",
        "http",
        "queue",
        "drop",
        "store",
        "aliases",
        "link",
        "mailbox",
        "app",
        "listener",
        "notify",
    ];
    let sources = root.sources();
    let foreign = |key: &str| {
        let layer = sources.find(&[key.to_owned()]).map(|(_, layer, _)| layer.numbered);
        !KNOWN.contains(&key) && layer == Some(false)
    };
    let referred: BTreeSet<_> = sources.layers.iter().flat_map(|layer| layer.variables_referred_to()).collect();
    for key in root.drop_where(foreign) {
        let variable = format!("OUTLINK_{}", key.to_ascii_uppercase().replace('-', "_"));
        if !referred.contains(&variable) {
            root.note(&key, "this variable begins like a key of the configuration but is none; it is ignored");
        }
    }
}

/// It was needed to find the layers; here it only has to agree with them.
fn state_directory(root: &mut Table<'_>) -> Option<PathBuf> {
    let found = root.sources().state_directory.clone();
    let given = root.has("state-directory");
    let path = root.path("state-directory");
    if given && path.as_ref().is_some_and(|path| *path != found) {
        root.fault("state-directory", Wrong::new("a file in the state directory cannot move it", "set it in the main file"));
    }
    if found.is_relative() && root.sources().layers.iter().any(|layer| layer.numbered && layer.file.is_absolute()) {
        root.fault("state-directory", "this has to be an absolute path");
    }
    Some(found)
}

fn default_log() -> Log {
    Log { format: LogFormat::Text, level: "info".into() }
}

fn read_log(table: &mut Table<'_>) -> Log {
    let default = default_log();
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json), ("journald", LogFormat::Journald)];
    let format = table.choice("format", &words).unwrap_or(default.format);
    if format == LogFormat::Journald {
        table.note("format", "fields for the journal come in a later version; text is written until then");
    }
    let level = table.parsed("level", |text| {
        let hint = "write error, warn, info, debug or trace, or a filter such as \"info,outlink::upstream=debug\"";
        match text.is_empty() {
            true => Err(Wrong::new("this is empty", hint)),
            false => tracing_subscriber::EnvFilter::try_new(text)
                .map(|_| text.to_owned())
                .map_err(|error| Wrong::new(format!("`{text}` is no level: {error}"), hint)),
        }
    });
    table.finish();
    Log { format, level: level.unwrap_or(default.level) }
}

fn read_http(table: &mut Table<'_>) -> Http {
    let bind = table.parsed("bind", words::bind).unwrap_or(HTTP);
    table.finish();
    Http { bind }
}

fn read_drop(table: &mut Table<'_>) -> Option<PathBuf> {
    let directory = table.path("directory");
    table.finish();
    directory
}
