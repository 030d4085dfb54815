//! Descriptions of layers, losses and optimizers, as the engine parses them.

#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part of this module")]

use serde_json::{Value, json};

/// A layer, named as its class.
pub fn layer(class: &str, config: Value) -> Value {
    json!({"class_name": class, "name": class, "config": config})
}

/// An initializer without options.
pub fn filled(class: &str) -> Value {
    json!({"class_name": class, "config": {}})
}

/// Glorot's uniform initializer.
pub fn glorot() -> Value {
    let config = json!({"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": null});
    json!({"class_name": "VarianceScaling", "config": config})
}

/// A convolution of images with bias, padded to the size of its input.
pub fn conv(filters: usize, kernel: usize, activation: &str) -> Value {
    let config = json!({
        "filters": filters, "kernel_size": [kernel, kernel], "strides": [1, 1], "padding": "same",
        "padding_mode": "zeros", "dilation_rate": [1, 1], "groups": 1, "activation": activation, "use_bias": true,
        "kernel_initializer": glorot(), "bias_initializer": filled("Zeros"),
    });
    layer("Conv2D", config)
}

/// A pool with padding, whose windows start `stride` apart.
pub fn pool(class: &str, size: usize, stride: usize) -> Value {
    layer(class, json!({"pool_size": [size, size], "strides": [stride, stride], "padding": "same"}))
}

/// A dense layer with bias.
pub fn dense(units: usize, activation: &str) -> Value {
    let config = json!({
        "units": units, "activation": activation, "use_bias": true,
        "kernel_initializer": glorot(), "bias_initializer": filled("Zeros"),
    });
    layer("Dense", config)
}

pub fn batch_norm() -> Value {
    let config = json!({
        "axis": -1, "momentum": 0.9, "epsilon": 0.001, "center": true, "scale": true,
        "beta_initializer": filled("Zeros"), "gamma_initializer": filled("Ones"),
        "moving_mean_initializer": filled("Zeros"), "moving_variance_initializer": filled("Ones"),
    });
    layer("BatchNormalization", config)
}

pub fn relu() -> Value {
    layer("ReLU", json!({"max_value": null, "negative_slope": 0.0, "threshold": 0.0}))
}

pub fn dropout(rate: f64, seed: Option<u64>) -> Value {
    layer("Dropout", json!({"rate": rate, "noise_shape": null, "seed": seed}))
}

pub fn average() -> Value {
    layer("GlobalAveragePooling2D", json!({"keepdims": false}))
}

pub fn flatten() -> Value {
    layer("Flatten", json!({}))
}

pub fn residual(layers: Vec<Value>) -> Value {
    layer("Residual", json!({"layers": layers, "shortcut": null}))
}

/// Cross-entropy of labels with logits.
pub fn crossentropy() -> Value {
    json!({
        "class_name": "SparseCategoricalCrossentropy",
        "config": {"from_logits": true, "ignore_class": null, "axis": -1},
    })
}

/// Adam, with what all optimizers have as `options`.
pub fn adam(amsgrad: bool, options: Value) -> Value {
    let mut optimizer = json!({
        "class_name": "Adam", "config": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": amsgrad},
    });
    if let (Value::Object(all), Value::Object(options)) = (&mut optimizer, options) {
        all.extend(options);
    }
    optimizer
}
