//! The one thread pool, programs of phases that run on it, and the slices that parallel tasks write through.
//!
//! A [`Program`] is a sequence of phases; a phase is a number of independent tasks. Workers draw task numbers from one
//! atomic ticket. A phase ends when its *tasks* are done, not when every worker has arrived: a worker that wakes up
//! late, or that another model keeps busy, delays nobody. The calling thread is worker 0, so a program always makes
//! progress, and a program that is not worth waking anybody up for simply runs there. The other threads are rayon's.
//!
//! This file holds the slices: [`Shared`] for the engine's own memory, whose borrows are checked range by range, and
//! [`Cut`] for a caller's array that is cut into tasks. Running a program allocates a small box for every helper
//! that is called to it, and nothing else.

#![allow(
    unsafe_code,
    reason = "two slice types hand out disjoint ranges, one function lends a closure to the pool; nothing else is unsafe"
)]

mod execution;
mod processors;
mod threads;

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

pub use execution::{Interrupt, Program, Pulse, execute, for_each};
use threads::pool;
pub use threads::{ignored_setting, pause, set_threads, threads};

use crate::error::Result;
use crate::kernels::{Aligned, Plain};
use crate::memory;

/// Locks a mutex whose data cannot be left half-changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same for a mutex that is held for some instructions at a time: going to sleep would take far longer.
fn spin<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let mut rounds = 0;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => return error.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
        rounds += 1;
        if rounds % 128 == 0 {
            // Whoever holds it may have lost the processor.
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Runs `own` here, and meanwhile `job(1)` to `job(helpers)` on the threads of the pool that are free.
///
/// Returns when `own` has returned and every helper that came has left; nobody waits for those that did not come.
fn with_helpers(helpers: usize, job: &(dyn Fn(usize) + Sync), own: impl FnOnce()) {
    // SAFETY: the pool calls the closure as long as the offer stands. `offer` is dropped before this function returns
    // or unwinds, and that withdraws it and waits until nobody is inside.
    let lent =
        unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
    let offer = pool(helpers).map(|pool| pool.offer(lent, helpers));
    own();
    drop(offer);
}

/// Memory that is cut into tasks, each with its own: a [`Cut`], or a pair of them.
pub trait Tasks: Sync {
    /// What a task owns.
    type Data;

    /// How many there are.
    fn count(&self) -> usize;

    /// What task `i` owns.
    ///
    /// # Safety
    /// `i < count()`, and nobody else asks for that of task `i` while this one is in use.
    unsafe fn data(&self, i: usize) -> Self::Data;
}

/// A slice of equal samples, each of them cut into tasks of a given length (the last may be shorter).
///
/// Tasks are numbered sample by sample. They depend on sizes only, never on the number of threads.
#[derive(Debug)]
pub struct Cut<'a, T> {
    start: *mut T,
    samples: usize,
    sample: usize,
    task_len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: a `Cut` is used as a `&mut [T]` whose tasks, which do not overlap, go to other threads.
unsafe impl<T: Send> Sync for Cut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Cut<'_, T> {}

impl<'a, T> Cut<'a, T> {
    /// Cuts a slice.
    ///
    /// # Panics
    /// `sample` is zero or does not divide the length.
    pub fn new(slice: &'a mut [T], sample: usize, task_len: usize) -> Self {
        assert!(sample > 0 && slice.len().is_multiple_of(sample), "{} not of {sample}", slice.len());
        Self {
            start: slice.as_mut_ptr(),
            samples: slice.len() / sample,
            sample,
            task_len: task_len.clamp(1, sample),
            slice: std::marker::PhantomData,
        }
    }

    /// Tasks of a sample.
    pub fn tasks_per_sample(&self) -> usize {
        self.sample.div_ceil(self.task_len)
    }
}

impl<'a, T: Send> Tasks for Cut<'a, T> {
    type Data = &'a mut [T];

    fn count(&self) -> usize {
        self.samples * self.tasks_per_sample()
    }

    unsafe fn data(&self, i: usize) -> &'a mut [T] {
        let first = i % self.tasks_per_sample() * self.task_len;
        let len = self.task_len.min(self.sample - first);
        // SAFETY: inside sample `i / per_sample` of the slice that is borrowed for 'a; tasks of different numbers do not
        // overlap, and the caller sees to it that there is only one of this number.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.start.add(i / self.tasks_per_sample() * self.sample + first),
                len,
            )
        }
    }
}

