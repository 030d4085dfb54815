//! Losses, metrics, initializers, regularizers, constraints and optimizers on NumPy arrays.

use std::sync::{Mutex, MutexGuard};

use numpy::{Element as NumpyElement, PyArray1, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use super::arrays::{Borrowed, in_order, into_array, readable};
use super::errors::{enter, raise};
use crate::engine::spec::{Initializer, Loss, Metric, Optimizer, parse};
use crate::engine::standalone::{self, Compared, OptimizerSteps};
use crate::error::Error;
use crate::kernels::Element;
use crate::memory;
use crate::parallel::Interrupt;

/// Values of a loss, by its description: flat, in float64.
#[pyfunction]
pub(super) fn loss_values<'py>(
    py: Python<'py>,
    loss: &str,
    y_true: &Bound<'py, PyAny>,
    y_pred: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let loss: Loss = parse("loss", loss).map_err(raise)?;
    let (y_true, y_pred) = (Borrowed::new("y_true", y_true)?, Borrowed::new("y_pred", y_pred)?);
    let (y_true, y_pred) = (y_true.source()?, y_pred.source()?);
    let values = enter(py, |interrupt| standalone::loss_values(&loss, &y_true, &y_pred, interrupt))?;
    Ok(PyArray1::from_vec(py, values))
}

/// Does something with a metric, and with what it compares.
fn compared<R: Send>(
    py: Python<'_>,
    metric: &str,
    (y_true, y_pred): (&Bound<'_, PyAny>, &Bound<'_, PyAny>),
    labels: bool,
    work: impl FnOnce(&Metric, &Compared<'_>, Interrupt<'_>) -> crate::error::Result<R> + Send,
) -> PyResult<R> {
    let metric: Metric = parse("metric", metric).map_err(raise)?;
    let (y_true, y_pred) = (Borrowed::new("y_true", y_true)?, Borrowed::new("y_pred", y_pred)?);
    let compared = Compared { y_true: y_true.source()?, y_pred: y_pred.source()?, labels };
    enter(py, |interrupt| work(&metric, &compared, interrupt))
}

/// What a metric counts over rows of outputs and targets, each times its weight.
#[pyfunction]
pub(super) fn metric_counts(
    py: Python<'_>,
    metric: &str,
    y_true: &Bound<'_, PyAny>,
    y_pred: &Bound<'_, PyAny>,
    labels: bool,
    weights: Option<PyReadonlyArray1<'_, f64>>,
) -> PyResult<Vec<f64>> {
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    compared(py, metric, (y_true, y_pred), labels, |metric, compared, interrupt| {
        compared.counts(metric, weights, interrupt)
    })
}

/// What a metric that is a mean has for every row.
#[pyfunction]
pub(super) fn metric_values<'py>(
    py: Python<'py>,
    metric: &str,
    y_true: &Bound<'py, PyAny>,
    y_pred: &Bound<'py, PyAny>,
    labels: bool,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let work = |metric: &Metric, compared: &Compared<'_>, interrupt: Interrupt<'_>| {
        compared.values(metric, interrupt)
    };
    Ok(PyArray1::from_vec(py, compared(py, metric, (y_true, y_pred), labels, work)?))
}

/// What an initializer fills an array with.
#[pyfunction]
pub(super) fn initial_values<'py>(
    py: Python<'py>,
    initializer: &str,
    shape: Vec<usize>,
    seed: u64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let initializer: Initializer = parse("initializer", initializer).map_err(raise)?;
    if dtype == "float64" {
        let values = enter(py, |stop| standalone::initial_values::<f64>(&initializer, &shape, seed, stop))?;
        return into_array(py, values, &shape);
    }
    let values = enter(py, |stop| standalone::initial_values::<f32>(&initializer, &shape, seed, stop))?;
    into_array(py, values, &shape)
}

/// What a regularizer charges for an array of float32 or float64.
#[pyfunction]
pub(super) fn penalty(py: Python<'_>, regularizer: &str, weights: &Bound<'_, PyAny>) -> PyResult<f64> {
    fn of<T: Element + NumpyElement>(
        py: Python<'_>,
        regularizer: &str,
        weights: &Bound<'_, PyAny>,
    ) -> PyResult<f64> {
        let regularizer = parse("regularizer", regularizer).map_err(raise)?;
        let array = readable::<T>("weights", weights)?;
        let (values, shape) = (in_order(&array)?, array.shape().to_vec());
        enter(py, |interrupt| standalone::penalty(regularizer, &values, &shape, interrupt))
    }
    of::<f32>(py, regularizer, weights).or_else(|error| match error.is_instance_of::<PyTypeError>(py) {
        true => of::<f64>(py, regularizer, weights),
        false => Err(error),
    })
}

