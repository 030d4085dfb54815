//! Sizes of convolutions and pools: padding, stride and dilation arithmetic, all of it checked.
//!
//! Everything has three spatial axes in the order depth, height, width; series and images have leading axes of size 1.
//! This is the only place where an output size is computed, and `axis_map` the only one that knows what a tap reads.

mod axis_map;
mod window;

pub use axis_map::{AxisMap, BorderMap, Residues};
pub use window::{AXES, Axis, Padding, PaddingMode, PaddingRule, Window};

use crate::error::{Error, Result};

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
    /// What the borders are extended with.
    pub mode: PaddingMode,
}

impl ConvGeometry {
    /// Checks channels and groups.
    ///
    /// # Errors
    /// As [`Window::place`]; channel counts that the groups do not divide.
    pub fn new(window: &Window, input: &[usize], c_in: usize, c_out: usize, groups: usize) -> Result<Self> {
        check_groups(c_in, c_out, groups)?;
        let geometry = Self { axes: window.place(input)?, c_in, c_out, groups, mode: PaddingMode::Zeros };
        geometry.checked()
    }

    /// The convolution whose gradient to the input is the transposed convolution: `c_in` channels of `input` elements
    /// become `c_out` channels, and both change roles here.
    ///
    /// # Errors
    /// As [`Window::place_transposed`]; channel counts that the groups do not divide.
    pub fn transposed(
        window: &Window,
        output_padding: Option<&[usize]>,
        input: &[usize],
        (c_in, c_out): (usize, usize),
        groups: usize,
    ) -> Result<Self> {
        check_groups(c_in, c_out, groups)?;
        let axes = window.place_transposed(output_padding, input)?;
        Self { axes, c_in: c_out, c_out: c_in, groups, mode: PaddingMode::Zeros }.checked()
    }

    /// The same with borders extended in another way.
    ///
    /// # Errors
    /// There is nothing to extend an axis with: it has no elements.
    pub fn with_mode(mut self, mode: PaddingMode) -> Result<Self> {
        let pads = |a: &Axis| a.before + a.after > 0;
        if mode != PaddingMode::Zeros && self.axes.iter().any(|a| a.input == 0 && pads(a)) {
            return Err(Error::value(
                "padding_mode",
                "\"zeros\" for an axis without elements",
                format!("\"{}\"", mode.name()),
            ));
        }
        self.mode = if self.axes.iter().any(pads) { mode } else { PaddingMode::Zeros };
        Ok(self)
    }

    /// Checks that tables of the positions along the axes, which plans make, fit into memory: where they do not, the
    /// process ends.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn check_tables(&self) -> Result<()> {
        const ENTRY: usize = 96;
        const WORTH_A_TRIAL: usize = 1 << 28;
        let longest =
            |a: &Axis| a.input.max(a.output).max(a.read_len().min(a.output.saturating_mul(a.kernel)));
        let bytes = self.axes.iter().map(|a| longest(a).saturating_mul(ENTRY)).max().unwrap_or(0);
        let bytes = bytes.min(isize::MAX as usize);
        let trial = if bytes < WORTH_A_TRIAL { Ok(()) } else { Vec::<u8>::new().try_reserve_exact(bytes) };
        trial.map_err(|_| Error::Memory { bytes })
    }

    fn checked(self) -> Result<Self> {
        self.checked_sizes().ok_or_else(|| {
            let sizes = |f: fn(&Axis) -> usize| self.axes.map(|a| f(&a).to_string()).join(" x ");
            let got = format!(
                "{} elements of {} channels, a kernel of {}, and {} results of {} channels",
                sizes(|a| a.input),
                self.c_in,
                sizes(|a| a.kernel),
                sizes(|a| a.output),
                self.c_out
            );
            Error::shape("convolution", "sizes that fit the address space", got)
        })?;
        Ok(self)
    }

    fn checked_sizes(&self) -> Option<()> {
        let spatial = |f: fn(&Axis) -> usize| self.axes.iter().try_fold(1usize, |n, a| n.checked_mul(f(a)));
        // What is read of the padded input, and there once at most: all of it, or the taps of every output.
        let read = self.axes.iter().try_fold(1usize, |n, a| n.checked_mul(a.read_len()))?;
        // The input as a whole counts too: strides may pass over most of it.
        let sizes = [
            read.checked_mul(self.c_in)?,
            spatial(|a| a.input)?.checked_mul(self.c_in)?,
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
        self.output_len().saturating_mul(self.taps()).saturating_mul(self.group_in())
    }
}

