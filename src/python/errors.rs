//! Our errors as Python exceptions, and the engine's entry that keeps Ctrl-C working.

use std::sync::Mutex;

use pyo3::exceptions::{
    PyImportError, PyKeyboardInterrupt, PyMemoryError, PyOSError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::{Error, Result};
use crate::memory;
use crate::parallel::{Interrupt, lock};

/// The exception for an error.
pub(super) fn raise(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Shape { .. } => own("ShapeError", text),
        Error::Value { .. } => PyValueError::new_err(text),
        Error::Type { .. } => PyTypeError::new_err(text),
        Error::NonFinite { .. } | Error::Overflow { .. } => own("NonFiniteError", text),
        Error::FileFormat { .. } => own("FileFormatError", text),
        Error::Io { path, problem, code: Some(code) } => {
            // Python picks the subclass, FileNotFoundError for instance, from the number.
            let problem = problem.split(" (os error").next().unwrap_or_default().to_string();
            PyOSError::new_err((code, problem, path))
        }
        Error::Io { code: None, .. } => PyOSError::new_err(text),
        Error::Memory { .. } => PyMemoryError::new_err(text),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        Error::Tier { .. } => PyImportError::new_err(text),
        Error::Internal { .. } => PyRuntimeError::new_err(text),
    }
}

/// An exception defined in `gridnn.errors`, where pickle finds it.
fn own(name: &str, text: String) -> PyErr {
    Python::attach(|py| {
        let class = py.import("gridnn.errors").and_then(|module| module.getattr(name));
        match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
            Ok(class) => PyErr::from_type(class, text),
            Err(error) => error,
        }
    })
}

/// Runs `work` without the GIL. `work` may ask whether a signal handler raised; that exception then comes out.
pub(super) fn enter<R: Send>(
    py: Python<'_>,
    work: impl FnOnce(Interrupt<'_>) -> Result<R> + Send,
) -> PyResult<R> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let interrupt = || {
        let error = Python::attach(|py| py.check_signals().err());
        let interrupted = error.is_some();
        if interrupted {
            *lock(&raised) = error;
        }
        interrupted
    };
    let result = py.detach(|| memory::catch(|| work(&interrupt)));
    if let Some(error) = lock(&raised).take() {
        return Err(error);
    }
    result.map_err(raise)
}
