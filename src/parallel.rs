//! The one thread pool, programs of phases that run on it, and the slice type that parallel tasks write through.
//!
//! A [`Program`] is a sequence of phases; a phase is a number of independent tasks. Workers draw task numbers from one
//! atomic ticket. A phase ends when its *tasks* are done, not when every worker has arrived: a worker that wakes up
//! late, or that another model keeps busy, delays nobody. The calling thread is worker 0, so a program always makes
//! progress, and a program that is not worth waking anybody up for simply runs there.

#![allow(
    unsafe_code,
    reason = "`Shared` and `Cut` hand out disjoint ranges of one buffer; nothing else here is unsafe"
)]

use std::any::Any;
use std::cell::Cell;
use std::ops::{Deref, DerefMut, Range};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kernels::{Aligned, Plain};

/// How long the calling thread goes without asking whether the user pressed Ctrl-C.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(50);
/// Rounds of `spin_loop` before a waiting worker yields (some 20 microseconds).
const SPINS: u32 = 2_000;
/// Rounds of `yield_now` before a waiting worker parks (some 50 microseconds on an idle machine).
const YIELDS: u32 = 100;
/// More threads than this are a mistake.
const MOST_THREADS: usize = 1024;

/// Locks a mutex whose data cannot be left half-changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
fn helpers(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
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

/// Work in phases. Tasks of one phase are independent of each other; a phase sees all that earlier ones wrote.
pub trait Program: Sync {
    /// How many phases there are.
    fn phases(&self) -> usize;
    /// How many tasks a phase has. Must depend on shapes and batch only, never on the number of threads.
    fn tasks(&self, phase: usize) -> usize;
    /// Runs a task on a worker (`0..workers`). A task of more than some milliseconds asks `pulse` now and then.
    ///
    /// # Errors
    /// What the task found wrong; no later phase starts.
    fn run(&self, phase: usize, task: usize, worker: usize, pulse: &Pulse<'_>) -> Result<()>;
    /// From this phase on the program is no longer interrupted: it changes what must not be changed by half.
    fn commit(&self) -> usize {
        usize::MAX
    }
}

/// Asked by the calling thread now and then; true abandons the program.
pub type Interrupt<'a> = &'a dyn Fn() -> bool;

/// Runs a program with at most `workers` workers, the calling thread among them.
///
/// # Errors
/// The first error of a task (lowest task number of the earliest phase), an interrupt, or a panic in a task.
pub fn execute(program: &dyn Program, workers: usize, interrupt: Interrupt<'_>) -> Result<()> {
    let most = (0..program.phases()).map(|p| program.tasks(p)).max().unwrap_or(0);
    let workers = workers.min(most).max(1);
    let run = Execution::new(program);
    if workers == 1 {
        run.work(0, Some(interrupt));
    } else {
        let pool = helpers(threads().max(workers))?;
        let run = &run;
        pool.in_place_scope(|scope| {
            for worker in 1..workers {
                scope.spawn(move |_| run.work(worker, None));
            }
            run.work(0, Some(interrupt));
        });
    }
    run.outcome()
}

/// Runs one phase of tasks that cannot fail.
///
/// # Errors
/// As [`execute`].
pub fn for_each(
    tasks: usize,
    workers: usize,
    interrupt: Interrupt<'_>,
    run: &(dyn Fn(usize, usize) + Sync),
) -> Result<()> {
    struct Single<'a>(usize, &'a (dyn Fn(usize, usize) + Sync));
    impl Program for Single<'_> {
        fn phases(&self) -> usize {
            1
        }
        fn tasks(&self, _: usize) -> usize {
            self.0
        }
        fn run(&self, _: usize, task: usize, worker: usize, _: &Pulse<'_>) -> Result<()> {
            (self.1)(task, worker);
            Ok(())
        }
    }
    execute(&Single(tasks, run), workers, interrupt)
}

