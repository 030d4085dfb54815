//! Pools and padding of single arrays.

use ndarray::{ArrayViewD, ArrayViewMutD};
use numpy::{Element as NumpyElement, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrays::{readable, result, writable};
use super::errors::{enter, raise};
use super::functional_arguments::{Object, Operands, WindowArgument, flag, full_shape, pad_options, typed};
use super::overlap::extent;
use crate::error::Result;
use crate::ops::pad::{self, PadOptions};
use crate::ops::pool::{self, Global, PoolOptions};
use crate::ops::{Operand, Shape, tensor_shape};
use crate::parallel::Interrupt;

/// Runs an operation of some operands whose result has the shape that `shape` finds.
fn apply<'py, T: Operand + NumpyElement, const N: usize>(
    py: Python<'py>,
    operands: [(&str, Object<'_, 'py>); N],
    out: Option<Object<'_, 'py>>,
    shape: impl FnOnce([&[usize]; N]) -> Result<Shape>,
    run: impl FnOnce([ArrayViewD<'_, T>; N], ArrayViewMutD<'_, T>, Interrupt<'_>) -> Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let mut borrowed = Vec::with_capacity(N);
    for (name, operand) in operands {
        borrowed.push(readable::<T>(name, operand)?);
    }
    let shape = shape(std::array::from_fn(|i| borrowed[i].shape())).map_err(raise)?;
    let y = result::<T>(py, out, &shape)?;
    let views: [ArrayViewD<'_, T>; N] = std::array::from_fn(|i| borrowed[i].as_array());
    let addresses = if out.is_some() { views.iter().map(extent).collect() } else { Vec::new() };
    let mut target = writable(&y, &addresses)?;
    let target_view = target.as_array_mut();
    enter(py, move |interrupt| run(views, target_view, interrupt))?;
    drop(target);
    Ok(y.into_any())
}

/// The output shape of a pool, batch and channels included.
#[pyfunction]
pub(super) fn pool_output_shape<'py>(
    py: Python<'py>,
    input_shape: Vec<usize>,
    window: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let options = WindowArgument::read(py, window, input_shape.len().saturating_sub(2))?;
    PyTuple::new(py, pool::pool_output_shape(&input_shape, &options).map_err(raise)?.iter())
}

fn max_pool_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    x: Object<'_, 'py>,
    options: &PoolOptions,
    indices: bool,
    out: Option<Object<'_, 'py>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let shape = |[x]: [&[usize]; 1]| pool::pool_output_shape(x, options);
    if !indices {
        let y = apply::<T, 1>(py, [("x", x)], out, shape, |[x], y, interrupt| {
            pool::max_pool(&x, options, y, None, interrupt)
        })?;
        return Ok((y, None));
    }
    let y_shape = shape([readable::<T>("x", x)?.shape()]).map_err(raise)?;
    let positions = result::<i64>(py, None, &y_shape)?;
    let mut target = writable(&positions, &[])?;
    let target_view = target.as_array_mut();
    let y = apply::<T, 1>(py, [("x", x)], out, shape, move |[x], y, interrupt| {
        pool::max_pool(&x, options, y, Some(target_view), interrupt)
    })?;
    drop(target);
    Ok((y, Some(positions.into_any())))
}

/// The maxima and, if asked for, their positions.
#[pyfunction]
#[pyo3(signature = (rank, x, window, indices, out))]
pub(super) fn max_pool<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    window: &Bound<'py, PyTuple>,
    indices: &Bound<'py, PyAny>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x)], 1)?;
    let options = WindowArgument::read(py, window, operands.rank)?;
    let (indices, out) = (flag(indices, "return_indices")?, operands.out(out, "out")?);
    let x = &operands.arrays[0];
    let (y, indices) = typed!(operands, max_pool_typed(py, x, &options, indices, out.as_ref()))?;
    match indices {
        None => Ok(y),
        Some(indices) => Ok(PyTuple::new(py, [y, indices])?.into_any()),
    }
}

