//! The arrays of a data set as they are in memory, and the gather that turns some of their rows into a batch.

use crate::arrays::each;
pub use crate::arrays::{Source, Values};
use crate::error::{Error, Result};
use crate::kernels::Element;

impl Source<'_> {
    /// Samples.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Elements of a sample.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Converts row `row` into `out`.
    pub fn gather<T: Element>(&self, row: usize, out: &mut [T]) {
        self.gather_part(row, 0, &mut out[..self.row_len()]);
    }

    /// Converts the elements of row `row` from `column` on into `out`.
    pub fn gather_part<T: Element>(&self, row: usize, column: usize, out: &mut [T]) {
        let start = row * self.row_len() + column;
        each!(self.values, v => {
            for (out, v) in out.iter_mut().zip(&v[start..]) {
                *out = Convert::convert(*v);
            }
        });
    }

    /// Whether all elements of some rows are 0 or 1.
    pub fn binary(&self, mut rows: impl Iterator<Item = usize>) -> bool {
        let len = self.row_len();
        let one = |value: Option<i64>| matches!(value, Some(0 | 1));
        rows.all(|row| each!(self.values, v => v[row * len..][..len].iter().all(|v| one(v.to_class()))))
    }

    /// Element `column` of row `row` as a label, whatever classes there are.
    ///
    /// # Errors
    /// It is not a whole number.
    pub fn label(&self, row: usize, column: usize) -> Result<i64> {
        let at = row * self.row_len() + column;
        each!(self.values, v => v[at].to_class().ok_or_else(|| {
            Error::value("y", "whole-number class labels", format!("{:?} at row {row}", v[at]))
        }))
    }

    /// Element `column` of row `row` as a class number.
    ///
    /// # Errors
    /// It is not a whole number in `0..classes` (nor `ignored`).
    pub fn class(
        &self,
        row: usize,
        column: usize,
        classes: usize,
        ignored: Option<i64>,
    ) -> Result<Option<usize>> {
        let at = row * self.row_len() + column;
        let value = each!(self.values, v => v[at].to_class());
        match value {
            Some(class) if ignored == Some(class) => Ok(None),
            Some(class) if usize::try_from(class).is_ok_and(|c| c < classes) => Ok(Some(class as usize)),
            _ => {
                let got = each!(self.values, v => format!("{:?} at row {row}", v[at]));
                Err(Error::value("y", format!("class labels from 0 to {}", classes.saturating_sub(1)), got))
            }
        }
    }
}

/// Nearest element to a stored number.
trait Convert<T> {
    fn convert(self) -> T;
}

/// A stored number as a whole one.
trait Label {
    fn to_class(self) -> Option<i64>;
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Label for $type {
            fn to_class(self) -> Option<i64> {
                i64::try_from(self).ok()
            }
        }
        impl<T: Element> Convert<T> for $type {
            #[inline(always)]
            fn convert(self) -> T {
                T::from_f64(self as f64)
            }
        }
    )* };
}
integers!(u8 i8 u16 i16 u32 i32 u64 i64);

macro_rules! floats {
    ($($type:ty)*) => { $(
        impl Label for $type {
            fn to_class(self) -> Option<i64> {
                let whole = self as i64;
                (whole as $type == self && f64::from(self).abs() < 9e15).then_some(whole)
            }
        }
        impl<T: Element> Convert<T> for $type {
            #[inline(always)]
            fn convert(self) -> T {
                T::from_f64(f64::from(self))
            }
        }
    )* };
}
floats!(f32 f64);
