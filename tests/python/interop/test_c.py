"""C headers: networks, names, memory, what is refused, compilers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_checks import COMPILER, FLAGS, Bundle, needs_compiler, run

import gridnn as gn
from gridnn import layers, models
from gridnn.cli import main
from gridnn.interop.c import verification, writer
from gridnn.interop.c.code import identifier, number
from gridnn.interop.c.writer import to_bytes

pytestmark = pytest.mark.one_tier

CPP = shutil.which("g++") or shutil.which("c++")
THOROUGH = bool(os.environ.get("GRIDNN_INTERCHANGE"))


def small(name="small", **options):
    return gn.Sequential(
        [gn.Input((6, 6, 1)), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(3)],
        seed=1,
        name=name,
        **options,
    )


def spread_statistics(model):
    """Moving statistics as after training."""
    weights = model.get_weights()
    for place, info in enumerate(model.network.weights):
        if info.name in ("moving_mean", "beta"):
            weights[place] += 0.1 * ((-1.0) ** place)
        elif info.name in ("moving_variance", "gamma"):
            weights[place] *= 1.25
    model.set_weights(weights)
    return model


def normalized(rank):
    """Layers of all ranks one after the other, with batch normalization in and out of weights."""
    one = {1: "1D", 2: "2D", 3: "3D"}[rank]
    make = {
        key: getattr(layers, key + one) for key in ("Conv", "DepthwiseConv", "SeparableConv", "ZeroPadding")
    }
    shape = (9, 8, 10)[-rank:]
    return spread_statistics(
        gn.Sequential(
            [
                gn.Input((*shape, 3)),
                layers.Rescaling(0.5, -0.25),
                make["Conv"](5, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(max_value=2.0),
                make["DepthwiseConv"](3, padding="same", depth_multiplier=2),
                layers.BatchNormalization(),
                make["SeparableConv"](70, 3, use_bias=False),
                layers.BatchNormalization(scale=False),
                layers.Dropout(0.5),
                layers.Activation("gelu"),
                getattr(layers, "MaxPooling" + one)(2, padding="same"),
                make["Conv"](129, 2, groups=1),
                layers.GroupNormalization(groups=3),
                getattr(layers, f"Conv{one}Transpose")(4, 3, strides=2, padding="same"),
                layers.BatchNormalization(),
                make["Conv"](8, 3, padding="same", padding_mode="reflect", groups=4),
                layers.LayerNormalization(),
                getattr(layers, "GlobalAveragePooling" + one)(),
                layers.Dense(11),
                layers.BatchNormalization(center=False),
                layers.Dense(3, "softmax"),
            ],
            seed=rank,
        )
    )


def six(name):
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import six_models

    return six_models.build(name)


NETWORKS = {
    "normalized1": lambda: normalized(1),
    "normalized2": lambda: normalized(2),
    "normalized3": lambda: normalized(3),
    "lenet5": models.lenet5,
    "vgg11": lambda: models.vgg(11, (32, 32, 3), 10, width=4, units=32),
    "mobilenet": lambda: spread_statistics(models.mobilenet((32, 32, 3), 10, alpha=0.25)),
    "fcn": lambda: spread_statistics(models.fcn((24, 2), 3, filters=(4, 8, 4))),
    **{
        name.replace("-", "_"): (lambda name=name: six(name))
        for name in ("mnist-convnet", "cifar-vgg", "seed-128", "audio-1d", "voxel-3d")
    },
}

SLOW = {"cifar_vgg", "mobilenet", "seed_128", "voxel_3d"}
"""Compilers take seconds for them."""


@needs_compiler
@pytest.mark.parametrize("name", [name for name in NETWORKS if THOROUGH or name not in SLOW])
def test_network(name, tmp_path):
    model = NETWORKS[name]()
    Bundle(tmp_path, {name: model}).expect_equal(name, samples=2)


@needs_compiler
def test_sanitizers(tmp_path):
    """No access beside an array, no undefined behaviour; the arena holds NaN before."""
    flags = ["-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    names = ("normalized1", "normalized2", "normalized3", "lenet5") if THOROUGH else ("normalized2",)
    bundle = Bundle(tmp_path, {name: NETWORKS[name]() for name in names}, flags)
    for name in names:
        bundle.expect_equal(name)


@pytest.mark.skipif(CPP is None, reason="no C++ compiler")
def test_cpp(tmp_path):
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2"]
    bundle = Bundle(tmp_path, {"net": normalized(2), "lenet5": models.lenet5()}, flags, "c++", [CPP])
    bundle.expect_equal("net")
    bundle.expect_equal("lenet5")


@needs_compiler
@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang")
def test_clang(tmp_path):
    Bundle(tmp_path, {"net": normalized(2)}, command=["clang"]).expect_equal("net")


@needs_compiler
def test_alone_and_in_two_files(tmp_path):
    """A header compiles by itself, as an object with a symbol, and included in two files of one program."""
    (tmp_path / "net.h").write_bytes(to_bytes(small(), "net")[0])
    flags = [COMPILER, *FLAGS, "-x", "c", "-c", "net.h", "-o"]
    run([*flags, "alone.o"], tmp_path)
    run([*flags, "net.o", "-DNET_API="], tmp_path)
    call = "net_predict(x, x + 36, x + 39);"
    declared = "void net_predict(const float *input, float *output, float *arena);\n"
    (tmp_path / "user.c").write_text(
        f"{declared}int main(void) {{ float x[99] = {{0}}; {call} return 0; }}\n"
    )
    run([COMPILER, "user.c", "net.o", "-lm", "-o", "linked"], tmp_path)
    for name in ("one", "two"):
        body = f"void {name}(float *x);\nvoid {name}(float *x) {{ {call} }}\n"
        (tmp_path / f"{name}.c").write_text(f'#include "net.h"\n{body}')
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    run([COMPILER, *FLAGS, "one.c", "two.c", "main.c", "-lm", "-o", "both"], tmp_path)


@needs_compiler
def test_two_networks_of_one_name(tmp_path):
    """Names that become the same identifier are an error of the compiler, not one network for the other."""
    (tmp_path / "a-b.h").write_bytes(to_bytes(small(), identifier("a-b.h"))[0])
    (tmp_path / "a_b.h").write_bytes(to_bytes(models.lenet5(), identifier("a_b.h"))[0])
    (tmp_path / "main.c").write_text('#include "a-b.h"\n#include "a_b.h"\nint main(void) { return 0; }\n')
    done = subprocess.run([COMPILER, "main.c"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "two different networks are called a_b" in done.stderr


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("net.h", "net"),
        ("models/My Net.h", "My_Net"),
        ("5x5.h", "net_5x5"),
        ("__net__.h", "net"),
        ("int.h", "int"),
        ('say "hi" *.h', "say_hi"),
        ("größe.v2.h", "gr_e_v2"),
        ("模型.h", "net"),
        (".h", "h"),
        (b"a'b.h", "a_b"),
    ],
)
def test_identifiers(path, name):
    assert identifier(path) == name


@needs_compiler
@pytest.mark.parametrize(
    "path", ["int.h", "for.h", "5x5.h", 'quote".h', "a'b.h", "back\\slash.h", "größe.h", "x" * 200 + ".h"]
)
def test_odd_file_names(path, tmp_path):
    header = small().export(tmp_path / path)
    assert header.function == identifier(path) + "_predict"
    assert header.function.encode() in (tmp_path / path).read_bytes()


@needs_compiler
@pytest.mark.parametrize(
    "name",
    ["*/ int x; /*", "a??/", "what??!", "back\\", '"quoted"', "µ-net", "%s%n", "two\nlines", "//"],
)
def test_odd_names_of_models_layers_and_classes(name, tmp_path):
    own = name.replace("/", "").replace("\n", "") or "plain"  # others are refused there
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2, name=own)], name=own)
    model.export(tmp_path / "net.h", class_names=[name, "other"])
    contents = (tmp_path / "net.h").read_text("ascii")
    program = (
        '#include <stdio.h>\n#include "net.h"\n'
        "int main(void) { static const char *const names[] = NET_CLASS_NAMES; puts(names[0]); return 0; }\n"
    )
    (tmp_path / "main.c").write_text(program)
    run([COMPILER, *FLAGS, "main.c", "-lm", "-o", "names"], tmp_path)
    shown = subprocess.run([tmp_path / "names"], capture_output=True, check=True).stdout
    assert shown.decode().rstrip("\n") == name
    assert contents.count("*/") == contents.count("/*")


def test_sizes():
    """Two arrays, and what shrinks in its place: the input and the output are the caller's."""
    model = gn.Sequential(
        [
            gn.Input((28, 28, 1)),
            layers.Conv2D(8, 3),  # 26 * 26 * 8 = 5408
            layers.MaxPooling2D(2),  # in its place
            layers.ReLU(),
            layers.Conv2D(16, 3),  # 11 * 11 * 16 = 1936
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    contents, header = to_bytes(model, "net")
    assert (header.input_size, header.output_size) == (784, 10)
    assert header.arena_size == 5408
    assert header.weight_count == model.count_params()
    for line in ("NET_INPUT_SIZE 784", "NET_OUTPUT_SIZE 10", "NET_ARENA_SIZE 5408"):
        assert f"#define {line}\n".encode() in contents
    assert str(header) == (
        "net_predict: 784 floats (3136 bytes) in, 10 floats (40 bytes) out, arena of 5,408 floats (21.6 kB), "
        f"constants of {header.weight_count:,} floats ({4 * header.weight_count / 1000:.1f} kB)"
    )


@pytest.mark.parametrize(
    ("stack", "arena"),
    [
        ([layers.Flatten()], 1),
        ([layers.Dropout(0.5), layers.ReLU()], 1),
        ([layers.Dense(4)], 1),
        ([layers.Dense(7), layers.ReLU(), layers.Dense(4)], 35),
        ([layers.Dense(7), layers.Dense(3), layers.Dense(4)], 50),
        ([layers.Dense(3), layers.Dense(7), layers.Dense(1), layers.Dense(6), layers.Dense(2)], 50),
    ],
)
def test_arena(stack, arena):
    model = gn.Sequential([gn.Input((5, 2)), *stack])
    assert to_bytes(model, "net")[1].arena_size == arena


@needs_compiler
def test_models_without_layers(tmp_path):
    bundle = Bundle(
        tmp_path,
        {
            "dropped": gn.Sequential([gn.Input((3, 2)), layers.Dropout(0.5), layers.Flatten()]),
            "placed": gn.Sequential([gn.Input((4, 2)), layers.ReLU(), layers.MaxPooling1D(2), layers.ELU()]),
        },
    )
    for name in bundle.names:
        bundle.expect_equal(name)


@needs_compiler
def test_axes_of_one_element(tmp_path):
    for layer in (layers.LayerNormalization(1), layers.GroupNormalization(-1), layers.Softmax(1)):
        model = gn.Sequential([gn.Input((1, 4)), layer])
        folder = tmp_path / type(layer).__name__
        folder.mkdir()
        bundle = Bundle(folder, {"net": model})
        x = np.ones((2, 1, 4), np.float32)
        np.testing.assert_allclose(bundle.outputs("net", x), model.predict(x, verbose=0), atol=1e-6)


@needs_compiler
def test_graph_models_that_are_chains(tmp_path):
    x = gn.Input((6, 6, 1))
    shared = layers.Conv2D(1, 3, padding="same")
    y = layers.Dense(2)(layers.Flatten()(layers.Add()([shared(layers.ReLU()(shared(x)))])))
    Bundle(tmp_path, {"net": gn.Model(x, y)}).expect_equal("net")


def test_all_that_is_lacking_is_one_error():
    class Twice(layers.Layer):
        def call(self, x):
            return 2 * x

    a, b = gn.Input((4,), name="left"), gn.Input((4,), name="right")
    c = layers.Add(name="both")([Twice(name="mine")(a), b])
    model = gn.Model([a, b], [layers.Dense(2)(c), c], name="graph")
    with pytest.raises(ValueError, match="model 'graph'") as error:
        to_bytes(model, "net")
    lines = str(error.value).splitlines()[1:]
    assert lines == [
        "  it has 2 inputs",
        "  it has 2 outputs",
        "  layer 'mine' (Twice): it is written in Python",
        "  layer 'both' (Add): branches meet there",
    ]


def test_too_many_weights(monkeypatch):
    monkeypatch.setattr(writer, "_MOST_NUMBERS", 100)
    with pytest.raises(ValueError, match=r"has 119 constants, .* stop at 100: export an ONNX file"):
        to_bytes(small(), "net")


def test_arrays_beyond_long():
    model = gn.Sequential([gn.Input((60_000, 60_000, 1)), layers.ReLU(name="large")])
    with pytest.raises(ValueError, match=r"'large' \(ReLU\): its output has 3,600,000,000 elements"):
        to_bytes(model, "net")


def test_open_sizes():
    model = gn.Sequential([gn.Input((None, None, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"sizes of '.*' are open: \(None, None, None, 3\)"):
        to_bytes(model, "net")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_weights_that_float32_lacks(value, tmp_path):
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2, name="head")], dtype="float64")
    model.layers[0].kernel = np.full((2, 2), value)
    with pytest.raises(
        ValueError, match=r"layer 'head' \(Dense\): 'kernel' holds numbers that are not finite"
    ):
        model.export(tmp_path / "net.h")
    assert not list(tmp_path.iterdir())


@needs_compiler
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_weights_of_any_magnitude(scale, tmp_path):
    model = small(dtype="float64")
    model.layers[0].kernel = model.layers[0].kernel * scale
    Bundle(tmp_path, {"net": model}).expect_equal("net")


@needs_compiler
def test_activation_and_nan(tmp_path):
    model = small()
    contents, _ = to_bytes(model, "net", activation="softmax")
    assert b"The last activation is softmax." in contents
    model.export(tmp_path / "net.h", activation="softmax")  # verified with it
    bundle = Bundle(
        tmp_path, {"net": gn.Sequential([gn.Input((4, 1)), layers.ReLU(), layers.MaxPooling1D(2)])}
    )
    found = bundle.outputs("net", np.array([[np.nan, 1, 2, -3]]).reshape(1, 4, 1))
    np.testing.assert_array_equal(found.ravel(), [np.nan, 2])


def test_activation_behind_softmax():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2, "softmax")])
    with pytest.raises(ValueError, match="ends in softmax already"):
        to_bytes(model, "net", activation="softmax")