fn max_pool_grad_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    operands: [(&str, Object<'_, 'py>); 2],
    options: &PoolOptions,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = |[_, x]: [&[usize]; 2]| tensor_shape(x);
    apply::<T, 2>(py, operands, out, shape, |[dy, x], dx, interrupt| {
        pool::max_pool_grad(&dy, &x, options, dx, interrupt)
    })
}

/// The gradient of `max_pool`.
#[pyfunction]
#[pyo3(signature = (rank, dy, x, window, out))]
pub(super) fn max_pool_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    window: &Bound<'py, PyTuple>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("dy", dy), ("x", x)], 2)?;
    let options = WindowArgument::read(py, window, operands.rank)?;
    let out = operands.out(out, "out")?;
    let [dy, x] = [&operands.arrays[0], &operands.arrays[1]];
    typed!(operands, max_pool_grad_typed(py, [("dy", dy), ("x", x)], &options, out.as_ref()))
}

fn average_pool_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    x: Object<'_, 'py>,
    (options, count): (&PoolOptions, bool),
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = |[x]: [&[usize]; 1]| pool::pool_output_shape(x, options);
    apply::<T, 1>(py, [("x", x)], out, shape, |[x], y, interrupt| {
        pool::average_pool(&x, options, count, y, interrupt)
    })
}

/// The means.
#[pyfunction]
#[pyo3(signature = (rank, x, window, count_include_pad, out))]
pub(super) fn average_pool<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    window: &Bound<'py, PyTuple>,
    count_include_pad: &Bound<'py, PyAny>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x)], 1)?;
    let options = WindowArgument::read(py, window, operands.rank)?;
    let (count, out) = (flag(count_include_pad, "count_include_pad")?, operands.out(out, "out")?);
    let x = &operands.arrays[0];
    typed!(operands, average_pool_typed(py, x, (&options, count), out.as_ref()))
}

fn average_pool_grad_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    dy: Object<'_, 'py>,
    input_shape: &[usize],
    (options, count): (&PoolOptions, bool),
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    // Found out before memory is taken for the result.
    pool::pool_output_shape(input_shape, options).map_err(raise)?;
    let shape = |_: [&[usize]; 1]| tensor_shape(input_shape);
    apply::<T, 1>(py, [("dy", dy)], out, shape, |[dy], dx, interrupt| {
        pool::average_pool_grad(&dy, options, count, dx, interrupt)
    })
}

/// The gradient of `average_pool`.
#[pyfunction]
#[pyo3(signature = (rank, dy, input_shape, window, count_include_pad, out))]
pub(super) fn average_pool_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    input_shape: &Bound<'py, PyAny>,
    window: &Bound<'py, PyTuple>,
    count_include_pad: &Bound<'py, PyAny>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("dy", dy)], 1)?;
    let options = WindowArgument::read(py, window, operands.rank)?;
    let shape = full_shape(input_shape, operands.rank, "input_shape")?;
    let (count, out) = (flag(count_include_pad, "count_include_pad")?, operands.out(out, "out")?);
    let dy = &operands.arrays[0];
    typed!(operands, average_pool_grad_typed(py, dy, &shape, (&options, count), out.as_ref()))
}

fn global_pool_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    kind: Global,
    x: Object<'_, 'py>,
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = |[x]: [&[usize]; 1]| pool::global_output_shape(x, keepdims);
    apply::<T, 1>(py, [("x", x)], None, shape, |[x], y, interrupt| {
        pool::global_pool(kind, &x, keepdims, y, interrupt)
    })
}

/// The maximum of each channel over the whole grid.
#[pyfunction]
pub(super) fn global_max_pool<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    keepdims: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x)], 1)?;
    let keepdims = flag(keepdims, "keepdims")?;
    typed!(operands, global_pool_typed(py, Global::Max, &operands.arrays[0], keepdims))
}

