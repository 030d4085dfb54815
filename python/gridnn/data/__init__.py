"""Data as people have it: folders of images and sounds, tables, series, and sets too large for memory.

Every loader returns arrays ``x, y``, or with `batch_size` a `Batches` object that reads them batch by batch
while the engine works. Nothing is downloaded. Errors name the file.

Images need Pillow (``pip install "gridnn[image]"``); sounds other than WAV need soundfile (``pip install
"gridnn[audio]"``). Arrays of h5py and zarr are read as they are.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> series = np.arange(10.0)
    >>> x, y = gn.data.windows(series, series, length=4, horizon=1)
    >>> x.shape, x[0, :, 0], y[0]
    ((6, 4, 1), array([0., 1., 2., 3.]), np.float64(4.0))
"""

from gridnn._reading import Batches
from gridnn.data._audio import audio_folder
from gridnn.data._image_folder import image_folder, image_mask_folder
from gridnn.data._lazy import lazy
from gridnn.data._samples import Samples
from gridnn.data._series import windows
from gridnn.data._tables import csv_images

__all__ = [
    "Batches",
    "Samples",
    "audio_folder",
    "csv_images",
    "image_folder",
    "image_mask_folder",
    "lazy",
    "windows",
]
