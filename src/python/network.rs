//! The engine's `Network` as a Python class of either element type.

use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::arrays::{Borrowed, array, in_order, into_array, shaped};
use super::custom_layer::{Raised, or_raised, python_layers};
use super::custom_objective::Objective;
use super::errors::{enter, raise};
use super::gate::Gate;
use super::peers::python_peers;
use crate::engine::spec::{Dtype, ModelSpec, Size, parse};
use crate::engine::{self, CustomObjective, Data, MovedTargets, Request, Scores, Seed};

enum Typed {
    Float32(Box<engine::Network<f32>>),
    Float64(Box<engine::Network<f64>>),
}

/// Does the same with a network of either type.
macro_rules! with {
    ($typed:expr, $network:ident => $body:expr) => {
        match $typed {
            Typed::Float32($network) => $body,
            Typed::Float64($network) => $body,
        }
    };
}

// After the macro, which it uses.
mod access;
mod inspection;
mod operands;

use operands::{Inputs, Targets, borrow_flat, borrow_inputs, borrow_targets, sources, targets_of};

/// A built model: parameters, optimizer state and cached execution plans.
///
/// Every method may be called from several threads, and releases the GIL. Predictions, evaluations and copies of weights
/// run side by side; what changes the network runs alone, as do models with layers, losses or metrics written in Python.
#[pyclass(module = "gridnn._core", frozen)]
pub(super) struct Network {
    inner: Gate<Typed>,
    raised: Raised,
    /// Whether it has layers written in Python, which one thread at a time may call.
    calls_python: bool,
}

/// Of every output the sum of its loss, the count and what each metric counts; and the penalty of the weights.
type Sums = (Vec<(f64, f64, Vec<Vec<f64>>)>, f64);

fn sums(scores: Scores) -> Sums {
    let outputs = scores.outputs.into_iter().map(|output| (output.loss, output.count, output.metrics));
    (outputs.collect(), scores.penalty)
}

/// Of an output: grids that its targets may have, how many of them in training, whether samples are mixed, and why
/// targets cannot follow, if so.
type Grids = (Vec<Vec<usize>>, usize, bool, Option<String>);

/// Targets of an output that have moved, and their weights.
type MovedArrays<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

pub(super) fn shape_tuple<'py>(py: Python<'py>, shape: &[Size]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, shape)
}

