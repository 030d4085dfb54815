//! The lock of a network: one thread changes it, or several read it. Waiting hears Ctrl-C, and is refused where it would
//! never end: after a fork, or in a circle of waiting threads.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::parallel::lock;

/// Between two looks at signals.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at the holder in a child, whose copy of the queue may be locked for ever.
const CHILD_TICK: Duration = Duration::from_millis(1);

/// Threads that read at a time at most; each may have memory of its own for what it computes.
const READERS: usize = 8;
/// How long a thread that has just been inside lets those come first that wait.
const COURTESY: Duration = Duration::from_millis(1);
/// Between two looks at whether one has come.
const GLANCE: Duration = Duration::from_micros(20);

/// Threads that wait, each with the holder of what it waits for.
static WAITS: Mutex<Vec<(u64, Arc<AtomicU64>)>> = Mutex::new(Vec::new());

/// Why a network cannot be had.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// This thread is inside it.
    Reentry,
    /// Its holder waits, over others, for this thread.
    Circle,
    /// Its holder is a thread of the parent of this process.
    Fork,
}

impl From<Refusal> for PyErr {
    fn from(refusal: Refusal) -> Self {
        PyRuntimeError::new_err(match refusal {
            Refusal::Reentry => {
                "the model is in the middle of a step: what it calls cannot use the model itself"
            }
            Refusal::Circle => {
                "two threads wait for each other: each is inside a model whose layer, loss or metric calls the model \
                 that the other is inside; let one thread at a time use them, or give each thread copies"
            }
            Refusal::Fork => {
                "this process was forked while another thread was inside the model, which is half-way through a call \
                 here; load or build the model in this process, or fork while no thread uses it"
            }
        })
    }
}

/// What one thread changes or several read.
pub(super) struct Gate<T> {
    inner: RwLock<T>,
    /// Process and thread that change it, or wait for the readers to leave; 0 if nobody does.
    holder: Arc<AtomicU64>,
    /// Those that read.
    readers: [Arc<AtomicU64>; READERS],
    /// The one that came in last.
    last: AtomicU64,
    /// The process that `queue` belongs to.
    home: u32,
    queue: Mutex<()>,
    freed: Condvar,
    waiting: AtomicUsize,
}

/// A place inside, for as long as it lives: alone if it is the holder's, else as a reader.
///
/// It holds no lock, and may be taken by a thread without the GIL and used with it.
pub(super) struct Entry<'a, T> {
    gate: &'a Gate<T>,
    slot: &'a AtomicU64,
}

/// A place that is alone.
pub(super) struct Alone<'a, T>(Entry<'a, T>);

/// One more of those that wait, for as long as it lives.
struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What waiting comes to.
type Waited<R> = Result<std::result::Result<R, Refusal>>;

/// Process and thread.
fn me() -> u64 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    u64::from(std::process::id()) << 32 | u64::from(NUMBER.with(|number| *number))
}

/// Whether `holder` waits, perhaps over others, for `thread`.
fn waits_for(waits: &[(u64, Arc<AtomicU64>)], mut holder: u64, thread: u64) -> bool {
    for _ in 0..=waits.len() {
        if holder == thread {
            return true;
        }
        match waits.iter().find(|(waiter, _)| *waiter == holder) {
            Some((_, next)) => holder = next.load(Ordering::SeqCst),
            None => return false,
        }
    }
    false
}

/// The lock of all that wait, for a fork.
pub(super) fn pause() -> MutexGuard<'static, Vec<(u64, Arc<AtomicU64>)>> {
    lock(&WAITS)
}

