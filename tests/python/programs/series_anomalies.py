"""Anomaly detection: windows that a convolutional autoencoder cannot reconstruct."""

import keras
import numpy as np
from keras import layers

TIME_STEPS = 48

rng = np.random.default_rng(5)
values = np.sin(np.arange(400) / 5) + rng.normal(0, 0.1, 400)
test_values = np.sin(np.arange(300) / 5) + rng.normal(0, 0.1, 300)
test_values[150:170] += 2.5

training_mean, training_std = values.mean(), values.std()
values = (values - training_mean) / training_std
test_values = (test_values - training_mean) / training_std


def create_sequences(values, time_steps=TIME_STEPS):
    output = [values[i : (i + time_steps)] for i in range(len(values) - time_steps + 1)]
    return np.stack(output)[..., np.newaxis]


x_train = create_sequences(values)
print("Training input shape: ", x_train.shape)

model = keras.Sequential(
    [
        layers.Input(shape=(x_train.shape[1], x_train.shape[2])),
        layers.Conv1D(filters=16, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1D(filters=8, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=8, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1DTranspose(filters=16, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=1, kernel_size=7, padding="same"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.001), loss="mse")
model.summary()

history = model.fit(
    x_train,
    x_train,
    epochs=2,
    batch_size=64,
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min")],
)

x_train_pred = model.predict(x_train)
train_mae_loss = np.mean(np.abs(x_train_pred - x_train), axis=1)
threshold = np.max(train_mae_loss)

x_test = create_sequences(test_values)
x_test_pred = model.predict(x_test)
test_mae_loss = np.mean(np.abs(x_test_pred - x_test), axis=1).reshape(-1)
anomalies = test_mae_loss > threshold
print("Number of anomaly samples: ", np.sum(anomalies))
results = {"threshold": float(threshold), "largest": float(test_mae_loss.max())}
