//! Which algorithm computes a convolution: what the user may say about it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

/// A choice among the algorithms for a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The fastest for the shapes, by a fixed rule.
    Auto,
    /// Sums of products, one chain of multiply-adds for an output.
    Direct,
    /// Winograd's, wherever it applies.
    Winograd,
}

/// Nothing was set.
const UNSET: u8 = 0;
static SETTING: AtomicU8 = AtomicU8::new(UNSET);

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Direct, Self::Winograd];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Winograd => "winograd",
        }
    }

    /// The one with this name.
    ///
    /// # Errors
    /// No algorithm has this name.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| {
            Error::value("algorithm", "\"auto\", \"direct\" or \"winograd\"", format!("\"{name}\""))
        })
    }

    /// The one among `"auto"` and `"direct"`, which make sense for every convolution.
    fn general(name: &str) -> Result<Self> {
        [Self::Auto, Self::Direct].into_iter().find(|a| a.name() == name).ok_or_else(|| {
            Error::value("convolution algorithm", "\"auto\" or \"direct\"", format!("\"{name}\""))
        })
    }

    /// Sets what [`Algorithm::current`] gives from now on.
    ///
    /// # Errors
    /// The name is neither "auto" nor "direct".
    pub fn set_current(name: &str) -> Result<()> {
        SETTING.store(1 + Self::general(name)? as u8, Ordering::Relaxed);
        Ok(())
    }

    /// What was set, else what `GRIDNN_CONVOLUTION` says, else [`Algorithm::Auto`].
    ///
    /// # Errors
    /// The variable says something else.
    pub fn current() -> Result<Self> {
        static VARIABLE: OnceLock<Result<Algorithm>> = OnceLock::new();
        match SETTING.load(Ordering::Relaxed) {
            UNSET => VARIABLE
                .get_or_init(|| match std::env::var("GRIDNN_CONVOLUTION") {
                    Ok(wanted) if !wanted.is_empty() => Self::general(&wanted),
                    _ => Ok(Self::Auto),
                })
                .clone(),
            set => Ok(Self::ALL[usize::from(set) - 1]),
        }
    }
}
