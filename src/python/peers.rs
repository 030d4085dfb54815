//! Other ranks, as a Python object that moves arrays of bytes.

use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::custom_layer::Raised;
use crate::engine::{Payload, Peers};
use crate::error::{Error, Result};
use crate::parallel::lock;

/// See `gridnn._network.Peers` for the methods of the object. It has the memory for what is sent and what comes: nothing
/// of the engine's is borrowed while Python runs.
struct PythonPeers {
    object: Py<PyAny>,
    rank: usize,
    size: usize,
    raised: Raised,
}

/// The engine's peers for a Python object.
pub(super) fn python_peers(object: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn Peers>> {
    Ok(Arc::new(PythonPeers {
        rank: object.getattr("rank")?.extract()?,
        size: object.getattr("size")?.extract()?,
        object: object.clone().unbind(),
        raised: Arc::clone(raised),
    }))
}

impl PythonPeers {
    /// Asks the object something; its exception is kept for the end of the call into the engine.
    fn ask(&self, question: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>) -> Result<()> {
        Python::attach(|py| question(self.object.bind(py))).map_err(|error| {
            *lock(&self.raised) = Some(error);
            Error::internal("an exchange with other ranks raised")
        })
    }
}

/// Packs some bytes where the object wants them.
fn pack(object: &Bound<'_, PyAny>, len: usize, payload: &mut dyn Payload) -> PyResult<()> {
    let outbox = object.call_method1("outbox", (len,))?.cast_into::<PyArray1<u8>>()?;
    let mut outbox = outbox.try_readwrite()?;
    let room = outbox.len();
    let Some(to) = outbox.as_slice_mut()?.get_mut(..len) else {
        return Err(PyValueError::new_err(format!("The outbox has {room} bytes, where {len} are sent.")));
    };
    payload.pack(to);
    Ok(())
}

/// Unpacks what has come from every rank, as many bytes as end where they are told.
fn unpack(parts: &Bound<'_, PyAny>, ends: &[usize], payload: &mut dyn Payload) -> PyResult<()> {
    let parts: Vec<PyReadonlyArray1<'_, u8>> = parts.extract()?;
    let parts = parts.iter().map(|part| Ok(part.as_slice()?)).collect::<PyResult<Vec<_>>>()?;
    let starts = std::iter::once(&0).chain(ends);
    if !parts.iter().map(|part| part.len()).eq(ends.iter().zip(starts).map(|(end, start)| end - start)) {
        return Err(PyValueError::new_err("The parts of the ranks have other lengths than expected."));
    }
    payload.unpack(&parts);
    Ok(())
}

impl Peers for PythonPeers {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, ends: &[usize], payload: &mut dyn Payload) -> Result<()> {
        self.ask(|object| {
            let start = self.rank.checked_sub(1).map_or(0, |before| ends[before]);
            pack(object, ends[self.rank] - start, payload)?;
            unpack(&object.call_method1("gather_parts", (ends.to_vec(),))?, ends, payload)
        })
    }

    fn exchange(&self, ends: [&[usize]; 2], payload: &mut dyn Payload) -> Result<()> {
        self.ask(|object| {
            pack(object, ends[0].last().copied().unwrap_or(0), payload)?;
            let parts = object.call_method1("exchange_parts", (ends[0].to_vec(), ends[1].to_vec()))?;
            unpack(&parts, ends[1], payload)
        })
    }
}
