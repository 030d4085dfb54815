//! Graphs of layers: several inputs and outputs, merging layers, shared layers; gradients against float64 differences.

use gridnn::engine::source::{Source, Values};
use gridnn::engine::spec::parse;
use gridnn::engine::{Data, Network, Scores, Target};
use gridnn::error::Result;
use gridnn::parallel::set_threads;
use serde_json::{Value, json};

fn layer(class: &str, name: &str, config: Value) -> Value {
    json!({"class_name": class, "name": name, "config": config})
}

/// A layer that reads some entries of the list.
fn reading(mut layer: Value, inputs: &[usize]) -> Value {
    layer["inputs"] = json!(inputs);
    layer
}

/// A further call of an entry.
fn again(mut layer: Value, of: usize, inputs: &[usize]) -> Value {
    layer["shares"] = json!(of);
    reading(layer, inputs)
}

fn glorot() -> Value {
    let config = json!({"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": null});
    json!({"class_name": "VarianceScaling", "config": config})
}

fn normal() -> Value {
    json!({"class_name": "RandomNormal", "config": {"mean": 0.5, "stddev": 0.3, "seed": null}})
}

fn zeros() -> Value {
    json!({"class_name": "Zeros", "config": {}})
}

fn ones() -> Value {
    json!({"class_name": "Ones", "config": {}})
}

fn input(shape: &[usize]) -> Value {
    layer("Input", "input", json!({"shape": shape}))
}

fn dense(units: usize, activation: &str) -> Value {
    let config = json!({
        "units": units, "activation": activation, "use_bias": true,
        "kernel_initializer": glorot(), "bias_initializer": normal(),
    });
    layer("Dense", "dense", config)
}

fn conv(filters: usize, activation: &str) -> Value {
    let config = json!({
        "filters": filters, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "padding_mode": "zeros",
        "dilation_rate": [1, 1], "groups": 1, "activation": activation, "use_bias": true,
        "kernel_initializer": glorot(), "bias_initializer": normal(),
    });
    layer("Conv2D", "conv", config)
}

fn batch_norm() -> Value {
    let config = json!({
        "axis": -1, "momentum": 0.9, "epsilon": 0.001, "center": true, "scale": true, "beta_initializer": normal(),
        "gamma_initializer": normal(), "moving_mean_initializer": zeros(), "moving_variance_initializer": ones(),
    });
    layer("BatchNormalization", "norm", config)
}

fn average() -> Value {
    layer("GlobalAveragePooling2D", "average", json!({"keepdims": true}))
}

fn flatten() -> Value {
    layer("Flatten", "flatten", json!({}))
}

fn merge(class: &str) -> Value {
    let config = match class {
        "Concatenate" => json!({"axis": -1}),
        "Dot" => json!({"axes": [-1, -1], "normalize": true}),
        _ => json!({}),
    };
    layer(class, "merge", config)
}

fn squared() -> Value {
    objective(json!({"class_name": "MeanSquaredError", "config": {}}), 1.0)
}

fn objective(loss: Value, weight: f64) -> Value {
    json!({"loss": loss, "reduction": "sum_over_batch_size", "weight": weight, "metrics": []})
}

fn values(len: usize, seed: usize) -> Vec<f64> {
    // No two alike, so that maxima and minima are clear.
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 10_007) as f64 / 5_000.0 - 1.0).collect()
}

fn network(layers: &[Value], outputs: &[usize], objectives: &[Value]) -> Result<Network<f64>> {
    let model = json!({"dtype": "float64", "layers": layers, "outputs": outputs}).to_string();
    let mut network = Network::<f64>::new(parse("model", &model)?, 3)?;
    let sgd = json!({"class_name": "SGD", "config": {"momentum": 0.0, "nesterov": false}});
    let compiled = json!({"optimizer": sgd, "outputs": objectives});
    network.compile(parse("compile", &compiled.to_string())?)?;
    Ok(network)
}

/// Data for the inputs of a network, and targets of the shapes of its outputs.
struct Problem {
    x: Vec<(Vec<f64>, Vec<usize>)>,
    y: Vec<(Vec<f64>, Vec<usize>)>,
    weights: Option<Vec<f64>>,
}

