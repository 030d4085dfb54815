//! Pools, padding and upsampling against the reference, on every tier, whole and in parts.

mod common;

use common::pools::{PoolCase, pool_cases};
use common::{bits, check_close, integers, partition};
use gridnn::geometry::PaddingMode;
use gridnn::kernels::{Element, Kernels, Tier};
use gridnn::pad::{Gather, Sources};
use gridnn::pool::{self, AveragePool, MaxPool, PoolScratch};
use gridnn::reference;
use gridnn::resize::Bilinear;
use proptest::prelude::*;

fn check<T: Element>(case: &PoolCase) -> Result<(), String> {
    let g = case.geometry().ok_or("no output")?;
    let x: Vec<T> = integers(g.input_len(), case.seed);
    let dy: Vec<T> = integers(g.output_len(), case.seed ^ 1);
    let nan = T::from_f64(f64::NAN);
    let [d, h, w] = &g.axes;
    let (rows, row) = (d.output * h.output, w.output * g.channels);
    let (bands, band_len) = (d.input * h.input, w.input * g.channels);
    let expected = reference::max_pool(&g, &x);
    let expected_dx = reference::max_pool_grad(&g, &x, &dy);
    let mut means: Option<[Vec<u64>; 4]> = None;
    let mut taps = Vec::new();
    for tier in Tier::available() {
        let pool = MaxPool::new(g.clone(), Kernels::of(tier));
        let (mut y, mut at, mut plain) = (vec![nan; dy.len()], vec![-2; dy.len()], vec![nan; dy.len()]);
        for part in partition(rows, &case.cuts) {
            let own = part.start * row..part.end * row;
            let notes = &mut PoolScratch::default();
            pool.forward_indices(
                &x,
                &mut y[own.clone()],
                &mut at[own.clone()],
                part.clone(),
                (notes, &|| false),
            );
            pool.forward(&x, &mut plain[own], &mut [], part, (&mut taps, &|| false));
        }
        let winners = expected.winners.iter().map(|i| i.map_or(-1, |i| (i / g.channels) as i64));
        if !(y.iter().map(|v| v.to_f64()).eq(expected.values.iter().copied()) && bits(&y) == bits(&plain)) {
            return Err(format!("{tier:?}: maxima {y:?}, expected {:?}", expected.values));
        }
        if !at.iter().copied().eq(winners) {
            return Err(format!("{tier:?}: positions {at:?}, expected {:?}", expected.winners));
        }
        let mut bytes = vec![0; dy.len()];
        pool.forward(&x, &mut y, &mut bytes, 0..rows, (&mut taps, &|| false));
        let (mut dx, mut again) = (vec![nan; x.len()], vec![nan; x.len()]);
        pool.backward(&dy, &bytes, None, &mut dx, &mut taps);
        for band in partition(bands, &case.cuts) {
            let own = band.start * band_len..band.end * band_len;
            pool.backward_halo(&x, &dy, &mut again[own], band, (&mut PoolScratch::default(), &|| false));
        }
        for dx in [&dx, &again] {
            if !dx.iter().map(|v| v.to_f64()).eq(expected_dx.iter().copied()) {
                return Err(format!("{tier:?}: gradient {dx:?}, expected {expected_dx:?}"));
            }
        }
        let mut results = Vec::new();
        for count in [false, true] {
            let pool = AveragePool::new(g.clone(), count, Kernels::of(tier));
            let (mut y, mut dx, mut whole) = (vec![nan; dy.len()], vec![nan; x.len()], vec![nan; x.len()]);
            for part in partition(rows, &case.cuts) {
                pool.forward(&x, &mut y[part.start * row..part.end * row], part, (&mut taps, &|| false));
            }
            for band in partition(bands, &case.cuts) {
                let own = band.start * band_len..band.end * band_len;
                pool.backward_halo(&dy, &mut dx[own], band, (&mut taps, &|| false));
            }
            pool.backward(&dy, &mut whole, &mut taps);
            if bits(&dx) != bits(&whole) {
                return Err(format!("{tier:?}: bands {dx:?}, whole {whole:?}"));
            }
            // Those that the reference does not give are tested in Python.
            if case.has_reference_means(count) {
                let tolerance = if T::NAME == "float32" { 1e-5 } else { 1e-13 };
                let one = |len: usize| vec![100.0; len];
                check_close(&y, &reference::average_pool(&g, &x, count), &one(y.len()), tolerance)?;
                check_close(&dx, &reference::average_pool_grad(&g, &dy, count), &one(dx.len()), tolerance)?;
            }
            results.extend([bits(&y), bits(&dx)]);
        }
        let results: [Vec<u64>; 4] = results.try_into().map_err(|_| "four results")?;
        if *means.get_or_insert_with(|| results.clone()) != results {
            return Err(format!("{tier:?} differs from the first tier"));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn pools_agree_with_the_reference_in_float32(case in pool_cases()) {
        check::<f32>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn pools_agree_with_the_reference_in_float64(case in pool_cases()) {
        check::<f64>(&case).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn padding_agrees_with_the_reference(
        axes in prop::collection::vec((1..6usize, 0..9usize, 0..9usize), 1..=3),
        cuts in prop::collection::vec(0..100usize, 0..4),
        mode in prop::sample::select(PaddingMode::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        let (mut sizes, mut pairs) = ([1; 3], [(0, 0); 3]);
        for (i, axis) in axes.iter().enumerate() {
            sizes[3 - axes.len() + i] = axis.0;
            pairs[3 - axes.len() + i] = (axis.1, axis.2);
        }
        let sources = axes.iter().map(|a| Sources::padded(a.0, (a.1, a.2), mode)).collect::<Result<_, _>>();
        let plan = Gather::new(sources.unwrap(), 1);
        let x: Vec<f64> = integers(sizes.iter().product(), seed);
        let expected = reference::pad(&x, sizes, pairs, mode);
        let mut y = vec![f64::NAN; expected.len()];
        for rows in partition(plan.rows(), &cuts) {
            plan.forward(&x, &mut y[rows.start * plan.row_len()..rows.end * plan.row_len()], rows);
        }
        prop_assert_eq!(&y, &expected);
        let dy: Vec<f64> = integers(y.len(), seed ^ 1);
        let mut dx = vec![f64::NAN; x.len()];
        for band in partition(plan.input_rows(), &cuts) {
            let own = band.start * plan.input_row_len()..band.end * plan.input_row_len();
            plan.backward(&dy, &mut dx[own], band);
        }
        prop_assert_eq!(dx, reference::pad_grad(&dy, sizes, pairs, mode));
    }

    #[test]
    fn bilinear_upsampling_is_a_sum_of_tents(
        (h, w) in (1..6usize, 1..6usize),
        (fh, fw) in (1..5usize, 1..5usize),
        channels in 1..20usize,
        seed in any::<u64>(),
    ) {
        let x: Vec<f64> = integers(h * w * channels, seed);
        let dy: Vec<f64> = integers(h * fh * w * fw * channels, seed ^ 1);
        let (mut expected, mut expected_dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        for (i, j) in (0..h * fh).flat_map(|i| (0..w * fw).map(move |j| (i, j))) {
            for (p, q) in (0..h).flat_map(|p| (0..w).map(move |q| (p, q))) {
                let weight = reference::tent(h, fh, i, p) * reference::tent(w, fw, j, q);
                for c in 0..channels {
                    let (output, input) = ((i * w * fw + j) * channels + c, (p * w + q) * channels + c);
                    expected[output] += weight * x[input];
                    expected_dx[input] += weight * dy[output];
                }
            }
        }
        let mut first: Option<(Vec<u64>, Vec<u64>)> = None;
        for tier in Tier::available() {
            let plan = Bilinear::new([h, w], [fh, fw], channels, tier).unwrap();
            let (mut y, mut dx) = (vec![f64::NAN; dy.len()], vec![f64::NAN; x.len()]);
            plan.forward(&x, &mut y, 0..plan.rows());
            plan.backward(&dy, &mut dx);
            let one = |len: usize| vec![100.0; len];
            check_close(&y, &expected, &one(y.len()), 1e-13).map_err(TestCaseError::fail)?;
            check_close(&dx, &expected_dx, &one(dx.len()), 1e-13).map_err(TestCaseError::fail)?;
            let both = (bits(&y), bits(&dx));
            prop_assert_eq!(first.get_or_insert_with(|| both.clone()), &both);
        }
    }

    #[test]
    fn global_pools_by_definition(
        positions in 1..200usize,
        channels in 1..150usize,
        seed in any::<u64>(),
    ) {
        let x: Vec<f32> = integers(positions * channels, seed);
        let dy: Vec<f32> = integers(channels, seed ^ 1);
        for tier in Tier::available() {
            let (mut top, mut mean, mut dx) = (vec![0.0; channels], vec![0.0; channels], vec![f32::NAN; x.len()]);
            for part in partition(channels, &[seed as usize]) {
                pool::global_max(tier, &x, channels, part.start, &mut top[part.clone()]);
                pool::global_average(tier, &x, channels, part.start, &mut mean[part]);
            }
            pool::global_max_grad(tier, &x, &dy, &mut dx);
            for c in 0..channels {
                let column: Vec<f32> = x.iter().skip(c).step_by(channels).copied().collect();
                let sum: f64 = column.iter().map(|v| f64::from(*v)).sum();
                prop_assert_eq!(mean[c], (sum / positions as f64) as f32);
                let best = column.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
                prop_assert_eq!(top[c], best);
                let first = column.iter().position(|v| *v == best).unwrap();
                let expected = (0..positions).map(|i| if i == first { dy[c] } else { 0.0 });
                prop_assert!(dx.iter().skip(c).step_by(channels).copied().eq(expected));
            }
        }
    }
}

/// More elements in a window, and windows around an element, than one chain takes.
#[test]
fn large_windows_on_every_tier() {
    let axes = [
        vec![(20, 16, 1, 1, 0, 0), (19, 16, 1, 1, 0, 0)],
        vec![(23, 11, 1, 1, 5, 5), (19, 9, 1, 1, 4, 4)],
        vec![(23, 11, 2, 1, 5, 5), (31, 9, 1, 2, 4, 7)],
        vec![(30, 13, 2, 2, 3, 9), (21, 8, 1, 1, 1, 0)],
        vec![(300, 90, 1, 1, 20, 44)],
        vec![(9, 5, 1, 1, 2, 2), (8, 5, 1, 1, 1, 2), (7, 5, 1, 1, 2, 0)],
    ];
    for (axes, ceil, channels) in axes.iter().flat_map(|a| [(a, false, 3), (a, true, 1), (a, false, 70)]) {
        let case = PoolCase { axes: axes.clone(), ceil, channels, cuts: vec![1, 7, 20], seed: 5 };
        check::<f32>(&case).unwrap();
        check::<f64>(&case).unwrap();
    }
}

/// Chains of a constant stall: they were wrong by 1 and by 15 percent.
#[test]
fn means_of_large_windows_are_exact() {
    for (size, channels) in [(1024, 3), (4096, 1)] {
        let case = PoolCase {
            axes: vec![(size, size, 1, 1, 0, 0); 2],
            ceil: false,
            channels,
            cuts: vec![],
            seed: 0,
        };
        let x = vec![0.1f32; size * size * channels];
        for tier in Tier::available() {
            let pool = AveragePool::new(case.geometry().unwrap(), false, Kernels::of(tier));
            let (mut y, mut global) = (vec![0.0; channels], vec![0.0; channels]);
            pool.forward(&x, &mut y, 0..1, (&mut Vec::new(), &|| false));
            pool::global_average(tier, &x, channels, 0, &mut global);
            for y in y.iter().chain(&global) {
                assert!((y / 0.1 - 1.0).abs() < 2e-6, "{size} on {tier:?}: {y}");
            }
        }
    }
    // The gradient in the middle belongs to 4096 windows.
    let case =
        PoolCase { axes: vec![(127, 64, 1, 1, 0, 0); 2], ceil: false, channels: 1, cuts: vec![], seed: 0 };
    let (dy, mut dx) = (vec![0.1f32; 64 * 64], vec![0.0f32; 127 * 127]);
    for tier in Tier::available() {
        let pool = AveragePool::new(case.geometry().unwrap(), true, Kernels::of(tier));
        pool.backward(&dy, &mut dx, &mut Vec::new());
        assert!((dx[63 * 127 + 63] / 0.1 - 1.0).abs() < 2e-6, "{tier:?}: {}", dx[63 * 127 + 63]);
    }
}

#[test]
fn the_first_nan_wins_on_every_tier() {
    let case = PoolCase { axes: vec![(4, 4, 1, 1, 0, 0)], ceil: false, channels: 1, cuts: vec![], seed: 0 };
    let x = [9.0f32, f32::NAN, 10.0, f32::NAN];
    for tier in Tier::available() {
        let pool = MaxPool::new(case.geometry().unwrap(), Kernels::of(tier));
        let (mut y, mut at) = ([0.0], [0]);
        pool.forward_indices(&x, &mut y, &mut at, 0..1, (&mut PoolScratch::default(), &|| false));
        assert!(y[0].is_nan() && at == [1], "{tier:?}");
    }
}
