//! Pools whose windows follow from the size of the output.
//!
//! Along an axis of size n with o outputs, output i sees elements `floor(i n / o)` to `ceil((i + 1) n / o)`, the last one
//! excluded: windows cover the axis, differ by one in size at most, and may overlap by one.

use std::ops::Range;

use super::{Backward, Context, Keeps, Layer, Op, Site, Size, spatial};
use crate::conv::Scratch;
use crate::error::{Error, Result};
use crate::geometry::AXES;
use crate::kernels::{Element, Tier};
use crate::pool::{global_average, global_average_grad, global_max, global_max_grad};

/// The description.
pub(super) struct Adaptive {
    pub max: bool,
    /// Outputs along every spatial axis.
    pub output: Vec<usize>,
}

impl<T: Element> Layer<T> for Adaptive {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (_, channels) = spatial(input, self.output.len())?;
        if self.output.contains(&0) {
            return Err(Error::value("output_size", "positive sizes", format!("{:?}", self.output)));
        }
        Ok(self.output.iter().map(|&n| Some(n)).chain([channels]).collect())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let rank = self.output.len();
        let spread = |sizes: &[usize]| -> [usize; AXES] {
            std::array::from_fn(|axis| (axis + rank).checked_sub(AXES).map_or(1, |axis| sizes[axis]))
        };
        Ok(vec![Box::new(Windows {
            max: self.max,
            input: spread(&site.input[..rank]),
            output: spread(&self.output),
            channels: site.input[rank],
            tier: site.kernels.tier,
        })])
    }
}

struct Windows {
    max: bool,
    input: [usize; AXES],
    output: [usize; AXES],
    channels: usize,
    tier: Tier,
}

impl Windows {
    fn input_len(&self) -> usize {
        self.input.iter().product::<usize>() * self.channels
    }

    fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// What output number `index` sees, axis by axis.
    fn window(&self, index: usize) -> [Range<usize>; AXES] {
        let mut rest = index;
        let mut ranges: [Range<usize>; AXES] = std::array::from_fn(|_| 0..0);
        for axis in (0..AXES).rev() {
            let (n, o) = (self.input[axis], self.output[axis]);
            let i = rest % o;
            rest /= o;
            ranges[axis] = i * n / o..((i + 1) * n).div_ceil(o);
        }
        ranges
    }

    /// Elements of the largest window.
    fn most(&self) -> usize {
        let along = |axis: usize| self.input[axis].div_ceil(self.output[axis]) + 1;
        (0..AXES).map(along).product::<usize>() * self.channels
    }

    /// Calls `visit` with the rows of a window: their places in a sample, and in the window gathered.
    fn rows(&self, index: usize, mut visit: impl FnMut(Range<usize>, Range<usize>)) -> usize {
        let [ds, hs, ws] = self.window(index);
        let len = ws.len() * self.channels;
        let mut at = 0;
        for d in ds {
            for h in hs.clone() {
                let start = ((d * self.input[1] + h) * self.input[2] + ws.start) * self.channels;
                visit(start..start + len, at..at + len);
                at += len;
            }
        }
        at
    }
}

impl<T: Element> Op<T> for Windows {
    fn output_len(&self) -> usize {
        self.outputs() * self.channels
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: self.max, ..Keeps::default() }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], scratch: &mut Scratch<T>) {
        let (window, _) = scratch.pair(self.most());
        let samples =
            x[0].chunks_exact(self.input_len()).zip(y.chunks_exact_mut(self.outputs() * self.channels));
        for (x, y) in samples {
            for (index, y) in y.chunks_exact_mut(self.channels).enumerate() {
                let len = self.rows(index, |from, to| window[to].copy_from_slice(&x[from]));
                if self.max {
                    global_max(self.tier, &window[..len], self.channels, 0, y);
                } else {
                    global_average(self.tier, &window[..len], self.channels, 0, y);
                }
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let (window, share) = scratch.pair(self.most());
        let samples =
            dy.chunks_exact(self.outputs() * self.channels).zip(dx.chunks_exact_mut(self.input_len()));
        for (i, (dy, dx)) in samples.enumerate() {
            dx.fill(T::ZERO);
            for (index, dy) in dy.chunks_exact(self.channels).enumerate() {
                let len = self.rows(index, |from, to| {
                    if self.max {
                        let own = i * self.input_len();
                        window[to].copy_from_slice(&x[0][own + from.start..own + from.end]);
                    }
                });
                if self.max {
                    global_max_grad(self.tier, &window[..len], dy, &mut share[..len]);
                } else {
                    global_average_grad(dy, len / self.channels, &mut share[..len]);
                }
                self.rows(index, |to, from| {
                    dx[to].iter_mut().zip(&share[from]).for_each(|(dx, share)| *dx += *share);
                });
            }
        }
    }
}
