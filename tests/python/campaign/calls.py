"""Functional calls and layers: ordinary ones against float64 loops, and ones with absurd arguments."""

import functools
import random
import resource

import numpy as np
import test_functional_conv
import test_functional_pool
import twins

import gridnn as gn
from gridnn import functional, layers

_SIZES = [
    0,
    1,
    1,
    1,
    2,
    2,
    3,
    5,
    -1,
    100,
    2**15,
    2**31,
    2**33,
    2**40,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
    1.5,
    None,
]
_PADDINGS = ["valid", "same", "same", "causal", "full", None]
# More elements than this are not asked for: that would only be slow.
_LARGEST = 1 << 24
# Nor more multiply-adds of a sample; and of the twin, whose loop over a window of 100^3 takes minutes, fewer.
_LONGEST = 1 << 28
_LONGEST_TWIN = 1 << 19


def attempt(number, folder):
    """One call, or one layer; 1."""
    _limit_memory()
    kind = number % 4
    if kind == 0:
        test_functional_conv.test_random_problems(number)
    elif kind == 1:
        test_functional_pool.test_pools_against_loops(number)
    elif kind == 2:
        _hostile_call(random.Random(number))
    else:
        _layer(random.Random(number))
    return 1


@functools.cache
def _limit_memory():
    """A result of many gigabytes is what was asked for, but here it would only be slow: MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, hard))


def _size(rng, ordinary):
    return rng.choice(_SIZES) if rng.random() < 0.35 else rng.randint(1, ordinary)


def _sizes(rng, rank, ordinary):
    return _size(rng, ordinary) if rng.random() < 0.5 else [_size(rng, ordinary) for _ in range(rank)]


def _padding(rng, rank):
    way = rng.random()
    if way < 0.5:
        return rng.choice(_PADDINGS)
    if way < 0.7:
        return _size(rng, 3)
    return [(_size(rng, 3), _size(rng, 3)) for _ in range(rank)]


def _hostile_call(rng):
    """Any function, any size: an answer of the right shape or an exception that a caller can mend."""
    rank = rng.randint(1, 3)
    shape = (rng.randint(0, 2), *(rng.randint(1, 7) for _ in range(rank)), rng.choice([1, 2, 4]))
    x = np.ones(shape, rng.choice([np.float32, np.float64]))
    kernel = [rng.randint(1, 3) for _ in range(rank)]
    options = {}
    for name, make in {
        "strides": lambda: _sizes(rng, rank, 3),
        "dilation_rate": lambda: _sizes(rng, rank, 3),
        "padding": lambda: _padding(rng, rank),
        "padding_mode": lambda: rng.choice(["zeros", "reflect", "edge", "wrap", "symmetric", "constant"]),
        "groups": lambda: _size(rng, 2),
    }.items():
        if rng.random() < 0.5:
            options[name] = make()
    kind = rng.choice(["conv", "transpose", "depthwise", "max_pool", "average_pool", "pad"])
    c_in = shape[-1]
    groups = options.get("groups", 1) if isinstance(options.get("groups", 1), int) else 1
    inner = max(c_in // groups, 1) if groups > 0 else 1
    call = {
        "conv": lambda: _call(f"conv{rank}d", x, np.ones((*kernel, inner, 2)), **options),
        "transpose": lambda: _call(
            f"conv{rank}d_transpose",
            x,
            np.ones((*kernel, 2, c_in)),
            **_without(options, "padding_mode"),
            **({"output_padding": _sizes(rng, rank, 2)} if rng.random() < 0.4 else {}),
        ),
        "depthwise": lambda: _call(
            f"depthwise_conv{rank}d", x, np.ones((*kernel, c_in, 2)), **_without(options, "groups")
        ),
        "max_pool": lambda: _call(
            f"max_pool{rank}d", x, _sizes(rng, rank, 4), **_without(options, "groups", "padding_mode")
        ),
        "average_pool": lambda: _call(
            f"average_pool{rank}d",
            x,
            _sizes(rng, rank, 4),
            **_without(options, "groups", "padding_mode", "dilation_rate"),
        ),
        "pad": lambda: _call(
            f"pad{rank}d",
            x,
            [(_size(rng, 3), _size(rng, 3)) for _ in range(rank)],
            mode=options.get("padding_mode", "zeros"),
        ),
    }[kind]
    y = call()
    if y is not None:
        assert y.shape[0] == shape[0], f"{kind}: {y.shape} of {shape}"
        assert np.isfinite(y).all() or kind == "max_pool", f"{kind}: not finite"


def _without(options, *names):
    return {name: value for name, value in options.items() if name not in names}


def _call(name, *arguments, **options):
    try:
        return getattr(functional, name)(*arguments, **options)
    except (ValueError, TypeError, MemoryError):
        return None


def _layer(rng):
    """A layer with some absurd argument builds and runs, or says what is wrong; a small one is the twin's."""
    rank = rng.randint(1, 3)
    shape = (*(rng.randint(3, 8) for _ in range(rank)), rng.randint(1, 3))
    absurd = rng.random() < 0.5

    def size(ordinary):
        return _size(rng, ordinary) if absurd else rng.randint(1, ordinary)

    classes = {
        "Conv": lambda c: c(size(4), size(3), strides=size(2), padding=rng.choice(["valid", "same"])),
        "ConvTranspose": lambda c: c(
            size(4), size(3), strides=size(3), padding=rng.choice(["valid", "same"])
        ),
        "Pool": lambda c: c(size(3), strides=size(2), padding=rng.choice(["valid", "same"])),
        "Pad": lambda c: c(size(2)),
        "Up": lambda c: c(size(3)),
        "Crop": lambda c: c(size(2)),
    }
    names = {
        "Conv": f"Conv{rank}D",
        "ConvTranspose": f"Conv{rank}DTranspose",
        "Pool": rng.choice([f"MaxPooling{rank}D", f"AveragePooling{rank}D"]),
        "Pad": f"ZeroPadding{rank}D",
        "Up": f"UpSampling{rank}D",
        "Crop": f"Cropping{rank}D",
    }
    kind = rng.choice(sorted(names))
    try:
        layer = classes[kind](getattr(layers, names[kind]))
        model = gn.Sequential([gn.Input(shape), layer], dtype="float64", seed=1)
        if np.prod([float(n) for n in model.output_shape[1:]]) > _LARGEST:
            return
        work = sum(count or 0 for count in model.network.macs)
        if work > _LONGEST:
            return
        x = np.random.default_rng(1).normal(size=(2, *shape))
        y = model.predict(x, verbose=0)
    except (ValueError, TypeError, MemoryError):
        assert absurd or kind in ("Crop", "Pool", "Conv"), f"{names[kind]} of ordinary sizes was refused"
        return
    if work > _LONGEST_TWIN:
        assert np.isfinite(y).all(), f"{names[kind]}: not finite"
        return
    try:
        expected = twins.forward(model, model.get_weights(), x)
    except (ValueError, MemoryError):
        assert absurd, "the twin cannot do ordinary sizes"
        return  # a padded array that NumPy has no room for, where the engine needs none
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)
