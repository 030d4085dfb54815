//! What a run that keeps everything has found, as NumPy arrays.

use pyo3::prelude::*;

use super::super::arrays::into_array;
use super::{Network, Sums, Typed, sums};
use crate::engine::source::Source;
use crate::engine::{Inspection, Seed};

pub(super) type Tensors<'py> = Vec<Option<Bound<'py, PyAny>>>;

/// `(values, gradients, weight gradients)`, and the scores where there are some.
pub(super) type Inspected<'py> = ((Tensors<'py>, Tensors<'py>, Vec<Bound<'py, PyAny>>), Option<Sums>);

/// An inspection of either type.
enum Found {
    Float32(Inspection<f32>),
    Float64(Inspection<f64>),
}

/// The arrays of an inspection.
fn inspected<'py, T: numpy::Element>(
    py: Python<'py>,
    found: Inspection<T>,
    weight_shapes: &[Vec<usize>],
) -> PyResult<Inspected<'py>> {
    let Inspection { shapes, values, gradients, weights, scores } = found;
    let arrays = |tensors: Vec<Option<Vec<T>>>| -> PyResult<_> {
        let shaped = tensors.into_iter().zip(&shapes);
        shaped.map(|(values, shape)| values.map(|v| into_array(py, v, shape)).transpose()).collect()
    };
    let (values, gradients) = (arrays(values)?, arrays(gradients)?);
    let weights = weights.into_iter().zip(weight_shapes).map(|(w, shape)| into_array(py, w, shape));
    Ok(((values, gradients, weights.collect::<PyResult<_>>()?), scores.map(sums)))
}

impl Network {
    /// Runs a batch and keeps everything.
    pub(super) fn inspection<'py>(
        &self,
        py: Python<'py>,
        x: &[Source<'_>],
        seed: Seed<'_>,
    ) -> PyResult<Inspected<'py>> {
        let found = self.run(py, |network, interrupt| {
            Ok(match network {
                Typed::Float32(network) => Found::Float32(network.inspect(x, seed, interrupt)?),
                Typed::Float64(network) => Found::Float64(network.inspect(x, seed, interrupt)?),
            })
        })?;
        let shapes = self.look(py, |network| {
            Ok(with!(network, n => n.weights().iter().map(|w| w.shape.clone()).collect::<Vec<_>>()))
        })?;
        match found {
            Found::Float32(found) => inspected(py, found, &shapes),
            Found::Float64(found) => inspected(py, found, &shapes),
        }
    }
}
