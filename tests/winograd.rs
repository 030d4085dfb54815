//! Winograd's algorithm against the reference, under a bound of its own.
//!
//! With the matrices of `kernels/winograd.rs`, an output is `y = A' [sum over c of (G w G') * (B' x B)] A`. Replacing
//! every number by its absolute value gives `M`, the largest that the sum of the absolute values of all terms can be.
//! Every term goes through at most `n` roundings, so the error is at most `1.1 n u M`, as for a chain
//! (`common::relative_tolerance`); what Winograd's algorithm costs in accuracy is that `M` exceeds the `sum |x w|` of a
//! direct sum. Per axis that is a factor of at most `max over k of sum over i of |A_ki| |G_i|_1 |B_i|_1`, which the
//! first test writes down; typical errors are far smaller.
//!
//! Roundings of a term, those of irrational or periodic constants included, per axis: 4 to bring an input to the
//! points (`a` itself, a fused multiply-add, `a` times it, the sum), 6 for a kernel, 5 back to outputs; as many for
//! the adjoint of each. Between them stands a chain over the channels, or over the tiles.

mod common;

use common::{ConvCase, PASSES, Problem, Runner, bits, check_close, uniform};
use gridnn::conv::{self, Algorithm, Epilogue, Scratch};
use gridnn::geometry::{Axis, ConvGeometry, PaddingMode};
use gridnn::kernels::{Element, Kernels, Tier};
use proptest::prelude::*;

const POINTS: usize = 6;
/// Roundings besides the chain: both axes of input, kernel and output, and a bias.
const TRANSFORMS: usize = 2 * (4 + 6 + 5) + 1;

type Matrix = Vec<Vec<f64>>;

/// `A'`, `G` and `B'` from the points, infinity last: independent of the code under test.
fn matrices() -> [Matrix; 3] {
    let (a, b) = (0.5f64.sqrt(), 2f64.sqrt());
    let points = [0.0, a, -a, b, -b];
    let last = |row: usize, rows: usize| if row + 1 == rows { 1.0 } else { 0.0 };
    let powers = |rows: usize| -> Matrix {
        let row = |k: usize| points.iter().map(|x: &f64| x.powi(k as i32)).chain([last(k, rows)]).collect();
        (0..rows).map(row).collect()
    };
    // Coefficients of prod (t - x).
    let polynomial = |roots: &[f64]| {
        let mut c = vec![1.0];
        for root in roots {
            c.push(0.0);
            for i in (0..c.len()).rev() {
                c[i] = if i == 0 { 0.0 } else { c[i - 1] } - root * c[i];
            }
        }
        c.resize(POINTS, 0.0);
        c
    };
    let others = |i: usize| -> Vec<f64> { (0..5).filter(|&j| j != i).map(|j| points[j]).collect() };
    let inputs = (0..5).map(|i| polynomial(&others(i))).chain([polynomial(&points)]).collect();
    let kernel = powers(3);
    let scale = |i: usize| others(i).iter().map(|x| points[i.min(4)] - x).product::<f64>();
    let kernel = (0..POINTS)
        .map(|i| (0..3).map(|k| kernel[k][i] / if i < 5 { scale(i) } else { 1.0 }).collect())
        .collect();
    [powers(4), kernel, inputs]
}

fn absolute(m: Matrix) -> Matrix {
    m.into_iter().map(|row| row.into_iter().map(f64::abs).collect()).collect()
}

fn transposed(m: &Matrix) -> Matrix {
    (0..m[0].len()).map(|j| m.iter().map(|row| row[j]).collect()).collect()
}

/// `m v m'` for a square of numbers given by a function.
fn both_axes(m: &Matrix, v: impl Fn(usize, usize) -> f64) -> Matrix {
    let n = m[0].len();
    let half: Matrix =
        m.iter().map(|row| (0..n).map(|j| (0..n).map(|i| row[i] * v(i, j)).sum()).collect()).collect();
    half.iter().map(|h| m.iter().map(|row| row.iter().zip(h).map(|(a, b)| a * b).sum()).collect()).collect()
}

/// An image with anything around it: `at(y, x, c)`.
struct Image<'a> {
    values: &'a [f64],
    sizes: [usize; 2],
    channels: usize,
    /// What stands at a position of each axis, which may be far outside.
    sources: [Vec<Option<usize>>; 2],
}

