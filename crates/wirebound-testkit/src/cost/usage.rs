//! CPU time and memory of processes, from `/proc`; and who runs on which processor.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A server's processes.
#[derive(Clone, Debug)]
pub(super) struct Usage(Vec<u32>);

impl Usage {
    /// Of these processes and their children, as they are now.
    pub(super) fn of(roots: &[u32]) -> Self {
        let mut all = roots.to_vec();
        let mut at = 0;
        while let Some(id) = all.get(at).copied() {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            all.extend(
                children
                    .unwrap_or_default()
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
            at += 1;
        }
        Self(all)
    }

    pub(super) const fn processes(&self) -> usize {
        self.0.len()
    }

    /// The process that was started.
    pub(super) fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The scheduler's run time of all their threads, in nanoseconds (user and system time, without the rounding to
    /// ticks of `/proc/PID/stat`). Threads that ended are not in it: the servers here keep theirs.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut sum = 0;
        for id in &self.0 {
            for thread in fs::read_dir(format!("/proc/{id}/task"))? {
                let text = fs::read_to_string(thread?.path().join("schedstat"))?;
                let ran = text.split_whitespace().next().context("a run time")?;
                sum += ran.parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(sum))
    }

    /// Resident memory, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        let mut sum = 0;
        for id in &self.0 {
            let text = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
            sum += kilobytes.context("resident memory")?.parse::<u64>()? * 1024;
        }
        Ok(sum)
    }
}

/// One processor for the server under measure, another for load and upstream.
#[derive(Debug)]
pub struct Cores {
    server: CpuSet,
    ours: CpuSet,
}

impl Cores {
    /// Splits the processors that this thread may use, and moves it to its own.
    ///
    /// # Errors
    /// When there are not two.
    pub fn split() -> Result<Self> {
        let may = sched_getaffinity(None)?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|core| may.is_set(*core));
        let mut one = || {
            let mut set = CpuSet::new();
            set.set(free.next().context("two processors are needed")?);
            anyhow::Ok(set)
        };
        let cores = Self {
            server: one()?,
            ours: one()?,
        };
        sched_setaffinity(None, &cores.ours)?;
        Ok(cores)
    }

    /// Starts something on the server's processor: a child inherits the place of the thread that starts it.
    pub(super) async fn on_servers<T>(&self, start: impl Future<Output = Result<T>>) -> Result<T> {
        sched_setaffinity(None, &self.server)?;
        let started = start.await;
        sched_setaffinity(None, &self.ours)?;
        started
    }
}

/// Ten thousand connections need as many descriptors on both sides; children inherit the limit.
pub(super) fn raise_open_files() -> Result<()> {
    const WANTED: u64 = 65_536;
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(WANTED),
        maximum: Some(now.maximum.map_or(WANTED, |most| most.max(WANTED))),
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        // Without the right to raise the hard limit, as far as it goes.
        let all = Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        };
        setrlimit(Resource::Nofile, all)?;
    }
    Ok(())
}
