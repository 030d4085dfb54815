//! NumPy arrays as slices and slices as NumPy arrays.

use std::borrow::Cow;
use std::ops::Range;

use numpy::PyUntypedArrayMethods;
use numpy::{
    Element as NumpyElement, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArray,
};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PySlice, PyTuple};

use super::overlap::{extent, refuse_overlap, shared};
use crate::engine::source::{Source, Values};
use crate::kernels::Element;
use crate::memory;
use crate::tuning::{ALIGNED_RESULT_BYTES, LINE_BYTES, ZEROED_RESULT_BYTES};

/// An array of any type that we read in place, borrowed for as long as this lives.
pub(super) enum Borrowed<'py> {
    U8(PyReadonlyArrayDyn<'py, u8>),
    I8(PyReadonlyArrayDyn<'py, i8>),
    U16(PyReadonlyArrayDyn<'py, u16>),
    I16(PyReadonlyArrayDyn<'py, i16>),
    U32(PyReadonlyArrayDyn<'py, u32>),
    I32(PyReadonlyArrayDyn<'py, i32>),
    U64(PyReadonlyArrayDyn<'py, u64>),
    I64(PyReadonlyArrayDyn<'py, i64>),
    F32(PyReadonlyArrayDyn<'py, f32>),
    F64(PyReadonlyArrayDyn<'py, f64>),
}

impl<'py> Borrowed<'py> {
    /// Borrows an array, without copying it.
    pub(super) fn new(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        macro_rules! try_types {
            ($($variant:ident: $type:ty),*) => { $(
                if let Ok(array) = object.cast::<PyArrayDyn<$type>>() {
                    let array = array.try_readonly().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
                    if !array.is_c_contiguous() {
                        return Err(PyValueError::new_err(format!("{name}: expected a C-contiguous array")));
                    }
                    return Ok(Self::$variant(array));
                }
            )* };
        }
        try_types!(
            F32: f32, U8: u8, F64: f64, I64: i64, I32: i32, U32: u32, I16: i16, U16: u16, I8: i8, U64: u64
        );
        let got = match object.cast::<PyUntypedArray>() {
            Ok(array) => format!("an array of {}", array.dtype()),
            Err(_) => object.get_type().to_string(),
        };
        Err(PyTypeError::new_err(format!(
            "{name}: expected an array of integers of 8 to 64 bits, float32 or float64; received {got}"
        )))
    }

    /// The elements and the shape.
    pub(super) fn source(&self) -> PyResult<Source<'_>> {
        macro_rules! source {
            ($($variant:ident),*) => {
                match self { $(
                    Self::$variant(array) => Source {
                        values: Values::$variant(array.as_slice()?),
                        shape: array.shape().to_vec(),
                    },
                )* }
            };
        }
        Ok(source!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64))
    }
}

/// A copy of elements as an array of a shape.
pub(super) fn array<'py, T: NumpyElement + Copy>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let copy = result::<T>(py, None, shape)?;
    writable(&copy, &[])?.as_slice_mut()?.copy_from_slice(values);
    Ok(copy.into_any())
}

/// The elements as an array of a shape, without a copy.
pub(super) fn into_array<'py, T: NumpyElement>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_vec(py, values).reshape(shape)?.into_any())
}

/// Borrows an array that must have this type and shape.
pub(super) fn shaped<'py, T: Element + NumpyElement>(
    name: &str,
    object: &Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let array = readable::<T>(name, object)?;
    if array.shape() != shape {
        return Err(super::raise(crate::Error::shape(
            name,
            format!("{shape:?}"),
            format!("{:?}", array.shape()),
        )));
    }
    Ok(array)
}

/// The elements of an array in row-major order; a layout that is not contiguous is copied.
pub(super) fn in_order<'a, T: Element + NumpyElement>(
    array: &'a PyReadonlyArrayDyn<'_, T>,
) -> PyResult<Cow<'a, [T]>> {
    match array.as_slice() {
        Ok(values) => Ok(Cow::Borrowed(values)),
        Err(_) => memory::collect(array.as_array().iter().copied()).map(Cow::Owned).map_err(super::raise),
    }
}

/// Borrows an array of one type for reading.
pub(super) fn readable<'py, T: Element + NumpyElement>(
    name: &str,
    object: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let array = object
        .cast::<PyArrayDyn<T>>()
        .map_err(|_| PyTypeError::new_err(format!("{name}: expected an array of {}", T::NAME)))?;
    array.try_readonly().map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// The array that a result goes to: `out`, or a new one of the shape.
pub(super) fn result<'py, T: NumpyElement>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if let Some(out) = out {
        let array = out.cast::<PyArrayDyn<T>>().map_err(|_| {
            PyTypeError::new_err(format!("out: expected an array of {}", numpy::dtype::<T>(py)))
        })?;
        if array.shape() != shape {
            let got = format!("{:?}", array.shape());
            return Err(super::raise(crate::Error::shape("out", format!("shape {shape:?}"), got)));
        }
        return Ok(array.clone());
    }
    let len = shape.iter().try_fold(1usize, |len, &n| len.checked_mul(n));
    if len.is_some_and(|len| (1..=ZEROED_RESULT_BYTES / size_of::<T>()).contains(&len)) {
        return Ok(PyArrayDyn::zeros(py, shape, false));
    }
    // NumPy's own allocator caches small blocks and asks for huge pages for large ones; and the elements are not
    // touched twice. But its large blocks start 16 bytes after a cache line, where every wide store meets two of them.
    let empty = EMPTY.import(py, "numpy", "empty")?;
    let (shape, dtype) = (PyTuple::new(py, shape)?, numpy::dtype::<T>(py));
    let Some(len) = len.filter(|len| *len >= ALIGNED_RESULT_BYTES / size_of::<T>()) else {
        return Ok(empty.call1((shape, dtype))?.cast_into::<PyArrayDyn<T>>()?);
    };
    let block =
        empty.call1((len.saturating_add(LINE_BYTES / size_of::<T>()), dtype))?.cast_into::<PyArray1<T>>()?;
    let start = block.data().align_offset(LINE_BYTES) as isize;
    let part = block.get_item(PySlice::new(py, start, start + len as isize, 1))?;
    Ok(part.call_method1("reshape", (shape,))?.cast_into::<PyArrayDyn<T>>()?)
}

/// Borrows a result for writing, while the operands are borrowed already.
/// `operands` are their addresses; a new result needs none.
pub(super) fn writable<'py, T: NumpyElement>(
    array: &Bound<'py, PyArrayDyn<T>>,
    operands: &[Range<usize>],
) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    let target = array.try_readwrite().map_err(|error| match error {
        numpy::BorrowError::NotWriteable => PyValueError::new_err("out: expected a writeable array"),
        _ => shared(),
    })?;
    refuse_overlap(array.as_any(), &extent(&target.as_array()), operands)?;
    Ok(target)
}
