//! What the system counts for processes.

use std::collections::HashMap;
use std::time::Duration;

/// Returns the processor time that a process has taken so far, of all its threads, also of those
/// that have ended. `None` where the system does not tell it of another process.
pub fn processor_time(pid: u32) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: both calls only write into the variables that they are given.
        let told = unsafe {
            libc::clock_getcpuclockid(pid.try_into().unwrap(), &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        told.then(|| {
            Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// The processor times of some processes at one time.
pub struct ProcessorTimes(Vec<(u32, Option<Duration>)>);

impl ProcessorTimes {
    pub fn now(pids: &[u32]) -> Self {
        Self(pids.iter().map(|pid| (*pid, processor_time(*pid))).collect())
    }

    /// Returns the microseconds that each process took since, divided by `count`.
    pub fn since(&self, count: usize) -> Vec<Option<f64>> {
        let share = |(pid, before): &(u32, Option<Duration>)| {
            let took = processor_time(*pid)?.checked_sub((*before)?)?;
            Some(took.as_secs_f64() * 1e6 / count as f64)
        };
        self.0.iter().map(share).collect()
    }
}

/// The resources of processes: memory and threads of the largest, context switches of all.
pub struct Usage {
    pub resident: f64,
    pub anonymous: f64,
    pub threads: f64,
    /// By thread.
    switches: HashMap<String, f64>,
}

impl Usage {
    /// Returns the context switches since, of threads that ran all the while; the counts of an ended
    /// thread are lost.
    pub fn switches_since(&self, before: &Self) -> f64 {
        let new =
            |(task, count): (&String, &f64)| count - before.switches.get(task).unwrap_or(&0.0);
        self.switches.iter().map(new).sum()
    }
}

/// The resources of these processes; `None` where there is no `/proc`.
pub fn usage(pids: &[u32]) -> Option<Usage> {
    let mut usage = Usage { resident: 0.0, anonymous: 0.0, threads: 0.0, switches: HashMap::new() };
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        usage.resident = usage.resident.max(field(&status, "VmRSS")? * 1_024.0 / 1e6);
        usage.anonymous = usage.anonymous.max(field(&status, "RssAnon")? * 1_024.0 / 1e6);
        usage.threads = usage.threads.max(field(&status, "Threads")?);
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let task = task.ok()?;
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let count = field(&status, "voluntary_ctxt_switches")?
                + field(&status, "nonvoluntary_ctxt_switches")?;
            usage.switches.insert(task.file_name().to_string_lossy().into_owned(), count);
        }
    }
    Some(usage)
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
