//! Axes, paddings, and the window that slides over them.

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

impl PaddingRule {
    const ALL: [Self; 3] = [Self::Valid, Self::Same, Self::Causal];

    /// The rule of a name.
    ///
    /// # Errors
    /// No rule has this name.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|rule| format!("\"{}\"", rule.name())).join(", ");
            Error::value("padding", format!("one of {names}"), format!("\"{name}\""))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Same => "same",
            Self::Causal => "causal",
        }
    }
}

impl Padding {
    /// No padding.
    pub const VALID: Self = Self::Rule(PaddingRule::Valid);
    /// As many outputs as inputs at stride 1.
    pub const SAME: Self = Self::Rule(PaddingRule::Same);
}

/// What the border of the input is extended with; names and results are those of `numpy.pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored at its first and last element, which are not repeated.
    Reflect,
    /// The first and the last element.
    Edge,
    /// The input again: the axis is a ring.
    Wrap,
    /// The input mirrored beyond its first and last element, which are repeated.
    Symmetric,
}

impl PaddingMode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Zeros, Self::Reflect, Self::Edge, Self::Wrap, Self::Symmetric];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zeros => "zeros",
            Self::Reflect => "reflect",
            Self::Edge => "edge",
            Self::Wrap => "wrap",
            Self::Symmetric => "symmetric",
        }
    }

    /// The mode of this name.
    ///
    /// # Errors
    /// No mode has this name.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|mode| format!("\"{}\"", mode.name())).join(", ");
            Error::value("padding_mode", format!("one of {names}"), format!("\"{name}\""))
        })
    }

    /// The element of an axis of `input` elements that stands at `position` of the axis with `before` elements in
    /// front; None where a zero stands. Padding longer than the input mirrors or repeats it as often as needed.
    pub fn source(self, position: usize, before: usize, input: usize) -> Option<usize> {
        if (before..before + input).contains(&position) {
            return Some(position - before);
        }
        if self == Self::Zeros || input == 0 {
            return None;
        }
        let last = input - 1;
        // How far before the first element, or after it.
        let wrapped = |period: usize| match before.checked_sub(position) {
            Some(front) => (period - front % period) % period,
            None => (position - before) % period,
        };
        Some(match self {
            Self::Zeros => return None,
            Self::Edge => {
                if position < before {
                    0
                } else {
                    last
                }
            }
            Self::Wrap => wrapped(input),
            Self::Symmetric => {
                let i = wrapped(2 * input);
                if i < input { i } else { 2 * input - 1 - i }
            }
            Self::Reflect if input == 1 => 0,
            Self::Reflect => {
                let i = wrapped(2 * last);
                if i < input { i } else { 2 * last - i }
            }
        })
    }
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
    /// Elements before the input.
    pub before: usize,
    /// Elements after the input.
    pub after: usize,
}

