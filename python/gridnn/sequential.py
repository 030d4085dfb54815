"""The former place of `gridnn.model.sequential`, and the same module."""

import sys

from gridnn.model import sequential
from gridnn.model.sequential import *  # noqa: F403 (for type checkers: at run time the module below is found)

sys.modules[__name__] = sequential
