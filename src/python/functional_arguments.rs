//! Arguments of the functional API, as users write them.
//!
//! What nearly every call brings is read here in some tens of nanoseconds: contiguous arrays of one float type, plain
//! ints, tuples, names. Everything else goes to `gridnn.functional._options` and `._arrays`, which convert it, or
//! raise; the result is then read here. So there is one set of rules and messages, in Python.

use std::ops::Range;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyList, PyString, PyTuple};

use crate::geometry::{Padding, PaddingMode, PaddingRule, Window};
use crate::ops::conv::{Algorithm, ConvOptions};
use crate::ops::pad::PadOptions;
use crate::ops::pool::PoolOptions;

pub(super) type Object<'a, 'py> = &'a Bound<'py, PyAny>;

/// Sizes that the engine counts with, and Python checks for.
const SIZES: Range<usize> = 0..1 << 63;

/// Calls a function of the Python side of this API.
macro_rules! call_python {
    ($py:expr, $module:literal, $function:literal, $arguments:expr) => {{
        static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        FUNCTION.import($py, concat!("gridnn.functional.", $module), $function)?.call1($arguments)
    }};
}

/// What Python has made canonical must be readable here.
pub(super) fn canonical<T>(value: Option<T>, what: &str) -> PyResult<T> {
    value.ok_or_else(|| PyRuntimeError::new_err(format!("{what}: not read after it was made canonical")))
}

fn integer(value: Object<'_, '_>) -> Option<usize> {
    if !value.is_exact_instance_of::<PyInt>() {
        return None;
    }
    value.extract().ok().filter(|n| SIZES.contains(n))
}

/// The elements of a tuple or a list; None for anything else.
fn elements<'py, T>(value: Object<'_, 'py>, read: impl Fn(Object<'_, 'py>) -> Option<T>) -> Option<Vec<T>> {
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return tuple.iter().map(|element| read(&element)).collect();
    }
    value.cast_exact::<PyList>().ok()?.iter().map(|element| read(&element)).collect()
}

/// One integer per axis; a single one stands for all.
fn integers(value: Object<'_, '_>, rank: usize, least: usize) -> Option<Vec<usize>> {
    let numbers = match integer(value) {
        Some(number) => vec![number; rank],
        None => elements(value, integer)?,
    };
    (numbers.len() == rank && numbers.iter().all(|&n| n >= least)).then_some(numbers)
}

/// One pair per axis.
fn pairs(value: Object<'_, '_>, rank: usize) -> Option<Vec<(usize, usize)>> {
    let pair = |sides: Object<'_, '_>| match *elements(sides, integer)? {
        [before, after] => Some((before, after)),
        _ => None,
    };
    elements(value, pair).filter(|pairs| pairs.len() == rank)
}

/// One pair per axis, or one integer for both sides of each, or of all.
fn sides(value: Object<'_, '_>, rank: usize) -> Option<Vec<(usize, usize)>> {
    if let Some(side) = integer(value) {
        return Some(vec![(side, side); rank]);
    }
    // Two integers for a single axis are before and after, which Python tells from two axes.
    let both = |side: Object<'_, '_>| integer(side).map(|side| (side, side));
    pairs(value, rank).or_else(|| elements(value, both).filter(|pairs| pairs.len() == rank))
}

fn text<'a>(value: Object<'a, '_>) -> Option<&'a str> {
    value.cast_exact::<PyString>().ok()?.to_str().ok()
}

fn boolean(value: Object<'_, '_>) -> Option<bool> {
    value.cast_exact::<PyBool>().ok().map(|value| value.is_true())
}

/// A rule by its name, an integer for every side, or a pair per axis.
pub(super) fn padding(value: Object<'_, '_>, rank: usize, causal: bool) -> Option<Padding> {
    match text(value) {
        Some(name) => match PaddingRule::named(name).ok()? {
            PaddingRule::Causal if !causal => None,
            rule => Some(Padding::Rule(rule)),
        },
        None => match integer(value) {
            Some(side) => Some(Padding::Explicit(vec![(side, side); rank])),
            None => pairs(value, rank).map(Padding::Explicit),
        },
    }
}

/// The options of a convolution, in the order in which Python passes them.
pub(super) struct ConvArgument<'py> {
    strides: Bound<'py, PyAny>,
    padding: Bound<'py, PyAny>,
    padding_mode: Bound<'py, PyAny>,
    dilation_rate: Bound<'py, PyAny>,
    groups: Bound<'py, PyAny>,
    output_padding: Bound<'py, PyAny>,
    algorithm: Bound<'py, PyAny>,
}

