//! Convolutions of single arrays.

use std::ops::Range;

use ndarray::{ArrayViewD, ArrayViewMutD};
use numpy::{Element as NumpyElement, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrays::{readable, result, writable};
use super::errors::{enter, raise};
use super::functional_arguments::{ConvArgument, Object, Operands, activation, full_shape, typed};
use super::overlap::extent;
use crate::error::{Error, Result};
use crate::ops::Operand;
use crate::ops::conv::{self, ConvBatch, ConvKind, ConvOptions, Finish};
use crate::ops::separable::{self, SeparableBatch};
use crate::parallel::Interrupt;

fn named_kind(name: &str) -> PyResult<ConvKind> {
    match name {
        "plain" => Ok(ConvKind::Plain),
        "transposed" => Ok(ConvKind::Transposed),
        "depthwise" => Ok(ConvKind::Depthwise),
        _ => Err(raise(Error::value("kind", "\"plain\", \"transposed\" or \"depthwise\"", name))),
    }
}

/// A result as a view; unlike `as_array_mut` it knows that arrays without elements are harmless.
fn elements<'a, T: Operand + NumpyElement>(
    array: &'a mut PyReadwriteArrayDyn<'_, T>,
    shape: &[usize],
) -> PyResult<ArrayViewMutD<'a, T>> {
    let contiguous = || raise(Error::value("out", "a C-contiguous array", "another layout"));
    if !array.is_c_contiguous() {
        return Err(contiguous());
    }
    ArrayViewMutD::from_shape(shape, array.as_slice_mut()?).map_err(|_| contiguous())
}

/// Runs `run` into `out`, which must not meet the addresses of the operands, or into a new array of the shape.
fn into<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    out: Option<Object<'_, 'py>>,
    shape: &[usize],
    operands: &[Range<usize>],
    run: impl FnOnce(ArrayViewMutD<'_, T>, Interrupt<'_>) -> Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let y = result::<T>(py, out, shape)?;
    let mut target = writable(&y, if out.is_some() { operands } else { &[] })?;
    let view = elements(&mut target, shape)?;
    enter(py, |interrupt| run(view, interrupt))?;
    drop(target);
    Ok(y.into_any())
}

/// A bias that may be missing.
struct Bias<'py, T: NumpyElement>(Option<PyReadonlyArrayDyn<'py, T>>);

impl<'py, T: Operand + NumpyElement> Bias<'py, T> {
    fn new(bias: Option<Object<'_, 'py>>) -> PyResult<Self> {
        bias.map(|bias| readable("bias", bias)).transpose().map(Self)
    }

    fn view(&self) -> Option<ArrayViewD<'_, T>> {
        self.0.as_ref().map(|bias| bias.as_array())
    }
}

/// A convolution: `kind` is "plain", "transposed" or "depthwise"; `rank` counts the spatial axes, None takes those of
/// `x`; `options` are those of [`ConvArgument`].
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn convolution<'py>(
    py: Python<'py>,
    kind: &str,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    kernel: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    options: &Bound<'py, PyTuple>,
    activation: &Bound<'py, PyAny>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = with_bias(py, rank, &[("x", x), ("kernel", kernel)], bias)?;
    let options = ConvArgument::read(py, options, operands.rank, kind == "transposed")?;
    let (activation, out) = (self::activation(activation)?, operands.out(out, "out")?);
    let (arrays, bias) = operands.arrays.split_at(2);
    let operands_of = [&arrays[0], &arrays[1]];
    typed!(operands, forward(py, kind, operands_of, bias.first(), &options, &activation, out.as_ref()))
}

/// Operands with batch and channels, and a bias after them if there is one.
fn with_bias<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    operands: &[(&str, Object<'_, 'py>)],
    bias: Option<Object<'_, 'py>>,
) -> PyResult<Operands<'py>> {
    match bias {
        None => Operands::read(py, rank, operands, operands.len()),
        Some(bias) => {
            let all: Vec<_> = operands.iter().copied().chain([("bias", bias)]).collect();
            Operands::read(py, rank, &all, operands.len())
        }
    }
}

fn forward<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    kind: &str,
    [x, kernel]: [Object<'_, 'py>; 2],
    bias: Option<Object<'_, 'py>>,
    options: &ConvOptions,
    activation: &str,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (x, kernel) = (readable::<T>("x", x)?, readable::<T>("kernel", kernel)?);
    let bias = Bias::new(bias)?;
    let batch = ConvBatch::new(named_kind(kind)?, x.shape(), kernel.shape(), options).map_err(raise)?;
    let (x, kernel, bias) = (x.as_array(), kernel.as_array(), bias.view());
    // What a new result does not need.
    let operands = [&x, &kernel].into_iter().chain(&bias).filter(|_| out.is_some());
    let addresses: Vec<_> = operands.map(extent).collect();
    into(py, out, &batch.y, &addresses, |y, interrupt| {
        conv::conv(&batch, &x, &kernel, Finish { bias: bias.as_ref(), activation }, y, interrupt)
    })
}

