//! A layer that acts on every slice along the first axis of a sample: a sample is several samples of that layer.

use std::ops::Range;

use super::{Backward, BatchOp, Context, Keeps, Layer, Op, Ranges, Site, Size, WeightSpec};
use crate::conv::{KernelBlocks, Scratch};
use crate::engine::shape_text;
use crate::engine::spec::L1L2;
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::norm::Affine;

/// The description: the layer that is applied.
pub(super) struct TimeDistributed<T: Element>(pub(super) Box<dyn Layer<T>>);

/// The first axis, and what is left of a shape.
fn split(input: &[Size]) -> Result<(Size, &[Size])> {
    match input {
        [time, rest @ ..] if !rest.is_empty() => Ok((*time, rest)),
        _ => Err(Error::shape("input", "at least 3 axes (batch, time, ...)", shape_text(input))),
    }
}

impl<T: Element> Layer<T> for TimeDistributed<T> {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (time, slice) = split(input)?;
        let mut output = self.0.output_shape(slice)?;
        output.insert(0, time);
        Ok(output)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        self.0.weights(split(input)?.1)
    }

    fn macs(&self, input: &[usize]) -> usize {
        self.0.macs(&input[1..]).saturating_mul(input[0])
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let times = site.input[0];
        let ops = self.0.ops(&Site { input: &site.input[1..], ..*site })?;
        let wrapped = ops.into_iter().map(|op| -> Result<Box<dyn Op<T>>> {
            if op.statistics().is_some() || op.custom().is_some() {
                let expected = "a layer of the engine that treats samples one by one";
                let got = "one that looks at the batch, or is written in Python";
                return Err(Error::value("layer", expected, got));
            }
            Ok(Box::new(Distributed { op, times }))
        });
        wrapped.collect()
    }
}

/// An op whose samples are `times` samples of another one.
struct Distributed<T: Element> {
    op: Box<dyn Op<T>>,
    times: usize,
}

impl<T: Element> Distributed<T> {
    fn context<'a>(&self, cx: &Context<'a, T>) -> Context<'a, T> {
        Context {
            first: cx.first * self.times,
            samples: cx.samples * self.times,
            batch: cx.batch * self.times,
            ..*cx
        }
    }
}

impl<T: Element> Op<T> for Distributed<T> {
    fn output_len(&self) -> usize {
        self.times * self.op.output_len()
    }

    fn keeps(&self) -> Keeps {
        let keeps = self.op.keeps();
        Keeps { saved: self.times * keeps.saved, ..keeps }
    }

    fn weights(&self) -> &Ranges {
        self.op.weights()
    }

    fn sums_len(&self, weight: usize) -> usize {
        self.op.sums_len(weight)
    }

    fn finish(&self, sums: &mut [T]) {
        self.op.finish(sums);
    }

    fn packed_len(&self) -> [usize; 2] {
        self.op.packed_len()
    }

    fn pack_grain(&self, pass: usize) -> usize {
        self.op.pack_grain(pass)
    }

    fn pack(&self, pass: usize, params: &[T], first: usize, part: &mut [T]) {
        self.op.pack(pass, params, first, part);
    }

    fn positions(&self) -> usize {
        self.times * self.op.positions()
    }

    fn is_relu(&self) -> bool {
        self.op.is_relu()
    }

    fn take_relu(&mut self) -> bool {
        self.op.take_relu()
    }

    fn foldable(&self) -> Option<usize> {
        self.op.foldable()
    }

    fn fold_batch_norm(&self, params: &[T], map: Affine<'_, T>, packed: &mut [T]) {
        self.op.fold_batch_norm(params, map, packed);
    }

    fn masks_by_sign(&self) -> bool {
        self.op.masks_by_sign()
    }

    fn leave_mask(&mut self) {
        self.op.leave_mask();
    }

    fn take_mask(&mut self) -> bool {
        self.op.take_mask()
    }

    fn activity(&self) -> Option<L1L2> {
        self.op.activity()
    }

    fn idle_at_inference(&self) -> bool {
        self.op.idle_at_inference()
    }

    fn rearranges(&self) -> bool {
        self.op.rearranges() || self.op.moves().is_some()
    }

    fn forward(
        &self,
        cx: &Context<'_, T>,
        x: &[&[T]],
        y: &mut [T],
        saved: &mut [u8],
        scratch: &mut Scratch<T>,
    ) {
        self.op.forward(&self.context(cx), x, y, saved, scratch);
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>) {
        self.op.backward(&self.context(cx), tensors, scratch);
    }

    fn batch(&self) -> Option<&dyn BatchOp<T>> {
        self.op.batch().map(|_| self as &dyn BatchOp<T>)
    }
}

/// The inner op reads the number of its samples off the tensors.
impl<T: Element> BatchOp<T> for Distributed<T> {
    fn maps_batch(&self) -> bool {
        self.op.batch().is_some_and(|op| op.maps_batch())
    }

    fn grad_macs(&self) -> usize {
        self.op.batch().map_or(0, |op| op.grad_macs().saturating_mul(self.times))
    }

    fn part_positions(&self) -> Option<usize> {
        self.op.batch()?.part_positions()
    }

    fn columns(&self, tasks: &Range<usize>) -> Option<(usize, Range<usize>)> {
        self.op.batch()?.columns(tasks)
    }

    fn grad_tasks(&self) -> usize {
        self.op.batch().map_or(0, |op| op.grad_tasks())
    }

    fn grad_ranges(&self, task: usize) -> [Range<usize>; 2] {
        self.op.batch().map_or([0..0, 0..0], |op| op.grad_ranges(task))
    }

    fn grad(&self, operands: (&[T], &[T]), range: Range<usize>, grads: &mut [T], scratch: &mut Scratch<T>) {
        if let Some(op) = self.op.batch() {
            op.grad(operands, range, grads, scratch);
        }
    }

    fn grad_blocks(&self) -> Option<KernelBlocks> {
        self.op.batch().and_then(|op| op.grad_blocks())
    }

    fn grad_block(&self, operands: (&[T], &[T]), block: usize, grads: &mut [T], scratch: &mut Scratch<T>) {
        if let Some(op) = self.op.batch() {
            op.grad_block(operands, block, grads, scratch);
        }
    }
}
