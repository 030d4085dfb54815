//! Convolutions on a batch: plain, transposed, depthwise and separable, with their gradients.
//!
//! Forward and to the input, a task is some rows of a sample. To the kernel, a task is a chunk of all rows of all
//! samples, summed into a buffer of its own; the buffers are added up in their order. Chunks depend on the shapes alone.
//! Memory besides the results (packed weights, partial sums, bands of a few rows) is kept for the next call.

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::workspace::{self, Operand, Worker, Workspace, room};
use super::{expect_shape, in_order, join_shape, out_slice, split_shape};
use crate::activation::Activation;
use crate::conv::{Accumulation, Correlation, Epilogue};
use crate::error::{Error, Result};
use crate::geometry::{AXES, Axis, ConvGeometry, Padding, PaddingMode, Window};
use crate::kernels::{Job, Kernels, Tier};
use crate::parallel::{self, Cut, Interrupt, Parts, for_each_part, lock};

/// Multiply-adds below which no other thread is woken up: some 10 microseconds of one.
const SERIAL_MACS: usize = 1 << 20;
/// Multiply-adds of a task, if there are enough: some 10 to 80 microseconds.
const TASK_MACS: [usize; 2] = [1 << 20, 8 << 20];
/// Chunks of a kernel gradient at most.
const MOST_CHUNKS: usize = 16;
/// Chunks that are made even if adding up their buffers shows: two for each of two threads.
const FEW_CHUNKS: usize = 4;
/// Positions of a chunk that pay for adding up its buffer, and the fewest for one of a few.
const CHUNK_POSITIONS: [usize; 2] = [400, 64];
/// Bytes of all partial sums together, at least one chunk's.
const PARTIAL_BYTES: usize = 64 << 20;
/// Elements of a task that adds up partial sums.
const REDUCE_ELEMENTS: usize = 1 << 14;

/// Which convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvKind {
    /// Kernel `(*k, c_in / groups, c_out)`.
    Plain,
    /// The gradient of a plain one to its input; kernel `(*k, c_out / groups, c_in)`.
    Transposed,
    /// Every channel alone; kernel `(*k, c_in, multiplier)`.
    Depthwise,
}

/// How a kernel slides over the input; numbers per axis of the user's rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvOptions {
    /// Steps between outputs.
    pub strides: Vec<usize>,
    /// Extension of the borders, or what a transposed convolution crops.
    pub padding: Padding,
    /// What the borders are extended with.
    pub padding_mode: PaddingMode,
    /// Steps between taps.
    pub dilation_rate: Vec<usize>,
    /// Groups of channels.
    pub groups: usize,
    /// Additional size of a transposed convolution.
    pub output_padding: Option<Vec<usize>>,
}

impl ConvOptions {
    fn window(&self, kernel: &[usize]) -> Window {
        Window {
            kernel: kernel.to_vec(),
            stride: self.strides.clone(),
            dilation: self.dilation_rate.clone(),
            padding: self.padding.clone(),
        }
    }
}

/// A convolution of a batch: all its shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvBatch {
    kind: ConvKind,
    pub(super) geometry: ConvGeometry,
    pub(super) samples: usize,
    /// Shape of the input.
    pub x: Vec<usize>,
    /// Shape of the kernel.
    pub kernel: Vec<usize>,
    /// Shape of the output.
    pub y: Vec<usize>,
}

