"""The networks that estimators train: "auto", those of `gridnn.models`, and users' own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gridnn import layers, models
from gridnn._auto import auto
from gridnn._seeding import seeded
from gridnn.layers.base import Layer
from gridnn.layers.branches import as_layer
from gridnn.model.sequential import Sequential

__all__ = ["auto", "build", "check"]

_NAMED = ("fcn", "googlenet", "inception_time", "lenet5", "mobilenet", "resnet", "resnet1d", "tcn", "vgg")
"""Those with one row of outputs for a sample."""

Source = str | Callable[..., Any]


def check(model: object, estimator: object) -> None:
    """Refuses what cannot make a network.

    Raises:
        ValueError: an unknown name, or something else than a name or a function.
    """
    if isinstance(model, str) and model in ("auto", *_NAMED):
        return
    if isinstance(model, str) or not callable(model) or isinstance(model, Sequential):
        names = ", ".join(repr(name) for name in sorted(("auto", *_NAMED)))
        hint = ""
        if isinstance(model, Sequential):
            hint = (
                " A model would be shared between clones: pass a function (input_shape, outputs) that makes "
                "one."
            )
        raise ValueError(
            f"The 'model' parameter of {type(estimator).__name__} must be a str among {{{names}}} or a "
            f"callable. Got {model!r} instead.{hint}"
        )


def build(
    model: Source,
    input_shape: tuple[int, ...],
    outputs: int,
    samples: int,
    keywords: Mapping[str, Any],
    front: Sequence[Layer],
    seed: int,
) -> Sequential:
    """A new model: the layers of `front`, then the network.

    Args:
        model: see `check`.
        input_shape: shape of a sample, channels last.
        outputs: numbers wanted for each sample.
        samples: how many there are to train on.
        keywords: further arguments of the network.
        front: layers before it.
        seed: seed of all weights.

    Raises:
        TypeError: the network takes no such keyword, or the function returned something else than a model.
        ValueError: the network has other outputs.
    """
    with seeded(seed):
        if model == "auto":
            network: Any = auto(input_shape, outputs, samples, **_taken(auto, keywords, 3))
        elif isinstance(model, str):
            function = getattr(models, model)
            options = {"input_shape": input_shape, "classes": outputs}
            network = function(**options, **_taken(function, keywords, 0))
        else:
            network = model(input_shape, outputs, **keywords)
            if not isinstance(network, Sequential):
                raise TypeError(
                    "The function given as 'model' must return a gridnn.Sequential. It returned "
                    f"{type(network).__name__}."
                )
        body = [as_layer(network)] if isinstance(network, Sequential) else network
        front = [copy.deepcopy(layer) for layer in front]
        built = Sequential([layers.Input(input_shape), *front, *body], seed=seed)
    if built.output_shape != (None, outputs):
        raise ValueError(
            f"The network made by model={model!r} must put out {outputs} numbers for a sample, shape "
            f"{(None, outputs)}. It has output shape {built.output_shape}."
        )
    return built


def _taken(function: Callable[..., Any], keywords: Mapping[str, Any], fixed: int) -> Mapping[str, Any]:
    """The keywords, which the function must take."""
    names = list(inspect.signature(function).parameters)[fixed:]
    names = [name for name in names if name not in ("input_shape", "classes")]
    for name in keywords:
        if name not in names:
            known = ", ".join(f"model__{one}" for one in names)
            raise TypeError(
                f"Invalid parameter 'model__{name}' for model {function.__name__}: it takes {known}."
            )
    return keywords
