"""Features of a middle layer, as a model that shares the weights of the whole one."""

import keras
import numpy as np
from keras import layers
from samples import photos

x_train, y_train = photos(192, seed=1)
x_test, y_test = photos(48, seed=2)

model = keras.Sequential(
    [
        keras.Input(shape=(16, 16, 3)),
        layers.Rescaling(1.0 / 255),
        layers.Conv2D(8, 3, activation="relu", name="conv_1"),
        layers.Conv2D(16, 3, strides=2, activation="relu", name="conv_2"),
        layers.GlobalAveragePooling2D(name="pooled"),
        layers.Dense(4, activation="softmax", name="classes"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

feature_extractor = keras.Model(
    inputs=model.inputs,
    outputs=model.get_layer(name="pooled").output,
)
activations = keras.Model(model.inputs, [layer.output for layer in model.layers])
before = feature_extractor.predict(x_test)
history = model.fit(x_train, y_train, epochs=2, batch_size=32)

after = np.asarray(feature_extractor(x_test))
print("features:", after.shape, "moved:", np.abs(after - before).mean() > 0)

maps = activations.predict(x_test[:4])
for layer, values in zip(model.layers, maps, strict=True):
    print(layer.name, values.shape)

# The nearest neighbours of the first pictures by their features.
gallery = keras.utils.normalize(feature_extractor.predict(x_train))
queries = keras.utils.normalize(after)
similar = queries @ gallery.T
neighbours = np.argmax(similar, axis=1)
agreement = np.mean(y_train[neighbours, 0] == y_test[:, 0])
print("neighbours of the same class:", agreement)

kernel, bias = model.get_layer("conv_1").get_weights()
results = {
    "features": float(after.mean()),
    "similarity": float(similar.max(axis=1).mean()),
    "maps": [float(np.mean(values)) for values in maps],
    "kernel": [float(kernel.std()), float(bias.mean())],
}