impl ConvBatch {
    /// Works out the shapes.
    ///
    /// # Errors
    /// They do not fit each other, or the output has no elements.
    pub fn new(kind: ConvKind, x: &[usize], kernel: &[usize], options: &ConvOptions) -> Result<Self> {
        let (samples, sizes, c_in) = split_shape("input", x)?;
        let rank = sizes.len();
        let wrong = |expected: String| Error::shape("kernel", expected, format!("shape {kernel:?}"));
        let [window @ .., inner, outer] = kernel else {
            return Err(wrong(format!("{} axes", rank + 2)));
        };
        if window.len() != rank {
            return Err(wrong(format!("{} axes", rank + 2)));
        }
        if kernel.contains(&0) {
            return Err(wrong("no axis of size 0".to_string()));
        }
        let window = options.window(window);
        let geometry = match kind {
            ConvKind::Plain => {
                let geometry = ConvGeometry::new(&window, sizes, c_in, *outer, options.groups)?;
                if *inner != geometry.group_in() {
                    let n = geometry.group_in();
                    return Err(wrong(format!(
                        "(..., {n}, filters), {c_in} channels / {} groups",
                        options.groups
                    )));
                }
                geometry.with_mode(options.padding_mode)?
            }
            ConvKind::Depthwise => {
                if *inner != c_in {
                    return Err(wrong(format!("(..., {c_in}, multiplier), as many channels as the input")));
                }
                let c_out =
                    c_in.checked_mul(*outer).ok_or_else(|| wrong("a small multiplier".to_string()))?;
                ConvGeometry::new(&window, sizes, c_in, c_out, c_in)?.with_mode(options.padding_mode)?
            }
            ConvKind::Transposed => {
                if *outer != c_in {
                    return Err(wrong(format!(
                        "(..., filters / groups, {c_in}), as many channels as the input"
                    )));
                }
                let filters =
                    inner.checked_mul(options.groups).ok_or_else(|| wrong("few groups".to_string()))?;
                let extra = options.output_padding.as_deref();
                ConvGeometry::transposed(&window, extra, sizes, (c_in, filters), options.groups)?
            }
        };
        let own = &geometry.axes[AXES - rank..];
        let (sizes, channels): (Vec<usize>, usize) = match kind {
            ConvKind::Transposed => (own.iter().map(|a| a.input).collect(), geometry.c_in),
            _ => (own.iter().map(|a| a.output).collect(), geometry.c_out),
        };
        let y = join_shape(samples, &sizes, channels);
        Ok(Self { kind, geometry, samples, x: x.to_vec(), kernel: kernel.to_vec(), y })
    }

    fn transposed(&self) -> bool {
        self.kind == ConvKind::Transposed
    }

    /// Multiply-adds of the batch.
    pub(super) fn macs(&self) -> usize {
        self.geometry.macs().saturating_mul(self.samples)
    }
}

/// The shape of a convolution's output.
///
/// # Errors
/// As [`ConvBatch::new`].
pub fn conv_output_shape(
    kind: ConvKind,
    input: &[usize],
    filters: usize,
    kernel_size: &[usize],
    options: &ConvOptions,
) -> Result<Vec<usize>> {
    let (_, _, c_in) = split_shape("input", input)?;
    let channels = if kind == ConvKind::Transposed { [filters, c_in] } else { [c_in, filters] };
    let kernel: Vec<usize> = kernel_size.iter().copied().chain(channels).collect();
    ConvBatch::new(kind, input, &kernel, options).map(|batch| batch.y)
}

/// A pointwise geometry as rows of some hundred positions, so that a sample can be cut among threads.
fn in_rows(geometry: &ConvGeometry) -> ConvGeometry {
    let trivial = |a: &Axis| a.kernel == 1 && a.stride == 1 && a.input == a.output && a.before + a.after == 0;
    if !geometry.axes.iter().all(trivial) {
        return geometry.clone();
    }
    let positions: usize = geometry.axes.iter().map(|a| a.input).product();
    let columns = (128..=positions.min(1024)).find(|&n| positions.is_multiple_of(n)).unwrap_or(positions);
    let axis = |n: usize| Axis { input: n, output: n, ..Axis::UNIT };
    // A border mode, without a border, keeps the rows apart.
    let axes = [Axis::UNIT, axis(positions / columns), axis(columns)];
    ConvGeometry { axes, mode: PaddingMode::Edge, ..geometry.clone() }
}

/// Threads for so much work.
pub(super) fn workers(macs: usize) -> usize {
    if macs < SERIAL_MACS { 1 } else { parallel::threads() }
}

/// Rows of a task, of `rows` rows a sample that cost `macs` in all.
pub(super) fn task_rows(rows: usize, samples: usize, macs: usize) -> usize {
    let wanted = (macs / 16).clamp(TASK_MACS[0], TASK_MACS[1]);
    let row = (macs / (rows * samples).max(1)).max(1);
    let pieces = rows.div_ceil(wanted.div_ceil(row).clamp(1, rows));
    rows.div_ceil(pieces)
}

