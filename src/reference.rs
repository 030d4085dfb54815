//! The obvious loops: every operation as its definition says, accumulated in double precision.
//!
//! Tests and benches compare the fast paths with these; nothing dispatches to them. All functions take one sample,
//! channels last, and return doubles whatever the element type is.

use crate::geometry::{AXES, Axis, ConvGeometry, PaddingMode, PoolGeometry};
use crate::kernels::Element;

/// The input position that tap `tap` of output `output` reads, unless it is a zero of the padding.
///
/// Other borders are walked step by step, as their names say: reflected at the first and last element, and so on.
fn source(axis: &Axis, mode: PaddingMode, output: usize, tap: usize) -> Option<usize> {
    let n = axis.input as isize;
    let mut at = (output * axis.stride + tap * axis.dilation) as isize - axis.before as isize;
    while !(0..n).contains(&at) {
        at = match mode {
            PaddingMode::Zeros => return None,
            PaddingMode::Edge => at.clamp(0, n - 1),
            PaddingMode::Wrap if at < 0 => at + n,
            PaddingMode::Wrap => at - n,
            PaddingMode::Symmetric if at < 0 => -1 - at,
            PaddingMode::Symmetric => 2 * n - 1 - at,
            PaddingMode::Reflect if n == 1 => 0,
            PaddingMode::Reflect if at < 0 => -at,
            PaddingMode::Reflect => 2 * (n - 1) - at,
        };
    }
    Some(at as usize)
}

/// All positions of a box, the last axis fastest.
fn positions(sizes: [usize; AXES]) -> impl Iterator<Item = [usize; AXES]> {
    let [a, b, c] = sizes;
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k])))
}

/// The number of a position in its box.
fn flat(sizes: [usize; AXES], at: [usize; AXES]) -> usize {
    (at[0] * sizes[1] + at[1]) * sizes[2] + at[2]
}

/// Calls `visit(output, tap, input)` with flat numbers, `None` for an input in the padding; outputs in row-major
/// order, and for each of them its taps in row-major order.
fn for_each_tap(axes: &[Axis; AXES], mode: PaddingMode, mut visit: impl FnMut(usize, usize, Option<usize>)) {
    let inputs = axes.each_ref().map(|a| a.input);
    let outputs = axes.each_ref().map(|a| a.output);
    let taps = axes.each_ref().map(|a| a.kernel);
    for output in positions(outputs) {
        for tap in positions(taps) {
            let at = |i: usize| source(&axes[i], mode, output[i], tap[i]);
            let input = match (at(0), at(1), at(2)) {
                (Some(d), Some(h), Some(w)) => Some(flat(inputs, [d, h, w])),
                _ => None,
            };
            visit(flat(outputs, output), flat(taps, tap), input);
        }
    }
}

/// Calls `visit(x, kernel, y)` with the offsets of every product of a convolution that does not meet the padding.
fn for_each_product(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = (g.group_in(), g.group_out());
    for_each_tap(&g.axes, g.mode, |output, tap, input| {
        let Some(input) = input else { return };
        for group in 0..g.groups {
            for ci in 0..group_in {
                for co in group * group_out..(group + 1) * group_out {
                    let x = input * g.c_in + group * group_in + ci;
                    visit(x, (tap * group_in + ci) * g.c_out + co, output * g.c_out + co);
                }
            }
        }
    });
}

/// `y[o, co] = sum over taps and ci of x[o * stride + t * dilation - before, ci] * kernel[t, ci, co]`.
pub fn conv<T: Element>(g: &ConvGeometry, x: &[T], kernel: &[T]) -> Vec<f64> {
    assert_eq!((x.len(), kernel.len()), (g.input_len(), g.kernel_len()));
    let mut y = vec![0.0; g.output_len()];
    for_each_product(g, |i, k, o| y[o] += x[i].to_f64() * kernel[k].to_f64());
    y
}

/// The gradient of `<dy, conv(x, kernel)>` to `x`.
pub fn conv_input_grad<T: Element>(g: &ConvGeometry, dy: &[T], kernel: &[T]) -> Vec<f64> {
    assert_eq!((dy.len(), kernel.len()), (g.output_len(), g.kernel_len()));
    let mut dx = vec![0.0; g.input_len()];
    for_each_product(g, |i, k, o| dx[i] += dy[o].to_f64() * kernel[k].to_f64());
    dx
}

