"""Colour pictures, with augmentation inside the model."""

import keras
from keras import layers
from keras.layers import Activation, BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, MaxPooling2D
from samples import photos

(x_train, y_train), (x_test, y_test) = photos(256, seed=1), photos(64, seed=2)
num_classes = 4

data_augmentation = keras.Sequential(
    [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
    ],
    name="data_augmentation",
)

inputs = keras.Input(shape=x_train.shape[1:])
x = data_augmentation(inputs)
x = layers.Rescaling(1.0 / 255)(x)
for filters in (16, 32):
    x = Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = BatchNormalization()(x)
    x = Activation("relu")(x)
    x = MaxPooling2D()(x)
x = layers.SeparableConv2D(32, 3, padding="same", activation="relu")(x)
x = GlobalAveragePooling2D()(x)
x = layers.Dropout(0.25)(x)
outputs = Dense(num_classes)(x)
model = keras.Model(inputs, outputs, name="photos")
model.summary(line_length=100)

model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=1e-3, weight_decay=1e-4),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    jit_compile=False,
)
callbacks = [
    keras.callbacks.ModelCheckpoint("photos.weights.h5", save_best_only=True, save_weights_only=True),
    keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
    keras.callbacks.CSVLogger("photos.csv"),
]
history = model.fit(
    x_train, y_train, batch_size=32, epochs=2, validation_data=(x_test, y_test), callbacks=callbacks
)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Test accuracy: {accuracy:.2f}")
results = {"loss": loss}