/// A map of tensors about to run on a batch.
struct Mapping<'a, T: Operand> {
    plan: &'a dyn Correlation<T>,
    packed: &'a [T],
    from: &'a [T],
    from_len: usize,
    bias: Option<&'a [T]>,
    activation: Activation,
    macs: usize,
    tier: Tier,
}

impl<T: Operand> Mapping<'_, T> {
    /// Some rows of one result.
    fn rows(&self, from: &[T], to: &mut [T], rows: std::ops::Range<usize>, worker: &mut Worker<T>) {
        let relu = self.activation == Activation::Relu;
        let epilogue = Epilogue { bias: self.bias, relu };
        let Worker { scratch, rows: buffer } = worker;
        if relu || self.activation == Activation::Linear {
            self.plan.run(from, self.packed, to, rows, epilogue, scratch);
            return;
        }
        let row_len = self.plan.row_len();
        for (row, to) in rows.zip(to.chunks_exact_mut(row_len)) {
            let sums = room(buffer, row_len);
            self.plan.run(from, self.packed, sums, row..row + 1, epilogue, scratch);
            self.activation.forward(self.tier, sums, to);
        }
    }

    /// All of it.
    fn run(
        &self,
        to: &mut [T],
        workers: &[std::sync::Mutex<Worker<T>>],
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let (rows, row_len) = (self.plan.rows(), self.plan.row_len());
        let sample = rows * row_len;
        let piece = task_rows(rows, to.len() / sample, self.macs);
        let cut = Cut::new(to, sample, piece * row_len);
        let pieces = cut.pieces();
        for_each_part(cut, workers.len(), interrupt, &|task, worker, to| {
            let first = task % pieces * piece;
            let from = &self.from[task / pieces * self.from_len..][..self.from_len];
            self.rows(from, to, first..first + to.len() / row_len, &mut lock(&workers[worker]));
        })
    }
}

/// A kernel gradient about to run on a batch.
struct Summing<'a, T: Operand> {
    plan: &'a dyn Accumulation<T>,
    x: &'a [T],
    dy: &'a [T],
    x_len: usize,
    samples: usize,
    /// Positions of the output of a sample.
    positions: usize,
    tier: Tier,
}

impl<T: Operand> Summing<'_, T> {
    /// In how many chunks the rows of all samples are cut: a matter of the shapes only.
    fn chunks(&self, kernel_len: usize) -> usize {
        let [paying, fewest] = CHUNK_POSITIONS;
        let positions = self.positions * self.samples;
        let wanted = (positions / paying).max((positions / fewest).min(FEW_CHUNKS));
        let fit = PARTIAL_BYTES / (kernel_len * size_of::<T>()).max(1);
        wanted.min(fit).min(MOST_CHUNKS).min(self.samples * self.plan.rows()).max(1)
    }

    /// Adds the rows `units` of all samples, counted through, to `sum`.
    fn chunk(&self, units: std::ops::Range<usize>, sum: &mut [T], worker: &mut Worker<T>) {
        let (rows, row_len) = (self.plan.rows(), self.plan.row_len());
        let mut unit = units.start;
        while unit < units.end {
            let (sample, first) = (unit / rows, unit % rows);
            let whole = if first == 0 { (units.end - unit) / rows } else { 0 };
            let x = &self.x[sample * self.x_len..];
            let scratch = &mut worker.scratch;
            if whole > 0 {
                let dy = &self.dy[unit * row_len..(unit + whole * rows) * row_len];
                self.plan.run_samples(&x[..whole * self.x_len], dy, whole, sum, scratch);
                unit += whole * rows;
                continue;
            }
            let end = rows.min(first + units.end - unit);
            let dy = &self.dy[unit * row_len..(unit + end - first) * row_len];
            self.plan.run(&x[..self.x_len], dy, first..end, sum, scratch);
            unit += end - first;
        }
    }

    fn run(
        &self,
        dkernel: &mut [T],
        (partials, workers): (&mut [T], &[std::sync::Mutex<Worker<T>>]),
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let len = dkernel.len();
        let units = self.samples * self.plan.rows();
        let chunks = self.chunks(len);
        if chunks == 1 {
            dkernel.fill(T::ZERO);
            self.chunk(0..units, dkernel, &mut lock(&workers[0]));
            return Ok(());
        }
        for_each_part(Cut::new(partials, len, len), workers.len(), interrupt, &|chunk, worker, sum| {
            sum.fill(T::ZERO);
            self.chunk(
                chunk * units / chunks..(chunk + 1) * units / chunks,
                sum,
                &mut lock(&workers[worker]),
            );
        })?;
        let partials = &*partials;
        let reduce = Cut::new(dkernel, len, REDUCE_ELEMENTS);
        let workers = workers.len().min(reduce.count());
        for_each_part(reduce, workers, interrupt, &|task, _, to| {
            for (i, part) in partials.chunks_exact(len).enumerate() {
                let from = &part[task * REDUCE_ELEMENTS..][..to.len()];
                if i == 0 {
                    to.copy_from_slice(from);
                } else {
                    self.tier.vectorize(Add { from, to });
                }
            }
        })
    }
}

