//! What follows from descriptions and sizes alone: no network is made.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::custom_layer::{Raised, or_raised, python_layers};
use super::errors::raise;
use super::network::shape_tuple;
use crate::engine;
use crate::engine::spec::{LrSchedule, ModelSpec, parse};

/// The first sample of a batch that a rank predicts for, and the one behind its last.
#[pyfunction]
pub(super) fn prediction_share(batch_size: usize, rank: usize, ranks: usize) -> (usize, usize) {
    let share = engine::prediction_share(batch_size, rank, ranks.max(1));
    (share.start, share.end)
}

/// Shapes of the weights that a description asks for, as `(layer, name, shape)`, without allocating them.
#[pyfunction]
#[pyo3(signature = (description, custom_layers=Vec::new()))]
pub(super) fn weight_shapes(
    description: &str,
    custom_layers: Vec<Bound<'_, PyAny>>,
) -> PyResult<Vec<(usize, String, Vec<usize>)>> {
    let spec: ModelSpec = parse("model", description).map_err(raise)?;
    let raised = Raised::default();
    let structure =
        engine::Structure::<f32>::new(spec, python_layers(&custom_layers, &raised)?).map_err(raise);
    let structure = or_raised(structure, &raised)?;
    Ok(structure.weights().iter().map(|w| (w.layer, w.name.to_string(), w.shape.clone())).collect())
}

/// Shapes of what every layer of a description makes, without allocating anything.
#[pyfunction]
#[pyo3(signature = (description, custom_layers=Vec::new()))]
pub(super) fn output_shapes<'py>(
    py: Python<'py>,
    description: &str,
    custom_layers: Vec<Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let spec: ModelSpec = parse("model", description).map_err(raise)?;
    let raised = Raised::default();
    let structure =
        engine::Structure::<f32>::new(spec, python_layers(&custom_layers, &raised)?).map_err(raise);
    let structure = or_raised(structure, &raised)?;
    structure.output_shapes().map(|shape| shape_tuple(py, shape)).collect()
}

/// The learning rate of a step, by the description of a schedule.
#[pyfunction]
pub(super) fn learning_rate(schedule: &str, step: u64) -> PyResult<f64> {
    Ok(parse::<LrSchedule>("schedule", schedule).map_err(raise)?.rate(step))
}