/// The gradient of a convolution to its input.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn convolution_input_grad<'py>(
    py: Python<'py>,
    kind: &str,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    kernel: &Bound<'py, PyAny>,
    input_shape: &Bound<'py, PyAny>,
    options: &Bound<'py, PyTuple>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("dy", dy), ("kernel", kernel)], 2)?;
    let options = ConvArgument::read(py, options, operands.rank, kind == "transposed")?;
    let shape = full_shape(input_shape, operands.rank, "input_shape")?;
    let out = operands.out(out, "out")?;
    let arrays = [&operands.arrays[0], &operands.arrays[1]];
    typed!(operands, input_grad(py, kind, arrays, &shape, &options, out.as_ref()))
}

fn input_grad<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    kind: &str,
    [dy, kernel]: [Object<'_, 'py>; 2],
    input_shape: &[usize],
    options: &ConvOptions,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (dy, kernel) = (readable::<T>("dy", dy)?, readable::<T>("kernel", kernel)?);
    let batch = ConvBatch::new(named_kind(kind)?, input_shape, kernel.shape(), options).map_err(raise)?;
    let (dy, kernel) = (dy.as_array(), kernel.as_array());
    let addresses = [extent(&dy), extent(&kernel)];
    into(py, out, &batch.x, &addresses, |dx, interrupt| {
        conv::conv_input_grad(&batch, &dy, &kernel, dx, interrupt)
    })
}

/// The gradient of a convolution to its kernel.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn convolution_kernel_grad<'py>(
    py: Python<'py>,
    kind: &str,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    dy: &Bound<'py, PyAny>,
    kernel_shape: &Bound<'py, PyAny>,
    options: &Bound<'py, PyTuple>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let operands = Operands::read(py, rank, &[("x", x), ("dy", dy)], 2)?;
    let options = ConvArgument::read(py, options, operands.rank, kind == "transposed")?;
    let shape = full_shape(kernel_shape, operands.rank, "kernel_shape")?;
    let out = operands.out(out, "out")?;
    let arrays = [&operands.arrays[0], &operands.arrays[1]];
    typed!(operands, kernel_grad(py, kind, arrays, &shape, &options, out.as_ref()))
}

fn kernel_grad<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    kind: &str,
    [x, dy]: [Object<'_, 'py>; 2],
    kernel_shape: &[usize],
    options: &ConvOptions,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (x, dy) = (readable::<T>("x", x)?, readable::<T>("dy", dy)?);
    let batch = ConvBatch::new(named_kind(kind)?, x.shape(), kernel_shape, options).map_err(raise)?;
    let (x, dy) = (x.as_array(), dy.as_array());
    let addresses = [extent(&x), extent(&dy)];
    into(py, out, &batch.kernel, &addresses, |dk, interrupt| {
        conv::conv_kernel_grad(&batch, &x, &dy, dk, interrupt)
    })
}

/// A separable convolution.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn separable_convolution<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    depthwise_kernel: &Bound<'py, PyAny>,
    pointwise_kernel: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    options: &Bound<'py, PyTuple>,
    activation: &Bound<'py, PyAny>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let given = [("x", x), ("depthwise_kernel", depthwise_kernel), ("pointwise_kernel", pointwise_kernel)];
    let operands = with_bias(py, rank, &given, bias)?;
    let options = ConvArgument::read(py, options, operands.rank, false)?;
    let (activation, out) = (self::activation(activation)?, operands.out(out, "out")?);
    let (arrays, bias) = operands.arrays.split_at(3);
    let arrays = [&arrays[0], &arrays[1], &arrays[2]];
    typed!(operands, separable_forward(py, arrays, bias.first(), &options, &activation, out.as_ref()))
}

fn separable_forward<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    [x, first, second]: [Object<'_, 'py>; 3],
    bias: Option<Object<'_, 'py>>,
    options: &ConvOptions,
    activation: &str,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = readable::<T>("x", x)?;
    let (first, second) = (readable("depthwise_kernel", first)?, readable("pointwise_kernel", second)?);
    let bias = Bias::new(bias)?;
    let batch = SeparableBatch::new(x.shape(), [first.shape(), second.shape()], options).map_err(raise)?;
    let (x, first, second, bias) = (x.as_array(), first.as_array(), second.as_array(), bias.view());
    let addresses: Vec<_> = [&x, &first, &second].into_iter().chain(&bias).map(extent).collect();
    into(py, out, &batch.pointwise.y, &addresses, |y, interrupt| {
        let finish = Finish { bias: bias.as_ref(), activation };
        separable::separable(&batch, &x, [&first, &second], finish, y, interrupt)
    })
}

