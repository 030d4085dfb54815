//! Other ranks, as a Python object that moves arrays of bytes.

use std::sync::{Arc, Mutex};

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;

use super::custom_layer::Raised;
use crate::engine::{Payload, Peers};
use crate::error::{Error, Result};
use crate::parallel::lock;

/// See `gridnn._network.Peers` for the methods of the object. They get arrays of this, into which the engine packs what is
/// sent: nothing of the engine's is borrowed while Python runs.
struct PythonPeers {
    object: Py<PyAny>,
    rank: usize,
    size: usize,
    raised: Raised,
    buffers: Buffers,
}

/// For what is sent and what comes, from one step to the next; as large as any exchange was.
pub(super) type Buffers = Arc<Mutex<[Option<Py<PyArray1<u8>>>; 2]>>;

/// The engine's peers for a Python object.
pub(super) fn python_peers(
    object: &Bound<'_, PyAny>,
    raised: &Raised,
    buffers: &Buffers,
) -> PyResult<Arc<dyn Peers>> {
    Ok(Arc::new(PythonPeers {
        rank: object.getattr("rank")?.extract()?,
        size: object.getattr("size")?.extract()?,
        object: object.clone().unbind(),
        raised: Arc::clone(raised),
        buffers: Arc::clone(buffers),
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

    /// One of the arrays, with room for some bytes.
    fn buffer<'py>(&self, py: Python<'py>, number: usize, len: usize) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let kept = lock(&self.buffers)[number].as_ref().map(|bytes| bytes.clone_ref(py).into_bound(py));
        if let Some(bytes) = kept.filter(|bytes| bytes.len().is_ok_and(|room| room >= len)) {
            return Ok(bytes);
        }
        let bytes = PyArray1::zeros(py, len, false);
        lock(&self.buffers)[number] = Some(bytes.clone().unbind());
        Ok(bytes)
    }
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
            let len = ends.last().copied().unwrap_or(0);
            let bytes = self.buffer(object.py(), 0, len)?;
            let own = self.rank.checked_sub(1).map_or(0, |before| ends[before])..ends[self.rank];
            payload.pack(&mut bytes.try_readwrite()?.as_slice_mut()?[own]);
            object.call_method1("gather", (&bytes, ends.to_vec()))?;
            payload.unpack(&bytes.try_readonly()?.as_slice()?[..len]);
            Ok(())
        })
    }

    fn exchange(&self, ends: [&[usize]; 2], payload: &mut dyn Payload) -> Result<()> {
        self.ask(|object| {
            let [sent, received] = ends.map(|ends| ends.last().copied().unwrap_or(0));
            let [send, receive] =
                [(0, sent), (1, received)].map(|(number, len)| self.buffer(object.py(), number, len));
            let (send, receive) = (send?, receive?);
            payload.pack(&mut send.try_readwrite()?.as_slice_mut()?[..sent]);
            object.call_method1("exchange", (&send, ends[0].to_vec(), &receive, ends[1].to_vec()))?;
            payload.unpack(&receive.try_readonly()?.as_slice()?[..received]);
            Ok(())
        })
    }
}
