//! What the numeric tests share: problems, their data, how to run them, and how far off a result may be.

#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part of this module")]

pub mod batches;
pub mod pools;

use std::ops::Range;

use gridnn::conv::{
    self, Algorithm, Epilogue, GradOperands, GradPlan, MapPlan, Operands, Pass, Region, Scratch, Sums, Tiling,
};
use gridnn::geometry::{Axis, ConvGeometry, Padding, PaddingMode, PaddingRule, Window};
use gridnn::kernels::{Element, Kernels, Tier};
use gridnn::reference;
use proptest::prelude::*;

/// Multiply-adds that a random case may have: all tiers, passes and types of one take a few milliseconds.
const MOST_MACS: usize = 100_000;

/// A whole convolution problem.
#[derive(Debug, Clone)]
pub struct ConvCase {
    pub input: Vec<usize>,
    pub kernel: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub padding: Padding,
    pub mode: PaddingMode,
    pub groups: usize,
    /// Channels of one group.
    pub group_in: usize,
    pub group_out: usize,
    pub samples: usize,
    pub seed: u64,
}

impl ConvCase {
    /// A case with a cubic kernel, stride and dilation 1, no padding and no groups.
    pub fn new(input: &[usize], kernel: usize, c_in: usize, c_out: usize) -> Self {
        let all = |n: usize| vec![n; input.len()];
        Self {
            input: input.to_vec(),
            kernel: all(kernel),
            stride: all(1),
            dilation: all(1),
            padding: Padding::VALID,
            mode: PaddingMode::Zeros,
            groups: 1,
            group_in: c_in,
            group_out: c_out,
            samples: 2,
            seed: 1,
        }
    }

    pub fn same(self) -> Self {
        Self { padding: Padding::SAME, ..self }
    }

    pub fn causal(self) -> Self {
        Self { padding: Padding::Rule(PaddingRule::Causal), ..self }
    }

    pub fn pad(self, pairs: &[(usize, usize)]) -> Self {
        Self { padding: Padding::Explicit(pairs.to_vec()), ..self }
    }

    pub fn mode(self, mode: PaddingMode) -> Self {
        Self { mode, ..self }
    }

    pub fn kernel(self, kernel: &[usize]) -> Self {
        Self { kernel: kernel.to_vec(), ..self }
    }

    pub fn stride(self, stride: &[usize]) -> Self {
        Self { stride: stride.to_vec(), ..self }
    }

    pub fn dilation(self, dilation: &[usize]) -> Self {
        Self { dilation: dilation.to_vec(), ..self }
    }

    /// Divides the channels among groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, group_in: self.group_in / groups, group_out: self.group_out / groups, ..self }
    }

    pub fn window(&self) -> Window {
        Window {
            kernel: self.kernel.clone(),
            stride: self.stride.clone(),
            dilation: self.dilation.clone(),
            padding: self.padding.clone(),
        }
    }

    /// All channels of the input and of the output.
    pub fn channels(&self) -> [usize; 2] {
        [self.group_in, self.group_out].map(|c| c * self.groups)
    }

    pub fn geometry(&self) -> ConvGeometry {
        let [c_in, c_out] = self.channels();
        ConvGeometry::new(&self.window(), &self.input, c_in, c_out, self.groups)
            .and_then(|geometry| geometry.with_mode(self.mode))
            .unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Makes the window fit: fewer taps, or more padding if it is explicit, so that kernels larger than the input
    /// stay in. Never makes an axis of the input longer, which `affordable` relies on to end.
    fn fitting(mut self) -> Self {
        for i in 0..self.input.len() {
            let span = self.dilation[i] * (self.kernel[i] - 1) + 1;
            match &mut self.padding {
                Padding::Explicit(pairs) => {
                    let padded = pairs[i].0 + self.input[i] + pairs[i].1;
                    pairs[i].1 += span.saturating_sub(padded);
                }
                Padding::Rule(PaddingRule::Valid) => {
                    self.kernel[i] = self.kernel[i].min((self.input[i] - 1) / self.dilation[i] + 1);
                }
                Padding::Rule(_) => {}
            }
        }
        self
    }

    /// Halves the largest number of the case until it is cheap enough.
    fn affordable(self) -> Self {
        let mut case = self.fitting();
        while case.geometry().macs() * case.samples > MOST_MACS {
            let channels = [&mut case.group_in, &mut case.group_out, &mut case.groups];
            let sizes = case.input.iter_mut().chain(&mut case.kernel).chain(channels);
            let largest = sizes.max_by_key(|n| **n).expect("a case has channels");
            *largest = largest.div_ceil(2);
            case = case.fitting();
        }
        case
    }
}

