"""`predict_windows` with every kind of layer: what the whole gives, or a refusal that names the layer."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
SIZES = (96, 90, 34)


@pytest.fixture(autouse=True)
def direct(convolution_algorithm):
    convolution_algorithm("direct")


def stack(*parts, rank=2):
    return gn.Sequential([gn.Input((*(None,) * rank, 2)), *parts], seed=1)


def graph(make, rank=2):
    source = gn.Input((*(None,) * rank, 2))
    return gn.Model(source, make(source), seed=1)


def fixed(*parts):
    return gn.Sequential([gn.Input((32, 32, 2)), *parts], seed=1)


def conv(filters=3, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)


def sample(rank, channels=2):
    return RNG.normal(size=(*SIZES[:rank], channels)).astype(np.float32)


class Centred(layers.Layer):
    def call(self, x):
        return x - x.mean(axis=(1, 2), keepdims=True)

    def backward(self, x, dy):
        return dy


ALIKE = {
    "layer normalization of channels": lambda: stack(conv(), layers.LayerNormalization()),
    "softmax of channels": lambda: stack(conv(activation="softmax")),
    "unit normalization": lambda: stack(layers.UnitNormalization()),
    "batch normalization": lambda: stack(conv(), layers.BatchNormalization(), layers.ReLU()),
    "reflect": lambda: stack(conv(padding_mode="reflect"), conv(size=5, padding_mode="symmetric")),
    "edge": lambda: stack(conv(padding_mode="edge")),
    "padding layer": lambda: stack(layers.Padding2D(2, "reflect"), layers.Conv2D(3, 5)),
    "causal": lambda: stack(layers.Conv1D(3, 5, padding="causal", dilation_rate=2), rank=1),
    "training only": lambda: stack(
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomErasing(1.0),
        layers.MixUp(),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.5),
        conv(),
    ),
    "more zeros than the kernel has": lambda: stack(layers.ZeroPadding2D(6), layers.Conv2D(3, 3)),
    "cropping at the end": lambda: stack(conv(), layers.Cropping2D(((1, 4), (3, 0)))),
    "residual": lambda: stack(layers.Residual([conv(), conv(2)])),
    "parallel with steps": lambda: stack(
        layers.Parallel([[conv(strides=2)], [layers.MaxPooling2D(2, padding="same")]]), conv()
    ),
    "slices": lambda: stack(layers.TimeDistributed(layers.Conv1D(3, 3, padding="same"))),
    "slices of volumes": lambda: stack(layers.TimeDistributed(conv()), rank=3),
    "transposed": lambda: stack(layers.Conv2DTranspose(3, 3, strides=2)),
    "three times as large": lambda: stack(layers.UpSampling2D(3), conv()),
    "pools to the end": lambda: stack(layers.MaxPooling2D(3, 2, ceil_mode=True), conv()),
    "shared slopes": lambda: stack(conv(), layers.PReLU(shared_axes=(1, 2))),
    "scaling": lambda: stack(layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 4.0]), conv()),
    "skip that is cropped": lambda: graph(
        lambda x: layers.Add()([layers.Conv2D(3, 5)(x), layers.Cropping2D(2)(conv()(x))])
    ),
    "nothing at all": lambda: graph(lambda x: x),
}


@pytest.mark.parametrize("make", ALIKE.values(), ids=ALIKE)
def test_windows_say_what_the_whole_would(make):
    model = make()
    x = sample(len(model.input_shape) - 2)
    whole = model.predict(x[np.newaxis], verbose=0)[0]
    assert np.array_equal(model.predict_windows(x, 32), whole)
    assert model.predict_windows(x, 32, overlap=0.5).shape == whole.shape


SIZE = r"\({}\) makes a grid of fixed size"
REFUSED = {
    "centre": (lambda: stack(conv(), layers.CenterCrop(16, 16), conv()), SIZE.format("CenterCrop")),
    "centre of one axis": (lambda: stack(layers.CenterCrop(20)), SIZE.format("CenterCrop")),
    "crop": (
        lambda: stack(layers.RandomCrop(20, 20), conv()),
        r"'random_crop' \(RandomCrop\).*leave the layer",
    ),
    "resized": (
        lambda: stack(layers.Resizing(20, 20), conv()),
        r"'resizing' \(Resizing\).*Bring the whole to",
    ),
    "within a model": (lambda: stack(gn.Sequential([layers.CenterCrop(12, 12)])), "center_crop"),
    "adaptive": (lambda: stack(layers.AdaptiveAveragePooling2D(8), conv()), r"\(AdaptiveAverage.*`predict`"),
    "adaptive and back": (
        lambda: stack(layers.AdaptiveMaxPooling2D(16), layers.UpSampling2D(4)),
        "AdaptiveMaxPooling2D",
    ),
    "slices": (
        lambda: stack(layers.TimeDistributed(layers.AdaptiveMaxPooling1D(16))),
        "makes a grid of fixed size",
    ),
    "wrap": (
        lambda: stack(conv(padding_mode="wrap")),
        r"'conv2d' \(Conv2D\) pads with what stands at the other",
    ),
    "causal wrap": (
        lambda: stack(layers.Conv1D(3, 5, padding="causal", padding_mode="wrap"), rank=1),
        "at the other end",
    ),
    "padding layer": (lambda: stack(layers.Padding2D(2, "wrap"), layers.Conv2D(3, 5)), "Padding2D"),
    "slopes": (lambda: fixed(conv(), layers.PReLU()), r"PReLU\) has weights for each position.*shared_axes"),
    "rows normalized": (lambda: fixed(layers.BatchNormalization(axis=1)), "weights for each position"),
    "rows scaled": (
        lambda: fixed(layers.Normalization(axis=1, mean=np.zeros(32), variance=np.ones(32))),
        "weights for each position",
    ),
    "group": (
        lambda: stack(conv(4), layers.GroupNormalization(2)),
        r"group_normalization.*BatchNormalization in place of GroupNormalization",
    ),
    "layer": (lambda: fixed(layers.LayerNormalization(axis=(1, 2, 3))), "in place of LayerNormalization"),
    "python": (lambda: stack(Centred(), conv()), "through centred.*written in Python"),
    "lambda": (lambda: stack(layers.Lambda(lambda x: x * 2)), "through lambda.*written in Python"),
    "rows": (lambda: stack(layers.Softmax(axis=1)), "through softmax"),
    "squeezed": (
        lambda: graph(
            lambda x: layers.Multiply()([conv(2)(x), layers.GlobalAveragePooling2D(keepdims=True)(x)])
        ),
        "through global_average_pooling2d",
    ),
    "spectrum": (
        lambda: stack(layers.STFT(frame_length=16, frame_step=8), rank=1),
        r"through stft\)",
    ),
    "spectrum as image": (
        lambda: stack(layers.STFT(frame_length=16, frame_step=8, expand_dims=True), rank=1),
        "outputs have the spatial axes",
    ),
    "permuted": (lambda: fixed(layers.Permute((2, 1, 3))), "through permute"),
    "reshaped": (lambda: fixed(layers.Reshape((16, 16, 8))), "through reshape"),
    "joined along an axis": (
        lambda: graph(lambda x: layers.Concatenate(axis=1)([conv()(x), conv()(x)])),
        "through concatenate",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("overlap", [None, 0.5])
def test_what_windows_would_get_wrong_is_refused_by_name(make, message, overlap):
    model = make()
    with pytest.raises(ValueError, match=message):
        model.predict_windows(sample(len(model.input_shape) - 2), 32, overlap=overlap)


def test_evaluation_refuses_the_same():
    model = stack(layers.CenterCrop(16, 16), conv(1))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="CenterCrop"):
        model.evaluate_windows(sample(2), np.zeros((16, 16, 1)), 32)


@pytest.mark.parametrize("cropping", [2, ((1, 0), (0, 0)), ((0, 0), (0, 3))])
@pytest.mark.parametrize(
    "behind",
    [lambda: conv(), lambda: layers.MaxPooling2D(3, 1, padding="same"), lambda: layers.ZeroPadding2D(1)],
)
def test_padding_behind_a_cropping_is_refused_without_overlap(cropping, behind):
    model, x = stack(layers.Cropping2D(cropping), behind()), sample(2)
    with pytest.raises(
        ValueError, match=r"pads what 'cropping2d' has cut. Crop at the end, or .*overlap=0.5"
    ):
        model.predict_windows(x, 32)
    assert model.predict_windows(x, 32, overlap=0.5).shape == model.predict(x[np.newaxis], verbose=0)[0].shape


def test_what_an_upsampling_makes_of_a_cut_border_is_no_way_around():
    # Two outputs of the second upsampling see the same input, of which one is left in each window.
    model = stack(
        layers.UpSampling1D(3),
        layers.Cropping1D(2),
        layers.UpSampling1D(2),
        layers.Conv1D(3, 5, padding="same"),
        rank=1,
    )
    with pytest.raises(ValueError, match="pads what 'up_sampling1d_1' has cut"):
        model.predict_windows(sample(1), 19)


@pytest.mark.parametrize("overlap", [0, 0.3, 25])
def test_windows_of_valid_convolutions_leave_no_gap(overlap):
    model, x = stack(layers.Conv2D(3, 5), layers.Conv2D(3, 5, dilation_rate=2)), sample(2)
    whole = model.predict(x[np.newaxis], verbose=0)[0]
    result = model.predict_windows(x, 30, overlap=overlap)  # of which 18 are left
    assert np.allclose(result, whole, atol=1e-5)


def test_windows_of_which_nothing_is_left_are_too_small():
    model = stack(layers.Conv2D(3, 5, dilation_rate=3), layers.MaxPooling2D(3))
    for overlap in (None, 0.5):
        with pytest.raises(ValueError, match=r"Windows of \(12, 12\) are too small for model"):
            model.predict_windows(sample(2), 12, overlap=overlap)
        with pytest.raises(ValueError, match="are too small for model 'sequential': nothing is left"):
            stack(layers.MaxPooling2D(4), layers.Cropping2D(1)).predict_windows(sample(2), 8, overlap=overlap)


@pytest.mark.parametrize("overlap", [None, 0.3])
def test_windows_become_larger_where_smaller_ones_are_too_small(overlap):
    # 96 elements want windows of an even number; of 8 nothing is left, so that 10 are taken.
    model = stack(layers.Conv1D(3, 3, strides=2), layers.Conv1D(3, 4), rank=1)
    x = sample(1)
    whole = model.predict(x[np.newaxis], verbose=0)[0]
    assert np.allclose(model.predict_windows(x, 9, overlap=overlap), whole, atol=1e-5)


def test_several_inputs_or_outputs_are_refused_by_name():
    first, second = (gn.Input((None, None, 2), name=name) for name in ("near", "far"))
    model = gn.Model([first, second], layers.Add(name="sum")([first, second]))
    with pytest.raises(ValueError, match=r"inputs \['near', 'far'\] and outputs \['sum'\].*Join the inputs"):
        model.predict_windows(sample(2), 32)
    mask, depth = conv(name="mask")(first), conv(1, name="depth")(first)
    model = gn.Model(first, {"mask": mask, "depth": depth}, seed=1)
    for call in (model.predict_windows, lambda x, window: model.evaluate_windows(x, x, window)):
        with pytest.raises(
            ValueError, match=r"outputs \['mask', 'depth'\].*gn.Model\(model.inputs, model.out"
        ):
            call(sample(2), 32)
    x = sample(2)
    alone = gn.Model(model.inputs, model.outputs[0])  # as the error says
    expected = model.predict(x[np.newaxis], verbose=0)["mask"][0]
    assert np.array_equal(alone.predict_windows(x, 32), expected)


def test_a_model_without_its_crop_takes_windows():
    model = stack(layers.RandomCrop(64, 64), conv(), conv())
    rest = gn.Sequential([gn.Input((None, None, 2)), *model.layers[1:]])
    x = sample(2)
    assert np.array_equal(rest.predict_windows(x, 32), rest.predict(x[np.newaxis], verbose=0)[0])