impl Problem {
    fn new(network: &Network<f64>, batch: usize) -> Self {
        let tensor = |(seed, sizes): (usize, &Vec<Option<usize>>)| {
            let shape: Vec<usize> = std::iter::once(batch).chain(sizes.iter().flatten().copied()).collect();
            (values(shape.iter().product(), seed + batch), shape)
        };
        let x = network.inputs().iter().map(|info| &info.input).enumerate().map(tensor).collect();
        let y = network.output_shapes().iter().enumerate().map(tensor).collect();
        Self { x, y, weights: None }
    }

    fn step(&self, network: &mut Network<f64>, learning_rate: f64) -> Result<Scores> {
        let source =
            |(values, shape): &'_ (Vec<f64>, Vec<usize>)| (Values::F64(values.clone().leak()), shape.clone());
        let sources = |list: &[(Vec<f64>, Vec<usize>)]| {
            list.iter().map(source).map(|(values, shape)| Source { values, shape }).collect::<Vec<_>>()
        };
        let (x, y) = (sources(&self.x), sources(&self.y));
        let sample_weight = self.weights.as_deref();
        let targets: Vec<Target<'_>> =
            y.into_iter().map(|y| Target { y: Some(y), sample_weight, ..Target::default() }).collect();
        let data = Data { x: &x, targets: &targets, indices: None, custom: None };
        network.train_step(&data, learning_rate, 1, &|| false)
    }

    /// The loss of the whole model, weights untouched.
    fn loss(&self, network: &mut Network<f64>, weights: &[f64]) -> f64 {
        let scores = self.step(network, 0.0).unwrap();
        let of = |(scores, weight): (&gridnn::engine::OutputScores, &f64)| {
            if scores.count == 0.0 { 0.0 } else { weight * scores.loss / scores.count }
        };
        scores.outputs.iter().zip(weights).map(of).sum::<f64>() + scores.penalty
    }
}

/// Compares all weight gradients with differences.
fn check(name: &str, layers: &[Value], outputs: &[usize], objectives: &[Value]) {
    let weights: Vec<f64> =
        objectives.iter().map(|objective| objective["weight"].as_f64().unwrap()).collect();
    for batch in [2, 9] {
        set_threads(2).unwrap();
        let mut network = network(layers, outputs, objectives).unwrap();
        let mut problem = Problem::new(&network, batch);
        problem.weights = Some((0..batch).map(|i| 0.5 + i as f64 / 4.0).collect());
        problem.loss(&mut network, &weights);
        let trainable: Vec<usize> =
            (0..network.weights().len()).filter(|&i| network.weights()[i].trainable).collect();
        let gradients: Vec<Vec<f64>> = trainable.iter().map(|&i| network.gradient(i).to_vec()).collect();
        for (&index, gradient) in trainable.iter().zip(&gradients) {
            let own = network.weight(index).to_vec();
            for at in (0..own.len()).step_by(own.len().div_ceil(7)) {
                let mut moved = |by: f64| {
                    let mut changed = own.clone();
                    changed[at] += by;
                    network.set_weight(index, &changed).unwrap();
                    problem.loss(&mut network, &weights)
                };
                let step = 1e-6;
                let slope = (moved(step) - moved(-step)) / (2.0 * step);
                let close = (slope - gradient[at]).abs() <= 1e-7 + 1e-5 * slope.abs();
                assert!(close, "{name}, batch {batch}: weight {index} at {at}: {slope} and {}", gradient[at]);
            }
            network.set_weight(index, &own).unwrap();
        }
        // The same bytes on one thread.
        set_threads(1).unwrap();
        problem.loss(&mut network, &weights);
        for (&index, gradient) in trainable.iter().zip(&gradients) {
            assert_eq!(network.gradient(index), &gradient[..], "{name}: weight {index}");
        }
        set_threads(2).unwrap();
    }
}

#[test]
fn merging_layers_pass_gradients_on() {
    for class in ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"] {
        let layers = [
            input(&[5, 4, 2]),
            reading(conv(3, "tanh"), &[0]),
            reading(conv(3, "linear"), &[0]),
            reading(merge(class), &[1, 2]),
            reading(flatten(), &[3]),
            dense(2, "linear"),
        ];
        check(class, &layers, &[5], &[squared()]);
    }
    // The same tensor twice, and three of them.
    let layers = [
        input(&[3]),
        reading(dense(4, "tanh"), &[0]),
        reading(dense(4, "relu"), &[0]),
        reading(merge("Multiply"), &[1, 1, 2]),
        dense(2, "linear"),
    ];
    check("one tensor twice", &layers, &[4], &[squared()]);
}

