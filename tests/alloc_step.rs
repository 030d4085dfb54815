//! A steady training step allocates nothing but what it returns and a small box for every helper that is called: memory
//! is planned, lists are used again.
//!
//! Every allocation of the process is counted, so this binary has one test.

#[path = "common/counting.rs"]
mod counting;
#[path = "common/descriptions.rs"]
mod descriptions;

use counting::allocations;
use descriptions::{
    adam, average, batch_norm, conv, crossentropy, dense, dropout, flatten, layer, pool, relu, residual,
};
use gridnn::engine::source::{Source, Values};
use gridnn::engine::spec::parse;
use gridnn::engine::{Data, Network, Target};
use gridnn::parallel::set_threads;
use serde_json::{Value, json};

/// Steps in a row that must not allocate more.
const STEADY: usize = 10;
/// Steps after which a network must be steady. One thread is after the first; of several each makes its own room when
/// work of a kind first falls to it.
const MOST: usize = 300;
const CLASSES: usize = 10;
/// Allocations of what a step returns: the list of the outputs' scores.
const RETURNED: usize = 1;

fn parallel(branches: &[Vec<Value>], merge: &str) -> Value {
    layer("Parallel", json!({"branches": branches, "merge": merge}))
}

/// The models, by what they have.
fn models() -> Vec<(&'static str, Vec<Value>)> {
    let max = || pool("MaxPooling2D", 2, 2);
    vec![
        (
            "convolutions, pools, dropout",
            vec![
                conv(16, 3, "relu"),
                max(),
                conv(32, 3, "relu"),
                max(),
                flatten(),
                dense(64, "linear"),
                relu(),
                dropout(0.5, Some(3)),
                dense(CLASSES, "linear"),
            ],
        ),
        (
            "a residual block with normalisation",
            vec![
                conv(16, 3, "relu"),
                residual(vec![conv(16, 3, "linear"), batch_norm(), relu(), conv(16, 3, "linear")]),
                relu(),
                average(),
                dense(CLASSES, "linear"),
            ],
        ),
        (
            "branches",
            vec![
                parallel(
                    &[
                        vec![conv(8, 1, "tanh")],
                        vec![pool("AveragePooling2D", 3, 1), conv(8, 3, "linear")],
                        vec![pool("MaxPooling2D", 3, 1)],
                    ],
                    "concat",
                ),
                parallel(&[vec![conv(8, 3, "relu")], vec![conv(8, 5, "relu")]], "maximum"),
                layer("GlobalMaxPooling2D", json!({"keepdims": false})),
                dense(CLASSES, "linear"),
            ],
        ),
    ]
}

/// Trains a network and checks that its steps stop allocating.
fn check(name: &str, layers: &[Value], optimizer: &Value, (batch, threads): (usize, usize)) {
    set_threads(threads).unwrap();
    let sizes = [24, 24, 3];
    let input = layer("Input", json!({"shape": sizes}));
    let layers: Vec<Value> = std::iter::once(input).chain(layers.iter().cloned()).collect();
    let model = json!({"dtype": "float32", "layers": layers}).to_string();
    let mut network = Network::<f32>::new(parse("model", &model).unwrap(), 7).unwrap();
    let compiled = json!({
        "optimizer": optimizer,
        "outputs": [{
            "loss": crossentropy(),
            "reduction": "sum_over_batch_size",
            "metrics": [],
        }],
    });
    network.compile(parse("model", &compiled.to_string()).unwrap()).unwrap();

    let x: Vec<f32> = (0..batch * 24 * 24 * 3).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let y: Vec<i64> = (0..batch).map(|i| (i % CLASSES) as i64).collect();
    let x = [Source { values: Values::F32(&x), shape: [&[batch][..], &sizes].concat() }];
    let y = Source { values: Values::I64(&y), shape: vec![batch] };
    let targets = [Target { y: Some(y), ..Target::default() }];
    let data = Data { x: &x, targets: &targets, indices: None, custom: None };
    let mut steady = 0;
    for _ in 0..MOST {
        let before = allocations();
        let scores = network.train_step(&data, 1e-3, 1, &|| false).unwrap();
        let allocated = allocations() - before;
        assert!(scores.outputs[0].loss.is_finite());
        // A step is one program, to which rayon calls helpers by a box each.
        steady = if allocated < RETURNED + threads { steady + 1 } else { 0 };
        if steady == STEADY {
            return;
        }
    }
    panic!("{name}, {batch} samples, {threads} threads: allocations in {MOST} steps");
}

#[test]
fn a_steady_step_allocates_nothing() {
    let plain = adam(true, json!({}));
    let extras = adam(
        true,
        json!({
            "weight_decay": 1e-4, "global_clipnorm": 1.0, "gradient_accumulation_steps": 2,
            "ema": {"momentum": 0.9, "overwrite_frequency": 3},
        }),
    );
    for (name, layers) in models() {
        for (batch, threads) in [(32, 1), (32, 2), (2, 2)] {
            check(name, &layers, &plain, (batch, threads));
            check(name, &layers, &extras, (batch, threads));
        }
    }
}
