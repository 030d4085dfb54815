"""The exercises of the lab: a question, a hint, and a check that says what is wrong with an answer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gridnn import _validation
from gridnn.lab import _checks

__all__ = ["check", "exercises", "hint", "question"]


@dataclass(frozen=True)
class _Exercise:
    question: str
    hint: str
    check: Callable[[Any], str | None]
    """What is wrong with an answer, as a sentence; None if it is right."""
    praise: str


_EXERCISES = {
    "place in memory": _Exercise(
        "An array has shape (2, 4, 5, 3): batch, height, width, channels, in C order. At which place of "
        "`x.ravel()` is `x[1, 2, 3, 0]`?",
        "Each step along an axis jumps over all elements of the axes behind it.",
        _checks.number(
            99,
            {
                33: "That forgets that each pixel has 3 channels.",
                30: "The last axis moves fastest, not the first.",
            },
        ),
        "((1 * 4 + 2) * 5 + 3) * 3 + 0 = 99.",
    ),
    "edge kernel": _Exercise(
        "Make a 3 x 3 kernel that answers 0 on any constant image and a positive number where the image "
        "gets brighter from top to bottom, wherever it stands, and nothing where it gets brighter from left "
        "to right.",
        "The weights must sum to 0. What should the sign of the top row be, and of the bottom row?",
        _checks.edge_kernel,
        "It sees changes from top to bottom and nothing else.",
    ),
    "weights of a layer": _Exercise(
        "How many weights has `Conv2D(16, 5)` on an image with 3 channels, biases included?",
        "Every filter has a kernel as deep as the input, and one bias.",
        _checks.number(
            1216,
            {
                1200: "The kernels are right; every filter has a bias as well.",
                416: "Each filter looks at all 3 channels.",
                400: "Each filter looks at all 3 channels, and has a bias.",
            },
        ),
        "16 * (5 * 5 * 3 + 1) = 1216.",
    ),
    "rectify": _Exercise(
        "Write a function that returns what ReLU makes of an array.",
        "`numpy.maximum` compares element by element.",
        _checks.rectify,
        "Everything below zero is zero, the rest is as it was.",
    ),
    "entries of the matrix": _Exercise(
        'A 3 x 3 convolution, "valid", one channel and one filter, runs over an 8 x 8 image. How many '
        "entries of its matrix can differ from 0?",
        "A row of the matrix is an output. How many outputs are there, and how many inputs does each see?",
        _checks.number(
            324,
            {
                2304: "That is the size of the matrix; most of it is 0.",
                9: "There are only 9 different weights, but each stands in every row.",
                576: 'That would be the answer for "same" padding, were it not for the border.',
            },
        ),
        "36 outputs, each seeing 9 inputs.",
    ),
    "learn a filter": _Exercise(
        "Learn the kernel of the horizontal Sobel filter (`gn.filters.sobel()`) from images and their "
        "filtered versions alone. The answer is the kernel of the layer.",
        'Filter random images, then train a single `Conv2D(1, 3, use_bias=False)` on the pairs with "mse".',
        _checks.learned_kernel,
        "The data contained the filter.",
    ),
    "output size of a valid convolution": _Exercise(
        'A "valid" 3 x 3 convolution runs over a 28 x 28 image. How wide is its output?',
        "In how many places does a window of 3 fit into 28?",
        _checks.number(26, {28: 'That is "same" padding.', 25: "One more: the first place counts too."}),
        "28 - 3 + 1 = 26.",
    ),
    "output size": _Exercise(
        "Write a function `f(n, kernel, stride, pad, dilation)` that returns the number of outputs along an "
        "axis of n elements, with `pad` zeros on both sides.",
        "A dilated kernel covers dilation * (kernel - 1) + 1 elements.",
        _checks.output_size,
        "It agrees with `gn.inspect.conv_arithmetic` everywhere.",
    ),
    "same padding": _Exercise(
        'With padding "same", kernel 4 and stride 3 on 10 elements: how many zeros are added before, how '
        "many after? Answer with a pair.",
        "There are ceil(10 / 3) outputs. How far does the last window reach? The odd zero goes to the end.",
        _checks.pair(
            (1, 2),
            {
                (2, 1): "The odd zero goes to the end.",
                (1, 1): "The last of 4 windows ends 3 elements too late for 10, so 3 zeros are needed.",
            },
        ),
        "4 windows reach over (4 - 1) * 3 + 4 = 13 elements: 3 zeros, the odd one at the end.",
    ),
    "receptive field": _Exercise(
        "Conv 3, pool 2, conv 3, pool 2, conv 3 (pools with stride 2): how many input elements along an axis "
        "does an output see?",
        "Keep two numbers, size and jump. A window of k adds (k - 1) * jump; a stride multiplies the jump.",
        _checks.number(
            18,
            {
                7: "That would be right without the pools.",
                16: "The pools see something as well: each adds (2 - 1) * jump.",
                9: "Strides multiply the jump of all that follows.",
            },
        ),
        "3, then 4, then 8, then 10, then 18.",
    ),
    "price of a stride": _Exercise(
        "By what factor does the number of multiply-adds of an image convolution shrink, nearly, if the "
        "stride goes from 1 to 2?",
        "Count the outputs.",
        _checks.number(4, {2: "An image has two axes."}),
        "Half as many outputs along each of two axes.",
    ),
    "separable weights": _Exercise(
        "How many weights has a separable 3 x 3 convolution from 64 to 128 channels, without biases?",
        "One 3 x 3 kernel per input channel, then a 1 x 1 convolution.",
        _checks.number(
            8768,
            {
                73728: "That is the plain convolution, 8.4 times as many.",
                8192: "That is the pointwise part alone.",
                576: "That is the depthwise part alone.",
            },
        ),
        "64 * 9 + 64 * 128 = 8768, against 73728 of the plain one.",
    ),
    "dilated layers": _Exercise(
        "Causal convolutions of kernel 2 with dilations 1, 2, 4, 8, ...: how many layers does it take until "
        "an output sees 1000 samples?",
        "Layer i adds its dilation, 2 ** i, to the field.",
        _checks.number(
            10, {9: "After 9 layers the field is 512.", 1000: "Without dilation it would be 999."}
        ),
        "After 10 layers the field is 1 + 1 + 2 + 4 + ... + 512 = 1024.",
    ),
    "max pool": _Exercise(
        "Write a function that pools an array (height, width), both even, by the maximum of 2 x 2 blocks.",
        "Reshape to (height / 2, 2, width / 2, 2): the blocks are then two axes.",
        _checks.max_pool,
        "It agrees with `gn.functional.max_pool2d`.",
    ),
    "where the weights are": _Exercise(
        "What share of VGG-16's 138,357,544 parameters is in its first dense layer (25,088 inputs, 4,096 "
        "units)? Answer with a number from 0 to 1.",
        "Inputs times units, and a bias per unit.",
        _checks.near(102764544 / 138357544, 0.005),
        "Three quarters of all weights are in a single dense layer; ResNet and its kin have none like it.",
    ),
    "translate a call": _Exercise(
        "`tf.nn.conv2d(x, k, strides=1, padding=[[0, 0], [1, 1], [2, 2], [0, 0]])`: what is `padding` in "
        "`gn.functional.conv2d`?",
        "One (before, after) pair per spatial axis; batch and channels are never padded.",
        _checks.pads([(1, 1), (2, 2)]),
        "Pairs for the spatial axes only.",
    ),
    "small model": _Exercise(
        "Build a model for the digits, (8, 8, 1) to 10 classes, with at least one convolution and at most "
        "5,000 weights. The answer is the model; it need not be trained.",
        "A dense layer behind `Flatten` is expensive: pool first, or use `GlobalAveragePooling2D`.",
        _checks.small_model,
        "Small, and all there.",
    ),
    "read digits": _Exercise(
        "Train a model that reads at least 93 % of the test digits of `gn.datasets.digits()` correctly. The "
        "answer is the model.",
        "Scale the values to 0..1, use 32 filters or more, and train for 15 epochs or more.",
        _checks.reads_digits,
        "Well read.",
    ),
}


def exercises() -> list[str]:
    """Names of all exercises, in the order of the chapters.

    Example:
        >>> len(gn.lab.exercises()) > 10
        True
    """
    return list(_EXERCISES)


def _find(name: object) -> _Exercise:
    text = _validation.string(name, "name")
    if text not in _EXERCISES:
        raise ValueError(f"There is no exercise {text!r}. There are: {', '.join(_EXERCISES)}.")
    return _EXERCISES[text]


def question(name: str) -> str:
    """The text of an exercise, in lines that fit a page.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> gn.lab.question("output size of a valid convolution")
        'A "valid" 3 x 3 convolution runs over a 28 x 28 image. How wide is its output?'
    """
    return textwrap.fill(_find(name).question, 88)


def hint(name: str) -> str:
    """Something to think of.

    Raises:
        ValueError: there is no exercise of this name.

    Example:
        >>> gn.lab.hint("output size of a valid convolution")
        'In how many places does a window of 3 fit into 28?'
    """
    return _find(name).hint


def check(name: str, answer: object) -> bool:
    """Checks an answer and prints what is right or wrong about it.

    Args:
        name: name of the exercise; see `exercises`.
        answer: a number, an array, a function or a model, as the question asks.

    Returns:
        Whether it is right.

    Raises:
        ValueError: there is no exercise of this name.

    Example:
        >>> gn.lab.check("output size of a valid convolution", 26)
        Right. 28 - 3 + 1 = 26.
        True
    """
    exercise = _find(name)
    try:
        problem = exercise.check(answer)
    except Exception as error:
        problem = f"Trying it raised {type(error).__name__}: {error}"
    if problem is None:
        print(f"Right. {exercise.praise}")
        return True
    print(f"Not yet. {problem}")
    return False