impl Image<'_> {
    fn at(&self, y: usize, x: usize, c: usize) -> f64 {
        let get = |axis: usize, i: usize| self.sources[axis].get(i).copied().flatten();
        match (get(0, y), get(1, x)) {
            (Some(y), Some(x)) => self.values[(y * self.sizes[1] + x) * self.channels + c],
            _ => 0.0,
        }
    }
}

/// `M` of a correlation; `kernel(t, c, o)` are its taps.
fn amplified(
    image: &Image<'_>,
    out: [usize; 2],
    c_out: usize,
    kernel: impl Fn(usize, usize, usize) -> f64,
) -> Vec<f64> {
    let [a, g, b] = matrices().map(absolute);
    let mut y = vec![0.0; out[0] * out[1] * c_out];
    let weights: Vec<Matrix> = (0..image.channels * c_out)
        .map(|i| both_axes(&g, |r, s| kernel(r * 3 + s, i / c_out, i % c_out)))
        .collect();
    for ty in 0..out[0].div_ceil(4) {
        for tx in 0..out[1].div_ceil(4) {
            let inputs: Vec<Matrix> = (0..image.channels)
                .map(|c| both_axes(&b, |i, j| image.at(4 * ty + i, 4 * tx + j, c)))
                .collect();
            for o in 0..c_out {
                let sums = both_axes(&a, |i, j| {
                    (0..image.channels).map(|c| inputs[c][i][j] * weights[c * c_out + o][i][j]).sum()
                });
                for (i, j) in (0..16).map(|p| (p / 4, p % 4)) {
                    let (row, column) = (4 * ty + i, 4 * tx + j);
                    if row < out[0] && column < out[1] {
                        y[(row * out[1] + column) * c_out + o] = sums[i][j];
                    }
                }
            }
        }
    }
    y
}

fn padded(axis: &Axis) -> usize {
    axis.before + axis.input + axis.after
}

fn forward_sources(axis: &Axis, mode: PaddingMode) -> Vec<Option<usize>> {
    (0..padded(axis)).map(|p| mode.source(p, axis.before, axis.input)).collect()
}

/// `M` of the three passes for one sample of absolute values.
fn amplified_passes(g: &ConvGeometry, x: &[f64], dy: &[f64], kernel: &[f64]) -> [Vec<f64>; 3] {
    let axes = [g.axes[1], g.axes[2]];
    let (c_in, c_out) = (g.c_in, g.c_out);
    let [ins, outs] = [axes.map(|a| a.input), axes.map(|a| a.output)];
    let x = Image {
        values: x,
        sizes: ins,
        channels: c_in,
        sources: axes.each_ref().map(|a| forward_sources(a, g.mode)),
    };
    let y = amplified(&x, outs, c_out, |t, c, o| kernel[(t * c_in + c) * c_out + o]);

    // Zero borders: tiles start with the input; others: with the padded one, whose borders are folded back.
    let zeros = g.mode == PaddingMode::Zeros;
    let lead = |a: &Axis| if zeros { a.before } else { 0 };
    let sources = axes.each_ref().map(|a| {
        (0..padded(a) + 2).map(|p| (p + lead(a)).checked_sub(2).filter(|&p| p < a.output)).collect()
    });
    let grad = Image { values: dy, sizes: outs, channels: c_out, sources };
    let sizes = if zeros { ins } else { axes.each_ref().map(padded) };
    let whole = amplified(&grad, sizes, c_in, |t, o, c| kernel[((8 - t) * c_in + c) * c_out + o]);
    let mut dx = vec![0.0; ins[0] * ins[1] * c_in];
    for (i, m) in whole.iter().enumerate() {
        let (row, column, c) = (i / c_in / sizes[1], i / c_in % sizes[1], i % c_in);
        let place = if zeros { Some((row, column)) } else { x.sources[0][row].zip(x.sources[1][column]) };
        let (row, column) = place.expect("modes other than zeros have a source everywhere");
        dx[(row * ins[1] + column) * c_in + c] += m;
    }

    let [a, w, b] = matrices().map(absolute);
    let [outputs, kernel_grads] = [transposed(&a), transposed(&w)];
    let dy =
        Image { values: dy, sizes: outs, channels: c_out, sources: outs.map(|n| (0..n).map(Some).collect()) };
    let mut sums = vec![vec![vec![0.0; POINTS]; POINTS]; c_in * c_out];
    for (ty, tx) in (0..outs[0].div_ceil(4)).flat_map(|ty| (0..outs[1].div_ceil(4)).map(move |tx| (ty, tx))) {
        let bring = |image: &Image<'_>, m: &Matrix| -> Vec<Matrix> {
            (0..image.channels).map(|c| both_axes(m, |i, j| image.at(4 * ty + i, 4 * tx + j, c))).collect()
        };
        let (inputs, grads) = (bring(&x, &b), bring(&dy, &outputs));
        for (k, sum) in sums.iter_mut().enumerate() {
            for (i, j) in (0..POINTS * POINTS).map(|p| (p / POINTS, p % POINTS)) {
                sum[i][j] += inputs[k / c_out][i][j] * grads[k % c_out][i][j];
            }
        }
    }
    let mut dkernel = vec![0.0; 9 * c_in * c_out];
    for (k, sum) in sums.iter().enumerate() {
        let taps = both_axes(&kernel_grads, |i, j| sum[i][j]);
        for t in 0..9 {
            dkernel[t * c_in * c_out + k] = taps[t / 3][t % 3];
        }
    }
    [y, dx, dkernel]
}

