//! What a fork waits for: the locks of the whole process, so that a child does not find them locked for ever.

use std::any::Any;
use std::cell::RefCell;

use pyo3::prelude::*;

use super::gate;
use crate::{ops, parallel};

thread_local!(static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) });

/// Takes the locks, on the thread that forks.
#[pyfunction]
pub(super) fn before_fork(py: Python<'_>) {
    py.detach(|| {
        HELD.with_borrow_mut(|held| {
            if held.is_empty() {
                held.extend([parallel::pause(), ops::pause::<f32>(), ops::pause::<f64>()]);
                held.push(Box::new(gate::pause()));
            }
        });
    });
}

/// Gives them back, in the parent and in the child.
#[pyfunction]
pub(super) fn after_fork() {
    HELD.with_borrow_mut(Vec::clear);
}