fn padding(rank: usize) -> BoxedStrategy<Padding> {
    let pairs = prop::collection::vec((0..=5usize, 0..=5usize), rank).prop_map(Padding::Explicit);
    let rules = prop_oneof![Just(Padding::VALID), Just(Padding::SAME)];
    if rank == 1 {
        prop_oneof![2 => rules, 1 => Just(Padding::Rule(PaddingRule::Causal)), 2 => pairs].boxed()
    } else {
        prop_oneof![1 => rules, 1 => pairs].boxed()
    }
}

fn mode() -> impl Strategy<Value = PaddingMode> {
    prop_oneof![3 => Just(PaddingMode::Zeros), 2 => prop::sample::select(PaddingMode::ALL.to_vec())]
}

/// Groups, and channels of one group.
fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![
        4 => (Just(1usize), 1..=70usize, 1..=70usize),
        1 => (Just(1usize), 1..=3usize, 1..=40usize),
        2 => (2..=8usize, 1..=9usize, 1..=9usize),
        1 => (1..=70usize, Just(1usize), 1..=2usize),
    ]
}

/// Convolutions of every rank with everything that a geometry can say.
pub fn conv_cases() -> impl Strategy<Value = ConvCase> {
    (1..=3usize).prop_flat_map(|rank| {
        let list = |range: std::ops::RangeInclusive<usize>| prop::collection::vec(range, rank);
        // The last axis is what tiles are cut from: it needs long rows as well.
        let input =
            (list(1..=9), prop_oneof![2 => 1..=12usize, 1 => 13..=70usize]).prop_map(|(mut sizes, last)| {
                *sizes.last_mut().expect("rank is at least 1") = last;
                sizes
            });
        let window = (list(1..=7), list(1..=3), list(1..=3), padding(rank), mode());
        (input, window, channels(), 1..=2usize, any::<u64>()).prop_map(
            |(
                input,
                (kernel, stride, dilation, padding, mode),
                (groups, group_in, group_out),
                samples,
                seed,
            )| {
                ConvCase {
                    input,
                    kernel,
                    stride,
                    dilation,
                    padding,
                    mode,
                    groups,
                    group_in,
                    group_out,
                    samples,
                    seed,
                }
                .affordable()
            },
        )
    })
}

/// Random 64-bit words (SplitMix64): independent of the generator under test.
pub fn words(seed: u64) -> impl Iterator<Item = u64> {
    (1u64..).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Numbers in (-1, 1) that use all bits of their type.
pub fn uniform<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let unit = 1.0 / (1u64 << 52) as f64;
    words(seed).take(len).map(|w| T::from_f64(((w >> 11) as f64).mul_add(unit, -1.0))).collect()
}

/// Integers from -3 to 3: their sums of products are exact in every order.
pub fn integers<T: Element>(len: usize, seed: u64) -> Vec<T> {
    words(seed).take(len).map(|w| T::from_f64((w % 7) as f64 - 3.0)).collect()
}

/// A case with its operands, the samples one after the other.
#[derive(Debug)]
pub struct Problem<T> {
    pub geometry: ConvGeometry,
    pub samples: usize,
    pub x: Vec<T>,
    pub kernel: Vec<T>,
    pub dy: Vec<T>,
    /// One per output channel.
    pub bias: Vec<T>,
}

