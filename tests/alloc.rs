//! Functional calls on contiguous operands allocate nothing after the first call of their kind, but for a small box that
//! calls a helper to a program; and what a first call keeps is what the docstrings say.
//!
//! Every allocation of the process is counted, so this binary has one test. Views, shapes and geometries are made
//! before: they are the caller's.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::thread::sleep;
use std::time::Duration;

use common::{ConvCase, uniform};
use counting::allocations;
use gridnn::geometry::{Padding, PaddingMode, Window};
use gridnn::ops::Operand;
use gridnn::ops::conv::{self, ConvKind, Finish};
use gridnn::ops::pool::{self, Global, PoolOptions};
use gridnn::ops::separable::{self, SeparableBatch};
use gridnn::parallel::{for_each, set_threads, threads};
use ndarray::{ArrayD, ArrayViewMutD};

const CALLS: usize = 10;
/// Programs that a call runs at most.
const PROGRAMS: usize = 2;
/// rayon queues the calls of helpers in blocks of so many.
const QUEUED: usize = 63;

fn array<T: Operand>(shape: &[usize], seed: u64) -> ArrayD<T> {
    ArrayD::from_shape_vec(shape, uniform(shape.iter().product(), seed)).unwrap()
}

/// The cases; large enough that all threads take part, in every rank and with every algorithm.
fn cases() -> Vec<(&'static str, ConvKind, ConvCase)> {
    let case = ConvCase::new;
    let plain = ConvKind::Plain;
    vec![
        ("series", plain, case(&[4000], 3, 16, 24).same()),
        ("causal series, stride", plain, case(&[4000], 5, 8, 16).causal().stride(&[2])),
        ("reflected series", plain, case(&[4000], 3, 16, 16).same().mode(PaddingMode::Reflect)),
        ("image", plain, case(&[40, 40], 3, 16, 32).same()),
        ("first layer", plain, case(&[64, 64], 5, 3, 16).same()),
        ("stride and dilation", plain, case(&[40, 41], 3, 16, 32).stride(&[2, 1]).dilation(&[1, 2]).same()),
        ("Winograd's algorithm", plain, case(&[22, 23], 3, 64, 32).same()),
        ("Winograd's algorithm, 5 x 5", plain, case(&[22, 23], 5, 32, 32).same()),
        ("Winograd's algorithm on a series", plain, case(&[2000], 9, 16, 32).causal()),
        ("Winograd's algorithm on a volume", plain, case(&[12, 10, 9], 3, 16, 32).same()),
        ("Winograd's algorithm, dilated", plain, case(&[22, 23], 3, 64, 32).same().dilation(&[2, 2])),
        ("Winograd's algorithm on a dilated series", plain, case(&[2000], 3, 32, 32).causal().dilation(&[8])),
        ("large kernel", plain, case(&[7, 7], 3, 128, 128).same()),
        ("pointwise", plain, case(&[32, 32], 1, 64, 32)),
        ("wrapped image", plain, case(&[32, 32], 3, 16, 16).same().mode(PaddingMode::Wrap)),
        ("groups", plain, case(&[32, 32], 3, 64, 64).same().groups(16)),
        ("two groups", plain, case(&[32, 32], 3, 64, 64).same().groups(2)),
        ("depthwise", ConvKind::Depthwise, case(&[64, 64], 3, 64, 64).same().groups(64)),
        ("transposed", ConvKind::Transposed, case(&[24, 24], 3, 16, 24).stride(&[2, 2]).same()),
        ("volume", plain, case(&[10, 16, 16], 3, 8, 16).same()),
        ("transposed volume", ConvKind::Transposed, case(&[8, 8, 8], 3, 8, 8).stride(&[2, 2, 2]).same()),
    ]
}

fn check_conv<T: Operand>(name: &str, kind: ConvKind, case: &ConvCase) {
    let batch = case.batch(kind, None).unwrap();
    let (x, kernel, dy) = (array::<T>(&batch.x, 1), array::<T>(&batch.kernel, 2), array::<T>(&batch.y, 3));
    let bias = array::<T>(&[batch.y[batch.y.len() - 1]], 4);
    let (mut y, mut dx, mut dk) = (dy.clone(), x.clone(), kernel.clone());
    let (x, kernel, dy, bias) = (x.view(), kernel.view(), dy.view(), bias.view());
    let never = || false;
    for activation in ["linear", "relu", "tanh", "softmax"] {
        let finish = Finish { bias: Some(&bias), activation };
        calls(&format!("{name} {activation}"), [&mut y], |[y]| {
            conv::conv(&batch, &x, &kernel, finish, y, &never).unwrap();
        });
    }
    calls(&format!("{name}, to the input"), [&mut dx], |[dx]| {
        conv::conv_input_grad(&batch, &dy, &kernel, dx, &never).unwrap();
    });
    calls(&format!("{name}, to the kernel"), [&mut dk], |[dk]| {
        conv::conv_kernel_grad(&batch, &x, &dy, dk, &never).unwrap();
    });
}