impl Axis {
    /// An axis of size 1 that a series or an image has first.
    pub const UNIT: Self =
        Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// Inputs that one output spans: `dilation * (kernel - 1) + 1`.
    pub fn span(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Elements of the padded input that have to be there at once at most: all of it, or if it is so much larger than the
    /// input (by the step of taps or outputs), the taps of every output.
    pub fn read_len(&self) -> usize {
        let padded = self.before + self.input + self.after;
        if self.is_sparse() { self.output * self.kernel } else { padded }
    }

    /// Whether the axis spans so much more than its input that the taps of all outputs are fewer.
    pub fn is_sparse(&self) -> bool {
        let padded = self.before + self.input + self.after;
        padded > self.input.saturating_mul(5).saturating_add(256)
            && self.output.saturating_mul(self.kernel) < padded
    }

    /// Output size: `floor((input + before + after - span) / stride) + 1`.
    fn new(input: usize, kernel: usize, stride: usize, dilation: usize, pad: AxisPad) -> Option<Self> {
        let span = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        fit([stride, dilation, span])?;
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
        fit([padded, padded.checked_add(stride)?])?;
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
    /// Output size of a window with one axis.
    ///
    /// # Errors
    /// As [`Window::place`].
    pub fn output(&self, input: usize) -> Result<usize> {
        Ok(self.place(&[input])?[AXES - 1].output)
    }

    /// Places the window on an input of the same rank (1 to 3); leading axes of size 1 are added.
    ///
    /// # Errors
    /// A zero in kernel, stride or dilation, a rank that does not fit, an output without elements, sizes that overflow.
    pub fn place(&self, input: &[usize]) -> Result<[Axis; AXES]> {
        self.place_with(input, |_, pad| pad)
    }

    /// The same with what `adjust(axis, padding)` makes of the paddings.
    fn place_with(
        &self,
        input: &[usize],
        adjust: impl Fn(usize, AxisPad) -> AxisPad,
    ) -> Result<[Axis; AXES]> {
        let rank = self.check(input)?;
        let mut axes = [Axis::UNIT; AXES];
        for i in 0..rank {
            let pad = adjust(i, self.pad(i, rank)?);
            let axis = Axis::new(input[i], self.kernel[i], self.stride[i], self.dilation[i], pad)
                .ok_or_else(|| self.too_large(i, input))?;
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

    /// Places the window as far as it starts inside the input or the padding before it.
    ///
    /// # Errors
    /// As [`Window::place`].
    pub(super) fn place_up(&self, input: &[usize]) -> Result<[Axis; AXES]> {
        // A floor with `stride - 1` more elements after it is a ceiling; "same" is one already.
        let extra = |i: usize| self.stride[i] - 1;
        let adjust = |i: usize, pad: AxisPad| match pad {
            AxisPad::Rule(PaddingRule::Same) => pad,
            AxisPad::Rule(PaddingRule::Valid) => AxisPad::Explicit(0, extra(i)),
            // What the rule pads before it; a span that overflows is an error of `Axis::new`.
            AxisPad::Rule(PaddingRule::Causal) => {
                let before = (self.kernel[i] - 1).saturating_mul(self.dilation[i]);
                AxisPad::Explicit(before, extra(i))
            }
            AxisPad::Explicit(before, after) => AxisPad::Explicit(before, after.saturating_add(extra(i))),
        };
        let mut axes = self.place_with(input, adjust)?;
        if self.padding == Padding::SAME {
            return Ok(axes);
        }
        for axis in axes.iter_mut().skip(AXES - input.len()) {
            axis.after -= axis.stride - 1;
            if (axis.output - 1) * axis.stride >= axis.input + axis.before {
                axis.output -= 1;
            }
            if axis.output == 0 {
                return Err(Error::shape("spatial axis", "at least one element", axis.input));
            }
        }
        Ok(axes)
    }

    /// Places the window so that its convolution maps the *output* of a transposed convolution to `input`.
    ///
    /// An axis of `n` elements becomes, with `span = dilation * (kernel - 1) + 1`:
    /// - "valid": `(n - 1) * stride + span + p`, where `p` is the output padding or `max(span, stride) - span`;
    /// - "same": `n * stride`, or with an output padding `(n - 1) * stride + span % 2 + p`;
    /// - pairs: `(n - 1) * stride + span + p - before - after`, with `p` 0 by default.
    ///
    /// # Errors
    /// As [`Window::place`]; "causal"; an output padding that is not smaller than stride or dilation.
    pub fn place_transposed(
        &self,
        output_padding: Option<&[usize]>,
        input: &[usize],
    ) -> Result<[Axis; AXES]> {
        let rank = self.check(input)?;
        if self.padding == Padding::Rule(PaddingRule::Causal) {
            return Err(Error::value("padding", "\"valid\", \"same\", an integer or pairs", "\"causal\""));
        }
        if let Some(list) = output_padding.filter(|list| list.len() != rank) {
            return Err(Error::value("output_padding", format!("{rank} integers"), format!("{list:?}")));
        }
        let mut axes = [Axis::UNIT; AXES];
        for i in 0..rank {
            let (n, kernel, stride, dilation) = (input[i], self.kernel[i], self.stride[i], self.dilation[i]);
            let extra = output_padding.map(|list| list[i]);
            if let Some(extra) = extra.filter(|&extra| extra >= stride.max(dilation)) {
                let rule = format!("less than strides ({stride}) or dilation_rate ({dilation})");
                return Err(Error::value("output_padding", rule, extra));
            }
            let pad = self.pad(i, rank)?;
            let (output, before) = transposed_size(n, kernel, stride, dilation, pad, extra)
                .ok_or_else(|| self.too_large(i, input))?;
            if n == 0 || output <= 0 {
                return Err(Error::shape(
                    format!("spatial axis {i}"),
                    "an output of at least 1 element",
                    if n == 0 { 0 } else { output },
                ));
            }
            let (output, span) = (output as usize, dilation * (kernel - 1) + 1);
            // What the window reaches beyond the result when it is placed `n` times.
            let after = ((n - 1) * stride + span).saturating_sub(before + output);
            axes[AXES - rank + i] =
                Axis { input: output, output: n, kernel, stride, dilation, before, after };
        }
        Ok(axes)
    }

    fn too_large(&self, i: usize, input: &[usize]) -> Error {
        let (kernel, stride, dilation) = (self.kernel[i], self.stride[i], self.dilation[i]);
        let padding = match &self.padding {
            Padding::Rule(rule) => format!("padding \"{}\"", rule.name()),
            Padding::Explicit(pairs) => format!("padding {:?}", pairs.get(i).unwrap_or(&(0, 0))),
        };
        Error::value(
            format!("spatial axis {i}"),
            "kernel size, strides, dilation rate and padding that together fit the address space",
            format!("{kernel}, {stride}, {dilation} and {padding} for {} elements", input[i]),
        )
    }

    /// Padding of one axis.
    fn pad(&self, i: usize, rank: usize) -> Result<AxisPad> {
        match &self.padding {
            Padding::Rule(PaddingRule::Causal) if rank != 1 => {
                Err(Error::value("padding", "\"causal\" with one spatial axis", format!("{rank} axes")))
            }
            Padding::Rule(rule) => Ok(AxisPad::Rule(*rule)),
            Padding::Explicit(pairs) => match pairs.get(i) {
                Some(&(before, after)) if pairs.len() == rank => Ok(AxisPad::Explicit(before, after)),
                _ => Err(Error::value("padding", format!("{rank} pairs"), format!("{pairs:?}"))),
            },
        }
    }

    /// Checks the lists; returns the rank.
    fn check(&self, input: &[usize]) -> Result<usize> {
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
        Ok(rank)
    }
}

/// Size of a transposed axis and the elements cropped before it; may be negative, None if too large.
fn transposed_size(
    n: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: AxisPad,
    extra: Option<usize>,
) -> Option<(isize, usize)> {
    let span = dilation.checked_mul(kernel - 1)?.checked_add(1)?;
    fit([stride, dilation, span])?;
    let steps = n.saturating_sub(1).checked_mul(stride)?;
    let (size, crop, before) = match (pad, extra) {
        // Refused by the caller.
        (AxisPad::Rule(PaddingRule::Causal), _) => return None,
        (AxisPad::Rule(PaddingRule::Valid), _) => {
            (steps.checked_add(span)?.checked_add(extra.unwrap_or(stride.saturating_sub(span)))?, 0, 0)
        }
        (AxisPad::Rule(PaddingRule::Same), _) => {
            // Keras' rule: of `pad` elements, half (the odd one included) count at the front, at most `span - 1`.
            let (size, pad) = match extra {
                None => (steps.checked_add(stride)?, stride.checked_add(span)?.saturating_sub(2)),
                Some(p) => {
                    let whole = span.checked_add(span % 2)?.checked_add(p)?;
                    (steps.checked_add(span % 2)?.checked_add(p)?, whole.checked_sub(2)?)
                }
            };
            (size, 0, span - 1 - pad.div_ceil(2).min(span - 1))
        }
        (AxisPad::Explicit(before, after), _) => {
            (steps.checked_add(span)?.checked_add(extra.unwrap_or(0))?, before.checked_add(after)?, before)
        }
    };
    fit([steps.checked_add(span)?, size])?;
    let (size, crop) = (isize::try_from(size).ok()?, isize::try_from(crop).ok()?);
    Some((size - crop, before))
}

/// Whether positions up to there, and the sum of two of them, can be counted: offsets are computed as isize.
fn fit<const N: usize>(sizes: [usize; N]) -> Option<()> {
    sizes.iter().all(|&n| n <= isize::MAX as usize / 2).then_some(())
}