/// Checks that `groups` divides both channel counts.
fn check_groups(c_in: usize, c_out: usize, groups: usize) -> Result<()> {
    if groups == 0 || c_in == 0 || !c_in.is_multiple_of(groups) {
        return Err(Error::shape("input channels", format!("a multiple of groups={groups}"), c_in));
    }
    if c_out == 0 || !c_out.is_multiple_of(groups) {
        return Err(Error::value("filters", format!("a positive multiple of groups={groups}"), c_out));
    }
    Ok(())
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
        Self { axes: window.place(input)?, channels }.checked()
    }

    fn checked(self) -> Result<Self> {
        let counted = |f: fn(&Axis) -> usize| {
            let len = self.axes.iter().try_fold(self.channels, |n, a| n.checked_mul(f(a)));
            len.is_some_and(|n| n < isize::MAX as usize / 64)
        };
        if counted(|a| a.kernel) && counted(|a| a.output) && counted(|a| a.input) {
            return Ok(self);
        }
        let sizes = |f: fn(&Axis) -> usize| self.axes.map(|a| f(&a).to_string()).join(" x ");
        let got = format!("a window of {} and {} results", sizes(|a| a.kernel), sizes(|a| a.output));
        Err(Error::shape("pool", "sizes that fit the address space", got))
    }

    /// Places the window; with `ceil` a last window that reaches beyond the padding counts as well, if it starts inside
    /// the input or the padding before it.
    ///
    /// Per axis, `ceil((input + before + after - span) / stride) + 1` outputs, one less if the last would start after
    /// the input. "same" has such a window anyway.
    ///
    /// # Errors
    /// As [`Window::place`].
    pub fn rounded(window: &Window, ceil: bool, input: &[usize], channels: usize) -> Result<Self> {
        Self { axes: if ceil { window.place_up(input)? } else { window.place(input)? }, channels }.checked()
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

    /// Elements of the window that an output meets at most: a window may be larger than the input.
    pub fn most_taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel.min(a.input.div_ceil(a.dilation))).product()
    }
}

/// Size of an axis with elements added before and after it.
///
/// # Errors
/// An empty result, an empty axis that a mode other than zeros is to fill from, a size that overflows.
pub fn padded_size(input: usize, (before, after): (usize, usize), mode: PaddingMode) -> Result<usize> {
    if input == 0 && mode != PaddingMode::Zeros && before.max(after) > 0 {
        let got = format!("an empty axis to pad with mode \"{}\"", mode.name());
        return Err(Error::value("padding", "elements to fill the border from", got));
    }
    let size = input.checked_add(before).and_then(|n| n.checked_add(after));
    not_empty("padded axis", size.filter(|&n| isize::try_from(n).is_ok()), input)
}

/// Size of an axis with elements taken off its front and its end.
///
/// # Errors
/// Nothing is left.
pub fn cropped_size(input: usize, (before, after): (usize, usize)) -> Result<usize> {
    let left = before.checked_add(after).map(|cut| input.saturating_sub(cut));
    left.filter(|&n| n > 0)
        .ok_or_else(|| Error::shape("cropped axis", format!("more than {before} + {after} elements"), input))
}

/// Size of an axis whose elements become `factor` each.
///
/// # Errors
/// The factor is zero, the axis is empty, a size that overflows.
pub fn upsampled_size(input: usize, factor: usize) -> Result<usize> {
    if factor == 0 {
        return Err(Error::value("size", "at least 1", factor));
    }
    not_empty("upsampled axis", input.checked_mul(factor), input)
}

