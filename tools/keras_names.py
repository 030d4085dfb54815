"""Every public name of Keras beside this library's: the tables of docs/coming-from-keras.md.

Example:
    /their/python tools/keras_names.py record   # where Keras is: its names, for the tests
    python tools/keras_names.py page            # the tables of the page, from that file and this library
    python tools/keras_names.py check           # exits if the page is not what `page` would write
"""

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests/python/reference/keras_names.json"
PAGE = ROOT / "docs/coming-from-keras.md"
MARKS = ("<!-- tables: tools/keras_names.py -->", "<!-- end of tables -->")

MODULES = (
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "callbacks",
    "utils",
    "activations",
    "initializers",
    "regularizers",
    "constraints",
)

# Names that are called otherwise here.
RENAMED = {
    "layers.InputLayer": "`gn.Input`, which a `Sequential` and a `Model` begin with",
    "layers.InputSpec": "`build(input_shape)` of your own layer raises what it wants to say",
    "layers.Wrapper": "call the wrapped layer in your own; see [Your own code](own-code.md)",
    "optimizers.LossScaleOptimizer": "nothing: float32 and float64 need no scaling",
    "utils.clear_session": "nothing: models are objects, and there is no global state to clear",
    "utils.model_to_dot": "`gn.utils.plot_model` and `gn.plot.diagram`, which need no Graphviz",
    "utils.audio_dataset_from_directory": "`gn.data.audio_folder`",
    "utils.save_img": "Pillow's `Image.save`",
    "utils.array_to_img": "Pillow's `Image.fromarray`",
    "utils.split_dataset": "`validation_split=`, or scikit-learn's `train_test_split`",
    "utils.Progbar": "`gn.callbacks.ProgbarLogger`",
    "utils.get_source_inputs": "`model.inputs`",
    "callbacks.OrbaxCheckpoint": "`ModelCheckpoint` and `BackupAndRestore`",
    "callbacks.RemoteMonitor": "a `LambdaCallback` that sends what it wants",
    "losses.CTC": "needs recurrent decoders; not here",
}

# Why names are not here: the first rule whose words are part of the name decides.
_RECURRENT = "recurrent layers are not convolutions on grids; `tcn` in `gn.models` for long series"
_ATTENTION = "attention is not here; use a framework for transformers"
_TEXT = "text and tables of categories are not grids; prepare them with scikit-learn"
_COLOUR = "not here yet: prepare with Pillow, or write it as [your own layer](own-code.md)"
_BRIDGE = "wraps another framework; `gn.from_onnx` takes their models in"
_REGISTRY = "nothing is registered by name: pass classes as `custom_objects` to `gn.load_model`"
_CONFIG = "`obj.get_config()` and `Class.from_config(config)`, or `get(name)` of the module"
_OTHER = "not here; [your own code](own-code.md) can be"
REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("LSTM", "GRU", "RNN", "Bidirectional", "Masking"), _RECURRENT),
    (("Attention",), _ATTENTION),
    (
        (
            "Text",
            "text_dataset",
            "Lookup",
            "Hash",
            "Category",
            "Discretization",
            "Embedding",
            "FeatureSpace",
        ),
        _TEXT,
    ),
    (("TFSM", "Torch", "Jax", "Flax"), _BRIDGE),
    (("register", "custom_object", "CustomObject"), _REGISTRY),
    (("serialize",), _CONFIG),
    (("bounding_boxes", "BoundingBoxes"), "boxes are not here"),
    (("legacy", "Config", "OptimizerMap", "standardize_dtype"), "internal to Keras"),
    (("interactive_logging",), "`verbose=` of each call"),
    (("sample_weight",), "`fit`, `evaluate` and `train_on_batch` take the three apart"),
    (
        (
            "Random",
            "Augment",
            "AugMix",
            "CutMix",
            "MixUp",
            "AutoContrast",
            "Equalization",
            "Solarization",
            "Resizing",
            "CenterCrop",
        ),
        _COLOUR,
    ),
    (("Spectrogram", "STFT", "stft"), "SciPy's `signal.ShortTimeFFT` before training"),
)


def record() -> None:
    """Writes the names of the Keras that this Python has."""
    keras: Any = importlib.import_module("keras")
    names: dict[str, Any] = {"version": keras.__version__}
    for module in MODULES:
        public = getattr(keras, module)
        names[module] = [
            name
            for name in dir(public)
            if not name.startswith("_")
            and (callable(getattr(public, name)) or inspect.ismodule(getattr(public, name)))
        ]
    RECORD.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")


def twin(module: Any, name: str) -> str | None:
    """A name of the same module that differs in its spelling only, as Keras' aliases do."""
    plain = name.replace("Convolution", "Conv").replace("_", "").lower()
    for other in dir(module):
        if not other.startswith("_") and other.replace("_", "").lower() == plain:
            return other
    return None


def here(module: str, name: str) -> str:
    """What stands beside a name of Keras."""
    ours: Any = importlib.import_module(f"gridnn.{module}")
    full = f"{module}.{name}"
    if hasattr(ours, name):
        return "the same"
    if full in RENAMED:
        return RENAMED[full]
    if other := twin(ours, name):
        return f"`{other}`"
    for words, reason in REASONS:
        if any(word in name for word in words):
            return reason
    # Optimizers and activations are the engine's.
    return _OTHER if module in {"layers", "losses", "metrics", "callbacks"} else "not here"


def tables() -> str:
    """The tables: names that are here in a sentence, the others in rows."""
    names = json.loads(RECORD.read_text(encoding="utf-8"))
    parts = [f"Keras {names['version']}; {sum(len(names[m]) for m in MODULES)} names.", ""]
    for module in MODULES:
        beside = {name: here(module, name) for name in names[module]}
        same = [name for name, text in beside.items() if text == "the same"]
        parts += [f"### `keras.{module}`", ""]
        parts += [
            f"The same here, {len(same)} of {len(beside)}: {', '.join(f'`{name}`' for name in same)}.",
            "",
        ]
        if other := {name: text for name, text in beside.items() if text != "the same"}:
            parts += ["| in Keras | here |", "|---|---|"]
            groups: dict[str, list[str]] = {}
            for name, text in other.items():
                groups.setdefault(text, []).append(f"`{name}`")
            parts += [f"| {', '.join(group)} | {text} |" for text, group in groups.items()]
            parts.append("")
    return "\n".join(parts)


def page() -> str:
    """The page with its tables made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n{tables()}\n{MARKS[1]}{after}"


def main() -> None:
    """Does what the command line says."""
    what = sys.argv[1]
    if what == "record":
        record()
    elif what == "page":
        PAGE.write_text(page(), encoding="utf-8")
    elif page() != PAGE.read_text(encoding="utf-8"):
        sys.exit("docs/coming-from-keras.md is not current: run `python tools/keras_names.py page`")


if __name__ == "__main__":
    main()
