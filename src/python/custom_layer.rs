//! Layers written in Python, as the engine's custom_layers.

use std::sync::{Arc, Mutex};

use numpy::Element as NumpyElement;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};

use super::arrays::{array, readable};
use crate::engine::layers::WeightSpec;
use crate::engine::spec::{Size, parse};
use crate::engine::{self, CustomCall};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::parallel::lock;

/// The exception that a custom layer raised last.
pub(super) type Raised = Arc<Mutex<Option<PyErr>>>;

/// A Python object that computes a layer; see `gridnn._network.CustomLayer` for its methods.
///
/// The reference is weak: the object leads to the model, which the collector of cycles would not find from here.
pub(super) struct PythonLayer {
    object: Py<PyWeakrefReference>,
    raised: Raised,
}

/// The engine's custom layers for some Python objects.
pub(super) fn python_layers<T: Element + NumpyElement>(
    objects: &[Bound<'_, PyAny>],
    raised: &Raised,
) -> PyResult<Vec<Arc<dyn engine::CustomLayer<T>>>> {
    let layer = |object: &Bound<'_, PyAny>| -> PyResult<Arc<dyn engine::CustomLayer<T>>> {
        let object = PyWeakrefReference::new(object)?.unbind();
        Ok(Arc::new(PythonLayer { object, raised: Arc::clone(raised) }))
    };
    objects.iter().map(layer).collect()
}

/// The result of a call into the engine, or the exception that a custom layer raised in it.
pub(super) fn or_raised<R>(result: PyResult<R>, raised: &Raised) -> PyResult<R> {
    match lock(raised).take() {
        Some(error) => Err(error),
        None => result,
    }
}

impl PythonLayer {
    /// Asks the object something; its exception is kept for [`or_raised`].
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
fn random<T>(call: &CustomCall<'_, T>) -> Option<(u64, u64, usize)> {
    call.training.map(|random| (random.seed, random.step, call.layer))
}

/// Copies an array that Python has checked.
fn copy<T: Element + NumpyElement>(object: &Bound<'_, PyAny>, to: &mut [T]) -> PyResult<()> {
    let array = readable::<T>("result", object)?;
    to.copy_from_slice(array.as_slice()?);
    Ok(())
}

impl<T: Element + NumpyElement> engine::CustomLayer<T> for PythonLayer {
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

    fn forward(&self, call: &CustomCall<'_, T>, y: &mut [T]) -> Result<()> {
        self.ask(|object| {
            let py = object.py();
            // The backward pass finds these copies where the object has put them.
            let shapes: Vec<Vec<usize>> = object.getattr("weight_shapes")?.extract()?;
            let weights = call.weights.iter().zip(&shapes).map(|(values, shape)| array(py, values, shape));
            let weights = weights.collect::<PyResult<Vec<_>>>()?;
            let x = array(py, call.x, call.input)?;
            let output = PyTuple::new(py, call.output)?;
            copy(&object.call_method1("forward", (x, weights, random(call), output))?, y)
        })
    }

    fn backward(
        &self,
        call: &CustomCall<'_, T>,
        dy: &[T],
        dx: Option<&mut [T]>,
        grads: &mut [T],
    ) -> Result<()> {
        self.ask(|object| {
            let py = object.py();
            let (x, dy) = (array(py, call.x, call.input)?, array(py, dy, call.output)?);
            let answer = object.call_method1("backward", (x, dy, random(call)))?;
            let (input, own): (Bound<'_, PyAny>, Vec<Bound<'_, PyAny>>) = answer.extract()?;
            if let Some(dx) = dx {
                copy(&input, dx)?;
            }
            let mut rest = grads;
            for (grad, values) in own.iter().zip(call.weights) {
                let (to, after) = rest.split_at_mut(values.len());
                copy(grad, to)?;
                rest = after;
            }
            Ok(())
        })
    }
}
