"""Prices of houses from a picture and from numbers, and whether they are old, with one model."""

import keras
from keras import layers
from keras.layers import Dense, concatenate
from keras.models import Model
from samples import houses

pictures, facts, prices, ages = houses(192, seed=1)
split = 144


def create_cnn(width, height, depth, filters=(8, 16)):
    inputs = keras.Input(shape=(height, width, depth), name="picture")
    x = inputs
    for f in filters:
        x = layers.Conv2D(f, (3, 3), padding="same")(x)
        x = layers.Activation("relu")(x)
        x = layers.BatchNormalization(axis=-1)(x)
        x = layers.AveragePooling2D(pool_size=(2, 2))(x)
    x = layers.Flatten()(x)
    x = Dense(16)(x)
    x = layers.ELU()(x)
    return Model(inputs, x, name="cnn")


def create_mlp(dim):
    model = keras.Sequential(name="mlp")
    model.add(Dense(8, input_dim=dim, activation="relu"))
    model.add(Dense(4, activation="tanh"))
    return model


mlp = create_mlp(facts.shape[1])
cnn = create_cnn(16, 16, 3)

numbers_input = keras.Input(shape=(facts.shape[1],), name="numbers")
picture_input = keras.Input(shape=(16, 16, 3), name="front")
combined = concatenate([mlp(numbers_input), cnn(picture_input)])
x = Dense(8, activation="relu")(combined)
price = Dense(1, activation="linear", name="price")(x)
old = Dense(1, activation="sigmoid", name="old")(x)
model = Model(inputs=[numbers_input, picture_input], outputs=[price, old])
model.summary()

model.compile(
    loss={"price": "mean_absolute_percentage_error", "old": "binary_crossentropy"},
    loss_weights={"price": 0.02, "old": 1.0},
    metrics={"price": ["mae"], "old": ["accuracy"]},
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
)
history = model.fit(
    x=[facts[:split], pictures[:split]],
    y=[prices[:split], ages[:split]],
    validation_data=([facts[split:], pictures[split:]], [prices[split:], ages[split:]]),
    epochs=2,
    batch_size=16,
)
predicted, probability = model.predict([facts[split:], pictures[split:]])
difference = predicted.flatten() - prices[split:].flatten()
print("mean difference:", abs(difference).mean())
results = {"difference": float(abs(difference).mean()), "old": float(probability.mean())}
