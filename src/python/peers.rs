//! Other ranks, as a Python object that moves arrays of bytes.

use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;

use super::custom_layer::Raised;
use crate::engine::Peers;
use crate::error::{Error, Result};
use crate::parallel::lock;

/// See `gridnn._network.Peers` for the methods of the object. They get copies, which a step that waits for others can
/// well afford; nothing of the engine's is borrowed while Python runs.
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

impl Peers for PythonPeers {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, bytes: &mut [u8], ends: &[usize]) -> Result<()> {
        self.ask(|object| {
            let array = PyArray1::from_slice(object.py(), bytes);
            object.call_method1("gather", (&array, ends.to_vec()))?;
            bytes.copy_from_slice(array.try_readonly()?.as_slice()?);
            Ok(())
        })
    }

    fn exchange(&self, (send, send_ends): (&[u8], &[usize]), receive: (&mut [u8], &[usize])) -> Result<()> {
        let (receive, receive_ends) = receive;
        self.ask(|object| {
            let sent = PyArray1::from_slice(object.py(), send);
            let array = PyArray1::<u8>::zeros(object.py(), receive.len(), false);
            let arguments = (sent, send_ends.to_vec(), &array, receive_ends.to_vec());
            object.call_method1("exchange", arguments)?;
            receive.copy_from_slice(array.try_readonly()?.as_slice()?);
            Ok(())
        })
    }
}
