//! Winograd's algorithm against the reference, under a bound of its own.
//!
//! With the matrices of `kernels/winograd.rs`, an output of an image is `y = A' [sum over c of (G w G') * (B' x B)] A`;
//! of a series, the same on one side; taps that are summed up directly lengthen the sum over c. Replacing
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
use gridnn::conv::{self, Algorithm, Epilogue, GradOperands, Operands, Pass, Region, Scratch, Sums};
use gridnn::geometry::{Axis, ConvGeometry, PaddingMode};
use gridnn::kernels::{Element, Kernels, Tier};
use proptest::prelude::*;

const POINTS: usize = 6;
/// Roundings besides the chain: both axes of input, kernel and output, and a bias.
const TRANSFORMS: usize = 2 * (4 + 6 + 5) + 1;

type Matrix = Vec<Vec<f64>>;

/// `A'`, `G` and `B'` for some taps from the points, infinity last: independent of the code under test.
fn matrices(taps: usize) -> [Matrix; 3] {
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
    let kernel = powers(taps);
    let scale = |i: usize| others(i).iter().map(|x| points[i.min(4)] - x).product::<f64>();
    let kernel = (0..POINTS)
        .map(|i| (0..taps).map(|k| kernel[k][i] / if i < 5 { scale(i) } else { 1.0 }).collect())
        .collect();
    [powers(POINTS + 1 - taps), kernel, inputs]
}

fn absolute(m: Matrix) -> Matrix {
    m.into_iter().map(|row| row.into_iter().map(f64::abs).collect()).collect()
}

fn transposed(m: &Matrix) -> Matrix {
    (0..m[0].len()).map(|j| m.iter().map(|row| row[j]).collect()).collect()
}

/// `h v w'` for numbers given by a function.
fn both_axes([h, w]: [&Matrix; 2], v: impl Fn(usize, usize) -> f64) -> Matrix {
    let half: Matrix = h
        .iter()
        .map(|row| (0..w[0].len()).map(|j| (0..h[0].len()).map(|i| row[i] * v(i, j)).sum()).collect())
        .collect();
    half.iter().map(|h| w.iter().map(|row| row.iter().zip(h).map(|(a, b)| a * b).sum()).collect()).collect()
}

/// The absolute matrices along height and width, what they are applied to, and what is summed up directly.
struct Form {
    outputs: [Matrix; 2],
    kernel: [Matrix; 2],
    inputs: [Matrix; 2],
    /// Distances of the positions of a tile, which are those of the taps.
    apart: [usize; 3],
    /// Taps of the kernel along all axes, those of a tile along the width, and parts of a row that have so many.
    taps: [usize; 3],
    along: usize,
    parts: usize,
}

impl Form {
    fn new(g: &ConvGeometry) -> Self {
        let taps = g.axes.map(|a| a.kernel);
        let along = if taps[2] == 5 { 5 } else { 3 };
        let axes = [taps[1], along].map(|taps| match taps {
            1 => [(); 3].map(|()| vec![vec![1.0]]),
            _ => matrices(taps).map(absolute),
        });
        let [outputs, kernel, inputs] = [0, 1, 2].map(|i| axes.each_ref().map(|axis| axis[i].clone()));
        let apart = g.axes.map(|a| if a.kernel == 1 { 1 } else { a.dilation });
        Self { outputs, kernel, inputs, apart, taps, along, parts: taps[2] / along }
    }

    /// Outputs of a tile along height and width.
    fn tile(&self) -> [usize; 2] {
        self.outputs.each_ref().map(Vec::len)
    }

    /// Plane of the kernel and part of its rows, for every tap that is summed up directly.
    fn direct(&self) -> Vec<(usize, usize)> {
        (0..self.taps[0] * self.parts).map(|i| (i / self.parts, i % self.parts)).collect()
    }

    /// Number of a tap.
    fn tap(&self, (plane, part): (usize, usize), row: usize, column: usize) -> usize {
        (plane * self.taps[1] + row) * self.taps[2] + part * self.along + column
    }

