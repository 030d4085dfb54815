"""What layers answer: activations, gradients, and the images and patches that excite a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn import _validation, filters
from gridnn._arrays import as_array
from gridnn.inspect._receptive_field import receptive_field
from gridnn.inspect._run import Run, expect_grid, filter_number, present
from gridnn.layers.base import Layer
from gridnn.model.protocol import Model
from gridnn.model.trainable import TrainableModel
from gridnn.model.trainer import Trainer
from gridnn.model.training_state import objective_of

__all__ = ["Gradients", "Patch", "activations", "gradients", "maximize", "top_patches"]


def activations(
    model: Model, x: Any, layers: Sequence[Layer | str | int] | None = None
) -> dict[str, NDArray[Any]]:
    """The outputs of layers for a batch, in inference mode.

    Args:
        model: a model.
        x: a batch ``(batch, ...)``; for several inputs a list, or a dict by name.
        layers: layers, their names or indices; None for all, nested ones included.

    Returns:
        Name of the layer in the model, ``<model>/<layer>`` within a model that is called -> array ``(batch,
        ...)``, in the order asked for.

    Raises:
        ShapeError, ValueError, TypeError: `x` or a layer does not fit.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((6, 6, 1)), gn.layers.Conv2D(4, 3), gn.layers.Flatten()])
        >>> {name: y.shape for name, y in gn.inspect.activations(model, np.ones((2, 6, 6, 1))).items()}
        {'conv2d': (2, 4, 4, 4), 'flatten': (2, 64)}
    """
    run = Run(model, x, several=True)
    chosen = [run.layer(layer) for layer in layers or ()]
    values = run.network.inspect(run.inputs).values
    if layers is None:
        nodes = [node for node in model.graph.by_position if node.kind != "input"]
        return {node.name: present(values[node.position]) for node in nodes}
    nodes = [model.graph.node(layer) for layer in chosen]
    return {node.name: present(values[node.position]) for node in nodes}


@dataclass(frozen=True)
class Gradients:
    """The gradients of a model's loss for a batch.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> found = gn.inspect.gradients(model, np.ones((2, 8, 8, 1)), np.array([0, 1]))
        >>> type(found).__name__
        'Gradients'
    """

    loss: float
    """The loss: the mean over its elements, or their sum, as its reduction says."""
    weights: dict[str, list[NDArray[Any]]]
    """Name of every layer with weights -> a gradient for each array of its ``get_weights()``; zeros for
    moving statistics, which are not learned."""
    input: NDArray[Any]
    """Gradient to the input, of the shape of `x`."""
    activations: dict[str, NDArray[Any]]
    """Name of the layer -> gradient to its output."""


def gradients(
    model: TrainableModel, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
) -> Gradients:
    """The gradients of the compiled loss to weights, input and activations; nothing is updated.

    The model works in inference mode: dropout does nothing, and batch normalization uses its moving
    statistics.

    Args:
        model: a compiled model.
        x: a batch.
        y: its targets.
        sample_weight: weight of each sample in the loss.

    Raises:
        ValueError, TypeError: the model is not compiled, or data does not fit.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> found = gn.inspect.gradients(model, np.ones((2, 8, 8, 1)), np.array([0, 1]))
        >>> found.input.shape
        (2, 8, 8, 1)
    """
    run = Run(model, x)
    found, result = Trainer(model).inspect_on_batch(run.x, y, sample_weight)
    objectives = objective_of(model).outputs
    names = {node.position: node.name for node in model.graph.nodes if node.kind != "input"}
    weights: dict[str, list[NDArray[Any]]] = {}
    for info, gradient in zip(run.network.weights, found.weights, strict=True):
        weights.setdefault(names[info.layer], []).append(gradient)
    slopes = [present(gradient) for gradient in found.gradients]
    return Gradients(
        sum(objective.weight * loss for objective, loss in zip(objectives, result.losses, strict=True)),
        weights,
        slopes[0],
        {name: slopes[position] for position, name in names.items()},
    )


@dataclass(frozen=True)
class Patch:
    """A part of an image that excites a filter.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> found = gn.inspect.top_patches(model, "conv2d", 0, np.ones((2, 8, 8, 1)), count=1)
        >>> type(found[0]).__name__
        'Patch'
    """

    value: float
    """Output of the filter there."""
    image: int
    """Number of the image."""
    position: tuple[int, ...]
    """Position in the filter's map."""
    span: tuple[tuple[int, int], ...]
    """First and last element of the patch along each axis of the image; it may reach beyond."""
    pixels: NDArray[Any]
    """The patch, zeros beyond the image."""