/// An array of float32 or float64 held to a constraint.
#[pyfunction]
pub(super) fn constrained<'py>(
    py: Python<'py>,
    constraint: &str,
    weights: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    fn of<'py, T: Element + NumpyElement>(
        py: Python<'py>,
        constraint: &str,
        weights: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let constraint = parse("constraint", constraint).map_err(raise)?;
        let array = readable::<T>("weights", weights)?;
        let shape = array.shape().to_vec();
        let mut values = memory::collect(in_order(&array)?.iter().copied()).map_err(raise)?;
        enter(py, |_| standalone::constrain(&constraint, &mut values, &shape))?;
        into_array(py, values, &shape)
    }
    of::<f32>(py, constraint, weights).or_else(|error| match error.is_instance_of::<PyTypeError>(py) {
        true => of::<f64>(py, constraint, weights),
        false => Err(error),
    })
}

enum Typed {
    Float32(OptimizerSteps<f32>),
    Float64(OptimizerSteps<f64>),
}

/// An optimizer on arrays, with its slots. One thread at a time calls it: whoever has it has a lock as well.
#[pyclass(module = "gridnn._core", frozen)]
pub(super) struct OptimizerState {
    inner: Mutex<Typed>,
    lens: Vec<usize>,
}

impl OptimizerState {
    /// Never waits: a thread that did would keep the GIL from the one that works.
    fn enter(&self) -> PyResult<MutexGuard<'_, Typed>> {
        self.inner.try_lock().map_err(|_| PyRuntimeError::new_err("two threads are in one optimizer"))
    }
}

/// Arrays one after the other.
fn flat<T: Element + NumpyElement>(
    name: &str,
    arrays: &[Bound<'_, PyAny>],
    lens: &[usize],
) -> PyResult<Vec<T>> {
    let mut values = memory::with_room(lens.iter().sum()).map_err(raise)?;
    for (array, len) in arrays.iter().zip(lens) {
        let array = readable::<T>(name, array)?;
        if array.len() != *len {
            return Err(raise(Error::shape(name, format!("{len} elements"), array.len())));
        }
        values.extend_from_slice(&in_order(&array)?);
    }
    Ok(values)
}

/// The flat buffer as arrays again.
fn parts<'py, T: Element + NumpyElement>(
    py: Python<'py>,
    values: &[T],
    lens: &[usize],
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut rest = values;
    let mut made = Vec::new();
    for len in lens {
        let (own, after) = rest.split_at(*len);
        made.push(super::arrays::array(py, own, &[*len])?);
        rest = after;
    }
    Ok(made)
}

#[pymethods]
impl OptimizerState {
    #[new]
    fn new(optimizer: &str, lens: Vec<usize>, dtype: &str) -> PyResult<Self> {
        let optimizer: Optimizer = parse("optimizer", optimizer).map_err(raise)?;
        let typed = match dtype {
            "float64" => Typed::Float64(OptimizerSteps::new(optimizer, &lens)),
            _ => Typed::Float32(OptimizerSteps::new(optimizer, &lens)),
        };
        Ok(Self { inner: Mutex::new(typed), lens })
    }

    #[getter]
    fn iterations(&self) -> PyResult<u64> {
        Ok(match &*self.enter()? {
            Typed::Float32(steps) => steps.iterations(),
            Typed::Float64(steps) => steps.iterations(),
        })
    }

    /// The weights after a step, flat.
    fn step<'py>(
        &self,
        py: Python<'py>,
        weights: Vec<Bound<'py, PyAny>>,
        gradients: Vec<Bound<'py, PyAny>>,
        learning_rate: f64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let lens = &self.lens;
        for (name, given) in [("weights", weights.len()), ("gradients", gradients.len())] {
            if given != lens.len() {
                return Err(raise(Error::shape(name, format!("{} arrays", lens.len()), given)));
            }
        }
        match &mut *self.enter()? {
            Typed::Float32(steps) => stepped(py, steps, (&weights, &gradients), lens, learning_rate),
            Typed::Float64(steps) => stepped(py, steps, (&weights, &gradients), lens, learning_rate),
        }
    }

    /// The weights, or their average where the optimizer keeps one, flat.
    fn finalize<'py>(
        &self,
        py: Python<'py>,
        weights: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        match &*self.enter()? {
            Typed::Float32(steps) => {
                let mut values = flat("weights", &weights, &self.lens)?;
                steps.finalize(&mut values);
                parts(py, &values, &self.lens)
            }
            Typed::Float64(steps) => {
                let mut values = flat("weights", &weights, &self.lens)?;
                steps.finalize(&mut values);
                parts(py, &values, &self.lens)
            }
        }
    }
}

fn stepped<'py, T: Element + NumpyElement>(
    py: Python<'py>,
    steps: &mut OptimizerSteps<T>,
    (weights, gradients): (&[Bound<'py, PyAny>], &[Bound<'py, PyAny>]),
    lens: &[usize],
    learning_rate: f64,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut values = flat::<T>("weights", weights, lens)?;
    let mut grads = flat::<T>("gradients", gradients, lens)?;
    enter(py, |_| steps.step(&mut values, &mut grads, learning_rate))?;
    parts(py, &values, lens)
}
