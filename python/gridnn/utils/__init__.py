"""What programs written for ``keras.utils`` call: thin forms of what `gridnn.data` and NumPy do.

Example:
    >>> gn.utils.to_categorical([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
"""

from gridnn._seeding import set_random_seed
from gridnn.utils._arrays import is_keras_tensor, normalize, pad_sequences, to_categorical
from gridnn.utils._files import get_file, image_dataset_from_directory, img_to_array, load_img
from gridnn.utils._pictures import plot_model
from gridnn.utils._sets import PyDataset, Sequence, timeseries_dataset_from_array

__all__ = [
    "PyDataset",
    "Sequence",
    "get_file",
    "image_dataset_from_directory",
    "img_to_array",
    "is_keras_tensor",
    "load_img",
    "normalize",
    "pad_sequences",
    "plot_model",
    "set_random_seed",
    "timeseries_dataset_from_array",
    "to_categorical",
]
