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
    "pools": [
        *[
            gn.Input((9, 10, 2)),
            layers.AveragePooling2D(3, 2, padding=((1, 0), (0, 1)), count_include_pad=True),
        ],
        *[layers.MaxPooling2D(3, 1, padding=1), layers.AveragePooling2D(3, 1, padding=((1, 1), (1, 1)))],
        *[layers.AveragePooling2D(2, 3, "same", count_include_pad=True), layers.Padding2D(((0, 1), (2, 0)))],
        layers.MaxPooling2D(2, 1, ceil_mode=True),
    ],
    "pools of series": [
        *[gn.Input((10, 2)), layers.AveragePooling1D(3, 2, padding=2, count_include_pad=True)],
        *[layers.Padding1D((1, 2)), layers.MaxPooling1D(2, 2, padding=[(0, 1)])],
    ],
    "gelu": [
        *[gn.Input((4, 3)), layers.Conv1D(3, 3, padding=1, activation="gelu_tanh")],
        *[layers.Activation("gelu_tanh"), layers.Dense(2, activation="gelu_tanh")],
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


def two_sided():
    """Two inputs, two outputs."""
    image, age = gn.Input((6, 5, 2), name="image"), gn.Input((3,), name="age")
    x = layers.Flatten()(layers.Conv2D(4, 3, padding=1, activation="relu")(image))
    both = layers.Concatenate()([x, layers.Dense(4)(age)])
    ends = [layers.Dense(2, name="kind")(both), layers.Dense(1, activation="sigmoid", name="risk")(both)]
    return gn.Model([image, age], ends)


def by_name():
    """Inputs and outputs in dicts."""
    a, b = gn.Input((4,)), gn.Input((4,))
    return gn.Model({"p": a, "q": b}, {"sum": layers.Add()([a, b]), "scores": layers.Dense(2)(b)})


def siamese():
    """A model and a layer that are called twice."""
    left, right, one = (gn.Input((6, 5, 2)) for _ in range(3))
    eye = gn.Model(one, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3)(one))), name="eye")
    seen, known, conv = eye(left), eye(right), layers.Conv2D(2, 3, padding=1)
    ends = [layers.Dot(1, normalize=True)([seen, known]), layers.Subtract()([seen, known])]
    return gn.Model([left, right], [*ends, layers.Add()([conv(left), conv(conv(right))])])


def squeezed():
    """Squeeze and excitation."""
    image = gn.Input((6, 5, 4))
    x = layers.Conv2D(4, 3, padding="same")(image)
    share = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.BatchNormalization()(layers.Multiply()([x, layers.Dense(4, activation="sigmoid")(share)]))
    return gn.Model(image, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


def crossing():
    """Branches that join others halfway, one of which has more layers there than here."""
    x = gn.Input((5, 5, 2))
    a = layers.Conv2D(2, 3, padding=1)(layers.ReLU()(layers.Conv2D(2, 3, padding=1)(x)))
    b = x
    for _ in range(3):
        b = layers.Conv2D(2, 3, padding="same")(b)
    c = layers.Conv2D(2, 3, padding="same")(x)
    first, second = layers.Add()([a, b]), layers.Maximum()([b, c])
    third = layers.Minimum()([first, second, x])
    return gn.Model(x, layers.Concatenate(axis=1)([third, layers.Average()([a, c]), first]))


def held():
    """Containers, chains and nested models in a graph, some of them twice."""
    x = gn.Input((8, 3))
    block = layers.Residual([layers.Conv1D(3, 3, padding=1), layers.BatchNormalization(), layers.ReLU()])
    inner = gn.Sequential(
        [gn.Input((8, 3)), layers.Conv1D(4, 3, padding=1), layers.Parallel([[layers.ReLU()], []])]
    )
    plain = gn.Sequential([gn.Input((8, 8)), layers.Dense(5), layers.ELU()])
    return gn.Model(x, [plain(inner(block(block(x)))), layers.GlobalAveragePooling1D()(plain(inner(x)))])


def two_ends():
    """A model of two inputs and two outputs inside another one, called twice and read crosswise."""

    def made(name):
        a, b = gn.Input((4,)), gn.Input((4,))
        mixed = layers.Dense(4)(layers.Add()([a, b]))
        return gn.Model([a, b], [mixed, layers.Dense(4)(mixed)], name=name)

    x, inner = gn.Input((4,)), made("inner")
    outer = gn.Model(x, made("inner")([layers.Dense(4)(x), x])[1], name="outer")
    x, y = gn.Input((4,)), gn.Input((4,))
    one, two = inner([x, y])
    three, four = inner([two, one])
    return gn.Model([y, x], [layers.Subtract()([four, three]), outer(two), inner([x, y])[0]])


def frozen():
    """Calls that act as at inference, and layers that are frozen."""
    x = gn.Input((4,))
    y = layers.BatchNormalization()(layers.Dense(4, trainable=False)(x), training=False)
    return gn.Model(x, layers.Dense(2)(layers.Dropout(0.5)(y, training=False)))


def row():
    """A graph that is a chain."""
    x = gn.Input((None, 3))
    return gn.Model(x, layers.Dense(2)(layers.GlobalMaxPooling1D()(layers.Conv1D(4, 3)(x))), name="row")


def features():
    """What a layer of another model makes, as output of its own."""
    model = gn.models.resnet(20, (8, 8, 3), 4, width=2)
    return gn.Model(model.inputs, [model.outputs[0], model.layers[3].output])


def double():
    """In float64."""
    a, b = gn.Input((4,)), gn.Input((3, 4))
    return gn.Model([a, b], layers.Dense(2)(layers.Add()([a, b])), dtype="float64")


def uneven():
    """Branches of one shape and several lengths, where padding makes them longer still."""
    conv, pad = layers.Conv1D, {"padding": 1}
    long = [conv(2, 3, **pad), layers.ReLU(), conv(2, 3, **pad)]
    same = [conv(2, 3, padding="same") for _ in range(4)]
    return gn.Sequential([gn.Input((7, 2)), layers.Parallel([long, same, [conv(2, 3, **pad)]], "add")])


GRAPHS = {
    function.__name__: function
    for function in (
        *(two_sided, by_name, siamese, squeezed, crossing, held),
        *(two_ends, frozen, row, features, double, uneven),
    )
}
ALL = sorted({*OURS, *NETWORKS, *GRAPHS})


def ours(name):
    """A model of ours with weights none of which is 0 or 1, and an input, or a list of them."""
    rng = np.random.default_rng(len(name))
    if name in NETWORKS or name in GRAPHS:
        model = {**NETWORKS, **GRAPHS}[name]()
    else:
        model = gn.Sequential([layer.__copy__() for layer in OURS[name]], seed=0)
    if name not in ("resnet", "mobilenet", "googlenet", "features"):
        spread = [
            rng.uniform(0.2, 0.8, array.shape) * rng.choice((-1, 1)) / 2 for array in model.get_weights()
        ]
        kinds = [info.name for info in model.network.weights]
        model.set_weights([abs(x) if "var" in kind else x for x, kind in zip(spread, kinds, strict=True)])
    shapes = [model.graph.nodes[number].output_shape for number in model.graph.inputs]
    x = [rng.normal(size=(2, *(size or 7 for size in shape))).astype(model.dtype) for shape in shapes]
    return model, x[0] if len(x) == 1 else x


def arrays(values):
    """Inputs or outputs as a list, however they are handed over."""
    values = list(values.values()) if isinstance(values, dict) else values
    return values if isinstance(values, list) else [values]
