"""What the chapters of the lab need: samples to look at, and exercises that are checked.

Example:
    >>> import gridnn as gn
    >>> gn.lab.check("output size of a valid convolution", 26)
    Right. 28 - 3 + 1 = 26.
    True
"""

from __future__ import annotations

from gridnn.lab._exercises import check, exercises, hint, question
from gridnn.lab._samples import image, sound, sounds, volume

__all__ = ["check", "exercises", "hint", "image", "question", "sound", "sounds", "volume"]
