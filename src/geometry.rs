//! Sizes of convolutions and pools: padding, stride and dilation arithmetic, all of it checked.
//!
//! Everything has three spatial axes in the order depth, height, width; series and images have leading axes of size 1.
//! This is the only place where an output size is computed.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Number of spatial axes inside the engine.
pub const AXES: usize = 3;

/// How the border of the input is extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Padding {
    /// A rule by name.
    Rule(PaddingRule),
    /// Elements before and after each axis.
    Explicit(Vec<(usize, usize)>),
}

/// The paddings that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingRule {
    /// None.
    Valid,
    /// `ceil(n / stride)` outputs; the odd element goes to the end.
    Same,
    /// All of it before the first element, so that no output sees a later input (one axis only).
    Causal,
}

impl Padding {
    /// No padding.
    pub const VALID: Self = Self::Rule(PaddingRule::Valid);
    /// As many outputs as inputs at stride 1.
    pub const SAME: Self = Self::Rule(PaddingRule::Same);
}

/// One spatial axis of a window that slides over an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Input size.
    pub input: usize,
    /// Output size.
    pub output: usize,
    /// Window taps.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Step between taps.
    pub dilation: usize,
    /// Elements in front of the input.
    pub before: usize,
    /// Elements behind the input.
    pub after: usize,
}

impl Axis {
    /// An axis of size 1 that a series or an image has in front.
    pub const UNIT: Self =
        Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// Inputs that one output spans: `dilation * (kernel - 1) + 1`.
    pub fn span(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Output size: `floor((input + before + after - span) / stride) + 1`.
    fn new(input: usize, kernel: usize, stride: usize, dilation: usize, pad: AxisPad) -> Option<Self> {
        let span = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        let (before, after) = match pad {
            AxisPad::Rule(PaddingRule::Valid) => (0, 0),
            AxisPad::Rule(PaddingRule::Causal) => (span - 1, 0),
            AxisPad::Rule(PaddingRule::Same) => {
                let output = input.div_ceil(stride);
                let needed = output.saturating_sub(1).checked_mul(stride)?.checked_add(span)?;
                let total = needed.saturating_sub(input);
                (total / 2, total - total / 2)
            }
            AxisPad::Explicit(before, after) => (before, after),
        };
        let padded = input.checked_add(before)?.checked_add(after)?;
        // Offsets into the padded axis are computed as isize.
        isize::try_from(padded).ok()?;
        let output = padded.checked_sub(span).map_or(0, |rest| rest / stride + 1);
        Some(Self { input, output, kernel, stride, dilation, before, after })
    }
}

/// Padding of one axis.
#[derive(Debug, Clone, Copy)]
enum AxisPad {
    Rule(PaddingRule),
    Explicit(usize, usize),
}

/// The numbers a window is described with, one per axis of the user's rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Taps per axis.
    pub kernel: Vec<usize>,
    /// Steps between outputs.
    pub stride: Vec<usize>,
    /// Steps between taps.
    pub dilation: Vec<usize>,
    /// Extension of the borders.
    pub padding: Padding,
}

impl Window {
    /// Places the window on an input of the same rank (1 to 3); leading axes of size 1 are added.
    ///
    /// # Errors
    /// A zero in kernel, stride or dilation, a rank that does not fit, an output without elements, sizes that overflow.
    pub fn place(&self, input: &[usize]) -> Result<[Axis; AXES]> {
        let rank = input.len();
        let lists =
            [("kernel size", &self.kernel), ("strides", &self.stride), ("dilation rate", &self.dilation)];
        for (name, list) in lists {
            if list.len() != rank || list.contains(&0) {
                return Err(Error::value(
                    name,
                    format!("{rank} integers of at least 1"),
                    format!("{list:?}"),
                ));
            }
        }
        if !(1..=AXES).contains(&rank) {
            return Err(Error::shape("input", "1 to 3 spatial axes", rank));
        }
        let mut axes = [Axis::UNIT; AXES];
        for i in 0..rank {
            let pad = match &self.padding {
                Padding::Rule(PaddingRule::Causal) if rank != 1 => {
                    return Err(Error::value(
                        "padding",
                        "\"causal\" with one spatial axis",
                        format!("{rank} axes"),
                    ));
                }
                Padding::Rule(rule) => AxisPad::Rule(*rule),
                Padding::Explicit(pairs) => match pairs.get(i) {
                    Some(&(before, after)) if pairs.len() == rank => AxisPad::Explicit(before, after),
                    _ => {
                        return Err(Error::value("padding", format!("{rank} pairs"), format!("{pairs:?}")));
                    }
                },
            };
            let axis = Axis::new(input[i], self.kernel[i], self.stride[i], self.dilation[i], pad)
                .ok_or_else(|| {
                    Error::value("window", "sizes that fit the address space", format!("{self:?}"))
                })?;
            if axis.output == 0 {
                return Err(Error::shape(
                    format!("spatial axis {i}"),
                    format!("at least {} elements (padding included) for the window", axis.span()),
                    axis.input + axis.before + axis.after,
                ));
            }
            axes[AXES - rank + i] = axis;
        }
        Ok(axes)
    }
}

