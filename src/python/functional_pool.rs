//! Pools and padding of single arrays.

use ndarray::{ArrayViewD, ArrayViewMutD};
use numpy::{Element as NumpyElement, PyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrays::{readable, result, writable};
use super::errors::{enter, raise};
use super::overlap::extent;
use crate::error::{Error, Result};
use crate::geometry::{Padding, PaddingMode, PaddingRule, Window};
use crate::ops::pad::{self, PadOptions};
use crate::ops::pool::{self, Global, PoolOptions};
use crate::ops::{Operand, Shape, tensor_shape};
use crate::parallel::Interrupt;

/// What `padding` may be once Python has made it canonical.
#[derive(FromPyObject)]
pub(super) enum PaddingArgument {
    Rule(String),
    Pairs(Vec<(usize, usize)>),
}

impl PaddingArgument {
    pub(super) fn padding(self) -> Result<Padding> {
        Ok(match self {
            Self::Pairs(pairs) => Padding::Explicit(pairs),
            Self::Rule(name) => Padding::Rule(match name.as_str() {
                "valid" => PaddingRule::Valid,
                "same" => PaddingRule::Same,
                "causal" => PaddingRule::Causal,
                _ => return Err(Error::value("padding", "\"valid\", \"same\" or \"causal\"", name)),
            }),
        })
    }
}

/// `(pool_size, strides, padding, dilation_rate, ceil_mode)`.
type WindowArgument = (Vec<usize>, Vec<usize>, PaddingArgument, Vec<usize>, bool);

fn options((kernel, stride, padding, dilation, ceil_mode): WindowArgument) -> PyResult<PoolOptions> {
    let padding = padding.padding().map_err(raise)?;
    Ok(PoolOptions { window: Window { kernel, stride, dilation, padding }, ceil_mode })
}

/// `(pairs, mode)`.
type PadArgument = (Vec<(usize, usize)>, String);

fn pad_options((pairs, mode): PadArgument) -> PyResult<PadOptions> {
    Ok(PadOptions { pairs, mode: PaddingMode::named(&mode).map_err(raise)? })
}

/// Calls a function with the element type of an array, which Python has seen to be float32 or float64.
macro_rules! typed {
    ($array:expr, $function:ident($($argument:expr),*)) => {
        if $array.cast::<PyArrayDyn<f64>>().is_ok() {
            $function::<f64>($($argument),*)
        } else {
            $function::<f32>($($argument),*)
        }
    };
}

type Object<'a, 'py> = &'a Bound<'py, PyAny>;

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
    window: WindowArgument,
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, pool::pool_output_shape(&input_shape, &options(window)?).map_err(raise)?.iter())
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
#[pyo3(signature = (x, window, indices, out))]
pub(super) fn max_pool<'py>(
    py: Python<'py>,
    x: Bound<'py, PyAny>,
    window: WindowArgument,
    indices: bool,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let options = options(window)?;
    typed!(x, max_pool_typed(py, &x, &options, indices, out.as_ref()))
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
#[pyo3(signature = (dy, x, window, out))]
pub(super) fn max_pool_grad<'py>(
    py: Python<'py>,
    dy: Bound<'py, PyAny>,
    x: Bound<'py, PyAny>,
    window: WindowArgument,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = options(window)?;
    typed!(x, max_pool_grad_typed(py, [("dy", &dy), ("x", &x)], &options, out.as_ref()))
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
#[pyo3(signature = (x, window, count_include_pad, out))]
pub(super) fn average_pool<'py>(
    py: Python<'py>,
    x: Bound<'py, PyAny>,
    window: WindowArgument,
    count_include_pad: bool,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = options(window)?;
    typed!(x, average_pool_typed(py, &x, (&options, count_include_pad), out.as_ref()))
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
#[pyo3(signature = (dy, input_shape, window, count_include_pad, out))]
pub(super) fn average_pool_grad<'py>(
    py: Python<'py>,
    dy: Bound<'py, PyAny>,
    input_shape: Vec<usize>,
    window: WindowArgument,
    count_include_pad: bool,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = (&options(window)?, count_include_pad);
    typed!(dy, average_pool_grad_typed(py, &dy, &input_shape, options, out.as_ref()))
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
    x: Bound<'py, PyAny>,
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    typed!(x, global_pool_typed(py, Global::Max, &x, keepdims))
}

/// The mean of each channel over the whole grid.
#[pyfunction]
pub(super) fn global_average_pool<'py>(
    py: Python<'py>,
    x: Bound<'py, PyAny>,
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    typed!(x, global_pool_typed(py, Global::Average, &x, keepdims))
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
    dy: Bound<'py, PyAny>,
    x: Bound<'py, PyAny>,
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    typed!(x, global_max_grad_typed(py, [("dy", &dy), ("x", &x)], keepdims))
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
    dy: Bound<'py, PyAny>,
    input_shape: Vec<usize>,
    keepdims: bool,
) -> PyResult<Bound<'py, PyAny>> {
    typed!(dy, global_average_grad_typed(py, &dy, &input_shape, keepdims))
}

/// The output shape of `pad`, batch and channels included.
#[pyfunction]
pub(super) fn pad_output_shape<'py>(
    py: Python<'py>,
    input_shape: Vec<usize>,
    padding: PadArgument,
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, pad::pad_output_shape(&input_shape, &pad_options(padding)?).map_err(raise)?.iter())
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
    x: Bound<'py, PyAny>,
    padding: PadArgument,
) -> PyResult<Bound<'py, PyAny>> {
    let options = pad_options(padding)?;
    typed!(x, pad_typed(py, &x, &options, false))
}

/// The adjoint of `pad`.
#[pyfunction]
pub(super) fn pad_grad<'py>(
    py: Python<'py>,
    dy: Bound<'py, PyAny>,
    padding: PadArgument,
) -> PyResult<Bound<'py, PyAny>> {
    let options = pad_options(padding)?;
    typed!(dy, pad_typed(py, &dy, &options, true))
}
