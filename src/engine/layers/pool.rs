//! Pooling layers.

use super::{Backward, Context, Keeps, Layer, Site, Size, Step, spatial, window_shape};
use crate::conv::Scratch;
use crate::engine::spec::PoolSpec;
use crate::error::Result;
use crate::geometry::{PoolGeometry, Window};
use crate::kernels::{Element, Tier};
use crate::pool::{AveragePool, MaxPool, global_average, global_average_grad};

/// What a window yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    Average { count_padding: bool },
}

/// The description of a pool with a window.
pub(super) struct Pool {
    window: Window,
    rank: usize,
    kind: Kind,
}

impl Pool {
    pub(super) fn max(spec: &PoolSpec, rank: usize) -> Self {
        Self { window: spec.window(), rank, kind: Kind::Max }
    }

    pub(super) fn average(spec: &PoolSpec, rank: usize) -> Self {
        Self { window: spec.window(), rank, kind: Kind::Average { count_padding: spec.count_include_pad } }
    }
}

impl<T: Element> Layer<T> for Pool {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (sizes, channels) = spatial(input, self.rank)?;
        let mut shape = window_shape(&self.window, sizes)?;
        shape.push(channels);
        Ok(shape)
    }

    fn steps(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Step<T>>>> {
        let (sizes, channels) = site.input.split_at(self.rank);
        let geometry = PoolGeometry::new(&self.window, sizes, channels[0])?;
        let (input_len, output_len) = (geometry.input_len(), geometry.output_len());
        let tier = site.kernels.tier;
        Ok(vec![match self.kind {
            Kind::Max => {
                Box::new(MaxStep { pool: MaxPool::new(geometry, tier), input_len, output_len, mask: false })
            }
            Kind::Average { count_padding } => {
                let pool = AveragePool::new(geometry, count_padding, tier);
                Box::new(AverageStep { pool, input_len, output_len })
            }
        }])
    }
}

struct MaxStep {
    pool: MaxPool,
    input_len: usize,
    output_len: usize,
    /// Whether the gradient passes only where the output is positive (a ReLU was in front).
    mask: bool,
}

impl<T: Element> Step<T> for MaxStep {
    fn input_len(&self) -> usize {
        self.input_len
    }

    fn output_len(&self) -> usize {
        self.output_len
    }

    fn keeps(&self) -> Keeps {
        let width = if self.pool.taps_fit_u8() { 1 } else { 4 };
        Keeps { input: false, output: self.mask, notes: self.output_len * width }
    }

    fn take_mask(&mut self) -> bool {
        self.mask = true;
        true
    }

    fn forward(&self, _: &Context<'_, T>, x: &[T], y: &mut [T], notes: &mut [u8], _: &mut Scratch<T>) {
        let rows = 0..self.pool.rows();
        let samples = x.chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.output_len));
        if notes.is_empty() {
            samples.for_each(|(x, y)| self.pool.forward::<T, u8>(x, y, None, rows.clone()));
        } else if self.pool.taps_fit_u8() {
            for ((x, y), notes) in samples.zip(notes.chunks_exact_mut(self.output_len)) {
                self.pool.forward(x, y, Some(notes), rows.clone());
            }
        } else {
            let mut winners = vec![0u32; self.output_len];
            for ((x, y), notes) in samples.zip(notes.chunks_exact_mut(self.output_len * 4)) {
                self.pool.forward(x, y, Some(&mut winners), rows.clone());
                for (bytes, winner) in notes.chunks_exact_mut(4).zip(&winners) {
                    bytes.copy_from_slice(&winner.to_le_bytes());
                }
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, T>, _: &mut Scratch<T>) {
        let Backward { y, dy, dx: Some(dx), notes, .. } = tensors else { return };
        for (i, (dy, dx)) in
            dy.chunks_exact(self.output_len).zip(dx.chunks_exact_mut(self.input_len)).enumerate()
        {
            let outputs = i * self.output_len..(i + 1) * self.output_len;
            let y = self.mask.then(|| &y[outputs.clone()]);
            if self.pool.taps_fit_u8() {
                self.pool.backward(dy, &notes[outputs], y, dx);
            } else {
                let bytes = notes[outputs.start * 4..outputs.end * 4].chunks_exact(4);
                let winners: Vec<u32> = bytes.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                self.pool.backward(dy, &winners, y, dx);
            }
        }
    }
}

struct AverageStep {
    pool: AveragePool,
    input_len: usize,
    output_len: usize,
}

impl<T: Element> Step<T> for AverageStep {
    fn input_len(&self) -> usize {
        self.input_len
    }

    fn output_len(&self) -> usize {
        self.output_len
    }

    fn forward(&self, _: &Context<'_, T>, x: &[T], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x.chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.output_len)) {
            self.pool.forward(x, y, 0..self.pool.rows());
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: Some(dx), .. } = tensors else { return };
        for (dy, dx) in dy.chunks_exact(self.output_len).zip(dx.chunks_exact_mut(self.input_len)) {
            self.pool.backward(dy, dx);
        }
    }
}

/// The description of global average pooling.
pub(super) struct GlobalAverage {
    pub(super) rank: usize,
    pub(super) keepdims: bool,
}

impl<T: Element> Layer<T> for GlobalAverage {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (_, channels) = spatial(input, self.rank)?;
        let mut shape = vec![Some(1); if self.keepdims { self.rank } else { 0 }];
        shape.push(channels);
        Ok(shape)
    }

    fn steps(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Step<T>>>> {
        let channels = site.input[self.rank];
        Ok(vec![Box::new(GlobalStep {
            input_len: site.input.iter().product(),
            channels,
            tier: site.kernels.tier,
        })])
    }
}

struct GlobalStep {
    input_len: usize,
    channels: usize,
    tier: Tier,
}

impl<T: Element> Step<T> for GlobalStep {
    fn input_len(&self) -> usize {
        self.input_len
    }

    fn output_len(&self) -> usize {
        self.channels
    }

    fn forward(&self, _: &Context<'_, T>, x: &[T], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x.chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.channels)) {
            global_average(self.tier, x, y);
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, T>, _: &mut Scratch<T>) {
        let Backward { dy, dx: Some(dx), .. } = tensors else { return };
        for (dy, dx) in dy.chunks_exact(self.channels).zip(dx.chunks_exact_mut(self.input_len)) {
            global_average_grad(dy, dx);
        }
    }
}
