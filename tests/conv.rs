//! Convolution passes against the reference: a table of named cases, then properties of random ones.

mod common;

use common::{
    ConvCase, PASSES, Problem, Runner, bits, check_close, conv_cases, integers, relative_tolerance, uniform,
};
use gridnn::conv::{
    Algorithm, Epilogue, GradOperands, Operands, Part, Pass, Region, Scratch, Sums, kernel_grad, map,
    map_plans,
};
use gridnn::geometry::{ConvGeometry, Padding, PaddingMode, PaddingRule};
use gridnn::kernels::{Element, Kernels, Tier};
use gridnn::ops::Operand;
use gridnn::ops::conv::{self, ConvBatch, ConvKind, Finish};
use gridnn::ops::separable::{self, SeparableBatch};
use gridnn::reference;
use ndarray::ArrayD;
use proptest::prelude::*;

/// Cases with a name: what users run, what a kernel treats specially, and what once went wrong.
fn named() -> Vec<(&'static str, ConvCase)> {
    let case = ConvCase::new;
    vec![
        ("one multiplication", case(&[1], 1, 1, 1)),
        ("first layer of digits", case(&[28, 28], 3, 1, 32)),
        ("second layer of digits", case(&[13, 13], 3, 32, 64)),
        ("colour image", case(&[17, 33], 5, 3, 16).same()),
        ("channels between vectors", case(&[6, 9], 3, 7, 37).same()),
        ("one output channel", case(&[9, 9], 3, 5, 1).same()),
        ("70 output channels", case(&[5, 15], 3, 3, 70)),
        ("gradient to six channels", case(&[14, 13], 5, 6, 16)),
        ("six output channels", case(&[11, 9], 5, 16, 6).same()),
        ("eight channels, kernel of two", case(&[7, 8], 2, 8, 20)),
        ("long series to six channels, dilation", case(&[260], 5, 6, 40).same().dilation(&[7])),
        ("long series from 34 to six channels", case(&[250], 5, 34, 6).causal()),
        ("more rows than products are kept of, one channel", case(&[60, 50], 3, 1, 9).same()),
        ("wide images of two channels, several windows", case(&[3, 620], 3, 2, 17).same()),
        ("long series of one channel, several windows", case(&[2500], 9, 1, 20).same().stride(&[4])),
        ("volume to one channel", case(&[9, 6, 21], 3, 7, 1).same()),
        ("volume of three channels, stride", case(&[9, 8, 23], 3, 3, 18).same().stride(&[2, 1, 3])),
        (
            "one channel, rows that are read in no order",
            case(&[23, 21], 2, 1, 8).stride(&[2, 3]).dilation(&[5, 2]).pad(&[(3, 1), (0, 4)]),
        ),
        ("images of one channel to a few", case(&[9, 40], 3, 1, 3).same()),
        ("images of one channel to six", case(&[28, 28], 5, 1, 6).same()),
        ("wide images of one channel to eight", case(&[3, 90], 7, 1, 8).same()),
        ("volume of one channel", case(&[5, 6, 37], 3, 1, 16).same()),
        ("volume of one channel, rows and planes apart", {
            case(&[7, 9, 12], 3, 1, 33).same().dilation(&[2, 3, 1]).stride(&[1, 2, 2])
        }),
        ("one channel, more rows of taps than a tile has", case(&[40, 11], 3, 1, 5).kernel(&[23, 3]).same()),
        ("one channel, more rows of taps than the map", case(&[3, 21], 7, 1, 40).same()),
        ("rows of five taps and channels", case(&[6, 15], 1, 5, 17).kernel(&[4, 1]).pad(&[(2, 3), (0, 0)])),
        ("volume of five channels", case(&[4, 5, 6], 3, 5, 12).same().dilation(&[1, 2, 1])),
        ("volume to five channels", case(&[4, 5, 6], 3, 12, 5).pad(&[(2, 0), (0, 1), (3, 2)])),
        ("pointwise", case(&[7, 9], 1, 33, 40)),
        ("pointwise volume", case(&[3, 4, 5], 1, 8, 9)),
        ("pointwise, one channel a group", case(&[3, 4, 5], 1, 2, 2).groups(2)),
        ("pointwise with stride", case(&[7, 9], 1, 5, 6).stride(&[2, 2])),
        ("pointwise with padding", case(&[4, 4], 1, 3, 5).pad(&[(1, 0), (0, 2)])),
        ("stride 2, same, even", case(&[14, 14], 3, 8, 16).same().stride(&[2, 2])),
        ("stride 2, same, odd", case(&[15, 9], 3, 8, 16).same().stride(&[2, 2])),
        ("stride larger than the kernel", case(&[11, 13], 2, 3, 4).stride(&[3, 5])),
        ("stride that leaves a rest", case(&[10, 12], 3, 3, 4).stride(&[3, 4])),
        ("dilation", case(&[13, 14], 3, 6, 18).same().dilation(&[2, 3])),
        (
            "stride and dilation with a common factor",
            case(&[21], 4, 3, 5).stride(&[4]).dilation(&[6]).pad(&[(9, 7)]),
        ),
        ("equal stride and dilation", case(&[12, 20], 3, 4, 8).stride(&[2, 3]).dilation(&[2, 3]).same()),
        ("depthwise", case(&[10, 11], 3, 20, 20).same().groups(20)),
        ("depthwise, multiplier 2", case(&[8, 8], 3, 6, 12).same().groups(6)),
        ("groups of three channels", case(&[7, 7], 3, 12, 8).same().groups(4)),
        (
            "groups, stride, dilation",
            case(&[12, 13], 3, 8, 12).groups(2).stride(&[2, 1]).dilation(&[1, 2]).same(),
        ),
        ("causal series", case(&[40], 3, 8, 24).causal().dilation(&[4])),
        ("long series", case(&[700], 9, 1, 20).same().stride(&[4])),
        ("volume", case(&[6, 7, 8], 3, 4, 16).same()),
        ("volume of uneven everything", {
            let pads = [(2, 0), (0, 3), (1, 1)];
            case(&[4, 7, 9], 1, 3, 17).kernel(&[2, 3, 4]).stride(&[1, 2, 3]).dilation(&[3, 1, 2]).pad(&pads)
        }),
        ("map of one pixel", case(&[1, 1], 3, 40, 50).same()),
        ("map of 2 x 2", case(&[2, 2], 3, 70, 66).same()),
        ("small map, large kernel", case(&[4, 4], 3, 96, 80).same()),
        ("small map, large kernel, stride", case(&[5, 4], 3, 90, 88).same().stride(&[2, 2])),
        ("small map, large kernel, dilation", case(&[3, 5], 3, 97, 75).same().dilation(&[2, 3])),
        ("small map, positions that see padding only", case(&[2, 1], 3, 90, 90).pad(&[(4, 3), (2, 1)])),
        ("small volume, large kernel", case(&[2, 2, 3], 3, 56, 48).same()),
        ("small series, large kernel", case(&[12], 5, 120, 112).causal()),
        ("small map, large pointwise kernel", case(&[3, 4], 1, 260, 300)),
        ("small map, large pointwise kernel, stride", case(&[5, 7], 1, 260, 300).stride(&[2, 2])),
        ("small result of a large kernel", case(&[3, 3], 3, 90, 90)),
        ("kernel larger than the input", case(&[3, 2], 7, 3, 5).same()),
        ("outputs that see padding only", case(&[2, 3], 2, 3, 4).pad(&[(4, 3), (5, 4)])),
        ("padding in front only", case(&[6, 6], 3, 4, 4).pad(&[(3, 0), (3, 0)])),
        ("padding behind only, with stride", case(&[6, 6], 3, 4, 4).pad(&[(0, 4), (0, 5)]).stride(&[2, 3])),
        ("inputs that no output sees", case(&[9, 9], 1, 2, 3).stride(&[4, 4])),
        ("row longer than a block", case(&[2, 600], 3, 2, 3).same()),
        ("depthwise, 5 x 5, stride 2", case(&[11, 12], 5, 40, 40).same().groups(40).stride(&[2, 2])),
        ("depthwise volume", case(&[4, 5, 6], 3, 9, 9).same().groups(9)),
        ("depthwise, causal, dilated", case(&[50], 3, 17, 17).causal().groups(17).dilation(&[7])),
        ("depthwise to fewer channels", case(&[8, 8], 3, 24, 6).same().groups(6)),
        ("32 groups of 4", case(&[9, 9], 3, 128, 128).same().groups(32)),
        ("pairs of channels", case(&[9, 20], 3, 38, 38).same().groups(19)),
        ("groups of 4, dilated", case(&[13, 12], 3, 20, 20).same().groups(5).dilation(&[1, 2])),
        ("groups of 8, stride", case(&[13, 15], 5, 48, 48).same().groups(6).stride(&[2, 2])),
        ("depthwise, 80 channels", case(&[7, 13], 3, 80, 80).same().groups(80)),
        ("depthwise, uneven padding", case(&[11, 9], 3, 33, 33).groups(33).pad(&[(4, 1), (0, 2)])),
        ("depthwise, 5 x 3, wide stride", {
            case(&[16, 14], 5, 18, 18).kernel(&[5, 3]).stride(&[1, 2]).groups(18).same()
        }),
        ("depthwise volume of many rows", case(&[3, 13, 8], 3, 17, 17).same().groups(17)),
        ("depthwise, wrapped rows", case(&[41, 9], 3, 20, 20).same().groups(20).mode(PaddingMode::Wrap)),
        ("groups of 8 in a long row", case(&[900], 3, 16, 16).same().groups(2)),
        ("many groups with stride and dilation", {
            case(&[14, 15], 3, 20, 30).groups(10).stride(&[2, 3]).dilation(&[2, 1]).same()
        }),
        ("series of several blocks", case(&[901], 4, 3, 5).same()),
        ("blocks with stride", case(&[1500], 5, 2, 6).stride(&[3]).pad(&[(7, 1)])),
        ("blocks with stride and dilation", case(&[1400], 3, 2, 20).stride(&[4]).dilation(&[3]).same()),
        ("blocks, one output channel", case(&[700], 7, 4, 1).same()),
        ("blocks, depthwise", case(&[600], 3, 17, 17).causal().groups(17)),
        ("blocks, depthwise, stride", case(&[900], 4, 5, 5).groups(5).stride(&[2]).same()),
        ("blocks, groups", case(&[620], 3, 9, 6).groups(3).same()),
        ("blocks, wrapped", case(&[800], 9, 40, 12).same().mode(PaddingMode::Wrap)),
        ("blocks, reflected, stride", case(&[1000], 5, 40, 6).same().stride(&[3]).mode(PaddingMode::Reflect)),
        ("blocks, symmetric, depthwise", {
            case(&[900], 3, 40, 40).causal().dilation(&[40]).groups(40).mode(PaddingMode::Symmetric)
        }),
        (
            "blocks, edge, longer than the series",
            case(&[300], 2, 90, 3).pad(&[(700, 900)]).mode(PaddingMode::Edge),
        ),
        ("reflected image", case(&[9, 11], 3, 5, 7).same().mode(PaddingMode::Reflect)),
        ("repeated edge, stride", case(&[9, 11], 5, 3, 8).same().stride(&[2, 3]).mode(PaddingMode::Edge)),
        ("ring", case(&[30], 7, 4, 6).same().mode(PaddingMode::Wrap).dilation(&[3])),
        ("symmetric volume", case(&[5, 6, 7], 3, 3, 4).same().mode(PaddingMode::Symmetric)),
        ("reflected more than once", {
            case(&[3, 2], 3, 2, 3).pad(&[(8, 7), (5, 9)]).stride(&[2, 1]).mode(PaddingMode::Reflect)
        }),
        ("wrapped more than once", case(&[2, 3], 2, 2, 3).pad(&[(5, 4), (7, 0)]).mode(PaddingMode::Wrap)),
        ("causal, symmetric", case(&[6], 3, 2, 3).causal().dilation(&[5]).mode(PaddingMode::Symmetric)),
        ("reflected, one pixel", case(&[1, 1], 3, 4, 4).same().mode(PaddingMode::Reflect)),
        ("pointwise, edge", case(&[5, 6], 1, 3, 4).pad(&[(1, 2), (0, 3)]).mode(PaddingMode::Edge)),
        ("depthwise, reflected", case(&[9, 10], 3, 18, 18).same().groups(18).mode(PaddingMode::Reflect)),
        ("groups, wrapped, dilated", {
            case(&[10, 9], 3, 12, 8).groups(4).same().dilation(&[2, 3]).mode(PaddingMode::Wrap)
        }),
        ("reflected, many rows", case(&[60, 70], 3, 8, 8).same().mode(PaddingMode::Reflect)),
    ]
}

