//! One battery for every tier of the machine.

use super::*;

/// Small integers are exact in every order of summation.
fn integers<T: Element>(len: usize, seed: u64) -> Vec<T> {
    (0..len as u64).map(|i| T::from_f64((((i + seed) * 2_654_435_761) >> 7) as f64 % 7.0 - 3.0)).collect()
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    runs: usize,
    k_contiguous: bool,
}

/// Computes a case on one tier, with the operands ending exactly where the product may read.
fn run<T: Element>(case: &Case, tier: Tier, start_from_result: bool, relu: bool) -> (Vec<T>, Vec<T>) {
    let kernels = Kernels::<T>::of(tier);
    let panel = kernels.panel();
    let &Case { m, n, k, runs: count, k_contiguous } = case;
    let (a_m, a_k) = if k_contiguous { (k + 3, 1) } else { (1, m + 2) };
    let a_len = (m - 1) * a_m + (k - 1) * a_k + 1;
    let a: Vec<T> = integers(a_len * count, 1);
    let dense: Vec<T> = integers(count * k * n, 2);
    let (b, b_k, b_panel, b_run) = if k_contiguous {
        let mut packed = vec![T::ZERO; pack::panels_len(count * k, n, panel)];
        pack::panels(&mut packed, &dense, (count * k, n, panel), [n, 1]);
        (packed, panel, count * k * panel, k * panel)
    } else {
        (dense.clone(), n, panel, k * n)
    };
    let c_m = n + 1;
    let before: Vec<T> = integers((m - 1) * c_m + n, 3);
    let bias: Vec<T> = integers(n, 4);
    let mut expected = before.clone();
    for i in 0..m {
        for j in 0..n {
            let mut sum = if start_from_result { before[i * c_m + j] } else { bias[j] }.to_f64();
            for r in 0..count {
                for q in 0..k {
                    sum += a[r * a_len + i * a_m + q * a_k].to_f64() * dense[(r * k + q) * n + j].to_f64();
                }
            }
            expected[i * c_m + j] = T::from_f64(if relu { sum.max(0.0) } else { sum });
        }
    }
    let mut c = before;
    let list: Vec<Run> = (0..count).map(|r| Run { a: r * a_len, b: r * b_run }).collect();
    kernels.product(&mut Product {
        a: &a,
        a_m,
        a_k,
        b: &b,
        b_k,
        b_panel,
        b_padded: k_contiguous,
        runs: &list,
        run_len: k,
        c: &mut c,
        c_m,
        m,
        n,
        start: if start_from_result { Start::Result } else { Start::Bias(&bias) },
        relu,
    });
    (c, expected)
}

fn battery<T: Element>() {
    for tier in Tier::available() {
        for m in (1..=15).chain([28, 29, 57]) {
            for n in [1, 3, 8, 15, 16, 17, 31, 32, 33, 70] {
                for (k, runs) in [(1, 1), (5, 1), (3, 4), (2, 0)] {
                    for k_contiguous in [true, false] {
                        let case = Case { m, n, k, runs, k_contiguous };
                        let (got, expected) = run::<T>(&case, tier, m % 2 == 0, n % 2 == 0);
                        assert_eq!(got, expected, "{tier:?} m={m} n={n} k={k} runs={runs} {k_contiguous}");
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_integers_are_exact_in_float32() {
    battery::<f32>();
}

#[test]
fn products_of_integers_are_exact_in_float64() {
    battery::<f64>();
}

#[test]
fn the_forced_tier_is_the_one_in_use() {
    let current = Tier::current().expect("GRIDNN_SIMD names a tier of this machine");
    println!("gridnn tier in use: {}", current.name());
    if let Ok(wanted) = std::env::var("GRIDNN_SIMD") {
        assert!(wanted.is_empty() || wanted == current.name());
    }
    assert!(Tier::named("sse9").is_err());
}

#[test]
fn nan_survives_relu() {
    for tier in Tier::available() {
        let kernels = Kernels::of(tier);
        let packed = vec![1.0f32; kernels.panel()];
        let mut c = [0.0f32];
        kernels.product(&mut Product {
            a: &[f32::NAN],
            a_m: 1,
            a_k: 1,
            b: &packed,
            b_k: 1,
            b_panel: 1,
            b_padded: true,
            runs: &[Run { a: 0, b: 0 }],
            run_len: 1,
            c: &mut c,
            c_m: 1,
            m: 1,
            n: 1,
            start: Start::Zero,
            relu: true,
        });
        assert!(c[0].is_nan(), "{tier:?}");
    }
}
