"""Losses and metrics called by hand, batch by batch, and a metric of one's own."""

import keras
import numpy as np
from keras import layers
from samples import digits

(x_train, y_train), (x_val, y_val) = digits(256, seed=1), digits(96, seed=2)
x_train = np.reshape(x_train, (-1, 400)).astype("float32") / 255
x_val = np.reshape(x_val, (-1, 400)).astype("float32") / 255
batch_size = 32

inputs = keras.Input(shape=(400,), name="digits")
x1 = layers.Dense(32, activation="relu")(inputs)
x2 = layers.Dense(32, activation="relu")(x1)
outputs = layers.Dense(10, name="predictions")(x2)
model = keras.Model(inputs=inputs, outputs=outputs)

loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    loss=loss_fn,
    metrics=[keras.metrics.SparseCategoricalAccuracy(), keras.metrics.SparseTopKCategoricalAccuracy(k=3)],
)
history = model.fit(x_train, y_train, batch_size=batch_size, epochs=2)


class Confidence(keras.metrics.Metric):
    """The mean of the largest probabilities."""

    def __init__(self, name="confidence", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        largest = np.max(np.asarray(y_pred), axis=-1)
        self.total.assign(self.total + np.sum(largest))
        self.count.assign(self.count + len(largest))

    def result(self):
        return self.total / self.count

    def reset_state(self):
        self.total.assign(0.0)
        self.count.assign(0.0)


def softmax(logits):
    return np.asarray(keras.activations.softmax(np.asarray(logits)))


val_acc_metric = keras.metrics.SparseCategoricalAccuracy()
val_loss = keras.metrics.Mean(name="val_loss")
precision = keras.metrics.Precision(thresholds=0.3)
auc = keras.metrics.AUC()
confidence = Confidence()
everything = [val_acc_metric, val_loss, precision, auc, confidence]

results = {}
for epoch in range(2):
    for start in range(0, len(x_val), batch_size):
        x_batch, y_batch = x_val[start : start + batch_size], y_val[start : start + batch_size]
        logits = model(x_batch, training=False)
        val_loss.update_state(loss_fn(y_batch, logits))
        val_acc_metric.update_state(y_batch, logits)
        probabilities = softmax(logits)
        one_hot = keras.utils.to_categorical(y_batch, 10)
        precision.update_state(one_hot, probabilities)
        auc.update_state(one_hot, probabilities, sample_weight=np.ones(len(one_hot)))
        confidence.update_state(y_batch, probabilities)
    for metric in everything:
        print(f"Validation {metric.name}: {float(metric.result()):.4f}")
        results[f"{metric.name} {epoch}"] = float(metric.result())
        metric.reset_state()

per_sample = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
hardest = np.asarray(per_sample(y_val, model.predict(x_val))).max()
results["hardest"] = float(hardest)
mae = keras.losses.mean_absolute_error(np.eye(10, dtype="float32"), np.full((10, 10), 0.1, "float32"))
results["mae"] = float(np.mean(np.asarray(mae)))
