//! A search for results that one value spoils which they do not read.
//!
//! For any finite input, a result of Winograd's algorithm errs by at most a fixed multiple of what a direct sum may err by:
//! `1.1 n u W X` for `n` terms, with `W` the sum of the magnitudes of the kernel that lead to it, and `X` the largest
//! magnitude among what it reads. To the kernel, `W X` is the sum over all positions of the largest magnitude of the inputs
//! there times that of the gradients of outputs, where zeros beside a map count as what stands at its border. The multiple that follows from the matrices is a few thousand (see
//! docs/performance.md); what the search finds is far less, and [`MULTIPLES`] is above that.

mod common;

use common::{ConvCase, PASSES, Problem, Runner, bits, words};
use gridnn::conv::{Algorithm, Epilogue};
use gridnn::geometry::{Axis, ConvGeometry, PaddingMode};
use gridnn::kernels::{Element, Tier};
use proptest::prelude::*;

/// Most that a result may err by, in multiples of what a direct sum may.
const MULTIPLES: [f64; 3] = [64.0; 3];

/// What the values are like.
#[derive(Debug, Clone, Copy)]
enum Data {
    /// One value among uniform ones.
    One(f64),
    /// Powers of two within so many, position by position.
    Scales(i32),
    /// As many positions out of eight are zero, and a single one is large.
    Sparse(u64, f64),
    /// A picture on a ground of a tiny value.
    Edge(f64),
}

fn fill<T: Element>(data: Data, len: usize, channels: usize, seed: u64) -> Vec<T> {
    let mut random = words(seed);
    let mut uniform = || (random.next().unwrap() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let mut values: Vec<f64> = (0..len).map(|_| uniform()).collect();
    let positions = len / channels;
    let place = (words(seed ^ 77).next().unwrap() % len.max(1) as u64) as usize;
    for (p, word) in (0..positions).zip(words(seed ^ 99)) {
        let scale = match data {
            Data::One(_) => 1.0,
            Data::Scales(most) => 2f64.powi((word % (2 * most as u64 + 1)) as i32 - most),
            Data::Sparse(zeros, _) => f64::from(u8::from(word % 8 >= zeros)),
            Data::Edge(ground) => {
                if p * 2 > positions {
                    ground
                } else {
                    1.0
                }
            }
        };
        values[p * channels..(p + 1) * channels].iter_mut().for_each(|v| *v *= scale);
    }
    if let Data::One(value) | Data::Sparse(_, value) = data
        && len > 0
    {
        values[place] = value;
    }
    values.into_iter().map(T::from_f64).collect()
}

fn problem<T: Element>(case: &ConvCase, data: [Data; 2]) -> Problem<T> {
    let mut problem = Problem::<T>::new(case, common::uniform);
    let (c_in, c_out) = (problem.geometry.c_in, problem.geometry.c_out);
    problem.x = fill(data[0], problem.x.len(), c_in, case.seed ^ 11);
    problem.dy = fill(data[1], problem.dy.len(), c_out, case.seed ^ 12);
    problem
}

/// Largest magnitudes over the channels.
fn peaks<T: Element>(values: &[T], channels: usize) -> Vec<f64> {
    values.chunks(channels).map(|v| v.iter().map(|v| v.to_f64().abs()).fold(0.0, f64::max)).collect()
}

/// Calls `visit(tap, input position, output position, read)` for all of a sample, and for what stands at the border of a map
/// in place of zeros beside it, which are not `read`.
fn visit(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize, bool)) {
    let [d, h, w] = &g.axes;
    let all = |a: &Axis| -> Vec<(usize, usize, Option<usize>, bool)> {
        (0..a.output)
            .flat_map(|o| (0..a.kernel).map(move |t| (o, t)))
            .map(|(o, t)| {
                let place = o * a.stride + t * a.dilation;
                // As far from the border as the taps are apart, so that a tile of a dilated convolution reads it.
                let inside = |p: usize| (p >= a.before && p < a.before + a.input).then(|| p - a.before);
                let beside = (0..=place + a.input)
                    .filter(|n| n % a.dilation == 0)
                    .find_map(|n| place.checked_sub(n).and_then(inside).or_else(|| inside(place + n)));
                let source = g.mode.source(place, a.before, a.input);
                (o, t, source.or(beside), source.is_some())
            })
            .collect()
    };
    let (planes, rows, columns) = (all(d), all(h), all(w));
    for &(od, td, id, d_read) in &planes {
        for &(oh, th, ih, h_read) in &rows {
            for &(ow, tw, iw, w_read) in &columns {
                if let (Some(id), Some(ih), Some(iw)) = (id, ih, iw) {
                    let tap = (td * h.kernel + th) * w.kernel + tw;
                    let read = d_read && h_read && w_read;
                    visit(
                        tap,
                        (id * h.input + ih) * w.input + iw,
                        (od * h.output + oh) * w.output + ow,
                        read,
                    );
                }
            }
        }
    }
}