/// Every pass on every tier against the reference.
fn check<T: Element>(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<T>::new(case, uniform);
    let (expected, magnitudes) = (problem.expected(), problem.magnitudes().expected());
    for (tier, last) in Tier::available().into_iter().flat_map(|tier| [(tier, false), (tier, true)]) {
        let mut runner = Runner::new(tier);
        runner.last = last;
        let got = runner.passes(&problem);
        for pass in 0..3 {
            let relative = relative_tolerance::<T>(tier, problem.terms()[pass]);
            check_close(&got[pass], &expected[pass], &magnitudes[pass], relative)
                .map_err(|what| format!("{} in {} on {tier:?}: {what}", PASSES[pass], T::NAME))?;
        }
    }
    Ok(())
}

/// Small integers leave no room for rounding.
fn check_integers<T: Element>(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<T>::new(case, integers);
    let expected = problem.expected();
    for tier in Tier::available() {
        let got = Runner::new(tier).passes(&problem);
        for pass in 0..3 {
            check_close(&got[pass], &expected[pass], &expected[pass], 0.0)
                .map_err(|what| format!("{} of integers in {} on {tier:?}: {what}", PASSES[pass], T::NAME))?;
        }
    }
    Ok(())
}

/// Tiers that fuse agree to the bit; so do results computed in one piece and in several.
fn check_bits<T: Element>(case: &ConvCase, cuts: &[usize]) -> Result<(), String> {
    let problem = Problem::<T>::new(case, uniform);
    bits_of(&problem, cuts, Algorithm::Direct)?;
    bits_of(&problem, cuts, Algorithm::Auto)
}