/// A convolution on one sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// The spatial axes.
    pub axes: [Axis; AXES],
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Groups that both channel counts are divided into.
    pub groups: usize,
}

impl ConvGeometry {
    /// Checks channels and groups.
    ///
    /// # Errors
    /// As [`Window::place`]; channel counts that the groups do not divide.
    pub fn new(window: &Window, input: &[usize], c_in: usize, c_out: usize, groups: usize) -> Result<Self> {
        if groups == 0 || c_in == 0 || !c_in.is_multiple_of(groups) {
            return Err(Error::shape("input channels", format!("a multiple of groups={groups}"), c_in));
        }
        if c_out == 0 || !c_out.is_multiple_of(groups) {
            return Err(Error::value("filters", format!("a positive multiple of groups={groups}"), c_out));
        }
        let geometry = Self { axes: window.place(input)?, c_in, c_out, groups };
        geometry.checked_sizes().ok_or_else(|| {
            Error::shape("convolution", "sizes that fit the address space", format!("{geometry:?}"))
        })?;
        Ok(geometry)
    }

    fn checked_sizes(&self) -> Option<()> {
        let spatial = |f: fn(&Axis) -> usize| self.axes.iter().try_fold(1usize, |n, a| n.checked_mul(f(a)));
        let padded = self.axes.iter().try_fold(1usize, |n, a| n.checked_mul(a.input + a.before + a.after))?;
        let sizes = [
            padded.checked_mul(self.c_in)?,
            spatial(|a| a.output)?.checked_mul(self.c_out)?,
            spatial(|a| a.kernel)?.checked_mul(self.c_in / self.groups)?.checked_mul(self.c_out)?,
        ];
        sizes.iter().all(|&n| n < isize::MAX as usize / 64).then_some(())
    }

    /// Input channels of a group.
    pub fn group_in(&self) -> usize {
        self.c_in / self.groups
    }

    /// Output channels of a group.
    pub fn group_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Elements of one input sample.
    pub fn input_len(&self) -> usize {
        self.axes.iter().map(|a| a.input).product::<usize>() * self.c_in
    }

    /// Elements of one output sample.
    pub fn output_len(&self) -> usize {
        self.axes.iter().map(|a| a.output).product::<usize>() * self.c_out
    }

    /// Elements of the kernel, shape `(k_d, k_h, k_w, c_in / groups, c_out)`.
    pub fn kernel_len(&self) -> usize {
        self.taps() * self.group_in() * self.c_out
    }

    /// Multiply-adds of one sample, padding counted as work.
    pub fn macs(&self) -> usize {
        self.output_len() * self.taps() * self.group_in()
    }
}

/// A pool on one sample: the window slides over every channel alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// The spatial axes.
    pub axes: [Axis; AXES],
    /// Channels.
    pub channels: usize,
}

impl PoolGeometry {
    /// Places the window.
    ///
    /// # Errors
    /// As [`Window::place`].
    pub fn new(window: &Window, input: &[usize], channels: usize) -> Result<Self> {
        Ok(Self { axes: window.place(input)?, channels })
    }

    /// Elements of one input sample.
    pub fn input_len(&self) -> usize {
        self.axes.iter().map(|a| a.input).product::<usize>() * self.channels
    }

    /// Elements of one output sample.
    pub fn output_len(&self) -> usize {
        self.axes.iter().map(|a| a.output).product::<usize>() * self.channels
    }

    /// Elements of the window.
    pub fn window_len(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, dilation: usize, padding: Padding) -> Window {
        Window { kernel: vec![kernel], stride: vec![stride], dilation: vec![dilation], padding }
    }

    fn axis(n: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding) -> Axis {
        window(kernel, stride, dilation, padding).place(&[n]).unwrap()[2]
    }

    #[test]
    fn same_puts_the_odd_element_at_the_end() {
        let a = axis(28, 3, 2, 1, Padding::SAME);
        assert_eq!((a.output, a.before, a.after), (14, 0, 1));
        let a = axis(7, 4, 1, 1, Padding::SAME);
        assert_eq!((a.output, a.before, a.after), (7, 1, 2));
        let a = axis(5, 1, 3, 1, Padding::SAME);
        assert_eq!((a.output, a.before, a.after), (2, 0, 0));
    }

    #[test]
    fn valid_and_causal() {
        assert_eq!(axis(10, 3, 2, 2, Padding::VALID).output, 3);
        let a = axis(10, 3, 2, 2, Padding::Rule(PaddingRule::Causal));
        assert_eq!((a.output, a.before, a.after), (5, 4, 0));
    }

    #[test]
    fn a_window_larger_than_the_input_is_an_error() {
        let error = window(5, 1, 1, Padding::VALID).place(&[4]).unwrap_err();
        assert!(error.to_string().contains("at least 5"), "{error}");
    }

    #[test]
    fn absurd_sizes_are_errors() {
        assert!(window(usize::MAX, 1, 2, Padding::VALID).place(&[4]).is_err());
        assert!(window(3, 1, 1, Padding::Explicit(vec![(usize::MAX, 1)])).place(&[4]).is_err());
        assert!(window(0, 1, 1, Padding::VALID).place(&[4]).is_err());
    }
}