/// The gradient of `<dy, conv(x, kernel)>` to `kernel`.
pub fn conv_kernel_grad<T: Element>(g: &ConvGeometry, x: &[T], dy: &[T]) -> Vec<f64> {
    assert_eq!((x.len(), dy.len()), (g.input_len(), g.output_len()));
    let mut dkernel = vec![0.0; g.kernel_len()];
    for_each_product(g, |i, k, o| dkernel[k] += x[i].to_f64() * dy[o].to_f64());
    dkernel
}

/// Calls `visit(x, kernel, y)` with the offsets of every product of a transposed convolution, the one that `g` is the
/// transpose of: every input is spread over a window of outputs, `y[i * stride + t * dilation - before, co] +=
/// x[i, ci] * kernel[t, co of its group, ci]`, where what falls outside is cropped.
fn for_each_spread(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    // The convolution maps the other way: its output is the input here.
    let (c_in, c_out) = (g.c_out, g.c_in);
    let (group_in, group_out) = (c_in / g.groups, c_out / g.groups);
    let inputs = g.axes.each_ref().map(|a| a.output);
    let outputs = g.axes.each_ref().map(|a| a.input);
    let taps = g.axes.each_ref().map(|a| a.kernel);
    for input in positions(inputs) {
        for tap in positions(taps) {
            let place = |i: usize| {
                let axis = &g.axes[i];
                let at = (input[i] * axis.stride + tap[i] * axis.dilation).checked_sub(axis.before)?;
                (at < axis.input).then_some(at)
            };
            let (Some(d), Some(h), Some(w)) = (place(0), place(1), place(2)) else { continue };
            let (x, t, y) = (flat(inputs, input), flat(taps, tap), flat(outputs, [d, h, w]));
            for ci in 0..c_in {
                for co in 0..group_out {
                    let filter = ci / group_in * group_out + co;
                    visit(x * c_in + ci, (t * group_out + co) * c_in + ci, y * c_out + filter);
                }
            }
        }
    }
}

/// The transposed convolution of which `g` is the convolution; `x` has the shape of the output of `g`, the result that
/// of its input.
pub fn conv_transpose<T: Element>(g: &ConvGeometry, x: &[T], kernel: &[T]) -> Vec<f64> {
    assert_eq!((x.len(), kernel.len()), (g.output_len(), g.kernel_len()));
    let mut y = vec![0.0; g.input_len()];
    for_each_spread(g, |i, k, o| y[o] += x[i].to_f64() * kernel[k].to_f64());
    y
}

/// The gradient of `<dy, conv_transpose(x, kernel)>` to `x`.
pub fn conv_transpose_input_grad<T: Element>(g: &ConvGeometry, dy: &[T], kernel: &[T]) -> Vec<f64> {
    assert_eq!((dy.len(), kernel.len()), (g.input_len(), g.kernel_len()));
    let mut dx = vec![0.0; g.output_len()];
    for_each_spread(g, |i, k, o| dx[i] += dy[o].to_f64() * kernel[k].to_f64());
    dx
}

/// The gradient of `<dy, conv_transpose(x, kernel)>` to `kernel`.
pub fn conv_transpose_kernel_grad<T: Element>(g: &ConvGeometry, x: &[T], dy: &[T]) -> Vec<f64> {
    assert_eq!((x.len(), dy.len()), (g.output_len(), g.input_len()));
    let mut dkernel = vec![0.0; g.kernel_len()];
    for_each_spread(g, |i, k, o| dkernel[k] += x[i].to_f64() * dy[o].to_f64());
    dkernel
}

/// Calls `visit(x, first, second, y)` with the offsets of every product of a separable convolution; `g` is its first
/// step, from a channel to `c_out / c_in` of them.
fn for_each_triple(g: &ConvGeometry, filters: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
    assert_eq!(g.groups, g.c_in, "every channel alone");
    for_each_product(g, |x, first, middle| {
        let (position, channel) = (middle / g.c_out, middle % g.c_out);
        for f in 0..filters {
            visit(x, first, channel * filters + f, position * filters + f);
        }
    });
}

/// `y[o, f] = sum over taps, c and m of x[o * stride + t * dilation - before, c] * first[t, c, m] * second[c, m, f]`
pub fn separable_conv<T: Element>(g: &ConvGeometry, x: &[T], [first, second]: [&[T]; 2]) -> Vec<f64> {
    let filters = second.len() / g.c_out;
    let mut y = vec![0.0; g.output_len() / g.c_out * filters];
    for_each_triple(g, filters, |i, a, b, o| y[o] += x[i].to_f64() * first[a].to_f64() * second[b].to_f64());
    y
}

