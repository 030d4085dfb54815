//! Convolution layers of every rank.

use std::ops::Range;

use super::activation::Named;
use super::{
    Backward, BatchOp, Context, FoldedNorm, Keeps, Layer, Op, Ranges, Site, Size, SplitOp, WeightSpec,
    spatial, window_shape,
};
use crate::activation::mask_by_sign;
use crate::conv::{
    self, Epilogue, Grad, GradOperands, KernelBlocks, Map, Operands, Pass, Region, Scratch, Sums,
    add_column_sums,
};
use crate::cuts;
use crate::engine::spec::ConvSpec;
use crate::error::{Error, Result};
use crate::geometry::{ConvGeometry, Window};
use crate::kernels::{Element, Tier};
use crate::memory;
use crate::norm::Affine;
use crate::tuning::step::{LARGE_BESIDE_MAP, NEAR_WEIGHTS, PART_POSITIONS};
use crate::tuning::{FOUR_TILES_ROWS, TASKS};

/// The description.
pub(super) struct Conv {
    spec: ConvSpec,
    rank: usize,
    activation: Named,
}

impl Conv {
    pub(super) fn new(spec: &ConvSpec, rank: usize) -> Result<Self> {
        Ok(Self { spec: spec.clone(), rank, activation: Named::parse(&spec.activation)? })
    }

    fn geometry(&self, input: &[usize]) -> Result<ConvGeometry> {
        let (sizes, channels) = input.split_at(self.rank);
        ConvGeometry::new(&self.spec.window(), sizes, channels[0], self.spec.filters, self.spec.groups)?
            .with_mode(self.spec.padding_mode)
    }
}

impl<T: Element> Layer<T> for Conv {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (sizes, _) = spatial(input, self.rank)?;
        let mut shape = window_shape(&self.spec.window(), sizes, Window::output)?;
        shape.push(Some(self.spec.filters));
        Ok(shape)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let (_, channels) = spatial(input, self.rank)?;
        let channels = known_channels(channels)?;
        let groups = self.spec.groups;
        if groups == 0 || channels == 0 || channels % groups != 0 {
            return Err(Error::shape(
                "input channels",
                format!("a positive multiple of groups={groups}"),
                channels,
            ));
        }
        let mut shape = self.spec.kernel_size.clone();
        shape.extend([channels / groups, self.spec.filters]);
        let mut weights = vec![WeightSpec::new("kernel", shape, &self.spec.kernel_initializer)];
        if self.spec.use_bias {
            weights.push(WeightSpec::new("bias", vec![self.spec.filters], &self.spec.bias_initializer));
        }
        Ok(weights)
    }

    fn macs(&self, input: &[usize]) -> usize {
        self.geometry(input).map_or(0, |g| g.macs())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let geometry = self.geometry(site.input)?;
        let shape: Vec<usize> =
            geometry.axes[3 - self.rank..].iter().map(|a| a.output).chain([self.spec.filters]).collect();
        let weights = site.weights.to_vec();
        conv_ops(geometry, Pass::Forward, weights, (self.activation, &shape), site)
    }
}

/// The number of channels, which must be known when weights are made.
pub(super) fn known_channels(channels: Size) -> Result<usize> {
    channels.filter(|&n| n > 0).ok_or_else(|| {
        let got = channels.map_or_else(|| "None".to_string(), |n| n.to_string());
        Error::shape("input channels", "a known positive number", got)
    })
}

