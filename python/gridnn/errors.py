"""The exceptions of gridnn that Python does not already have.

Each is a subclass of the built-in exception a careful caller would catch anyway, and carries its message as
the only argument, so that it survives pickling and crosses process boundaries. The engine raises these very
classes.
"""

__all__ = ["FileFormatError", "NonFiniteError", "NonFiniteInputError", "NotReadyError", "ShapeError"]


class ShapeError(ValueError):
    """An array, or the result a layer would have, does not have a usable shape."""


class FileFormatError(ValueError):
    """A file is damaged, truncated, of another format, or written by a newer version."""


class NotReadyError(ValueError, AttributeError):
    """A model or a layer has what was asked for only once it is built, or compiled.

    For `hasattr` it does not have it yet.
    """


class NonFiniteError(ArithmeticError):
    """The loss or a gradient became NaN or infinite; the weights are as they were before that step."""


class NonFiniteInputError(NonFiniteError, ValueError):
    """The loss became NaN or infinite because a sample of the inputs is; the message names the first."""
