"""The former place of what reads and writes files: `gridnn.load_model` and its likes."""

from gridnn.model.loading import load_model
from gridnn.model.saving import load_weights, save, save_weights
from gridnn.model.sequential import copied as copied  # which pickles name by this place

__all__ = ["load_model", "load_weights", "save", "save_weights"]
