//! The lock of a network: it hears Ctrl-C, and knows its holder after a fork and in a circle of waiting threads.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::parallel::lock;

/// Between two looks at signals.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at the holder in a child, whose copy of the queue may be locked for ever.
const CHILD_TICK: Duration = Duration::from_millis(1);

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
                "this process was forked while another thread was inside the model, which is half-way through a step \
                 here; load or build the model in this process, or fork while no thread uses it"
            }
        })
    }
}

/// What one thread at a time uses.
pub(super) struct Gate<T> {
    inner: Mutex<T>,
    /// Process and thread that are inside; 0 if nobody is. Set before `inner` is locked and cleared after.
    holder: Arc<AtomicU64>,
    /// The process that `queue` belongs to.
    home: u32,
    queue: Mutex<()>,
    freed: Condvar,
    waiting: AtomicUsize,
}

/// The way in, for as long as it lives.
pub(super) struct Held<'a, T> {
    gate: &'a Gate<T>,
    /// None only while it is dropped.
    inner: Option<MutexGuard<'a, T>>,
}

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
            inner: Mutex::new(value),
            holder: Arc::default(),
            home: std::process::id(),
            queue: Mutex::new(()),
            freed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Goes in if nobody is.
    pub(super) fn try_enter(&self) -> Option<Held<'_, T>> {
        self.holder.compare_exchange(0, me(), Ordering::SeqCst, Ordering::SeqCst).ok()?;
        Some(Held { gate: self, inner: Some(lock(&self.inner)) })
    }

    /// Goes in, after those that are.
    ///
    /// # Errors
    /// A signal came.
    pub(super) fn enter(
        &self,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<std::result::Result<Held<'_, T>, Refusal>> {
        loop {
            if let Some(held) = self.try_enter() {
                return Ok(Ok(held));
            }
            if let Err(refusal) = self.wait(interrupted)? {
                return Ok(Err(refusal));
            }
        }
    }

    /// Waits until nobody is inside.
    ///
    /// # Errors
    /// A signal came.
    pub(super) fn wait(&self, interrupted: &dyn Fn() -> bool) -> Result<std::result::Result<(), Refusal>> {
        let me = me();
        loop {
            let holder = self.holder.load(Ordering::SeqCst);
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
                waits.push((me, Arc::clone(&self.holder)));
            }
            self.rest();
            lock(&WAITS).retain(|(waiter, _)| *waiter != me);
            if interrupted() {
                return Err(Error::Interrupted);
            }
        }
    }

    /// Sleeps until somebody leaves, or for a tick.
    fn rest(&self) {
        if self.home != std::process::id() {
            std::thread::sleep(CHILD_TICK);
            return;
        }
        let queue = lock(&self.queue);
        // Sequentially consistent with `drop`: either the one that leaves sees a waiter, or it is seen to have left.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.holder.load(Ordering::SeqCst) != 0 {
            drop(self.freed.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner));
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("held until it is dropped")
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("held until it is dropped")
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        let gate = self.gate;
        // In the child of a fork that a step of its own thread made, the parent's number stands here.
        self.inner = None;
        gate.holder.store(0, Ordering::SeqCst);
        if gate.home == std::process::id() && gate.waiting.load(Ordering::SeqCst) > 0 {
            drop(lock(&gate.queue));
            gate.freed.notify_all();
        }
    }
}
