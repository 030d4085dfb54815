//! Convolutions on a batch: plain, transposed, depthwise and separable, with their gradients.
//!
//! How a batch is cut into tasks is in `tiling`. Memory besides the results (packed weights, partial sums, halos of
//! a few rows) is kept for the next call.

use std::borrow::Cow;

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::tiling::{self, Mapping, Summing};
use super::workspace::{self, Operand, Workspace, room};
use super::{Shape, join_shape, operand, out_slice, split_shape};
use crate::activation::Activation;
pub use crate::conv::Algorithm;
use crate::conv::{self, Pass};
use crate::cuts::workers_for_macs;
use crate::error::{Error, Result};
use crate::geometry::{AXES, Axis, ConvGeometry, Padding, PaddingMode, Window};
use crate::kernels::{Kernels, Tier};
use crate::memory;
use crate::parallel::Interrupt;

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
    /// Which algorithm may compute it; None for the one that is set.
    pub algorithm: Option<Algorithm>,
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
    pub(super) algorithm: Algorithm,
    pub(super) samples: usize,
    /// Shape of the input.
    pub x: Shape,
    /// Shape of the kernel.
    pub kernel: Shape,
    /// Shape of the output.
    pub y: Shape,
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
        let own = geometry.axes[AXES - rank..].iter();
        let y = match kind {
            ConvKind::Transposed => join_shape(samples, own.map(|a| a.input), geometry.c_in),
            _ => join_shape(samples, own.map(|a| a.output), geometry.c_out),
        };
        let [x, kernel] = [x, kernel].map(|shape| shape.iter().copied().collect());
        let algorithm = options.algorithm.map_or_else(Algorithm::current, Ok)?;
        let batch = Self { kind, geometry, algorithm, samples, x, kernel, y };
        batch.check_algorithm::<f32>()?;
        Ok(batch)
    }

    fn transposed(&self) -> bool {
        self.kind == ConvKind::Transposed
    }

    /// What a pass of the batch is of its geometry.
    fn pass(&self, pass: Pass) -> Pass {
        if self.transposed() { pass.transposed() } else { pass }
    }

    /// Refuses an algorithm that does not apply.
    fn check_algorithm<T: Operand>(&self) -> Result<()> {
        if conv::applies::<T>(&self.geometry, self.algorithm) {
            return Ok(());
        }
        let wanted = "one that applies: \"winograd\" is for float32, strides and groups of 1, kernels whose last axes are 3 x 3 or 5 x 5, and series with 5 taps or a multiple of 3";
        Err(Error::value("algorithm", wanted, format!("\"{}\"", self.algorithm.name())))
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
) -> Result<Shape> {
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

/// Maps a batch with one plan; the activation is the last thing that happens to an output.
pub(super) struct Call<'a, T> {
    geometry: &'a ConvGeometry,
    algorithm: Algorithm,
    pass: Pass,
    samples: usize,
    from: &'a [T],
    kernel: &'a [T],
    bias: Option<&'a [T]>,
    activation: Activation,
}

impl<'a, T: Operand> Call<'a, T> {
    /// Sums of products and nothing else.
    pub(super) fn linear(batch: &'a ConvBatch, pass: Pass, from: &'a [T], kernel: &'a [T]) -> Self {
        let (geometry, samples) = (&batch.geometry, batch.samples);
        Self {
            geometry,
            algorithm: batch.algorithm,
            pass,
            samples,
            from,
            kernel,
            bias: None,
            activation: Activation::Linear,
        }
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
        let [_, channels] = self.pass.channels(self.geometry);
        if self.from.is_empty() {
            // Padding only: every sum is empty.
            let sums = self.bias.map_or_else(|| memory::filled(T::ZERO, channels), memory::copied)?;
            let mut pixel = memory::copied(&sums)?;
            self.activation.forward(tier, &sums, &mut pixel);
            to.chunks_exact_mut(channels).for_each(|to| to.copy_from_slice(&pixel));
            return Ok(());
        }
        self.geometry.check_tables()?;
        let problem = (in_rows(self.geometry), self.algorithm);
        let plan = workspace::map(self.pass, &problem, kernels);
        let Workspace { packed, workers: own, .. } = workspace;
        let packed = room(&mut packed[slot], plan.tiling().weights);
        let macs = self.geometry.macs().saturating_mul(self.samples);
        let own = &own[..workers_for_macs(macs).min(own.len())];
        tiling::pack(&**plan, self.kernel, packed, own.len(), interrupt)?;
        let mapping = Mapping {
            plan: &**plan,
            packed,
            from: self.from,
            from_len: self.from.len() / self.samples,
            bias: self.bias,
            activation: self.activation,
            macs,
            tier,
            non_temporal: tiling::non_temporal::<T>(self.from.len() + to.len()),
        };
        mapping.run(to, own, interrupt)
    }
}

