//! Layers written in Python, as the engine's guests.

use std::sync::{Arc, Mutex};

use numpy::Element as NumpyElement;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};

use super::arrays::{array, readable};
use crate::engine::layers::WeightSpec;
use crate::engine::spec::{Size, parse};
use crate::engine::{self, Visit};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::lock;

/// The exception that a guest raised last.
pub(super) type Raised = Arc<Mutex<Option<PyErr>>>;

/// A Python object that computes a layer; see `gridnn._network.Guest` for its methods.
///
/// The reference is weak: the object leads to the model, which the collector of cycles would not find from here.
pub(super) struct Guest {
    object: Py<PyWeakrefReference>,
    raised: Raised,
}

/// The engine's guests for some Python objects.
pub(super) fn guests<T: Element + NumpyElement>(
    objects: &[Bound<'_, PyAny>],
    raised: &Raised,
) -> PyResult<Vec<Arc<dyn engine::Guest<T>>>> {
    let guest = |object: &Bound<'_, PyAny>| -> PyResult<Arc<dyn engine::Guest<T>>> {
        let object = PyWeakrefReference::new(object)?.unbind();
        Ok(Arc::new(Guest { object, raised: Arc::clone(raised) }))
    };
    objects.iter().map(guest).collect()
}

/// The result of a call into the engine, or the exception that a guest raised in it.
pub(super) fn settle<R>(result: PyResult<R>, raised: &Raised) -> PyResult<R> {
    match lock(raised).take() {
        Some(error) => Err(error),
        None => result,
    }
}

impl Guest {
    /// Asks the object something; its exception is kept for [`settle`].
    fn ask<R>(&self, question: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<R>) -> Result<R> {
        let answer = Python::attach(|py| match self.object.bind(py).upgrade() {
            Some(object) => question(&object).map(Some),
            None => Ok(None),
        });
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Error::internal("a layer written in Python is gone")),
            Err(error) => {
                *lock(&self.raised) = Some(error);
                Err(Error::internal("a layer written in Python raised"))
            }
        }
    }
}

/// Where random numbers come from, as Python sees it: None or `(seed, step, layer)`.
fn random<T>(visit: &Visit<'_, T>) -> Option<(u64, u64, usize)> {
    visit.training.map(|random| (random.seed, random.step, visit.layer))
}

/// Copies an array that Python has checked.
fn copy<T: Element + NumpyElement>(object: &Bound<'_, PyAny>, to: &mut [T]) -> PyResult<()> {
    let array = readable::<T>("result", object)?;
    to.copy_from_slice(array.as_slice()?);
    Ok(())
}

impl<T: Element + NumpyElement> engine::Guest<T> for Guest {
    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let list: String = self
            .ask(|object| object.call_method1("weights", (PyTuple::new(object.py(), input)?,))?.extract())?;
        parse("weights", &list)
    }

    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.ask(|object| {
            object.call_method1("output_shape", (PyTuple::new(object.py(), input)?,))?.extract()
        })
    }

    fn forward(&self, visit: &Visit<'_, T>, y: &mut [T]) -> Result<()> {
        self.ask(|object| {
            let py = object.py();
            // The backward pass finds these copies where the object has put them.
            let shapes: Vec<Vec<usize>> = object.getattr("weight_shapes")?.extract()?;
            let weights = visit.weights.iter().zip(&shapes).map(|(values, shape)| array(py, values, shape));
            let weights = weights.collect::<PyResult<Vec<_>>>()?;
            let x = array(py, visit.x, visit.input)?;
            let output = PyTuple::new(py, visit.output)?;
            copy(&object.call_method1("forward", (x, weights, random(visit), output))?, y)
        })
    }

    fn backward(&self, visit: &Visit<'_, T>, dy: &[T], dx: Option<&mut [T]>, grads: &mut [T]) -> Result<()> {
        self.ask(|object| {
            let py = object.py();
            let (x, dy) = (array(py, visit.x, visit.input)?, array(py, dy, visit.output)?);
            let answer = object.call_method1("backward", (x, dy, random(visit)))?;
            let (input, own): (Bound<'_, PyAny>, Vec<Bound<'_, PyAny>>) = answer.extract()?;
            if let Some(dx) = dx {
                copy(&input, dx)?;
            }
            let mut rest = grads;
            for (grad, values) in own.iter().zip(visit.weights) {
                let (to, behind) = rest.split_at_mut(values.len());
                copy(grad, to)?;
                rest = behind;
            }
            Ok(())
        })
    }
}
