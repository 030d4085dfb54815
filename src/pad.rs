//! Padding, cropping and nearest-neighbour upsampling of one sample, with their adjoints.
//!
//! All of them are one operation: each position of the output copies a position of the input or is zero, axis by axis.
//! A plan holds the source of every output along each axis and, for the adjoint, the outputs of every source. In the
//! adjoint an element of the input gets its contributions in row-major order of the outputs; where they are many, in
//! float64.

use std::ops::Range;

use crate::error::Result;
use crate::geometry::{AXES, PaddingMode, cropped_size, padded_size, upsampled_size};
use crate::kernels::Element;
use crate::memory;

/// Where the elements of one axis come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// For every output its input; None is a zero.
    from: Vec<Option<usize>>,
    /// For every input its outputs, ascending: `outputs[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    outputs: Vec<usize>,
}

impl Sources {
    fn new(input: usize, from: impl Iterator<Item = Option<usize>>) -> Result<Self> {
        let from = memory::collect(from)?;
        let mut starts = memory::filled(0, input + 1)?;
        from.iter().flatten().for_each(|&i| starts[i + 1] += 1);
        for i in 0..input {
            starts[i + 1] += starts[i];
        }
        let mut next = memory::copied(&starts)?;
        let mut outputs = memory::filled(0, starts[input])?;
        for (output, input) in from.iter().enumerate() {
            if let Some(input) = *input {
                outputs[next[input]] = output;
                next[input] += 1;
            }
        }
        Ok(Self { from, starts, outputs })
    }

    /// An axis of size 1 that a series or an image has first.
    fn unit() -> Self {
        Self { from: vec![Some(0)], starts: vec![0, 1], outputs: vec![0] }
    }

    /// Elements added before and after.
    ///
    /// # Errors
    /// As [`padded_size`].
    pub fn padded(input: usize, pair: (usize, usize), mode: PaddingMode) -> Result<Self> {
        let size = padded_size(input, pair, mode)?;
        Self::new(input, (0..size).map(|o| mode.source(o, pair.0, input)))
    }

    /// Elements taken off at the front and at the end.
    ///
    /// # Errors
    /// As [`cropped_size`].
    pub fn cropped(input: usize, pair: (usize, usize)) -> Result<Self> {
        let size = cropped_size(input, pair)?;
        Self::new(input, (pair.0..pair.0 + size).map(Some))
    }

    /// Every element `factor` times.
    ///
    /// # Errors
    /// As [`upsampled_size`].
    pub fn repeated(input: usize, factor: usize) -> Result<Self> {
        let size = upsampled_size(input, factor)?;
        Self::new(input, (0..size).map(|o| Some(o / factor)))
    }

    fn input(&self) -> usize {
        self.starts.len() - 1
    }

    fn output(&self) -> usize {
        self.from.len()
    }

    fn outputs(&self, input: usize) -> &[usize] {
        &self.outputs[self.starts[input]..self.starts[input + 1]]
    }

    /// Outputs of an input at most.
    fn most_outputs(&self) -> usize {
        (0..self.input()).map(|input| self.outputs(input).len()).max().unwrap_or(0)
    }
}

/// A run of a row that is copied as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// First output, in elements.
    to: usize,
    /// First input, in elements; None is zeros.
    from: Option<usize>,
    /// Elements.
    len: usize,
}

/// Outputs of one input from which on the adjoint sums in float64: a float32 chain of a million copies of an edge is off by
/// a percent.
const MANY: usize = 256;

/// The operation on one sample.
#[derive(Debug, Clone)]
pub struct Gather {
    axes: [Sources; AXES],
    channels: usize,
    spans: Vec<Span>,
    /// Whether an input has [`MANY`] outputs.
    many: bool,
}

impl Gather {
    /// Plans the operation from one to three axes.
    /// Unwinds with a lack of memory, see [`memory`].
    ///
    /// # Panics
    /// There are more axes: a bug of the caller.
    pub fn new(axes: Vec<Sources>, channels: usize) -> Self {
        let mut all = vec![Sources::unit(); AXES.checked_sub(axes.len()).expect("at most three axes")];
        all.extend(axes);
        let axes: [Sources; AXES] = all.try_into().unwrap_or_else(|_| unreachable!("three axes"));
        let mut spans: Vec<Span> = Vec::new();
        for (output, input) in axes[2].from.iter().enumerate() {
            let (to, from) = (output * channels, input.map(|i| i * channels));
            match spans.last_mut() {
                Some(last) if last.from.map(|i| i + last.len) == from => last.len += channels,
                _ => {
                    memory::demand(memory::make_room(&mut spans));
                    spans.push(Span { to, from, len: channels });
                }
            }
        }
        let many = axes.iter().map(Sources::most_outputs).fold(1, usize::saturating_mul) >= MANY;
        Self { axes, channels, spans, many }
    }

    /// Rows (depth times height) of the output.
    pub fn rows(&self) -> usize {
        self.axes[0].output() * self.axes[1].output()
    }

    /// Elements of a row of the output.
    pub fn row_len(&self) -> usize {
        self.axes[2].output() * self.channels
    }

    /// Rows of the input.
    pub fn input_rows(&self) -> usize {
        self.axes[0].input() * self.axes[1].input()
    }

    /// Elements of a row of the input.
    pub fn input_row_len(&self) -> usize {
        self.axes[2].input() * self.channels
    }

