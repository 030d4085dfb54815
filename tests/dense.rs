//! Dense layers with long sums: the same bytes on every tier and in every partition, and errors that hardly grow with the
//! length.

mod common;

use common::{bits, uniform};
use gridnn::conv::Epilogue;
use gridnn::dense::Dense;
use gridnn::kernels::{Element, Kernels, Tier};

/// Numbers of one sign: rounding errors of a long chain of them add up.
fn positive<T: Element>(len: usize, seed: u64) -> Vec<T> {
    uniform::<T>(len, seed).into_iter().map(|v| T::from_f64(0.25 + 0.5 * v.to_f64().abs())).collect()
}

struct Problem<T> {
    sizes: [usize; 3],
    x: Vec<T>,
    dy: Vec<T>,
    weights: Vec<T>,
    bias: Vec<T>,
}

impl<T: Element> Problem<T> {
    fn new(sizes: [usize; 3]) -> Self {
        let [rows, inputs, outputs] = sizes;
        Self {
            sizes,
            x: positive(rows * inputs, 1),
            dy: positive(rows * outputs, 2),
            weights: positive(inputs * outputs, 3),
            bias: positive(outputs, 4),
        }
    }

    /// Results of the three passes, rows cut in two.
    fn passes(&self, tier: Tier, cut: usize) -> [Vec<T>; 3] {
        let [rows, inputs, outputs] = self.sizes;
        let dense = Dense::<T>::new(inputs, outputs, Kernels::of(tier));
        let mut packed = vec![T::ZERO; dense.packed_len()];
        dense.pack(&self.weights, 0, &mut packed);
        let mut transposed = vec![T::ZERO; dense.transposed_len()];
        dense.pack_transposed(&self.weights, 0, &mut transposed);
        let nan = T::from_f64(f64::NAN);
        let [mut y, mut dx, mut dw] =
            [rows * outputs, rows * inputs, inputs * outputs].map(|len| vec![nan; len]);
        for rows in [0..cut.min(rows), cut.min(rows)..rows] {
            let [ins, outs] = [inputs, outputs].map(|n| rows.start * n..rows.end * n);
            let epilogue = Epilogue { bias: Some(&self.bias), relu: true };
            dense.forward(&self.x[ins.clone()], &packed, &mut y[outs.clone()], epilogue);
            dense.input_grad(&self.dy[outs], &transposed, &mut dx[ins]);
        }
        for inputs in [0..cut.min(inputs), cut.min(inputs)..inputs] {
            let own = &mut dw[inputs.start * outputs..inputs.end * outputs];
            dense.kernel_grad(&self.x, &self.dy, inputs, own);
        }
        [y, dx, dw]
    }

    /// The same in float64, one element after the other.
    fn expected(&self) -> [Vec<f64>; 3] {
        let [rows, inputs, outputs] = self.sizes;
        let [mut y, mut dx, mut dw] =
            [rows * outputs, rows * inputs, inputs * outputs].map(|len| vec![0.0; len]);
        for r in 0..rows {
            for o in 0..outputs {
                y[r * outputs + o] = self.bias[o].to_f64();
            }
            for i in 0..inputs {
                let x = self.x[r * inputs + i].to_f64();
                for o in 0..outputs {
                    let (w, dy) = (self.weights[i * outputs + o].to_f64(), self.dy[r * outputs + o].to_f64());
                    y[r * outputs + o] += x * w;
                    dx[r * inputs + i] += dy * w;
                    dw[i * outputs + o] += x * dy;
                }
            }
        }
        [y, dx, dw]
    }
}

fn check<T: Element>(sizes: [usize; 3], tolerance: f64) {
    let problem = Problem::<T>::new(sizes);
    let expected = problem.expected();
    let mut first: Option<[Vec<u64>; 3]> = None;
    for tier in Tier::available() {
        let results = problem.passes(tier, 3);
        for (pass, (result, expected)) in results.iter().zip(&expected).enumerate() {
            let error = |(y, e): (&T, &f64)| ((y.to_f64() - e) / e).abs();
            let worst = result.iter().zip(expected).map(error).fold(0.0, f64::max);
            assert!(worst < tolerance, "{sizes:?}, pass {pass} on {tier:?}: {worst:e}");
        }
        let results = results.map(|result| bits(&result));
        assert_eq!(problem.passes(tier, 70).map(|result| bits(&result)), results, "{sizes:?}: cuts");
        if tier.fused() {
            assert_eq!(first.get_or_insert_with(|| results.clone()), &results, "{sizes:?}: {tier:?}");
        }
    }
}

#[test]
fn long_sums_are_exact_in_every_pass() {
    // Chains would be wrong by 1e-4 and more.
    for sizes in [[2, 1_000_000, 1], [3, 70_001, 33], [2, 5, 70_001], [70_001, 5, 35], [66, 4097, 34]] {
        check::<f32>(sizes, 4e-6);
        // What is expected is a chain in float64 itself.
        check::<f64>(sizes, 2e-13);
    }
}

#[test]
fn sums_up_to_the_longest_chain_are_as_they_were() {
    for sizes in [[5, 4096, 3], [4096, 5, 35], [3, 40, 4096]] {
        check::<f32>(sizes, 4e-5);
        check::<f64>(sizes, 1e-13);
    }
}
