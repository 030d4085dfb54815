"""Weights of PyTorch: the files of tools/make_torch_files.py, what differs there, and bad files."""

import json
import os
import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import errors, layers
from gridnn.interop import safetensors

pytestmark = pytest.mark.one_tier

FILES = Path(__file__).parent / "torch_files"
NORM = {"epsilon": 1e-5, "momentum": 0.9}

TWINS = {
    "convolutions": [
        gn.Input((8, 10, 3)),
        *[layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization(**NORM), layers.ReLU()],
        layers.Conv2D(6, 3, padding="same", activation="relu"),
        layers.Conv2D(6, 3, padding="same", groups=3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, padding="same", activation="relu"),
        layers.Conv2D(6, 3, padding="same", use_bias=False),
        *[layers.BatchNormalization(**NORM), layers.ReLU()],
        *[layers.Flatten(), layers.Dense(7, activation="relu"), layers.Dense(7)],
    ],
    "decoder": [
        *[gn.Input((5,)), layers.Dense(24), layers.BatchNormalization(**NORM), layers.ReLU()],
        layers.Reshape((3, 2, 4)),
        layers.Conv2DTranspose(6, 3, strides=2, padding=1, output_padding=1),
        *[layers.BatchNormalization(**NORM), layers.LeakyReLU(0.1)],
        layers.Conv2DTranspose(4, 4, strides=2, padding=1, groups=2, use_bias=False),
    ],
    "depthwise": [
        gn.Input((9, 8, 3)),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6"),
        layers.SeparableConv2D(5, (3, 5), strides=2, padding=((1, 1), (2, 2)), depth_multiplier=2),
        layers.Activation("softsign"),
    ],
    "series": [
        *[gn.Input((30, 2)), layers.Conv1D(8, 3, padding="same", dilation_rate=2)],
        *[layers.BatchNormalization(**NORM), layers.Activation("gelu")],
        layers.Conv1D(8, 5, strides=2, padding=2, use_bias=False),
        *[layers.BatchNormalization(**NORM), layers.Activation("silu")],
        *[layers.GlobalAveragePooling1D(), layers.Dense(4)],
    ],
    "volumes": [
        *[gn.Input((4, 6, 8, 2)), layers.Conv3D(4, (1, 3, 3), padding="same")],
        *[layers.BatchNormalization(**NORM), layers.ELU(), layers.AveragePooling3D(2)],
        *[layers.Conv3D(6, 2, activation="tanh"), layers.Flatten(), layers.Dense(5)],
    ],
    "flattened": [
        *[gn.Input((5, 7, 1)), layers.Conv2D(4, 3), layers.Flatten()],
        *[layers.BatchNormalization(**NORM), layers.PReLU(), layers.Dropout(0.5)],
        *[layers.LayerNormalization(epsilon=1e-5), layers.Dense(6), layers.PReLU(shared_axes=1)],
        layers.Dense(3, use_bias=False),
    ],
    "residual": [
        *[gn.Input((6, 7, 3)), layers.Conv2D(4, 3, padding="same", name="stem")],
        layers.Residual(
            [
                layers.Conv2D(4, 3, padding="same", name="first"),
                layers.BatchNormalization(**NORM, name="norm"),
                layers.ReLU(),
                layers.Conv2D(4, 3, padding="same", name="second"),
            ],
            shortcut=[
                layers.Conv2D(4, 1, name="short"),
                layers.BatchNormalization(**NORM, name="short_norm"),
            ],
        ),
        *[layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(5, name="head")],
    ],
    "normalizations": [
        *[gn.Input((6, 7, 2)), layers.Conv2D(6, 3)],
        *[layers.LayerNormalization(axis=(1, 2, 3), epsilon=1e-5), layers.PReLU(shared_axes=(1, 2))],
        *[layers.GroupNormalization(3, epsilon=1e-5), layers.PReLU(shared_axes=(1, 2, 3))],
        *[layers.GroupNormalization(-1, epsilon=1e-5), layers.Conv2D(3, 2)],
    ],
    "transposed": [
        *[gn.Input((5, 3)), layers.Conv1DTranspose(4, 5, strides=3, padding=1, activation="relu")],
        layers.Conv1D(2, 1),
    ],
    "transposed3d": [
        gn.Input((2, 3, 2, 2)),
        layers.Conv3DTranspose(
            3, (2, 3, 1), strides=2, padding=0, output_padding=(1, 0, 1), activation="relu"
        ),
        layers.Conv3D(2, 1),
    ],
    "halves": [
        *[gn.Input((4, 5, 1)), layers.Conv2D(8, 3), layers.BatchNormalization(epsilon=1e-3, momentum=0.99)],
        *[layers.Flatten(), layers.Dense(4)],
    ],
}
MORE = {
    "residual": {
        "mapping": {
            "stem": "stem",
            "body": "first",
            "after": "second",
            "norm": "norm",
            "downsample.0": "short",
            "downsample.1": "short_norm",
            "aux": None,
        }
    },
    "halves": {"prefix": "backbone."},
}


