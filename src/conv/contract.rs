//! The contract between a planned convolution and those who run it: how its results may be cut, what it is given, and the
//! six methods of its two kinds, [`MapPlan`] and [`GradPlan`].

use std::ops::Range;

use super::Scratch;
use super::halo::Extent;
use super::scratch::Request;
use crate::geometry::{AXES, Axis, ConvGeometry, Residues};
use crate::kernels::Element;

/// A pass of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input; the forward pass of the transposed convolution.
    InputGrad,
    /// From the input and the gradient of the output to that of the kernel.
    KernelGrad,
}

impl Pass {
    /// The same pass of the transposed convolution of a geometry.
    #[must_use]
    pub fn transposed(self) -> Self {
        match self {
            Self::Forward => Self::InputGrad,
            Self::InputGrad => Self::Forward,
            Self::KernelGrad => Self::KernelGrad,
        }
    }

    /// What belongs to the input and what to the output, as the source of the pass and its result. The gradient to the
    /// kernel has taps that read as those of the forward pass do.
    fn ends<E>(self, [input, output]: [E; 2]) -> [E; 2] {
        match self {
            Self::Forward | Self::KernelGrad => [input, output],
            Self::InputGrad => [output, input],
        }
    }

    /// Channels of the source and of the result.
    pub fn channels(self, g: &ConvGeometry) -> [usize; 2] {
        self.ends([g.c_in, g.c_out])
    }

    /// Channels of a group, of the source and of the result.
    pub(super) fn group_channels(self, g: &ConvGeometry) -> [usize; 2] {
        self.channels(g).map(|channels| channels / g.groups)
    }

    /// Elements of a sample, of the source and of the result.
    pub fn sample_lens(self, g: &ConvGeometry) -> [usize; 2] {
        self.ends([g.input_len(), g.output_len()])
    }

    /// Sizes of the source and of the result.
    pub(super) fn extents(self, g: &ConvGeometry) -> [Extent; 2] {
        let sizes: [fn(&Axis) -> usize; 2] = self.ends([|axis| axis.input, |axis| axis.output]);
        let channels = self.channels(g);
        [0, 1].map(|end| {
            let [planes, rows, columns] = g.axes.each_ref().map(sizes[end]);
            Extent { planes, rows, columns, channels: channels[end] }
        })
    }

    /// What the axes of the result read of those of the source.
    pub(super) fn axes(self, g: &ConvGeometry) -> [Residues; AXES] {
        match self {
            Self::Forward | Self::KernelGrad => g.axes.each_ref().map(Residues::forward),
            Self::InputGrad => g.axes.each_ref().map(Residues::input_grad),
        }
    }
}

/// How results and weights may be cut: plain data, computed once with the plan.
///
/// A result is rows (depth times height) of columns of channels. It is cut into *units*: some rows, or, where it is a single
/// row (a series), some of its columns. Of the gradient to the kernel, the result is that of the forward pass, whose
/// gradient is summed over.
#[derive(Debug, Clone, Default)]
pub struct Tiling {
    /// Rows of a result.
    pub rows: usize,
    /// Columns of a row.
    pub columns: usize,
    /// Elements of a column.
    pub channels: usize,
    /// Elements at whose multiples a result had best be cut: no work is done twice.
    pub unit: usize,
    /// Units of a task at least, if there are enough: with fewer, reading the weights takes longer than the arithmetic.
    /// More than a result has are those of several.
    pub least_units: usize,
    /// Elements of the packed weights, or of the sums of the gradient to the kernel.
    pub weights: usize,
    /// Elements of these at whose multiples they may be cut: each part is packed, or summed up, alone.
    pub weight_unit: usize,
    /// Memory that a run needs.
    pub scratch: Request,
}

impl Tiling {
    /// Results of some rows and columns, cut into units of `[rows, columns]`; weights that are not cut.
    pub(super) fn new(
        [rows, columns, channels]: [usize; 3],
        unit: [usize; 2],
        weights: usize,
        scratch: Request,
    ) -> Self {
        let unit = if rows == 1 { unit[1] * channels } else { unit[0] * columns * channels };
        let (unit, least_units) = (unit.max(1), 1);
        Self { rows, columns, channels, unit, least_units, weights, weight_unit: weights, scratch }
    }

    /// Elements of a row.
    pub fn row_len(&self) -> usize {
        self.columns * self.channels
    }

    /// Elements of a result.
    #[expect(clippy::len_without_is_empty, reason = "a result has elements")]
    pub fn len(&self) -> usize {
        self.rows * self.row_len()
    }

    /// Units of a result.
    pub fn units(&self) -> usize {
        self.len().div_ceil(self.unit)
    }

