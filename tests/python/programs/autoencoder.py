"""A convolutional autoencoder that takes noise out of digits; encoder and decoder are models of their own."""

import keras
import numpy as np
from keras import layers
from samples import digits


def preprocess(array):
    array = array.astype("float32") / 255.0
    return np.reshape(array, (len(array), 20, 20, 1))


def noise(array):
    noisy = array + 0.4 * np.random.default_rng(7).normal(size=array.shape)
    return np.clip(noisy, 0.0, 1.0).astype("float32")


train_data, _ = digits(192, seed=1)
test_data, _ = digits(48, seed=2)
train_data, test_data = preprocess(train_data), preprocess(test_data)
noisy_train_data, noisy_test_data = noise(train_data), noise(test_data)

encoder_input = keras.Input(shape=(20, 20, 1), name="original_img")
x = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(encoder_input)
x = layers.MaxPooling2D((2, 2), padding="same")(x)
x = layers.Conv2D(8, (3, 3), activation=keras.activations.relu, padding="same")(x)
encoder_output = layers.MaxPooling2D((2, 2), padding="same")(x)
encoder = keras.Model(encoder_input, encoder_output, name="encoder")
encoder.summary()

decoder_input = keras.Input(shape=(5, 5, 8), name="encoded_img")
x = layers.Conv2DTranspose(8, (3, 3), strides=2, activation="relu", padding="same")(decoder_input)
x = layers.Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(x)
decoder_output = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)
decoder = keras.Model(decoder_input, decoder_output, name="decoder")
decoder.summary()

autoencoder_input = keras.Input(shape=(20, 20, 1), name="img")
encoded_img = encoder(autoencoder_input)
decoded_img = decoder(encoded_img)
autoencoder = keras.Model(autoencoder_input, decoded_img, name="autoencoder")
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.summary(expand_nested=True)

history = autoencoder.fit(
    x=noisy_train_data,
    y=train_data,
    epochs=2,
    batch_size=32,
    shuffle=True,
    validation_data=(noisy_test_data, test_data),
)
codes = encoder.predict(noisy_test_data)
pictures = decoder.predict(codes)
print("codes:", codes.shape, "pictures:", pictures.shape)
results = {"codes": float(codes.mean()), "pictures": float(pictures.mean())}