def twin(name):
    return gn.Sequential([layer.__copy__() for layer in TWINS[name]], seed=0)


def channels_first(array):
    return np.moveaxis(array, -1, 1)


@pytest.fixture(scope="module")
def expected():
    with np.load(FILES / "expected.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", TWINS)
def test_networks_of_pytorch_give_its_outputs(name, expected):
    model = twin(name)
    model.load_weights(FILES / f"{name}.safetensors", source="pytorch", **MORE.get(name, {}))
    x = np.moveaxis(expected[f"{name}.x"], 1, -1)
    y = channels_first(model.predict(x, verbose=0))
    np.testing.assert_allclose(y, expected[f"{name}.y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(TWINS) - {"residual", "halves"}))
def test_what_goes_out_is_what_came_in(name):
    model = twin(name)
    path = FILES / f"{name}.safetensors"
    model.load_weights(path, source="pytorch")
    state = gn.interop.to_torch_state_dict(model)
    tensors, _ = safetensors.read(path)
    theirs = [array for key, array in tensors.items() if not key.endswith("num_batches_tracked")]
    assert len(state) == len(theirs)

    def sortable(array):
        return array.shape, array.astype(np.float32).tobytes()

    assert sorted(map(sortable, state.values())) == sorted(map(sortable, theirs))
    again = twin(name)
    again.load_weights(state, source="pytorch")
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


class Tensor:
    """What `torch.Tensor` offers, as far as it is used."""

    def __init__(self, array, dtype="torch.float32"):
        self._array, self.dtype = array, dtype

    def detach(self):
        return Tensor(self._array, self.dtype)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self._array)

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array


def small(**options):
    return gn.Sequential(
        [gn.Input((4, 4, 2)), layers.Conv2D(3, 3, **options), layers.Flatten(), layers.Dense(2)]
    )


def state(**more):
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (3, 2, 3, 3), "0.bias": (3,), "2.weight": (2, 12), "2.bias": (2,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} | more


def test_tensors_are_taken_as_they_are():
    model, other = small(), small()
    model.load_weights(state(), source="pytorch")
    tensors = {f"module._orig_mod.{name}": Tensor(array) for name, array in state().items()}
    tensors["module._orig_mod.2.bias"].dtype = "torch.bfloat16"
    other.load_weights(tensors, source="pytorch")
    assert all(map(np.array_equal, other.get_weights(), model.get_weights()))
    kernel = model.layers[0].kernel
    assert kernel.shape == (3, 3, 2, 3)
    assert kernel[1, 2, 0, 2] == state()["0.weight"][2, 0, 1, 2]


def refused(model, given, message, error=ValueError, **options):
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        model.load_weights(given, source="pytorch", **options)
    assert all(map(np.array_equal, before, model.get_weights()))
    return str(caught.value)


def test_what_does_not_fit_is_shown_side_by_side():
    text = refused(small(), state(**{"4.weight": np.ones((2, 2))}), "kind 'linear'")
    assert "4: weight(2,2)" in text
    assert "conv2d: weight(3,2,3,3) bias(3,)" in text
    model = small(use_bias=False)
    refused(model, state(), r"the module has 'bias', the layer has not \(`use_bias`")
    refused(small(), state(**{"0.weight": np.ones((3, 2, 2, 2))}), r"takes \(3, 2, 3, 3\)", errors.ShapeError)
    refused(small(), state(**{"0.weight_g": np.ones(3)}), "kind '2-D convolution'")
    refused(small(), {}, "none at all")
    refused(small(), state(), "begins with prefix='net.'", prefix="net.")
    refused(small(), state(**{"module.0.bias": np.ones(3)}), "holds '0.bias' twice")
    refused(small(), state(**{"0.bias": ["a"]}), "state dict: 0.bias", TypeError)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (None, {}, "`path` argument must be a path .* or a state dict.*NoneType"),
        (3, {}, "`path` argument must be a path"),
        ([("0.weight", 1)], {}, "`path` argument must be a path"),
        ({}, {"mapping": 3}, "`mapping` argument must be a dict"),
        ({}, {"mapping": [("0", "conv2d")]}, "`mapping` argument must be a dict"),
        ({}, {"prefix": 3}, "`prefix` argument must be a string"),
        ({}, {"prefix": None}, "`prefix` argument must be a string"),
        ({1: np.ones(3)}, {}, "Received 1 of type int"),
        ({"epoch": "x", "net": state()}, {}, r"checkpoint\['net'\]"),
    ],
)
def test_arguments_of_wrong_types_say_what_is_taken(given, options, message):
    refused(small(), given, message, TypeError, **options)


