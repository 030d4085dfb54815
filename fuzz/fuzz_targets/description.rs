//! Any text as the description of a model: an error, or shapes; small models are built, too.

#![no_main]

use gridnn::engine::spec::{CompileSpec, LrSchedule, ModelSpec, parse};
use gridnn::engine::{Network, Structure};
use libfuzzer_sys::fuzz_target;

/// Weights of a model that is built here: more would only be slow.
const LARGEST: usize = 1 << 16;

fuzz_target!(|text: &str| {
    let _ = parse::<CompileSpec>("compile", text);
    if let Ok(schedule) = parse::<LrSchedule>("schedule", text) {
        let _ = (schedule.rate(0), schedule.rate(u64::MAX));
    }
    let Ok(spec) = parse::<ModelSpec>("model", text) else { return };
    let Ok(structure) = Structure::<f32>::new(spec.clone(), Vec::new()) else { return };
    let sizes = structure.weights().iter().map(|weight| {
        weight.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).unwrap_or(usize::MAX)
    });
    if sizes.fold(0usize, usize::saturating_add) <= LARGEST {
        let _ = Network::<f32>::new(spec, 0);
    }
});