impl<T: Element> Problem<T> {
    /// Fills the operands with `data(len, seed)`.
    pub fn new(case: &ConvCase, data: fn(usize, u64) -> Vec<T>) -> Self {
        let geometry = case.geometry();
        let seed = case.seed.wrapping_mul(4);
        Self {
            samples: case.samples,
            x: data(case.samples * geometry.input_len(), seed),
            kernel: data(geometry.kernel_len(), seed.wrapping_add(1)),
            dy: data(case.samples * geometry.output_len(), seed.wrapping_add(2)),
            bias: data(geometry.c_out, seed.wrapping_add(3)),
            geometry,
        }
    }

    /// The same problem with absolute values: its results are the `sum |a * b|` of error bounds.
    pub fn magnitudes(&self) -> Self {
        let abs = |values: &[T]| values.iter().map(|v| T::from_f64(v.to_f64().abs())).collect();
        Self {
            geometry: self.geometry.clone(),
            samples: self.samples,
            x: abs(&self.x),
            kernel: abs(&self.kernel),
            dy: abs(&self.dy),
            bias: abs(&self.bias),
        }
    }

    /// What the passes should give: forward, to the input, to the kernel (summed over the samples).
    pub fn expected(&self) -> [Vec<f64>; 3] {
        let g = &self.geometry;
        let (mut y, mut dx, mut dkernel) = (Vec::new(), Vec::new(), vec![0.0; g.kernel_len()]);
        for (x, dy) in self.x.chunks_exact(g.input_len()).zip(self.dy.chunks_exact(g.output_len())) {
            y.extend(reference::conv(g, x, &self.kernel));
            dx.extend(reference::conv_input_grad(g, dy, &self.kernel));
            for (sum, part) in dkernel.iter_mut().zip(reference::conv_kernel_grad(g, x, dy)) {
                *sum += part;
            }
        }
        [y, dx, dkernel]
    }

    /// Products in the longest sum of each pass, without a bias.
    pub fn terms(&self) -> [usize; 3] {
        let g = &self.geometry;
        let positions = g.output_len() / g.c_out * self.samples;
        // An input element that stands in the border as well adds up its copies.
        let copies = |a: &Axis| {
            let sources =
                (0..a.before + a.input + a.after).filter_map(|i| g.mode.source(i, a.before, a.input));
            let mut counts = vec![0; a.input];
            sources.for_each(|i| counts[i] += 1);
            counts.into_iter().max().unwrap_or(1)
        };
        let copies: usize = g.axes.iter().map(copies).product();
        [g.taps() * g.group_in(), g.taps() * g.group_out() + copies, positions]
    }
}

/// Cuts `0..rows` at the given places, which may be any numbers.
pub fn partition(rows: usize, cuts: &[usize]) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (rows + 1)).chain([0, rows]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).filter(|range| !range.is_empty()).collect()
}

/// Elements of a result that are cut in multiples of `unit`.
pub fn elements(tiling: &Tiling, unit: usize, cuts: &[usize]) -> Vec<Range<usize>> {
    let whole = |some: Range<usize>| some.start * unit..(some.end * unit).min(tiling.len());
    partition(tiling.len().div_ceil(unit), cuts).into_iter().map(whole).collect()
}

/// Where a map may be cut: between any rows, or any columns of a single row, unless a plan takes such a row as a whole.
fn map_unit(tiling: &Tiling) -> usize {
    let series = tiling.rows == 1 && tiling.unit < tiling.row_len();
    if series { tiling.channels } else { tiling.row_len() }
}

/// Adds a gradient to `dkernel`, given what adds up its sums. Where these are the gradient itself, their chains go on
/// from what is there.
fn add_sums<T: Element>(plan: &dyn GradPlan<T>, dkernel: &mut [T], add: impl FnOnce(&mut [T])) {
    let mut sums = vec![T::ZERO; plan.tiling().weights];
    let in_place = sums.len() == dkernel.len();
    if in_place {
        sums.copy_from_slice(dkernel);
    }
    add(&mut sums);
    plan.finish(&mut sums);
    for (to, sum) in dkernel.iter_mut().zip(&sums) {
        *to = if in_place { *sum } else { to.add(*sum) };
    }
}