/// A convolution whose forward pass is `pass` of a geometry, with kernel and, if there are two weights, bias; then an activation on outputs of a shape.
pub(super) fn conv_ops<T: Element>(
    geometry: ConvGeometry,
    pass: Pass,
    weights: Vec<Range<usize>>,
    (activation, shape): (Named, &[usize]),
    site: &Site<'_, T>,
) -> Result<Vec<Box<dyn Op<T>>>> {
    let &Site { kernels, algorithm, .. } = site;
    geometry.check_tables()?;
    let map = |pass: Pass| conv::map(pass, &geometry, kernels, algorithm);
    let (forward, input_grad) = (map(pass), map(pass.transposed()));
    let map_len: usize = pass.sample_lens(&geometry).iter().sum();
    let large = weights[0].len() >= NEAR_WEIGHTS.max(LARGE_BESIDE_MAP * map_len);
    let kernel_grad = conv::kernel_grad(&geometry, kernels, algorithm);
    let conv = ConvOp {
        pass,
        forward,
        input_grad,
        large,
        together: kernel_grad.blocks().is_some()
            || large
                && kernel_grad.tiling().weights == weights[0].len()
                && kernel_grad.tiling().weight_units() >= 2 * FOUR_TILES_ROWS,
        kernel_grad,
        geometry,
        weights,
        relu: activation.is_relu(),
        masked_behind: false,
        tier: kernels.tier,
    };
    let mut ops: Vec<Box<dyn Op<T>>> = vec![Box::new(conv)];
    if !activation.is_relu() && !activation.is_linear() {
        ops.push(activation.op(shape, kernels.tier)?);
    }
    Ok(ops)
}

struct ConvOp<T: Element> {
    geometry: ConvGeometry,
    pass: Pass,
    forward: Map<T>,
    input_grad: Map<T>,
    kernel_grad: Grad<T>,
    /// Kernel and, if there is one, bias.
    weights: Vec<Range<usize>>,
    /// Whether the weights are so large beside the map that reading them takes longer than a few samples.
    large: bool,
    /// Whether the gradient of the kernel is computed of all samples together.
    together: bool,
    relu: bool,
    /// Whether the pool after it applies the mask of the ReLU.
    masked_behind: bool,
    tier: Tier,
}

impl<T: Element> ConvOp<T> {
    fn masks(&self) -> bool {
        self.relu && !self.masked_behind
    }

    /// What the forward pass computes with: weights, bias, activation.
    fn operands<'a>(&self, cx: &Context<'a, T>) -> (&'a [T], Epilogue<'a, T>) {
        match cx.folded {
            None => {
                let bias = self.weights.get(1).map(|range| &cx.params[range.clone()]);
                (cx.packed, Epilogue { bias, relu: self.relu })
            }
            Some(FoldedNorm { relu }) => {
                let (packed, bias) = cx.packed.split_at(self.forward.tiling().weights);
                (packed, Epilogue { bias: Some(bias), relu })
            }
        }
    }

    /// Input and output gradient, or the other way round, as the sum over positions takes them.
    fn summed<'a>(&self, x: &'a [T], dy: &'a [T]) -> (&'a [T], &'a [T]) {
        if self.pass == Pass::InputGrad { (dy, x) } else { (x, dy) }
    }

    /// Runs a map of the step.
    fn run(
        plan: &Map<T>,
        (from, packed, epilogue): (&[T], &[T], Epilogue<'_, T>),
        to: &mut [T],
        region: &Region,
        scratch: &mut Scratch<T>,
    ) {
        plan.run(Operands { from, packed, epilogue, non_temporal: false }, to, region, scratch);
    }

    /// Adds a part of the gradient to the kernel.
    fn add(
        &self,
        (x, dy): (&[T], &[T]),
        region: &Region,
        (units, sums): (Range<usize>, &mut [T]),
        scratch: &mut Scratch<T>,
    ) {
        let operands = GradOperands { x, dy, non_temporal: false };
        self.kernel_grad.accumulate(operands, region, Sums { sums, units, from_zero: false }, scratch);
    }
}

impl<T: Element> Op<T> for ConvOp<T> {
    fn output_len(&self) -> usize {
        self.pass.sample_lens(&self.geometry)[1]
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: self.masks(), saved: 0 }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn packed_len(&self) -> [usize; 2] {
        [&self.forward, &self.input_grad].map(|plan| plan.tiling().weights)
    }

    fn pack_grain(&self, pass: usize) -> usize {
        [&self.forward, &self.input_grad][pass].tiling().weight_unit
    }

    fn pack(&self, pass: usize, params: &[T], first: usize, part: &mut [T]) {
        let plan = [&self.forward, &self.input_grad][pass];
        plan.pack(&params[self.weights[0].clone()], first, part);
    }

