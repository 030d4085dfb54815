"""Transfer learning: a network that knows one task, frozen under a new head, then fine-tuned."""

import keras
from keras import layers
from samples import photos

keras.utils.set_random_seed(1337)
size = (16, 16)

# The task that there is much data for.
x_old, y_old = photos(256, classes=6, seed=1)

base_model = keras.Sequential(
    [
        layers.Conv2D(16, 3, activation="relu", input_shape=(16, 16, 3)),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3),
        layers.BatchNormalization(),
        layers.LeakyReLU(negative_slope=0.1),
    ],
    name="base",
)
pretraining = keras.Sequential(
    [base_model, layers.GlobalMaxPooling2D(), layers.Dense(6, activation="softmax")]
)
pretraining.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
pretraining.fit(x_old / 255.0, y_old, epochs=2)

# The task of interest.
x_new, y_new = photos(96, classes=2, seed=3)

base_model.trainable = False

inputs = keras.Input(shape=(16, 16, 3))
scale_layer = keras.layers.Rescaling(scale=1 / 127.5, offset=-1)
x = scale_layer(inputs)
# The base runs in inference mode, also when it is unfrozen for fine-tuning.
x = base_model(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(inputs, outputs)

model.summary(show_trainable=True)
print("trainable weights:", len(model.trainable_weights), "of", len(model.weights))

model.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=[keras.metrics.BinaryAccuracy()],
)
history = model.fit(x_new, y_new, epochs=2, validation_split=0.25)

base_model.trainable = True
# Statistics of the old task are to stay.
for layer in base_model.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.trainable = False
model.summary(show_trainable=True)

model.compile(
    optimizer=keras.optimizers.Adam(1e-4),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=[keras.metrics.BinaryAccuracy()],
)
history = model.fit(x_new, y_new, epochs=2, validation_split=0.25)
results = {"evaluation": model.evaluate(x_new, y_new, verbose=0)}
