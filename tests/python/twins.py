"""Obvious NumPy implementations of what the engine computes, in float64: witnesses, not rivals.

Nothing here is taken from the package but the descriptions of layers. A gradient is a central difference of
the forward pass, so the two can only be wrong together if the engine is wrong in the same way twice.
"""

import functools
import itertools
import math

import numpy as np


def pads(size, kernel, stride, dilation, padding):
    """The zeros (before, after) one axis."""
    span = (kernel - 1) * dilation + 1
    if padding == "same":
        total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
        return total // 2, total - total // 2
    if padding == "causal":
        return span - 1, 0
    return 0, 0


def all_pads(shape, kernel, strides, dilation, padding):
    if isinstance(padding, str):
        return [pads(*axis, padding) for axis in zip(shape, kernel, strides, dilation, strict=True)]
    return [tuple(pair) for pair in padding]


def windows(x, kernel, strides, dilation, padding, fill=0.0, mode="zeros"):
    """For every tap of the window, the input that it meets at each output: (batch, *out, channels)."""
    rank = len(kernel)
    spatial = all_pads(x.shape[1:-1], kernel, strides, dilation, padding)
    border = {"mode": "constant", "constant_values": fill} if mode == "zeros" else {"mode": mode}
    x = np.pad(x, [(0, 0), *spatial, (0, 0)], **border)
    out = [(x.shape[1 + a] - (kernel[a] - 1) * dilation[a] - 1) // strides[a] + 1 for a in range(rank)]
    if min(out) <= 0:
        raise ValueError("nothing left")
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        rows = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, dilation, out, strides, strict=True)
        )
        taps.append((tap, x[(slice(None), *rows)]))
    return taps


def convolution(x, kernel, bias=None, *, strides, padding, padding_mode="zeros", dilation_rate, groups):
    size = kernel.shape[:-2]
    filters = kernel.shape[-1]
    c_in, c_out = kernel.shape[-2], filters // groups
    y = 0.0
    for tap, values in windows(x, size, strides, dilation_rate, padding, mode=padding_mode):
        parts = [
            values[..., g * c_in : (g + 1) * c_in] @ kernel[tap][:, g * c_out : (g + 1) * c_out]
            for g in range(groups)
        ]
        y = y + np.concatenate(parts, axis=-1)
    return y if bias is None else y + bias


