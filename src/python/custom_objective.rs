//! A function of the user's that looks at the outputs of a batch: a loss or metrics written in Python.

use std::sync::Mutex;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;

use super::arrays::array;
use super::errors::raise;
use crate::engine::CustomLoss;
use crate::error::{Error, Result};
use crate::memory;
use crate::parallel::lock;

/// The function, if there is one, and the exception that it raised.
pub(super) struct Objective {
    function: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

impl Objective {
    pub(super) fn new(function: Option<Py<PyAny>>) -> Self {
        Self { function, raised: Mutex::new(None) }
    }

    pub(super) fn is_there(&self) -> bool {
        self.function.is_some()
    }

    /// Calls the function with the number of an output and its values as float64. It returns None, or weighted losses
    /// of the samples, the number of values that they sum up, and the gradient of the output.
    pub(super) fn ask(&self, output: usize, values: &[f64], shape: &[usize]) -> Result<Option<CustomLoss>> {
        let Some(function) = &self.function else { return Ok(None) };
        let answer = Python::attach(|py| {
            let answer = function.bind(py).call1((output, array(py, values, shape)?))?;
            if answer.is_none() {
                return Ok(None);
            }
            let (losses, count, dy): (Bound<'_, PyArray1<f64>>, f64, PyReadonlyArrayDyn<'_, f64>) =
                answer.extract()?;
            let losses = memory::collect(losses.try_readonly()?.as_array().iter().copied()).map_err(raise)?;
            let dy = memory::collect(dy.as_array().iter().copied()).map_err(raise)?;
            Ok(Some(CustomLoss { losses, count, dy }))
        });
        answer.map_err(|error: PyErr| {
            *lock(&self.raised) = Some(error);
            Error::internal("a function of the caller raised")
        })
    }

    /// The result of the step, or the exception that the function raised.
    pub(super) fn or_raised<R>(&self, result: PyResult<R>) -> PyResult<R> {
        match lock(&self.raised).take() {
            Some(error) => Err(error),
            None => result,
        }
    }
}