fn bits_of<T: Element>(problem: &Problem<T>, cuts: &[usize], algorithm: Algorithm) -> Result<(), String> {
    let mut fused: Option<[Vec<u64>; 3]> = None;
    for tier in Tier::available() {
        let mut runner = Runner::new(tier);
        runner.algorithm = algorithm;
        let whole = runner.passes(problem).map(|pass| bits(&pass));
        runner.cuts = cuts.to_vec();
        let pieces = runner.passes(problem).map(|pass| bits(&pass));
        let mut rows = vec![T::ZERO; problem.kernel.len()];
        runner.add_rows(problem, &mut rows);
        if bits(&rows) != whole[2] {
            return Err(format!("kernel gradient in {} on {tier:?} depends on the rows", T::NAME));
        }
        for pass in 0..3 {
            if whole[pass] != pieces[pass] {
                return Err(format!("{} in {} on {tier:?} depends on the partition", PASSES[pass], T::NAME));
            }
        }
        if tier.fused() {
            let first = fused.get_or_insert_with(|| whole.clone());
            for pass in 0..3 {
                if whole[pass] != first[pass] {
                    return Err(format!("{} in {}: {tier:?} has other bits", PASSES[pass], T::NAME));
                }
            }
        }
    }
    Ok(())
}

/// Bias and ReLU of both correlations, and a kernel gradient that is added to what is there.
fn check_epilogue<T: Element>(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<T>::new(case, uniform);
    let sizes = problem.magnitudes();
    let (expected, magnitudes) = (problem.expected(), sizes.expected());
    let (c_in, c_out) = (problem.geometry.c_in, problem.geometry.c_out);
    let in_bias: Vec<T> = uniform(c_in, case.seed ^ 5);
    let before: Vec<T> = uniform(problem.kernel.len(), case.seed ^ 6);
    for tier in Tier::available() {
        let mut runner = Runner::new(tier);
        let with = |bias| Epilogue { bias: Some(bias), relu: true };
        let got =
            [runner.forward(&problem, with(&problem.bias)), runner.input_grad(&problem, with(&in_bias)), {
                let mut dkernel = before.clone();
                runner.add_kernel_grad(&problem, &mut dkernel);
                dkernel
            }];
        for pass in 0..3 {
            let (start, columns) = match pass {
                0 => (&problem.bias, c_out),
                1 => (&in_bias, c_in),
                _ => (&before, before.len()),
            };
            let start = |i: usize| start[i % columns].to_f64();
            let sum = |(i, e): (usize, &f64)| if pass < 2 { (e + start(i)).max(0.0) } else { e + start(i) };
            let expected: Vec<f64> = expected[pass].iter().enumerate().map(sum).collect();
            let magnitudes: Vec<f64> =
                magnitudes[pass].iter().enumerate().map(|(i, m)| m + start(i).abs()).collect();
            // The start counts as one more term.
            let relative = relative_tolerance::<T>(tier, problem.terms()[pass] + 1);
            check_close(&got[pass], &expected, &magnitudes, relative).map_err(|what| {
                format!("{} with a start in {} on {tier:?}: {what}", PASSES[pass], T::NAME)
            })?;
        }
    }
    Ok(())
}