fn not_empty(what: &str, size: Option<usize>, input: usize) -> Result<usize> {
    let size = size.ok_or_else(|| Error::value(what, "a size that fits the address space", input))?;
    if size == 0 {
        return Err(Error::shape(what, "at least one element", 0));
    }
    Ok(size)
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
    fn an_input_beyond_memory_is_an_error_though_strides_pass_over_it() {
        let far = 1 << 40;
        let window = Window {
            kernel: vec![1, 1],
            stride: vec![far, far],
            dilation: vec![1, 1],
            padding: Padding::VALID,
        };
        let placed = ConvGeometry::new(&window, &[far, far], 1, 1, 1);
        assert!(matches!(placed, Err(Error::Shape { .. })), "{placed:?}");
        assert!(PoolGeometry::new(&window, &[far, far], 1).is_err());
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

    /// What `numpy.pad` gives for 3 elements and pads of 7, 4 for 1 element and pads of 2.
    #[test]
    fn padding_modes_are_numpys() {
        let sources = |mode: PaddingMode, n: usize, pad: usize| -> Vec<usize> {
            (0..n + 2 * pad).map(|i| mode.source(i, pad, n).unwrap()).collect()
        };
        assert_eq!(sources(PaddingMode::Reflect, 3, 5), [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(sources(PaddingMode::Symmetric, 3, 4), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(sources(PaddingMode::Wrap, 3, 4), [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(sources(PaddingMode::Edge, 3, 2), [0, 0, 0, 1, 2, 2, 2]);
        for mode in PaddingMode::ALL {
            assert_eq!(PaddingMode::named(mode.name()), Ok(mode));
            if mode != PaddingMode::Zeros {
                assert_eq!(sources(mode, 1, 2), [0; 5]);
            }
        }
        assert_eq!(PaddingMode::Zeros.source(1, 2, 3), None);
        assert!(PaddingMode::named("constant").is_err());
    }

    #[test]
    fn transposed_sizes_are_keras() {
        let place = |n, kernel, stride, dilation, padding, extra: Option<usize>| {
            let extra = extra.map(|p| vec![p]);
            let axis = window(kernel, stride, dilation, padding)
                .place_transposed(extra.as_deref(), &[n])
                .unwrap()[2];
            assert_eq!(axis.output, n);
            (axis.input, axis.before)
        };
        assert_eq!(place(4, 3, 2, 1, Padding::VALID, None), (9, 0));
        assert_eq!(place(4, 2, 3, 1, Padding::VALID, None), (12, 0));
        assert_eq!(place(4, 3, 2, 1, Padding::VALID, Some(1)), (10, 0));
        // Keras: pad_len 3, of which 2 count at the front; the crop is 2 - 2.
        assert_eq!(place(4, 3, 2, 1, Padding::SAME, None), (8, 0));
        assert_eq!(place(4, 4, 2, 1, Padding::SAME, None), (8, 1));
        assert_eq!(place(4, 3, 2, 1, Padding::SAME, Some(0)), (7, 1));
        assert_eq!(place(4, 3, 2, 1, Padding::SAME, Some(1)), (8, 0));
        assert_eq!(place(4, 2, 3, 1, Padding::SAME, None), (12, 0));
        assert_eq!(place(4, 3, 2, 1, Padding::Explicit(vec![(1, 1)]), Some(1)), (8, 1));
        let w = window(3, 2, 1, Padding::VALID);
        assert!(w.place_transposed(Some(&[2]), &[4]).is_err());
        assert!(window(3, 1, 1, Padding::Explicit(vec![(4, 4)])).place_transposed(None, &[4]).is_err());
        assert!(window(3, 1, 1, Padding::Rule(PaddingRule::Causal)).place_transposed(None, &[4]).is_err());
        assert!(w.place_transposed(None, &[0]).is_err());
    }

    #[test]
    fn a_ceiling_keeps_a_last_window_that_starts_inside() {
        let up = |n, kernel, stride, dilation, padding| {
            PoolGeometry::rounded(&window(kernel, stride, dilation, padding), true, &[n], 1)
                .map(|g| g.axes[2].output)
        };
        // (n, kernel, stride, before, after) and what PyTorch's rule gives.
        let cases = [
            ((5, 2, 2, 0, 0), 3),
            ((4, 2, 2, 0, 0), 2),
            ((4, 3, 3, 1, 1), 2),
            ((1, 2, 2, 0, 0), 1),
            ((3, 1, 4, 0, 0), 1),
            ((6, 3, 4, 1, 1), 2),
            ((7, 3, 4, 1, 1), 2),
            ((8, 3, 4, 1, 1), 3),
        ];
        for ((n, kernel, stride, before, after), expected) in cases {
            let padding = Padding::Explicit(vec![(before, after)]);
            assert_eq!(
                up(n, kernel, stride, 1, padding),
                Ok(expected),
                "{n} {kernel} {stride} {before} {after}"
            );
        }
        for n in 1..20 {
            for (kernel, stride) in [(1, 3), (2, 3), (3, 2), (5, 4)] {
                assert_eq!(up(n, kernel, stride, 1, Padding::SAME), Ok(n.div_ceil(stride)));
            }
        }
        assert!(up(1, 5, 2, 1, Padding::VALID).is_err());
    }
}
