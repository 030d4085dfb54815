//! Programs of phases, and the workers that run them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{lock, with_helpers};
use crate::error::{Error, Result};
use crate::memory;
use crate::tuning::{SPINS, YIELDS};

/// How long the calling thread goes without asking whether the user pressed Ctrl-C.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(50);

/// Spins, then yields while `waiting`; whether it is waiting still and should park.
pub(super) fn linger(waiting: impl Fn() -> bool) -> bool {
    for round in 0..SPINS + YIELDS {
        if !waiting() {
            return false;
        }
        if round < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
    true
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
/// The first error of a task (lowest task number of the earliest phase), an interrupt, a lack of memory or a
/// panic in a task.
pub fn execute(program: &dyn Program, workers: usize, interrupt: Interrupt<'_>) -> Result<()> {
    let most = (0..program.phases()).map(|p| program.tasks(p)).max().unwrap_or(0);
    let workers = workers.min(most).max(1);
    let run = Execution::new(program);
    if workers == 1 {
        run.work(0, Some(interrupt));
    } else {
        with_helpers(workers - 1, &|worker| run.work(worker, None), || run.work(0, Some(interrupt)));
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
    run: &(dyn Fn(usize, usize, &Pulse<'_>) + Sync),
) -> Result<()> {
    struct Single<'a>(usize, &'a (dyn Fn(usize, usize, &Pulse<'_>) + Sync));
    impl Program for Single<'_> {
        fn phases(&self) -> usize {
            1
        }
        fn tasks(&self, _: usize) -> usize {
            self.0
        }
        fn run(&self, _: usize, task: usize, worker: usize, pulse: &Pulse<'_>) -> Result<()> {
            (self.1)(task, worker, pulse);
            Ok(())
        }
    }
    execute(&Single(tasks, run), workers, interrupt)
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
                Err(payload) => {
                    let lack = memory::of_panic(&*payload);
                    let error = lack.unwrap_or_else(|| Error::internal(panic_message(&*payload)));
                    self.stop(phase, task, error);
                }
            }
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == tasks {
                self.done.store(0, Ordering::Relaxed);
                let mut next = self.next_phase(phase + 1);
                if next >= self.program.commit() {
                    // Under the lock either the program is stopped or it is committed, never both: no task of the
                    // later phases can start if it is stopped.
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
        if !linger(waiting) {
            return;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Shared;

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
        let slow = |_: usize, _: usize, _: &Pulse<'_>| std::thread::sleep(Duration::from_millis(20));
        let before = Instant::now();
        assert_eq!(for_each(1000, 2, &|| true, &slow), Err(Error::Interrupted));
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}