    /// Parts that the weights can be cut into.
    pub fn weight_units(&self) -> usize {
        self.weights / self.weight_unit.max(1)
    }

    /// All of a result.
    pub fn whole(&self) -> Part {
        Part { rows: 0..self.rows, columns: 0..self.columns }
    }

    /// The part of a result that some of its elements are: whole rows, or whole columns of a single row.
    ///
    /// # Panics
    /// They are neither.
    pub fn part(&self, elements: &Range<usize>) -> Part {
        let cut = |len: usize| {
            let cut = elements.start / len..elements.end / len;
            assert_eq!(cut.start * len..cut.end * len, *elements, "results are cut between rows or columns");
            cut
        };
        if self.rows == 1 {
            Part { rows: 0..1, columns: cut(self.channels) }
        } else {
            Part { rows: cut(self.row_len().max(1)), columns: 0..self.columns }
        }
    }

    /// How many single results a region has, and which part of each.
    pub(super) fn parts(&self, region: &Region) -> (usize, Part) {
        match region {
            Region::Samples(samples) => (*samples, self.whole()),
            Region::Elements(elements) => (1, self.part(elements)),
        }
    }

    /// The single results of a region, each with what it is computed from.
    pub(super) fn results<'a, T>(
        &self,
        from: &'a [T],
        to: &'a mut [T],
        region: &Region,
    ) -> impl Iterator<Item = (&'a [T], &'a mut [T], Part)> + use<'a, T> {
        let (count, part) = self.parts(region);
        let lens = [from.len(), to.len()].map(|len| len / count.max(1));
        let results = to.chunks_exact_mut(lens[1].max(1)).enumerate();
        results.map(move |(i, to)| (&from[i * lens[0]..(i + 1) * lens[0]], to, part.clone()))
    }

    /// The single gradients of results of a region, each with its input.
    pub(super) fn grads<'a, T>(
        &self,
        x: &'a [T],
        dy: &'a [T],
        region: &Region,
    ) -> impl Iterator<Item = (&'a [T], &'a [T], Part)> + use<'a, T> {
        let (count, part) = self.parts(region);
        let lens = [x.len(), dy.len()].map(|len| len / count.max(1));
        let results = dy.chunks_exact(lens[1].max(1)).enumerate();
        results.map(move |(i, dy)| (&x[i * lens[0]..(i + 1) * lens[0]], dy, part.clone()))
    }
}

/// A part of a result: all columns of some rows, or some columns of a single row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Rows (depth times height).
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
}

/// What is computed by one run, and what a tensor of results holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Region {
    /// The results of this many samples.
    Samples(usize),
    /// Some elements of one result: whole rows, or whole columns of a single row.
    Elements(Range<usize>),
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// One value per output channel, which the sums start from.
    pub bias: Option<&'a [T]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<T> Epilogue<'_, T> {
    /// Nothing.
    pub const NONE: Self = Self { bias: None, relu: false };
}

/// What a map is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a, T> {
    /// The samples of the region, each as a whole.
    pub from: &'a [T],
    /// All packed weights.
    pub packed: &'a [T],
    /// What happens to the sums.
    pub epilogue: Epilogue<'a, T>,
    /// Whether the tensors of the call are larger than the cache. Algorithms that are bound by memory then ask for their
    /// operands ahead, and store past the cache; results have the same bytes.
    pub non_temporal: bool,
}

/// What the gradient to the kernel is summed up from.
#[derive(Debug, Clone, Copy)]
pub struct GradOperands<'a, T> {
    /// The inputs of the region, each as a whole.
    pub x: &'a [T],
    /// The gradient of what the region holds, and nothing else.
    pub dy: &'a [T],
    /// As [`Operands::non_temporal`].
    pub non_temporal: bool,
}

/// Where the gradient to the kernel is summed up.
#[derive(Debug)]
pub struct Sums<'a, T> {
    /// The sums of some parts, and nothing else.
    pub sums: &'a mut [T],
    /// These parts, of [`Tiling::weight_units`].
    pub units: Range<usize>,
    /// Whether the sums start from zero, whatever they hold; else they go on.
    pub from_zero: bool,
}

impl<T: Element> Sums<'_, T> {
    /// Makes zeros of sums that start from zero, for an algorithm that adds to what is there.
    pub(super) fn begin(&mut self) {
        if std::mem::take(&mut self.from_zero) {
            self.sums.fill(T::ZERO);
        }
    }
}

/// Blocks of a kernel whose gradient is computed one by one: all taps of some input and some output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelBlocks {
    /// Taps of the kernel.
    pub taps: usize,
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Those of a block.
    pub block: [usize; 2],
}

impl KernelBlocks {
    /// Blocks.
    pub fn count(&self) -> usize {
        let [rows, columns] = self.counts();
        rows * columns
    }