/// The bounds of the three passes.
fn bounds<T: Element>(problem: &Problem<T>, tier: Tier) -> [Vec<f64>; 3] {
    let g = &problem.geometry;
    let abs = |values: &[T]| -> Vec<f64> { values.iter().map(|v| v.to_f64().abs()).collect() };
    let (x, dy, kernel) = (abs(&problem.x), abs(&problem.dy), abs(&problem.kernel));
    let mut all = [Vec::new(), Vec::new(), vec![0.0; kernel.len()]];
    for (x, dy) in x.chunks_exact(g.input_len()).zip(dy.chunks_exact(g.output_len())) {
        let [y, dx, dkernel] = amplified_passes(g, x, dy, &kernel);
        all[0].extend(y);
        all[1].extend(dx);
        all[2].iter_mut().zip(dkernel).for_each(|(sum, part)| *sum += part);
    }
    let tiles = [1, 2].map(|i| g.axes[i].output.div_ceil(4)).iter().product::<usize>() * problem.samples;
    // The folding of a border adds up at most all of it.
    let copies: usize =
        if g.mode == PaddingMode::Zeros { 0 } else { [1, 2].map(|i| padded(&g.axes[i])).iter().product() };
    let chains = [g.c_in, g.c_out + copies, tiles];
    let unit = 2f64.powi(if T::NAME == "float32" { -24 } else { -53 });
    for (bounds, chain) in all.iter_mut().zip(chains) {
        // Without fused instructions a multiply-add rounds twice; the reference errs as well, which shows in float64.
        let roundings = (chain + TRANSFORMS) * if tier.fused() { 1 } else { 2 };
        let relative = 1.1 * (roundings as f64 * unit + (chain * 9 + 1) as f64 * 2f64.powi(-53));
        bounds.iter_mut().for_each(|m| *m *= relative);
    }
    all
}

fn runner<T: Element>(tier: Tier) -> Runner<T> {
    let mut runner = Runner::new(tier);
    runner.algorithm = Algorithm::Winograd;
    runner
}

fn check<T: Element>(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<T>::new(case, uniform);
    let expected = problem.expected();
    for tier in Tier::available() {
        let bounds = bounds(&problem, tier);
        let got = runner(tier).passes(&problem);
        for pass in 0..3 {
            check_close(&got[pass], &expected[pass], &bounds[pass], 1.0)
                .map_err(|what| format!("{} in {} on {tier:?}: {what}", PASSES[pass], T::NAME))?;
        }
    }
    Ok(())
}

/// Bias and ReLU in the transform of the outputs, of both correlations.
fn check_epilogue(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<f32>::new(case, uniform);
    let expected = problem.expected();
    let in_bias: Vec<f32> = uniform(problem.geometry.c_in, case.seed ^ 5);
    for tier in Tier::available() {
        let bounds = bounds(&problem, tier);
        let mut runner = runner(tier);
        let with = |bias| Epilogue { bias: Some(bias), relu: true };
        let got =
            [runner.forward(&problem, with(&problem.bias)), runner.input_grad(&problem, with(&in_bias))];
        for (pass, bias) in [&problem.bias, &in_bias].into_iter().enumerate() {
            let bias = |i: usize| f64::from(bias[i % bias.len()]);
            let start = |(i, e): (usize, &f64)| (e + bias(i)).max(0.0);
            let expected: Vec<f64> = expected[pass].iter().enumerate().map(start).collect();
            let allowed = |(i, m): (usize, &f64)| m + 2f64.powi(-22) * bias(i).abs();
            let bounds: Vec<f64> = bounds[pass].iter().enumerate().map(allowed).collect();
            check_close(&got[pass], &expected, &bounds, 1.0)
                .map_err(|what| format!("{} with bias on {tier:?}: {what}", PASSES[pass]))?;
        }
    }
    Ok(())
}