@pytest.mark.parametrize(
    "options", [{"opset_version": 18}, {"layout": "channels_first"}, {"compat": "symmetric"}, {"batch": 2}]
)
def test_options_of_onnx(options, tmp_path):
    with pytest.raises(ValueError, match=f"leave `?{next(iter(options))}|leave it out"):
        small().export(tmp_path / "net.h", **options)


@pytest.mark.parametrize("batch", [2, True, "1"])
def test_batches_are_refused(batch, tmp_path):
    with pytest.raises((ValueError, TypeError), match="batch"):
        small().export(tmp_path / "net.h", batch=batch)


def test_numbers_do_not_depend_on_how_arrays_are_shown():
    contents = to_bytes(small(), "net")
    with np.printoptions(precision=2, legacy="1.13", floatmode="fixed"):
        assert to_bytes(small(), "net") == contents


def test_numbers_are_kept():
    for value in np.random.default_rng(0).normal(size=1000).astype(np.float32) * np.float32(1e-39):
        assert np.float32(number(float(value)).removesuffix("f")) == value
    assert [number(value) for value in (1.0, -0.0, 2.0**100)] == ["1.0f", "-0.0f", "1.2676506e+30f"]


def test_normalizations_without_variance_are_named():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2), layers.BatchNormalization(name="norm")])
    model.layers[1].moving_variance = np.array([np.nan, 1.0])
    with pytest.raises(ValueError, match=r"layer 'norm' \(BatchNormalization\): 'gamma over the deviation'"):
        to_bytes(model, "net")