/// The gradient of `<dy, separable_conv(x, kernels)>` to `x`.
pub fn separable_conv_input_grad<T: Element>(
    g: &ConvGeometry,
    dy: &[T],
    [first, second]: [&[T]; 2],
) -> Vec<f64> {
    let filters = second.len() / g.c_out;
    let mut dx = vec![0.0; g.input_len()];
    for_each_triple(g, filters, |i, a, b, o| {
        dx[i] += dy[o].to_f64() * first[a].to_f64() * second[b].to_f64()
    });
    dx
}

/// The gradients of `<dy, separable_conv(x, kernels)>` to the kernels.
pub fn separable_conv_kernel_grads<T: Element>(
    g: &ConvGeometry,
    [x, dy]: [&[T]; 2],
    [first, second]: [&[T]; 2],
) -> [Vec<f64>; 2] {
    let filters = second.len() / g.c_out;
    let [mut d_first, mut d_second] = [vec![0.0; first.len()], vec![0.0; second.len()]];
    for_each_triple(g, filters, |i, a, b, o| {
        let flow = x[i].to_f64() * dy[o].to_f64();
        d_first[a] += flow * second[b].to_f64();
        d_second[b] += flow * first[a].to_f64();
    });
    [d_first, d_second]
}

/// The result of [`max_pool`].
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool {
    /// The maxima; minus infinity for a window that lies in the padding altogether.
    pub values: Vec<f64>,
    /// Offset into the sample of each maximum, unless the window lies in the padding altogether.
    pub winners: Vec<Option<usize>>,
}

/// The maximum of every window, channel by channel. Padding never wins; of equal elements the first in row-major
/// order does; the first NaN beats everything.
pub fn max_pool<T: Element>(g: &PoolGeometry, x: &[T]) -> MaxPool {
    assert_eq!(x.len(), g.input_len());
    let mut values = vec![f64::NEG_INFINITY; g.output_len()];
    let mut winners = vec![None; g.output_len()];
    for_each_tap(&g.axes, PaddingMode::Zeros, |output, _, input| {
        let Some(input) = input else { return };
        for c in 0..g.channels {
            let (i, o) = (input * g.channels + c, output * g.channels + c);
            let new = x[i].to_f64();
            if winners[o].is_none() || new > values[o] || new.is_nan() && !values[o].is_nan() {
                (values[o], winners[o]) = (new, Some(i));
            }
        }
    });
    MaxPool { values, winners }
}

/// The gradient of `<dy, max_pool(x)>` to `x`: every element of `dy` goes to the winner of its window.
pub fn max_pool_grad<T: Element>(g: &PoolGeometry, x: &[T], dy: &[T]) -> Vec<f64> {
    assert_eq!(dy.len(), g.output_len());
    let mut dx = vec![0.0; g.input_len()];
    for (winner, dy) in max_pool(g, x).winners.iter().zip(dy) {
        if let Some(i) = winner {
            dx[*i] += dy.to_f64();
        }
    }
    dx
}

/// What each window's sum is divided by: its elements, with or without those in the padding.
fn divisors(g: &PoolGeometry, count_padding: bool) -> Vec<f64> {
    let mut counts = vec![0.0; g.output_len() / g.channels.max(1)];
    for_each_tap(&g.axes, PaddingMode::Zeros, |output, _, input| {
        if count_padding || input.is_some() {
            counts[output] += 1.0;
        }
    });
    counts
}

/// The mean of every window, channel by channel. `count_padding` says whether zeros of the padding are elements; if
/// they are not, a window that lies in the padding altogether gives 0.
pub fn average_pool<T: Element>(g: &PoolGeometry, x: &[T], count_padding: bool) -> Vec<f64> {
    assert_eq!(x.len(), g.input_len());
    let mut y = vec![0.0; g.output_len()];
    for_each_tap(&g.axes, PaddingMode::Zeros, |output, _, input| {
        let Some(input) = input else { return };
        for c in 0..g.channels {
            y[output * g.channels + c] += x[input * g.channels + c].to_f64();
        }
    });
    for (output, divisor) in divisors(g, count_padding).iter().enumerate() {
        for sum in &mut y[output * g.channels..(output + 1) * g.channels] {
            *sum /= divisor.max(1.0);
        }
    }
    y
}

/// The gradient of `<dy, average_pool(x)>` to `x`.
pub fn average_pool_grad<T: Element>(g: &PoolGeometry, dy: &[T], count_padding: bool) -> Vec<f64> {
    assert_eq!(dy.len(), g.output_len());
    let divisors = divisors(g, count_padding);
    let mut dx = vec![0.0; g.input_len()];
    for_each_tap(&g.axes, PaddingMode::Zeros, |output, _, input| {
        let Some(input) = input else { return };
        for c in 0..g.channels {
            dx[input * g.channels + c] += dy[output * g.channels + c].to_f64() / divisors[output];
        }
    });
    dx
}