@pytest.mark.parametrize("read", [gn.load_model, small().load_weights, gn.from_onnx])
@pytest.mark.parametrize("path", [3, None, 1.5, ["x"]])
def test_numbers_of_open_files_are_no_paths(read, path):
    with pytest.raises(TypeError, match="`path` argument must be a path"):
        read(path)


def test_names_cannot_do_anything_to_a_terminal():
    names = ["\x1b[2J.weight", "two\nlines.weight", "\udc80.weight", "x" * 10_000 + ".weight"]
    text = refused(small(), state(**dict.fromkeys(names, np.ones((2, 2)))), "kind 'linear'")
    assert text.encode()
    assert not set(text) & {"\x1b", "\udc80"}
    assert max(map(len, text.splitlines())) < 250
    for name in names:
        shown = refused(small(), {name: np.ones((2, 2))}, "begins with prefix", prefix="net.")
        assert shown.isprintable()
        assert len(shown) < 400
        shown = refused(small(), {name: ["a"]}, "state dict: ", TypeError)
        assert shown.isprintable()
        assert len(shown) < 400


def test_tables_of_many_modules_are_cut():
    many = {f"layers.{n}.weight": np.ones((2, 2), np.float32) for n in range(100_000)}
    text = refused(small(), many, "has 0, the model 1")
    assert len(text.splitlines()) == 23
    assert "... and 99980 more" in text


def test_numbers_that_make_every_output_nan():
    model = gn.Sequential([gn.Input((4,)), layers.BatchNormalization(**NORM)])
    arrays = {name: np.ones(4, np.float32) for name in ("weight", "bias", "running_mean", "running_var")}
    given = {f"norm.{name}": array for name, array in arrays.items()}
    given["norm.running_var"][1] = -0.5
    refused(model, given, r"'norm\.running_var' is a variance, and its lowest value is -0\.5")
    given["norm.running_var"][1] = np.nan
    with pytest.warns(RuntimeWarning, match=r"'norm\.running_var' holds NaN"):
        model.load_weights(given, source="pytorch")
    given = state()
    given["0.weight"][0, 0, 0, 0] = np.inf
    with pytest.warns(RuntimeWarning, match=r"'0\.weight' holds NaN or infinite"):
        small().load_weights(given, source="pytorch")


def graph(seed):
    """Two inputs, two outputs, and a model that is called twice."""
    image = gn.Input((6, 5, 2))
    eye = gn.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3)(image))), name="eye")
    left, right, age = gn.Input((6, 5, 2)), gn.Input((6, 5, 2)), gn.Input((3,))
    both = layers.concatenate([layers.subtract([eye(left), eye(right)]), layers.Dense(4)(age)])
    flat = layers.concatenate([layers.Flatten()(left), both])
    outputs = [layers.Dense(2, name="kind")(flat), layers.Dense(1, name="risk")(both)]
    return gn.Model([left, right, age], outputs, seed=seed)


