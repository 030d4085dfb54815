//! Sizes of numbers from which an update cannot overflow: what spares most steps an exact look before the weights move.
//!
//! If gradients, weights and slots are within these bounds, and the constants of the optimizer are moderate, every rule
//! makes finite numbers: the largest intermediate, Nadam's quotient, stays below `1e3 (1e3 + 1) slots / 1e-12`, squares
//! of gradients and centered RMSprop's squares of slots below `slots^2`.

use super::{Optimizer, Rates};
use crate::kernels::{Element, Job};

/// Largest factor of a step (a learning rate, a correction, a decay).
pub(super) const FACTOR: f64 = 1e3;
/// Smallest epsilon of a division.
pub(super) const EPSILON: f64 = 1e-12;
/// Smallest share of the new in a running mean that bounds something else by it.
pub(super) const SHARE: f64 = 1e-6;

/// Slots that hold squares or absolute values: a root is taken of them.
const NEVER_NEGATIVE: [&str; 6] =
    ["velocity", "velocity_hat", "accumulator", "accumulated_grad", "accumulated_delta_var", "norm"];

/// The bound of gradients.
pub(in crate::engine) fn gradients<T: Element>() -> T {
    T::from_f64(if size_of::<T>() == 4 { 1e9 } else { 1e70 })
}

/// The bound of weights and slots; it is above the square of the other, so that squares of gradients fit.
pub(in crate::engine) fn weights<T: Element>() -> T {
    T::from_f64(if size_of::<T>() == 4 { 2e18 } else { 2e140 })
}

/// Whether no element is beyond a bound, or NaN.
pub(in crate::engine) struct Within<'a, T> {
    pub values: &'a [T],
    pub most: T,
}

impl<T: Element> Job for Within<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run(self) -> bool {
        let least = T::ZERO.sub(self.most);
        // No early exit, so that the loop vectorises.
        self.values.iter().fold(true, |all, x| all & (*x <= self.most) & (*x >= least))
    }
}

/// Whether a slot holds numbers that training can have left there, no larger than the bound.
pub(in crate::engine) fn tame_slot<T: Element>(name: &str, values: &[T]) -> bool {
    let least = if NEVER_NEGATIVE.contains(&name) { T::ZERO } else { T::ZERO.sub(weights()) };
    values.iter().all(|x| *x <= weights() && *x >= least)
}

impl Optimizer {
    /// Whether its constants are small enough for the bounds to hold.
    pub(super) fn moderate(&self, rates: Rates, updates: u64) -> bool {
        self.weight_decay.is_none_or(|decay| decay.abs() <= FACTOR)
            && self.rule.moderate(rates.learning_rate, updates)
    }
}
