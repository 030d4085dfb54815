//! The threads: how many, and the pool that is made of them.
//!
//! rayon owns the threads. A helper is a job of theirs ([`rayon::ThreadPool::spawn`]): it works on programs as long as
//! they are offered in short succession, then returns to rayon, which puts the thread to sleep. Programs are lent by
//! offers that can be withdrawn, which is what a scope of rayon's cannot do: it waits for every job that it has spawned,
//! also for those that another program keeps from starting.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use super::execution::linger;
use super::lock;
use super::processors::Helpers;
use crate::error::{Error, Result};
use crate::memory;

/// More threads than this are a mistake.
const MOST_THREADS: usize = 1024;
/// How long nobody asks for more threads after the system has refused one.
const REFUSED: Duration = Duration::from_secs(1);
/// Address space that a new thread finds enough in: its stack, twice.
const ROOM_OF_THREAD: usize = 4 << 20;

static THREADS: AtomicUsize = AtomicUsize::new(0);
static POOL: Mutex<Current> = Mutex::new(Current { pool: None, refused: None });

/// The pool of this process.
struct Current {
    pool: Option<Arc<Pool>>,
    /// When the system last refused to start a thread.
    refused: Option<Instant>,
}

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
    from_environment(VARIABLE).or_else(|| from_environment("OMP_NUM_THREADS")).unwrap_or_else(|| {
        // `available_parallelism` knows affinity and cgroups, but counts hardware threads; `num_cpus` knows the cores,
        // and where the system does not tell them, it counts hardware threads too.
        let logical = std::thread::available_parallelism().map_or(1, usize::from);
        logical.min(num_cpus::get_physical())
    })
}

/// Our own variable.
const VARIABLE: &str = "GRIDNN_NUM_THREADS";

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.trim().parse().ok().filter(|n| (1..=MOST_THREADS).contains(n))
}

/// What there is to say about a `GRIDNN_NUM_THREADS` that cannot be obeyed: its value, the rule, and what is used.
pub fn ignored_setting() -> Option<String> {
    let value = std::env::var_os(VARIABLE)?.to_string_lossy().into_owned();
    let obeyed = value.trim().is_empty() || from_environment(VARIABLE).is_some();
    (!obeyed).then(|| {
        let default = default_threads();
        format!(
            "{VARIABLE}: expected a whole number from 1 to {MOST_THREADS}; received \"{value}\", which is ignored: the \
             default of {default} is used"
        )
    })
}

/// Holds the lock of the pool, which a fork must not find with another thread, until the result is dropped.
pub fn pause() -> Box<dyn std::any::Any> {
    Box::new(lock(&POOL))
}

/// A pool of at least `helpers` threads, or of as many as the system allows: programs then run on fewer, with the same
/// results.
pub(super) fn pool(helpers: usize) -> Option<Arc<Pool>> {
    let process = std::process::id();
    let mut current = lock(&POOL);
    if let Some(old) = current.pool.take_if(|pool| pool.process != process) {
        // The threads of the parent do not exist in this child, and may have held its locks.
        std::mem::forget(old);
        current.refused = None;
    }
    let size = current.pool.as_ref().map_or(0, |pool| pool.size());
    if size < helpers && current.refused.is_none_or(|refused| refused.elapsed() >= REFUSED) {
        let grown = Pool::new(process, helpers);
        let reached = grown.as_ref().map_or(0, Pool::size);
        current.refused = (reached < helpers).then(Instant::now);
        // The threads of the smaller pool end when its last program does.
        if let Some(grown) = grown.filter(|_| reached > size) {
            current.pool = Some(Arc::new(grown));
        }
    }
    current.pool.clone()
}

/// What helpers run; the argument is the number of the worker.
type Task = &'static (dyn Fn(usize) + Sync);

/// The threads besides the calling ones.
pub(super) struct Pool {
    process: u32,
    threads: ThreadPool,
    offers: Arc<Offers>,
}

/// What callers and helpers share.
#[derive(Default)]
struct Offers {
    state: Mutex<State>,
    /// Offers made so far: what an idle helper looks at.
    made: AtomicUsize,
    /// A helper has left a program.
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// The threads that have started.
    placed: Helpers,
    /// Helpers: jobs that rayon has and that have not returned. Each has a thread, there are never more of them.
    helpers: usize,
    /// Those of them that are at work.
    busy: usize,
    jobs: Vec<Job>,
}

/// A program that takes helpers.
struct Job {
    number: usize,
    task: Task,
    /// Helpers that came and that may come.
    came: usize,
    most: usize,
    /// Helpers at work.
    inside: usize,
}

/// Stands until it is dropped, which waits for the helpers that have come.
pub(super) struct Offer {
    offers: Arc<Offers>,
    number: usize,
}

impl Pool {
    /// A pool of as many threads up to `helpers` as the system allows; None if that is not one.
    fn new(process: u32, helpers: usize) -> Option<Self> {
        let mut wanted = helpers;
        while wanted > 0 {
            let offers = Arc::new(Offers::new(wanted));
            let mut started = Vec::new();
            let placed = Arc::clone(&offers);
            let built = ThreadPoolBuilder::new()
                .num_threads(wanted)
                .thread_name(|index| format!("gridnn-{}", index + 1))
                .start_handler(move |_| lock(&placed.state).placed.join())
                // rayon would end the process. Tasks catch their panics; one of a program itself has been printed.
                .panic_handler(|_| ())
                .spawn_handler(|thread| {
                    started.push(start(thread)?);
                    Ok(())
                })
                .build();
            if let Ok(threads) = built {
                // crossbeam makes a global state when a thread first looks for work. A process that is forked in that
                // moment would wait for it for ever, so it is made now: no fork happens while the pool is locked.
                threads.install(|| ());
                return Some(Self { process, threads, offers });
            }
            // The builder has told those that did start to end; as long as they live they count against a limit.
            wanted = started.len().min(wanted - 1);
            for thread in started {
                // They run nothing that could panic.
                let _ = thread.join();
            }
        }
        None
    }