def test_graphs_take_weights_and_give_them_back():
    model, other = graph(0), graph(1)
    given = gn.interop.to_torch_state_dict(model)
    assert {name: array.shape for name, array in given.items() if "weight" in name} == {
        "eye.conv2d.weight": (2, 2, 3, 3),
        "eye.dense.weight": (3, 24),
        "dense.weight": (4, 3),
        "kind.weight": (2, 67),
        "risk.weight": (1, 7),
    }
    other.load_weights(given, source="pytorch")
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))
    flat = given["kind.weight"][:, :60].reshape(2, 2, 6, 5)  # channels first there
    kernel = model.get_layer("kind").kernel[:60].reshape(6, 5, 2, 2)
    np.testing.assert_array_equal(flat, kernel.transpose(3, 2, 0, 1))


def test_mappings_name_modules_and_layers():
    model = small()
    model.load_weights(state(), source="pytorch", mapping={"0": "conv2d", "2": "dense"})
    model.load_weights(state(**{"aux.weight": np.ones((2, 2))}), source="pytorch", mapping={"aux": None})
    refused(model, state(), "names the module 'x'", mapping={"x": "conv2d"})
    refused(model, state(), "'flatten', which has no weights", mapping={"0": "flatten"})
    refused(model, state(), "'dense', twice", mapping={"2": "dense", "0": "dense"})


def test_equal_names_go_before_the_order():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2, name="b"), layers.Dense(2, name="a")])
    given = {f"{name}.{part}": np.full(shape, float(ord(name)))
             for name in "ab" for part, shape in (("weight", (2, 2)), ("bias", (2,)))}  # fmt: skip
    model.load_weights(given, source="pytorch")
    assert model.get_layer("a").bias[0] == ord("a")


def write(path, entries, data=b"", *, header=None):
    text = (json.dumps(entries) if header is None else header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def plain(tensors):
    """Entries and bytes as `safetensors` writes them: in alphabetical order."""
    entries, data = {}, b""
    for name in sorted(tensors):
        array = np.asarray(tensors[name], np.float32)
        offsets = [len(data), len(data) + array.nbytes]
        entries[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    return entries, data


def test_files_do_not_say_which_of_two_modules_comes_first(tmp_path):
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2), layers.Dense(2)])
    named = {"stem.weight": np.ones((2, 2)), "stem.bias": np.ones(2)}
    named |= {"head.weight": np.zeros((2, 2)), "head.bias": np.zeros(2)}
    path = write(tmp_path / "net.safetensors", *plain(named))
    text = refused(model, path, "'head' and 'stem' have the same shapes", errors.FileFormatError)
    assert "net.safetensors" in text
    model.load_weights(named, source="pytorch")  # a state dict has them in the order of the network
    assert model.layers[0].bias[0] == 1
    model.load_weights(path, source="pytorch", mapping={"head": "dense_1"})
    assert model.layers[0].bias[0] == 1
    numbered = {f"layers.{n}.{part}": np.full((2, 2) if part == "weight" else 2, n)
                for n in (9, 10) for part in ("weight", "bias")}  # fmt: skip
    path = write(tmp_path / "net.safetensors", *plain(numbered))
    model.load_weights(path, source="pytorch")
    assert model.layers[0].bias[0] == 9


