//! Model files: dictionaries of arrays and text.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use numpy::{Element as NumpyElement, PyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::arrays::{Borrowed, writable};
use super::errors::{enter, raise};
use crate::Error;
use crate::storage::{self, Dtype, Plain, Reader};

/// Writes one safetensors file atomically (temporary file, fsync, rename, fsync of the folder).
#[pyfunction]
pub(super) fn save_tensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: &Bound<'_, PyDict>,
    metadata: HashMap<String, String>,
) -> PyResult<()> {
    let mut borrowed = Vec::with_capacity(tensors.len());
    for (name, array) in tensors {
        let name: String = name.extract()?;
        let array = Borrowed::new(&name, &array)?;
        borrowed.push((name, array));
    }
    let list = borrowed
        .iter()
        .map(|(name, array)| Ok((name.clone(), array.source()?)))
        .collect::<PyResult<Vec<_>>>()?;
    enter(py, |_| storage::save(&path, &list, metadata))
}

/// Writes any other file in the same way.
#[pyfunction]
pub(super) fn write_file(py: Python<'_>, path: PathBuf, contents: &[u8]) -> PyResult<()> {
    enter(py, |_| storage::write(&path, |file| file.write_all(contents)))
}

/// Reads a safetensors file.
#[pyfunction]
pub(super) fn load_tensors(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(Bound<'_, PyDict>, HashMap<String, String>)> {
    let mut reader = enter(py, |_| Reader::open(&path))?;
    let result = PyDict::new(py);
    for entry in reader.entries.clone() {
        macro_rules! read {
            ($($variant:ident: $type:ty),*) => {
                match entry.dtype {
                    $(Dtype::$variant => read::<$type>(py, &mut reader, &entry.shape)?,)*
                    _ => {
                        return Err(raise(Error::FileFormat {
                            path: path.display().to_string(),
                            problem: format!(
                                "tensor {} has type {:?}, which gridnn does not write", entry.name, entry.dtype
                            ),
                        }));
                    }
                }
            };
        }
        let array = read!(U8: u8, I8: i8, U16: u16, I16: i16, U32: u32, I32: i32, U64: u64, I64: i64, F32: f32, F64: f64);
        result.set_item(entry.name, array)?;
    }
    let metadata = std::mem::take(&mut reader.metadata);
    enter(py, |_| reader.finish())?;
    Ok((result, metadata))
}

/// The next tensor, read into an array of NumPy's, who says so if there is no memory for it.
fn read<'py, T: Plain + NumpyElement>(
    py: Python<'py>,
    reader: &mut Reader,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let empty = py.import("numpy")?.getattr("empty")?;
    let array =
        empty.call1((PyTuple::new(py, shape)?, numpy::dtype::<T>(py)))?.cast_into::<PyArrayDyn<T>>()?;
    let mut borrowed = writable(&array, &[])?;
    let out = borrowed.as_slice_mut()?;
    enter(py, |_| reader.read(out))?;
    drop(borrowed);
    Ok(array.into_any())
}
