//! The threads: how many, and the pool that is made of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

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

/// The pool, with at least `helpers` threads, or with as many as the system allows.
pub(super) fn pool(helpers: usize) -> Arc<Pool> {
    let process = std::process::id();
    let mut slot = lock(&POOL);
    if let Some(old) = slot.take_if(|pool| pool.process != process) {
        // The threads of the parent do not exist in this child, and may have held its locks.
        std::mem::forget(old);
    }
    let pool = slot.get_or_insert_with(|| Arc::new(Pool::new(process)));
    pool.grow(helpers);
    Arc::clone(pool)
}

/// What helpers run; the argument is the number of the worker.
type Task = &'static (dyn Fn(usize) + Sync);

/// The threads besides the calling ones, which wait for offers as long as the process lives.
pub(super) struct Pool {
    process: u32,
    state: Mutex<State>,
    /// Offers made so far: what an idle helper looks at before it parks.
    made: AtomicUsize,
    /// Helpers that are parked.
    parked: AtomicUsize,
    called: Condvar,
    /// A helper has left an offer.
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// Helpers that were started; those that run have joined `placed`.
    started: usize,
    /// When the system last refused to start one.
    refused: Option<Instant>,
    placed: Helpers,
    offers: Vec<Job>,
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
    pool: Arc<Pool>,
    number: usize,
}

impl Pool {
    fn new(process: u32) -> Self {
        Self {
            process,
            // Room for 64 programs at a time without allocating.
            state: Mutex::new(State { offers: Vec::with_capacity(64), ..State::default() }),
            made: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            called: Condvar::new(),
            left: Condvar::new(),
        }
    }

    /// Starts threads until there are `helpers`, or no more are allowed: programs then run on fewer, with the same
    /// results.
    fn grow(self: &Arc<Self>, helpers: usize) {
        let mut state = lock(&self.state);
        if state.started >= helpers || state.refused.is_some_and(|refused| refused.elapsed() < REFUSED) {
            return;
        }
        state.placed.reserve(helpers);
        while state.started < helpers {
            let number = state.started + 1;
            let pool = Arc::clone(self);
            // A thread that starts and then finds no room for its signal stack ends the process: it is started only if
            // there is room for more than that.
            let room = memory::with_room::<u8>(ROOM_OF_THREAD);
            let builder = std::thread::Builder::new().name(format!("gridnn-{number}"));
            if room.map(std::hint::black_box).is_err() || builder.spawn(move || pool.help()).is_err() {
                state.refused = Some(Instant::now());
                return;
            }
            state.started = number;
        }
    }

    /// Offers a task to at most `most` helpers.
    pub(super) fn offer(self: Arc<Self>, task: Task, most: usize) -> Offer {
        let mut state = lock(&self.state);
        // With several callers there is no processor that all helpers should keep off.
        if state.offers.is_empty() {
            state.placed.keep_off_caller();
        }
        let number = self.made.load(Ordering::Relaxed) + 1;
        state.offers.push(Job { number, task, came: 0, most, inside: 0 });
        // Under the lock, and sequentially consistent with `parked`: either the helper sees the offer before it parks,
        // or it is seen here.
        self.made.store(number, Ordering::SeqCst);
        drop(state);
        match self.parked.load(Ordering::SeqCst) {
            0 => {}
            _ if most == 1 => self.called.notify_one(),
            _ => self.called.notify_all(),
        }
        Offer { pool: self, number }
    }

    /// The life of a helper.
    fn help(&self) {
        let mut state = lock(&self.state);
        state.placed.join();
        loop {
            if let Some(place) = state.offers.iter_mut().find(|place| place.came < place.most) {
                place.came += 1;
                place.inside += 1;
                let (number, task, worker) = (place.number, place.task, place.came);
                drop(state);
                let leave = Leave { pool: self, number };
                task(worker);
                drop(leave);
                state = lock(&self.state);
                continue;
            }
            let seen = self.made.load(Ordering::Relaxed);
            drop(state);
            let waiting = || self.made.load(Ordering::SeqCst) == seen;
            let park = linger(waiting);
            state = lock(&self.state);
            if park {
                self.parked.fetch_add(1, Ordering::SeqCst);
                while waiting() {
                    state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                self.parked.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

/// Counts a helper out, even if its task panics.
struct Leave<'a> {
    pool: &'a Pool,
    number: usize,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        if let Some(place) = state.offers.iter_mut().find(|place| place.number == self.number) {
            place.inside -= 1;
            if place.inside == 0 {
                self.pool.left.notify_all();
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        while let Some(i) = state.offers.iter().position(|place| place.number == self.number) {
            // Nobody else may come.
            state.offers[i].most = 0;
            if state.offers[i].inside == 0 {
                state.offers.swap_remove(i);
                return;
            }
            state = self.pool.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
