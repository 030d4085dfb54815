//! Memory and plans that convolution calls leave for the next one.
//!
//! A call takes a workspace from a shelf, or makes one, and puts it back: the second call of a kind allocates nothing of
//! the size of a tensor. Plans are remembered by geometry.

use std::sync::{Arc, Mutex};

use crate::conv::{self, Algorithm, Grad, Map, Pass, Scratch};
use crate::geometry::ConvGeometry;
use crate::kernels::{Aligned, Element, Kernels};
use crate::memory;
use crate::parallel::lock;
use crate::pool::PoolScratch;
use crate::tuning::LARGE_WORKSPACE_BYTES;

/// Workspaces that wait for their next call; as many calls may run at a time without allocating.
const MOST_SHELVED: usize = 4;
/// Plans that are remembered per pass.
const MOST_PLANS: usize = 32;

/// What a thread uses.
#[derive(Debug)]
pub(super) struct Worker<T> {
    pub scratch: Scratch<T>,
    /// Rows between two steps of a task.
    pub rows: Aligned<T>,
    /// Memory of a max-pool.
    pub pool: PoolScratch<T>,
}

impl<T: Element> Default for Worker<T> {
    fn default() -> Self {
        Self { scratch: Scratch::default(), rows: Aligned::default(), pool: PoolScratch::default() }
    }
}

impl<T: Element> Worker<T> {
    /// Elements of its buffers.
    fn len(&self) -> usize {
        self.scratch.len() + self.rows.len()
    }
}

/// What a call uses besides its operands.
#[derive(Debug)]
pub(super) struct Workspace<T> {
    /// Packed weights of up to two steps.
    pub packed: [Aligned<T>; 2],
    /// Partial sums of a kernel gradient.
    pub partials: Aligned<T>,
    /// The tensor between the two steps of a separable convolution.
    pub middle: Aligned<T>,
    pub workers: Vec<Mutex<Worker<T>>>,
}

/// The first `len` elements of a buffer that grows when it must; unwinds with a lack of memory, see [`memory`].
pub(super) fn room<T: Element>(buffer: &mut Aligned<T>, len: usize) -> &mut [T] {
    memory::grow(buffer, len);
    &mut buffer[..len]
}

impl<T: Element> Workspace<T> {
    fn new() -> Self {
        let empty = Aligned::default;
        Self { packed: [empty(), empty()], partials: empty(), middle: empty(), workers: Vec::new() }
    }

    fn bytes(&self) -> usize {
        let shared = [&self.packed[0], &self.packed[1], &self.partials, &self.middle];
        let own = self.workers.iter().map(|worker| lock(worker).len());
        (shared.iter().map(|buffer| buffer.len()).sum::<usize>() + own.sum::<usize>()) * size_of::<T>()
    }
}

/// Values by key, the last one used first.
struct Memo<K, V>(Vec<(K, V)>);

impl<K: PartialEq + Clone, V: Clone> Memo<K, V> {
    fn get(&mut self, key: &K, make: impl FnOnce() -> V) -> V {
        if let Some(i) = self.0.iter().position(|(known, _)| known == key) {
            self.0[..=i].rotate_right(1);
        } else {
            self.0.truncate(MOST_PLANS - 1);
            self.0.insert(0, (key.clone(), make()));
        }
        self.0[0].1.clone()
    }
}

/// What a plan is made for.
pub(super) type Problem = (ConvGeometry, Algorithm);

/// What is kept between calls for one element type.
pub struct Shelf<T> {
    workspaces: Vec<Workspace<T>>,
    forward: Memo<Problem, Arc<Map<T>>>,
    input_grad: Memo<Problem, Arc<Map<T>>>,
    kernel_grad: Memo<Problem, Arc<Grad<T>>>,
}

impl<T> std::fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shelf({} workspaces)", self.workspaces.len())
    }
}

impl<T> Shelf<T> {
    const fn new() -> Self {
        Self {
            workspaces: Vec::new(),
            forward: Memo(Vec::new()),
            input_grad: Memo(Vec::new()),
            kernel_grad: Memo(Vec::new()),
        }
    }
}

/// An element type that functional calls work on.
pub trait Operand: Element {
    /// What calls of this type leave.
    fn shelf() -> &'static Mutex<Shelf<Self>>;
}

macro_rules! operand {
    ($type:ty) => {
        impl Operand for $type {
            fn shelf() -> &'static Mutex<Shelf<Self>> {
                static SHELF: Mutex<Shelf<$type>> = Mutex::new(Shelf::new());
                &SHELF
            }
        }
    };
}
operand!(f32);
operand!(f64);

/// Holds the lock of what calls of a type leave, which a fork must not find with another thread, until the
/// result is dropped.
pub fn pause<T: Operand>() -> Box<dyn std::any::Any> {
    Box::new(lock(T::shelf()))
}

/// Lends a workspace with room for `workers` threads.
pub(super) fn with<T: Operand, R>(workers: usize, call: impl FnOnce(&mut Workspace<T>) -> R) -> R {
    let shelved = lock(T::shelf()).workspaces.pop();
    let mut workspace = shelved.unwrap_or_else(Workspace::new);
    while workspace.workers.len() < workers {
        workspace.workers.push(Mutex::default());
    }
    let result = call(&mut workspace);
    if workspace.bytes() <= LARGE_WORKSPACE_BYTES {
        let mut shelf = lock(T::shelf());
        if shelf.workspaces.len() < MOST_SHELVED {
            shelf.workspaces.push(workspace);
        }
    }
    result
}

/// The plan of a map.
pub(super) fn map<T: Operand>(pass: Pass, p: &Problem, kernels: &'static Kernels<T>) -> Arc<Map<T>> {
    let mut shelf = lock(T::shelf());
    let plans = if pass == Pass::InputGrad { &mut shelf.input_grad } else { &mut shelf.forward };
    plans.get(p, || Arc::new(conv::map(pass, &p.0, kernels, p.1)))
}

/// The plan of the gradient to the kernel.
pub(super) fn kernel_grad<T: Operand>(p: &Problem, kernels: &'static Kernels<T>) -> Arc<Grad<T>> {
    lock(T::shelf()).kernel_grad.get(p, || Arc::new(conv::kernel_grad(&p.0, kernels, p.1)))
}