    fn sums_len(&self, weight: usize) -> usize {
        let len = self.weights[weight].len();
        if weight == 0 { self.kernel_grad.tiling().weights } else { len }
    }

    fn finish(&self, sums: &mut [T]) {
        self.kernel_grad.finish(&mut sums[..self.sums_len(0)]);
    }

    fn positions(&self) -> usize {
        self.geometry.output_len() / self.geometry.c_out
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn foldable(&self) -> Option<usize> {
        (!self.relu).then(|| self.output_len() / self.positions())
    }

    fn fold_batch_norm(&self, params: &[T], map: Affine<'_, T>, packed: &mut [T]) {
        let (packed, bias) = packed.split_at_mut(self.forward.tiling().weights);
        let mut kernel = memory::demand(memory::copied(&params[self.weights[0].clone()]));
        match self.pass {
            Pass::Forward | Pass::KernelGrad => map.scale_rows(&mut kernel),
            // The kernel is (.., c_out / groups, c_in): a row belongs to one output channel of every group.
            Pass::InputGrad => {
                let (inputs, groups) = (self.geometry.c_out, self.geometry.groups);
                let own = self.geometry.c_in / groups;
                for (i, row) in kernel.chunks_exact_mut(inputs).enumerate() {
                    for (group, part) in row.chunks_exact_mut(inputs / groups).enumerate() {
                        let scale = map.scale[group * own + i % own];
                        part.iter_mut().for_each(|k| *k = k.mul(scale));
                    }
                }
            }
        }
        self.forward.pack(&kernel, 0, packed);
        map.bias(self.weights.get(1).map(|range| &params[range.clone()]), bias);
    }

    fn masks_by_sign(&self) -> bool {
        self.masks()
    }

    fn leave_mask(&mut self) {
        self.masked_behind = true;
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], scratch: &mut Scratch<T>) {
        let (packed, epilogue) = self.operands(cx);
        Self::run(&self.forward, (x[0], packed, epilogue), y, &Region::Samples(cx.samples), scratch);
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, scratch: &mut Scratch<T>) {
        let Backward { x, y, dy, dx, grads, .. } = tensors;
        if self.masks() {
            mask_by_sign(self.tier, y, dy);
        }
        let samples = Region::Samples(cx.samples);
        if !self.together {
            let (dkernel, dbias) = grads.split_at_mut(self.sums_len(0));
            let all = 0..self.kernel_grad.tiling().weight_units();
            self.add(self.summed(x[0], dy), &samples, (all, dkernel), scratch);
            add_column_sums(self.tier, dy, dbias);
        }
        let [Some(dx)] = dx else { return };
        Self::run(&self.input_grad, (dy, cx.packed, Epilogue::NONE), dx, &samples, scratch);
    }

    fn split(&self) -> Option<&dyn SplitOp<T>> {
        Some(self)
    }

    fn batch(&self) -> Option<&dyn BatchOp<T>> {
        self.together.then_some(self)
    }
}

impl<T: Element> ConvOp<T> {
    /// Rows of the kernel that a task of its gradient has.
    fn task_rows(&self) -> usize {
        let rows = self.kernel_grad.tiling().weight_units();
        cuts::even_task(rows, cuts::kernel_tasks(rows).min(TASKS))
    }
}

impl<T: Element> BatchOp<T> for ConvOp<T> {
    fn maps_batch(&self) -> bool {
        self.large
    }

    fn least_samples(&self) -> usize {
        let tilings = [&self.forward, &self.input_grad].map(|plan| plan.tiling());
        tilings
            .map(|tiling| tiling.least_units.div_ceil(tiling.units().max(1)))
            .into_iter()
            .max()
            .unwrap_or(1)
    }

    fn grad_macs(&self) -> usize {
        self.geometry.macs()
    }

    fn part_positions(&self) -> Option<usize> {
        Some(PART_POSITIONS)
    }