impl<A: Tasks, B: Tasks> Tasks for (A, B) {
    type Data = (A::Data, B::Data);

    fn count(&self) -> usize {
        assert_eq!(self.0.count(), self.1.count(), "both are cut alike");
        self.0.count()
    }

    unsafe fn data(&self, i: usize) -> Self::Data {
        // SAFETY: as the caller's.
        unsafe { (self.0.data(i), self.1.data(i)) }
    }
}

/// What does a task: `(task, worker, data, stopped)`.
type Run<'a, D> = dyn Fn(usize, usize, D, Interrupt<'_>) + Sync + 'a;

/// Runs every task of `tasks`, `run(task, worker, data, stopped)`. A task of more than some milliseconds asks `stopped`
/// now and then, and returns at once if it says so.
///
/// # Errors
/// As [`execute`].
pub fn for_each_task<C: Tasks>(
    tasks: C,
    workers: usize,
    interrupt: Interrupt<'_>,
    run: &Run<'_, C::Data>,
) -> Result<()> {
    let task = |task, worker, pulse: &Pulse<'_>| {
        // SAFETY: `for_each` runs every task number below the count once.
        run(task, worker, unsafe { tasks.data(task) }, &|| pulse.stopped());
    };
    for_each(tasks.count(), workers, interrupt, &task)
}

/// A buffer that tasks share: any number of readers, or writers of ranges that do not overlap.
///
/// The rule is enforced at run time, range by range: a conflict is a panic and never a data race. Borrows are as short
/// as a task and there are a few per worker, so the ledger is a handful of entries.
pub struct Shared<T> {
    data: Aligned<T>,
    ledger: Mutex<Vec<Borrow>>,
}

/// From `start` to `end`, a row of `row` elements in each `stride` of them; where all are borrowed both are their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Borrow {
    start: usize,
    end: usize,
    row: usize,
    stride: usize,
    writes: bool,
}

impl Borrow {
    /// Whether both may have an element in common, of which one is written.
    fn clashes(&self, other: &Borrow) -> bool {
        let near = self.start < other.end && other.start < self.end;
        (self.writes || other.writes) && near && !self.lies_beside(other)
    }