/// `<conv(x), dy> = <x, input_grad(dy)> = <kernel, kernel_grad(x, dy)>`, without the reference.
fn check_adjoint(case: &ConvCase) -> Result<(), String> {
    let problem = Problem::<f64>::new(case, uniform);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let products = |p: &Problem<f64>, [y, dx, dkernel]: [Vec<f64>; 3]| {
        [dot(&y, &p.dy), dot(&p.x, &dx), dot(&p.kernel, &dkernel)]
    };
    for tier in Tier::available() {
        let mut runner = Runner::new(tier);
        let got = products(&problem, runner.passes(&problem));
        let sizes = problem.magnitudes();
        let magnitude = products(&sizes, runner.passes(&sizes))[0];
        let lengths = [problem.dy.len(), problem.x.len(), problem.kernel.len()];
        for pass in 1..3 {
            // Each side errs by its chains and by the dot product.
            let chain = |i: usize| relative_tolerance::<f64>(tier, problem.terms()[i] + lengths[i]);
            let allowed = magnitude * (chain(0) + chain(pass));
            let error = (got[0] - got[pass]).abs();
            if error.is_nan() || error > allowed {
                return Err(format!("{} on {tier:?}: {got:?}, off by {error:e} > {allowed:e}", PASSES[pass]));
            }
        }
    }
    Ok(())
}