/// What tasks own one part each of: a [`Cut`], or a pair of them.
pub trait Parts: Sync {
    /// What a task owns.
    type Part;

    /// How many there are.
    fn count(&self) -> usize;

    /// Part number `i`.
    ///
    /// # Safety
    /// `i < count()`, and nobody else asks for part `i` while this one is in use.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// A slice of equal samples, each of them cut into pieces of a given length (the last may be shorter).
///
/// Parts are numbered sample by sample. They depend on sizes only, never on the number of threads.
#[derive(Debug)]
pub struct Cut<'a, T> {
    data: *mut T,
    samples: usize,
    sample: usize,
    piece: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: a `Cut` is used as a `&mut [T]` whose disjoint pieces go to other threads.
unsafe impl<T: Send> Sync for Cut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Cut<'_, T> {}

impl<'a, T> Cut<'a, T> {
    /// Cuts a slice.
    ///
    /// # Panics
    /// `sample` is zero or does not divide the length.
    pub fn new(slice: &'a mut [T], sample: usize, piece: usize) -> Self {
        assert!(sample > 0 && slice.len().is_multiple_of(sample), "{} not of {sample}", slice.len());
        Self {
            data: slice.as_mut_ptr(),
            samples: slice.len() / sample,
            sample,
            piece: piece.clamp(1, sample),
            slice: std::marker::PhantomData,
        }
    }

    /// Pieces of a sample.
    pub fn pieces(&self) -> usize {
        self.sample.div_ceil(self.piece)
    }
}

impl<'a, T: Send> Parts for Cut<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.samples * self.pieces()
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        let first = i % self.pieces() * self.piece;
        let len = self.piece.min(self.sample - first);
        // SAFETY: inside sample `i / pieces` of the slice that is borrowed for 'a; parts of different numbers do not
        // overlap, and the caller sees to it that there is only one of this number.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i / self.pieces() * self.sample + first), len) }
    }
}

impl<A: Parts, B: Parts> Parts for (A, B) {
    type Part = (A::Part, B::Part);

    fn count(&self) -> usize {
        assert_eq!(self.0.count(), self.1.count(), "both are cut alike");
        self.0.count()
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: as the caller's.
        unsafe { (self.0.part(i), self.1.part(i)) }
    }
}

/// Runs one task per part, `run(task, worker, part)`.
///
/// # Errors
/// As [`execute`].
pub fn for_each_part<P: Parts>(
    parts: P,
    workers: usize,
    interrupt: Interrupt<'_>,
    run: &(dyn Fn(usize, usize, P::Part) + Sync),
) -> Result<()> {
    // SAFETY: `for_each` runs every task number below the count once.
    let task = |task, worker| run(task, worker, unsafe { parts.part(task) });
    for_each(parts.count(), workers, interrupt, &task)
}

/// A program while it runs.
struct Execution<'a> {
    program: &'a dyn Program,
    phases: usize,
    /// Phase in the high half, next task in the low half.
    ticket: AtomicU64,
    /// Finished tasks of the phase.
    done: AtomicUsize,
    stopped: AtomicBool,
    /// Set when the phases that may not be interrupted begin. Guarded by `lock` against `stopped`.
    committed: AtomicBool,
    parked: AtomicUsize,
    lock: Mutex<Option<(usize, usize, Error)>>,
    moved: Condvar,
}

/// Tells a long task whether its work is still wanted.
pub struct Pulse<'a> {
    run: &'a Execution<'a>,
    /// The calling thread's question; the other workers have none.
    interrupt: Option<Interrupt<'a>>,
    asked: Cell<Instant>,
}

impl Pulse<'_> {
    /// Whether the program was abandoned; the task may then return at once. Cheap enough for every millisecond.
    pub fn stopped(&self) -> bool {
        if self.run.stopped.load(Ordering::Relaxed) {
            return true;
        }
        let Some(interrupt) = self.interrupt else { return false };
        if self.asked.get().elapsed() < INTERRUPT_PERIOD || self.run.committed.load(Ordering::SeqCst) {
            return false;
        }
        self.asked.set(Instant::now());
        interrupt() && self.run.abandon()
    }
}

