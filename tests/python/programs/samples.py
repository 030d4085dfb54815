"""Small made-up data for the programs: the tutorials that they resemble download theirs."""

import numpy as np


def digits(count, size=20, classes=10, seed=0):
    """Grey pictures of 0 to 255 with a bright bar whose angle says the class, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    angles = np.pi * labels / classes + rng.normal(0, 0.03, count)
    distance = np.abs(
        np.cos(angles)[:, None, None] * rows
        - np.sin(angles)[:, None, None] * columns
        + rng.normal(0, 1, count)[:, None, None]
    )
    pictures = 255 * np.clip(1.5 - distance / 2, 0, 1) + rng.normal(0, 12, (count, size, size))
    return np.clip(pictures, 0, 255).astype("uint8"), labels


def photos(count, size=16, classes=4, seed=0):
    """Coloured pictures ``(count, size, size, 3)`` of 0 to 255, and labels ``(count, 1)``."""
    grey, labels = digits(count, size, classes, seed)
    tint = np.random.default_rng(seed + 1).uniform(0.4, 1, (count, 1, 1, 3))
    return (grey[..., None] * tint).astype("uint8"), labels[:, None]


def blobs(count, size=16, seed=0):
    """Grey pictures ``(count, size, size, 1)`` of two kinds of spots, and masks of their kinds."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((count, size, size, 1), "int32")
    for kind in (1, 2):
        centers = rng.uniform(3, size - 3, (2, count, 1, 1))
        inside = (rows - centers[0]) ** 2 + (columns - centers[1]) ** 2 < rng.uniform(4, 14, (count, 1, 1))
        masks[inside] = kind
    pictures = masks * 0.4 + rng.normal(0, 0.08, masks.shape)
    return pictures.astype("float32"), masks


def engines(count, length=64, seed=0):
    """Standardized noisy waves ``(count, length, 1)`` of two forms, and labels of -1 and 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count) * 2 - 1
    time = np.linspace(0, 6 * np.pi, length) + rng.uniform(0, 6, (count, 1))
    waves = np.sin(time) + 0.6 * (labels[:, None] > 0) * np.sin(3 * time)
    waves += rng.normal(0, 0.2, waves.shape)
    waves = (waves - waves.mean(axis=1, keepdims=True)) / waves.std(axis=1, keepdims=True)
    return waves[..., None].astype("float32"), labels


def scans(count, size=12, seed=0):
    """Volumes ``(count, size, size, size, 1)`` from 0 to 1, and whether there is a dense spot in them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    volumes = rng.uniform(0, 0.4, (count, size, size, size, 1))
    for volume, label in zip(volumes, labels, strict=True):
        z, y, x = rng.integers(2, size - 4, 3)
        volume[z : z + 3, y : y + 3, x : x + 3] += 0.6 * label
    return volumes.astype("float32"), labels


def houses(count, size=16, seed=0):
    """Pictures of house fronts, their areas and rooms, and with them prices and ages."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0, 1, (count, size, size, 3)) * rng.uniform(0.2, 1, (count, 1, 1, 1))
    facts = rng.uniform(0, 1, (count, 2))
    prices = 1 + 2 * facts[:, :1] + pictures.mean(axis=(1, 2, 3))[:, None]
    ages = (facts[:, 1] > 0.5).astype("float32")[:, None]
    return pictures.astype("float32"), facts.astype("float32"), prices.astype("float32"), ages
