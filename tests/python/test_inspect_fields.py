"""Receptive fields and the arithmetic of windows, against what changing inputs changes."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import inspect, layers
from gridnn._receptive_field import _RULES
from gridnn.layers.base import REGISTRY

RNG = np.random.default_rng(8)


def support(model, sizes):
    """For every output position the input positions that change it, as found by changing them one by one."""
    base = RNG.normal(size=(*sizes, 1))
    changed = np.repeat(base[None], np.prod(sizes), axis=0)
    for number, position in enumerate(np.ndindex(*sizes)):
        changed[number][position] += 0.5 + RNG.random()
    difference = np.abs(model.predict(changed, verbose=0) - model.predict(base[None], verbose=0)) > 0
    return difference.any(axis=-1).reshape(*sizes, *difference.shape[1:-1])


def hulls(seen, rank):
    """(first, last) per axis over the leading axes, or None where nothing is seen."""
    if not seen.any():
        return None
    where = np.nonzero(seen)
    return tuple((int(axis.min()), int(axis.max())) for axis in where[:rank])


def check(stack, sizes):
    """Fields contain the support of every output."""
    model = gn.Sequential([gn.Input((*sizes, 1)), *stack], dtype="float64", seed=1)
    for layer in model.layers:  # all taps count, nothing cancels
        layer.set_weights([np.abs(weight) + 0.1 for weight in layer.get_weights()])
    field = inspect.receptive_field(model)[-1]
    seen = support(model, sizes)
    rank = len(sizes)
    for position in np.ndindex(*seen.shape[rank:]):
        spans = hulls(seen[(..., *position)], rank)
        expected = field.of(*position)
        if spans is None:
            continue  # it falls into the holes of dilated kernels and strided spreads
        for (first, last), (low, high) in zip(spans, expected, strict=True):
            assert low <= first
            assert last <= high
    return model, field, seen


def window(rng, rank):
    kind = rng.choice(
        ["Conv", "AveragePooling", "DepthwiseConv", "Transpose", "UpSampling", "Padding", "Cropping"]
    )
    if kind == "Transpose":
        return getattr(layers, f"Conv{rank}DTranspose")(
            1,
            int(rng.integers(1, 4)),
            strides=int(rng.integers(1, 3)),
            padding=str(rng.choice(["valid", "same"])),
        )
    if kind == "UpSampling":
        return getattr(layers, f"UpSampling{rank}D")(int(rng.integers(1, 4)))
    if kind == "Padding":
        return getattr(layers, f"ZeroPadding{rank}D")([(int(rng.integers(3)), int(rng.integers(3)))] * rank)
    if kind == "Cropping":
        return getattr(layers, f"Cropping{rank}D")([(int(rng.integers(2)), int(rng.integers(2)))] * rank)
    size, stride = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    padding = [(int(rng.integers(2)), int(rng.integers(2)))] * rank
    if kind == "AveragePooling":
        return getattr(layers, f"AveragePooling{rank}D")(size, strides=stride, padding="valid")
    options = {"strides": stride, "padding": padding, "dilation_rate": int(rng.integers(1, 3))}
    if kind == "DepthwiseConv":
        return getattr(layers, f"DepthwiseConv{rank}D")(size, **options)
    return getattr(layers, f"Conv{rank}D")(1, size, **options)


@pytest.mark.parametrize("seed", range(60))
def test_fields_are_the_support_of_the_gradients(seed):
    rng = np.random.default_rng(seed)
    rank = 1 + seed % 2
    sizes = (23,) if rank == 1 else (13, 11)
    stack = []
    for _ in range(int(rng.integers(1, 5))):
        layer = window(rng, rank)
        try:
            gn.Sequential(
                [gn.Input((*sizes, 1)), *(type(s).from_config(s.get_config()) for s in [*stack, layer])]
            )
        except gn.errors.ShapeError:
            continue  # nothing would be left
        stack.append(layer)
    if stack:
        check(stack, sizes)


@pytest.mark.parametrize(
    ("stack", "size", "jump", "start"),
    [
        ([layers.Conv1D(1, 3)], 3, 1, 0),
        ([layers.Conv1D(1, 3, dilation_rate=4, padding="same")], 9, 1, -4),
        ([layers.Conv1D(1, 3, padding="causal", dilation_rate=2)], 5, 1, -4),
        ([layers.MaxPooling1D(3, strides=2), layers.Conv1D(1, 5)], 11, 2, 0),
        ([layers.Conv1D(1, 7, strides=4, padding="same"), layers.MaxPooling1D(2)], 11, 8, -1),
        ([layers.Conv1D(1, 3), layers.UpSampling1D(2)], 3, 0.5, 0),
        ([layers.UpSampling1D(2), layers.Conv1D(1, 2)], 2, 0.5, 0),
        ([layers.Conv1DTranspose(1, 3, strides=2)], 2, 0.5, -1),
        ([layers.MaxPooling1D(2), layers.UpSampling1D(2)], 2, 1, 0),
    ],
)
def test_known_numbers(stack, size, jump, start):
    _, field, _ = check(stack, (24,))
    assert (field.size, field.jump, field.start) == ((size,), (jump,), (start,))


def test_exact_where_nothing_is_cut_off():
    stack = [
        layers.Conv2D(1, 3, strides=2),
        layers.AveragePooling2D(2, strides=1),
        layers.Conv2D(1, 2, dilation_rate=2),
    ]
    _, field, seen = check(stack, (17, 15))
    assert field.padding_reach == ((0, 0), (0, 0))
    for position in np.ndindex(*field.outputs):
        assert hulls(seen[(..., *position)], 2) == field.of(*position)


@pytest.mark.parametrize(
    "layer",
    [
        layers.GroupNormalization(1),
        layers.LayerNormalization(),
        layers.LayerNormalization(axis=(1, 2, 3)),
        layers.Softmax(axis=1),
        layers.RandomCrop(4, 5),
        layers.CenterCrop(4, 5),
        layers.CenterCrop(9, 5),
        layers.Resizing(5, 12),
        layers.Permute((2, 1, 3)),
        layers.Reshape((10, 8, 2)),
        layers.Reshape((-1,)),
        layers.BatchNormalization(),
        layers.AdaptiveAveragePooling2D((3, 4)),
        layers.AdaptiveAveragePooling2D((8, 20)),
    ],
    ids=repr,
)
def test_layers_that_look_further_than_their_position(layer):
    layer = type(layer).from_config(layer.get_config())
    check([layers.Conv2D(2, 3, padding="same"), layer], (8, 10))


def test_the_middle_of_a_random_crop():
    _, field, seen = check([layers.RandomCrop(4, 5), layers.Conv2D(1, 3)], (9, 10))
    assert field.start == (2, 2)
    for position in np.ndindex(*field.outputs):
        assert hulls(seen[(..., *position)], 2) == field.of(*position)


@pytest.mark.parametrize(
    ("crop", "sizes", "start"),
    [
        (layers.RandomCrop(4), (9,), (2,)),
        (layers.RandomCrop(3, depth=2), (4, 5, 3), (1, 1, 0)),
    ],
    ids=["series", "volumes"],
)
def test_the_middle_of_a_random_crop_of_another_rank(crop, sizes, start):
    _, field, _ = check([crop], sizes)
    assert field.start == start


# A new layer either stands here or has a rule of its own.
BY_POSITION = """
Activation ActivityRegularization Add Average BatchNormalization Chain Concatenate Dense Dot Dropout ELU
GaussianDropout GaussianNoise Identity Input LeakyReLU Maximum Minimum MixUp Multiply Normalization Parallel
PReLU RandomBrightness RandomContrast RandomErasing RandomFlip RandomNoise RandomRotation RandomTranslation
RandomZoom ReLU Rescaling Residual SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract
"""


def test_every_layer_is_known():
    without = {cls.__name__ for cls in REGISTRY.classes() if not any(base in _RULES for base in cls.__mro__)}
    assert without == set(BY_POSITION.split())


def nested(rng, rank, depth):
    """A layer, or a container whose branches keep the size."""
    if depth == 0 or rng.random() < 0.3:
        options = {"padding": "same", "dilation_rate": int(rng.integers(1, 3))}
        return getattr(layers, f"Conv{rank}D")(1, int(rng.integers(1, 4)), **options)
    branches = [
        [nested(rng, rank, depth - 1) for _ in range(int(rng.integers(0, 3)))]
        for _ in range(int(rng.integers(1, 4)))
    ]
    if rng.random() < 0.5:
        return layers.Residual(branches[0], None if len(branches) == 1 else branches[1])
    return layers.Parallel(branches, merge="add")


@pytest.mark.parametrize("seed", range(20))
def test_fields_through_nested_branches(seed):
    rng = np.random.default_rng(seed)
    rank = 1 + seed % 2
    stack = [nested(rng, rank, 3)]
    if seed % 3 == 0:
        stack.append(getattr(layers, f"AveragePooling{rank}D")(2))
        stack.append(nested(rng, rank, 2))
    sizes = (40,) if rank == 1 else (16, 15)
    _, field, seen = check(stack, sizes)
    # In the middle, where nothing is cut off, the field is reached on both sides.
    middle = tuple(n // 2 for n in seen.shape[rank:])
    expected = field.of(*middle)
    if all(first >= 0 and last < n for (first, last), n in zip(expected, sizes, strict=True)):
        assert hulls(seen[(..., *middle)], rank) == expected


def test_branches_of_different_speed():
    # One branch strides, the other crops: no common jump, but fields that hold.
    branches = [[layers.AveragePooling1D(2)], [layers.Cropping1D((1, 3))]]
    _, field, _ = check([layers.Parallel(branches, merge="add"), layers.Conv1D(1, 2)], (8,))
    assert field.of(0) == ((0, 3),)


def vgg16():
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        yield from (layers.Conv2D(filters // 64, 3, padding="same") for _ in range(count))
        yield layers.MaxPooling2D(2)


def test_published_sizes():
    # Araujo, Norris and Sim (2019), table 1: VGG-16 up to the last pool, without and with it.
    model = gn.Sequential([gn.Input((224, 224, 3)), *vgg16()])
    fields = inspect.receptive_field(model)
    assert fields[-1].size == (212, 212)
    assert fields[-1].jump == (32, 32)
    assert fields[-2].size == (196, 196)


def test_layers_that_see_everything():
    model = gn.Sequential(
        [gn.Input((12, 10, 1)), layers.Conv2D(2, 3, padding="same"), layers.Flatten(), layers.Dense(3)]
    )
    conv, flat, dense = inspect.receptive_field(model)
    assert conv.outputs == (12, 10)
    for field in (flat, dense):
        assert (field.size, field.jump, field.start) == ((14, 12), (0, 0), (-1, -1))
        assert field.padding_reach == ((1, 1), (1, 1))
        assert field.of() == ((-1, 12), (-1, 10))


def test_open_sizes():
    model = gn.Sequential([gn.Input((None, 2)), layers.Conv1D(2, 3)])
    with pytest.raises(ValueError, match="pass input_shape"):
        inspect.receptive_field(model)
    assert inspect.receptive_field(model, (9, 2))[0].outputs == (7,)
    with pytest.raises(ValueError, match="no spatial axes"):
        inspect.receptive_field(gn.Sequential([gn.Input((4,)), layers.Dense(2)]))
    with pytest.raises(TypeError, match="Sequential"):
        inspect.receptive_field(layers.Conv1D(1, 1))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same", "causal", 1, [(2, 0)]])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (2, 3, 1), (3, 2, 2), (1, 2, 1)])
def test_arithmetic(kernel, stride, dilation, padding, transposed):
    if transposed and padding == "causal":
        with pytest.raises(ValueError, match="padding"):
            inspect.conv_arithmetic(8, kernel, stride, padding, dilation, transposed=True)
        return
    answer = inspect.conv_arithmetic(8, kernel, stride, padding, dilation, transposed)
    cls = layers.Conv1DTranspose if transposed else layers.Conv1D
    try:
        layer = cls(1, kernel, strides=stride, padding=padding, dilation_rate=dilation)
        model = gn.Sequential([gn.Input((8, 1)), layer], dtype="float64")
    except gn.errors.ShapeError:
        pytest.fail("the arithmetic found outputs where there are none")
    assert model.output_shape[1] == answer.output
    layer.kernel = np.ones_like(layer.kernel)
    seen = support(model, (8,))
    for position, expected in enumerate(answer.sees):
        found = np.flatnonzero(seen[:, position]).tolist()
        assert found == [i for i in expected if 0 <= i < 8]
    assert str(answer).splitlines()[-1].endswith(f"{answer.output}.")


def test_no_output():
    with pytest.raises(gn.errors.ShapeError):
        inspect.conv_arithmetic(3, 5)


def test_fields_in_one_of_several_inputs():
    image, age = gn.Input((9, 9, 1), name="image"), gn.Input((2,), name="age")
    x = layers.Conv2D(2, 3, strides=2, name="conv")(image)
    x = layers.Conv2D(2, 2, name="further")(x)
    known = layers.Dense(2, name="known")(age)
    y = layers.concatenate([layers.GlobalMaxPooling2D(name="top")(x), known], name="both")
    model = gn.Model([image, age], layers.Dense(1, name="end")(y))
    found = {field.name: field for field in gn.inspect.receptive_field(model)}
    assert list(found) == ["conv", "further", "top", "both", "end"]
    assert found["further"].size == (5, 5)
    assert found["end"].of() == ((0, 8), (0, 8))
    assert gn.inspect.receptive_field(model, input_name="image")[1].size == (5, 5)
    with pytest.raises(ValueError, match="no spatial axes"):
        gn.inspect.receptive_field(model, input_name="age")
    with pytest.raises(ValueError, match="one of image, age"):
        gn.inspect.receptive_field(model, input_name="other")
    text = []
    model.summary(print_fn=text.append)
    assert "5 x 5" in text[0]
    other = gn.Input((5, 5, 1), name="other")
    two = gn.Model([image, other], layers.add([x, layers.Conv2D(2, 3, name="own")(other)]))
    with pytest.raises(ValueError, match="choose one by input_name"):
        gn.inspect.receptive_field(two)
    assert [field.name for field in gn.inspect.receptive_field(two, input_name="other")] == ["own", "add"]
    assert [field.size for field in gn.inspect.receptive_field(two, input_name="other")] == [(3, 3)] * 2
