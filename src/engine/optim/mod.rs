//! Optimizers: passes over flat buffers, formulas, names and order of events as in Keras.
//!
//! Of a step that is to be applied the gradients are made final first ([`Update::prepare`]: the accumulated ones added,
//! squares summed for clipping); then [`Update::apply`] clips, decays, moves the weights by their [`rules::Rule`] and
//! averages them, block by block.

pub(super) mod bounds;
pub mod rules;
pub mod schedule;

use serde::Deserialize;

pub(super) use self::bounds::Within;
use self::rules::{Rule, SLOTS, Shape, Tensors};
use super::regularizers::Regularizer;
use crate::kernels::{Element, Job, Tier};

/// How weights are updated; the learning rate comes with every step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the names are Keras'")]
pub struct Optimizer {
    #[serde(flatten)]
    pub rule: Rule,
    pub weight_decay: Option<f64>,
    /// Numbers of weights that do not decay.
    #[serde(default)]
    pub undecayed: Vec<usize>,
    pub clipnorm: Option<f64>,
    pub clipvalue: Option<f64>,
    pub global_clipnorm: Option<f64>,
    /// Batches whose gradients make one update.
    pub gradient_accumulation_steps: Option<u64>,
    pub ema: Option<Average>,
}

/// The exponential moving average of the weights.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Average {
    /// Share of the average that is kept at every step.
    pub momentum: f64,
    /// After how many updates the weights are replaced by their average; None: not during training.
    pub overwrite_frequency: Option<u64>,
}

/// Slot of the gradients of batches since the last update.
const ACCUMULATOR: &str = "gradient_accumulator";
/// Slot of the average of the weights.
pub(super) const AVERAGE: &str = "average";

/// Slots that an optimizer has at most: its rule's and these two.
pub(super) const MOST_SLOTS: usize = SLOTS + 2;

/// Weights that one task updates: a part of one weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    /// Place in the flat buffers.
    pub range: std::ops::Range<usize>,
    /// Number of the weight.
    pub weight: usize,
    /// Number of its layer.
    pub layer: usize,
    /// What the weight adds to the loss.
    pub regularizer: Option<Regularizer>,
}

/// Numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub learning_rate: f64,
    /// Steps taken before this one.
    pub iterations: u64,
}

impl Optimizer {
    /// Names of the slots and what they hold at first: one number per weight each. The average starts as the weights.
    pub(super) fn slots(&self) -> Vec<rules::Slot> {
        let accumulator = self.gradient_accumulation_steps.map(|_| (ACCUMULATOR, 0.0));
        let average = self.ema.as_ref().map(|_| (AVERAGE, 0.0));
        self.rule.slots().into_iter().flatten().chain(accumulator).chain(average).collect()
    }
}

/// An optimizer in a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    optimizer: &'a Optimizer,
    rates: Rates,
}

impl<'a> Update<'a> {
    pub(super) fn new(optimizer: &'a Optimizer, rates: Rates) -> Self {
        Self { optimizer, rates }
    }

    /// Batches to an update.
    fn batches(&self) -> u64 {
        self.optimizer.gradient_accumulation_steps.unwrap_or(1).max(1)
    }

    /// Whether what it makes is finite wherever gradients, weights and slots are within the bounds.
    pub(super) fn moderate(&self) -> bool {
        self.optimizer.moderate(self.rates, self.updates() + 1)
    }

    /// Whether the weights move in this step; otherwise its gradients are only added to the others.
    fn moves(&self) -> bool {
        (self.rates.iterations + 1).is_multiple_of(self.batches())
    }

    /// Whether gradients are multiplied by what [`Update::clip`] finds.
    pub(super) fn clips_by_norm(&self) -> bool {
        self.optimizer.clipnorm.is_some() || self.optimizer.global_clipnorm.is_some()
    }

    /// Whether gradients are to be prepared before they are applied.
    pub(super) fn prepares(&self, blocks: &[Block]) -> bool {
        self.moves() && (self.batches() > 1 || self.clips_by_norm())
            || blocks.iter().any(|block| block.regularizer.is_some())
    }

    /// Adds what was gathered to the gradients of a block and returns the sum of their squares.
    pub(super) fn prepare<T: Element>(&self, tier: Tier, grads: &mut [T], slots: &[&[T]]) -> f64 {
        if self.moves() && self.batches() > 1 {
            let gathered = slots[self.optimizer.rule.slots().into_iter().flatten().count()];
            tier.vectorize(Merge { grads, gathered, batches: T::from_f64(self.batches() as f64) });
        }
        if self.clips_by_norm() { tier.vectorize(Squares(grads)) } else { 0.0 }
    }