/// The sources of an axis of `n` elements with some before and after, by walking outwards step by step; None is a
/// zero.
fn walk(n: usize, (before, after): (usize, usize), mode: PaddingMode) -> Vec<Option<usize>> {
    let side = |count: usize, up: bool| {
        // From the edge outwards: where the walk stands, and whether it goes up.
        let (mut at, mut rising) = if up { (n - 1, true) } else { (0, false) };
        let step = move |_| match mode {
            PaddingMode::Zeros => None,
            PaddingMode::Edge => Some(at),
            PaddingMode::Wrap => {
                at = if up { (at + 1) % n } else { (at + n - 1) % n };
                Some(at)
            }
            PaddingMode::Reflect | PaddingMode::Symmetric => {
                let end = if rising { n - 1 } else { 0 };
                if at == end {
                    rising = !rising;
                    if mode == PaddingMode::Symmetric || n == 1 {
                        return Some(at);
                    }
                }
                at = if rising { at + 1 } else { at - 1 };
                Some(at)
            }
        };
        (0..count).map(step).collect::<Vec<_>>()
    };
    let front = side(before, false);
    let back = side(after, true);
    front.into_iter().rev().chain((0..n).map(Some)).chain(back).collect()
}

/// Calls `visit(output, input)` with the flat positions of every element of a padded box that is not a zero.
fn for_each_source(
    sizes: [usize; AXES],
    pairs: [(usize, usize); AXES],
    mode: PaddingMode,
    mut visit: impl FnMut(usize, usize),
) {
    let sources: [Vec<Option<usize>>; AXES] = std::array::from_fn(|i| walk(sizes[i], pairs[i], mode));
    let outputs = sources.each_ref().map(Vec::len);
    for at in positions(outputs) {
        if let (Some(d), Some(h), Some(w)) = (sources[0][at[0]], sources[1][at[1]], sources[2][at[2]]) {
            visit(flat(outputs, at), flat(sizes, [d, h, w]));
        }
    }
}

/// A sample of `sizes` with one channel, padded as `numpy.pad` does.
pub fn pad<T: Element>(
    x: &[T],
    sizes: [usize; AXES],
    pairs: [(usize, usize); AXES],
    mode: PaddingMode,
) -> Vec<f64> {
    let len = (0..AXES).map(|i| sizes[i] + pairs[i].0 + pairs[i].1).product();
    let mut y = vec![0.0; len];
    for_each_source(sizes, pairs, mode, |output, input| y[output] = x[input].to_f64());
    y
}

/// The gradient of `<dy, pad(x)>` to `x`.
pub fn pad_grad<T: Element>(
    dy: &[T],
    sizes: [usize; AXES],
    pairs: [(usize, usize); AXES],
    mode: PaddingMode,
) -> Vec<f64> {
    let mut dx = vec![0.0; sizes.iter().product()];
    for_each_source(sizes, pairs, mode, |output, input| dx[input] += dy[output].to_f64());
    dx
}