fn phase_of(ticket: u64) -> usize {
    (ticket >> 32) as usize
}

impl<'a> Execution<'a> {
    fn new(program: &'a dyn Program) -> Self {
        let run = Self {
            program,
            phases: program.phases(),
            ticket: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            lock: Mutex::new(None),
            moved: Condvar::new(),
        };
        run.ticket.store((run.next_phase(0) as u64) << 32, Ordering::Relaxed);
        run
    }

    /// The first phase from `phase` on that has tasks.
    fn next_phase(&self, phase: usize) -> usize {
        (phase..self.phases).find(|&p| self.program.tasks(p) > 0).unwrap_or(self.phases)
    }

    fn over(&self) -> bool {
        self.stopped.load(Ordering::Acquire) || phase_of(self.ticket.load(Ordering::Acquire)) >= self.phases
    }

    fn work(&self, worker: usize, interrupt: Option<Interrupt<'_>>) {
        let pulse = Pulse { run: self, interrupt, asked: Cell::new(Instant::now()) };
        while !self.over() && !pulse.stopped() {
            let ticket = self.ticket.fetch_add(1, Ordering::AcqRel);
            let (phase, task) = (phase_of(ticket), (ticket & u64::from(u32::MAX)) as usize);
            if phase >= self.phases {
                return;
            }
            let tasks = self.program.tasks(phase);
            if task >= tasks {
                self.wait_past(phase, interrupt.is_some());
                continue;
            }
            match panic::catch_unwind(AssertUnwindSafe(|| self.program.run(phase, task, worker, &pulse))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.stop(phase, task, error),
                Err(payload) => self.stop(phase, task, Error::internal(panic_message(&*payload))),
            }
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == tasks {
                self.done.store(0, Ordering::Relaxed);
                let mut next = self.next_phase(phase + 1);
                if next >= self.program.commit() {
                    // Under the lock either the program is stopped or it is committed, never both: no task of the
                    // phases behind can start if it is stopped.
                    let _guard = lock(&self.lock);
                    if self.stopped.load(Ordering::SeqCst) {
                        next = self.phases;
                    } else {
                        self.committed.store(true, Ordering::SeqCst);
                    }
                }
                self.ticket.store((next as u64) << 32, Ordering::SeqCst);
                self.wake();
            }
        }
    }

    /// Spins, yields, then parks until the phase is over. The worker that asks for interrupts comes back in time.
    fn wait_past(&self, phase: usize, asks: bool) {
        let waiting =
            || phase_of(self.ticket.load(Ordering::SeqCst)) == phase && !self.stopped.load(Ordering::SeqCst);
        for round in 0..SPINS + YIELDS {
            if !waiting() {
                return;
            }
            if round < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let mut guard = lock(&self.lock);
        // Sequentially consistent with the store of the ticket in `work`: either the mover sees this worker parked,
        // or this worker sees the ticket moved.
        self.parked.fetch_add(1, Ordering::SeqCst);
        while waiting() {
            if asks {
                drop(
                    self.moved.wait_timeout(guard, INTERRUPT_PERIOD).unwrap_or_else(PoisonError::into_inner),
                );
                break;
            }
            guard = self.moved.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.parked.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.parked.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.moved.notify_all();
        }
    }

    /// Keeps the error of the earliest task and lets nobody start another one.
    fn stop(&self, phase: usize, task: usize, error: Error) {
        let mut first = lock(&self.lock);
        if first.as_ref().is_none_or(|(p, t, _)| (phase, task) < (*p, *t)) {
            *first = Some((phase, task, error));
        }
        self.stopped.store(true, Ordering::SeqCst);
        drop(first);
        self.wake();
    }

    /// Stops for an interrupt, unless the program has just become uninterruptible: then it ends as if the key had been
    /// pressed after it, and the caller is told of the interrupt by whoever noticed it.
    fn abandon(&self) -> bool {
        let mut first = lock(&self.lock);
        if self.committed.load(Ordering::SeqCst) {
            return false;
        }
        first.get_or_insert((0, 0, Error::Interrupted));
        self.stopped.store(true, Ordering::SeqCst);
        drop(first);
        self.wake();
        true
    }

    fn outcome(self) -> Result<()> {
        let first = self.lock.into_inner().unwrap_or_else(PoisonError::into_inner);
        first.map_or(Ok(()), |(_, _, error)| Err(error))
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_string()
}

/// A buffer that tasks share: any number of readers, or writers of ranges that do not overlap.
///
/// The rule is enforced at run time, range by range: a conflict is a panic and never a data race. Borrows are as short
/// as a task and there are a few per worker, so the ledger is a handful of entries.
pub struct Shared<T> {
    data: Aligned<T>,
    ledger: Mutex<Vec<Borrow>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Borrow {
    start: usize,
    end: usize,
    writes: bool,
}

impl<T: Plain> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} elements)", self.len())
    }
}