@needs_compiler
def test_names_that_are_too_long(tmp_path):
    path = tmp_path / ("x" * 300 + ".h")
    with pytest.raises(OSError, match=r"x{300}") as error:
        small().export(path)
    assert "gridnn-c-" not in str(error.value)


def test_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert small().export(tmp_path / "net.h").function == "net_predict"
    assert (tmp_path / "net.h").read_bytes() == to_bytes(small(), "net")[0]


@needs_compiler
def test_verify_notices(tmp_path, monkeypatch):
    wrong = verification.program("net").replace("(input, output, arena)", "(input, arena, output)")
    monkeypatch.setattr(verification, "program", lambda name: wrong)
    with pytest.raises(RuntimeError, match=r"differ by .* nothing was written"):
        small().export(tmp_path / "net.h")
    monkeypatch.setattr(verification, "program", lambda name: "#error no")
    with pytest.raises(RuntimeError, match=r"fails for model 'small' \(nothing was written"):
        small().export(tmp_path / "net.h")
    assert not list(tmp_path.iterdir())
    small().export(tmp_path / "net.h", verify=False)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="missing"):
        small().export(tmp_path / "missing" / "net.h", verify=False)


def test_command_line(tmp_path, capsys):
    model = small()
    model.save(tmp_path / "net.gridnn")
    out = tmp_path / "net.h"
    assert main(["export", str(tmp_path / "net.gridnn"), str(out), "--activation", "softmax"]) == 0
    shown = capsys.readouterr().out
    assert "net_predict: 36 floats (144 bytes) in, 3 floats (12 bytes) out, arena of 32 floats" in shown
    assert out.read_bytes() == to_bytes(model, "net", activation="softmax")[0]
    assert main(["export", str(tmp_path / "net.gridnn"), str(out), "--opset", "13"]) == 2
    assert "`opset_version` is an option of ONNX files" in capsys.readouterr().err
