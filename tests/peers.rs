//! Ranks that share batches end with the bytes of one process: weights, the optimizer's state, scores, predictions.

#[path = "common/descriptions.rs"]
mod descriptions;
#[path = "common/ranks.rs"]
mod ranks;

use std::sync::Arc;

use descriptions::{
    adam, average, batch_norm, conv, crossentropy, dense, dropout, flatten, layer, pool, relu, residual,
};
use gridnn::engine::source::{Source, Values};
use gridnn::engine::spec::parse;
use gridnn::engine::{CustomLoss, CustomObjective, Data, Network, Peers, Target, prediction_share};
use gridnn::error::{Error, Result};
use gridnn::parallel::set_threads;
use ranks::Hub;
use serde_json::{Value, json};

const GRID: [usize; 3] = [12, 12, 3];
const CLASSES: usize = 5;

/// A layer that reads some entries of the list.
fn reading(mut layer: Value, inputs: &[usize]) -> Value {
    layer["inputs"] = json!(inputs);
    layer
}

/// A model and what is trained.
struct Case {
    name: &'static str,
    layers: Vec<Value>,
    outputs: Option<Vec<usize>>,
    /// Of every output; all are compared with the same labels.
    losses: Vec<Value>,
    optimizer: Value,
    /// Whether the gradient of the loss comes from a function of the caller.
    custom: bool,
}

impl Case {
    fn new(name: &'static str, layers: Vec<Value>) -> Self {
        let layers = std::iter::once(layer("Input", json!({"shape": GRID}))).chain(layers).collect();
        let optimizer = adam(false, json!({}));
        Self { name, layers, outputs: None, losses: vec![crossentropy()], optimizer, custom: false }
    }

    fn network(&self) -> Network<f32> {
        let model = json!({"dtype": "float32", "layers": self.layers, "outputs": self.outputs}).to_string();
        let mut network = Network::<f32>::new(parse("model", &model).unwrap(), 7).unwrap();
        let objective = |loss: &Value| json!({"loss": loss, "reduction": "sum_over_batch_size", "weight": 0.5, "metrics": []});
        let outputs: Vec<Value> = self.losses.iter().map(objective).collect();
        let compiled = json!({"optimizer": self.optimizer, "outputs": outputs}).to_string();
        network.compile(parse("compile", &compiled).unwrap()).unwrap();
        network
    }
}

fn cases() -> Vec<Case> {
    let gradient_of_all = vec![
        conv(8, 3, "relu"),
        pool("MaxPooling2D", 2, 2),
        flatten(),
        dense(40, "relu"),
        dropout(0.4, None),
        dense(CLASSES, "linear"),
    ];
    let mut cases = vec![
        Case::new("convolutions and dense layers", gradient_of_all.clone()),
        Case::new(
            "normalisation behind convolutions and dense layers",
            vec![
                batch_norm(),
                conv(8, 3, "linear"),
                batch_norm(),
                relu(),
                pool("AveragePooling2D", 2, 2),
                conv(12, 3, "relu"),
                average(),
                dense(16, "linear"),
                batch_norm(),
                relu(),
                dense(CLASSES, "linear"),
            ],
        ),
        Case::new(
            "a residual block",
            vec![
                conv(8, 3, "relu"),
                residual(vec![conv(8, 3, "linear"), batch_norm(), relu(), conv(8, 3, "linear")]),
                relu(),
                layer("ActivityRegularization", json!({"l1": 1e-3, "l2": 1e-3})),
                average(),
                dense(CLASSES, "linear"),
            ],
        ),
        Case::new(
            "samples that are mixed",
            vec![
                conv(4, 3, "relu"),
                layer("MixUp", json!({"alpha": 0.3, "seed": null})),
                conv(4, 3, "relu"),
                average(),
                dense(CLASSES, "linear"),
            ],
        ),
        Case {
            optimizer: adam(
                false,
                json!({
                    "weight_decay": 1e-3, "global_clipnorm": 0.1, "gradient_accumulation_steps": 2,
                    "ema": {"momentum": 0.9, "overwrite_frequency": null},
                }),
            ),
            ..Case::new("clipping, accumulation, averages", gradient_of_all.clone())
        },
        Case {
            losses: vec![json!({"class_name": "Custom", "config": {"sparse": true}})],
            custom: true,
            ..Case::new("a loss of the caller's", gradient_of_all)
        },
    ];
    cases.push(Case::new(
        "dense layers and a convolution whose kernels are divided among ranks",
        vec![
            conv(8, 3, "relu"),
            layer("TimeDistributed", json!({"layer": dense(6, "relu")})),
            pool("MaxPooling2D", 3, 3),
            conv(96, 3, "relu"),
            conv(96, 3, "relu"),
            pool("MaxPooling2D", 2, 2),
            flatten(),
            dense(16, "relu"),
            dense(CLASSES, "linear"),
        ],
    ));
    cases.push(Case {
        outputs: Some(vec![4, 6]),
        losses: vec![crossentropy(), crossentropy()],
        ..Case::new(
            "two outputs, and a layer called twice",
            vec![
                conv(6, 3, "relu"),
                average(),
                dense(9, "tanh"),
                dense(CLASSES, "linear"),
                {
                    let mut again = reading(dense(9, "tanh"), &[2]);
                    again["shares"] = json!(3);
                    again
                },
                reading(dense(CLASSES, "linear"), &[5]),
            ],
        )
    });
    cases
}

