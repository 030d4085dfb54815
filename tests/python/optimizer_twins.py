"""NumPy witnesses of the optimizers, one function per rule, from the formulas of Keras 3.15; see twins.py."""

import math

import numpy as np


def sgd(w, g, s, lr, t, *, momentum=0.0, nesterov=False):
    s["v"] = momentum * s.get("v", 0) - lr * g
    return w + (momentum * s["v"] - lr * g if nesterov else s["v"])


def rmsprop(w, g, s, lr, t, *, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    s["a"] = rho * s.get("a", 0) + (1 - rho) * g
    step = lr * g / np.sqrt(s["v"] - centered * s["a"] ** 2 + epsilon)
    s["m"] = momentum * s.get("m", 0) + step
    return w - s["m"]


def adam(w, g, s, lr, t, *, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    s["m"] = beta_1 * s.get("m", 0) + (1 - beta_1) * g
    s["v"] = beta_2 * s.get("v", 0) + (1 - beta_2) * g**2
    s["top"] = np.maximum(s.get("top", 0), s["v"])
    alpha = lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return w - alpha * s["m"] / (np.sqrt(s["top"] if amsgrad else s["v"]) + epsilon)


# Its weight decay is among the options that every rule has.
adamw = adam


def adagrad(w, g, s, lr, t, *, initial_accumulator_value=0.1, epsilon=1e-7):
    s["a"] = s.get("a", initial_accumulator_value) + g**2
    return w - lr * g / np.sqrt(s["a"] + epsilon)


def adadelta(w, g, s, lr, t, *, rho=0.95, epsilon=1e-7):
    s["a"] = rho * s.get("a", 0) + (1 - rho) * g**2
    delta = -np.sqrt(s.get("e", 0) + epsilon) / np.sqrt(s["a"] + epsilon) * g
    s["e"] = rho * s.get("e", 0) + (1 - rho) * delta**2
    return w + lr * delta


def adamax(w, g, s, lr, t, *, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    s["m"] = beta_1 * s.get("m", 0) + (1 - beta_1) * g
    s["u"] = np.maximum(beta_2 * s.get("u", 0), np.abs(g))
    return w - lr / (1 - beta_1**t) * s["m"] / (s["u"] + epsilon)


def nadam(w, g, s, lr, t, *, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    def u(i):
        return beta_1 * (1 - 0.5 * 0.96**i)

    s["m"] = beta_1 * s.get("m", 0) + (1 - beta_1) * g
    s["v"] = beta_2 * s.get("v", 0) + (1 - beta_2) * g**2
    product = math.prod(u(i) for i in range(1, t + 1))
    ahead = u(t + 1) * s["m"] / (1 - product * u(t + 1)) + (1 - u(t)) * g / (1 - product)
    return w - lr * ahead / (np.sqrt(s["v"] / (1 - beta_2**t)) + epsilon)


def lion(w, g, s, lr, t, *, beta_1=0.9, beta_2=0.99):
    m = s.get("m", 0)
    s["m"] = beta_2 * m + (1 - beta_2) * g
    return w - lr * np.sign(beta_1 * m + (1 - beta_1) * g)


class Twin:
    """A rule with what Keras puts around all of them: accumulation, clipping, decay, averages."""

    def __init__(
        self,
        rule,
        learning_rate,
        weight_decay=None,
        clipnorm=None,
        clipvalue=None,
        global_clipnorm=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        gradient_accumulation_steps=None,
        **settings,
    ):
        self.rule, self.learning_rate, self.settings = rule, learning_rate, settings
        self.weight_decay = weight_decay or 0.0
        self.clips = clipnorm, clipvalue, global_clipnorm
        self.ema = (ema_momentum, ema_overwrite_frequency) if use_ema else None
        self.batches = gradient_accumulation_steps or 1
        self.iterations = 0
        self.gathered, self.slots, self.averages = None, None, None

    def clip(self, grads):
        norm, value, overall = self.clips
        if norm:
            return [g * norm / max(np.sqrt((g**2).sum()), norm) for g in grads]
        if overall:
            total = np.sqrt(sum((g**2).sum() for g in grads))
            return [g * overall / max(total, overall) for g in grads]
        return [np.clip(g, -value, value) for g in grads] if value else grads

    def step(self, weights, grads):
        """The weights after a batch."""
        self.slots = self.slots or [{} for _ in weights]
        self.gathered = [a + g for a, g in zip(self.gathered or [0] * len(grads), grads, strict=True)]
        updates, due = divmod(self.iterations + 1, self.batches)
        before = self.iterations // self.batches
        lr = (
            self.learning_rate
            if isinstance(self.learning_rate, float)
            else self.learning_rate(self.iterations)
        )
        if due == 0:
            grads = self.clip([g / self.batches for g in self.gathered])
            self.gathered = None
            weights = [
                self.rule(w - w * self.weight_decay * lr, g, s, lr, updates, **self.settings)
                for w, g, s in zip(weights, grads, self.slots, strict=True)
            ]
        if self.ema:
            momentum = self.ema[0] if before else 0.0
            old = self.averages or weights
            self.averages = [momentum * a + (1 - momentum) * w for a, w in zip(old, weights, strict=True)]
            if self.ema[1] and (before + 1) % self.ema[1] == 0:
                weights = self.averages
        self.iterations += 1
        return weights
