//! What processes cost: a relay is one process or, as Postfix, a master and those that it started, ended ones included.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Clock ticks of /proc/PID/stat: 100 a second on every Linux that Debian ships.
const TICK: Duration = Duration::from_millis(10);

/// Syncs of which the median is taken.
const SYNCS: usize = 101;

/// A process and all below it.
fn family(root: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("Linux has it").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = all.filter_map(|id| Some((id, fields(id)?[1].parse().ok()?))).collect();
    let mut family = vec![root];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    family
}

/// The fields of /proc/PID/stat from the third on; the second, the name in brackets, may hold spaces.
fn fields(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

/// User and system time so far of a process and all below it. Those that ended are in the times of who waited for them (fields 16, 17).
pub(crate) fn cpu(root: u32) -> Duration {
    let of = |id| fields(id).map_or(0, |fields| fields[11..15].iter().filter_map(|ticks| ticks.parse::<u32>().ok()).sum());
    family(root).into_iter().map(|id| TICK * of(id)).sum()
}

/// Memory at its peak in kB: the sum over the processes.
pub(crate) fn peak(root: u32) -> u64 {
    family(root).into_iter().map(|id| figure(&format!("/proc/{id}/status"), "VmHWM")).sum()
}

/// Memory now in kB, where what processes share is counted once.
pub(crate) fn shared_once(root: u32) -> u64 {
    family(root).into_iter().map(|id| figure(&format!("/proc/{id}/smaps_rollup"), "Pss:")).sum()
}

/// Memory now in kB.
pub(crate) fn resident(id: u32) -> u64 {
    figure(&format!("/proc/{id}/status"), "VmRSS")
}

/// A figure in kB; 0 of a process that ended just now.
fn figure(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The machine in a sentence: processor, cores, system, and what a sync in `directory` takes, on which all durable queues depend.
pub(crate) fn machine(directory: &Path) -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let sync = sync(directory).map_or_else(|why| format!("cannot be measured ({why})"), |took| format!("{took:.0?}"));
    format!(
        "{model}, {cores} cores for all processes together, Linux {}; appending 4 KiB and fdatasync (median of {SYNCS}): {sync}",
        kernel.trim()
    )
}

fn sync(directory: &Path) -> std::io::Result<Duration> {
    use std::io::Write;
    let mut file = tempfile::tempfile_in(directory)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[SYNCS / 2])
}