impl<T> Gate<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            inner: RwLock::new(value),
            holder: Arc::default(),
            readers: Default::default(),
            last: AtomicU64::new(0),
            home: std::process::id(),
            queue: Mutex::new(()),
            freed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Goes in alone if nobody is inside.
    pub(super) fn try_alone(&self) -> Option<Alone<'_, T>> {
        let alone = self.hold(me())?;
        // Sequentially consistent with `try_read`: either a reader is seen here, or it sees the holder.
        self.readers.iter().all(|reader| reader.load(Ordering::SeqCst) == 0).then_some(alone)
    }

    /// Goes in alone, after those that are inside. Nobody comes in meanwhile.
    ///
    /// # Errors
    /// A signal came.
    pub(super) fn alone(&self, interrupted: &dyn Fn() -> bool) -> Waited<Alone<'_, T>> {
        let me = me();
        self.give_way(me);
        let _waiter = self.waiter();
        let alone = loop {
            if let Some(alone) = self.hold(me) {
                break alone;
            }
            if let Err(refusal) = self.wait_for(&self.holder, interrupted)? {
                return Ok(Err(refusal));
            }
        };
        for reader in &self.readers {
            if let Err(refusal) = self.wait_for(reader, interrupted)? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(alone))
    }

    fn hold(&self, me: u64) -> Option<Alone<'_, T>> {
        self.holder.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        self.last.store(me, Ordering::Relaxed);
        Some(Alone(Entry { gate: self, slot: &self.holder }))
    }

    /// Goes in as a reader if nobody changes anything and there is room.
    pub(super) fn try_read(&self) -> Option<Entry<'_, T>> {
        let me = me();
        if self.holder.load(Ordering::SeqCst) != 0 || self.refused_reader(me).is_some() {
            return None;
        }
        let place = self.sit(me)?;
        (self.holder.load(Ordering::SeqCst) == 0).then_some(place)
    }

    /// Goes in as a reader, after those that change something.
    ///
    /// # Errors
    /// A signal came.
    pub(super) fn read(&self, interrupted: &dyn Fn() -> bool) -> Waited<Entry<'_, T>> {
        if let Some(place) = self.try_read() {
            return Ok(Ok(place));
        }
        let me = me();
        let _waiter = self.waiter();
        loop {
            if let Some(place) = self.try_read() {
                return Ok(Ok(place));
            }
            if let Some(refusal) = self.refused_reader(me) {
                return Ok(Err(refusal));
            }
            let holder = self.holder.load(Ordering::SeqCst) != 0;
            let waited = if holder {
                self.wait_for(&self.holder, interrupted)?
            } else {
                // Whichever leaves first; the one asked about tells whether it ever will.
                let full = || self.readers.iter().all(|reader| reader.load(Ordering::SeqCst) != 0);
                self.wait_while(&self.readers[0], &full, interrupted)?
            };
            if let Err(refusal) = waited {
                return Ok(Err(refusal));
            }
        }
    }

    /// Takes a place among the readers.
    fn sit(&self, me: u64) -> Option<Entry<'_, T>> {
        let free =
            |slot: &&Arc<AtomicU64>| slot.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let slot = self.readers.iter().find(free)?;
        self.last.store(me, Ordering::Relaxed);
        Some(Entry { gate: self, slot })
    }

    /// Why a thread cannot become a reader however long it waits.
    fn refused_reader(&self, me: u64) -> Option<Refusal> {
        self.readers.iter().find_map(|reader| match reader.load(Ordering::SeqCst) {
            0 => None,
            // A thread has one place: two of one thread would wait for each other with a holder in between.
            reader if reader == me => Some(Refusal::Reentry),
            // Locks of what a thread of the parent was reading may be locked for ever.
            reader if reader >> 32 != me >> 32 => Some(Refusal::Fork),
            _ => None,
        })
    }

    /// Waits until a place is free.
    ///
    /// # Errors
    /// A signal came.
    fn wait_for(&self, slot: &Arc<AtomicU64>, interrupted: &dyn Fn() -> bool) -> Waited<()> {
        loop {
            let holder = slot.load(Ordering::SeqCst);
            if holder == 0 {
                return Ok(Ok(()));
            }
            let taken = || slot.load(Ordering::SeqCst) == holder;
            if let Err(refusal) = self.wait_while(slot, &taken, interrupted)? {
                return Ok(Err(refusal));
            }
        }
    }

    /// Waits for somebody to leave, or for a tick, if something holds; refuses if who has `slot` will not leave.
    ///
    /// # Errors
    /// A signal came.
    fn wait_while(
        &self,
        slot: &Arc<AtomicU64>,
        holds: &dyn Fn() -> bool,
        interrupted: &dyn Fn() -> bool,
    ) -> Waited<()> {
        let (me, holder) = (me(), slot.load(Ordering::SeqCst));
        if holder == 0 {
            return Ok(Ok(()));
        }
        if holder == me {
            return Ok(Err(Refusal::Reentry));
        }
        if holder >> 32 != me >> 32 {
            return Ok(Err(Refusal::Fork));
        }
        {
            let mut waits = lock(&WAITS);
            if waits_for(&waits, holder, me) {
                return Ok(Err(Refusal::Circle));
            }
            waits.push((me, Arc::clone(slot)));
        }
        self.rest(holds);
        lock(&WAITS).retain(|(waiter, _)| *waiter != me);
        if interrupted() { Err(Error::Interrupted) } else { Ok(Ok(())) }
    }

    /// Sleeps until somebody leaves, or for a tick, if something holds.
    fn rest(&self, holds: &dyn Fn() -> bool) {
        if self.home != std::process::id() {
            std::thread::sleep(CHILD_TICK);
            return;
        }
        let queue = lock(&self.queue);
        // Sequentially consistent with `drop`: either the one that leaves sees a waiter, or it is seen to have left.
        if holds() {
            drop(self.freed.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Counts this thread among those that wait, to the moment when it is inside: between two looks it may have to wait
    /// for the GIL, and whoever gives way must not think that it has gone.
    fn waiter(&self) -> Waiter<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiter(&self.waiting)
    }

    /// Lets others come in first who waited while this thread was inside: a loop of steps would leave them no gap.
    fn give_way(&self, me: u64) {
        let waits = || self.waiting.load(Ordering::SeqCst) > 0 && self.last.load(Ordering::Relaxed) == me;
        if self.home != std::process::id() || !waits() {
            return;
        }
        let start = Instant::now();
        while waits() && start.elapsed() < COURTESY {
            std::thread::sleep(GLANCE);
        }
    }
}

impl<T> Alone<'_, T> {
    /// To change it.
    pub(super) fn write(&mut self) -> RwLockWriteGuard<'_, T> {
        self.0.gate.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, T> Alone<'a, T> {
    /// Becomes a reader; nobody else has been alone in between.
    pub(super) fn reader(self) -> Entry<'a, T> {
        loop {
            if let Some(entry) = self.0.gate.sit(me()) {
                return entry;
            }
            // All places are taken by threads that have seen this one and are about to leave.
            std::thread::yield_now();
        }
    }
}

impl<T> Entry<'_, T> {
    /// To read it.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.gate.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Entry<'_, T> {
    fn drop(&mut self) {
        let gate = self.gate;
        // In the child of a fork that a step of its own thread made, the parent's number stands here.
        self.slot.store(0, Ordering::SeqCst);
        if gate.home == std::process::id() && gate.waiting.load(Ordering::SeqCst) > 0 {
            drop(lock(&gate.queue));
            gate.freed.notify_all();
        }
    }
}