/// `to += from`
struct Add<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Operand> Job for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += *from;
        }
    }
}

/// Which map of a geometry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    ToInput,
}

/// Maps a batch with one plan; the activation is the last thing that happens to an output.
pub(super) struct Call<'a, T> {
    geometry: &'a ConvGeometry,
    direction: Direction,
    samples: usize,
    from: &'a [T],
    kernel: &'a [T],
    bias: Option<&'a [T]>,
    activation: Activation,
}

impl<'a, T: Operand> Call<'a, T> {
    /// Sums of products and nothing else.
    pub(super) fn linear(batch: &'a ConvBatch, direction: Direction, from: &'a [T], kernel: &'a [T]) -> Self {
        let (geometry, samples) = (&batch.geometry, batch.samples);
        Self { geometry, direction, samples, from, kernel, bias: None, activation: Activation::Linear }
    }

    /// Writes the results; `slot` is the place of the packed weights.
    pub(super) fn run(
        &self,
        to: &mut [T],
        slot: usize,
        workspace: &mut Workspace<T>,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let tier = Tier::current()?;
        let kernels = Kernels::of(tier);
        let channels = match self.direction {
            Direction::Forward => self.geometry.c_out,
            Direction::ToInput => self.geometry.c_in,
        };
        if self.from.is_empty() {
            // Padding only: every sum is empty.
            let sums: Vec<T> = self.bias.map_or_else(|| vec![T::ZERO; channels], <[T]>::to_vec);
            let mut pixel = sums.clone();
            self.activation.forward(tier, &sums, &mut pixel);
            to.chunks_exact_mut(channels).for_each(|to| to.copy_from_slice(&pixel));
            return Ok(());
        }
        let geometry = in_rows(self.geometry);
        let plan = match self.direction {
            Direction::Forward => workspace::forward(&geometry, kernels),
            Direction::ToInput => workspace::input_grad(&geometry, kernels),
        };
        let Workspace { packed, workers: own, .. } = workspace;
        let packed = room(&mut packed[slot], plan.packed_len());
        plan.pack(self.kernel, packed);
        let macs = geometry.macs().saturating_mul(self.samples);
        let mapping = Mapping {
            plan: &**plan,
            packed,
            from: self.from,
            from_len: self.from.len() / self.samples,
            bias: self.bias,
            activation: self.activation,
            macs,
            tier,
        };
        mapping.run(to, &own[..workers(macs).min(own.len())], interrupt)
    }
}

/// Sums the kernel gradient of a batch with one plan.
pub(super) fn sum_kernel<T: Operand>(
    geometry: &ConvGeometry,
    (x, dy): (&[T], &[T]),
    samples: usize,
    dkernel: &mut [T],
    workspace: &mut Workspace<T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    if x.is_empty() || dy.is_empty() {
        dkernel.fill(T::ZERO);
        return Ok(());
    }
    let tier = Tier::current()?;
    let geometry = in_rows(geometry);
    let plan = workspace::kernel_grad(&geometry, Kernels::of(tier));
    let summing = Summing {
        plan: &**plan,
        x,
        dy,
        x_len: x.len() / samples,
        samples,
        positions: geometry.output_len() / geometry.c_out,
        tier,
    };
    let chunks = summing.chunks(dkernel.len());
    let Workspace { partials, workers: own, .. } = workspace;
    let partials = room(partials, if chunks == 1 { 0 } else { chunks * dkernel.len() });
    let threads = workers(geometry.macs().saturating_mul(samples)).min(own.len());
    summing.run(dkernel, (partials, &own[..threads]), interrupt)
}

