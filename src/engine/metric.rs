//! Metrics: what one position of the output adds to counts, which are summed over samples and batches.
//!
//! What a metric makes of its sums in the end is the business of its description in Python.

use serde::Deserialize;

use super::loss::{Loss, Rows, argmax};

/// The metrics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[expect(missing_docs, reason = "the names are Keras'")]
pub enum Metric {
    /// How often an output equals its target.
    Accuracy {},
    /// How often the largest output is where the largest target is.
    CategoricalAccuracy {},
    BinaryAccuracy {
        threshold: Option<f64>,
    },
    TopKCategoricalAccuracy {
        k: usize,
    },
    /// The mean of a loss, unweighted.
    Mean {
        loss: Loss,
    },
    /// Hits, false alarms, misses and right rejections of one class (or all) at thresholds, or of the `top_k` largest
    /// outputs; with `by_class` those of every class by itself.
    Hits {
        /// Empty for the default.
        #[serde(default)]
        thresholds: Vec<f64>,
        top_k: Option<usize>,
        class_id: Option<usize>,
        #[serde(default)]
        by_class: bool,
    },
    /// Per class hits, false alarms, misses and right rejections; without a threshold the largest of several outputs is the only positive
    /// one.
    HitsByClass {
        threshold: Option<f64>,
    },
    /// Positives and negatives by the bucket that their output falls into, of `buckets` equal ones on [0, 1].
    Histogram {
        buckets: usize,
    },
    /// Per output: number, sum and sum of squares of the targets, sum of squared errors.
    Moments {},
    /// Pairs of classes (wanted, found).
    Confusion {
        num_classes: usize,
        ignore_class: Option<i64>,
        /// Of a single output, what class 1 lies above.
        #[serde(default)]
        threshold: Option<f64>,
    },
}

/// Numbers that [`tally`] keeps.
const TALLIES: usize = 4;

impl Metric {
    /// Numbers that it keeps, for outputs of `channels` channels.
    pub(super) fn width(&self, channels: usize) -> usize {
        match self {
            Self::Hits { thresholds, by_class, .. } => {
                TALLIES * thresholds.len().max(1) * if *by_class { channels } else { 1 }
            }
            Self::HitsByClass { .. } => TALLIES * channels,
            Self::Histogram { buckets } => 2 * buckets,
            Self::Moments {} => 4 * channels,
            Self::Confusion { num_classes, .. } => num_classes * num_classes,
            _ => 2,
        }
    }

    /// Whether labels of 0 and 1 stand for -1 and 1.
    pub(super) fn wants_signs(&self) -> bool {
        matches!(self, Self::Mean { loss } if loss.wants_signs())
    }

    /// Adds a position, times its weight. With `signs` labels of 0 and 1 stand for -1 and 1; with `margins` the loss is one of signs, so
    /// that a single output decides at 0 and not at 1/2.
    pub(super) fn add(&self, rows: &mut Rows, (signs, margins): (bool, bool), weight: f64, sums: &mut [f64]) {
        let middle = if margins { 0.0 } else { 0.5 };
        let Rows { z, p, t, g } = rows;
        let mean = match self {
            Self::Accuracy {} => {
                let hits = p.iter().zip(&*t).filter(|(p, t)| p == t);
                hits.count() as f64 / p.len() as f64
            }
            Self::CategoricalAccuracy {} => flag(class(p, middle) == class(t, 0.5)),
            Self::BinaryAccuracy { threshold } => {
                let threshold = threshold.unwrap_or(middle);
                let wanted = |t: f64| if margins { flag(t > 0.0) } else { t };
                let hits = p.iter().zip(&*t).filter(|(p, t)| flag(**p > threshold) == wanted(**t));
                hits.count() as f64 / p.len() as f64
            }
            Self::TopKCategoricalAccuracy { .. } if p.len() == 1 => flag(class(p, middle) == class(t, 0.5)),
            Self::TopKCategoricalAccuracy { k } => {
                // Equals of the wanted one do not push it out.
                let wanted = p[argmax(t)];
                flag(wanted.is_finite() && p.iter().filter(|p| **p > wanted).count() < *k)
            }
            Self::Mean { loss } => {
                let smoothing = loss.smoothing();
                let (scale, shift) = match signs && loss.wants_signs() {
                    true => (2.0, -1.0),
                    false => (1.0 - smoothing, smoothing / t.len() as f64),
                };
                z.iter_mut().zip(&*t).for_each(|(z, t)| *z = scale * t + shift);
                loss.element(p, p, z, g)
            }
            _ => return self.count((p, t), margins, weight, sums),
        };
        sums[0] += weight * mean;
        sums[1] += weight;
    }