    /// Blocks of input channels, and of output channels.
    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|side| self.channels[side] / self.block[side])
    }

    /// Elements of a block.
    pub fn block_len(&self) -> usize {
        self.rows() * self.block[1]
    }

    /// First input and first output channel of a block.
    pub fn first(&self, block: usize) -> [usize; 2] {
        let columns = self.counts()[1];
        [block / columns * self.block[0], block % columns * self.block[1]]
    }

    /// The block, and its row, that has the elements from `element` of the kernel on, up to its next output channels.
    pub fn at(&self, element: usize) -> (usize, usize) {
        let [inputs, outputs] = self.channels;
        let (row, column) = (element / outputs, element % outputs);
        let (tap, input) = (row / inputs, row % inputs);
        let block = input / self.block[0] * self.counts()[1] + column / self.block[1];
        (block, tap * self.block[0] + input % self.block[0])
    }

    /// Rows of a block: its input channels, tap by tap.
    pub fn rows(&self) -> usize {
        self.taps * self.block[0]
    }

    /// A row of a block, as elements of the kernel.
    pub fn row(&self, block: usize, row: usize) -> Range<usize> {
        let [input, output] = self.first(block);
        let (tap, own) = (row / self.block[0], row % self.block[0]);
        let start = (tap * self.channels[0] + input + own) * self.channels[1] + output;
        start..start + self.block[1]
    }

    /// All rows, block by block: the number of the block, and the elements of the kernel.
    pub fn all_rows(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let blocks = *self;
        (0..blocks.count())
            .flat_map(move |block| (0..blocks.rows()).map(move |row| (block, blocks.row(block, row))))
    }
}

/// A pass that maps a tensor to a tensor with packed weights: forward, or the gradient to the input.
///
/// The bytes of a result depend neither on regions nor on what stands in the scratch.
pub trait MapPlan<T: Element>: Send + Sync {
    /// How its results and packed weights may be cut.
    fn tiling(&self) -> &Tiling;

    /// Packs a part of a kernel of shape `(k_d, k_h, k_w, c_in / groups, c_out)`: what stands from element `first` of the
    /// packed weights on, in multiples of [`Tiling::weight_unit`].
    fn pack(&self, kernel: &[T], first: usize, part: &mut [T]);

    /// Computes a region; `to` holds exactly this.
    fn run(&self, operands: Operands<'_, T>, to: &mut [T], region: &Region, scratch: &mut Scratch<T>);
}

/// A pass that sums up the gradient to the kernel.
///
/// Regions of whole units in their order, in any partition, give the same bytes.
pub trait GradPlan<T: Element>: Send + Sync {
    /// How the gradients of results, and the sums, may be cut.
    fn tiling(&self) -> &Tiling;

    /// Adds what a region contributes to the sums of some parts of the kernel.
    fn accumulate(
        &self,
        operands: GradOperands<'_, T>,
        region: &Region,
        sums: Sums<'_, T>,
        scratch: &mut Scratch<T>,
    );

    /// Makes the gradient of complete sums, in the first elements, laid out as the kernel is. Of most algorithms the sums
    /// are the gradient.
    fn finish(&self, sums: &mut [T]) {
        let _ = sums;
    }

    /// The blocks of the kernel, if the gradient is best computed block by block, each over many samples at once.
    fn blocks(&self) -> Option<KernelBlocks> {
        None
    }

    /// Writes what the samples of the operands contribute to a block of [`GradPlan::blocks`], tap by tap.
    fn block(
        &self,
        operands: GradOperands<'_, T>,
        block: usize,
        gradient: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let _ = (operands, block, gradient, scratch);
        unreachable!("a plan without blocks");
    }
}

/// A planned map of tensors.
pub type Map<T> = Box<dyn MapPlan<T>>;
/// A planned gradient to the kernel.
pub type Grad<T> = Box<dyn GradPlan<T>>;

/// A planned pass.
pub(super) enum Plan<T: Element> {
    Map(Map<T>),
    Grad(Grad<T>),
}

impl<T: Element> Plan<T> {
    pub(super) fn of_map(plan: impl MapPlan<T> + 'static) -> Self {
        Self::Map(Box::new(plan))
    }

    pub(super) fn of_grad(plan: impl GradPlan<T> + 'static) -> Self {
        Self::Grad(Box::new(plan))
    }

    pub(super) fn map(self) -> Option<Map<T>> {
        match self {
            Self::Map(plan) => Some(plan),
            Self::Grad(_) => None,
        }
    }

    pub(super) fn grad(self) -> Option<Grad<T>> {
        match self {
            Self::Map(_) => None,
            Self::Grad(plan) => Some(plan),
        }
    }
}