/// What a direct sum may err by, for every result of the three passes.
fn allowances<T: Element>(p: &Problem<T>, tier: Tier) -> [Vec<f64>; 3] {
    let g = &p.geometry;
    let (c_in, c_out) = (g.c_in, g.c_out);
    let (x, dy) = (peaks(&p.x, c_in), peaks(&p.dy, c_out));
    let (mut y, mut dx, mut dw) = (vec![0.0f64; dy.len()], vec![0.0f64; x.len()], vec![0.0; g.taps()]);
    let [ins, outs] = [g.input_len() / c_in, g.output_len() / c_out];
    // An input that stands in a border as well is read in several places, whose sums are added.
    let mut copies = vec![0usize; ins * g.taps()];
    for s in 0..p.samples {
        visit(g, |tap, i, o, read| {
            let (i, o) = (s * ins + i, s * outs + o);
            if !read {
                dw[tap] += x[i] * dy[o];
                return;
            }
            y[o] = y[o].max(x[i]);
            dx[i] = dx[i].max(dy[o]);
            dw[tap] += x[i] * dy[o];
            if s == 0 {
                copies[i * g.taps() + tap] += 1;
            }
        });
    }
    let copies = copies.into_iter().max().unwrap_or(1).max(1) as f64;
    let norm = |own: &dyn Fn(usize) -> bool| -> f64 {
        (0..p.kernel.len()).filter(|i| own(*i)).map(|i| p.kernel[i].to_f64().abs()).sum()
    };
    let outputs: Vec<f64> = (0..c_out).map(|o| norm(&|i| i % c_out == o)).collect();
    let inputs: Vec<f64> = (0..c_in).map(|c| norm(&|i| i / c_out % c_in == c) * copies).collect();
    let unit = 2f64.powi(if T::NAME == "float32" { -24 } else { -53 });
    let twice = if tier.fused() { 1.0 } else { 2.0 };
    let relative = |terms: usize| 1.1 * (terms + 1) as f64 * unit * twice;
    // Denormal numbers have fewer digits.
    let least = if T::NAME == "float32" { 2f64.powi(-140) } else { 2f64.powi(-1060) };
    let spread = |peaks: &[f64], norms: &[f64], terms: usize| -> Vec<f64> {
        peaks
            .iter()
            .flat_map(|peak| norms.iter().map(move |norm| relative(terms) * peak * norm + least))
            .collect()
    };
    let terms = [g.taps() * c_in, g.taps() * c_out * copies as usize];
    let positions = outs * p.samples;
    let dw = dw.iter().flat_map(|sum| vec![relative(positions) * sum + least; c_in * c_out]).collect();
    [spread(&y, &outputs, terms[0]), spread(&dx, &inputs, terms[1]), dw]
}

