//! Inputs and targets of a step, borrowed from Python for as long as a call lasts.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::super::arrays::Borrowed;
use crate::engine::source::Source;
use crate::engine::{Moving, Target};

/// Inputs as Python gives them.
pub(super) type Inputs<'py> = Vec<Bound<'py, PyAny>>;

/// Of every output: labels, and weights of samples or of their positions, both perhaps None; classes with their weights;
/// and how targets follow layers that move samples, "nearest", "bilinear" or None.
pub(super) type Targets<'py> =
    Vec<(Option<Bound<'py, PyAny>>, Option<Bound<'py, PyArray1<f64>>>, Vec<(i64, f64)>, Option<String>)>;

/// Labels and weights of an output, borrowed.
pub(super) struct BorrowedTarget<'py> {
    y: Option<Borrowed<'py>>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    class_weight: Vec<(i64, f64)>,
    moving: Moving,
}

/// Borrows the arrays of all inputs.
pub(super) fn borrow_inputs<'py>(x: &Inputs<'py>) -> PyResult<Vec<Borrowed<'py>>> {
    x.iter().map(|x| Borrowed::new("x", x)).collect()
}

/// What the engine reads of inputs.
pub(super) fn sources<'a>(borrowed: &'a [Borrowed<'_>]) -> PyResult<Vec<Source<'a>>> {
    borrowed.iter().map(Borrowed::source).collect()
}

/// Borrows what the outputs are compared with.
pub(super) fn borrow_targets<'py>(targets: &Targets<'py>) -> PyResult<Vec<BorrowedTarget<'py>>> {
    targets
        .iter()
        .map(|(y, weight, classes, moving)| {
            let mut class_weight = classes.clone();
            class_weight.sort_unstable_by_key(|(class, _)| *class);
            let moving = match moving.as_deref() {
                None => Moving::Off,
                Some("nearest") => Moving::Nearest,
                Some("bilinear") => Moving::Bilinear,
                Some(other) => return Err(PyValueError::new_err(format!("nobody moves targets by {other}"))),
            };
            Ok(BorrowedTarget {
                y: y.as_ref().map(|y| Borrowed::new("y", y)).transpose()?,
                sample_weight: weight.as_ref().map(borrow_flat).transpose()?,
                class_weight,
                moving,
            })
        })
        .collect()
}

/// What the engine reads of targets.
pub(super) fn targets_of<'a>(borrowed: &'a [BorrowedTarget<'_>]) -> PyResult<Vec<Target<'a>>> {
    let target = |target: &'a BorrowedTarget<'_>| {
        Ok(Target {
            y: target.y.as_ref().map(Borrowed::source).transpose()?,
            sample_weight: target.sample_weight.as_ref().map(|w| w.as_slice()).transpose()?,
            class_weight: &target.class_weight,
            moving: target.moving,
            ordered: false,
        })
    };
    borrowed.iter().map(target).collect()
}

/// Borrows an array of numbers.
pub(super) fn borrow_flat<'py, T: numpy::Element>(
    array: &Bound<'py, PyArray1<T>>,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    array.try_readonly().map_err(|error| PyRuntimeError::new_err(error.to_string()))
}