/// The weight of input `i` in output `o` of an axis of `n` elements that is upsampled `factor` times: a tent around the
/// place of the output, which is kept between the first and the last centre.
pub fn tent(n: usize, factor: usize, o: usize, i: usize) -> f64 {
    let place = ((o as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (n - 1) as f64);
    (1.0 - (place - i as f64).abs()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Padding, Window};

    fn window(kernel: &[usize], stride: usize, dilation: usize, padding: Padding) -> Window {
        let all = |n: usize| vec![n; kernel.len()];
        Window { kernel: kernel.to_vec(), stride: all(stride), dilation: all(dilation), padding }
    }

    /// Worked by hand.
    #[test]
    fn a_series() {
        let g = ConvGeometry::new(&window(&[3], 2, 1, Padding::SAME), &[4], 1, 1, 1).unwrap();
        let (x, kernel) = ([1.0f32, 2.0, 3.0, 4.0], [10.0f32, 100.0, 1000.0]);
        // "same" with stride 2 on 4 elements puts its one zero after them.
        assert_eq!(conv(&g, &x, &kernel), [3210.0, 430.0]);
        assert_eq!(conv_input_grad(&g, &[1.0f32, 2.0], &kernel), [10.0, 100.0, 1020.0, 200.0]);
        assert_eq!(conv_kernel_grad(&g, &x, &[1.0f32, 2.0]), [7.0, 10.0, 3.0]);
    }

    #[test]
    fn groups_do_not_mix() {
        let g = ConvGeometry::new(&window(&[1], 1, 1, Padding::VALID), &[1], 4, 2, 2).unwrap();
        // Kernel (1, 2, 2): y0 = x0 k00 + x1 k10, y1 = x2 k01 + x3 k11.
        assert_eq!(conv(&g, &[1.0f64, 2.0, 3.0, 4.0], &[1.0, 10.0, 100.0, 1000.0]), [201.0, 4030.0]);
    }

    #[test]
    fn a_transposed_series() {
        // Two inputs, kernel 3, stride 2: 5 outputs, of which the first is cropped.
        let padding = Padding::Explicit(vec![(1, 0)]);
        let g = ConvGeometry::transposed(&window(&[3], 2, 1, padding), None, &[2], (1, 1), 1).unwrap();
        let (x, kernel) = ([1.0f32, 2.0], [10.0f32, 100.0, 1000.0]);
        assert_eq!(conv_transpose(&g, &x, &kernel), [100.0, 1020.0, 200.0, 2000.0]);
        let dy = [1.0f32, 2.0, 3.0, 4.0];
        assert_eq!(conv_transpose_input_grad(&g, &dy, &kernel), [2100.0, 4320.0]);
        assert_eq!(conv_transpose_kernel_grad(&g, &x, &dy), [4.0, 7.0, 10.0]);
    }

    #[test]
    fn a_separable_series() {
        let g = ConvGeometry::new(&window(&[2], 1, 1, Padding::VALID), &[2], 2, 2, 2).unwrap();
        let x = [1.0f64, 2.0, 3.0, 4.0];
        // Between the steps: 1 * 1 + 3 * 10 and 2 * 2 + 4 * 20.
        let kernels = [&[1.0f64, 2.0, 10.0, 20.0][..], &[1.0, 3.0]];
        assert_eq!(separable_conv(&g, &x, kernels), [31.0 + 3.0 * 84.0]);
        assert_eq!(separable_conv_input_grad(&g, &[2.0], kernels), [2.0, 12.0, 20.0, 120.0]);
        let [d_first, d_second] = separable_conv_kernel_grads(&g, [&x, &[2.0]], kernels);
        assert_eq!(d_first, [2.0, 12.0, 6.0, 24.0]);
        assert_eq!(d_second, [62.0, 168.0]);
    }

    #[test]
    fn a_dilated_image() {
        let g = ConvGeometry::new(&window(&[2, 2], 1, 2, Padding::VALID), &[3, 3], 1, 1, 1).unwrap();
        let x: Vec<f32> = (0..9u8).map(f32::from).collect();
        assert_eq!(conv(&g, &x, &[1.0, 10.0, 100.0, 1000.0]), [8620.0]);
    }

    #[test]
    fn pools() {
        let padding = Padding::Explicit(vec![(1, 3)]);
        let g = PoolGeometry::new(&window(&[2], 2, 1, padding), &[4], 1).unwrap();
        let x = [-1.0f32, 5.0, 5.0, -3.0];
        // Windows: (pad, x0), (x1, x2), (x3, pad), (pad, pad).
        let pooled = max_pool(&g, &x);
        assert_eq!(pooled.values, [-1.0, 5.0, -3.0, f64::NEG_INFINITY]);
        assert_eq!(pooled.winners, [Some(0), Some(1), Some(3), None]);
        let dy = [1.0f32, 2.0, 3.0, 4.0];
        assert_eq!(max_pool_grad(&g, &x, &dy), [1.0, 2.0, 0.0, 3.0]);
        assert_eq!(average_pool(&g, &x, false), [-1.0, 5.0, -3.0, 0.0]);
        assert_eq!(average_pool(&g, &x, true), [-0.5, 5.0, -1.5, 0.0]);
        assert_eq!(average_pool_grad(&g, &dy, false), [1.0, 1.0, 1.0, 3.0]);
        assert_eq!(average_pool_grad(&g, &dy, true), [0.5, 1.0, 1.0, 1.5]);
    }

    #[test]
    fn the_first_nan_wins() {
        let g = PoolGeometry::new(&window(&[4], 1, 1, Padding::VALID), &[4], 1).unwrap();
        let pooled = max_pool(&g, &[9.0f64, f64::NAN, 10.0, f64::NAN]);
        assert!(pooled.values[0].is_nan());
        assert_eq!(pooled.winners, [Some(1)]);
    }
}
