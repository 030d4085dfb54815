"""Models of ours that Keras has all layers of, and an input for each."""

import numpy as np

import gridnn as gn
from gridnn import constraints, initializers, layers, regularizers

OURS = {
    "convnet": [
        *[gn.Input((8, 8, 1)), layers.Rescaling(1 / 3), layers.Conv2D(3, 3, activation="relu")],
        *[
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ],
    ],
    "padded": [
        *[gn.Input((7, 6, 2)), layers.Conv2D(3, 3, padding=((1, 0), (2, 1))), layers.BatchNormalization()],
        *[layers.DepthwiseConv2D(3, padding=1, depth_multiplier=2), layers.SeparableConv2D(3, 3, padding=1)],
        *[layers.Conv2D(2, 2, padding=0, strides=2), layers.ReLU(max_value=2.0, negative_slope=0.1)],
    ],
    "series": [
        *[gn.Input((17, 2)), layers.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="silu")],
        *[
            layers.ZeroPadding1D((1, 2)),
            layers.Cropping1D((0, 1)),
            layers.SeparableConv1D(4, 3, padding="same"),
        ],
        *[
            layers.DepthwiseConv1D(3, activation="elu"),
            layers.UpSampling1D(2),
            layers.Conv1DTranspose(2, 3, 2),
        ],
        *[
            layers.Conv1D(3, 3, padding=2),
            layers.AveragePooling1D(3, 2, "same"),
            layers.GlobalMaxPooling1D(True),
        ],
    ],
    "volumes": [
        *[
            gn.Input((5, 6, 4, 2)),
            layers.Conv3D(3, (1, 3, 2), activation="selu"),
            layers.MaxPooling3D((1, 2, 1)),
        ],
        *[layers.ZeroPadding3D(1), layers.Conv3DTranspose(2, 2, padding="same", strides=(1, 2, 1))],
        *[
            layers.UpSampling3D((1, 2, 1)),
            layers.Cropping3D(1),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3),
        ],
    ],
    "activations": [
        *[gn.Input((3, 4, 5)), layers.PReLU(shared_axes=(1, 2)), layers.PReLU(), layers.LeakyReLU(0.15)],
        *[layers.ELU(0.7), layers.Softmax(axis=1)],
        *[layers.Activation(name) for name in ("gelu", "mish", "hard_sigmoid", "softplus", "log_softmax")],
        *[layers.Activation(name) for name in ("leaky_relu", "relu6", "softsign", "exponential", "sigmoid")],
        *[layers.Dense(3, activation="tanh"), layers.Dense(2, activation="selu")],
    ],
    "normalizations": [
        *[gn.Input((4, 4, 6)), layers.Normalization(mean=[1, 2, 3, 4, 5, 6], variance=[1, 2, 3, 4, 5, 0])],
        *[layers.Normalization(axis=None, mean=0.5, variance=2.0, invert=True), layers.GroupNormalization(3)],
        layers.Normalization(axis=(1, 3), mean=np.linspace(0, 1, 24), variance=np.linspace(1, 2, 24)),
        *[layers.LayerNormalization(axis=(1, 2, 3)), layers.LayerNormalization(center=False)],
        *[
            layers.BatchNormalization(axis=1, scale=False),
            layers.BatchNormalization(center=False, momentum=0.5),
        ],
    ],
    "transposed": [
        *[gn.Input((5, 4, 2)), layers.Conv2DTranspose(3, 2, strides=3)],
        layers.Conv2DTranspose(2, (4, 3), strides=2, padding="same", output_padding=1, activation="sigmoid"),
    ],
    "augmented": [
        *[
            gn.Input((7, 6, 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
        ],
        *[layers.RandomTranslation(0.1, (0.0, 0.2)), layers.GaussianNoise(0.1), layers.Conv2D(2, 3)],
        *[layers.GaussianDropout(0.1), layers.SpatialDropout2D(0.1), layers.ActivityRegularization(l2=0.1)],
        layers.Dropout(0.1, noise_shape=(None, 1, 1, None)),
    ],
    "options": [
        *[gn.Input((5,)), layers.Dense(4, kernel_initializer="he_normal", kernel_regularizer="l2")],
        layers.Dense(
            4, kernel_constraint=constraints.MaxNorm(2.0), activity_regularizer=regularizers.L1(0.1)
        ),
        layers.Dense(
            4, kernel_initializer=initializers.Constant(np.arange(16.0).reshape(4, 4)), trainable=False
        ),
        layers.Dense(3, bias_initializer=initializers.Orthogonal(), use_bias=False, name="scores"),
    ],
    "arranged": [
        *[
            gn.Input((4, 3)),
            layers.Permute((2, 1)),
            layers.Reshape((2, -1)),
            layers.Dense(5),
            layers.Flatten(),
        ],
        *[
            layers.RepeatVector(3),
            layers.Reshape((3, 5, 2)),
            layers.UpSampling2D(2, interpolation="bilinear"),
        ],
        *[
            layers.AdaptiveAveragePooling2D((4, 3)),
            layers.AdaptiveMaxPooling2D(2),
            layers.Cropping2D(((0, 1), (0, 0))),
        ],
    ],
    "residual": [
        *[gn.Input((6, 6, 2)), layers.Residual([layers.Conv2D(2, 3, padding="same"), layers.ReLU()])],
        layers.Residual(
            [
                layers.Conv2D(3, 3, padding=1, name="z"),
                layers.ReLU(),
                layers.Conv2D(3, 3, padding=1, name="a"),
            ],
            shortcut=[layers.Conv2D(3, 1, name="m")],
        ),
        *[layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(2)],
    ],
    "parallel": [
        gn.Input((5, 5, 2)),
        layers.Parallel([[layers.Conv2D(2, 1)], [layers.Conv2D(2, 3, padding="same"), layers.ReLU()], []]),
        layers.Parallel([[layers.Conv2D(2, 1)], [layers.Conv2D(2, 1), layers.Conv2D(2, 1)]], "multiply"),
        layers.Parallel([[layers.Residual([layers.Conv2D(2, 1)])], [layers.ReLU()]], "average"),
        *[
            layers.Parallel([[layers.Conv2D(2, 1)]], "maximum"),
            layers.Parallel([[], [layers.ReLU()]], "maximum"),
        ],
    ],
}
NETWORKS = {
    "lenet5": lambda: gn.models.lenet5(),
    "resnet": lambda: gn.models.resnet(20, input_shape=(16, 16, 3)),
    "vgg": lambda: gn.models.vgg(11, (32, 32, 1), 4, width=4, units=8),
    "mobilenet": lambda: gn.models.mobilenet(input_shape=(32, 32, 3), classes=4, alpha=0.125),
    "googlenet": lambda: gn.models.googlenet((32, 32, 1), 3),
    "unet": lambda: gn.models.unet((16, 16, 1), 2, width=4),
    "tcn": lambda: gn.models.tcn((32, 2), 3),
    "doubles": lambda: gn.Sequential(
        [gn.Input((5, 1)), layers.Conv1D(2, 2), layers.Dense(2)], dtype="float64"
    ),
    "nested": lambda: gn.Sequential(
        [
            gn.Input((6,)),
            gn.Sequential([layers.Dense(4), layers.ReLU()]),
            gn.Sequential([layers.Dense(4)]),
            layers.Dense(2),
        ]
    ),
    "any_size": lambda: gn.Sequential(
        [gn.Input((None, None, 2)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    ),
}
ALL = sorted({*OURS, *NETWORKS})


def ours(name):
    """A model of ours with weights none of which is 0 or 1, and an input."""
    rng = np.random.default_rng(len(name))
    if name in NETWORKS:
        model = NETWORKS[name]()
    else:
        model = gn.Sequential([layer.__copy__() for layer in OURS[name]], seed=0)
    if name not in ("resnet", "mobilenet", "googlenet"):
        spread = [
            rng.uniform(0.2, 0.8, array.shape) * rng.choice((-1, 1)) / 2 for array in model.get_weights()
        ]
        kinds = [info.name for info in model.network.weights]
        model.set_weights([abs(x) if "var" in kind else x for x, kind in zip(spread, kinds, strict=True)])
    sizes = [size or 7 for size in model.input_shape[1:]]
    return model, rng.normal(size=(2, *sizes)).astype(model.dtype)