/// Runs the passes of one tier. Results start as NaN, so that an element left out shows; scratch is reused from
/// problem to problem, so that stale contents show.
pub struct Runner<T> {
    pub tier: Tier,
    /// Where the rows of a result are cut.
    pub cuts: Vec<usize>,
    /// Takes the last algorithm that accepts a problem and not the first.
    pub last: bool,
    pub algorithm: Algorithm,
    scratch: Scratch<T>,
}

impl<T: Element> Runner<T> {
    pub fn new(tier: Tier) -> Self {
        Self {
            tier,
            cuts: Vec::new(),
            last: false,
            algorithm: Algorithm::Direct,
            scratch: Scratch::default(),
        }
    }

    fn pick<P>(&self, mut plans: Vec<P>) -> P {
        let i = if self.last { plans.len() - 1 } else { 0 };
        plans.swap_remove(i)
    }

    fn map(
        &mut self,
        plan: &dyn MapPlan<T>,
        from: &[&[T]],
        kernel: &[T],
        epilogue: Epilogue<'_, T>,
    ) -> Vec<T> {
        // Stores past the cache write the same bytes.
        let non_temporal = !self.cuts.is_empty();
        let nan = T::from_f64(f64::NAN);
        let tiling = plan.tiling();
        let mut packed = vec![nan; tiling.weights];
        let grain = tiling.weight_unit.max(1);
        for pieces in partition(tiling.weights.div_ceil(grain), &self.cuts) {
            let part = pieces.start * grain..(pieces.end * grain).min(packed.len());
            plan.pack(kernel, part.start, &mut packed[part]);
        }
        let mut all = Vec::new();
        for from in from {
            let mut to = vec![nan; tiling.len()];
            for some in elements(tiling, map_unit(tiling), &self.cuts) {
                let operands = Operands { from, packed: &packed, epilogue, non_temporal };
                let part = &mut to[some.clone()];
                plan.run(operands, part, &Region::Elements(some), &mut self.scratch);
            }
            all.extend(to);
        }
        all
    }

    pub fn forward(&mut self, p: &Problem<T>, epilogue: Epilogue<'_, T>) -> Vec<T> {
        let (g, kernels) = (&p.geometry, Kernels::of(self.tier));
        let plan = self.pick(conv::map_plans(Pass::Forward, g, kernels, self.algorithm));
        let samples: Vec<&[T]> = p.x.chunks_exact(g.input_len()).collect();
        self.map(&*plan, &samples, &p.kernel, epilogue)
    }

    pub fn input_grad(&mut self, p: &Problem<T>, epilogue: Epilogue<'_, T>) -> Vec<T> {
        let (g, kernels) = (&p.geometry, Kernels::of(self.tier));
        let plan = self.pick(conv::map_plans(Pass::InputGrad, g, kernels, self.algorithm));
        let samples: Vec<&[T]> = p.dy.chunks_exact(g.output_len()).collect();
        self.map(&*plan, &samples, &p.kernel, epilogue)
    }

    /// The gradient to the kernel, added to zeros.
    pub fn kernel_grad(&mut self, p: &Problem<T>) -> Vec<T> {
        let mut dkernel = vec![T::ZERO; p.kernel.len()];
        self.add_kernel_grad(p, &mut dkernel);
        dkernel
    }

    pub fn add_kernel_grad(&mut self, p: &Problem<T>, dkernel: &mut [T]) {
        let plan = self.pick(conv::kernel_grad_plans(&p.geometry, Kernels::of(self.tier), self.algorithm));
        add_sums(&*plan, dkernel, |sums| {
            if self.cuts.is_empty() {
                let operands = GradOperands { x: &p.x, dy: &p.dy, non_temporal: false };
                let units = 0..plan.tiling().weight_units();
                let sums = Sums { sums, units, from_zero: false };
                plan.accumulate(operands, &Region::Samples(p.samples), sums, &mut self.scratch);
            } else {
                self.add_regions(&*plan, p, sums);
            }
        });
    }