    /// Adds a position to what is more than a mean.
    fn count(&self, (p, t): (&[f64], &[f64]), margins: bool, weight: f64, sums: &mut [f64]) {
        let middle = if margins { 0.0 } else { 0.5 };
        let wanted = |t: f64| if margins { flag(t > 0.0) } else { t };
        match self {
            Self::Hits { thresholds, top_k, class_id, by_class } => {
                // The largest of one says nothing.
                let lowest = if top_k.is_some() && p.len() > 1 { f64::NEG_INFINITY } else { middle };
                let thresholds = if thresholds.is_empty() { &[lowest] } else { &thresholds[..] };
                let classes = if *by_class { p.len() } else { 1 };
                for (own, threshold) in sums.chunks_exact_mut(TALLIES * classes).zip(thresholds) {
                    for (i, t) in t.iter().enumerate().filter(|(i, _)| class_id.is_none_or(|id| id == *i)) {
                        let start = if *by_class { TALLIES * i } else { 0 };
                        let found = found(p, i, *threshold, *top_k);
                        tally(found, wanted(*t), weight, &mut own[start..start + TALLIES]);
                    }
                }
            }
            Self::HitsByClass { threshold } => {
                let top = argmax(p);
                let threshold = threshold.or((p.len() == 1).then_some(middle));
                for (i, (t, own)) in t.iter().zip(sums.chunks_exact_mut(TALLIES)).enumerate() {
                    let found = threshold.map_or(i == top, |threshold| p[i] > threshold);
                    tally(found, wanted(*t), weight, own);
                }
            }
            Self::Histogram { buckets } => {
                for (p, t) in p.iter().zip(t) {
                    // Margins from -1 to 1 have their place too.
                    let (p, t) = (if margins { 0.5 * (p + 1.0) } else { *p }, wanted(*t));
                    let bucket = (p * *buckets as f64).ceil() - 1.0;
                    let at = 2 * bucket.clamp(0.0, (buckets - 1) as f64) as usize;
                    sums[at] += weight * t;
                    sums[at + 1] += weight * (1.0 - t);
                }
            }
            Self::Moments {} => {
                for ((p, t), own) in p.iter().zip(t).zip(sums.chunks_exact_mut(4)) {
                    let adds = [1.0, *t, t * t, (t - p) * (t - p)];
                    own.iter_mut().zip(adds).for_each(|(own, add)| *own += weight * add);
                }
            }
            Self::Confusion { num_classes, ignore_class, threshold } => {
                let (wanted, found) = (class(t, 0.5), class(p, threshold.unwrap_or(middle)));
                if *ignore_class != Some(wanted as i64) && wanted < *num_classes && found < *num_classes {
                    sums[wanted * num_classes + found] += weight;
                }
            }
            _ => {}
        }
    }
}

/// The class of a position: that of the largest output, or whether a single one is above `middle`.
fn class(values: &[f64], middle: f64) -> usize {
    if let [value] = values { usize::from(*value > middle) } else { argmax(values) }
}

fn flag(hit: bool) -> f64 {
    f64::from(u8::from(hit))
}

/// Whether output `i` counts as found: above a threshold, and among the `top_k` largest if that is given (of equals the
/// first).
fn found(p: &[f64], i: usize, threshold: f64, top_k: Option<usize>) -> bool {
    let larger = |j: usize| p[j] > p[i] || (p[j] == p[i] && j < i);
    p[i] > threshold && top_k.is_none_or(|k| (0..p.len()).filter(|&j| larger(j)).count() < k)
}

/// Adds to hits, false alarms, misses and right rejections.
fn tally(found: bool, t: f64, weight: f64, sums: &mut [f64]) {
    let found = flag(found);
    sums[0] += weight * (found * t);
    sums[1] += weight * (found * (1.0 - t));
    sums[2] += weight * ((1.0 - found) * t);
    sums[3] += weight * ((1.0 - found) * (1.0 - t));
}