/// Looks for a violation, and gives the largest multiples that were found.
fn check<T: Element>(case: &ConvCase, data: [Data; 2]) -> Result<[f64; 3], String> {
    let problem = problem::<T>(case, data);
    let expected = problem.expected();
    let mut most = [0.0f64; 3];
    let mut first: Option<[Vec<u64>; 3]> = None;
    for tier in Tier::available() {
        let allowed = allowances(&problem, tier);
        let mut runner = Runner::<T>::new(tier);
        runner.algorithm = Algorithm::Winograd;
        let got = runner.passes(&problem);
        for pass in 0..3 {
            for (i, ((got, expected), allowed)) in
                got[pass].iter().zip(&expected[pass]).zip(&allowed[pass]).enumerate()
            {
                let multiple = (got.to_f64() - expected).abs() / allowed;
                // The reference overflows where a sum does.
                let overflows =
                    expected.abs() > T::from_f64(f64::MAX).to_f64().min(f64::from(f32::MAX)) / 8.0;
                if (multiple.is_nan() || multiple > MULTIPLES[pass]) && !overflows {
                    return Err(format!(
                        "{} in {} on {tier:?}, element {i}: got {got:?}, expected {expected:e}: {multiple} times \
                         {allowed:e}\n{case:?}\n{data:?}",
                        PASSES[pass],
                        T::NAME
                    ));
                }
                most[pass] = if multiple > most[pass] && !overflows { multiple } else { most[pass] };
            }
        }
        let got = got.map(|pass| bits(&pass));
        runner.cuts = vec![1, 4, 9];
        if runner.passes(&problem).map(|pass| bits(&pass)) != got {
            return Err(format!("{tier:?}: depends on the partition\n{case:?}\n{data:?}"));
        }
        if tier.fused() && *first.get_or_insert_with(|| got.clone()) != got {
            return Err(format!("{tier:?}: has other bits\n{case:?}\n{data:?}"));
        }
    }
    Ok(most)
}

fn shapes() -> Vec<ConvCase> {
    vec![
        ConvCase::new(&[12, 13], 3, 16, 16).same(),
        ConvCase::new(&[9, 15], 3, 5, 37),
        ConvCase::new(&[6, 6], 3, 1, 1),
        ConvCase::new(&[14, 11], 3, 3, 4).same().dilation(&[2, 3]),
        ConvCase::new(&[10, 12], 5, 4, 18).same(),
        ConvCase::new(&[13, 9], 5, 3, 2).dilation(&[1, 2]),
        ConvCase::new(&[70], 3, 17, 5).same(),
        ConvCase::new(&[150], 3, 4, 6).causal().dilation(&[8]),
        ConvCase::new(&[60], 5, 4, 33).same(),
        ConvCase::new(&[90], 9, 5, 4).same(),
        ConvCase::new(&[6, 9, 8], 3, 4, 5).same(),
        ConvCase::new(&[19, 5, 9], 3, 2, 3).same().dilation(&[2, 1, 1]),
        ConvCase::new(&[11, 10], 3, 4, 3).same().mode(PaddingMode::Reflect),
    ]
}

fn all_data() -> Vec<Data> {
    let mut all: Vec<Data> =
        [65535.0, -9999.0, -3.4e38, 1e30, 64.0, 100.0, 1e-30, f64::from(f32::MAX)].map(Data::One).to_vec();
    all.extend([3, 10, 30].map(Data::Scales));
    all.extend([(4, 1.0), (7, 1e6), (8, 1.0)].map(|(n, v)| Data::Sparse(n, v)));
    all.extend([0.0, 1e-6, 0.02, 1e-20].map(Data::Edge));
    all
}

#[test]
fn one_value_spoils_only_what_reads_it() {
    let mut most = [0.0f64; 3];
    for (number, data) in all_data().into_iter().enumerate() {
        for (i, case) in shapes().into_iter().enumerate() {
            let case = ConvCase { seed: (number * 100 + i) as u64, ..case };
            for data in [[data, Data::Scales(0)], [Data::Scales(0), data], [data, data]] {
                let found = check::<f32>(&case, data).unwrap_or_else(|what| panic!("{what}"));
                most = [0, 1, 2].map(|pass| most[pass].max(found[pass]));
            }
        }
    }
    println!("multiples: {most:?}");
}

#[test]
fn one_value_spoils_only_what_reads_it_in_float64() {
    for data in [Data::One(-3.4e38), Data::Scales(40), Data::Sparse(7, 1e9), Data::Edge(1e-9)] {
        for case in shapes() {
            check::<f64>(&case, [data, Data::Scales(0)]).unwrap_or_else(|what| panic!("{what}"));
            check::<f64>(&case, [data, data]).unwrap_or_else(|what| panic!("{what}"));
        }
    }
}

