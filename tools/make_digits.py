"""Writes python/gridnn/assets/digits.npz from scikit-learn's copy of the UCI set.

Run once, in an environment of its own with scikit-learn installed; the result is committed. The order of the
scans is that of the source, because the split of `gridnn.datasets.digits` goes by it.

Example:
    python tools/make_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "python" / "gridnn" / "data" / "digits.npz"


def main() -> None:
    """Converts the float64 images to uint8 without loss and stores images and labels."""
    source = load_digits()
    images = source.images.astype(np.uint8)
    if not np.array_equal(images, source.images):
        raise SystemExit("the source holds values that are not whole numbers from 0 to 255")
    np.savez_compressed(TARGET, images=images, labels=source.target.astype(np.uint8))
    print(f"{TARGET}: {len(images)} scans, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