    fn size(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Offers a task to at most `most` helpers.
    pub(super) fn offer(&self, task: Task, most: usize) -> Offer {
        let mut state = lock(&self.offers.state);
        // With several callers there is no processor that all helpers should keep off.
        if state.jobs.is_empty() {
            state.placed.keep_off_caller();
        }
        let number = self.offers.made.load(Ordering::Relaxed) + 1;
        state.jobs.push(Job { number, task, came: 0, most, inside: 0 });
        self.offers.made.store(number, Ordering::Release);
        let called = state.call(self.size());
        drop(state);
        let offer = Offer { offers: Arc::clone(&self.offers), number };
        for _ in 0..called {
            let offers = Arc::clone(&self.offers);
            self.threads.spawn(move || offers.help());
        }
        offer
    }
}

/// Starts a thread of rayon's.
fn start(thread: ThreadBuilder) -> io::Result<std::thread::JoinHandle<()>> {
    // A thread that starts and then finds no room for its signal stack ends the process: it is started only if there is
    // room for more than that.
    let room = memory::with_room::<u8>(ROOM_OF_THREAD);
    if room.map(std::hint::black_box).is_err() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let builder = std::thread::Builder::new().name(thread.name().unwrap_or_default().to_string());
    builder.spawn(|| thread.run())
}

impl State {
    /// How many helpers to call besides those that are there and free. They count from now on.
    fn call(&mut self, threads: usize) -> usize {
        let wanted: usize = self.jobs.iter().map(|job| job.most.saturating_sub(job.came)).sum();
        let free = self.helpers - self.busy;
        let called = wanted.saturating_sub(free).min(threads - self.helpers);
        self.helpers += called;
        called
    }
}

impl Offers {
    /// No offers yet, with room for `helpers` threads and 64 programs at a time.
    fn new(helpers: usize) -> Self {
        let mut state = State { jobs: Vec::with_capacity(64), ..State::default() };
        state.placed.reserve(helpers);
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// A helper: works on what is offered until nothing has been for a while.
    fn help(&self) {
        let mut state = lock(&self.state);
        let mut idle = false;
        loop {
            if let Some(job) = state.jobs.iter_mut().find(|job| job.came < job.most) {
                job.came += 1;
                job.inside += 1;
                let (number, task, worker) = (job.number, job.task, job.came);
                state.busy += 1;
                drop(state);
                let leave = Leave { offers: self, number };
                task(worker);
                state = leave.done();
                idle = false;
                continue;
            }
            if idle {
                // Under the lock: an offer that comes later calls somebody again.
                state.helpers -= 1;
                return;
            }
            let seen = self.made.load(Ordering::Relaxed);
            drop(state);
            idle = linger(|| self.made.load(Ordering::Acquire) == seen);
            state = lock(&self.state);
        }
    }
}

/// Counts a helper out of a program, even if its task panics: then it is no helper any more.
struct Leave<'a> {
    offers: &'a Offers,
    number: usize,
}

impl<'a> Leave<'a> {
    /// The task has returned.
    fn done(self) -> MutexGuard<'a, State> {
        let state = self.leave();
        std::mem::forget(self);
        state
    }

    fn leave(&self) -> MutexGuard<'a, State> {
        let mut state = lock(&self.offers.state);
        state.busy -= 1;
        if let Some(job) = state.jobs.iter_mut().find(|job| job.number == self.number) {
            job.inside -= 1;
            if job.inside == 0 {
                self.offers.left.notify_all();
            }
        }
        state
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.leave().helpers -= 1;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut state = lock(&self.offers.state);
        while let Some(i) = state.jobs.iter().position(|job| job.number == self.number) {
            // Nobody else may come.
            state.jobs[i].most = 0;
            if state.jobs[i].inside == 0 {
                state.jobs.swap_remove(i);
                return;
            }
            state = self.offers.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn wait_until(reached: impl Fn(&State) -> bool, pool: &Pool) {
        let start = Instant::now();
        while !reached(&lock(&pool.offers.state)) {
            assert!(start.elapsed() < Duration::from_secs(20), "helpers do not come or do not go");
            std::thread::yield_now();
        }
    }

    #[test]
    fn helpers_come_to_every_offer_and_return_to_rayon() {
        static CAME: AtomicUsize = AtomicUsize::new(0);
        let pool = Pool::new(std::process::id(), 3).unwrap();
        assert_eq!(pool.size(), 3);
        for round in 1..=100 {
            let offer = pool.offer(
                &|_| {
                    CAME.fetch_add(1, Ordering::SeqCst);
                },
                2,
            );
            wait_until(|state| CAME.load(Ordering::SeqCst) == 2 * round && state.helpers <= 3, &pool);
            drop(offer);
            if round % 10 == 0 {
                // Those that find nothing to do are rayon's again.
                wait_until(|state| state.helpers == 0 && state.busy == 0, &pool);
            }
        }
        assert!(lock(&pool.offers.state).jobs.is_empty());
    }

    #[test]
    fn nobody_waits_for_a_helper_that_is_kept_elsewhere() {
        static HELD: AtomicBool = AtomicBool::new(true);
        let pool = Pool::new(std::process::id(), 1).unwrap();
        let held = pool.offer(
            &|_| {
                while HELD.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            },
            1,
        );
        wait_until(|state| state.busy == 1, &pool);
        drop(pool.offer(&|_| unreachable!("the only helper is elsewhere"), 1));
        HELD.store(false, Ordering::SeqCst);
        drop(held);
    }
}