/// Sums the kernel gradient of a batch with one plan.
pub(super) fn sum_kernel<T: Operand>(
    batch: &ConvBatch,
    (x, dy): (&[T], &[T]),
    dkernel: &mut [T],
    workspace: &mut Workspace<T>,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    if x.is_empty() || dy.is_empty() {
        dkernel.fill(T::ZERO);
        return Ok(());
    }
    let tier = Tier::current()?;
    let ConvBatch { geometry, samples, .. } = batch;
    geometry.check_tables()?;
    let (samples, macs) = (*samples, batch.macs());
    let plan = workspace::kernel_grad(&(in_rows(geometry), batch.algorithm), Kernels::of(tier));
    let x_len = x.len() / samples;
    let summing = Summing { plan: &**plan, x, dy, x_len, samples, macs, tier };
    let Workspace { partials, workers: own, .. } = workspace;
    let partials = room(partials, summing.partials_len(dkernel.len()));
    let threads = workers_for_macs(macs).min(own.len());
    summing.run(dkernel, (partials, &own[..threads]), interrupt)
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
    pub(super) fn parts(&self, channels: usize) -> Result<(Option<Cow<'_, [T]>>, Activation)> {
        let bias = self.bias.map(|bias| operand("bias", bias, &[channels])).transpose()?;
        Ok((bias, Activation::named(self.activation, channels)?))
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
    batch.check_algorithm::<T>()?;
    let channels = batch.y[batch.y.len() - 1];
    let (bias, activation) = finish.parts(channels)?;
    let (x, kernel) = (operand("input", x, &batch.x)?, operand("kernel", kernel, &batch.kernel)?);
    let call = Call {
        geometry: &batch.geometry,
        algorithm: batch.algorithm,
        pass: batch.pass(Pass::Forward),
        samples: batch.samples,
        from: &x,
        kernel: &kernel,
        bias: bias.as_deref(),
        activation,
    };
    let y = out_slice("out", &mut y, &batch.y)?;
    workspace::with(workers_for_macs(batch.macs()), |workspace| call.run(y, 0, workspace, interrupt))
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
    batch.check_algorithm::<T>()?;
    let (dy, kernel) = (operand("dy", dy, &batch.y)?, operand("kernel", kernel, &batch.kernel)?);
    let call = Call::linear(batch, batch.pass(Pass::InputGrad), &dy, &kernel);
    let dx = out_slice("out", &mut dx, &batch.x)?;
    workspace::with(workers_for_macs(batch.macs()), |workspace| call.run(dx, 0, workspace, interrupt))
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
    batch.check_algorithm::<T>()?;
    let (x, dy) = (operand("input", x, &batch.x)?, operand("dy", dy, &batch.y)?);
    let operands = if batch.transposed() { (&*dy, &*x) } else { (&*x, &*dy) };
    let dkernel = out_slice("out", &mut dkernel, &batch.kernel)?;
    workspace::with(workers_for_macs(batch.macs()), |workspace| {
        sum_kernel(batch, operands, dkernel, workspace, interrupt)
    })
}
