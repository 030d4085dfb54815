"""The arguments of every class against those of Keras, as `reference/keras_defaults.py` found them."""

import ast
import inspect
import json
from pathlib import Path

import pytest

import gridnn as gn

pytestmark = pytest.mark.one_tier

TABLE = json.loads((Path(__file__).parent / "reference" / "keras_defaults.json").read_text())
# What docs/differences-from-keras.md says is missing: everywhere, and in some classes.
NOWHERE = {"activity_regularizer", "autocast", "data_format", "dtype", "loss_scale_factor"}
MISSING = {
    "AUC": {"from_logits", "label_weights", "multi_label", "num_labels", "thresholds"},
    "BackupAndRestore": {"double_checkpoint"},
    "BatchNormalization": {"renorm", "renorm_clipping", "renorm_momentum", "synchronized"},
    "BinaryCrossentropy": {"axis", "from_logits"},
    "BinaryFocalCrossentropy": {"axis"},
    "CallbackList": {"add_history", "add_progbar"},
    "CategoricalCrossentropy": {"axis", "from_logits"},
    "CategoricalFocalCrossentropy": {"axis"},
    "CosineSimilarity": {"axis"},
    "Dense": {"lora_alpha", "lora_rank", "quantization_config"},
    "LambdaCallback": {"on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end"}
    | {"on_train_batch_begin", "on_train_batch_end"},  # taken as **hooks
    "MeanIoU": {"axis", "sparse_y_pred", "sparse_y_true"},
    "OneHotMeanIoU": {"axis", "sparse_y_pred"},
    "R2Score": {"num_regressors"},
    "SparseCategoricalCrossentropy": {"axis", "from_logits", "ignore_class"},
    "SparseTopKCategoricalAccuracy": {"from_sorted_ids"},
    "TensorBoard": {"embeddings_freq", "embeddings_metadata", "profile_batch", "write_graph"}
    | {"write_images", "write_steps_per_second"},
}
# Arguments with another default, or one at all, on purpose: the data decides, or logs hold single numbers.
OTHERWISE = {
    *((cls, "from_logits") for cls in ("BinaryCrossentropy", "BinaryFocalCrossentropy")),
    *((cls, "from_logits") for cls in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy")),
    ("SparseCategoricalCrossentropy", "from_logits"),
    ("CallbackList", "callbacks"),
    ("CallbackList", "model"),
    ("F1Score", "average"),
    # Series have one axis.
    ("CenterCrop", "width"),
    ("RandomCrop", "width"),
    ("RandomTranslation", "width_factor"),
    ("Resizing", "width"),
}
PAIRS = [(module, name) for module in TABLE if module != "version" for name in TABLE[module]]


def canonical(value):
    """A number for a tuple of the same numbers, and names in lower case."""
    if isinstance(value, str):
        return value.lower()
    while isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value


def public():
    return [(module, name) for module, name in PAIRS if name in getattr(gn, module).__all__]


def test_the_table_is_of_this_version():
    assert TABLE["version"].startswith("3.15")
    assert len(public()) > 120


@pytest.mark.parametrize(("module", "name"), public(), ids=[f"{m}.{n}" for m, n in public()])
def test_arguments_and_defaults(module, name):
    cls = getattr(getattr(gn, module), name)
    parameters = inspect.signature(cls.__init__).parameters
    fields = getattr(cls, "config_fields", ())
    shared = NOWHERE | ({"name"} if module == "schedules" else set())
    shared |= {"input_axes", "output_axes"} if module == "initializers" else set()
    for argument, default in TABLE[module][name].items():
        if argument not in parameters:
            known = argument in shared | MISSING.get(name, set()) or argument in fields
            assert known, f"{name} lacks `{argument}`, which docs/differences-from-keras.md should say"
            continue
        if (name, argument) in OTHERWISE or argument == "name":
            continue
        own = parameters[argument].default
        if default is None:
            assert own is inspect.Parameter.empty
        else:
            assert canonical(own) == canonical(ast.literal_eval(default)), argument