def top_patches(
    model: Model,
    layer: Layer | str | int,
    filter: int,  # noqa: A002 - the field's word
    images: ArrayLike,
    count: int = 9,
) -> list[Patch]:
    """The patches that excite a filter most: one per image, where its map is largest.

    After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014).

    Args:
        model: a model.
        layer: a layer with spatial axes, its name or its index.
        filter: channel of its output.
        images: a batch.
        count: how many patches at most.

    Returns:
        Patches of the size of the layer's receptive field, the most exciting first.

    Raises:
        ShapeError: the layer has no spatial axes.
        ValueError, TypeError: there is no such layer or filter.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> x = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
        >>> patches = gn.inspect.top_patches(model, "conv2d", 0, x, count=2)
        >>> patches[0].pixels.shape
        (3, 3, 1)
    """
    count = _validation.positive_integer(count, "count")
    run = Run(model, images)
    member = run.layer(layer)
    field = next(f for f in receptive_field(model, run.x.shape[1:]) if f.name == member.name)
    maps = run.output_of(member)
    expect_grid(maps, member)
    maps = maps[..., filter_number(filter, maps.shape[-1])]
    best = maps.reshape(len(maps), -1).argmax(axis=1)
    values = maps.reshape(len(maps), -1)[np.arange(len(maps)), best]
    patches = []
    for number in np.argsort(-values, kind="stable")[:count]:
        place = tuple(int(i) for i in np.unravel_index(best[number], maps.shape[1:]))
        span = field.of(*place) if field.outputs else field.of()
        patches.append(Patch(float(values[number]), int(number), place, span, cut(run.x[number], span)))
    return patches


def cut(image: NDArray[Any], span: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """A part of an image ``(*spatial, channels)``, with zeros where it reaches beyond."""
    patch = np.zeros((*(last - first + 1 for first, last in span), image.shape[-1]), image.dtype)
    inside = [(max(first, 0), min(last + 1, n)) for (first, last), n in zip(span, image.shape, strict=False)]
    source = tuple(slice(low, high) for low, high in inside)
    target = tuple(
        slice(low - first, high - first) for (low, high), (first, _) in zip(inside, span, strict=True)
    )
    patch[target] = image[source]
    return patch


def maximize(
    model: Model,
    layer: Layer | str | int,
    filter: int,  # noqa: A002 - the field's word
    *,
    input_shape: Sequence[int] | None = None,
    start: ArrayLike | None = None,
    steps: int = 100,
    step_size: float = 1.0,
    blur: float = 0.5,
    seed: int = 0,
) -> NDArray[Any]:
    """An input that excites a filter, found by gradient ascent (Erhan and others 2009).

    The mean of the filter's map is climbed with steps of constant length (the gradient divided by its root
    mean square, times a share `step_size` of the input's spread); a slight blur after every step suppresses
    the noise that ascent alone would make (Yosinski and others 2015).

    Args:
        model: a model.
        layer: a layer, its name or its index.
        filter: channel (or unit) of its output.
        input_shape: shape of the input; needed where the model leaves sizes open.
        start: input to begin with, without the batch; None for noise around 0.
        steps: number of steps.
        step_size: length of the steps in tenths of the start's standard deviation.
        blur: standard deviation of the blur in elements; 0 for none.
        seed: seed of the noise.

    Returns:
        The input, an array ``(*spatial, channels)``.

    Raises:
        ValueError, TypeError: there is no such layer or filter, or sizes are unknown.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> gn.inspect.maximize(model, "conv2d", 0, steps=3, seed=0).shape
        (8, 8, 1)
    """
    steps = _validation.positive_integer(steps, "steps")
    length = _validation.real(step_size, "step_size", low=0.0)
    blur = _validation.real(blur, "blur", low=0.0)
    x = _first_input(model, input_shape, start, seed)
    spread = float(x.std()) or 1.0
    run = Run(model, x[None])
    position = run.position(layer)
    shape = run.output_of(layer).shape
    dy = np.zeros(shape, run.network.dtype)
    dy[..., filter_number(filter, shape[-1])] = shape[-1] / dy.size
    current = run.x.astype(run.network.dtype)
    for _ in range(steps):
        run.x = np.asarray(current, order="C")
        slope = present(run.backward(position, dy).gradients[0])
        scale = float(np.sqrt(np.mean(np.square(slope, dtype=np.float64))))
        if scale == 0:
            break  # nothing excites the filter here: a dead ReLU, or a map that is flat
        current = current + slope * (0.1 * length * spread / scale)
        if blur:
            current = _blurred(current, blur)
    result: NDArray[Any] = current[0]
    return result


def _first_input(
    model: Model, input_shape: Sequence[int] | None, start: ArrayLike | None, seed: int
) -> NDArray[Any]:
    if start is not None:
        return as_array(start, "start").astype(model.dtype)
    shape = model.input_shape[1:] if input_shape is None else tuple(input_shape)
    if None in shape:
        raise ValueError(f"Sizes of the input of model '{model.name}' are unknown: pass input_shape=(...).")
    sizes = [_validation.positive_integer(n, "input_shape") for n in shape]
    noise = np.random.default_rng(_validation.integer(seed, "seed")).normal(size=sizes)
    return (0.1 * noise).astype(model.dtype)


def _blurred(x: NDArray[Any], sigma: float) -> NDArray[Any]:
    """The grid filtered with a Gaussian; the border repeats its last element."""
    rank = x.ndim - 2
    if rank < 1:
        return x
    bell = filters.gaussian(sigma, rank, size=2 * max(int(3 * sigma + 0.5), 1) + 1)
    return filters.filter_image(x, bell.astype(x.dtype), padding_mode="edge")
