//! The door to Python: arrays are borrowed, the GIL is released, errors become exceptions. No arithmetic here.

mod arrays;
mod custom_layer;
mod custom_objective;
mod descriptions;
mod errors;
mod files;
mod fork;
mod functional_arguments;
mod functional_conv;
mod functional_pool;
mod gate;
mod geometry;
mod network;
mod overlap;
mod peers;
mod standalone;

use std::ffi::CString;

use numpy::PyArray1;
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;

use crate::kernels::Tier;
use crate::ops::conv::Algorithm;
use crate::parallel;
use crate::rng::{Purpose, Stream};
use errors::raise;

/// The compiled engine. Private: the public names live in `gridnn`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::descriptions::{learning_rate, output_shapes, prediction_share, weight_shapes};
    #[pymodule_export]
    use super::files::{load_tensors, save_tensors, write_file};
    #[pymodule_export]
    use super::fork::{after_fork, before_fork};
    #[pymodule_export]
    use super::functional_conv::{
        convolution, convolution_input_grad, convolution_kernel_grad, convolution_shape,
        separable_convolution, separable_convolution_input_grad, separable_convolution_kernel_grad,
    };
    #[pymodule_export]
    use super::functional_pool::{
        average_pool, average_pool_grad, global_average_pool, global_average_pool_grad, global_max_pool,
        global_max_pool_grad, max_pool, max_pool_grad, pad_array, pad_grad, pad_output_shape,
        pool_output_shape,
    };
    #[pymodule_export]
    use super::geometry::place_window;
    #[pymodule_export]
    use super::network::Network;
    #[pymodule_export]
    use super::standalone::{
        OptimizerState, constrained, initial_values, loss_values, metric_counts, metric_values, penalty,
    };
    use super::*;
    #[pymodule_export]
    use super::{
        available_tiers, compiled_tiers, derive_seed, fused_tiers, get_convolution_algorithm,
        get_num_threads, multiply_adds, permutation, set_convolution_algorithm, set_num_threads, simd_tier,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A tier that this CPU lacks is found at import, not at the first step.
        Tier::current().map_err(raise)?;
        // So is a wrong `GRIDNN_CONVOLUTION`.
        Algorithm::current().map_err(raise)?;
        if let Some(text) = parallel::ignored_setting() {
            let py = module.py();
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, 1)?;
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// The instruction set in use.
#[pyfunction]
fn simd_tier() -> PyResult<&'static str> {
    Tier::current().map(|tier| tier.name()).map_err(raise)
}

/// Every tier this CPU can run, best first.
#[pyfunction]
fn available_tiers() -> Vec<&'static str> {
    Tier::available().iter().map(Tier::name).collect()
}

/// Those of them that round multiply and add together: they give the same bytes.
#[pyfunction]
fn fused_tiers() -> Vec<&'static str> {
    Tier::available().iter().filter(|tier| tier.fused()).map(Tier::name).collect()
}

/// Every tier that this library was compiled with, best first, and the features of the CPU that it needs.
#[pyfunction]
fn compiled_tiers() -> Vec<(&'static str, Vec<&'static str>)> {
    Tier::compiled().map(|(name, features)| (name, features.to_vec())).collect()
}

/// How many threads the engine uses.
#[pyfunction]
fn get_num_threads() -> usize {
    parallel::threads()
}

/// Uses `count` threads from the next call on; an explicit count is obeyed even above the number of cores.
#[pyfunction]
fn set_num_threads(count: usize) -> PyResult<()> {
    parallel::set_threads(count).map_err(raise)
}

/// `rounds` times as many multiply-adds as fit into the registers, on the calling thread: what a step is measured by.
/// Returns how many operations that were, two per multiply-add.
#[pyfunction]
fn multiply_adds(py: Python<'_>, rounds: usize) -> PyResult<usize> {
    let tier = Tier::current().map_err(raise)?;
    Ok(py.detach(|| tier.multiply_adds(rounds)))
}

/// Sets what convolutions take where a call does not say: "auto" or "direct".
#[pyfunction]
fn set_convolution_algorithm(algorithm: &str) -> PyResult<()> {
    Algorithm::set_current(algorithm).map_err(raise)
}

/// What convolutions take where a call does not say.
#[pyfunction]
fn get_convolution_algorithm() -> PyResult<&'static str> {
    Algorithm::current().map(Algorithm::name).map_err(raise)
}

/// A permutation of `range(length)`, the same on every machine, from the counter-based generator.
#[pyfunction]
fn permutation(py: Python<'_>, length: usize, seed: u64, epoch: u64) -> PyResult<Bound<'_, PyArray1<i64>>> {
    let order = py.detach(|| Stream::new(seed, Purpose::Shuffle, epoch, 0).permutation(length));
    Ok(PyArray1::from_vec(py, order.map_err(raise)?))
}

/// A new 64-bit seed from a seed and a counter.
#[pyfunction]
fn derive_seed(seed: u64, counter: u64) -> u64 {
    Stream::new(seed, Purpose::Seeds, counter, 0).word(0)
}
