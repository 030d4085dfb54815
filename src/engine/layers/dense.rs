//! The dense layer, on the last axis of its input.

use std::ops::Range;

use super::activation::Named;
use super::{Backward, BatchOp, Context, FoldedNorm, Keeps, Layer, Op, Ranges, Site, Size, WeightSpec};
use crate::activation::mask_by_sign;
use crate::conv::{Epilogue, Scratch, add_column_sums};
use crate::dense::Dense;
use crate::engine::spec::DenseSpec;
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::norm::Affine;
use crate::tuning::FOUR_TILES_ROWS;
use crate::tuning::step::{NEAR_WEIGHTS, PART_ROWS};

/// The description.
pub(super) struct DenseLayer {
    spec: DenseSpec,
    activation: Named,
}

impl DenseLayer {
    pub(super) fn new(spec: &DenseSpec) -> Result<Self> {
        Ok(Self { spec: spec.clone(), activation: Named::parse(&spec.activation)? })
    }

    /// Size of the last axis.
    fn inputs(input: &[Size]) -> Result<usize> {
        match input.last() {
            Some(Some(n)) if *n > 0 => Ok(*n),
            Some(Some(_)) => Err(Error::shape("last axis of the input", "at least 1 element", 0)),
            Some(None) => Err(Error::shape(
                "last axis of the input",
                "a known size (set all sizes in Input, or pool globally instead of Flatten)",
                "None",
            )),
            None => Err(Error::shape("input", "at least 2 axes (batch, features)", "(batch,)")),
        }
    }
}

impl<T: Element> Layer<T> for DenseLayer {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        Self::inputs(input)?;
        let mut shape = input.to_vec();
        shape.pop();
        shape.push(Some(self.spec.units));
        Ok(shape)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let inputs = Self::inputs(input)?;
        let units = self.spec.units;
        if units == 0 {
            return Err(Error::value("units", "a positive integer", 0));
        }
        let mut weights = vec![WeightSpec::new("kernel", vec![inputs, units], &self.spec.kernel_initializer)];
        if self.spec.use_bias {
            weights.push(WeightSpec::new("bias", vec![units], &self.spec.bias_initializer));
        }
        Ok(weights)
    }

    fn macs(&self, input: &[usize]) -> usize {
        input.iter().product::<usize>().saturating_mul(self.spec.units)
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let inputs = site.input[site.input.len() - 1];
        let positions: usize = site.input[..site.input.len() - 1].iter().product();
        let units = self.spec.units;
        let mut ops: Vec<Box<dyn Op<T>>> = vec![Box::new(DenseOp {
            dense: Dense::new(inputs, units, site.kernels),
            inputs,
            units,
            positions,
            weights: site.weights.to_vec(),
            relu: self.activation.is_relu(),
            tier: site.kernels.tier,
        })];
        if !self.activation.is_relu() && !self.activation.is_linear() {
            let shape: Vec<usize> =
                site.input[..site.input.len() - 1].iter().copied().chain([units]).collect();
            ops.push(self.activation.op(&shape, site.kernels.tier)?);
        }
        Ok(ops)
    }
}

struct DenseOp<T: Element> {
    dense: Dense<T>,
    inputs: usize,
    units: usize,
    /// Rows of a sample: 1, or the positions before the last axis.
    positions: usize,
    /// Kernel and, if there is one, bias.
    weights: Vec<Range<usize>>,
    relu: bool,
    tier: Tier,
}

impl<T: Element> Op<T> for DenseOp<T> {
    fn output_len(&self) -> usize {
        self.positions * self.units
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: self.relu, saved: 0 }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn packed_len(&self) -> [usize; 2] {
        [self.dense.packed_len(), self.dense.transposed_len()]
    }

    fn pack_grain(&self, _: usize) -> usize {
        self.dense.pack_grain()
    }

    fn pack(&self, pass: usize, params: &[T], first: usize, part: &mut [T]) {
        let weights = &params[self.weights[0].clone()];
        if pass == 0 {
            self.dense.pack(weights, first, part);
        } else {
            self.dense.pack_transposed(weights, first, part);
        }
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn foldable(&self) -> Option<usize> {
        (!self.relu).then_some(self.units)
    }

    fn fold_batch_norm(&self, params: &[T], map: Affine<'_, T>, packed: &mut [T]) {
        let (packed, bias) = packed.split_at_mut(self.dense.packed_len());
        let mut kernel = params[self.weights[0].clone()].to_vec();
        map.scale_rows(&mut kernel);
        self.dense.pack(&kernel, 0, packed);
        map.bias(self.weights.get(1).map(|range| &params[range.clone()]), bias);
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        match cx.folded {
            None => {
                let bias = self.weights.get(1).map(|range| &cx.params[range.clone()]);
                self.dense.forward(x[0], cx.packed, y, Epilogue { bias, relu: self.relu });
            }
            Some(FoldedNorm { relu }) => {
                let (packed, bias) = cx.packed.split_at(self.dense.packed_len());
                self.dense.forward(x[0], packed, y, Epilogue { bias: Some(bias), relu });
            }
        }
    }

    /// Masks `dy` and computes `dx`; the weights' gradient is the batch op's.
    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { y, dy, dx, .. } = tensors;
        if self.relu {
            mask_by_sign(self.tier, y, dy);
        }
        if let [Some(dx)] = dx {
            self.dense.input_grad(dy, cx.packed, dx);
        }
    }

    fn batch(&self) -> Option<&dyn BatchOp<T>> {
        Some(self)
    }
}

impl<T: Element> DenseOp<T> {
    /// Rows of the kernel whose gradient some tasks compute.
    fn task_rows(&self, tasks: &Range<usize>) -> Range<usize> {
        let [start, end] = [tasks.start, tasks.end].map(|task| (task * FOUR_TILES_ROWS).min(self.inputs));
        start..end
    }
}

impl<T: Element> BatchOp<T> for DenseOp<T> {
    fn grad_macs(&self) -> usize {
        self.positions.saturating_mul(self.inputs).saturating_mul(self.units)
    }

    fn part_positions(&self) -> Option<usize> {
        (self.weights[0].len() <= NEAR_WEIGHTS).then_some(PART_ROWS)
    }

    fn grad_tasks(&self) -> usize {
        self.inputs.div_ceil(FOUR_TILES_ROWS)
    }

    fn columns(&self, tasks: &Range<usize>) -> Option<(usize, Range<usize>)> {
        Some((self.inputs, self.task_rows(tasks)))
    }

    fn grad_ranges(&self, task: usize) -> [Range<usize>; 2] {
        let start = self.weights[0].start;
        let rows = self.task_rows(&(task..task + 1));
        let kernel = start + rows.start * self.units..start + rows.end * self.units;
        // The first task has the bias as well.
        let bias = self.weights.get(1).filter(|_| task == 0).cloned();
        [kernel, bias.unwrap_or(0..0)]
    }

    fn grad(&self, (x, dy): (&[T], &[T]), range: Range<usize>, grads: &mut [T], _: &mut Scratch<T>) {
        if self.weights.get(1) == Some(&range) {
            grads.fill(T::ZERO);
            add_column_sums(self.tier, dy, grads);
            return;
        }
        let first = (range.start - self.weights[0].start) / self.units;
        self.dense.kernel_grad(x, dy, first..first + range.len() / self.units, grads);
    }
}