/// The elements of an operand of a known shape.
pub(super) fn operand<'a, T: Operand>(
    name: &str,
    array: &'a ndarray::CowArray<'_, T, ndarray::IxDyn>,
    shape: &[usize],
) -> Result<&'a [T]> {
    expect_shape(name, shape, array.shape())?;
    Ok(array.as_slice().unwrap_or_default())
}

/// What happens to a sum of products.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a, 'b, T> {
    /// One number per output channel, added.
    pub bias: Option<&'a ArrayViewD<'b, T>>,
    /// Name of the activation, applied last.
    pub activation: &'a str,
}

impl<T: Operand> Finish<'_, '_, T> {
    /// The bias as a slice, in the right number, and the activation.
    pub(super) fn parts(&self, channels: usize) -> Result<(Option<Vec<T>>, Activation)> {
        let bias = self.bias.map(|bias| {
            expect_shape("bias", &[channels], bias.shape())?;
            Ok::<_, Error>(bias.iter().copied().collect())
        });
        Ok((bias.transpose()?, Activation::named(self.activation, channels)?))
    }
}

/// `y = activation(conv(x, kernel) + bias)`
///
/// # Errors
/// A shape that does not fit, an unknown activation, an interrupt.
pub fn conv<T: Operand>(
    batch: &ConvBatch,
    x: &ArrayViewD<'_, T>,
    kernel: &ArrayViewD<'_, T>,
    finish: Finish<'_, '_, T>,
    mut y: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let channels = batch.y[batch.y.len() - 1];
    let (bias, activation) = finish.parts(channels)?;
    let (x, kernel) = (in_order(x), in_order(kernel));
    let call = Call {
        geometry: &batch.geometry,
        direction: if batch.transposed() { Direction::ToInput } else { Direction::Forward },
        samples: batch.samples,
        from: operand("input", &x, &batch.x)?,
        kernel: operand("kernel", &kernel, &batch.kernel)?,
        bias: bias.as_deref(),
        activation,
    };
    let y = out_slice("out", &mut y, &batch.y)?;
    workspace::with(workers(batch.macs()), |workspace| call.run(y, 0, workspace, interrupt))
}

/// The gradient of `<dy, conv(x, kernel)>` to `x`.
///
/// # Errors
/// A shape that does not fit, an interrupt.
pub fn conv_input_grad<T: Operand>(
    batch: &ConvBatch,
    dy: &ArrayViewD<'_, T>,
    kernel: &ArrayViewD<'_, T>,
    mut dx: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let (dy, kernel) = (in_order(dy), in_order(kernel));
    let direction = if batch.transposed() { Direction::Forward } else { Direction::ToInput };
    let dy = operand("dy", &dy, &batch.y)?;
    let call = Call::linear(batch, direction, dy, operand("kernel", &kernel, &batch.kernel)?);
    let dx = out_slice("out", &mut dx, &batch.x)?;
    workspace::with(workers(batch.macs()), |workspace| call.run(dx, 0, workspace, interrupt))
}

/// The gradient of `<dy, conv(x, kernel)>` to `kernel`.
///
/// # Errors
/// A shape that does not fit, an interrupt.
pub fn conv_kernel_grad<T: Operand>(
    batch: &ConvBatch,
    x: &ArrayViewD<'_, T>,
    dy: &ArrayViewD<'_, T>,
    mut dkernel: ArrayViewMutD<'_, T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let (x, dy) = (in_order(x), in_order(dy));
    let (x, dy) = (operand("input", &x, &batch.x)?, operand("dy", &dy, &batch.y)?);
    let operands = if batch.transposed() { (dy, x) } else { (x, dy) };
    let dkernel = out_slice("out", &mut dkernel, &batch.kernel)?;
    workspace::with(workers(batch.macs()), |workspace| {
        sum_kernel(&batch.geometry, operands, batch.samples, dkernel, workspace, interrupt)
    })
}
