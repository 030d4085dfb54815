//! The threads: how many, and the pool that is made of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::error::{Error, Result};

/// More threads than this are a mistake.
const MOST_THREADS: usize = 1024;

/// The helpers of the calling thread, made when first needed and again in a forked child.
struct Helpers {
    process: u32,
    threads: usize,
    pool: Arc<rayon::ThreadPool>,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
static HELPERS: Mutex<Option<Helpers>> = Mutex::new(None);

/// The number of threads in use.
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let count = default_threads();
            THREADS.store(count, Ordering::Relaxed);
            count
        }
        count => count,
    }
}

/// Uses `count` threads from the next program on.
///
/// # Errors
/// `count` is 0 or absurd.
pub fn set_threads(count: usize) -> Result<()> {
    if count == 0 || count > MOST_THREADS {
        return Err(Error::value("number of threads", format!("1 to {MOST_THREADS}"), count));
    }
    THREADS.store(count, Ordering::Relaxed);
    Ok(())
}

/// `GRIDNN_NUM_THREADS`, else `OMP_NUM_THREADS` (joblib sets it in its workers), else what affinity mask and cgroup
/// quota leave of the physical cores.
fn default_threads() -> usize {
    let from =
        |name| std::env::var(name).ok()?.trim().parse().ok().filter(|n| (1..=MOST_THREADS).contains(n));
    from("GRIDNN_NUM_THREADS").or_else(|| from("OMP_NUM_THREADS")).unwrap_or_else(|| {
        // `available_parallelism` knows affinity and cgroups, but counts hardware threads.
        let logical = std::thread::available_parallelism().map_or(1, usize::from);
        physical_cores().map_or(logical, |cores| logical.min(cores))
    })
}

/// Distinct physical cores, where the system tells.
fn physical_cores() -> Option<usize> {
    let mut cores = std::collections::HashSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()? {
        let topology = entry.ok()?.path().join("topology");
        let read = |name| std::fs::read_to_string(topology.join(name)).ok();
        if let (Some(package), Some(core)) = (read("physical_package_id"), read("core_id")) {
            cores.insert((package, core));
        }
    }
    Some(cores.len()).filter(|&n| n > 0)
}

/// The pool of `threads - 1` helpers.
pub(super) fn helpers(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    let process = std::process::id();
    let mut slot = lock(&HELPERS);
    if let Some(helpers) = &*slot
        && helpers.process == process
        && helpers.threads == threads
    {
        return Ok(Arc::clone(&helpers.pool));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads - 1)
        .thread_name(|i| format!("gridnn-{}", i + 1))
        .build()
        .map_err(|error| Error::internal(format!("cannot start {threads} threads: {error}")))?;
    let pool = Arc::new(pool);
    let old = slot.replace(Helpers { process, threads, pool: Arc::clone(&pool) });
    if let Some(old) = old
        && old.process != process
    {
        // The threads of the parent do not exist in this child: joining them would wait for ever.
        std::mem::forget(old);
    }
    Ok(pool)
}
