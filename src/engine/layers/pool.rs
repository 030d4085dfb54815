//! Pooling layers.

use super::{Backward, Context, Keeps, Layer, Op, Site, Size, spatial, window_shape};
use crate::conv::Scratch;
use crate::engine::spec::PoolSpec;
use crate::error::Result;
use crate::geometry::{AXES, PoolGeometry, Window};
use crate::kernels::{Element, Tier};
use crate::pool::{AveragePool, MaxPool, global_average, global_average_grad, global_max, global_max_grad};

/// What a window yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    Average { count_padding: bool },
}

/// The description of a pool with a window.
pub(super) struct Pool {
    window: Window,
    ceil_mode: bool,
    rank: usize,
    kind: Kind,
}

impl Pool {
    pub(super) fn max(spec: &PoolSpec, rank: usize) -> Self {
        Self { window: spec.window(), ceil_mode: spec.ceil_mode, rank, kind: Kind::Max }
    }

    pub(super) fn average(spec: &PoolSpec, rank: usize) -> Self {
        let kind = Kind::Average { count_padding: spec.count_include_pad };
        Self { window: spec.window(), ceil_mode: spec.ceil_mode, rank, kind }
    }
}

impl<T: Element> Layer<T> for Pool {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (sizes, channels) = spatial(input, self.rank)?;
        let output = |window: &Window, size| {
            PoolGeometry::rounded(window, self.ceil_mode, &[size], 1).map(|g| g.axes[AXES - 1].output)
        };
        let mut shape = window_shape(&self.window, sizes, output)?;
        shape.push(channels);
        Ok(shape)
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let (sizes, channels) = site.input.split_at(self.rank);
        let geometry = PoolGeometry::rounded(&self.window, self.ceil_mode, sizes, channels[0])?;
        let (input_len, output_len) = (geometry.input_len(), geometry.output_len());
        Ok(vec![match self.kind {
            Kind::Max => {
                let saved = geometry.window_len() <= MaxPool::<T>::MOST_TAPS;
                let pool = MaxPool::new(geometry, site.kernels);
                Box::new(MaxOp { pool, input_len, output_len, saved, mask: false })
            }
            Kind::Average { count_padding } => {
                let pool = AveragePool::new(geometry, count_padding, site.kernels);
                Box::new(AverageOp { pool, input_len, output_len })
            }
        }])
    }
}

struct MaxOp<T: 'static> {
    pool: MaxPool<T>,
    input_len: usize,
    output_len: usize,
    /// Whether the number of a tap fits a byte; if not, the backward pass looks for the winners again.
    saved: bool,
    /// Whether the gradient passes only where the output is positive (a ReLU came before).
    mask: bool,
}

impl<T: Element> Op<T> for MaxOp<T> {
    fn output_len(&self) -> usize {
        self.output_len
    }

    fn keeps(&self) -> Keeps {
        let saved = if self.saved { self.output_len } else { 0 };
        Keeps { input: !self.saved, output: self.mask, saved }
    }

    fn take_mask(&mut self) -> bool {
        self.mask = true;
        true
    }

    fn forward(
        &self,
        _: &Context<'_, T>,
        x: &[&[T]],
        y: &mut [T],
        saved: &mut [u8],
        scratch: &mut Scratch<T>,
    ) {
        let samples = x[0].chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.output_len));
        for (i, (x, y)) in samples.enumerate() {
            let own = if saved.is_empty() { 0..0 } else { i * self.output_len..(i + 1) * self.output_len };
            self.pool.forward(x, y, &mut saved[own], 0..self.pool.rows(), (scratch.taps(), &|| false));
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>) {
        let Backward { x, y, dy, dx: [Some(dx)], saved, .. } = tensors else { return };
        for (i, (dy, dx)) in
            dy.chunks_exact(self.output_len).zip(dx.chunks_exact_mut(self.input_len)).enumerate()
        {
            let outputs = i * self.output_len..(i + 1) * self.output_len;
            let y = self.mask.then(|| &y[outputs.clone()]);
            if self.saved {
                self.pool.backward(dy, &saved[outputs], y, dx, scratch.taps());
            } else {
                let x = &x[0][i * self.input_len..(i + 1) * self.input_len];
                self.pool.backward_from(x, dy, y, dx, scratch.taps());
            }
        }
    }
}

struct AverageOp<T: 'static> {
    pool: AveragePool<T>,
    input_len: usize,
    output_len: usize,
}

impl<T: Element> Op<T> for AverageOp<T> {
    fn output_len(&self) -> usize {
        self.output_len
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], scratch: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.output_len)) {
            self.pool.forward(x, y, 0..self.pool.rows(), (scratch.taps(), &|| false));
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>) {
        let Backward { dy, dx: [Some(dx)], .. } = tensors else { return };
        for (dy, dx) in dy.chunks_exact(self.output_len).zip(dx.chunks_exact_mut(self.input_len)) {
            self.pool.backward(dy, dx, scratch.taps());
        }
    }
}

/// What a pool over the whole grid yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GlobalKind {
    Max,
    Average,
}

/// The description of a pool over the whole grid.
pub(super) struct GlobalPool {
    kind: GlobalKind,
    rank: usize,
    keepdims: bool,
}

impl GlobalPool {
    pub(super) fn max(rank: usize, keepdims: bool) -> Self {
        Self { kind: GlobalKind::Max, rank, keepdims }
    }

    pub(super) fn average(rank: usize, keepdims: bool) -> Self {
        Self { kind: GlobalKind::Average, rank, keepdims }
    }
}

impl<T: Element> Layer<T> for GlobalPool {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (_, channels) = spatial(input, self.rank)?;
        let mut shape = vec![Some(1); if self.keepdims { self.rank } else { 0 }];
        shape.push(channels);
        Ok(shape)
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let channels = site.input[self.rank];
        let (input_len, tier) = (site.input.iter().product(), site.kernels.tier);
        Ok(vec![Box::new(GlobalOp { kind: self.kind, input_len, channels, tier })])
    }
}

struct GlobalOp {
    kind: GlobalKind,
    input_len: usize,
    channels: usize,
    tier: Tier,
}

impl<T: Element> Op<T> for GlobalOp {
    fn output_len(&self) -> usize {
        self.channels
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: self.kind == GlobalKind::Max, ..Keeps::default() }
    }

    fn forward(&self, _: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        for (x, y) in x[0].chunks_exact(self.input_len).zip(y.chunks_exact_mut(self.channels)) {
            match self.kind {
                GlobalKind::Max => global_max(self.tier, x, self.channels, 0, y),
                GlobalKind::Average => global_average(self.tier, x, self.channels, 0, y),
            }
        }
    }

    fn backward(&self, _: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [Some(dx)], .. } = tensors else { return };
        let samples = dy.chunks_exact(self.channels).zip(dx.chunks_exact_mut(self.input_len));
        for (i, (dy, dx)) in samples.enumerate() {
            match self.kind {
                GlobalKind::Max => {
                    global_max_grad(self.tier, &x[0][i * self.input_len..][..self.input_len], dy, dx);
                }
                GlobalKind::Average => global_average_grad(dy, self.input_len / self.channels, dx),
            }
        }
    }
}