impl Network {
    fn step(
        &self,
        py: Python<'_>,
        (x, targets): (&Inputs<'_>, &Targets<'_>),
        indices: Option<&Bound<'_, PyArray1<i64>>>,
        train: Option<(f64, u64)>,
        custom_objective: Option<Py<PyAny>>,
        peers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Sums> {
        let (x, targets) = (borrow_inputs(x)?, borrow_targets(targets)?);
        let (x, targets) = (sources(&x)?, targets_of(&targets)?);
        let indices = indices.map(borrow_flat).transpose()?;
        let peers = peers.map(|peers| python_peers(peers, &self.raised)).transpose()?;
        let objective = Objective::new(custom_objective);
        let ask = |output: usize, values: &[f64], shape: &[usize]| objective.ask(output, values, shape);
        let data = Data {
            custom: objective.is_there().then_some(CustomObjective(&ask)),
            x: &x,
            targets: &targets,
            indices: indices.as_ref().map(|i| i.as_slice()).transpose()?,
        };
        let scores = if train.is_none() && data.custom.is_none() && !self.calls_python && peers.is_none() {
            self.run_beside(
                py,
                |network| with!(network, n => n.is_prepared_to_evaluate(&data)),
                |network, interrupt| with!(network, n => n.prepare_to_evaluate(&data, interrupt)),
                |network, interrupt| with!(network, n => n.evaluate_prepared(&data, interrupt)),
            )
        } else {
            self.run(py, |network, interrupt| {
                with!(network, network => {
                    let mut network = network.with_peers(peers);
                    match train {
                        Some((learning_rate, seed)) => network.train_step(&data, learning_rate, seed, interrupt),
                        None => network.evaluate_step(&data, interrupt),
                    }
                })
            })
        };
        objective.or_raised(scores.map(sums))
    }

    fn outputs<'py>(
        &self,
        py: Python<'py>,
        x: &Inputs<'py>,
        batch_size: usize,
        training: Option<u64>,
        peers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        enum Values {
            F32(Vec<(Vec<f32>, Vec<usize>)>),
            F64(Vec<(Vec<f64>, Vec<usize>)>),
        }
        let x = borrow_inputs(x)?;
        let x = sources(&x)?;
        let request = Request { x: &x, batch_size, training };
        let peers = peers.map(|peers| python_peers(peers, &self.raised)).transpose()?;
        let values = if self.calls_python || peers.is_some() {
            self.run(py, |network, interrupt| match network {
                Typed::Float32(n) => {
                    n.with_peers(peers).predict(&x, batch_size, training, interrupt).map(Values::F32)
                }
                Typed::Float64(n) => {
                    n.with_peers(peers).predict(&x, batch_size, training, interrupt).map(Values::F64)
                }
            })?
        } else {
            self.run_beside(
                py,
                |network| with!(network, n => n.is_prepared(request)),
                |network, interrupt| with!(network, n => n.prepare(request, interrupt)),
                |network, interrupt| match network {
                    Typed::Float32(n) => n.predict_prepared(request, interrupt).map(Values::F32),
                    Typed::Float64(n) => n.predict_prepared(request, interrupt).map(Values::F64),
                },
            )?
        };
        match values {
            Values::F32(outputs) => outputs.into_iter().map(|(v, shape)| into_array(py, v, &shape)).collect(),
            Values::F64(outputs) => outputs.into_iter().map(|(v, shape)| into_array(py, v, &shape)).collect(),
        }
    }
}

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (description, seed, custom_layers=Vec::new()))]
    fn new(
        py: Python<'_>,
        description: &str,
        seed: u64,
        custom_layers: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let spec: ModelSpec = parse("model", description).map_err(raise)?;
        let raised = Raised::default();
        let typed = match spec.dtype {
            Dtype::Float32 => {
                let own = python_layers(&custom_layers, &raised)?;
                enter(py, |interrupt| {
                    let network = engine::Network::with_custom_layers(spec, own, seed, interrupt)?;
                    Ok(Typed::Float32(Box::new(network)))
                })
            }
            Dtype::Float64 => {
                let own = python_layers(&custom_layers, &raised)?;
                enter(py, |interrupt| {
                    let network = engine::Network::with_custom_layers(spec, own, seed, interrupt)?;
                    Ok(Typed::Float64(Box::new(network)))
                })
            }
        };
        let inner = Gate::new(or_raised(typed, &raised)?);
        Ok(Self { inner, raised, calls_python: !custom_layers.is_empty() })
    }

    #[getter]
    fn output_shapes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.look(py, |network| {
            with!(network, n => n.layers().iter().map(|layer| shape_tuple(py, &layer.output)).collect())
        })
    }

    #[getter]
    fn input_shapes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.look(py, |network| {
            with!(network, n => n.layers().iter().map(|layer| shape_tuple(py, &layer.input)).collect())
        })
    }

    #[getter]
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.look(py, |network| {
            with!(network, n => n.output_shapes().iter().map(|shape| shape_tuple(py, shape)).collect())
        })
    }

    #[getter(weights)]
    #[expect(clippy::type_complexity, reason = "it is the tuple of the stub file")]
    fn weight_infos<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(usize, String, Bound<'py, PyTuple>, bool)>> {
        self.look(py, |network| {
            with!(network, n => n
                .weights()
                .iter()
                .map(|w| Ok((w.layer, w.name.to_string(), PyTuple::new(py, &w.shape)?, w.trainable)))
                .collect())
        })
    }

    #[getter]
    fn macs(&self, py: Python<'_>) -> PyResult<Vec<Option<usize>>> {
        self.look(py, |network| Ok(with!(network, n => n.macs())))
    }

    fn get_weights<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let count = self.look(py, |network| Ok(with!(network, n => n.weights().len())))?;
        (0..count).map(|i| self.get_weight(py, i)).collect()
    }

    fn get_weight<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        self.look(py, |network| {
            with!(network, n => {
                let shape = n.weights().get(index).map(|w| w.shape.clone()).ok_or_else(|| no_weight(index))?;
                array(py, &n.weight(index), &shape)
            })
        })
    }

    fn set_weights(&self, py: Python<'_>, values: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        self.hold(py, |network| {
            with!(network, n => {
                if values.len() != n.weights().len() {
                    let got = values.len();
                    return Err(PyValueError::new_err(format!("expected {} weights, received {got}", n.weights().len())));
                }
                let checked = n.weights().iter().zip(&values).map(|(w, v)| shaped(&w.name, v, &w.shape));
                let checked = checked.collect::<PyResult<Vec<_>>>()?;
                // All of them are there before the first is set.
                let ordered = checked.iter().map(in_order).collect::<PyResult<Vec<_>>>()?;
                ordered.iter().enumerate().try_for_each(|(i, v)| n.set_weight(i, v)).map_err(raise)
            })
        })
    }

    fn set_weight(&self, py: Python<'_>, index: usize, value: Bound<'_, PyAny>) -> PyResult<()> {
        self.hold(py, |network| {
            with!(network, n => {
                let weight = n.weights().get(index).ok_or_else(|| no_weight(index))?;
                let checked = shaped(&weight.name, &value, &weight.shape)?;
                n.set_weight(index, &in_order(&checked)?).map_err(raise)
            })
        })
    }

    fn get_gradients<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.hold(py, |network| {
            with!(network, n => {
                let trainable: Vec<_> = n.weights().iter().map(|w| w.trainable.then(|| w.shape.clone())).collect();
                let shapes = trainable.iter().enumerate().filter_map(|(i, shape)| Some((i, shape.as_ref()?)));
                shapes.map(|(i, shape)| array(py, n.gradient(i), shape)).collect()
            })
        })
    }

    fn set_trainable(&self, py: Python<'_>, layer: usize, trainable: bool) -> PyResult<()> {
        self.hold(py, |network| {
            with!(network, n => n.set_trainable(layer, trainable));
            Ok(())
        })
    }

    fn compile(&self, py: Python<'_>, description: &str) -> PyResult<()> {
        let spec = parse("compile", description).map_err(raise)?;
        self.run(py, |network, _| with!(network, n => n.compile(spec)))
    }

    #[pyo3(signature = (x, targets, indices, learning_rate, seed, custom_objective=None, peers=None))]
    #[expect(clippy::too_many_arguments, reason = "it is the signature of the stub file")]
    fn train_step(
        &self,
        py: Python<'_>,
        x: Inputs<'_>,
        targets: Targets<'_>,
        indices: Option<Bound<'_, PyArray1<i64>>>,
        learning_rate: f64,
        seed: u64,
        custom_objective: Option<Py<PyAny>>,
        peers: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Sums> {
        let train = Some((learning_rate, seed));
        self.step(py, (&x, &targets), indices.as_ref(), train, custom_objective, peers.as_ref())
    }

    #[pyo3(signature = (x, targets, indices, custom_objective=None, peers=None))]
    fn evaluate_step(
        &self,
        py: Python<'_>,
        x: Inputs<'_>,
        targets: Targets<'_>,
        indices: Option<Bound<'_, PyArray1<i64>>>,
        custom_objective: Option<Py<PyAny>>,
        peers: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Sums> {
        self.step(py, (&x, &targets), indices.as_ref(), None, custom_objective, peers.as_ref())
    }

    #[getter]
    fn moves(&self, py: Python<'_>) -> PyResult<bool> {
        self.hold(py, |network| Ok(with!(network, n => n.moves())))
    }

    fn target_grids(&self, py: Python<'_>, inputs: Vec<Vec<usize>>) -> PyResult<Vec<Grids>> {
        let found = self.run(py, |network, _| with!(network, n => n.target_grids(&inputs)))?;
        Ok(found.into_iter().map(|own| (own.grids, own.starts, own.mixes, own.refusal)).collect())
    }

    #[pyo3(signature = (x, targets, indices, seed=None))]
    fn moved_targets<'py>(
        &self,
        py: Python<'py>,
        x: Inputs<'py>,
        targets: Targets<'py>,
        indices: Option<Bound<'py, PyArray1<i64>>>,
        seed: Option<u64>,
    ) -> PyResult<Vec<Option<MovedArrays<'py>>>> {
        let (x, targets) = (borrow_inputs(&x)?, borrow_targets(&targets)?);
        let (x, targets) = (sources(&x)?, targets_of(&targets)?);
        let indices = indices.as_ref().map(borrow_flat).transpose()?;
        let indices = indices.as_ref().map(|i| i.as_slice()).transpose()?;
        let data = Data { x: &x, targets: &targets, indices, custom: None };
        let moved = self.run(py, |network, _| with!(network, n => n.moved_targets(&data, seed)))?;
        let array = |(values, shape, weights): MovedTargets| {
            let weights = weights.map(|weights| {
                let len = weights.len();
                into_array(py, weights, &[len])
            });
            Ok((into_array(py, values, &shape)?, weights.transpose()?))
        };
        moved.into_iter().map(|own| own.map(array).transpose()).collect()
    }

    #[pyo3(signature = (x, batch_size, peers=None))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        x: Inputs<'py>,
        batch_size: usize,
        peers: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.outputs(py, &x, batch_size, None, peers.as_ref())
    }

    fn forward<'py>(
        &self,
        py: Python<'py>,
        x: Inputs<'py>,
        training: bool,
        seed: u64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.outputs(py, &x, usize::MAX, training.then_some(seed), None)
    }

    #[pyo3(signature = (x, seed=None))]
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        x: Inputs<'py>,
        seed: Option<(usize, Bound<'py, PyAny>)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let x = borrow_inputs(&x)?;
        let dy = seed.as_ref().map(|(_, dy)| Borrowed::new("dy", dy)).transpose()?;
        let dy = dy.as_ref().map(Borrowed::source).transpose()?;
        let seed = match (&seed, &dy) {
            (Some((layer, _)), Some(dy)) => Seed::Output { layer: *layer, dy },
            _ => Seed::None,
        };
        let (tensors, _) = self.inspection(py, &sources(&x)?, seed)?;
        Ok(tensors.into_pyobject(py)?.into_any())
    }

    #[pyo3(signature = (x, targets, custom_objective=None))]
    fn inspect_loss<'py>(
        &self,
        py: Python<'py>,
        x: Inputs<'py>,
        targets: Targets<'py>,
        custom_objective: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (x, targets) = (borrow_inputs(&x)?, borrow_targets(&targets)?);
        let (x, targets) = (sources(&x)?, targets_of(&targets)?);
        let objective = Objective::new(custom_objective);
        let ask = |output: usize, values: &[f64], shape: &[usize]| objective.ask(output, values, shape);
        let custom = objective.is_there().then_some(CustomObjective(&ask));
        let data = Data { x: &x, targets: &targets, indices: None, custom };
        let found = objective.or_raised(self.inspection(py, &x, Seed::Loss(&data)))?;
        Ok(found.into_pyobject(py)?.into_any())
    }

    fn finalize(&self, py: Python<'_>) -> PyResult<()> {
        self.hold(py, |network| {
            with!(network, n => n.finalize());
            Ok(())
        })
    }

    #[getter]
    fn iterations(&self, py: Python<'_>) -> PyResult<u64> {
        self.look(py, |network| Ok(with!(network, n => n.iterations())))
    }

    fn optimizer_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        self.hold(py, |network| {
            with!(network, n => n
                .optimizer_state()
                .into_iter()
                .try_for_each(|(name, values)| state.set_item(name, array(py, values, &[values.len()])?)))
        })?;
        Ok(state)
    }

    fn set_optimizer_state(
        &self,
        py: Python<'_>,
        state: &Bound<'_, PyDict>,
        iterations: u64,
    ) -> PyResult<()> {
        self.hold(py, |network| {
            with!(network, n => {
                let len: usize = n.optimizer_state().first().map_or(0, |(_, values)| values.len());
                let slots = state
                    .iter()
                    .map(|(name, slot)| {
                        let name: String = name.extract()?;
                        let slot = shaped(&name, &slot, &[len])?;
                        Ok((name, slot))
                    })
                    .collect::<PyResult<Vec<_>>>()?;
                let list = slots.iter().map(|(name, slot)| Ok((name.clone(), in_order(slot)?)));
                let list = list.collect::<PyResult<Vec<_>>>()?;
                n.set_optimizer_state(&list, iterations).map_err(raise)
            })
        })
    }

    fn release_memory(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |network, _| {
            with!(network, n => n.release_memory());
            Ok(())
        })
    }

    fn trace(&self, py: Python<'_>, on: bool) -> PyResult<Vec<(usize, String, f64)>> {
        self.run(py, |network, _| Ok(with!(network, n => n.trace(on))))
    }

    fn traffic(
        &self,
        py: Python<'_>,
        batch_size: usize,
        ranks: usize,
    ) -> PyResult<Vec<Vec<(&'static str, usize)>>> {
        self.run(py, |network, _| with!(network, n => n.traffic(batch_size, ranks)))
    }

    fn chunks(&self, py: Python<'_>, batch_size: usize) -> PyResult<usize> {
        self.run(py, |network, _| with!(network, n => n.chunks(batch_size)))
    }

    fn training_share(
        &self,
        py: Python<'_>,
        batch_size: usize,
        rank: usize,
        ranks: usize,
    ) -> PyResult<(usize, usize)> {
        let share =
            self.run(py, |network, _| with!(network, n => n.training_share(batch_size, rank, ranks.max(1))))?;
        Ok((share.start, share.end))
    }

    #[pyo3(signature = (batch_size, training, optimizer=None))]
    fn memory(
        &self,
        py: Python<'_>,
        batch_size: usize,
        training: bool,
        optimizer: Option<&str>,
    ) -> PyResult<usize> {
        let optimizer = optimizer.map(|text| parse("optimizer", text)).transpose().map_err(raise)?;
        self.run(py, |network, _| with!(network, n => n.memory(batch_size, training, optimizer.as_ref())))
    }
}

fn no_weight(index: usize) -> PyErr {
    PyValueError::new_err(format!("there is no weight {index}"))
}