/// NaN and infinity reach what reads them and nothing else, in all passes.
#[test]
fn what_is_not_finite_does_not_spread() {
    for (case, value) in shapes().iter().flat_map(|case| [(case, f32::NAN), (case, f32::INFINITY)]) {
        let mut problem = Problem::<f32>::new(case, common::uniform);
        let (x, dy) = (problem.x.len() / 2, problem.dy.len() / 3);
        problem.x[x] = value;
        let finite =
            |values: &[Vec<f32>; 3]| values.each_ref().map(|v| v.iter().map(|v| v.is_finite()).collect());
        for tier in Tier::available() {
            let [mut winograd, mut direct] = [Algorithm::Winograd, Algorithm::Direct].map(|algorithm| {
                let mut runner = Runner::new(tier);
                runner.algorithm = algorithm;
                runner
            });
            let [got, expected]: [[Vec<bool>; 3]; 2] =
                [&mut winograd, &mut direct].map(|runner| finite(&runner.passes(&problem)));
            // A direct sum multiplies what is not finite with zeros of a border as well, left and right.
            for pass in [0, 1] {
                let lost =
                    got[pass].iter().zip(&expected[pass]).position(|(got, expected)| *expected && !got);
                assert_eq!(lost, None, "{} on {tier:?}: {case:?}", PASSES[pass]);
            }
            let kernels = [&got[2], &expected[2]].map(|all| all.iter().filter(|finite| **finite).count());
            assert!(kernels[0] >= kernels[1], "kernel gradient on {tier:?}: {case:?}");
            assert!(got[0].contains(&false), "forward on {tier:?}: {case:?}");
        }
        let value = std::mem::replace(&mut problem.dy[dy], value);
        assert!(value.is_finite());
        for tier in Tier::available() {
            let mut runner = Runner::new(tier);
            runner.algorithm = Algorithm::Winograd;
            let dx = runner.input_grad(&problem, Epilogue::NONE);
            let mut direct = Runner::new(tier);
            direct.algorithm = Algorithm::Direct;
            let expected = direct.input_grad(&problem, Epilogue::NONE);
            let lost = dx.iter().zip(&expected).position(|(got, e)| e.is_finite() && !got.is_finite());
            assert_eq!(lost, None, "input gradient on {tier:?}: {case:?}");
        }
    }
}

/// Results that are computed again get bias and ReLU once.
#[test]
fn what_is_computed_again_has_bias_and_relu() {
    for case in shapes() {
        for data in [Data::One(65535.0), Data::Edge(0.0), Data::Scales(12)] {
            let problem = problem::<f32>(&case, [data, data]);
            let plain = problem.expected();
            for tier in Tier::available() {
                let mut runner = Runner::new(tier);
                runner.algorithm = Algorithm::Winograd;
                let epilogue = Epilogue { bias: Some(&problem.bias), relu: true };
                let got = runner.forward(&problem, epilogue);
                let allowed = allowances(&problem, tier);
                for (i, got) in got.iter().enumerate() {
                    let bias = f64::from(problem.bias[i % problem.bias.len()]);
                    let expected = (plain[0][i] + bias).max(0.0);
                    let most = MULTIPLES[0] * allowed[0][i] + 1e-6 * bias.abs();
                    assert!(
                        (f64::from(*got) - expected).abs() <= most,
                        "{tier:?}, {i}: {got} {expected} {case:?}"
                    );
                }
            }
        }
    }
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        (-40..127i32, any::<bool>())
            .prop_map(|(e, minus)| Data::One(2f64.powi(e) * if minus { -1.0 } else { 1.5 })),
        (0..60i32).prop_map(Data::Scales),
        (0..=8u64, -20..100i32).prop_map(|(zeros, e)| Data::Sparse(zeros, 2f64.powi(e))),
        (-60..0i32).prop_map(|e| Data::Edge(2f64.powi(e))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_spoilt(shape in prop::sample::select(shapes()), data in [data(), data()], seed in any::<u64>()) {
        check::<f32>(&ConvCase { seed, ..shape }, data).map_err(TestCaseError::fail)?;
    }
}
