"""Writes version_0_1_0_models.zip: models of every family as 0.1.0 saved them, and what it predicted.

It was run once, by version 0.1.0 (commit 8dac526); running it again would make files of another version.
"""

import io
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import goldens

# Models whose files are small; compiled, trained for two steps and saved with their optimizer.
NAMES = [
    name for name in goldens.MODELS if name not in {"lenet5", "resnet50", "googlenet", "vgg11", "resnet18"}
]


def main() -> None:
    """Trains each model for two steps and keeps its file and its predictions of two samples."""
    target = Path(__file__).with_suffix(".zip")
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name in NAMES:
            make, optimizer = goldens.MODELS[name]
            model = make()
            x = (np.arange(2 * np.prod(model.input_shape[1:])) % 7 / 7).astype(np.float32)
            x = x.reshape(2, *model.input_shape[1:])
            y = model.predict(x, verbose=0)
            dense = y.ndim > 2
            labels = np.zeros(y.shape[:-1], np.int64) if dense else np.array([0, 1])
            model.compile(optimizer, "ce")
            model.fit(x, labels, epochs=2, batch_size=2, seed=5, verbose=0)
            path = Path(folder) / "model.gridnn"
            model.save(path)
            if path.stat().st_size > 60_000:
                print("left out, too large:", name, path.stat().st_size)
                continue
            values = io.BytesIO()
            np.save(values, model.predict(x, verbose=0).astype(np.float32))
            for suffix, content in ((".gridnn", path.read_bytes()), (".npy", values.getvalue())):
                archive.writestr(zipfile.ZipInfo(name.replace(" ", "_") + suffix), content)
    print(target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
