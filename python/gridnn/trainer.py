"""The former place of `gridnn.model.trainer`, and the same module."""

import sys

from gridnn.model import trainer
from gridnn.model.trainer import *  # noqa: F403 (for type checkers: at run time the module below is found)

sys.modules[__name__] = trainer
