"""NumPy witnesses of losses and metrics, from the formulas of Keras 3.15; see twins.py.

A loss takes targets and outputs and returns its elements; a metric takes targets and probabilities of all
samples.
"""

import numpy as np

EPSILON = 1e-7


def mean(function):
    return lambda y, p: function(y, p).mean(axis=-1)


def clip(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def huber(delta):
    def element(y, p):
        d = np.abs(y - p)
        return np.where(d <= delta, d**2 / 2, delta * d - delta**2 / 2)

    return mean(element)


def binary(y, p):
    return -(y * np.log(clip(p)) + (1 - y) * np.log(1 - clip(p)))


def binary_crossentropy(from_logits=False, label_smoothing=0.0):
    def element(y, p):
        p = sigmoid(p) if from_logits else p
        return binary(y * (1 - label_smoothing) + label_smoothing / 2, p)

    return mean(element)


def binary_focal(from_logits=False, gamma=2.0, alpha=None, label_smoothing=0.0):
    def element(y, p):
        p = sigmoid(p) if from_logits else p
        y = y * (1 - label_smoothing) + label_smoothing / 2
        hit = y * p + (1 - y) * (1 - p)
        weight = 1.0 if alpha is None else y * alpha + (1 - y) * (1 - alpha)
        return weight * (1 - hit) ** gamma * binary(y, p)

    return mean(element)


def categorical_focal(from_logits=False, gamma=2.0, alpha=0.25, label_smoothing=0.0):
    def loss(y, p):
        p = softmax(p) if from_logits else p / p.sum(axis=-1, keepdims=True)
        y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
        return (-alpha * (1 - clip(p)) ** gamma * y * np.log(clip(p))).sum(axis=-1)

    return loss


def signs(y):
    return 2 * y - 1 if np.isin(y, (0, 1)).all() else y


def hinge(power):
    return mean(lambda y, p: np.maximum(1 - signs(y) * p, 0) ** power)


def categorical_hinge(y, p):
    return np.maximum(((1 - y) * p).max(axis=-1) - (y * p).sum(axis=-1) + 1, 0)


def kl_divergence(y, p):
    y, p = np.clip(y, EPSILON, 1), np.clip(p, EPSILON, 1)
    return (y * np.log(y / p)).sum(axis=-1)


def cosine(y, p):
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), EPSILON)  # noqa: E731
    return -(unit(y) * unit(p)).sum(axis=-1)


def msle(y, p):
    return (np.log(np.maximum(y, EPSILON) + 1) - np.log(np.maximum(p, EPSILON) + 1)) ** 2


def dice(axis=None):
    def loss(y, p):
        return 1 - 2 * (y * p).sum(axis=axis) / (y.sum(axis=axis) + p.sum(axis=axis) + EPSILON)

    return loss


def tversky(alpha=0.5, beta=0.5, axis=None):
    def loss(y, p):
        hits = (y * p).sum(axis=axis)
        missed, vain = (y * (1 - p)).sum(axis=axis), ((1 - y) * p).sum(axis=axis)
        return 1 - hits / (hits + alpha * missed + beta * vain + EPSILON)

    return loss


# Metrics


def hits(y, p, threshold=0.5, top_k=None, class_id=None):
    found = p > threshold
    if top_k is not None:
        order = np.argsort(-p, axis=-1, kind="stable").argsort(axis=-1)
        found = order < top_k
    if class_id is not None:
        y, found = y[..., class_id], found[..., class_id]
    return (y * found).sum(), ((1 - y) * found).sum(), (y * ~found).sum()


def f1_score(y, p, average, threshold=None):
    c = y.shape[-1]
    y, p = y.reshape(-1, c), p.reshape(-1, c)
    found = np.eye(c)[p.argmax(axis=-1)] if threshold is None else p > threshold
    axis = None if average == "micro" else 0
    right, alarms, misses = (
        np.atleast_1d(part.sum(axis=axis)) for part in (y * found, (1 - y) * found, y * (1 - found))
    )
    precision, recall = right / (right + alarms + EPSILON), right / (right + misses + EPSILON)
    scores = 2 * precision * recall / (precision + recall + EPSILON)
    return np.average(scores, weights=y.sum(axis=0) if average == "weighted" else None)


def auc(y, p, thresholds=200, curve="ROC", method="interpolation"):
    y, p = y.ravel().astype(float), p.ravel()
    steps = [-EPSILON, *((i + 1) / (thresholds - 1) for i in range(thresholds - 2)), 1 + EPSILON]
    right = np.array([(y * (p > step)).sum() for step in steps])
    alarms = np.array([((1 - y) * (p > step)).sum() for step in steps])
    if curve == "PR" and method == "interpolation":
        area, total = 0.0, y.sum()
        for a, b, c, d in zip(right, right[1:], right + alarms, (right + alarms)[1:], strict=False):
            slope = (a - b) / (c - d) if c > d else 0.0
            intercept = b - slope * d
            area += slope * (a - b + intercept * (np.log(c / d) if c > 0 and d > 0 else 0.0)) / total
        return area
    recall = right / y.sum()
    found = right + alarms
    precision = np.divide(right, found, out=np.zeros_like(right), where=found > 0)
    x, heights = (alarms / (1 - y).sum(), recall) if curve == "ROC" else (recall, precision)
    left, after = heights[:-1], heights[1:]
    heights = {
        "interpolation": (left + after) / 2,
        "minoring": np.minimum(left, after),
        "majoring": np.maximum(left, after),
    }[method]
    return ((x[:-1] - x[1:]) * heights).sum()


def mean_iou(y, p, ignore_class=None):
    wanted, found = y.argmax(axis=-1), p.argmax(axis=-1)
    counts = wanted != ignore_class
    wanted, found = wanted[counts], found[counts]
    shares = []
    for k in range(y.shape[-1]):
        union = ((wanted == k) | (found == k)).sum()
        if union:
            shares.append(((wanted == k) & (found == k)).sum() / union)
    return np.mean(shares)


def r2_score(y, p, weighted=False):
    y, p = y.reshape(-1, y.shape[-1]), p.reshape(-1, p.shape[-1])
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    scores = 1 - ((y - p) ** 2).sum(axis=0) / spread
    return np.average(scores, weights=spread if weighted else None)


def top_k(k):
    def metric(y, p):
        wanted = np.take_along_axis(p, y.argmax(axis=-1)[..., None], axis=-1)
        return ((p > wanted).sum(axis=-1) < k).mean()

    return metric
