"""What the pictures hold: titles, data and sizes of their artists; never pixels."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn._lr_finder import LearningRates

pytestmark = pytest.mark.one_tier

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # whatever was drawn can be rendered without a warning
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    return gn.Sequential(
        [
            gn.Input((8, 8, 1)),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 3, strides=2, padding=1),
            layers.Flatten(),
            layers.Dense(10),
        ],
        seed=0,
    )


def data(ax, index=0):
    return np.ma.filled(ax.images[index].get_array(), np.nan)


def words(ax):
    return [text.get_text() for text in ax.texts]


def labels(patches):
    return [patch.get_label() for patch in patches]


def test_history_draws_training_and_validation():
    ax = gn.plot.history({"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0], "accuracy": [0, 0, 1]})
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 2, 1], [4, 3, 2]]
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    assert ax.get_ylabel() == "loss"
    with pytest.raises(ValueError, match="accuracy"):
        gn.plot.history({"accuracy": [1.0]}, "loss")


def test_history_takes_what_fit_returns(model):
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found = model.fit(np.zeros((8, 8, 8, 1)), np.zeros(8), epochs=2, verbose=0)
    ax = gn.plot.history(found, "accuracy")
    assert list(ax.lines[0].get_ydata()) == found.history["accuracy"]
    assert ax.get_legend() is None


def test_confusion_matrix_counts():
    ax = gn.plot.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], names=["a", "b", "c"])
    np.testing.assert_allclose(data(ax), [[0.5, 0.5, 0], [0, 1, 0], [0, 1, 0]])
    assert words(ax) == ["1", "1", "1", "1"]
    assert ax.get_title() == "50.0% of 4 right"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]


def test_confusion_matrix_takes_scores_and_matrices():
    scores = np.eye(4)[[0, 1, 1]]
    assert data(gn.plot.confusion_matrix([0, 1, 2], scores)).shape == (4, 4)
    np.testing.assert_array_equal(data(gn.plot.confusion_matrix([[3, 1], [0, 4]]))[0], [0.75, 0.25])
    with pytest.raises(ValueError, match=r"`predictions`.* for 2 labels"):
        gn.plot.confusion_matrix([0, 1], [0])
    with pytest.raises(ValueError, match="names"):
        gn.plot.confusion_matrix([0, 1], [1, 1], names=["only"])


def test_images_are_stretched_one_by_one_and_labelled():
    x = np.arange(2 * 4 * 4).reshape(2, 4, 4, 1)
    ax = gn.plot.images(x, ["first", 7], columns=2)
    assert words(ax) == ["first", "7"]
    assert np.nanmin(data(ax)) == 0
    assert np.nanmax(data(ax)) == 1
    np.testing.assert_allclose(data(ax)[:4, :4], x[0, ..., 0] / 15)


def test_colours_stay_colours():
    x = np.random.default_rng(0).random((3, 4, 5, 3))
    assert data(gn.plot.images(x, columns=3)).shape == (4, 5 * 3 + 2, 4)


def test_images_refuse_what_is_none():
    for wrong in (np.zeros((4, 4)), np.zeros((0, 4, 4))):
        with pytest.raises(ValueError, match="batch of images"):
            gn.plot.images(wrong)


@pytest.mark.parametrize("shape", [(5, 2, 3), (3, 3, 1, 4), (3, 3, 2, 4), (3, 3, 3, 2, 4)])
def test_filters_of_every_rank(shape):
    kernel = np.random.default_rng(0).normal(size=shape)
    ax = gn.plot.filters(kernel)
    highest = np.abs(kernel).max()
    assert ax.images[0].get_clim() == (-highest, highest)
    assert f"{shape[-1]} filters" in ax.get_title()
    shown = data(ax)
    assert np.isin(kernel[0, ..., 0, 0] if len(shape) < 5 else kernel[0, ..., 0].mean(-1), shown).all()


def test_filters_of_layers(model):
    ax = gn.plot.filters(model.layers[2], channel=3, limit=2)
    kernel = model.layers[2].kernel
    assert ax.get_title().startswith("2 of 4 filters")
    assert np.isin(kernel[..., 3, :2].astype(float), data(ax)).all()
    with pytest.raises(ValueError, match="no kernel"):
        gn.plot.filters(model.layers[1])


def test_filters_of_depthwise_layers():
    model = gn.Sequential([gn.Input((8, 8, 3)), layers.DepthwiseConv2D(3, depth_multiplier=2)])
    assert "6 filters" in gn.plot.filters(model.layers[0]).get_title()


@pytest.mark.parametrize(
    "shape", [(20, 3), (1, 20, 3), (6, 5, 3), (1, 6, 5, 3), (4, 6, 5, 3), (1, 4, 6, 5, 3)]
)
def test_activations_of_every_rank(shape):
    maps = np.random.default_rng(0).normal(size=shape)
    ax = gn.plot.activations(maps)
    assert ax.get_title().startswith("3 maps")
    expected = maps[0] if shape[0] == 1 else maps
    if expected.ndim == 4:
        expected = expected[2]
    assert np.isin(expected, data(ax)).all()


def test_activations_show_one_sample():
    with pytest.raises(ValueError, match="one sample"):
        gn.plot.activations(np.zeros((2, 3, 4, 5, 6)))


def test_slices():
    volume = np.arange(6 * 3 * 4).reshape(6, 3, 4)
    ax = gn.plot.slices(volume, count=3, columns=3)
    assert words(ax) == ["slice 1", "slice 3", "slice 5"]
    assert np.isin(volume[1::2], data(ax)).all()
    assert words(gn.plot.slices(volume, axis=2)) == [f"slice {i}" for i in range(4)]
    with pytest.raises(ValueError, match="three spatial axes"):
        gn.plot.slices(np.zeros((3, 3)))


def test_heat_lies_over_the_image():
    values = np.array([[0.0, -2.0], [1.0, 0.0]])
    ax = gn.plot.heat(np.zeros((8, 8, 1)), values[None], title="why")
    np.testing.assert_array_equal(data(ax, 1), np.abs(values))
    assert ax.images[0].get_extent() == ax.images[1].get_extent()
    assert ax.get_title() == "why"


def test_signals_share_a_time_axis():
    ax = gn.plot.signals(np.sin(np.arange(100.0)), np.zeros((1, 50, 2)), rate=100)
    assert len(ax.lines) == 3
    assert ax.get_xlabel() == "seconds"
    assert ax.get_xlim() == (0, 1)
    assert ax.lines[1].get_xdata()[-1] == pytest.approx(0.99)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["signal", "map 0", "map 1"]


@pytest.mark.parametrize(
    ("options", "read", "zeros", "outputs"),
    [
        ({"n": 7, "kernel_size": 3, "strides": 2, "padding": 1, "position": 1}, 3, 2, 4),
        ({"n": 7, "kernel_size": 3, "padding": 1}, 2, 1, 7),  # the first window starts in the padding
        ({"n": 8, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "position": 5}, 3, 4, 8),
        ({"n": 4, "kernel_size": 3, "strides": 2, "transposed": True, "position": 3}, 1, None, 9),
        ({"n": (5, 5), "kernel_size": 3, "strides": 2, "padding": "same", "position": (1, 1)}, 9, 24, 9),
        ({"n": (5, 6), "kernel_size": (1, 3)}, 3, 0, 20),
    ],
)
def test_conv_arithmetic_marks_what_an_output_reads(options, read, zeros, outputs):
    ax = gn.plot.conv_arithmetic(**options)
    drawn = labels(ax.patches)
    assert drawn.count("read") == read
    assert drawn.count("chosen") == 1
    assert drawn.count("output") == outputs - 1
    assert drawn.count("input") + read == np.prod(options["n"])
    if zeros is not None:
        assert drawn.count("zero") == zeros


def test_transposed_arithmetic_reads_what_inspect_says():
    for position in range(9):
        ax = gn.plot.conv_arithmetic(4, 3, 2, transposed=True, position=position)
        sees = gn.inspect.conv_arithmetic(4, 3, 2, transposed=True).sees[position]
        assert labels(ax.patches).count("read") == len(sees)


def test_conv_arithmetic_says_sizes_and_options():
    title = gn.plot.conv_arithmetic((5, 7), (3, 3), 2, 1).get_title()
    assert title == "5 × 7 → 3 × 4\nkernel 3, stride 2, padding 1+1"


def test_conv_arithmetic_refuses():
    with pytest.raises(ValueError, match="one or two axes"):
        gn.plot.conv_arithmetic((4, 4, 4), 3)
    with pytest.raises(ValueError, match="5 outputs"):
        gn.plot.conv_arithmetic(7, 3, position=5)
    with pytest.raises(ValueError, match="position"):
        gn.plot.conv_arithmetic((4, 4), 3, position=(2, 0))


def test_conv_animation_has_a_frame_per_output():
    animation = gn.plot.conv_animation((4, 4), 3)
    page = animation.to_jshtml()
    assert page.count("data:image/png") == 4


def test_receptive_fields_are_frames_over_the_image(model):
    ax = gn.plot.receptive_field(model, np.zeros((8, 8)), position=(0, 0))
    found = {patch.get_label().split(":")[0]: patch for patch in ax.patches}
    expected = {field.name: field for field in gn.inspect.receptive_field(model)}
    assert list(found) == ["conv2d", "max_pooling2d", "conv2d_1"]
    for name, frame in found.items():
        (top, bottom), (left, right) = expected[name].of(0, 0)
        assert frame.get_xy() == (left - 0.5, top - 0.5)
        assert (frame.get_width(), frame.get_height()) == (right - left + 1, bottom - top + 1)
    assert labels(gn.plot.receptive_field(model, layers=["conv2d_1"]).patches) == ["conv2d_1: 8 × 8"]
    with pytest.raises(ValueError, match="no layers"):
        gn.plot.receptive_field(model, layers=["other"])
    with pytest.raises(ValueError, match="Pass the image"):
        gn.plot.receptive_field(gn.inspect.receptive_field(model))


def test_effective_receptive_field_is_relative():
    ax = gn.plot.effective_receptive_field(np.array([[0.0, -4.0], [2.0, 1.0]]), field=((0, 1), (0, 0)))
    np.testing.assert_array_equal(data(ax), [[0, 1], [0.5, 0.25]])
    assert ax.patches[0].get_height() == 2
    assert ax.patches[0].get_width() == 1


def test_conv_matrix_by_value_and_by_weight():
    matrix = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]])
    ax = gn.plot.conv_matrix(matrix)
    assert words(ax) == ["1", "2", "1", "2"]
    assert ax.images[0].get_clim() == (-2, 2)
    layer = gn.Sequential([gn.Input((6, 1)), layers.Conv1D(1, 3)]).layers[0]
    found = gn.inspect.as_matrix(layer)
    shown = gn.plot.conv_matrix(found, by="weight", values=False)
    assert shown.images[0].get_array().mask.tolist() == (found.weight_at() < 0).tolist()
    assert not shown.texts
    np.testing.assert_array_equal(data(gn.plot.conv_matrix(found)), found.matrix)
    with pytest.raises(ValueError, match="as_matrix"):
        gn.plot.conv_matrix(matrix, by="weight")
    sparse = pytest.importorskip("scipy.sparse")
    np.testing.assert_array_equal(data(gn.plot.conv_matrix(sparse.csr_array(matrix))), matrix)


def test_feature_hierarchy_has_a_row_per_layer():
    random = np.random.default_rng(0)
    patches = {"first": random.random((2, 5, 3, 3, 1)), "second": random.random((3, 5, 8, 8, 1))}
    ax = gn.plot.feature_hierarchy(patches, per_filter=2)
    assert words(ax) == ["first\n3 × 3", "second\n8 × 8"]
    assert len(ax.images) == 2 * 2 + 3 * 2
    np.testing.assert_array_equal(data(ax), patches["first"][0, 0, ..., 0])
    with pytest.raises(ValueError, match="at least one layer"):
        gn.plot.feature_hierarchy({})


def test_feature_hierarchy_takes_patches():
    found = [SimpleNamespace(pixels=np.full((3, 3, 1), i)) for i in range(3)]
    ax = gn.plot.feature_hierarchy({"first": [found]}, per_filter=2)
    assert len(ax.images) == 2
    np.testing.assert_array_equal(data(ax, 1), np.ones((3, 3)))


def cost(name, **values):
    zero = {"multiply_adds": 0, "bytes": 0, "parameters": 0, "seconds": 0.0, "intensity": 0.0}
    return SimpleNamespace(name=name, **{**zero, **values})


def test_costs_are_bars_with_their_share():
    found = [cost("conv", multiply_adds=3_000_000), cost("flatten"), cost("dense", multiply_adds=1_000_000)]
    ax = gn.plot.costs(found)
    assert [bar.get_width() for bar in ax.patches] == [3e6, 0, 1e6]
    assert words(ax) == ["3 M (75%)", "0", "1 M (25%)"]
    assert ax.get_title() == "multiply-adds, 4 M in all"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["conv", "flatten", "dense"]
    assert words(gn.plot.costs([cost("conv", seconds=2e-5)], "seconds")) == ["20 µ (100%)"]
    with pytest.raises(ValueError, match="by"):
        gn.plot.costs(found, "money")


def test_diagram_says_what_layers_are_and_put_out(model):
    ax = gn.plot.diagram(model)
    assert words(ax)[:4] == ["input", "8 × 8 × 1", "Conv2D 6 3×3 relu", "8 × 8 × 6"]
    assert "Conv2D 4 3×3 /2" in words(ax)
    unbuilt = gn.Sequential([layers.Dense(3)])
    assert words(gn.plot.diagram(unbuilt)) == ["input", "Dense 3"]


def test_diagram_draws_branches_side_by_side():
    inner = layers.Parallel([[layers.Conv2D(3, 1)], [layers.Conv2D(3, 3, padding="same")]], merge="concat")
    model = gn.Sequential([gn.Input((8, 8, 6)), layers.Residual([inner]), layers.Flatten()])
    ax = gn.plot.diagram(model)
    assert {"+", "concatenate", "Conv2D 3 1×1", "Conv2D 3 3×3"} <= set(words(ax))
    places = {text.get_text(): text.get_position() for text in ax.texts}
    left, right = places["Conv2D 3 1×1"], places["Conv2D 3 3×3"]
    assert left[1] == right[1]
    assert left[0] < right[0]
    assert places["concatenate"][1] > places["+"][1] > places["Flatten"][1]


def test_histories_of_several_runs_share_axes():
    history = gn.callbacks.History()
    for epoch in range(3):
        history.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "val_loss": 1.0})
    ax = gn.plot.history({"a": history, "b": {"loss": [0.4]}})
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-"]
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match="metric='accuracy'"):
        gn.plot.history({"a": history}, "accuracy")


def test_masks_stand_beside_truth():
    x = np.zeros((3, 4, 4, 4, 1))
    truth = np.zeros((3, 4, 4, 4), int)
    truth[0, 3, 1:3] = 1  # only in the last slice
    ax = gn.plot.masks(x, truth, np.stack([1.0 - truth, truth], axis=-1), limit=2)
    assert {"input", "truth", "model", "100.0% right"} <= set(words(ax))
    pixels = ax.images[0].get_array()
    assert (pixels[..., :3].max(axis=-1) > 0.6).sum() >= 2 * 8
    with pytest.raises(ValueError, match=r"`labels` must have a class at each position of `x`"):
        gn.plot.masks(x, truth[:, 0])
    with pytest.raises(ValueError, match="batch of images or volumes"):
        gn.plot.masks(x[0, 0, 0], truth)


def test_reliability_diagram():
    ax = gn.plot.calibration(gn.inspect.calibration([0, 1, 1, 1], [0.1, 0.9, 0.9, 0.1]))
    # 0.1 is said of two, of which one is: 0.4 away; 0.9 of two, which are both: 0.1 away.
    assert ax.get_title() == "calibration error 25.0%"
    with pytest.raises(TypeError, match="`found`"):
        gn.plot.calibration([0.1])


def test_every_picture_draws_where_it_is_told(model):
    calls = {
        gn.plot.history: ({"loss": [1.0, 2.0]},),
        gn.plot.confusion_matrix: ([[1, 0], [0, 1]],),
        gn.plot.lr_finder: (LearningRates(*np.ones((3, 4)), 1.0),),
        gn.plot.images: (np.zeros((2, 4, 4)),),
        gn.plot.filters: (np.zeros((3, 3, 1, 2)),),
        gn.plot.activations: (np.zeros((4, 4, 2)),),
        gn.plot.slices: (np.zeros((4, 4, 4)),),
        gn.plot.masks: (np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4))),
        gn.plot.calibration: (gn.inspect.calibration([0, 1], [0.2, 0.9]),),
        gn.plot.heat: (np.zeros((4, 4)), np.ones((4, 4))),
        gn.plot.signals: (np.zeros(9),),
        gn.plot.conv_arithmetic: (5, 3),
        gn.plot.conv_matrix: (np.eye(3),),
        gn.plot.costs: ([cost("conv")],),
        gn.plot.diagram: (model,),
        gn.plot.receptive_field: (model,),
        gn.plot.effective_receptive_field: (np.eye(3),),
        gn.plot.feature_hierarchy: ({"a": np.zeros((1, 1, 3, 3))},),
    }
    others = {gn.plot.conv_animation}
    assert set(calls) | others == {getattr(gn.plot, name) for name in gn.plot.__all__}
    for draw, arguments in calls.items():
        _, ax = plt.subplots()
        assert draw(*arguments, ax=ax) is ax


def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib.pyplot'] = None; sys.modules['matplotlib'] = None\n"
        "import gridnn as gn\n"
        "try: gn.plot.history({'loss': [1.0]})\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'gridnn[plot]'" in done.stdout