impl<T: Plain> Shared<T> {
    /// Shares a buffer.
    pub fn new(data: Aligned<T>) -> Self {
        Self { data, ledger: Mutex::new(Vec::with_capacity(64)) }
    }

    /// Shares `len` zeros.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn zeroed(len: usize) -> Result<Self> {
        let memory = || Error::Memory { bytes: len.saturating_mul(size_of::<T>()) };
        Ok(Self::new(Aligned::try_zeroed(len).ok_or_else(memory)?))
    }

    /// Nothing.
    pub fn empty() -> Self {
        Self::new(Aligned::default())
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.data.capacity()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole buffer; no task can be running.
    pub fn get_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Reads a range.
    ///
    /// # Panics
    /// The range is being written or reaches outside: a bug in a plan.
    pub fn read(&self, range: Range<usize>) -> Reading<'_, T> {
        let borrow = self.enter(&range, false);
        // SAFETY: inside the buffer, and no writer overlaps while the ledger holds this borrow.
        let slice = unsafe { std::slice::from_raw_parts(self.data.start().add(range.start), range.len()) };
        Reading { slice, _entry: Entry { ledger: &self.ledger, borrow } }
    }

    /// Writes a range.
    ///
    /// # Panics
    /// The range is in use or reaches outside: a bug in a plan.
    pub fn write(&self, range: Range<usize>) -> Writing<'_, T> {
        let borrow = self.enter(&range, true);
        // SAFETY: inside the buffer, and nobody else overlaps while the ledger holds this borrow.
        let slice =
            unsafe { std::slice::from_raw_parts_mut(self.data.start().add(range.start), range.len()) };
        Writing { slice, _entry: Entry { ledger: &self.ledger, borrow } }
    }

    fn enter(&self, range: &Range<usize>, writes: bool) -> Borrow {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} outside of {}",
            self.len()
        );
        let borrow = Borrow { start: range.start, end: range.end, writes };
        if !range.is_empty() {
            let mut ledger = lock(&self.ledger);
            let clash =
                ledger.iter().find(|o| (writes || o.writes) && o.start < range.end && range.start < o.end);
            if let Some(clash) = clash.copied() {
                drop(ledger);
                panic!("{borrow:?} clashes with {clash:?}");
            }
            ledger.push(borrow);
        }
        borrow
    }
}

/// Takes a borrow out of the ledger when it ends.
struct Entry<'a> {
    ledger: &'a Mutex<Vec<Borrow>>,
    borrow: Borrow,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.borrow.start < self.borrow.end {
            let mut ledger = lock(self.ledger);
            if let Some(i) = ledger.iter().position(|b| *b == self.borrow) {
                ledger.swap_remove(i);
            }
        }
    }
}

/// A range that is being read.
pub struct Reading<'a, T> {
    slice: &'a [T],
    _entry: Entry<'a>,
}