#[test]
fn dots_and_stretched_tensors_pass_gradients_on() {
    let layers = [
        input(&[4, 3]),
        reading(dense(5, "tanh"), &[0]),
        reading(dense(5, "linear"), &[0]),
        reading(merge("Dot"), &[1, 2]),
        layer("Dot", "dot", json!({"axes": [1, 2], "normalize": false})),
    ];
    let layers = [&layers[..4], &[reading(layers[4].clone(), &[3, 3])]].concat();
    check("dots", &layers, &[4], &[squared()]);
    // Squeeze and excitation, and a vector added to a map.
    let layers = [
        input(&[5, 4, 2]),
        input(&[6]),
        reading(conv(6, "tanh"), &[0]),
        reading(average(), &[2]),
        dense(6, "sigmoid"),
        reading(merge("Multiply"), &[2, 4]),
        reading(dense(6, "linear"), &[1]),
        reading(merge("Add"), &[6, 5]),
        reading(batch_norm(), &[7]),
    ];
    check("stretched tensors", &layers, &[8], &[squared()]);
    // Along another axis than the channels.
    let beside = layer("Concatenate", "merge", json!({"axis": 1}));
    let layers = [
        input(&[2, 3]),
        reading(dense(4, "tanh"), &[0]),
        reading(dense(4, "linear"), &[0]),
        reading(beside, &[1, 2]),
    ];
    check("another axis", &layers, &[3], &[squared()]);
}

#[test]
fn several_inputs_and_outputs() {
    let tversky = json!({
        "class_name": "Tversky", "config": {"alpha": 0.3, "beta": 0.7, "from_logits": true, "axis": null},
    });
    let layers = [
        input(&[6, 5, 2]),
        input(&[3]),
        reading(conv(4, "relu"), &[0]),
        batch_norm(),
        average(),
        flatten(),
        reading(dense(4, "tanh"), &[1]),
        reading(merge("Concatenate"), &[5, 6]),
        dense(3, "linear"),
        reading(dense(2, "linear"), &[6]),
    ];
    let other = objective(json!({"class_name": "LogCosh", "config": {}}), 0.3);
    check("two outputs", &layers, &[8, 9], &[squared(), other.clone()]);
    check("an output in between", &layers, &[6, 8], &[other.clone(), squared()]);
    check("one output twice", &layers, &[8, 8, 3], &[squared(), other.clone(), squared()]);
    // Flattened, it is the same tensor.
    check("one tensor as two outputs", &layers, &[4, 5, 8], &[squared(), other.clone(), squared()]);
    check("an input as output", &layers, &[1, 8], &[other.clone(), squared()]);
    check("without a loss", &layers, &[9, 8, 6], &[objective(Value::Null, 1.0), squared(), other.clone()]);
    check("a loss of the whole batch", &layers, &[8, 9], &[other, objective(tversky, 2.0)]);
}

#[test]
fn shared_layers_add_their_gradients() {
    let layers = [
        input(&[4, 4, 2]),
        input(&[4, 4, 2]),
        reading(conv(3, "relu"), &[0]),
        again(conv(3, "relu"), 2, &[1]),
        reading(batch_norm(), &[2]),
        again(batch_norm(), 4, &[3]),
        reading(merge("Subtract"), &[4, 5]),
        conv(3, "tanh"),
        again(conv(3, "tanh"), 7, &[7]),
        reading(dense(2, "linear"), &[8]),
    ];
    check("convolutions and normalisations", &layers, &[9], &[squared()]);
    // On a vector and on positions, and three times.
    let layers = [
        input(&[5, 3]),
        input(&[3]),
        reading(dense(3, "tanh"), &[0]),
        again(dense(3, "tanh"), 2, &[1]),
        again(dense(3, "tanh"), 2, &[2]),
        reading(merge("Add"), &[4, 3]),
    ];
    check("dense layers", &layers, &[5], &[squared()]);
    let block =
        layer("Residual", "block", json!({"layers": [conv(2, "tanh"), batch_norm()], "shortcut": null}));
    let layers = [input(&[4, 4, 2]), reading(block.clone(), &[0]), again(block, 1, &[1])];
    check("blocks", &layers, &[2], &[squared()]);
    let norm = layer(
        "LayerNormalization",
        "norm",
        json!({
            "axis": [-1], "epsilon": 0.001, "center": true, "scale": true,
            "beta_initializer": normal(), "gamma_initializer": normal(),
        }),
    );
    let layers = [input(&[4, 3]), reading(norm.clone(), &[0]), dense(3, "tanh"), again(norm, 1, &[2])];
    check("normalisations of samples", &layers, &[3], &[squared()]);
}

