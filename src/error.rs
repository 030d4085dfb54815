//! The one error type. Every variant carries the numbers that a user needs to mend the call.

use std::fmt;

/// What can go wrong in a call, other than a bug of ours.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array or a layer does not fit: `op` names the layer or the argument.
    #[error("{op}: expected {expected}; received {got}")]
    Shape {
        /// Layer or argument concerned.
        op: String,
        /// What would have fitted.
        expected: String,
        /// What came.
        got: String,
    },
    /// An argument has a value that is not allowed.
    #[error("{op}: expected {expected}; received {got}")]
    Value {
        /// Layer or argument concerned.
        op: String,
        /// The rule.
        expected: String,
        /// What came.
        got: String,
    },
    /// An argument has the wrong type.
    #[error("{op}: expected {expected}; received {got}")]
    Type {
        /// Layer or argument concerned.
        op: String,
        /// The types accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// Loss or gradient is NaN or infinite; the step was not applied.
    #[error("{what} of {layer} is not finite; the step was refused and the weights are unchanged")]
    NonFinite {
        /// "the loss" or "the gradient".
        what: &'static str,
        /// First layer concerned.
        layer: String,
    },
    /// An update would have made NaN or infinity of weights, of the optimizer's state or of moving statistics; the step
    /// was not applied.
    #[error(
        "the update of {layer} is not finite (weights, optimizer state or moving statistics would overflow); the step was \
         refused and the weights are unchanged. Scale the inputs and targets, lower the learning rate or clip gradients"
    )]
    Overflow {
        /// First layer concerned.
        layer: String,
    },
    /// A file is damaged or not ours.
    #[error("{path}: {problem}")]
    FileFormat {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused.
    #[error("{path}: {problem}")]
    Io {
        /// The file.
        path: String,
        /// Its message.
        problem: String,
        /// The error number, where there is one.
        code: Option<i32>,
    },
    /// The memory cannot be had.
    #[error("cannot allocate {bytes} bytes")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The user pressed Ctrl-C; nothing was changed.
    #[error("interrupted; the step in progress was abandoned")]
    Interrupted,
    /// A tier was asked for that this CPU cannot run.
    #[error("GRIDNN_SIMD={wanted}: this CPU has {available}")]
    Tier {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// A bug of ours, caught before it could do harm.
    #[error("internal error in gridnn, please report it: {what}")]
    Internal {
        /// Where and what.
        what: String,
    },
}

/// `Result` with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A shape error.
    pub fn shape(op: impl fmt::Display, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::Shape { op: op.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// A value error.
    pub fn value(op: impl fmt::Display, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::Value { op: op.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// An internal error.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::Internal { what: what.to_string() }
    }

    /// The same error with the layer's name before what it was about.
    #[must_use]
    pub fn in_layer(mut self, layer: &str) -> Self {
        if let Self::Shape { op, .. } | Self::Value { op, .. } | Self::Type { op, .. } = &mut self {
            *op = if op.is_empty() { layer.to_string() } else { format!("{layer}: {op}") };
        }
        self
    }
}
