//! Where windows stand, for those who explain a model.

use pyo3::prelude::*;

use super::errors::raise;
use super::functional_arguments::{self, canonical};
use crate::geometry::{AXES, Window};

/// `(input, output, before, after)` of an axis.
type Placed = (usize, usize, usize, usize);

/// Places a window on axes of these sizes: input and output elements and the padding before and after, axis by axis.
///
/// A transposed window is placed on its output: there `input` is the size that the layer puts out, `output` the one
/// that it takes in, and `before` what is cropped before it.
#[pyfunction]
pub(super) fn place_window(
    sizes: Vec<usize>,
    kernel_size: Vec<usize>,
    strides: Vec<usize>,
    padding: &Bound<'_, PyAny>,
    dilation_rate: Vec<usize>,
    transposed: bool,
    output_padding: Option<Vec<usize>>,
) -> PyResult<Vec<Placed>> {
    let padding = canonical(functional_arguments::padding(padding, sizes.len(), true), "padding")?;
    let place = || {
        let window = Window { kernel: kernel_size, stride: strides, dilation: dilation_rate, padding };
        if transposed {
            window.place_transposed(output_padding.as_deref(), &sizes)
        } else {
            window.place(&sizes)
        }
    };
    let axes = place().map_err(raise)?;
    Ok(axes[AXES - sizes.len()..].iter().map(|a| (a.input, a.output, a.before, a.after)).collect())
}