/// The mean of each channel over the whole grid.
#[pyfunction]
pub(super) fn global_average_pool<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    keepdims: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x)], 1)?;
    let keepdims = flag(keepdims, "keepdims")?;
    typed!(operands, global_pool_typed(py, Global::Average, &operands.arrays[0], keepdims))
}

fn global_max_grad_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    operands: [(&str, Object<'_, 'py>); 2],
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = |[_, x]: [&[usize]; 2]| tensor_shape(x);
    apply::<T, 2>(py, operands, None, shape, |[dy, x], dx, interrupt| {
        pool::global_pool_grad(&dy, Some(&x), keepdims, dx, interrupt)
    })
}

/// The gradient of `global_max_pool`.
#[pyfunction]
pub(super) fn global_max_pool_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    keepdims: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // `dy` has another number of axes, and comes after what has the spatial ones.
    let operands = Operands::read(py, rank, &[("x", x), ("dy", dy)], 1)?;
    let keepdims = flag(keepdims, "keepdims")?;
    let [x, dy] = [&operands.arrays[0], &operands.arrays[1]];
    typed!(operands, global_max_grad_typed(py, [("dy", dy), ("x", x)], keepdims))
}

fn global_average_grad_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    dy: Object<'_, 'py>,
    input_shape: &[usize],
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = |[dy]: [&[usize]; 1]| {
        // Found out before memory is taken for the result.
        crate::ops::expect_shape("dy", &pool::global_output_shape(input_shape, keepdims)?, dy)?;
        tensor_shape(input_shape)
    };
    apply::<T, 1>(py, [("dy", dy)], None, shape, |[dy], dx, interrupt| {
        pool::global_pool_grad(&dy, None, keepdims, dx, interrupt)
    })
}

/// The gradient of `global_average_pool`.
#[pyfunction]
pub(super) fn global_average_pool_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    input_shape: &Bound<'py, PyAny>,
    keepdims: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let rank = match rank {
        Some(rank) => rank,
        None => super::functional_arguments::rank_of_shape(input_shape)?,
    };
    let operands = Operands::read(py, Some(rank), &[("dy", dy)], 0)?;
    let shape = full_shape(input_shape, rank, "input_shape")?;
    let keepdims = flag(keepdims, "keepdims")?;
    typed!(operands, global_average_grad_typed(py, &operands.arrays[0], &shape, keepdims))
}

/// The output shape of `pad`, batch and channels included.
#[pyfunction]
pub(super) fn pad_output_shape<'py>(
    py: Python<'py>,
    input_shape: Vec<usize>,
    padding: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let options = pad_options(py, padding, input_shape.len().saturating_sub(2))?;
    PyTuple::new(py, pad::pad_output_shape(&input_shape, &options).map_err(raise)?.iter())
}

fn pad_typed<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    x: Object<'_, 'py>,
    options: &PadOptions,
    adjoint: bool,
) -> PyResult<Bound<'py, PyAny>> {
    if adjoint {
        let shape = |[dy]: [&[usize]; 1]| pad::pad_input_shape(dy, options);
        return apply::<T, 1>(py, [("dy", x)], None, shape, |[dy], dx, interrupt| {
            pad::pad_grad(&dy, options, dx, interrupt)
        });
    }
    let shape = |[x]: [&[usize]; 1]| pad::pad_output_shape(x, options);
    apply::<T, 1>(py, [("x", x)], None, shape, |[x], y, interrupt| pad::pad(&x, options, y, interrupt))
}

/// The array with its spatial axes extended.
#[pyfunction(name = "pad")]
pub(super) fn pad_array<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    padding: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x)], 1)?;
    let options = pad_options(py, padding, operands.rank)?;
    typed!(operands, pad_typed(py, &operands.arrays[0], &options, false))
}

/// The adjoint of `pad`.
#[pyfunction]
pub(super) fn pad_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    padding: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("dy", dy)], 1)?;
    let options = pad_options(py, padding, operands.rank)?;
    typed!(operands, pad_typed(py, &operands.arrays[0], &options, true))
}
