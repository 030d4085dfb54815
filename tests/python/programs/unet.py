"""Segmentation by a U-Net with skip connections, and residual paths in the manner of Xception."""

import keras
import numpy as np
from keras import layers
from samples import blobs

img_size = (16, 16)
num_classes = 3
pictures, masks = blobs(96, seed=1)


class Blobs(keras.utils.PyDataset):
    """Batches of pictures and masks."""

    def __init__(self, first, last, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.first, self.last, self.batch_size = first, last, batch_size

    def __len__(self):
        return (self.last - self.first) // self.batch_size

    def __getitem__(self, idx):
        i = self.first + idx * self.batch_size
        return pictures[i : i + self.batch_size], masks[i : i + self.batch_size]


def get_model(img_size, num_classes):
    inputs = keras.Input(shape=(*img_size, 1))

    # Downsampling.
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    skips = []
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        skips.append(x)
        residual = layers.Conv2D(filters * 2, 1, strides=2, padding="same")(x)
        x = layers.SeparableConv2D(filters * 2, 3, padding="same")(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, residual])

    x = layers.SpatialDropout2D(0.1)(x)

    # Upsampling.
    for filters, skip in zip((16, 8), reversed(skips), strict=True):
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.UpSampling2D(2)(x)
        x = layers.Concatenate()([x, skip])
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)

    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


model = get_model(img_size, num_classes)
model.summary()

model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
history = model.fit(Blobs(0, 64, 16), epochs=2, validation_data=Blobs(64, 96, 16), verbose=2)

val_preds = model.predict(Blobs(64, 96, 16))
found = np.argmax(val_preds, axis=-1)
print("share of the background:", (found == 0).mean())
results = {"probability": float(val_preds.max(axis=-1).mean())}
