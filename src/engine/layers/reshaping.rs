//! Layers that only give a tensor another shape: they plan no step at all.

use super::{Layer, Site, Size, Step, known};
use crate::error::Result;
use crate::kernels::Element;

/// All axes but the batch become one.
pub(super) struct Flatten;

impl<T: Element> Layer<T> for Flatten {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Ok(vec![known(input).map(|sizes| sizes.iter().product())])
    }

    fn steps(&self, _: &Site<'_, T>) -> Result<Vec<Box<dyn Step<T>>>> {
        Ok(Vec::new())
    }
}
