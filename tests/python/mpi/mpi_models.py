"""What `mpi_program.py` trains: the models of the benches and a few architectures, all of them small."""

import numpy as np

import gridnn as gn
from gridnn import layers

CLASSES = 4


def _data(shape, samples, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, *shape)).astype("float32"), rng.integers(0, CLASSES, samples)


def _classifier(shape, stack, samples=27, optimizer="adam", **options):
    """Trained for two full batches and a last one of three samples, which are fewer than ranks."""
    model = gn.Sequential([gn.Input(shape), *stack, layers.Dense(CLASSES)], seed=1)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, *_data(shape, samples), {"batch_size": 12, "epochs": 1, "seed": 5, **options}


def _conv(filters, size, **options):
    return layers.Conv2D(filters, size, padding="same", activation="relu", **options)


def _augmented():
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.1, 0.1),
        layers.Conv2D(6, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Residual([layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization()]),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(16),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.3),
    ]


def augmented():
    """Augmentation, batch norm behind convolutions and dense layers, a residual block, dropout, a split."""
    return _classifier((8, 8, 2), _augmented(), 44, epochs=2, validation_split=0.2)


def clipping():
    optimizer = gn.optimizers.AdamW(0.01, global_clipnorm=0.3, use_ema=True)
    return _classifier((8, 8, 2), _augmented(), optimizer=optimizer)


def mnist_convnet():
    stack = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2)]
    stack += [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()]
    return _classifier((28, 28, 1), stack)


def lenet5():
    stack = [_conv(6, 5), layers.MaxPooling2D(2), layers.Conv2D(16, 5, activation="relu")]
    stack += [layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(120, activation="relu")]
    return _classifier((28, 28, 1), [*stack, layers.Dense(84, activation="relu")])


def cifar_vgg():
    stack = [each for n in (8, 16, 32) for each in (_conv(n, 3), _conv(n, 3), layers.MaxPooling2D(2))]
    return _classifier((32, 32, 3), [*stack, layers.Flatten(), layers.Dense(32, activation="relu")])


def seed_128():
    stack = [_conv(8, 5), _conv(8, 5), layers.MaxPooling2D(2), layers.GlobalAveragePooling2D()]
    return _classifier((40, 40, 3), stack)


def audio_1d():
    def conv(filters, strides=1):
        return layers.Conv1D(filters, 9, strides=strides, padding="same", activation="relu")

    stack = [conv(8, 4), layers.MaxPooling1D(4), conv(12), layers.MaxPooling1D(4), conv(16)]
    return _classifier((2000, 1), [*stack, layers.GlobalAveragePooling1D()])


def voxel_3d():
    stack = [layers.Conv3D(4, 3, padding="same", activation="relu"), layers.MaxPooling3D(2)]
    stack += [layers.Conv3D(8, 3, padding="same", activation="relu"), layers.MaxPooling3D(2)]
    return _classifier((12, 12, 12, 1), [*stack, layers.Flatten(), layers.Dense(16, activation="relu")])


def large_kernels():
    """A convolution and a dense layer whose kernels' gradients ranks divide."""
    stack = [_conv(96, 3), layers.MaxPooling2D(3), _conv(96, 3), layers.Flatten()]
    stack += [layers.Dense(24, activation="relu")]
    return _classifier((12, 12, 2), stack, samples=49, batch_size=40)


def dense():
    """Dense layers that read the inputs themselves."""
    return _classifier((300,), [layers.Dense(200, activation="relu")], samples=75, batch_size=32)


def large_first():
    """A kernel whose gradient is computed in blocks, in a layer that reads the inputs itself."""
    stack = [_conv(96, 3), layers.Flatten()]
    return _classifier((6, 6, 96), stack, samples=49, batch_size=40)


class Doubled(layers.Layer):
    """A layer written in Python, which sees whole batches."""

    def call(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def own_layer():
    return _classifier((8, 8, 2), [Doubled(), _conv(4, 3), layers.Flatten()])


def resnet18():
    model = gn.models.resnet(18, input_shape=(16, 16, 3), classes=CLASSES, width=8)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model, *_data((16, 16, 3), 15), {"batch_size": 12, "epochs": 1, "seed": 5}


def unet_3d():
    model = gn.models.unet(input_shape=(8, 8, 8, 1), classes=CLASSES, width=4, depth=2)
    model.compile("adam", "sparse_categorical_crossentropy")
    x, _ = _data((8, 8, 8, 1), 10)
    y = np.random.default_rng(4).integers(0, CLASSES, (10, 8, 8, 8))
    return model, x, y, {"batch_size": 9, "epochs": 1, "seed": 5}


CASES = {
    build.__name__: build
    for build in (
        augmented,
        clipping,
        mnist_convnet,
        lenet5,
        cifar_vgg,
        seed_128,
        audio_1d,
        voxel_3d,
        large_kernels,
        dense,
        large_first,
        own_layer,
        resnet18,
        unet_3d,
    )
}