def test_constants_that_differ_say_what_to_set():
    def norm(cls, **options):
        return gn.Sequential([gn.Input((4, 2)), cls(**options)])

    scaling = {"0.weight": np.ones(2), "0.bias": np.ones(2)}
    moving = {"0.running_mean": np.ones(2), "0.running_var": np.ones(2), "0.num_batches_tracked": np.array(3)}
    given = scaling | moving
    refused(norm(layers.BatchNormalization), given, "make the layer with epsilon=1e-05")
    refused(norm(layers.BatchNormalization, epsilon=1e-5), given, "make the layer with momentum=0.9")
    refused(norm(layers.LayerNormalization), scaling, "make the layer with epsilon=1e-05")
    own = {"0.eps": np.float32(1e-3), "0.momentum": np.float32(0.01)}
    norm(layers.BatchNormalization).load_weights(given | own, source="pytorch")
    refused(norm(layers.BatchNormalization, **NORM), given | own, "make the layer with epsilon=0.001")
    bare = norm(layers.BatchNormalization, **NORM, scale=False, center=False)
    bare.load_weights(moving, source="pytorch")
    refused(bare, given, "the module has 'bias'")
    half = norm(layers.BatchNormalization, **NORM, scale=False)
    half.load_weights(given, source="pytorch")  # its scale is 1, and so is theirs
    refused(half, given | {"0.weight": np.full(2, 2.0)}, "scale=True")
    assert np.array_equal(gn.interop.to_torch_state_dict(half)["batch_normalization.weight"], [1, 1])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.PReLU(), r"shared_axes=\(1, 2\)"),
        (layers.BatchNormalization(axis=1, **NORM), "over axis 1"),
        (layers.LayerNormalization(axis=(1, 3)), r"over the axes \(1, 3\)"),
        (layers.LayerNormalization(axis=(1, 2, 3), center=False), "both `center` and `scale`"),
    ],
)
def test_layers_without_an_equal_are_named(layer, message):
    model = gn.Sequential([gn.Input((4, 5, 2)), layer.__copy__()])
    with pytest.raises(ValueError, match=f"'{model.layers[0].name}'.*no equal in PyTorch.*{message}"):
        gn.interop.to_torch_state_dict(model)


def test_flattened_grids_are_followed_through_branches():
    def model(middle):
        return gn.Sequential(
            [gn.Input((3, 4, 2)), layers.Conv2D(5, 2), layers.Flatten(), *middle, layers.Dense(3)]
        )

    both = model([layers.Parallel([[layers.ReLU()], [layers.Dense(4)], []], "concat")])
    kernel = both.layers[-1].kernel
    weight = gn.interop.to_torch_state_dict(both)["dense_1.weight"]
    first = np.moveaxis(kernel[:30].reshape(2, 3, 5, 3), 2, 0).reshape(30, 3)
    last = np.moveaxis(kernel[34:].reshape(2, 3, 5, 3), 2, 0).reshape(30, 3)
    assert np.array_equal(weight, np.concatenate([first, kernel[30:34], last]).T)
    with pytest.raises(ValueError, match=r"'repeat_vector' \(RepeatVector\).*cannot be told"):
        gn.interop.to_torch_state_dict(model([layers.RepeatVector(2)]))
    with pytest.raises(ValueError, match="'reshape'"):
        gn.interop.to_torch_state_dict(model([layers.Reshape((5, 6)), layers.Flatten()]))
    with pytest.raises(ValueError, match="'residual'"):
        gn.interop.to_torch_state_dict(model([layers.Residual([layers.Dense(30)])]))


def test_arguments_of_other_sources_are_refused(tmp_path):
    model = small()
    with pytest.raises(TypeError, match='source="pytorch"'):
        model.load_weights(state())
    with pytest.raises(ValueError, match="`mapping` and `prefix`"):
        model.load_weights(tmp_path / "x", prefix="a.")
    with pytest.raises(ValueError, match="`source`"):
        model.load_weights(tmp_path / "x", source="caffe")
    with pytest.raises(errors.NotReadyError):
        gn.Sequential([layers.Dense(2)]).load_weights(state(), source="pytorch")