/// Everything that a run leaves, in bytes.
#[derive(PartialEq, Debug)]
struct Left {
    scores: Vec<String>,
    weights: Vec<Vec<u32>>,
    slots: Vec<(String, Vec<u32>)>,
    predicted: Vec<Vec<u32>>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Steps of a rank, or of a single process.
fn train(
    case: &Case,
    batches: &[usize],
    peers: Option<Arc<dyn Peers>>,
    spoilt: Option<usize>,
) -> Result<Left> {
    let mut network = case.network();
    let place = peers.as_ref().map(|peers| (peers.rank(), peers.size()));
    let mut network = network.with_peers(peers);
    let rows = batches.iter().sum::<usize>();
    let len = rows * GRID.iter().product::<usize>();
    let mut x: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    if let Some(row) = spoilt {
        x[row * GRID.iter().product::<usize>()] = f32::INFINITY;
    }
    let y: Vec<i64> = (0..rows).map(|i| (i * 31 % 7 % CLASSES) as i64).collect();
    let shape = [&[rows][..], &GRID].concat();
    let target =
        || Target { y: Some(Source { values: Values::I64(&y), shape: vec![rows] }), ..Target::default() };
    let targets: Vec<Target<'_>> = case.losses.iter().map(|_| target()).collect();
    let ask = |_: usize, values: &[f64], shape: &[usize]| {
        let samples = values.chunks_exact(CLASSES);
        let losses = samples.map(|sample| sample.iter().map(|x| x * x).sum()).collect();
        let dy = values.iter().map(|x| 2.0 * x / shape[0] as f64).collect();
        Ok(Some(CustomLoss { losses, count: shape[0] as f64, dy }))
    };
    let custom = case.custom.then_some(CustomObjective(&ask));
    let mut left = Left { scores: Vec::new(), weights: Vec::new(), slots: Vec::new(), predicted: Vec::new() };
    let mut first = 0;
    for (seed, &batch) in batches.iter().enumerate() {
        let indices: Vec<i64> = (first..first + batch).rev().map(|row| row as i64).collect();
        let mut shares = [0..batch, 0..batch];
        if let Some((rank, ranks)) = place {
            shares = [network.training_share(batch, rank, ranks)?, prediction_share(batch, rank, ranks)];
        }
        // Nonsense in place of what a rank need not read.
        let [to_train, to_evaluate] = shares.map(|share| {
            let mut x = x.clone();
            for (sample, &row) in indices.iter().enumerate().filter(|(sample, _)| !share.contains(sample)) {
                x.chunks_exact_mut(GRID.iter().product())
                    .nth(row as usize)
                    .unwrap()
                    .fill(1e4 + sample as f32);
            }
            x
        });
        let source = |x| [Source { values: Values::F32(x), shape: shape.clone() }];
        let x = source(&to_train);
        let data = Data { x: &x, targets: &targets, indices: Some(&indices), custom };
        left.scores.push(format!("{:?}", network.train_step(&data, 1e-2, seed as u64, &|| false)?));
        let x = source(&to_evaluate);
        let data = Data { x: &x, targets: &targets, indices: Some(&indices), custom };
        left.scores.push(format!("{:?}", network.evaluate_step(&data, &|| false)?));
        first += batch;
    }
    let x = [Source { values: Values::F32(&x), shape }];
    for (values, _) in network.predict(&x, 16, None, &|| false)? {
        left.predicted.push(bits(&values));
    }
    for weight in 0..network.weights().len() {
        left.weights.push(bits(&network.weight(weight)));
    }
    left.slots =
        network.optimizer_state().iter().map(|(name, slot)| (name.to_string(), bits(slot))).collect();
    Ok(left)
}

/// What every rank is left with.
fn ranks(case: &Case, batches: &[usize], size: usize, spoilt: Option<usize>) -> Vec<Result<Left>> {
    std::thread::scope(|scope| {
        let run = |peers| scope.spawn(move || train(case, batches, Some(peers), spoilt));
        let running: Vec<_> = Hub::ranks(size).into_iter().map(run).collect();
        running.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Full batches, one of few samples per chunk, one below all numbers of chunks, and an uneven last one.
const BATCHES: [usize; 4] = [32, 9, 5, 19];

#[test]
fn ranks_end_with_the_bytes_of_one_process() {
    set_threads(1).unwrap();
    for case in cases() {
        let expected = train(&case, &BATCHES, None, None).unwrap();
        for size in 1..=8 {
            for (rank, left) in ranks(&case, &BATCHES, size, None).into_iter().enumerate() {
                let left =
                    left.unwrap_or_else(|error| panic!("{}, rank {rank} of {size}: {error}", case.name));
                for (step, (left, expected)) in left.scores.iter().zip(&expected.scores).enumerate() {
                    assert_eq!(left, expected, "{}, rank {rank} of {size}, scores {step}", case.name);
                }
                assert!(left == expected, "{}, rank {rank} of {size}", case.name);
            }
        }
    }
}

#[test]
fn gradients_to_large_kernels_are_added_up_or_divided_for_the_same_bytes() {
    set_threads(1).unwrap();
    let case = Case::new(
        "large kernels, in blocks and in rows",
        vec![
            pool("MaxPooling2D", 2, 2),
            conv(128, 1, "relu"),
            conv(128, 3, "relu"),
            conv(512, 1, "relu"),
            conv(256, 1, "relu"),
            average(),
            dense(CLASSES, "linear"),
        ],
    );
    // Four parts of uneven chunks, two, and a single one.
    let batches = [460, 230, 48];
    let expected = train(&case, &batches, None, None).unwrap();
    set_threads(2).unwrap();
    assert!(train(&case, &batches, None, None).unwrap() == expected, "two threads");
    set_threads(1).unwrap();
    for size in [2, 3, 4, 5, 8] {
        for (rank, left) in ranks(&case, &batches, size, None).into_iter().enumerate() {
            assert!(left.unwrap() == expected, "rank {rank} of {size}");
        }
    }
}

#[test]
fn infinity_in_any_share_is_the_same_error_everywhere() {
    let case = &cases()[1];
    for row in [0, 12, 31] {
        let expected = train(case, &[32], None, Some(row)).unwrap_err();
        assert!(matches!(expected, Error::NonFinite { .. }), "{expected}");
        for left in ranks(case, &[32], 3, Some(row)) {
            assert_eq!(left.unwrap_err().to_string(), expected.to_string());
        }
    }
}

#[test]
fn ranks_divide_kernels_where_that_is_less_work() {
    let layers = vec![
        conv(128, 1, "relu"),
        pool("MaxPooling2D", 6, 6),
        conv(576, 1, "relu"),
        flatten(),
        dense(16, "relu"),
    ];
    let mut network = Case::new("a convolution and a dense layer", layers).network();
    let mut sent = |batch, kind| {
        let exchanges = network.traffic(batch, 2).unwrap();
        let of_kind = exchanges.iter().flatten().filter(|(name, bytes)| *name == kind && *bytes > 0);
        of_kind.map(|(_, bytes)| bytes / size_of::<f32>()).collect::<Vec<_>>()
    };
    // What the dense layer and the convolution read; the dense layer has 42 tasks of 56 rows, and so many columns.
    let (to_dense, to_conv, columns) = (4 * 576, 4 * 128, 21 * 56);
    // The other rank gets of half of the samples what its tasks read; those of a convolution read all.
    assert_eq!(sent(64, "values"), [32 * (to_dense - columns), 32 * to_conv]);
    assert_eq!(sent(64, "kernels"), [columns * 16 + 64 * 576]);
    // Of few samples the arithmetic is less than the kernel.
    assert_eq!(sent(8, "values"), [4 * to_dense, 4 * to_conv]);
    assert!(sent(8, "kernels").is_empty());
}

#[test]
fn ranks_divide_blocks_of_kernels() {
    let layers = vec![
        pool("MaxPooling2D", 2, 2),
        conv(128, 1, "relu"),
        conv(128, 3, "relu"),
        average(),
        dense(CLASSES, "linear"),
    ];
    let mut network = Case::new("a kernel of 128 x 128 channels", layers).network();
    let mut sent = |batch, kind| {
        let exchanges = network.traffic(batch, 2).unwrap();
        let of_kind = exchanges.iter().flatten().filter(|(name, _)| *name == kind);
        of_kind.map(|(_, bytes)| bytes / size_of::<f32>()).sum::<usize>()
    };
    let (kernels, values) = (9 * 128 * 128, 36 * 128);
    // Four of eight blocks of 64 x 32 channels, computed of the values of both ranks.
    assert!(sent(48, "kernels") >= kernels / 2);
    assert!(sent(48, "values") >= 24 * values);
    // Two parts of the batch, one each: twice a half of the sums is less than the values.
    assert!(sent(256, "kernels") < kernels / 2 && sent(256, "values") < 8 * values);
    assert!(sent(256, "sums") >= kernels);
}