    /// Plane, row and column of the first output of every tile.
    fn tiles(&self, out: [usize; 3]) -> Vec<[usize; 3]> {
        let [h, w] = self.tile();
        // A tile for every `outputs` positions of a phase.
        let firsts = |axis: usize, outputs: usize| -> Vec<usize> {
            let apart = self.apart[axis];
            (0..out[axis]).filter(|p| (p / apart).is_multiple_of(outputs)).collect()
        };
        let (rows, columns) = (firsts(1, h), firsts(2, w));
        let rows = (0..out[0]).flat_map(|d| rows.iter().map(move |&y| (d, y)));
        rows.flat_map(|(d, y)| columns.iter().map(move |&x| [d, y, x])).collect()
    }

    /// What a tile reads first for a tap that is summed up directly.
    fn reads(&self, [z, y, x]: [usize; 3], (plane, part): (usize, usize)) -> [usize; 3] {
        [z + plane * self.apart[0], y, x + part * self.along * self.apart[2]]
    }
}

/// A volume with anything around it: `at([z, y, x], c)`.
struct Volume<'a> {
    values: &'a [f64],
    sizes: [usize; 3],
    channels: usize,
    /// What stands at a position of each axis, which may be far outside.
    sources: [Vec<Option<usize>>; 3],
}

impl Volume<'_> {
    fn at(&self, place: [usize; 3], c: usize) -> f64 {
        let get = |axis: usize| self.sources[axis].get(place[axis]).copied().flatten();
        match (get(0), get(1), get(2)) {
            (Some(z), Some(y), Some(x)) => {
                self.values[((z * self.sizes[1] + y) * self.sizes[2] + x) * self.channels + c]
            }
            _ => 0.0,
        }
    }

    /// Tiles of all channels, from a place on, under a map; so far apart.
    fn tiles(&self, map: &[Matrix; 2], [z, y, x]: [usize; 3], [_, h, w]: [usize; 3]) -> Vec<Matrix> {
        let tile = |c: usize| both_axes(map.each_ref(), |i, j| self.at([z, y + i * h, x + j * w], c));
        (0..self.channels).map(tile).collect()
    }
}

