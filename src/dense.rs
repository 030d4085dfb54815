//! The dense layer `y = x W + b` on rows of a batch, and its gradients.
//!
//! The same microkernel as the convolutions. Long sums are cut into blocks that stay in cache; the chains go on from
//! the stored result, so that blocks change no bit.

use std::ops::Range;

use crate::conv::Epilogue;
use crate::kernels::{Element, Kernels, Lines, Product, Run, Start, pack};

/// Elements of a sum between two visits to the result: the packed block of one panel stays in L1 or L2.
const BLOCK: usize = 512;

/// A planned dense layer.
#[derive(Debug)]
pub struct Dense<T: Element> {
    kernels: &'static Kernels<T>,
    inputs: usize,
    outputs: usize,
}

impl<T: Element> Dense<T> {
    /// Plans a layer with `inputs` by `outputs` weights.
    pub fn new(inputs: usize, outputs: usize, kernels: &'static Kernels<T>) -> Self {
        Self { kernels, inputs, outputs }
    }

    /// Elements of the weights packed for the forward pass.
    pub fn packed_len(&self) -> usize {
        pack::panels_len(self.inputs, self.outputs, self.kernels.panel())
    }

    /// Elements of the weights packed for the gradient to the input.
    pub fn transposed_len(&self) -> usize {
        pack::panels_len(self.outputs, self.inputs, self.kernels.panel())
    }

    /// Elements of packed weights at whose multiples they may be packed in parts.
    pub fn pack_grain(&self) -> usize {
        self.kernels.panel()
    }

    /// Packs `W` for the forward pass: what stands from element `first` on.
    pub fn pack(&self, weights: &[T], first: usize, part: &mut [T]) {
        let matrix = pack::Matrix {
            source: weights,
            k: self.inputs,
            n: self.outputs,
            taps: 1,
            apart: [self.outputs, 1],
            tap: &|_| 0,
        };
        matrix.panels(part, first, self.kernels);
    }

    /// Packs the transpose of `W` for the gradient to the input, likewise.
    pub fn pack_transposed(&self, weights: &[T], first: usize, part: &mut [T]) {
        let matrix = pack::Matrix {
            source: weights,
            k: self.outputs,
            n: self.inputs,
            taps: 1,
            apart: [1, self.outputs],
            tap: &|_| 0,
        };
        matrix.panels(part, first, self.kernels);
    }

    /// `y = x W + b` for some rows.
    pub fn forward(&self, x: &[T], packed: &[T], y: &mut [T], epilogue: Epilogue<'_, T>) {
        self.multiply(x, packed, y, (self.inputs, self.outputs), epilogue);
    }

    /// `dx = dy W^T` for some rows.
    pub fn input_grad(&self, dy: &[T], packed: &[T], dx: &mut [T]) {
        self.multiply(dy, packed, dx, (self.outputs, self.inputs), Epilogue::NONE);
    }

    fn multiply(
        &self,
        a: &[T],
        packed: &[T],
        c: &mut [T],
        (k, n): (usize, usize),
        epilogue: Epilogue<'_, T>,
    ) {
        let m = a.len() / k;
        let panel = self.kernels.panel();
        if m == 0 {
            return;
        }
        for column in (0..n).step_by(panel) {
            let columns = panel.min(n - column);
            let mut from = 0;
            while from < k {
                let run_len = BLOCK.min(k - from);
                let start = match epilogue.bias {
                    _ if from > 0 => Start::Result,
                    Some(bias) => Start::Bias(&bias[column..column + columns]),
                    None => Start::Zero,
                };
                self.kernels.product(&mut Product {
                    a,
                    a_m: k,
                    a_k: 1,
                    lines: Lines::ONE,
                    b: &packed[column * k..],
                    b_k: panel,
                    b_panel: k * panel,
                    b_padded: true,
                    runs: &[Run { a: from, b: from * panel }],
                    run_len,
                    c: &mut c[column..],
                    c_m: n,
                    m,
                    n: columns,
                    start,
                    relu: epilogue.relu && from + run_len == k,
                    past_cache: false,
                });
                from += run_len;
            }
        }
    }

    /// Rows `inputs` of `dW = x^T dy` over all rows of the batch; `dweights` holds exactly these rows of `W`.
    pub fn kernel_grad(&self, x: &[T], dy: &[T], inputs: Range<usize>, dweights: &mut [T]) {
        let batch = dy.len() / self.outputs;
        if batch == 0 || inputs.is_empty() {
            dweights.fill(T::ZERO);
            return;
        }
        self.kernels.product(&mut Product {
            a: &x[inputs.start..],
            a_m: 1,
            a_k: self.inputs,
            lines: Lines::ONE,
            b: dy,
            b_k: self.outputs,
            b_panel: self.kernels.panel(),
            b_padded: false,
            runs: &[Run { a: 0, b: 0 }],
            run_len: batch,
            c: dweights,
            c_m: self.outputs,
            m: inputs.len(),
            n: self.outputs,
            start: Start::Zero,
            relu: false,
            past_cache: false,
        });
    }
}