    /// Turns the sums of squares of all blocks into the factors of their gradients.
    pub(super) fn clip(&self, blocks: &[Block], sums: &mut [f64]) {
        let factor = |most: f64, squares: f64| most / squares.sqrt().max(most);
        if let Some(most) = self.optimizer.global_clipnorm {
            let total = sums.iter().sum();
            sums.fill(factor(most, total));
        } else if let Some(most) = self.optimizer.clipnorm {
            let mut rest = sums;
            for of_weight in blocks.chunk_by(|a, b| a.weight == b.weight) {
                let (own, others) = rest.split_at_mut(of_weight.len());
                let total = own.iter().sum();
                own.fill(factor(most, total));
                rest = others;
            }
        }
    }

    /// Updates a block of the weight of number `weight`; `factor` is what [`Update::clip`] has found. Returns whether all that it has made
    /// is within the bounds.
    pub(super) fn apply<T: Element>(
        &self,
        tier: Tier,
        (weight, factor): (usize, f64),
        weights: &mut [T],
        grads: &[T],
        slots: &mut [&mut [T]],
    ) -> bool {
        let most = bounds::weights();
        let mut within = true;
        let Self { optimizer, rates } = *self;
        let own = optimizer.rule.slots();
        let (of_rule, others) = slots.split_at_mut(own.iter().flatten().count());
        let mut others = others.iter_mut();
        let accumulator = optimizer.gradient_accumulation_steps.and_then(|_| others.next());
        if self.moves() {
            let mut of_rule = of_rule.iter_mut();
            let slots: [Option<&mut [T]>; SLOTS] =
                own.map(|slot| Some(&mut **slot.and_then(|_| of_rule.next())?));
            let lr = T::from_f64(rates.learning_rate);
            let shape = Shape {
                factor: T::from_f64(factor),
                most: optimizer.clipvalue.map(T::from_f64),
                decay: optimizer
                    .weight_decay
                    .filter(|_| !optimizer.undecayed.contains(&weight))
                    .map(|decay| (T::from_f64(decay), lr)),
            };
            let updates = self.updates() + 1;
            within &= optimizer.rule.update(
                tier,
                rates.learning_rate,
                updates,
                Tensors { weights, grads, slots, shape },
            );
            if let Some(gathered) = accumulator {
                gathered.fill(T::ZERO);
            }
        } else if let Some(gathered) = accumulator {
            tier.vectorize(Gather { grads, gathered });
            within &= tier.vectorize(Within { values: gathered, most });
        }
        if let (Some(ema), Some(average)) = (&optimizer.ema, others.next()) {
            // Before the first update is over the average is the weights themselves.
            let keep = if self.updates() == 0 { 0.0 } else { ema.momentum };
            let (keep, new) = (T::from_f64(keep), T::from_f64(1.0 - keep));
            tier.vectorize(Blend { weights, average, keep, new });
            within &= tier.vectorize(Within { values: average, most });
            if ema.overwrite_frequency.is_some_and(|every| (self.updates() + 1).is_multiple_of(every)) {
                weights.copy_from_slice(average);
            }
        }
        within
    }

    /// Updates before this step.
    fn updates(&self) -> u64 {
        self.rates.iterations / self.batches()
    }
}

/// `g = (g + gathered) / batches`
struct Merge<'a, T> {
    grads: &'a mut [T],
    gathered: &'a [T],
    batches: T,
}

impl<T: Element> Job for Merge<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (g, a) in self.grads.iter_mut().zip(self.gathered) {
            *g = g.add(*a).div(self.batches);
        }
    }
}

/// `gathered += g`
struct Gather<'a, T> {
    grads: &'a [T],
    gathered: &'a mut [T],
}

impl<T: Element> Job for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (a, g) in self.gathered.iter_mut().zip(self.grads) {
            *a += *g;
        }
    }
}

/// `average = keep average + new w`
struct Blend<'a, T> {
    weights: &'a [T],
    average: &'a mut [T],
    keep: T,
    new: T,
}

impl<T: Element> Job for Blend<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (a, w) in self.average.iter_mut().zip(self.weights) {
            *a = self.keep.mul(*a).add(self.new.mul(*w));
        }
    }
}

/// Sum of squares in float64: sixteen chains, added in their order, whatever the tier.
struct Squares<'a, T>(&'a [T]);

impl<T: Element> Job for Squares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; 16];
        for part in self.0.chunks(16) {
            for (sum, x) in sums.iter_mut().zip(part) {
                let x = x.to_f64();
                *sum += x * x;
            }
        }
        sums.iter().sum()
    }
}