    fn grad_tasks(&self) -> usize {
        let tasks = || self.kernel_grad.tiling().weight_units().div_ceil(self.task_rows());
        self.kernel_grad.blocks().map_or_else(tasks, |blocks| blocks.count())
    }

    fn grad_ranges(&self, task: usize) -> [Range<usize>; 2] {
        // The first task has the bias as well.
        let bias = self.weights.get(1).filter(|_| task == 0).cloned().unwrap_or(0..0);
        if self.kernel_grad.blocks().is_some() {
            return [0..0, bias];
        }
        let (kernel, per_task) = (&self.weights[0], self.task_rows() * self.kernel_grad.tiling().weight_unit);
        let start = kernel.start + task * per_task;
        [start..(start + per_task).min(kernel.end), bias]
    }

    fn grad(&self, (x, dy): (&[T], &[T]), range: Range<usize>, grads: &mut [T], scratch: &mut Scratch<T>) {
        if self.weights.get(1) == Some(&range) {
            grads.fill(T::ZERO);
            add_column_sums(self.tier, dy, grads);
            return;
        }
        let (unit, start) = (self.kernel_grad.tiling().weight_unit, self.weights[0].start);
        let units = (range.start - start) / unit..(range.end - start) / unit;
        let samples = Region::Samples(dy.len() / self.output_len());
        let (x, dy) = self.summed(x, dy);
        let operands = GradOperands { x, dy, non_temporal: false };
        self.kernel_grad.accumulate(
            operands,
            &samples,
            Sums { sums: grads, units, from_zero: true },
            scratch,
        );
    }

    fn grad_blocks(&self) -> Option<KernelBlocks> {
        self.kernel_grad.blocks()
    }

    fn grad_block(&self, (x, dy): (&[T], &[T]), block: usize, grads: &mut [T], scratch: &mut Scratch<T>) {
        let (x, dy) = self.summed(x, dy);
        let operands = GradOperands { x, dy, non_temporal: false };
        self.kernel_grad.block(operands, block, grads, scratch);
    }
}

impl<T: Element> SplitOp<T> for ConvOp<T> {
    fn macs(&self) -> usize {
        self.geometry.macs()
    }

    fn units(&self) -> [(usize, usize, usize); 2] {
        let tilings = [&self.forward, &self.input_grad].map(|plan| plan.tiling());
        tilings.map(|tiling| (tiling.len(), tiling.unit, tiling.least_units))
    }

    fn grad_unit(&self) -> (usize, usize) {
        (self.geometry.output_len(), self.kernel_grad.tiling().unit)
    }

    fn kernel_rows(&self) -> usize {
        self.kernel_grad.tiling().weight_units()
    }

    fn forward_region(&self, cx: &Context<'_, T>, x: &[T], y: (&mut [T], usize), scratch: &mut Scratch<T>) {
        let (packed, epilogue) = self.operands(cx);
        let (to, first) = y;
        let region = Region::Elements(first..first + to.len());
        Self::run(&self.forward, (x, packed, epilogue), to, &region, scratch);
    }

    fn mask(&self, y: &[T], dy: &mut [T]) {
        mask_by_sign(self.tier, y, dy);
    }

    fn input_grad_region(
        &self,
        cx: &Context<'_, T>,
        dy: &[T],
        (dx, first): (&mut [T], usize),
        scratch: &mut Scratch<T>,
    ) {
        let region = Region::Elements(first..first + dx.len());
        Self::run(&self.input_grad, (dy, cx.packed, Epilogue::NONE), dx, &region, scratch);
    }

    fn kernel_grad_piece(
        &self,
        (x, dy): (&[T], &[T]),
        elements: Range<usize>,
        kernel: Range<usize>,
        dkernel: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let (from, to) = self.summed(x, dy);
        let to = &to[elements.clone()];
        self.add((from, to), &Region::Elements(elements), (kernel, dkernel), scratch);
    }

    fn finish_piece(&self, sums: &mut [T]) {
        self.kernel_grad.finish(sums);
    }

    fn bias_grad(&self, dy: &[T], dbias: &mut [T]) {
        add_column_sums(self.tier, dy, dbias);
    }
}
