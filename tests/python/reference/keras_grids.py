"""Writes what Keras makes of a small image and a short series: `keras_grids.json`, for `test_grids.py`.

Run where Keras, TensorFlow and SciPy are installed::

    KERAS_BACKEND=tensorflow python tests/python/reference/keras_grids.py
"""

import json
from pathlib import Path

import keras
import numpy as np

IMAGE = np.sin(0.7 * np.arange(35.0)).reshape(1, 5, 7, 1)
SERIES = np.sin(0.3 * np.arange(100.0)).reshape(1, 50, 2)

RESIZING = [
    {"height": 8, "width": 4},
    {"height": 8, "width": 4, "interpolation": "nearest"},
    {"height": 8, "width": 4, "interpolation": "bicubic"},
    {"height": 8, "width": 4, "interpolation": "lanczos3"},
    {"height": 9, "width": 5, "interpolation": "lanczos5"},
    {"height": 3, "width": 2, "antialias": True},
    {"height": 3, "width": 2, "interpolation": "bicubic", "antialias": True},
    {"height": 6, "width": 6, "crop_to_aspect_ratio": True},
    {"height": 4, "width": 9, "crop_to_aspect_ratio": True},
    {"height": 6, "width": 6, "pad_to_aspect_ratio": True, "fill_value": 2.0},
    {"height": 4, "width": 9, "pad_to_aspect_ratio": True, "interpolation": "nearest"},
]
CENTER_CROP = [
    {"height": 3, "width": 4},
    {"height": 4, "width": 7},
    {"height": 6, "width": 4},
    {"height": 9, "width": 9},
]
STFT = [
    {"mode": "log", "frame_length": 16, "frame_step": 5},
    {"mode": "stft", "frame_length": 16, "padding": "same", "fft_length": 32},
    {"mode": "psd", "frame_length": 12, "scaling": "spectrum", "window": "hamming"},
    {
        "mode": "magnitude",
        "frame_length": 16,
        "frame_step": 7,
        "scaling": None,
        "window": None,
        "padding": "same",
    },
    {"mode": "magnitude", "frame_length": 16, "expand_dims": True, "periodic": True},
    {"mode": "real", "frame_length": 16, "frame_step": 16, "window": "blackman"},
    {"mode": "imag", "frame_length": 10},
]


def cases():
    """Class, arguments, and what comes out."""
    for name, kind, x, rows in (
        ("Resizing", keras.layers.Resizing, IMAGE, RESIZING),
        ("CenterCrop", keras.layers.CenterCrop, IMAGE, CENTER_CROP),
        ("STFT", keras.layers.STFTSpectrogram, SERIES, STFT),
    ):
        for options in rows:
            y = np.asarray(kind(**options)(x.astype(np.float32)))
            yield {
                "layer": name,
                "arguments": options,
                "shape": y.shape[1:],
                "values": y.round(6).ravel().tolist(),
            }


def main():
    table = {"version": keras.__version__, "cases": list(cases())}
    lines = ",\n".join(json.dumps(case) for case in table["cases"])
    text = f'{{"version": "{table["version"]}", "cases": [\n{lines}\n]}}\n'
    Path(__file__).with_name("keras_grids.json").write_text(text)


if __name__ == "__main__":
    main()