    /// Computes `rows` of the output of one sample; `y` holds exactly these rows.
    pub fn forward<T: Element>(&self, x: &[T], y: &mut [T], rows: Range<usize>) {
        let [d, h, _] = &self.axes;
        for (row, y) in rows.zip(y.chunks_exact_mut(self.row_len())) {
            let (Some(plane), Some(line)) = (d.from[row / h.output()], h.from[row % h.output()]) else {
                y.fill(T::ZERO);
                continue;
            };
            let x = &x[(plane * h.input() + line) * self.input_row_len()..][..self.input_row_len()];
            for span in &self.spans {
                let y = &mut y[span.to..span.to + span.len];
                match span.from {
                    Some(from) => y.copy_from_slice(&x[from..from + span.len]),
                    None => y.fill(T::ZERO),
                }
            }
        }
    }

    /// Computes the rows `halo` of the gradient to the input of one sample; `dx` holds exactly these rows.
    pub fn backward<T: Element>(&self, dy: &[T], dx: &mut [T], halo: Range<usize>) {
        let [d, h, w] = &self.axes;
        dx.fill(T::ZERO);
        for (row, dx) in halo.zip(dx.chunks_exact_mut(self.input_row_len().max(1))) {
            if self.many {
                for (i, dx) in dx.iter_mut().enumerate() {
                    let (column, channel) = (i / self.channels, i % self.channels);
                    let mut sum = 0.0;
                    for plane in d.outputs(row / h.input()) {
                        for line in h.outputs(row % h.input()) {
                            let dy = &dy[(plane * h.output() + line) * self.row_len() + channel..];
                            sum +=
                                w.outputs(column).iter().map(|o| dy[o * self.channels].to_f64()).sum::<f64>();
                        }
                    }
                    *dx = T::from_f64(sum);
                }
                continue;
            }
            for plane in d.outputs(row / h.input()) {
                for line in h.outputs(row % h.input()) {
                    let dy = &dy[(plane * h.output() + line) * self.row_len()..][..self.row_len()];
                    for span in &self.spans {
                        let Some(from) = span.from else { continue };
                        let parts =
                            dx[from..from + span.len].iter_mut().zip(&dy[span.to..span.to + span.len]);
                        parts.for_each(|(dx, dy)| *dx += *dy);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `numpy.pad([1, 2, 3], (7, 5), mode)` says.
    #[test]
    fn modes_are_those_of_numpy() {
        let pad = |mode| {
            let gather = Gather::new(vec![Sources::padded(3, (7, 5), mode).unwrap()], 1);
            let mut y = vec![f64::NAN; 15];
            gather.forward(&[1.0, 2.0, 3.0], &mut y, 0..1);
            y.iter().map(|v| char::from(b'0' + *v as u8)).collect::<String>()
        };
        assert_eq!(pad(PaddingMode::Zeros), "000000012300000");
        assert_eq!(pad(PaddingMode::Edge), "111111112333333");
        assert_eq!(pad(PaddingMode::Reflect), "232123212321232");
        assert_eq!(pad(PaddingMode::Symmetric), "112332112332112");
        assert_eq!(pad(PaddingMode::Wrap), "312312312312312");
    }

    #[test]
    fn a_mirrored_element_gets_what_its_images_got() {
        let gather = Gather::new(vec![Sources::padded(3, (2, 1), PaddingMode::Reflect).unwrap()], 1);
        // Outputs are 3 2 1 2 3 2.
        let mut dx = [f32::NAN; 3];
        gather.backward(&[1.0, 10.0, 100.0, 1e3, 1e4, 1e5], &mut dx, 0..1);
        assert_eq!(dx, [100.0, 101_010.0, 10_001.0]);
    }

    #[test]
    fn a_million_copies_of_an_edge_are_summed_up_to_rounding() {
        let many = 1_000_000;
        let pad = |n| Sources::padded(3, (n, 1), PaddingMode::Edge).unwrap();
        let gather = Gather::new(vec![pad(many)], 2);
        let dy: Vec<f32> = (0..2 * (many + 4)).map(|i| if i % 2 == 0 { 0.1 } else { -3.0 }).collect();
        let mut dx = [f32::NAN; 6];
        gather.backward(&dy, &mut dx, 0..1);
        let most = (many + 1) as f64;
        let sums = [most * f64::from(0.1f32), -3.0 * most].map(|sum| sum as f32);
        assert_eq!(dx, [sums[0], sums[1], 0.1, -3.0, 0.2, -6.0]);
        // The other way of summing, of the same numbers.
        let few = Gather::new(vec![pad(100), pad(1)], 1);
        let dy: Vec<f32> = (0..few.rows() * few.row_len()).map(|i| i as f32).collect();
        let [mut dx, mut again] = [[f32::NAN; 9]; 2];
        few.backward(&dy, &mut dx, 0..3);
        Gather { many: true, ..few }.backward(&dy, &mut again, 0..3);
        assert_eq!(dx, again);
    }

    #[test]
    fn crops_and_repetitions() {
        let gather =
            Gather::new(vec![Sources::cropped(3, (1, 0)).unwrap(), Sources::repeated(2, 2).unwrap()], 1);
        let mut y = [0.0f32; 8];
        gather.forward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut y, 0..2);
        assert_eq!(y, [3.0, 3.0, 4.0, 4.0, 5.0, 5.0, 6.0, 6.0]);
        let mut dx = [f32::NAN; 6];
        gather.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &mut dx, 0..3);
        assert_eq!(dx, [0.0, 0.0, 3.0, 7.0, 11.0, 15.0]);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        assert!(Sources::padded(0, (1, 0), PaddingMode::Edge).is_err());
        assert!(Sources::padded(0, (0, 0), PaddingMode::Zeros).is_err());
        assert!(Sources::padded(1, (usize::MAX, 1), PaddingMode::Zeros).is_err());
        assert!(Sources::cropped(3, (2, 1)).is_err());
        assert!(Sources::cropped(3, (usize::MAX, 1)).is_err());
        assert!(Sources::repeated(3, 0).is_err());
    }
}
