//! The dense layer `y = x W + b` on rows of a batch, and its gradients.
//!
//! The same microkernel as the convolutions. Long sums are cut into blocks that stay in cache; the chains go on from
//! the stored result, so that blocks change no bit.
//!
//! Sums of more than [`LONGEST_CHAIN`] elements are cut into parts, by a rule of their length alone, that are added in
//! double precision: the error grows with the square root of the length at most, and tiers and threads agree as ever.

use std::ops::Range;

use crate::conv::Epilogue;
use crate::kernels::{B, Element, Gemm, Job, Kernels, Offsets, RowGroups, Start, Store, pack};

/// Elements of a sum between two visits to the result: the packed block of one panel stays in L1 or L2.
const BLOCK: usize = 512;

/// Elements of a sum that are one chain, whatever their number up to here: about as many as the sums of convolutions
/// have.
const LONGEST_CHAIN: usize = 4096;

/// Rows and columns of a result whose parts are added up at a time, on the stack.
const ROWS: usize = 64;
const COLUMNS: usize = 32;

/// Elements of the parts of a long sum: so many that there are hardly more parts than elements of one.
fn part_of(len: usize) -> usize {
    len.isqrt().next_multiple_of(BLOCK).max(BLOCK)
}

/// A part of the result whose sums are long.
struct Totals<T> {
    part: [T; ROWS * COLUMNS],
    totals: [f64; ROWS * COLUMNS],
}

/// Adds a part to the totals.
struct Add<'a, T>(&'a mut [f64], &'a [T]);

impl<T: Element> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (total, part) in self.0.iter_mut().zip(self.1) {
            *total += part.to_f64();
        }
    }
}

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
            strides: [self.outputs, 1],
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
            strides: [1, self.outputs],
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
        if k > LONGEST_CHAIN {
            return self.multiply_long(a, packed, c, (k, n), epilogue);
        }
        for column in (0..n).step_by(panel) {
            let columns = panel.min(n - column);
            let mut from = 0;
            while from < k {
                let k_len = BLOCK.min(k - from);
                let start = match epilogue.bias {
                    _ if from > 0 => Start::Result,
                    Some(bias) => Start::Bias(&bias[column..column + columns]),
                    None => Start::Zero,
                };
                self.kernels.gemm(Gemm {
                    a,
                    b: B::Packed { b: &packed[column * k..], ps_b: k * panel, rs_a: k },
                    batch: &[Offsets { a: from, b: from * panel }],
                    k: k_len,
                    c: &mut c[column..],
                    rs_c: n,
                    m,
                    n: columns,
                    store: Store { start, relu: epilogue.relu && from + k_len == k, non_temporal: false },
                });
                from += k_len;
            }
        }
    }

    /// As [`Dense::multiply`], part by part of the sums.
    fn multiply_long(
        &self,
        a: &[T],
        packed: &[T],
        c: &mut [T],
        (k, n): (usize, usize),
        epilogue: Epilogue<'_, T>,
    ) {
        let panel = self.kernels.panel();
        for (a, c) in a.chunks(ROWS * k).zip(c.chunks_mut(ROWS * n)) {
            for column in (0..n).step_by(panel) {
                let weights = &packed[column * k..(column + panel) * k];
                let (m, columns) = (a.len() / k, panel.min(n - column));
                let bias = epilogue.bias.map(|bias| &bias[column..column + columns]);
                self.long((m, columns, k), bias, |elements, part| {
                    for from in elements.clone().step_by(BLOCK) {
                        self.kernels.gemm(Gemm {
                            a,
                            b: B::Packed { b: weights, ps_b: k * panel, rs_a: k },
                            batch: &[Offsets { a: from, b: from * panel }],
                            k: BLOCK.min(elements.end - from),
                            c: part,
                            rs_c: columns,
                            m,
                            n: columns,
                            store: Store::from(if from == elements.start {
                                Start::Zero
                            } else {
                                Start::Result
                            }),
                        });
                    }
                })
                .store(&mut c[column..], (m, columns, n), epilogue.relu);
            }
        }
    }

    /// Adds up the parts of sums of `k` elements; `part(elements, sums)` computes one.
    fn long(
        &self,
        (m, n, k): (usize, usize, usize),
        bias: Option<&[T]>,
        mut part: impl FnMut(Range<usize>, &mut [T]),
    ) -> Totals<T> {
        let mut sums = Totals { part: [T::ZERO; ROWS * COLUMNS], totals: [0.0; ROWS * COLUMNS] };
        for row in sums.totals[..m * n].chunks_exact_mut(n) {
            for (total, bias) in row.iter_mut().zip(bias.unwrap_or_default()) {
                *total = bias.to_f64();
            }
        }
        let len = part_of(k);
        for first in (0..k).step_by(len) {
            part(first..k.min(first + len), &mut sums.part);
            self.kernels.tier.vectorize(Add(&mut sums.totals[..m * n], &sums.part));
        }
        sums
    }

    /// Rows `inputs` of `dW = x^T dy` over all rows of the batch; `dweights` holds exactly these rows of `W`.
    pub fn kernel_grad(&self, x: &[T], dy: &[T], inputs: Range<usize>, dweights: &mut [T]) {
        let batch = dy.len() / self.outputs;
        if batch == 0 || inputs.is_empty() {
            dweights.fill(T::ZERO);
            return;
        }
        if batch > LONGEST_CHAIN {
            return self.kernel_grad_long(x, dy, inputs, dweights);
        }
        self.kernels.gemm(Gemm {
            a: &x[inputs.start..],
            b: B::InPlace { b: dy, rs_b: self.outputs, cs_a: self.inputs, row_groups: RowGroups::ONE },
            batch: &[Offsets { a: 0, b: 0 }],
            k: batch,
            c: dweights,
            rs_c: self.outputs,
            m: inputs.len(),
            n: self.outputs,
            store: Store::PLAIN,
        });
    }

    /// As [`Dense::kernel_grad`], part by part of the batch.
    fn kernel_grad_long(&self, x: &[T], dy: &[T], inputs: Range<usize>, dweights: &mut [T]) {
        let (batch, n, panel) = (dy.len() / self.outputs, self.outputs, self.kernels.panel());
        for (row, dweights) in inputs.clone().step_by(ROWS).zip(dweights.chunks_mut(ROWS * n)) {
            let m = ROWS.min(inputs.end - row);
            for column in (0..n).step_by(panel) {
                let columns = panel.min(n - column);
                self.long((m, columns, batch), None, |samples, part| {
                    self.kernels.gemm(Gemm {
                        a: &x[samples.start * self.inputs + row..],
                        b: B::InPlace {
                            b: &dy[samples.start * n + column..],
                            rs_b: n,
                            cs_a: self.inputs,
                            row_groups: RowGroups::ONE,
                        },
                        batch: &[Offsets { a: 0, b: 0 }],
                        k: samples.len(),
                        c: part,
                        rs_c: columns,
                        m,
                        n: columns,
                        store: Store::PLAIN,
                    });
                })
                .store(&mut dweights[column..], (m, columns, n), false);
            }
        }
    }
}

impl<T: Element> Totals<T> {
    /// Stores `m` rows of `columns` totals in a result with rows of `n`.
    fn store(&self, c: &mut [T], (m, columns, n): (usize, usize, usize), relu: bool) {
        for (c, totals) in c.chunks_mut(n).zip(self.totals[..m * columns].chunks_exact(columns)) {
            for (c, total) in c.iter_mut().zip(totals) {
                // NaN stays NaN.
                *c = if relu && *total <= 0.0 { T::ZERO } else { T::from_f64(*total) };
            }
        }
    }
}