impl<'py> ConvArgument<'py> {
    fn new(tuple: &Bound<'py, PyTuple>) -> PyResult<Self> {
        let (strides, padding, padding_mode, dilation_rate, groups, output_padding, algorithm) =
            tuple.extract()?;
        Ok(Self { strides, padding, padding_mode, dilation_rate, groups, output_padding, algorithm })
    }

    /// The options for an operand of `rank` spatial axes.
    /// The padding of a transposed convolution crops, and is never causal.
    pub(super) fn read(
        py: Python<'py>,
        tuple: &Bound<'py, PyTuple>,
        rank: usize,
        transposed: bool,
    ) -> PyResult<ConvOptions> {
        if let Some(options) = Self::new(tuple)?.plain(rank, transposed) {
            return Ok(options);
        }
        let made = call_python!(py, "_options", "convolution", (rank, tuple, transposed))?;
        canonical(Self::new(made.cast()?)?.plain(rank, transposed), "convolution")
    }

    fn plain(&self, rank: usize, transposed: bool) -> Option<ConvOptions> {
        let optional = |value: &Bound<'py, PyAny>| (!value.is_none()).then(|| value.clone());
        Some(ConvOptions {
            strides: integers(&self.strides, rank, 1)?,
            padding: padding(&self.padding, rank, rank == 1 && !transposed)?,
            padding_mode: PaddingMode::named(text(&self.padding_mode)?).ok()?,
            dilation_rate: integers(&self.dilation_rate, rank, 1)?,
            groups: integer(&self.groups).filter(|&n| n > 0)?,
            output_padding: match optional(&self.output_padding) {
                Some(extra) => Some(integers(&extra, rank, 0)?),
                None => None,
            },
            algorithm: match optional(&self.algorithm) {
                Some(name) => Some(Algorithm::named(text(&name)?).ok()?),
                None => None,
            },
        })
    }
}

/// The options of a pool, in the order in which Python passes them; strides of None are the window.
pub(super) struct WindowArgument<'py> {
    pool_size: Bound<'py, PyAny>,
    strides: Bound<'py, PyAny>,
    padding: Bound<'py, PyAny>,
    dilation_rate: Bound<'py, PyAny>,
    ceil_mode: Bound<'py, PyAny>,
}

impl<'py> WindowArgument<'py> {
    fn new(tuple: &Bound<'py, PyTuple>) -> PyResult<Self> {
        let (pool_size, strides, padding, dilation_rate, ceil_mode) = tuple.extract()?;
        Ok(Self { pool_size, strides, padding, dilation_rate, ceil_mode })
    }

    /// The options for an operand of `rank` spatial axes.
    pub(super) fn read(py: Python<'py>, tuple: &Bound<'py, PyTuple>, rank: usize) -> PyResult<PoolOptions> {
        if let Some(options) = Self::new(tuple)?.plain(rank) {
            return Ok(options);
        }
        let made = call_python!(py, "_options", "window", (rank, tuple))?;
        canonical(Self::new(made.cast()?)?.plain(rank), "window")
    }

    fn plain(&self, rank: usize) -> Option<PoolOptions> {
        let kernel = integers(&self.pool_size, rank, 1)?;
        let stride = match self.strides.is_none() {
            true => kernel.clone(),
            false => integers(&self.strides, rank, 1)?,
        };
        let padding = padding(&self.padding, rank, rank == 1)?;
        let dilation = integers(&self.dilation_rate, rank, 1)?;
        let window = Window { kernel, stride, dilation, padding };
        Some(PoolOptions { window, ceil_mode: boolean(&self.ceil_mode)? })
    }
}

/// `paddings` and `mode` of a pad for an operand of `rank` spatial axes.
pub(super) fn pad_options<'py>(
    py: Python<'py>,
    tuple: &Bound<'py, PyTuple>,
    rank: usize,
) -> PyResult<PadOptions> {
    let plain = |tuple: &Bound<'py, PyTuple>| -> PyResult<Option<PadOptions>> {
        let (paddings, mode): (Bound<'py, PyAny>, Bound<'py, PyAny>) = tuple.extract()?;
        let mode = text(&mode).and_then(|mode| PaddingMode::named(mode).ok());
        Ok(sides(&paddings, rank).zip(mode).map(|(pairs, mode)| PadOptions { pairs, mode }))
    };
    if let Some(options) = plain(tuple)? {
        return Ok(options);
    }
    let made = call_python!(py, "_options", "pad", (rank, tuple))?;
    canonical(plain(made.cast()?)?, "pad")
}

/// A flag that must be True or False.
pub(super) fn flag(value: Object<'_, '_>, name: &str) -> PyResult<bool> {
    if let Some(flag) = boolean(value) {
        return Ok(flag);
    }
    call_python!(value.py(), "_options", "boolean", (value, name))?.extract()
}