fn check_separable<T: Operand>(name: &str, case: &ConvCase, filters: usize) {
    let [c_in, _] = case.channels();
    let first: Vec<usize> = case.kernel.iter().copied().chain([c_in, case.group_out]).collect();
    let second: Vec<usize> = case.kernel.iter().map(|_| 1).chain([c_in * case.group_out, filters]).collect();
    let batch = SeparableBatch::new(&case.input_shape(), [&first, &second], &case.options(None)).unwrap();
    let (x, mut y) = (array::<T>(&case.input_shape(), 1), array::<T>(&batch.pointwise.y, 2));
    let kernels = [array::<T>(&first, 3), array::<T>(&second, 4)];
    let (mut dx, dy, [mut d_first, mut d_second]) = (x.clone(), y.clone(), kernels.clone());
    let (x, dy, kernels) = (x.view(), dy.view(), kernels.each_ref().map(|kernel| kernel.view()));
    let kernels = kernels.each_ref();
    let never = || false;
    for activation in ["linear", "tanh"] {
        let finish = Finish { bias: None, activation };
        calls(&format!("{name} {activation}"), [&mut y], |[y]| {
            separable::separable(&batch, &x, kernels, finish, y, &never).unwrap();
        });
    }
    calls(&format!("{name}, to the input"), [&mut dx], |[dx]| {
        separable::separable_input_grad(&batch, &dy, kernels, dx, &never).unwrap();
    });
    calls(&format!("{name}, to the kernels"), [&mut d_first, &mut d_second], |results| {
        separable::separable_kernel_grad(&batch, &x, &dy, kernels, results, &never).unwrap();
    });
}

/// Calls with views of the results, made beforehand, and counts the allocations of all calls but the first.
fn calls<T: Operand, const N: usize>(
    what: &str,
    mut results: [&mut ArrayD<T>; N],
    mut call: impl FnMut([ArrayViewMutD<'_, T>; N]),
) {
    call(results.each_mut().map(|result| result.view_mut()));
    let mut allocated = 0;
    for _ in 0..CALLS {
        let views = results.each_mut().map(|result| result.view_mut());
        let before = allocations();
        call(views);
        allocated += allocations() - before;
    }
    let called = CALLS * PROGRAMS * (threads() - 1);
    let most = called + called.div_ceil(QUEUED);
    assert!(allocated <= most, "{what}, {} threads: {allocated} allocations in {CALLS} calls", threads());
}

fn check_pools<T: Operand>(name: &str, sizes: &[usize], channels: usize, ceil_mode: bool) {
    let all = |n: usize| vec![n; sizes.len()];
    let padding = Padding::Explicit(vec![(1, 0); sizes.len()]);
    let window = Window { kernel: all(3), stride: all(2), dilation: all(1), padding };
    let options = PoolOptions { window, ceil_mode };
    let shape: Vec<usize> = [2].iter().chain(sizes).chain(&[channels]).copied().collect();
    let (x, mut dx) = (array::<T>(&shape, 1), array::<T>(&shape, 2));
    let mut y = array::<T>(&pool::pool_output_shape(&shape, &options).unwrap(), 3);
    let dy = y.clone();
    let (x, dy) = (x.view(), dy.view());
    let never = || false;
    calls(&format!("{name}: max"), [&mut y], |[y]| pool::max_pool(&x, &options, y, None, &never).unwrap());
    calls(&format!("{name}: max, gradient"), [&mut dx], |[dx]| {
        pool::max_pool_grad(&dy, &x, &options, dx, &never).unwrap();
    });
    calls(&format!("{name}: mean"), [&mut y], |[y]| {
        pool::average_pool(&x, &options, true, y, &never).unwrap()
    });
    calls(&format!("{name}: mean, gradient"), [&mut dx], |[dx]| {
        pool::average_pool_grad(&dy, &options, false, dx, &never).unwrap();
    });
    let mut whole = array::<T>(&pool::global_output_shape(&shape, false).unwrap(), 5);
    let d_whole = whole.clone();
    let d_whole = d_whole.view();
    for kind in [Global::Max, Global::Average] {
        calls(&format!("{name}: global {kind:?}"), [&mut whole], |[y]| {
            pool::global_pool(kind, &x, false, y, &never).unwrap();
        });
        let operand = (kind == Global::Max).then_some(&x);
        calls(&format!("{name}: global {kind:?}, gradient"), [&mut dx], |[dx]| {
            pool::global_pool_grad(&d_whole, operand, false, dx, &never).unwrap();
        });
    }
}

#[test]
fn the_second_call_allocates_nothing() {
    for count in [1, 2] {
        set_threads(count).unwrap();
        // A thread allocates while it starts; give it time to do so.
        for_each(count, count, &|| false, &|_, _, _| ()).unwrap();
        sleep(Duration::from_millis(200));
        for (name, kind, case) in cases() {
            check_conv::<f32>(name, kind, &case);
        }
        check_conv::<f64>("float64", ConvKind::Plain, &ConvCase::new(&[32, 32], 3, 8, 16).same());
        let separable = |input: &[usize]| ConvCase::new(input, 3, 24, 24).same().groups(24);
        check_separable::<f32>("separable series", &separable(&[3000]), 32);
        check_separable::<f32>("separable image", &separable(&[40, 40]).stride(&[2, 1]), 32);
        check_separable::<f64>("separable volume", &separable(&[8, 12, 12]), 20);
        check_pools::<f32>("series", &[9000], 8, false);
        check_pools::<f32>("image", &[50, 60], 16, true);
        check_pools::<f64>("volume", &[10, 20, 20], 5, false);
    }
}