fn check_table(check: impl Fn(&ConvCase) -> Result<(), String>) {
    let failures: Vec<String> = named()
        .iter()
        .filter_map(|(name, case)| check(case).err().map(|what| format!("{name}: {what}\n    {case:?}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
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
fn named_cases_of_integers_are_exact() {
    check_table(|case| check_integers::<f32>(case).and_then(|()| check_integers::<f64>(case)));
}

#[test]
fn named_cases_have_the_same_bits_everywhere() {
    check_table(|case| {
        check_bits::<f32>(case, &[1, 3, 4, 9, 20]).and_then(|()| check_bits::<f64>(case, &[2, 5]))
    });
}

#[test]
fn named_cases_with_bias_and_relu() {
    check_table(|case| check_epilogue::<f32>(case).and_then(|()| check_epilogue::<f64>(case)));
}

#[test]
fn named_cases_are_adjoint() {
    check_table(check_adjoint);
}

/// A scratch that served other problems holds their bands: none of it may show.
#[test]
fn scratch_may_hold_anything() {
    for tier in Tier::available() {
        let mut shared = Runner::<f32>::new(tier);
        for (name, case) in named().iter().rev() {
            let problem = Problem::new(case, uniform);
            let fresh = Runner::new(tier).passes(&problem);
            assert_eq!(shared.passes(&problem), fresh, "{name} on {tier:?}");
        }
    }
}

/// Products and sums of integers are exact; what Winograd's algorithm does to them is not.
const DIRECT: Option<Algorithm> = Some(Algorithm::Direct);

/// A tensor of small integers: whatever is summed, nothing is rounded.
fn tensor<T: Operand>(shape: &[usize], seed: u64) -> ArrayD<T> {
    ArrayD::from_shape_vec(shape, integers(shape.iter().product(), seed)).unwrap()
}

/// Compares the results of functional calls with sums of products that are exact.
fn expect_exact<T: Operand>(results: &[(&str, &ArrayD<T>, &[f64])]) -> Result<(), String> {
    for (name, got, expected) in results {
        check_close(got.as_slice().unwrap(), expected, expected, 0.0)
            .map_err(|what| format!("{name} in {}: {what}", T::NAME))?;
    }
    Ok(())
}

/// The case as a transposed convolution, unless it crops everything: a batch, and the geometry that it transposes.
fn transposed(case: &ConvCase) -> Option<(ConvBatch, ConvGeometry)> {
    // Such convolutions know neither causal padding nor border modes.
    let padding = match &case.padding {
        Padding::Rule(PaddingRule::Causal) => Padding::VALID,
        other => other.clone(),
    };
    let case = ConvCase { padding, mode: PaddingMode::Zeros, ..case.clone() };
    let [c_in, c_out] = case.channels();
    let geometry =
        ConvGeometry::transposed(&case.window(), None, &case.input, (c_in, c_out), case.groups).ok()?;
    Some((case.batch(ConvKind::Transposed, DIRECT).unwrap(), geometry))
}

/// Functional calls of a transposed convolution against loops that spread every input.
fn check_transposed<T: Operand>(case: &ConvCase) -> Result<(), String> {
    let Some((batch, g)) = transposed(case) else { return Ok(()) };
    let (x, kernel, dy) = (tensor::<T>(&batch.x, 1), tensor::<T>(&batch.kernel, 2), tensor::<T>(&batch.y, 3));
    let (mut y, mut dx, mut dkernel) = (dy.clone(), x.clone(), kernel.clone());
    let never = || false;
    let finish = Finish { bias: None, activation: "linear" };
    conv::conv(&batch, &x.view(), &kernel.view(), finish, y.view_mut(), &never).unwrap();
    conv::conv_input_grad(&batch, &dy.view(), &kernel.view(), dx.view_mut(), &never).unwrap();
    conv::conv_kernel_grad(&batch, &x.view(), &dy.view(), dkernel.view_mut(), &never).unwrap();
    let (mut expected_y, mut expected_dx) = (Vec::new(), Vec::new());
    let mut expected_dkernel = vec![0.0; kernel.len()];
    let kernel = kernel.as_slice().unwrap();
    let [x, dy] = [&x, &dy].map(|tensor| tensor.as_slice().unwrap());
    for (x, dy) in x.chunks_exact(g.output_len()).zip(dy.chunks_exact(g.input_len())) {
        expected_y.extend(reference::conv_transpose(&g, x, kernel));
        expected_dx.extend(reference::conv_transpose_input_grad(&g, dy, kernel));
        let part = reference::conv_transpose_kernel_grad(&g, x, dy);
        expected_dkernel.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    expect_exact(&[
        ("transposed, forward", &y, &expected_y),
        ("transposed, to the input", &dx, &expected_dx),
        ("transposed, to the kernel", &dkernel, &expected_dkernel),
    ])
}

/// Functional calls of a separable convolution, made of a case, against loops over all its products.
fn check_separable<T: Operand>(case: &ConvCase) -> Result<(), String> {
    let (channels, multiplier, filters) = (case.group_in, 1 + case.group_out % 3, 1 + case.group_out % 20);
    let case = ConvCase { groups: channels, group_in: 1, group_out: multiplier, ..case.clone() };
    let g = case.geometry();
    let first: Vec<usize> = case.kernel.iter().copied().chain([channels, multiplier]).collect();
    let second: Vec<usize> = case.kernel.iter().map(|_| 1).chain([channels * multiplier, filters]).collect();
    let shape = case.input_shape();
    let batch = SeparableBatch::new(&shape, [&first, &second], &case.options(DIRECT)).unwrap();
    let (x, dy) = (tensor::<T>(&shape, 1), tensor::<T>(&batch.pointwise.y, 2));
    let kernels = [tensor::<T>(&first, 3), tensor::<T>(&second, 4)];
    let (mut y, mut dx, [mut d_first, mut d_second]) = (dy.clone(), x.clone(), kernels.clone());
    let views = kernels.each_ref().map(|kernel| kernel.view());
    let never = || false;
    let finish = Finish { bias: None, activation: "linear" };
    separable::separable(&batch, &x.view(), views.each_ref(), finish, y.view_mut(), &never).unwrap();
    separable::separable_input_grad(&batch, &dy.view(), views.each_ref(), dx.view_mut(), &never).unwrap();
    let results = [d_first.view_mut(), d_second.view_mut()];
    separable::separable_kernel_grad(&batch, &x.view(), &dy.view(), views.each_ref(), results, &never)
        .unwrap();
    let (mut expected_y, mut expected_dx) = (Vec::new(), Vec::new());
    let mut sums = kernels.each_ref().map(|kernel| vec![0.0; kernel.len()]);
    let kernels = kernels.each_ref().map(|kernel| kernel.as_slice().unwrap());
    let [x, dy] = [&x, &dy].map(|tensor| tensor.as_slice().unwrap());
    for (x, dy) in x.chunks_exact(g.input_len()).zip(dy.chunks_exact(dy.len() / case.samples)) {
        expected_y.extend(reference::separable_conv(&g, x, kernels));
        expected_dx.extend(reference::separable_conv_input_grad(&g, dy, kernels));
        for (sum, part) in sums.iter_mut().zip(reference::separable_conv_kernel_grads(&g, [x, dy], kernels)) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    expect_exact(&[
        ("separable, forward", &y, &expected_y),
        ("separable, to the input", &dx, &expected_dx),
        ("separable, to the first kernel", &d_first, &sums[0]),
        ("separable, to the second kernel", &d_second, &sums[1]),
    ])
}

#[test]
fn named_cases_transposed() {
    check_table(|case| check_transposed::<f32>(case).and_then(|()| check_transposed::<f64>(case)));
    // Few of them crop everything.
    let cases = named();
    let run = cases.iter().filter(|(_, case)| transposed(case).is_some()).count();
    assert!(run > cases.len() - 10, "{run} of {}", cases.len());
}

#[test]
fn named_cases_made_separable() {
    check_table(|case| check_separable::<f32>(case).and_then(|()| check_separable::<f64>(case)));
}

proptest! {
    #[test]
    fn transposed_convolutions_agree_with_the_reference(case in conv_cases()) {
        check_transposed::<f32>(&case).map_err(TestCaseError::fail)?;
        check_transposed::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn separable_convolutions_agree_with_the_reference(case in conv_cases()) {
        check_separable::<f32>(&case).map_err(TestCaseError::fail)?;
        check_separable::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn passes_agree_with_the_reference_in_float32(case in conv_cases()) {
        check::<f32>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn passes_agree_with_the_reference_in_float64(case in conv_cases()) {
        check::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn passes_of_integers_are_exact(case in conv_cases()) {
        check_integers::<f32>(&case).map_err(TestCaseError::fail)?;
        check_integers::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn bits_depend_on_neither_partition_nor_tier(case in conv_cases(), cuts in prop::collection::vec(0..1000usize, 0..5)) {
        check_bits::<f32>(&case, &cuts).map_err(TestCaseError::fail)?;
        check_bits::<f64>(&case, &cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn bias_and_relu_are_applied_once(case in conv_cases()) {
        check_epilogue::<f32>(&case).map_err(TestCaseError::fail)?;
        check_epilogue::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn passes_are_adjoint(case in conv_cases()) {
        check_adjoint(&case).map_err(TestCaseError::fail)?;
    }
}

/// A result is cut between rows, or between the columns of a single row; weights are cut between rows of the kernel.
#[test]
fn tilings_count_what_results_have() {
    let kernels = Kernels::<f32>::of(Tier::available()[0]);
    let image = Problem::<f32>::new(&ConvCase::new(&[6, 9], 3, 4, 16), integers).geometry;
    let plan = map(Pass::Forward, &image, kernels, Algorithm::Direct);
    let tiling = plan.tiling();
    assert_eq!((tiling.rows, tiling.columns, tiling.channels, tiling.len()), (4, 7, 16, image.output_len()));
    let row = tiling.row_len();
    assert_eq!(tiling.part(&(row..3 * row)), Part { rows: 1..3, columns: 0..7 });
    let grad = kernel_grad(&image, kernels, Algorithm::Direct);
    assert_eq!((grad.tiling().weights, grad.tiling().weight_units()), (image.kernel_len(), 9 * 4));

    let series = Problem::<f32>::new(&ConvCase::new(&[40], 3, 4, 16), integers).geometry;
    let plan = map(Pass::InputGrad, &series, kernels, Algorithm::Direct);
    assert_eq!(plan.tiling().part(&(8..28)), Part { rows: 0..1, columns: 2..7 });
    assert_eq!(plan.tiling().whole(), Part { rows: 0..1, columns: 0..40 });
    for pass in [Pass::Forward, Pass::InputGrad, Pass::KernelGrad] {
        assert_eq!(pass.transposed().transposed(), pass);
    }
}

/// What an algorithm for some maps computes has the bytes of the one for all of them, where both sum up directly.
#[test]
fn small_maps_have_the_bits_of_all_others() {
    for (name, case) in named().into_iter().filter(|(name, _)| name.starts_with("small ")) {
        let problem = Problem::<f32>::new(&case, uniform);
        let kernels = Kernels::of(Tier::available()[0]);
        for (number, pass) in [Pass::Forward, Pass::InputGrad].into_iter().enumerate() {
            let results =
                map_plans(pass, &problem.geometry, kernels, Algorithm::Direct).into_iter().map(|plan| {
                    let mut packed = vec![f32::NAN; plan.tiling().weights];
                    plan.pack(&problem.kernel, 0, &mut packed);
                    let from = [&problem.x, &problem.dy][number];
                    let mut to = vec![f32::NAN; problem.samples * plan.tiling().len()];
                    let operands =
                        Operands { from, packed: &packed, epilogue: Epilogue::NONE, non_temporal: false };
                    plan.run(operands, &mut to, &Region::Samples(problem.samples), &mut Scratch::default());
                    bits(&to)
                });
            let results: Vec<_> = results.collect();
            assert!(results.iter().all(|result| *result == results[0]), "{name}, {}", PASSES[number]);
        }
    }
}

/// All samples in one run have the bytes of one after the other, and sums that start from zero are not read.
#[test]
fn samples_together_equal_samples_alone() {
    for (name, case) in named() {
        let problem = Problem::<f32>::new(&case, uniform);
        let (g, samples) = (&problem.geometry, Region::Samples(problem.samples));
        let tier = *Tier::available().last().unwrap();
        let (mut runner, kernels, mut scratch) = (Runner::new(tier), Kernels::of(tier), Scratch::default());
        let alone = runner.passes(&problem).map(|pass| bits(&pass));
        for (number, pass) in [Pass::Forward, Pass::InputGrad].into_iter().enumerate() {
            let plan = map(pass, g, kernels, Algorithm::Direct);
            let mut packed = vec![f32::NAN; plan.tiling().weights];
            plan.pack(&problem.kernel, 0, &mut packed);
            let from = [&problem.x, &problem.dy][number];
            let mut to = vec![f32::NAN; problem.samples * plan.tiling().len()];
            let operands = Operands { from, packed: &packed, epilogue: Epilogue::NONE, non_temporal: false };
            plan.run(operands, &mut to, &samples, &mut scratch);
            assert!(bits(&to) == alone[number], "{name}, {}", PASSES[number]);
        }
        let plan = kernel_grad(g, kernels, Algorithm::Direct);
        let mut sums = vec![f32::NAN; plan.tiling().weights];
        let operands = GradOperands { x: &problem.x, dy: &problem.dy, non_temporal: false };
        let to = Sums { sums: &mut sums, units: 0..plan.tiling().weight_units(), from_zero: true };
        plan.accumulate(operands, &samples, to, &mut scratch);
        plan.finish(&mut sums);
        assert!(bits(&sums) == alone[2], "{name}, {}", PASSES[2]);
    }
}