#[test]
fn shared_statistics_move_call_by_call() {
    let layers = [
        input(&[3]),
        input(&[3]),
        reading(batch_norm(), &[0]),
        again(batch_norm(), 2, &[1]),
        reading(merge("Add"), &[2, 3]),
    ];
    let mut network = network(&layers, &[4], &[squared()]).unwrap();
    assert_eq!(network.weights().len(), 4);
    let problem = Problem::new(&network, 8);
    problem.step(&mut network, 0.0).unwrap();
    let mean =
        |input: usize, channel: usize| problem.x[input].0.iter().skip(channel).step_by(3).sum::<f64>() / 8.0;
    for channel in 0..3 {
        let wanted = (0.1 * mean(0, channel)) * 0.9 + 0.1 * mean(1, channel);
        assert!((network.weight(2)[channel] - wanted).abs() < 1e-12);
    }
}

#[test]
fn calls_may_act_as_at_inference() {
    let mut norm = batch_norm();
    norm["inference"] = json!(true);
    let mut dropout = layer("Dropout", "dropout", json!({"rate": 0.5, "noise_shape": null, "seed": null}));
    dropout["inference"] = json!(true);
    let layers = [input(&[3]), dense(4, "tanh"), norm, dropout, dense(2, "linear")];
    check("a call at inference", &layers, &[4], &[squared()]);
    let mut network = network(&layers, &[4], &[squared()]).unwrap();
    let problem = Problem::new(&network, 8);
    let moving = |network: &mut Network<f64>| [network.weight(4).to_vec(), network.weight(5).to_vec()];
    let before = moving(&mut network);
    problem.step(&mut network, 0.1).unwrap();
    assert_eq!(before, moving(&mut network));
}

#[test]
fn weighted_metrics_follow_the_weights_of_samples() {
    let mut objective = squared();
    let metric =
        json!({"class_name": "Mean", "config": {"loss": {"class_name": "MeanSquaredError", "config": {}}}});
    objective["metrics"] = json!([metric, metric]);
    objective["weighted_metrics"] = json!(1);
    let layers = [input(&[3]), dense(2, "linear")];
    let mut network = network(&layers, &[1], &[objective]).unwrap();
    let mut problem = Problem::new(&network, 4);
    problem.weights = Some(vec![0.0, 2.0, 0.5, 1.0]);
    let scores = problem.step(&mut network, 0.0).unwrap();
    let [plain, weighted] = &scores.outputs[0].metrics[..] else { panic!("two metrics") };
    assert_eq!((plain[1], weighted[1]), (4.0, 3.5));
    assert!((weighted[0] - scores.outputs[0].loss).abs() < 1e-12 && plain[0] != weighted[0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let fails = |layers: &[Value], outputs: &[usize], parts: &[&str]| {
        let text = network(layers, outputs, &[squared()]).err().expect("an error").to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let add = |inputs: &[usize]| reading(merge("Add"), inputs);
    fails(&[input(&[3]), add(&[0, 2]), dense(3, "linear")], &[2], &["merge", "entries before it", "2"]);
    fails(&[input(&[3]), input(&[4]), add(&[0, 1])], &[2], &["merge", "(batch, 3)", "(batch, 4)"]);
    fails(&[input(&[3]), reading(dense(3, "linear"), &[0, 0])], &[1], &["dense", "1 input", "2"]);
    fails(&[input(&[3]), dense(3, "linear")], &[2], &["outputs", "2"]);
    fails(&[input(&[3]), reading(merge("Subtract"), &[0, 0, 0])], &[1], &["merge", "2 inputs", "3"]);
    let shared =
        [input(&[3]), input(&[4]), reading(dense(2, "relu"), &[0]), again(dense(2, "relu"), 2, &[1])];
    fails(&shared, &[3], &["dense", "(batch, 3)", "share weights", "(batch, 4)"]);
}
