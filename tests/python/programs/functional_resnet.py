"""A residual network in the functional style."""

import keras
from keras import layers, regularizers
from samples import photos

(x_train, y_train), (x_test, y_test) = photos(192, seed=4), photos(64, seed=5)
x_train = x_train.astype("float32") / 255
x_test = x_test.astype("float32") / 255
y_train = keras.utils.to_categorical(y_train, 4)
y_test = keras.utils.to_categorical(y_test, 4)


def conv_block(x, filters, strides=1, activation="relu"):
    x = layers.Conv2D(
        filters,
        kernel_size=3,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=regularizers.l2(1e-4),
    )(x)
    x = layers.BatchNormalization()(x)
    if activation is not None:
        x = layers.Activation(activation)(x)
    return x


def residual_block(x, filters, strides=1):
    y = conv_block(x, filters, strides)
    y = conv_block(y, filters, activation=None)
    if strides != 1:
        x = layers.Conv2D(filters, 1, strides=strides, padding="same", kernel_regularizer="l2")(x)
    x = layers.add([x, y])
    return layers.ReLU()(x)


inputs = keras.Input(shape=(16, 16, 3), name="img")
x = conv_block(inputs, 8)
x = residual_block(x, 8)
x = residual_block(x, 16, strides=2)
x = residual_block(x, 32, strides=2)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dense(32, activation="relu", kernel_constraint=keras.constraints.MaxNorm(3))(x)
x = layers.Dropout(0.3)(x)
outputs = layers.Dense(4)(x)

model = keras.Model(inputs, outputs, name="toy_resnet")
model.summary()


def lr_schedule(epoch, lr):
    return lr if epoch < 1 else lr * 0.1


model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.02, momentum=0.9, nesterov=True),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    metrics=["acc"],
)
history = model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=2,
    validation_split=0.2,
    callbacks=[
        keras.callbacks.LearningRateScheduler(lr_schedule),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=5, min_lr=0.5e-6),
        keras.callbacks.TerminateOnNaN(),
    ],
)
scores = model.evaluate(x_test, y_test, verbose=2, return_dict=True)
results = {"test": scores["loss"], "rate": float(model.optimizer.learning_rate)}
