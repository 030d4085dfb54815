"""The former name of `gridnn.filters`, and the same module."""

import sys

from gridnn import filters
from gridnn.filters import *  # noqa: F403 (for type checkers: at run time the module below is found)

sys.modules[__name__] = filters