    /// Whether both are columns of one matrix, and different ones.
    fn lies_beside(&self, other: &Borrow) -> bool {
        if self.stride != other.stride {
            return false;
        }
        let stride = self.stride;
        let ahead = (other.start % stride + stride - self.start % stride) % stride;
        ahead >= self.row && stride - ahead >= other.row
    }
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
    /// The memory cannot be had.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(Self::new(memory::zeroed(len)?))
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
        let borrow = self.enter(&range, (range.len(), range.len()), false);
        // SAFETY: inside the buffer, and no writer overlaps while the ledger holds this borrow.
        let slice = unsafe { std::slice::from_raw_parts(self.data.start().add(range.start), range.len()) };
        Reading { slice, _entry: Entry { ledger: &self.ledger, borrow } }
    }

    /// Writes a range.
    ///
    /// # Panics
    /// The range is in use or reaches outside: a bug in a plan.
    pub fn write(&self, range: Range<usize>) -> Writing<'_, T> {
        let borrow = self.enter(&range, (range.len(), range.len()), true);
        // SAFETY: inside the buffer, and nobody else overlaps while the ledger holds this borrow.
        let slice =
            unsafe { std::slice::from_raw_parts_mut(self.data.start().add(range.start), range.len()) };
        Writing { slice, _entry: Entry { ledger: &self.ledger, borrow } }
    }

    /// Writes some columns of a matrix, beside others that are written: a row is `row.len()` elements, the next one
    /// begins `stride` behind it.
    ///
    /// # Panics
    /// An element is in use or reaches outside, or rows overlap: a bug in a plan.
    pub fn write_columns(&self, row: Range<usize>, rows: usize, stride: usize) -> WritingColumns<'_, T> {
        assert!(row.len() <= stride, "rows of {} in {stride}", row.len());
        // Saturating: an end beyond all numbers lies outside as well.
        let end = rows.saturating_sub(1).saturating_mul(stride).saturating_add(row.end);
        let borrow = self.enter(&(row.start..end), (row.len(), stride), true);
        // SAFETY: `enter` has seen that the range lies inside the buffer.
        let start = unsafe { self.data.start().add(row.start) };
        WritingColumns { start, rows, row: row.len(), stride, _entry: Entry { ledger: &self.ledger, borrow } }
    }

    /// Writes down a borrow: see [`Borrow`] for `row` and `stride`.
    fn enter(&self, range: &Range<usize>, (row, stride): (usize, usize), writes: bool) -> Borrow {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} outside of {}",
            self.len()
        );
        let borrow = Borrow { start: range.start, end: range.end, row, stride, writes };
        if !range.is_empty() {
            let mut ledger = spin(&self.ledger);
            let clash = ledger.iter().find(|other| borrow.clashes(other));
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
            let mut ledger = spin(self.ledger);
            // The last ones are the first to go.
            if let Some(i) = ledger.iter().rposition(|b| *b == self.borrow) {
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

/// Columns of a matrix that are being written.
pub struct WritingColumns<'a, T> {
    start: *mut T,
    rows: usize,
    row: usize,
    stride: usize,
    _entry: Entry<'a>,
}

impl<T> WritingColumns<'_, T> {
    /// A row of them.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&mut self, number: usize) -> &mut [T] {
        assert!(number < self.rows, "row {number} of {}", self.rows);
        // SAFETY: inside what was borrowed, whose elements nobody else reads or writes while the ledger holds it; the
        // result borrows `self`, so there is one row at a time.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(number * self.stride), self.row) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};

    use super::*;

    #[test]
    fn columns_beside_each_other_are_written_at_a_time() {
        let mut cells = Shared::<u32>::zeroed(2 + 3 * 8).unwrap();
        {
            // A matrix of 3 x 8 from element 2 on.
            let mut left = cells.write_columns(2..5, 3, 8);
            let mut right = cells.write_columns(5..10, 3, 8);
            for row in 0..3 {
                left.row(row).fill(1);
                right.row(row).fill(2);
            }
            let refused = |run: &dyn Fn()| panic::catch_unwind(AssertUnwindSafe(run)).is_err();
            assert!(refused(&|| drop(cells.write_columns(4..6, 3, 8))));
            assert!(refused(&|| drop(cells.write_columns(9..11, 2, 8))));
            assert!(refused(&|| drop(cells.write_columns(2..5, 3, 7))));
            assert!(refused(&|| drop(cells.write_columns(2..5, 4, 8))));
            assert!(refused(&|| drop(cells.write_columns(2..11, 1, 8))));
            // Their end, in 64 bits, would be that of the first row.
            assert!(refused(&|| drop(cells.write_columns(10..11, (1 << 32) + 1, 1 << 32))));
            assert!(refused(&|| drop(cells.read(7..8))));
        }
        let row = [1, 1, 1, 2, 2, 2, 2, 2];
        assert_eq!(cells.get_mut()[..2], [0, 0]);
        assert_eq!(cells.get_mut()[2..26], [row, row, row].concat());
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
    fn every_task_is_written_once() {
        for (samples, sample, task_len) in [(3, 10, 4), (1, 7, 100), (5, 1, 1), (0, 4, 2)] {
            for workers in [1, 2, 3] {
                let mut numbers = vec![0usize; samples * sample];
                let mut bytes = vec![0u8; samples * sample * 2];
                let tasks = (
                    Cut::new(&mut numbers, sample, task_len),
                    Cut::new(&mut bytes, sample * 2, task_len * 2),
                );
                let per_sample = sample.div_ceil(task_len);
                for_each_task(tasks, workers, &|| false, &|task, _, (numbers, bytes), _| {
                    assert_eq!(bytes.len(), 2 * numbers.len());
                    numbers.iter_mut().for_each(|n| *n += task + 1);
                    bytes.fill(1);
                })
                .unwrap();
                let expected =
                    (0..samples * sample).map(|i| i / sample * per_sample + i % sample / task_len + 1);
                assert!(numbers.iter().copied().eq(expected));
                assert!(bytes.iter().all(|b| *b == 1));
            }
        }
    }
}
