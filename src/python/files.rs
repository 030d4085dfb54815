//! Model files: dictionaries of arrays and text.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{Borrowed, into_array};
use super::errors::{enter, raise};
use crate::Error;
use crate::engine::source::Values;
use crate::storage::{self, Dtype, Tensor};

/// Writes one safetensors file atomically (temporary file, fsync, rename, fsync of the folder).
#[pyfunction]
pub(super) fn save_tensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: &Bound<'_, PyDict>,
    metadata: HashMap<String, String>,
) -> PyResult<()> {
    let mut list = Vec::with_capacity(tensors.len());
    for (name, array) in tensors {
        let name: String = name.extract()?;
        let borrowed = Borrowed::new(&name, &array)?;
        let source = borrowed.source()?;
        let (dtype, bytes) = encode(source.values);
        list.push((name, Tensor { dtype, shape: source.shape, bytes }));
    }
    enter(py, |_| storage::save(&path, &list, metadata))
}

/// Type and little-endian bytes of the elements.
fn encode(values: Values<'_>) -> (Dtype, Vec<u8>) {
    macro_rules! encode {
        ($($variant:ident),*) => {
            match values { $(
                Values::$variant(v) => (Dtype::$variant, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            )* }
        };
    }
    encode!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64)
}

/// Reads a safetensors file.
#[pyfunction]
pub(super) fn load_tensors(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(Bound<'_, PyDict>, HashMap<String, String>)> {
    let (tensors, metadata) = enter(py, |_| storage::load(&path))?;
    let result = PyDict::new(py);
    for (name, tensor) in tensors {
        let array = decode(py, &tensor).ok_or_else(|| {
            raise(Error::FileFormat {
                path: path.display().to_string(),
                problem: format!("tensor {name} has type {:?}, which gridnn does not write", tensor.dtype),
            })
        })?;
        result.set_item(name, array.map_err(|error| PyValueError::new_err(error.to_string()))?)?;
    }
    Ok((result, metadata))
}

/// A tensor as an array; None if its type is not one that we write.
fn decode<'py>(py: Python<'py>, tensor: &Tensor) -> Option<PyResult<Bound<'py, PyAny>>> {
    macro_rules! decode {
        ($($variant:ident: $type:ty),*) => {
            match tensor.dtype {
                $(Dtype::$variant => {
                    let size = size_of::<$type>();
                    let element = |bytes: &[u8]| bytes.try_into().map(<$type>::from_le_bytes).unwrap_or_default();
                    let values: Vec<$type> = tensor.bytes.chunks_exact(size).map(element).collect();
                    Some(into_array(py, values, &tensor.shape))
                })*
                _ => None,
            }
        };
    }
    decode!(U8: u8, I8: i8, U16: u16, I16: i16, U32: u32, I32: i32, U64: u64, I64: i64, F32: f32, F64: f64)
}
