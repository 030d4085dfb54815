"""The former place of `gridnn.model.saving`, and the same module."""

import sys

from gridnn.model import saving
from gridnn.model.saving import *  # noqa: F403 (for type checkers: at run time the module below is found)

sys.modules[__name__] = saving