/// Tiers that fuse agree to the bit, and so do partitions of the rows and groups of samples.
fn check_bits(case: &ConvCase, cuts: &[usize]) -> Result<(), String> {
    let problem = Problem::<f32>::new(case, uniform);
    let g = &problem.geometry;
    let mut fused: Option<[Vec<u64>; 3]> = None;
    for tier in Tier::available() {
        let mut runner = runner(tier);
        let whole = runner.passes(&problem).map(|pass| bits(&pass));
        runner.cuts = cuts.to_vec();
        let pieces = runner.passes(&problem).map(|pass| bits(&pass));
        let kernels = Kernels::of(tier);
        let mut scratch = Scratch::default();
        let forward = conv::forward(g, kernels, Algorithm::Winograd);
        let mut packed = vec![f32::NAN; forward.packed_len()];
        forward.pack(&problem.kernel, &mut packed);
        let mut y = vec![f32::NAN; problem.dy.len()];
        forward.run_samples(&problem.x, &packed, &mut y, problem.samples, Epilogue::NONE, &mut scratch);
        let grad = conv::kernel_grad(g, kernels, Algorithm::Winograd);
        let mut sums = vec![0.0; grad.sums_len(g.kernel_len())];
        grad.run_samples(&problem.x, &problem.dy, problem.samples, &mut sums, &mut scratch);
        grad.finish(&mut sums);
        let together = [bits(&y), whole[1].clone(), bits(&sums[..g.kernel_len()])];
        for (what, got) in [("the partition", pieces), ("samples in front", together)] {
            if let Some(pass) = (0..3).find(|&pass| got[pass] != whole[pass]) {
                return Err(format!("{} on {tier:?} depends on {what}", PASSES[pass]));
            }
        }
        if tier.fused() {
            let first = fused.get_or_insert_with(|| whole.clone());
            if let Some(pass) = (0..3).find(|&pass| first[pass] != whole[pass]) {
                return Err(format!("{}: {tier:?} has other bits", PASSES[pass]));
            }
        }
    }
    Ok(())
}

fn named() -> Vec<(&'static str, ConvCase)> {
    let case = |sizes: [usize; 2], c_in, c_out| ConvCase::new(&sizes, 3, c_in, c_out);
    vec![
        ("one tile", case([6, 6], 1, 1)),
        ("one output", case([3, 3], 2, 3)),
        ("one pixel", case([1, 1], 3, 2).same()),
        ("whole tiles", case([8, 12], 16, 16).same()),
        ("ragged both ways", case([9, 15], 7, 37).same()),
        ("valid, ragged", case([13, 11], 33, 20)),
        ("one channel to many", case([10, 10], 1, 70).same()),
        ("many channels to one", case([10, 10], 70, 1).same()),
        ("many tiles", case([40, 37], 5, 6).same()),
        ("padding in front only", case([6, 7], 4, 5).pad(&[(3, 0), (0, 4)])),
        ("padding wider than the kernel", case([3, 2], 4, 5).pad(&[(7, 6), (5, 9)])),
        ("reflected", case([9, 11], 5, 7).same().mode(PaddingMode::Reflect)),
        ("repeated edge", case([9, 6], 18, 7).pad(&[(2, 1), (0, 3)]).mode(PaddingMode::Edge)),
        ("wrapped", case([5, 8], 3, 40).same().mode(PaddingMode::Wrap)),
        ("symmetric, more than once", case([2, 3], 2, 3).pad(&[(5, 4), (7, 0)]).mode(PaddingMode::Symmetric)),
    ]
}