def transposed_convolution(
    x, kernel, bias=None, *, strides, padding, output_padding=None, dilation_rate, groups=1
):
    """Every element spread over a window, then cropped (or filled up) to Keras' size."""
    rank = x.ndim - 2
    c_in, inner = x.shape[-1], kernel.shape[-2]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape[:rank], dilation_rate, strict=True)]
    sizes, crops = [], []
    for axis, (n, span, s) in enumerate(zip(x.shape[1:-1], spans, strides, strict=True)):
        extra = None if output_padding is None else np.broadcast_to(output_padding, rank)[axis]
        if padding == "valid":
            sizes.append((n - 1) * s + span + (max(span, s) - span if extra is None else extra))
            crops.append(0)
        elif padding == "same":
            sizes.append(n * s if extra is None else (n - 1) * s + span % 2 + extra)
            length = s + span - 2 if extra is None else span + span % 2 - 2 + extra
            crops.append(span - 1 - min(math.ceil(length / 2), span - 1))
        else:
            sizes.append((n - 1) * s + span + (extra or 0) - sum(padding[axis]))
            crops.append(padding[axis][0])
    if min(sizes) <= 0:
        raise ValueError("nothing left")
    spread = [(n - 1) * s + span for n, s, span in zip(x.shape[1:-1], strides, spans, strict=True)]
    rooms = [max(a, size + crop) for a, size, crop in zip(spread, sizes, crops, strict=True)]
    y = np.zeros((len(x), *rooms, inner * groups))
    for tap in itertools.product(*map(range, kernel.shape[:rank])):
        rows = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation_rate, x.shape[1:-1], strides, strict=True)
        )
        for g in range(groups):
            own = slice(g * c_in // groups, (g + 1) * c_in // groups)
            y[(slice(None), *rows, slice(g * inner, (g + 1) * inner))] += x[..., own] @ kernel[tap][:, own].T
    cut = tuple(slice(crop, crop + size) for crop, size in zip(crops, sizes, strict=True))
    y = y[(slice(None), *cut)]
    return y if bias is None else y + bias


def adaptive_pooling(x, output_size, reduce):
    """Window by window, as the definition has it."""
    y = np.empty((len(x), *output_size, x.shape[-1]))
    for place in np.ndindex(*output_size):
        axes = zip(place, x.shape[1:-1], output_size, strict=True)
        window = tuple(slice(math.floor(i * n / o), math.ceil((i + 1) * n / o)) for i, n, o in axes)
        y[(slice(None), *place)] = reduce(x[(slice(None), *window)], axis=tuple(range(1, x.ndim - 1)))
    return y


def pool_taps(x, pool_size, strides, padding, ceil_mode, fill):
    """Taps of a pool; `ceil_mode` extends the input until rounding down counts every window."""
    ones = [1] * len(pool_size)
    pairs = all_pads(x.shape[1:-1], pool_size, strides, ones, padding)
    if ceil_mode:
        for a, (n, k, s) in enumerate(zip(x.shape[1:-1], pool_size, strides, strict=True)):
            before, after = pairs[a]
            out = -(-(n + before + after - k) // s) + 1
            out -= (out - 1) * s >= n + before
            pairs[a] = (before, max((out - 1) * s + k - n - before, 0))
            assert (n + sum(pairs[a]) - k) // s + 1 == out
    return [values for _, values in windows(x, pool_size, strides, ones, pairs, fill)]


def max_pooling(x, pool_size, strides, padding, ceil_mode):
    return np.max(pool_taps(x, pool_size, strides, padding, ceil_mode, -np.inf), axis=0)


def average_pooling(x, pool_size, strides, padding, count_include_pad, ceil_mode):
    taps = (pool_size, strides, padding, ceil_mode, 0.0)
    there = np.ones_like(x)
    if count_include_pad:
        # Padding counts; what rounding up adds behind it does not.
        pairs = all_pads(x.shape[1:-1], pool_size, strides, [1] * len(pool_size), padding)
        whole = np.ones(
            (len(x), *(n + sum(pair) for n, pair in zip(x.shape[1:-1], pairs, strict=True)), x.shape[-1])
        )
        rounded = pool_taps(x, *taps)[0].shape
        extra = [
            max((o - 1) * s + k - n, 0)
            for o, s, k, n in zip(rounded[1:-1], strides, pool_size, whole.shape[1:-1], strict=True)
        ]
        there = windows(whole, pool_size, strides, [1] * len(pool_size), [(0, e) for e in extra], 0.0)
        return sum(pool_taps(x, *taps)) / sum(values for _, values in there)
    return sum(pool_taps(x, *taps)) / sum(pool_taps(there, *taps))


def upsampling(x, size, interpolation="nearest"):
    for a, factor in enumerate(size):
        n = x.shape[a + 1]
        if interpolation == "nearest":
            x = x.repeat(factor, axis=a + 1)
            continue
        place = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
        low = np.minimum(np.floor(place).astype(int), max(n - 2, 0))
        weight = (place - low).reshape([-1 if b == a + 1 else 1 for b in range(x.ndim)])
        x = x.take(low, a + 1) * (1 - weight) + x.take(np.minimum(low + 1, n - 1), a + 1) * weight
    return x


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


_erf = np.vectorize(math.erf, otypes=[float])

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "softmax": softmax,
    "log_softmax": lambda x: np.log(softmax(x)),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: (
        1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "exponential": np.exp,
}


def activation(name):
    """The function of a name, which may have parameters."""
    kind, _, parameters = name.rstrip(")").partition("(")
    if not parameters:
        return ACTIVATIONS[name]
    numbers = [None if part == "None" else float(part) for part in parameters.split(", ")]
    if kind == "relu":
        return lambda x: relu(x, *numbers)
    if kind == "elu":
        return lambda x: np.where(x > 0, x, numbers[0] * np.expm1(np.minimum(x, 0)))
    return lambda x: np.where(x > 0, x, numbers[0] * x)


def relu(x, max_value, negative_slope, threshold):
    y = np.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


def grid_of(config, sizes):
    """The grid that a layer asks for, by its height, width and depth."""
    names = {1: ("height",), 2: ("height", "width"), 3: ("depth", "height", "width")}[len(sizes)]
    return [config[name] or size for name, size in zip(names, sizes, strict=True)]


def middle(x, grid):
    for axis, size in enumerate(grid, 1):
        start = (x.shape[axis] - size) // 2
        x = np.take(x, range(start, start + size), axis)
    return x


def resized(x, grid, nearest):
    for axis, size in enumerate(grid, 1):
        n = x.shape[axis]
        rows = np.zeros((size, n))
        for o in range(size):
            place = (o + 0.5) * n / size - 0.5
            low = math.floor(place + 0.5) if nearest else math.floor(place)
            far = 0 if nearest else place - low
            rows[o, min(max(low, 0), n - 1)] += 1 - far
            rows[o, min(max(low + 1, 0), n - 1)] += far
        x = np.moveaxis(np.tensordot(rows, x, (1, axis)), 0, axis)
    return x


def spectrum(config, x):
    """Padding "valid", the windows that NumPy has, every frame by itself."""
    length = config["frame_length"]
    step, size = (
        config["frame_step"] or length // 2,
        config["fft_length"] or 2 ** math.ceil(math.log2(length)),
    )
    window = {"hann": np.hanning, "hamming": np.hamming}[config["window"]](length)
    window = window / (np.sqrt((window**2).sum()) if config["scaling"] == "density" else window.sum())
    frames = [x[:, t : t + length] for t in range(0, x.shape[1] - length + 1, step)]
    z = np.stack([np.fft.rfft(frame * window[:, None], size, axis=1) for frame in frames], axis=1)
    power = np.abs(z) ** 2
    y = {
        "log": lambda: 0.5 * np.log(np.maximum(power, 1e-7)),
        "magnitude": lambda: np.sqrt(np.maximum(power, 1e-7)),
        "psd": lambda: power * np.array([1, *[2] * (z.shape[2] - 2), 1])[:, None],
        "real": lambda: z.real,
        "imag": lambda: z.imag,
        "angle": lambda: np.angle(z),
        "stft": lambda: np.concatenate([z.real, z.imag], axis=2),
    }[config["mode"]]()
    return y if config["expand_dims"] else y.swapaxes(2, 3).reshape(*y.shape[:2], -1)


def layer(description, weights, x):
    """One layer in inference mode, from `get_config` and its list of weights."""
    kind, config = description["class_name"], description["config"]
    if kind.endswith("Transpose"):
        names = ("strides", "padding", "output_padding", "dilation_rate", "groups")
        y = transposed_convolution(x, *weights, **{name: config[name] for name in names})
        return activation(config["activation"])(y)
    if kind.startswith(("Depthwise", "Separable")):
        names = ("strides", "padding", "padding_mode", "dilation_rate")
        options = {name: config[name] for name in names}
        kernel, *rest = weights
        flat = kernel.reshape(*kernel.shape[:-2], 1, -1)
        y = convolution(x, flat, **options, groups=kernel.shape[-2])
        if kind.startswith("Separable"):
            y = y @ rest[0].reshape(rest[0].shape[-2:])
        return activation(config["activation"])(y + rest[-1] if config["use_bias"] else y)
    if kind.startswith("Conv"):
        names = ("strides", "padding", "padding_mode", "dilation_rate", "groups")
        y = convolution(x, *weights, **{name: config[name] for name in names})
        return activation(config["activation"])(y)
    if kind == "Dense":
        y = x @ weights[0] + (weights[1] if config["use_bias"] else 0)
        return activation(config["activation"])(y)
    if kind.startswith("MaxPooling"):
        names = ("pool_size", "strides", "padding", "ceil_mode")
        return max_pooling(x, *(config[name] for name in names))
    if kind.startswith("AveragePooling"):
        names = ("pool_size", "strides", "padding", "count_include_pad", "ceil_mode")
        return average_pooling(x, *(config[name] for name in names))
    if kind.startswith("Adaptive"):
        return adaptive_pooling(x, config["output_size"], np.max if "Max" in kind else np.mean)
    if kind.startswith("Global"):
        reduce = np.max if "Max" in kind else np.mean
        return reduce(x, axis=tuple(range(1, x.ndim - 1)), keepdims=config["keepdims"])
    if kind.startswith(("ZeroPadding", "Padding")):
        mode = config.get("mode", "zeros")
        return np.pad(x, [(0, 0), *config["padding"], (0, 0)], mode="constant" if mode == "zeros" else mode)
    if kind.startswith("Cropping"):
        inner = (slice(a, n - b) for n, (a, b) in zip(x.shape[1:-1], config["cropping"], strict=True))
        return x[(slice(None), *inner)]
    if kind.startswith("UpSampling"):
        return upsampling(x, config["size"], config.get("interpolation", "nearest"))
    if kind == "ActivityRegularization":
        return x
    if kind == "Activation":
        return activation(config["activation"])(x)
    if kind == "ReLU":
        return relu(x, config["max_value"], config["negative_slope"], config["threshold"])
    if kind == "LeakyReLU":
        return np.where(x > 0, x, config["negative_slope"] * x)
    if kind == "ELU":
        return np.where(x > 0, x, config["alpha"] * np.expm1(np.minimum(x, 0)))
    if kind == "PReLU":
        return np.where(x > 0, x, weights[0] * x)
    if kind == "Identity":
        return x
    if kind == "UnitNormalization":
        axis = config["axis"] if isinstance(config["axis"], int) else tuple(config["axis"])
        return x / np.sqrt(np.maximum((x**2).sum(axis=axis, keepdims=True), 1e-12))
    if kind == "TimeDistributed":
        slices = [layer(config["layer"], weights, x[:, time]) for time in range(x.shape[1])]
        return np.stack(slices, axis=1)
    if kind == "Softmax" and not isinstance(config["axis"], int):
        powers = np.exp(x)
        return powers / powers.sum(axis=tuple(config["axis"]), keepdims=True)
    if kind == "Softmax":
        return softmax(x, config["axis"])
    if kind == "Rescaling":
        return x * np.asarray(config["scale"]) + np.asarray(config["offset"])
    if kind == "Normalization":
        mean, deviation = config["mean"], np.sqrt(config["variance"])
        return x * deviation + mean if config["invert"] else (x - mean) / deviation
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "CenterCrop":
        return middle(x, grid_of(config, x.shape[1:-1]))
    if kind == "Resizing":
        return resized(x, grid_of(config, x.shape[1:-1]), config["interpolation"] == "nearest")
    if kind == "STFT":
        return spectrum(config, x)
    if kind in ("Dropout", "GaussianDropout", "GaussianNoise", "MixUp") or kind.startswith(
        ("SpatialDropout", "Random")
    ):
        return x
    if kind == "LayerNormalization":
        axes = [a % x.ndim for a in np.atleast_1d(config["axis"])]
        sizes = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]
        return sample_normalization(config, weights, x, tuple(axes), sizes)
    if kind == "GroupNormalization":
        axis = config["axis"] % x.ndim
        groups = x.shape[axis] if config["groups"] == -1 else config["groups"]
        parts = np.split(x, groups, axis=axis)
        plain = {**config, "scale": False, "center": False}
        axes = tuple(range(1, x.ndim))
        y = np.concatenate([sample_normalization(plain, [], part, axes, None) for part in parts], axis=axis)
        sizes = [x.shape[a] if a == axis else 1 for a in range(x.ndim)]
        return scaled(config, weights, y, sizes)
    if kind == "Reshape":
        return x.reshape(len(x), *config["target_shape"])
    if kind == "Permute":
        return x.transpose(0, *config["dims"])
    if kind == "RepeatVector":
        return np.stack([x] * config["n"], axis=1)
    if kind == "BatchNormalization":
        return batch_normalization(config, weights, x)
    if kind == "Chain":
        return chain(config["layers"], iter(weights), x)
    if kind == "Residual":
        left = iter(weights)
        y = chain(config["layers"], left, x)
        return y + chain(config["shortcut"] or [], left, x)
    if kind == "Parallel":
        left = iter(weights)
        return merge(config["merge"], [chain(branch, left, x) for branch in config["branches"]])
    raise ValueError(f"there is no twin of {kind}")


def merge(kind, ends):
    if kind == "concat":
        return np.concatenate(ends, axis=-1)
    if kind == "average":
        return sum(ends) / len(ends)
    return functools.reduce({"add": np.add, "multiply": np.multiply, "maximum": np.maximum}[kind], ends)


def scaled(config, weights, y, sizes):
    learned = list(weights)
    y = y * learned.pop(0).reshape(sizes) if config["scale"] else y
    return y + learned.pop(0).reshape(sizes) if config["center"] else y


def sample_normalization(config, weights, x, axes, sizes):
    y = x - x.mean(axes, keepdims=True)
    return scaled(config, weights, y / np.sqrt(x.var(axes, keepdims=True) + config["epsilon"]), sizes)


def batch_normalization(config, weights, x, training=False):
    """Channels at mean 0 and variance 1; training takes the batch's."""
    learned, (mean, variance) = list(weights[:-2]), weights[-2:]
    axes = tuple(a for a in range(x.ndim) if a != config["axis"] % x.ndim)
    if training:
        mean, variance = x.mean(axes), x.var(axes)
    gamma = learned.pop(0) if config["scale"] else 1.0
    beta = learned.pop(0) if config["center"] else 0.0
    shape = [-1 if a not in axes else 1 for a in range(x.ndim)]
    mean, variance, gamma, beta = (
        np.reshape(v, shape) if np.ndim(v) else v for v in (mean, variance, gamma, beta)
    )
    return (x - mean) / np.sqrt(variance + config["epsilon"]) * gamma + beta


def weight_count(description):
    """Weights of a layer, from its `get_config`."""
    kind, config = description["class_name"], description["config"]
    if kind == "BatchNormalization":
        return 2 + config["scale"] + config["center"]
    if kind.endswith("Normalization") and "scale" in config:
        return config["scale"] + config["center"]
    if kind == "TimeDistributed":
        return weight_count(config["layer"])
    if kind == "Parallel":
        return sum(weight_count(child) for branch in config["branches"] for child in branch)
    if kind in ("Chain", "Residual"):
        return sum(weight_count(child) for child in config["layers"] + (config.get("shortcut") or []))
    if kind == "PReLU":
        return 1
    if "use_bias" in config:
        return 1 + kind.startswith("Separable") + config["use_bias"]
    return 0


def chain(descriptions, weights, x):
    """Layers one after the other; each takes its share of the iterator `weights`."""
    for description in descriptions:
        x = layer(description, list(itertools.islice(weights, weight_count(description))), x)
    return x


def forward(model, weights, x):
    """The outputs of a `Sequential` whose weights are `weights`, in inference mode."""
    layers = model.get_config()["layers"][-len(model.layers) :]
    left = iter(weights)
    y = chain(layers, left, np.asarray(x, dtype=np.float64))
    assert next(left, None) is None, "weights are left over"
    return y


def log_probabilities(outputs, from_logits):
    if from_logits:
        shifted = outputs - outputs.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.log(np.clip(outputs / outputs.sum(axis=-1, keepdims=True), 1e-7, 1 - 1e-7))


def sparse_categorical_crossentropy(y, outputs, from_logits=True, ignore_class=None):
    """(losses, which of them count)."""
    counts = np.ones(y.shape, bool) if ignore_class is None else y != ignore_class
    picked = np.where(counts, y, 0)[..., np.newaxis].astype(int)
    return -np.take_along_axis(log_probabilities(outputs, from_logits), picked, axis=-1)[
        ..., 0
    ] * counts, counts


def categorical_crossentropy(y, outputs, from_logits=True, label_smoothing=0.0):
    y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    losses = -(y * log_probabilities(outputs, from_logits)).sum(axis=-1)
    return losses, np.ones(losses.shape, bool)


def mean_squared_error(y, outputs):
    losses = ((y - outputs) ** 2).mean(axis=-1)
    return losses, np.ones(losses.shape, bool)


def reduce(losses_and_counts, sample_weight=None, reduction="sum_over_batch_size"):
    """Keras' reductions: with weights the mean is sum(loss * weight) / count."""
    losses, counts = losses_and_counts
    if sample_weight is not None and (losses.ndim == 0 or len(losses) != len(sample_weight)):
        losses = losses * np.mean(sample_weight)  # numbers of the whole batch
    elif sample_weight is not None:
        losses = losses * np.reshape(sample_weight, (-1, *[1] * (losses.ndim - 1)))
    return losses.sum() / (counts.sum() if reduction == "sum_over_batch_size" else 1)


def gradients(function, weights, step=1e-6):
    """Central differences of a scalar function of a list of arrays."""
    out = []
    for i, weight in enumerate(weights):
        gradient = np.empty_like(weight)
        for at in np.ndindex(weight.shape):
            values = []
            for sign in (1, -1):
                moved = [w.copy() if i == j else w for j, w in enumerate(weights)]
                moved[i][at] += sign * step
                values.append(function(moved))
            gradient[at] = (values[0] - values[1]) / (2 * step)
        out.append(gradient)
    return out