/// `M` of a correlation; `kernel(t, c, o)` are its taps.
fn amplified(
    form: &Form,
    volume: &Volume<'_>,
    out: [usize; 3],
    c_out: usize,
    kernel: impl Fn(usize, usize, usize) -> f64,
) -> Vec<f64> {
    let mut y = vec![0.0; out.iter().product::<usize>() * c_out];
    let weights = |direct: (usize, usize)| -> Vec<Matrix> {
        let tap = |i: usize, r, s| kernel(form.tap(direct, r, s), i / c_out, i % c_out);
        (0..volume.channels * c_out).map(|i| both_axes(form.kernel.each_ref(), |r, s| tap(i, r, s))).collect()
    };
    let direct: Vec<_> = form.direct().into_iter().map(|direct| (direct, weights(direct))).collect();
    let [_, h, w] = form.apart;
    for tile in form.tiles(out) {
        let [z, row, column] = tile;
        let read = |direct| volume.tiles(&form.inputs, form.reads(tile, direct), form.apart);
        let inputs: Vec<Vec<Matrix>> = form.direct().into_iter().map(read).collect();
        for o in 0..c_out {
            let sums = both_axes(form.outputs.each_ref(), |i, j| {
                let terms = |(inputs, (_, weights)): (&Vec<Matrix>, &(_, Vec<Matrix>))| -> f64 {
                    (0..volume.channels).map(|c| inputs[c][i][j] * weights[c * c_out + o][i][j]).sum()
                };
                inputs.iter().zip(&direct).map(terms).sum()
            });
            for (i, sums) in sums.iter().enumerate().filter(|(i, _)| row + i * h < out[1]) {
                for (j, sum) in sums.iter().enumerate().filter(|(j, _)| column + j * w < out[2]) {
                    y[((z * out[1] + row + i * h) * out[2] + column + j * w) * c_out + o] = *sum;
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
    let (form, axes, taps) = (Form::new(g), g.axes, g.taps());
    let (c_in, c_out) = (g.c_in, g.c_out);
    let [ins, outs] = [axes.map(|a| a.input), axes.map(|a| a.output)];
    let x = Volume {
        values: x,
        sizes: ins,
        channels: c_in,
        sources: axes.each_ref().map(|a| forward_sources(a, g.mode)),
    };
    let y = amplified(&form, &x, outs, c_out, |t, c, o| kernel[(t * c_in + c) * c_out + o]);

    // Zero borders: tiles start with the input; others: with the padded one, whose borders are added back.
    let zeros = g.mode == PaddingMode::Zeros;
    let lead = |a: &Axis| if zeros { a.before } else { 0 };
    let sources = axes.each_ref().map(|a| {
        let before = a.span() - 1;
        let source = |p: usize| (p + lead(a)).checked_sub(before).filter(|&p| p < a.output);
        (0..padded(a) + before).map(source).collect()
    });
    let grad = Volume { values: dy, sizes: outs, channels: c_out, sources };
    let sizes = if zeros { ins } else { axes.each_ref().map(padded) };
    let flipped = |t: usize, o: usize, c: usize| kernel[((taps - 1 - t) * c_in + c) * c_out + o];
    let whole = amplified(&form, &grad, sizes, c_in, flipped);
    let mut dx = vec![0.0; g.input_len()];
    for (i, m) in whole.iter().enumerate() {
        let (pixel, c) = (i / c_in, i % c_in);
        let place = [pixel / sizes[2] / sizes[1], pixel / sizes[2] % sizes[1], pixel % sizes[2]];
        let source = |axis: usize| if zeros { Some(place[axis]) } else { x.sources[axis][place[axis]] };
        let [z, y, x] = [0, 1, 2].map(|axis| source(axis).expect("other modes have a source everywhere"));
        dx[((z * ins[1] + y) * ins[2] + x) * c_in + c] += m;
    }

    let [outputs, kernel_grads] = [&form.outputs, &form.kernel].map(|pair| pair.each_ref().map(transposed));
    let dy = Volume {
        values: dy,
        sizes: outs,
        channels: c_out,
        sources: outs.map(|n| (0..n).map(Some).collect()),
    };
    let mut dkernel = vec![0.0; kernel.len()];
    for direct in form.direct() {
        let mut sums = vec![vec![vec![0.0; outputs[1].len()]; outputs[0].len()]; c_in * c_out];
        for tile in form.tiles(outs) {
            let inputs = x.tiles(&form.inputs, form.reads(tile, direct), form.apart);
            // What lies behind the last output is nothing.
            let grads = dy.tiles(&outputs, tile, form.apart);
            for (k, sum) in sums.iter_mut().enumerate() {
                for (i, line) in sum.iter_mut().enumerate() {
                    for (j, sum) in line.iter_mut().enumerate() {
                        *sum += inputs[k / c_out][i][j] * grads[k % c_out][i][j];
                    }
                }
            }
        }
        for (k, sum) in sums.iter().enumerate() {
            for (r, line) in both_axes(kernel_grads.each_ref(), |i, j| sum[i][j]).iter().enumerate() {
                for (s, tap) in line.iter().enumerate() {
                    dkernel[form.tap(direct, r, s) * c_in * c_out + k] = *tap;
                }
            }
        }
    }
    [y, dx, dkernel]
}

/// The bounds of the three passes.
fn bounds<T: Element>(problem: &Problem<T>, tier: Tier) -> [Vec<f64>; 3] {
    let g = &problem.geometry;
    let form = Form::new(g);
    let abs = |values: &[T]| -> Vec<f64> { values.iter().map(|v| v.to_f64().abs()).collect() };
    let (x, dy, kernel) = (abs(&problem.x), abs(&problem.dy), abs(&problem.kernel));
    let mut all = [Vec::new(), Vec::new(), vec![0.0; kernel.len()]];
    for (x, dy) in x.chunks_exact(g.input_len()).zip(dy.chunks_exact(g.output_len())) {
        let [y, dx, dkernel] = amplified_passes(g, x, dy, &kernel);
        all[0].extend(y);
        all[1].extend(dx);
        all[2].iter_mut().zip(dkernel).for_each(|(sum, part)| *sum += part);
    }
    let (direct, tiles) = (form.direct().len(), form.tiles(g.axes.map(|a| a.output)).len() * problem.samples);
    // Adding a border adds up at most all of it.
    let copies: usize = if g.mode == PaddingMode::Zeros { 0 } else { g.axes.iter().map(padded).product() };
    let chains = [direct * g.c_in, direct * g.c_out + copies, tiles];
    let unit = 2f64.powi(if T::NAME == "float32" { -24 } else { -53 });
    for (bounds, chain) in all.iter_mut().zip(chains) {
        // Without fused instructions a multiply-add rounds twice; the reference errs as well, which shows in float64.
        let roundings = (chain + TRANSFORMS) * if tier.fused() { 1 } else { 2 };
        let relative = 1.1 * (roundings as f64 * unit + (chain * g.taps() + 1) as f64 * 2f64.powi(-53));
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
        let all = Region::Samples(problem.samples);
        let forward = conv::map(Pass::Forward, g, kernels, Algorithm::Winograd);
        let mut packed = vec![f32::NAN; forward.tiling().weights];
        forward.pack(&problem.kernel, 0, &mut packed);
        let mut y = vec![f32::NAN; problem.dy.len()];
        let epilogue = Epilogue::NONE;
        let operands = Operands { from: &problem.x, packed: &packed, epilogue, non_temporal: false };
        forward.run(operands, &mut y, &all, &mut scratch);
        let grad = conv::kernel_grad(g, kernels, Algorithm::Winograd);
        let operands = GradOperands { x: &problem.x, dy: &problem.dy, non_temporal: false };
        let mut sum = |from_zero: bool, value: f32| {
            let mut sums = vec![value; grad.tiling().weights];
            let to = Sums { sums: &mut sums, units: 0..1, from_zero };
            grad.accumulate(operands, &all, to, &mut scratch);
            grad.finish(&mut sums);
            bits(&sums[..g.kernel_len()])
        };
        let together = [bits(&y), whole[1].clone(), sum(false, 0.0)];
        let started = sum(true, f32::NAN);
        let started = [together[0].clone(), together[1].clone(), started];
        let others =
            [("the partition", pieces), ("samples in front", together), ("what the sums have held", started)];
        for (what, got) in others {
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
    let five = |sizes: [usize; 2], c_in, c_out| ConvCase::new(&sizes, 5, c_in, c_out);
    let series = |size, kernel, c_in, c_out| ConvCase::new(&[size], kernel, c_in, c_out);
    let volume = |sizes: [usize; 3], c_in, c_out| ConvCase::new(&sizes, 3, c_in, c_out);
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
        ("5 x 5, one tile", five([6, 6], 1, 1)),
        ("5 x 5, whole tiles", five([8, 12], 17, 33).same()),
        ("5 x 5, ragged", five([9, 15], 7, 37).same()),
        ("5 x 5, valid", five([13, 11], 34, 3)),
        ("5 x 5, uneven padding", five([3, 2], 4, 5).pad(&[(7, 6), (0, 9)])),
        ("5 x 5, wrapped", five([6, 9], 5, 18).same().mode(PaddingMode::Wrap)),
        ("series", series(23, 3, 17, 33).same()),
        ("long series", series(301, 3, 3, 5).same()),
        ("long causal series", series(290, 3, 5, 3).causal()),
        ("series of one element", series(1, 3, 3, 2).same()),
        ("series, padding wider than the kernel", series(3, 3, 4, 5).pad(&[(7, 6)])),
        ("reflected series", series(150, 3, 5, 7).same().mode(PaddingMode::Reflect)),
        ("5 taps, valid", series(70, 5, 18, 20)),
        ("5 taps, long", series(200, 5, 4, 3).same()),
        ("5 taps, causal", series(11, 5, 5, 37).causal()),
        ("5 taps, repeated edge", series(9, 5, 3, 4).pad(&[(4, 1)]).mode(PaddingMode::Edge)),
        ("6 taps", series(150, 6, 5, 17).same()),
        ("9 taps", series(140, 9, 18, 5).same()),
        ("9 taps, causal", series(7, 9, 3, 34).causal()),
        ("9 taps, wrapped", series(30, 9, 5, 4).same().mode(PaddingMode::Wrap)),
        ("rows of an image", case([7, 22], 5, 18).kernel(&[1, 3]).same()),
        ("rows of 5 taps", five([6, 9], 17, 5).kernel(&[1, 5]).pad(&[(1, 2), (0, 3)])),
        ("volume", volume([5, 6, 7], 5, 18).same()),
        ("volume of several tiles", volume([19, 5, 9], 3, 4).same()),
        ("volume, valid", volume([3, 3, 3], 17, 5)),
        ("volume, valid and ragged", volume([12, 7, 8], 4, 3)),
        ("volume, uneven padding", volume([2, 3, 5], 3, 4).pad(&[(4, 3), (0, 1), (3, 0)])),
        ("volume, reflected", volume([10, 4, 5], 2, 3).same().mode(PaddingMode::Reflect)),
        ("volume, wrapped", volume([3, 9, 4], 4, 2).same().mode(PaddingMode::Wrap)),
        ("volume of 5 x 5 x 5", ConvCase::new(&[6, 7, 5], 5, 3, 5).same()),
        ("planes of a volume", volume([9, 6, 5], 5, 3).kernel(&[1, 3, 3]).same()),
        ("columns of a volume", volume([5, 4, 9], 3, 5).kernel(&[4, 1, 3]).same()),
        ("dilated", case([21, 19], 17, 18).same().dilation(&[2, 2])),
        ("dilated, uneven", case([14, 30], 3, 5).dilation(&[3, 2]).pad(&[(5, 1), (0, 4)])),
        ("dilated, valid", case([13, 11], 5, 4).dilation(&[4, 5])),
        ("dilated further than the map", case([5, 3], 4, 34).same().dilation(&[7, 4])),
        ("dilated along one axis", case([9, 23], 5, 3).same().dilation(&[1, 6])),
        ("dilated, reflected", case([16, 11], 4, 3).same().dilation(&[3, 2]).mode(PaddingMode::Reflect)),
        ("dilated, wrapped", case([9, 10], 3, 5).same().dilation(&[2, 4]).mode(PaddingMode::Wrap)),
        ("5 x 5, dilated", five([17, 20], 4, 18).same().dilation(&[2, 3])),
        ("dilated series", series(301, 3, 17, 5).same().dilation(&[2])),
        ("dilated causal series", series(600, 3, 3, 4).causal().dilation(&[8])),
        ("causal series, far apart", series(150, 3, 5, 18).causal().dilation(&[64])),
        ("causal series, further than it is long", series(40, 3, 2, 3).causal().dilation(&[64])),
        ("5 taps, dilated", series(90, 5, 5, 3).same().dilation(&[3])),
        ("9 taps, dilated", series(170, 9, 3, 5).causal().dilation(&[4])),
        ("dilated series, repeated edge", series(33, 3, 4, 3).dilation(&[5]).same().mode(PaddingMode::Edge)),
        ("rows of an image, dilated", case([6, 30], 3, 4).kernel(&[1, 3]).same().dilation(&[3, 2])),
        ("volume, dilated", volume([9, 8, 11], 3, 4).same().dilation(&[2, 2, 3])),
        ("volume, planes far apart", volume([21, 4, 5], 2, 3).same().dilation(&[9, 1, 1])),
        (
            "volume, dilated and ragged",
            volume([7, 5, 9], 3, 2).dilation(&[3, 1, 2]).pad(&[(6, 0), (0, 1), (2, 5)]),
        ),
    ]
}

fn check_table(check: impl Fn(&ConvCase) -> Result<(), String>) {
    let failures: Vec<String> = named()
        .iter()
        .filter_map(|(name, case)| check(case).err().map(|what| format!("{name}: {what}\n    {case:?}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The points are an interpolation, and cost what the bound says: a factor of at most 25 for an axis of 3 taps, 47 for
/// one of 5, reached by no data at once with another axis.
#[test]
fn matrices_interpolate() {
    for (taps, bound) in [(3, 25.0), (5, 47.0)] {
        let (outputs, [a, g, b]) = (POINTS + 1 - taps, matrices(taps));
        for (k, r, j) in
            (0..outputs * taps * POINTS).map(|i| (i / POINTS / taps, i / POINTS % taps, i % POINTS))
        {
            let sum: f64 = (0..POINTS).map(|i| a[k][i] * g[i][r] * b[i][j]).sum();
            assert!((sum - f64::from(j == k + r)).abs() < 1e-14, "{taps}: {k} {r} {j}: {sum}");
        }
        let [a, g, b] = [a, g, b].map(absolute);
        let norm = |row: &Vec<f64>| row.iter().sum::<f64>();
        let factor = |k: usize| (0..POINTS).map(|i| a[k][i] * norm(&g[i]) * norm(&b[i])).sum::<f64>();
        let most = (0..outputs).map(factor).fold(0.0, f64::max);
        assert!(most < bound, "{taps}: {most}");
    }
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

/// Cases of all forms.
fn cases() -> impl Strategy<Value = ConvCase> {
    let kernels = prop_oneof![
        3 => prop::sample::select(vec![vec![3, 3], vec![5, 5]]),
        2 => prop::sample::select(vec![vec![3], vec![5], vec![6], vec![9]]),
        2 => prop::sample::select(vec![vec![3, 3, 3], vec![2, 3, 3], vec![3, 5, 5], vec![2, 1, 3], vec![1, 5]]),
    ];
    let pads = prop_oneof![
        2 => Just(None),
        3 => prop::collection::vec((0..=5usize, 0..=5usize), 3).prop_map(Some)
    ];
    let mode =
        prop_oneof![3 => Just(PaddingMode::Zeros), 2 => prop::sample::select(PaddingMode::ALL.to_vec())];
    let sizes = (1..=19usize, 1..=17usize, prop_oneof![3 => 1..=23usize, 1 => 24..=300usize]);
    let dilations = prop_oneof![
        2 => Just(vec![1; 3]),
        2 => prop::collection::vec(1..=4usize, 3),
        1 => prop::collection::vec(1..=40usize, 3),
    ];
    let channels = prop_oneof![3 => (1..=20usize, 1..=20usize), 1 => (1..=70usize, 1..=4usize), 1 => (1..=4usize, 1..=70usize)];
    (kernels, sizes, dilations, channels, pads, mode, 1..=2usize, any::<u64>()).prop_map(
        |(kernel, (d, h, w), dilations, (c_in, c_out), pads, mode, samples, seed)| {
            let rank = kernel.len();
            let dilation = &dilations[3 - rank..];
            // Long rows are for series, and volumes are kept small: the bound is slow.
            let mut sizes = [d, h, if rank == 1 { w } else { w % 23 + 1 }][3 - rank..].to_vec();
            let (mut c_in, mut c_out) = (c_in, c_out);
            while sizes.iter().chain(&kernel).product::<usize>() * c_in * c_out > 400_000 {
                let largest = sizes.iter_mut().chain([&mut c_in, &mut c_out]).max_by_key(|n| **n);
                let largest = largest.expect("there are sizes");
                *largest = largest.div_ceil(2);
            }
            let case = ConvCase::new(&sizes, 3, c_in, c_out).kernel(&kernel).dilation(dilation);
            let case = ConvCase { samples, seed, ..case };
            match pads {
                None => case.same(),
                Some(pads) => {
                    let spans = kernel.iter().zip(dilation).map(|(taps, apart)| (taps - 1) * apart + 1);
                    let grow = |((n, span), (before, after)): ((&usize, usize), (usize, usize))| {
                        (before, after.max(span.saturating_sub(n + before)))
                    };
                    let pads: Vec<_> = sizes.iter().zip(spans).zip(pads).map(grow).collect();
                    case.pad(&pads)
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