fn check_table(check: impl Fn(&ConvCase) -> Result<(), String>) {
    let failures: Vec<String> = named()
        .iter()
        .filter_map(|(name, case)| check(case).err().map(|what| format!("{name}: {what}\n    {case:?}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The points are an interpolation, and cost what the bound says: a factor of at most 25 for an axis, reached
/// by no data at once with the other axis.
#[test]
fn matrices_interpolate() {
    let [a, g, b] = matrices();
    for (k, (r, j)) in (0..4).flat_map(|k| (0..3).flat_map(move |r| (0..POINTS).map(move |j| (k, (r, j))))) {
        let sum: f64 = (0..POINTS).map(|i| a[k][i] * g[i][r] * b[i][j]).sum();
        assert!((sum - f64::from(j == k + r)).abs() < 1e-14, "{k} {r} {j}: {sum}");
    }
    let [a, g, b] = [a, g, b].map(absolute);
    let norm = |row: &Vec<f64>| row.iter().sum::<f64>();
    let factor = |k: usize| (0..POINTS).map(|i| a[k][i] * norm(&g[i]) * norm(&b[i])).sum::<f64>();
    let most = (0..4).map(factor).fold(0.0, f64::max);
    assert!(most < 25.0, "{most}");
}

#[test]
fn named_cases_in_float32() {
    check_table(check::<f32>);
}

#[test]
fn named_cases_in_float64() {
    check_table(check::<f64>);
}

#[test]
fn named_cases_with_bias_and_relu() {
    check_table(check_epilogue);
}

#[test]
fn named_cases_have_the_same_bits_everywhere() {
    check_table(|case| check_bits(case, &[1, 3, 4, 9, 20]));
}

/// What other problems left in the scratch must not show.
#[test]
fn scratch_may_hold_anything() {
    for tier in Tier::available() {
        let mut shared = runner::<f32>(tier);
        for (name, case) in named().iter().rev() {
            let problem = Problem::new(case, uniform);
            assert_eq!(shared.passes(&problem), runner(tier).passes(&problem), "{name} on {tier:?}");
        }
    }
}

/// What is not finite stays inside the tiles that read it.
#[test]
fn a_nan_spreads_over_its_tiles_only() {
    let case = ConvCase { samples: 1, ..ConvCase::new(&[16, 16], 3, 4, 4).same() };
    let mut problem = Problem::<f32>::new(&case, uniform);
    problem.x[(9 * 16 + 9) * 4] = f32::NAN;
    for tier in Tier::available() {
        for (i, y) in runner(tier).forward(&problem, Epilogue::NONE).iter().enumerate() {
            let (row, column) = (i / 4 / 16, i / 4 % 16);
            let tile = (8..12).contains(&row) && (8..12).contains(&column);
            assert_eq!(y.is_nan(), tile, "{row} {column}");
        }
    }
}

fn cases() -> impl Strategy<Value = ConvCase> {
    let pads = prop_oneof![
        2 => Just(None),
        3 => (0..=5usize, 0..=5usize, 0..=5usize, 0..=5usize).prop_map(Some)
    ];
    let mode =
        prop_oneof![3 => Just(PaddingMode::Zeros), 2 => prop::sample::select(PaddingMode::ALL.to_vec())];
    let sizes = (1..=17usize, 1..=23usize);
    let channels = prop_oneof![3 => (1..=20usize, 1..=20usize), 1 => (1..=70usize, 1..=4usize), 1 => (1..=4usize, 1..=70usize)];
    (sizes, channels, pads, mode, 1..=2usize, any::<u64>()).prop_map(
        |((h, w), (c_in, c_out), pads, mode, samples, seed)| {
            let case = ConvCase { samples, seed, ..ConvCase::new(&[h, w], 3, c_in, c_out) };
            match pads {
                None => case.same(),
                Some((a, b, c, d)) => {
                    let grow = |n: usize, before: usize, after: usize| {
                        (before, after.max(3usize.saturating_sub(n + before)))
                    };
                    case.pad(&[grow(h, a, b), grow(w, c, d)])
                }
            }
            .mode(mode)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn passes_agree_with_the_reference_in_float32(case in cases()) {
        check::<f32>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn passes_agree_with_the_reference_in_float64(case in cases()) {
        check::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn bias_and_relu_are_applied_once(case in cases()) {
        check_epilogue(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn bits_depend_on_neither_partition_nor_tier(case in cases(), cuts in prop::collection::vec(0..1000usize, 0..5)) {
        check_bits(&case, &cuts).map_err(TestCaseError::fail)?;
    }
}