impl<T> Deref for Reading<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.slice
    }
}

/// A range that is being written.
pub struct Writing<'a, T> {
    slice: &'a mut [T],
    _entry: Entry<'a>,
}

impl<T> Deref for Writing<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.slice
    }
}

impl<T> DerefMut for Writing<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two phases; the second checks that it sees what the first wrote.
    struct Squares {
        cells: Shared<u32>,
    }

    impl Program for Squares {
        fn phases(&self) -> usize {
            3
        }
        fn tasks(&self, phase: usize) -> usize {
            [self.cells.len(), 0, self.cells.len()][phase]
        }
        fn run(&self, phase: usize, task: usize, _: usize, _: &Pulse<'_>) -> Result<()> {
            if phase == 0 {
                self.cells.write(task..task + 1)[0] = (task * task) as u32;
            } else {
                assert_eq!(self.cells.read(0..self.cells.len())[task], (task * task) as u32);
            }
            Ok(())
        }
    }

    #[test]
    fn phases_follow_each_other_for_any_number_of_workers() {
        for workers in [1, 2, 3, 5, 8] {
            let program = Squares { cells: Shared::zeroed(100).unwrap() };
            for _ in 0..20 {
                execute(&program, workers, &|| false).unwrap();
            }
        }
    }

    #[test]
    fn the_earliest_error_wins_and_a_panic_becomes_one() {
        let quiet = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        struct Failing;
        impl Program for Failing {
            fn phases(&self) -> usize {
                2
            }
            fn tasks(&self, _: usize) -> usize {
                4
            }
            fn run(&self, phase: usize, _: usize, _: usize, _: &Pulse<'_>) -> Result<()> {
                assert!(phase == 0, "never reached");
                panic!("boom")
            }
        }
        let error = execute(&Failing, 3, &|| false).unwrap_err();
        panic::set_hook(quiet);
        assert_eq!(error, Error::internal("boom"));
        // The pool is as good as before.
        execute(&Squares { cells: Shared::zeroed(10).unwrap() }, 3, &|| false).unwrap();
    }

    #[test]
    fn an_interrupt_stops_between_tasks() {
        let slow = |_: usize, _: usize| std::thread::sleep(Duration::from_millis(20));
        let before = Instant::now();
        assert_eq!(for_each(1000, 2, &|| true, &slow), Err(Error::Interrupted));
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn overlapping_writes_are_refused() {
        let cells = Shared::<u32>::zeroed(10).unwrap();
        let _first = cells.write(0..5);
        let _second = cells.write(5..8);
        let _reader = cells.read(8..10);
        let _again = cells.read(7 + 1..9);
        for clash in [4..6, 0..10, 9..10] {
            assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(cells.write(clash)))).is_err());
        }
        assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(cells.read(7..9)))).is_err());
    }

    #[test]
    fn every_part_is_written_once() {
        for (samples, sample, piece) in [(3, 10, 4), (1, 7, 100), (5, 1, 1), (0, 4, 2)] {
            for workers in [1, 2, 3] {
                let mut numbers = vec![0usize; samples * sample];
                let mut bytes = vec![0u8; samples * sample * 2];
                let parts =
                    (Cut::new(&mut numbers, sample, piece), Cut::new(&mut bytes, sample * 2, piece * 2));
                let pieces = sample.div_ceil(piece);
                for_each_part(parts, workers, &|| false, &|task, _, (numbers, bytes)| {
                    assert_eq!(bytes.len(), 2 * numbers.len());
                    numbers.iter_mut().for_each(|n| *n += task + 1);
                    bytes.fill(1);
                })
                .unwrap();
                let expected = (0..samples * sample).map(|i| i / sample * pieces + i % sample / piece + 1);
                assert!(numbers.iter().copied().eq(expected));
                assert!(bytes.iter().all(|b| *b == 1));
            }
        }
    }
}