    /// Parts of the kernel, all samples at once; then sample by sample in regions.
    fn add_regions(&mut self, plan: &dyn GradPlan<T>, p: &Problem<T>, sums: &mut [T]) {
        let tiling = plan.tiling();
        let mut parts = partition(tiling.weight_units(), &self.cuts);
        let last = parts.pop().unwrap();
        let unit = tiling.weight_unit;
        for units in parts {
            let operands = GradOperands { x: &p.x, dy: &p.dy, non_temporal: true };
            let sums = &mut sums[units.start * unit..units.end * unit];
            let sums = Sums { sums, units, from_zero: false };
            plan.accumulate(operands, &Region::Samples(p.samples), sums, &mut self.scratch);
        }
        let sums = &mut sums[last.start * unit..];
        // Tiles are cut nowhere else.
        let series = tiling.rows == 1 && tiling.unit < tiling.row_len();
        let anywhere = series && self.algorithm != Algorithm::Winograd;
        self.add_elements(plan, p, if anywhere { tiling.channels } else { tiling.unit }, (last, sums));
    }

    /// Sample by sample, in regions of whole units.
    fn add_elements(
        &mut self,
        plan: &dyn GradPlan<T>,
        p: &Problem<T>,
        unit: usize,
        (units, sums): (Range<usize>, &mut [T]),
    ) {
        let (x_len, y_len) = (p.geometry.input_len(), p.geometry.output_len());
        for (x, dy) in p.x.chunks_exact(x_len).zip(p.dy.chunks_exact(y_len)) {
            for some in elements(plan.tiling(), unit, &self.cuts) {
                let operands = GradOperands { x, dy: &dy[some.clone()], non_temporal: true };
                let sums = Sums { sums: &mut *sums, units: units.clone(), from_zero: false };
                plan.accumulate(operands, &Region::Elements(some), sums, &mut self.scratch);
            }
        }
    }

    /// As the training step does: sample by sample, rows in order, the whole kernel.
    pub fn add_rows(&mut self, p: &Problem<T>, dkernel: &mut [T]) {
        let plan = self.pick(conv::kernel_grad_plans(&p.geometry, Kernels::of(self.tier), self.algorithm));
        let tiling = plan.tiling();
        let unit = if tiling.rows == 1 { tiling.len() } else { tiling.unit };
        let units = 0..tiling.weight_units();
        add_sums(&*plan, dkernel, |sums| self.add_elements(&*plan, p, unit, (units, sums)));
    }

    /// All passes, in the order of [`Problem::expected`].
    pub fn passes(&mut self, p: &Problem<T>) -> [Vec<T>; 3] {
        [self.forward(p, Epilogue::NONE), self.input_grad(p, Epilogue::NONE), self.kernel_grad(p)]
    }
}

pub const PASSES: [&str; 3] = ["forward", "input gradient", "kernel gradient"];

/// How far a sum of `terms` products may be from the reference, per `sum |a * b|`.
///
/// A chain of `n` roundings errs by at most `n u / (1 - n u)` with `u = 2^-24` (f32) or `2^-53` (f64); the factor 1.1
/// covers the denominator up to `n u = 0.09`. A fused chain rounds once per term; with separate rounding the first
/// product is rounded on top of that. The reference is a chain of doubles and errs itself.
pub fn relative_tolerance<T: Element>(tier: Tier, terms: usize) -> f64 {
    let unit = |bits: i32| 2f64.powi(-bits);
    let own = unit(if T::NAME == "float32" { 24 } else { 53 });
    let roundings = terms + usize::from(!tier.fused());
    1.1 * (roundings as f64 * own + (terms + 1) as f64 * unit(53))
}

/// Compares a result with the reference, element by element.
pub fn check_close<T: Element>(
    got: &[T],
    expected: &[f64],
    magnitudes: &[f64],
    relative: f64,
) -> Result<(), String> {
    assert_eq!((got.len(), expected.len()), (expected.len(), magnitudes.len()));
    for (i, ((got, expected), magnitude)) in got.iter().zip(expected).zip(magnitudes).enumerate() {
        let error = (got.to_f64() - expected).abs();
        let allowed = relative * magnitude;
        if error.is_nan() || error > allowed {
            return Err(format!(
                "element {i}: got {got:?}, expected {expected}, off by {error:e} > {allowed:e}"
            ));
        }
    }
    Ok(())
}

/// The bits of every element.
pub fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}