/// The name of an activation; None is none.
pub(super) fn activation(value: Object<'_, '_>) -> PyResult<String> {
    if value.is_none() {
        return Ok("linear".to_owned());
    }
    if let Some(name) = text(value) {
        return Ok(name.to_owned());
    }
    call_python!(value.py(), "_options", "activation", (value,))?.extract()
}

/// A shape of batch, `rank` spatial axes and channels.
pub(super) fn full_shape(value: Object<'_, '_>, rank: usize, name: &str) -> PyResult<Vec<usize>> {
    if let Some(shape) = elements(value, integer).filter(|shape| shape.len() == rank + 2) {
        return Ok(shape);
    }
    call_python!(value.py(), "_arrays", "full_shape", (value, rank, name))?.extract()
}

/// Spatial axes of a full shape.
pub(super) fn rank_of_shape(value: Object<'_, '_>) -> PyResult<usize> {
    if let Some(shape) = elements(value, integer).filter(|shape| (3..=5).contains(&shape.len())) {
        return Ok(shape.len() - 2);
    }
    call_python!(value.py(), "_arrays", "rank_of_shape", (value,))?.extract()
}

/// The axes of an array that is read as it is, and whether it is float64: NumPy's own class, C-contiguous, aligned, of
/// native float32 or float64.
fn plain_array(value: Object<'_, '_>) -> Option<(usize, bool)> {
    let array = value.cast_exact::<PyUntypedArray>().ok()?;
    let dtype = array.dtype();
    let wide = dtype.itemsize() == 8;
    let float = dtype.kind() == b'f' && (wide || dtype.itemsize() == 4);
    let plain = float && array.is_c_contiguous() && array.is_aligned();
    (plain && dtype.is_native_byteorder() != Some(false)).then_some((array.ndim(), wide))
}

/// Operands of one type, and their number of spatial axes.
pub(super) struct Operands<'py> {
    pub(super) arrays: Vec<Bound<'py, PyAny>>,
    pub(super) rank: usize,
    /// Whether they are float64.
    pub(super) wide: bool,
}

impl<'py> Operands<'py> {
    /// Reads operands by name; the first `ranked` have batch, `rank` spatial axes and channels. None takes the spatial
    /// axes that the first one has.
    pub(super) fn read(
        py: Python<'py>,
        rank: Option<usize>,
        operands: &[(&str, Object<'_, 'py>)],
        ranked: usize,
    ) -> PyResult<Self> {
        let arrays = || operands.iter().map(|(_, array)| (*array).clone()).collect();
        if let Some((rank, wide)) = Self::plain(rank, operands, ranked) {
            return Ok(Self { arrays: arrays(), rank, wide });
        }
        let names = PyTuple::new(py, operands.iter().map(|(name, _)| name))?;
        let values = PyTuple::new(py, operands.iter().map(|(_, value)| value))?;
        let made = call_python!(py, "_arrays", "operands", (rank, names, values, ranked))?;
        let (arrays, rank, wide) = made.extract()?;
        Ok(Self { arrays, rank, wide })
    }

    fn plain(
        rank: Option<usize>,
        operands: &[(&str, Object<'_, 'py>)],
        ranked: usize,
    ) -> Option<(usize, bool)> {
        let (axes, wide) = plain_array(operands.first()?.1)?;
        let rank = rank.or_else(|| axes.checked_sub(2).filter(|rank| (1..=3).contains(rank)))?;
        let fits = |(i, (_, value)): (usize, &(&str, Object<'_, 'py>))| {
            plain_array(value).is_some_and(|(axes, own)| own == wide && (i >= ranked || axes == rank + 2))
        };
        operands.iter().enumerate().all(fits).then_some((rank, wide))
    }

    /// The place for the result, if the user gave one.
    pub(super) fn out(
        &self,
        out: Option<Bound<'py, PyAny>>,
        name: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(out) = out else { return Ok(None) };
        if plain_array(&out).is_none_or(|(_, wide)| wide != self.wide) {
            // The dtype of the operands, as the rules of NumPy's own promotion found it.
            let dtype = self.arrays[0].getattr("dtype")?;
            return Ok(Some(call_python!(out.py(), "_arrays", "check_out", (out, dtype, name))?));
        }
        Ok(Some(out))
    }
}

/// Calls a function with the element type of operands.
macro_rules! typed {
    ($operands:expr, $function:ident($($argument:expr),* $(,)?)) => {
        if $operands.wide { $function::<f64>($($argument),*) } else { $function::<f32>($($argument),*) }
    };
}
pub(super) use typed;