# Files


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("entries", "data", "message"),
    [
        ({"a": ENTRY}, bytes(7), "7 bytes of tensors instead of 8"),
        ({"a": ENTRY}, bytes(9), "9 bytes of tensors instead of 8"),
        ({"a": ENTRY, "b": ENTRY}, bytes(8), "'b' overlaps"),
        ({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12), "leaves a gap"),
        ({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8), "takes -8 bytes"),
        ({"a": {**ENTRY, "shape": [2**40]}}, bytes(8), "takes 8 bytes"),
        ({"a": {**ENTRY, "shape": [2**62, 0], "data_offsets": [0, 0]}}, b"", "has shape"),
        ({"a": {**ENTRY, "shape": [1] * 40}}, bytes(4), "40 axes"),
        ({"a": {**ENTRY, "shape": [-2]}}, bytes(8), "no counts"),
        ({"a": {**ENTRY, "shape": [True, 2]}}, bytes(8), "no counts"),
        ({"a": {**ENTRY, "dtype": "F8_E4M3"}}, bytes(8), "of type 'F8_E4M3'"),
        ({"a": {**ENTRY, "dtype": ["F32"]}}, bytes(8), "of type"),
        ({"a": {**ENTRY, "more": 1}}, bytes(8), "entry of tensor 'a'"),
        ({"a": 3}, bytes(8), "entry of tensor 'a'"),
        ({"__metadata__": {"x": 1}}, b"", "__metadata__"),
        ([], b"", "no JSON object"),
    ],
)
def test_damaged_files_say_what_is_wrong(tmp_path, entries, data, message):
    path = write(tmp_path / "x.safetensors", entries, data)
    with pytest.raises(errors.FileFormatError, match=message):
        safetensors.read(path)


@pytest.mark.parametrize(
    "header", ['{"a": 1, "a": 2}', "[" * 100_000, '{"a"', "{\udc80}", '{"a": 1' + "1" * 5000]
)
def test_damaged_headers(tmp_path, header):
    text = header.encode("utf-8", "surrogateescape")
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(errors.FileFormatError, match=r"x\.safetensors: .*(header|entry)"):
        safetensors.read(path)


@pytest.mark.parametrize("contents", [b"", b"\0" * 8, b"\xff" * 16, b"PK\3\4" + bytes(100)])
def test_other_files(tmp_path, contents):
    path = tmp_path / "x.safetensors"
    path.write_bytes(contents)
    with pytest.raises(errors.FileFormatError, match="no safetensors file"):
        safetensors.read(path)
    with pytest.raises(errors.FileFormatError, match="not a regular file"):
        safetensors.read(tmp_path)


@pytest.mark.parametrize("start", [b"PK\3\4", b"\x80\2}q"])
def test_pickles_are_named(tmp_path, start):
    path = tmp_path / "net.pt"
    path.write_bytes(start + bytes(100))
    refused(small(), path, r"net\.pt.*torch\.save.*save_file", errors.FileFormatError)
    (tmp_path / "x").write_bytes((FILES / "convolutions.safetensors").read_bytes())
    with pytest.raises(errors.FileFormatError, match='source="pytorch"'):
        small().load_weights(tmp_path / "x")


def test_half_precision_is_widened(tmp_path):
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    entries = {
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]},
        "h": {"dtype": "F16", "shape": [3, 1], "data_offsets": [6, 12]},
        "__metadata__": {"format": "pt"},
    }
    data = upper.tobytes() + values.astype(np.float16).tobytes()
    tensors, texts = safetensors.read(write(tmp_path / "x.safetensors", entries, data))
    assert np.array_equal(tensors["b"], values)
    assert tensors["h"].shape == (3, 1)
    assert tensors["h"].dtype == np.float32
    assert texts == {"format": "pt"}


def mutated(contents, rng):
    changed = bytearray(contents)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 9)]
        else:
            changed[at:at] = rng.choice((b"9", b"0", b"-", b'"', b"[", b"}", b"e9", b"\0\0"))
        changed = changed or bytearray(1)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore:.*holds NaN or infinite:RuntimeWarning")
def test_mutated_files_are_read_or_refused():
    rng = random.Random(0)
    files = [path.read_bytes() for path in sorted(FILES.glob("*.safetensors"))]
    read = 0
    count = 20_000 if os.environ.get("GRIDNN_INTERCHANGE") else 2000
    for number in range(count):
        contents = mutated(files[number % len(files)], rng)
        try:
            safetensors.parse(contents)
            read += 1
        except errors.FileFormatError:
            pass
    assert 0 < read < count


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "from-pytorch.md"


def test_the_cells_of_the_page():
    cells = re.findall(r"```\{code-cell\}\n(?::tags:.*?\n)?(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(cells) == 4
    names = {}
    for cell in cells:
        exec(compile(cell, str(PAGE), "exec"), names)  # noqa: S102
    assert sorted(names["arrays"])[0] == "batch_normalization.bias"