/// The gradient of a separable convolution to its input.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn separable_convolution_input_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    dy: &Bound<'py, PyAny>,
    depthwise_kernel: &Bound<'py, PyAny>,
    pointwise_kernel: &Bound<'py, PyAny>,
    input_shape: &Bound<'py, PyAny>,
    options: &Bound<'py, PyTuple>,
    out: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let given = [("dy", dy), ("depthwise_kernel", depthwise_kernel), ("pointwise_kernel", pointwise_kernel)];
    let operands = Operands::read(py, rank, &given, 3)?;
    let options = ConvArgument::read(py, options, operands.rank, false)?;
    let shape = full_shape(input_shape, operands.rank, "input_shape")?;
    let out = operands.out(out, "out")?;
    let arrays = [&operands.arrays[0], &operands.arrays[1], &operands.arrays[2]];
    typed!(operands, separable_input_grad(py, arrays, &shape, &options, out.as_ref()))
}

fn separable_input_grad<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    [dy, first, second]: [Object<'_, 'py>; 3],
    input_shape: &[usize],
    options: &ConvOptions,
    out: Option<Object<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let dy = readable::<T>("dy", dy)?;
    let (first, second) = (readable("depthwise_kernel", first)?, readable("pointwise_kernel", second)?);
    let batch = SeparableBatch::new(input_shape, [first.shape(), second.shape()], options).map_err(raise)?;
    let (dy, first, second) = (dy.as_array(), first.as_array(), second.as_array());
    let addresses = [extent(&dy), extent(&first), extent(&second)];
    into(py, out, &batch.depthwise.x, &addresses, |dx, interrupt| {
        separable::separable_input_grad(&batch, &dy, [&first, &second], dx, interrupt)
    })
}

/// The gradients of a separable convolution to its two kernels.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a Python function")]
pub(super) fn separable_convolution_kernel_grad<'py>(
    py: Python<'py>,
    rank: Option<usize>,
    x: &Bound<'py, PyAny>,
    dy: &Bound<'py, PyAny>,
    depthwise_kernel: &Bound<'py, PyAny>,
    pointwise_kernel: &Bound<'py, PyAny>,
    options: &Bound<'py, PyTuple>,
    out: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
) -> PyResult<Bound<'py, PyTuple>> {
    let kernels = [("depthwise_kernel", depthwise_kernel), ("pointwise_kernel", pointwise_kernel)];
    let operands = Operands::read(py, rank, &[("x", x), ("dy", dy), kernels[0], kernels[1]], 4)?;
    let options = ConvArgument::read(py, options, operands.rank, false)?;
    let out = match out {
        None => None,
        Some((a, b)) => operands.out(Some(a), "out[0]")?.zip(operands.out(Some(b), "out[1]")?),
    };
    let arrays = std::array::from_fn(|i| &operands.arrays[i]);
    typed!(operands, separable_kernel_grad(py, arrays, &options, out))
}

fn separable_kernel_grad<'py, T: Operand + NumpyElement>(
    py: Python<'py>,
    [x, dy, first, second]: [Object<'_, 'py>; 4],
    options: &ConvOptions,
    out: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
) -> PyResult<Bound<'py, PyTuple>> {
    let (x, dy) = (readable::<T>("x", x)?, readable::<T>("dy", dy)?);
    let (first, second) = (readable("depthwise_kernel", first)?, readable("pointwise_kernel", second)?);
    let batch = SeparableBatch::new(x.shape(), [first.shape(), second.shape()], options).map_err(raise)?;
    let (x, dy, first, second) = (x.as_array(), dy.as_array(), first.as_array(), second.as_array());
    let outs = out.as_ref().map(|(a, b)| (a, b)).unzip();
    let d_first = result::<T>(py, outs.0, &batch.depthwise.kernel)?;
    let other = result::<T>(py, outs.1, &batch.pointwise.kernel)?;
    let mut addresses = Vec::new();
    if out.is_some() {
        addresses.extend([&x, &dy, &first, &second].map(extent));
    }
    let mut a = writable(&d_first, &addresses)?;
    if out.is_some() {
        addresses.push(extent(&a.as_array()));
    }
    let mut b = writable(&other, &addresses)?;
    let views = [elements(&mut a, &batch.depthwise.kernel)?, elements(&mut b, &batch.pointwise.kernel)?];
    enter(py, |interrupt| {
        separable::separable_kernel_grad(&batch, &x, &dy, [&first, &second], views, interrupt)
    })?;
    drop((a, b));
    PyTuple::new(py, [d_first, other])
}

/// The shape of a convolution's output.
#[pyfunction]
pub(super) fn convolution_shape<'py>(
    py: Python<'py>,
    kind: &str,
    input_shape: Vec<usize>,
    filters: usize,
    kernel_size: Vec<usize>,
    options: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let kind = named_kind(kind)?;
    let options = ConvArgument::read(py, options, kernel_size.len(), kind == ConvKind::Transposed)?;
    let shape = conv::conv_output_shape(kind, &input_shape, filters, &kernel_size, &options);
    PyTuple::new(py, shape.map_err(raise)?.iter())
}
