"""The exceptions of gridnn that Python does not already have.

Each is a subclass of the built-in exception a careful caller would catch anyway, and carries its message as
the only argument, so that it survives pickling and crosses process boundaries. The engine raises these very
classes.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> model = gn.Sequential([gn.Input((3,)), gn.layers.Dense(1)])
    >>> try:
    ...     model.predict(np.zeros((2, 4)))
    ... except gn.errors.ShapeError as error:  # a ValueError
    ...     print(error)
    `x` does not fit the model's Input: expected shape (batch, 3), received (2, 4)...
"""

__all__ = [
    "DistributedError",
    "FileFormatError",
    "NonFiniteError",
    "NonFiniteInputError",
    "NotReadyError",
    "ShapeError",
]


class ShapeError(ValueError):
    """An array, or the result a layer would have, does not have a usable shape.

    Example:
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten()])
        >>> try:
        ...     model.predict(np.zeros((2, 9, 9, 1)))
        ... except gn.errors.ShapeError as error:
        ...     print(type(error).__name__)
        ShapeError
    """


class FileFormatError(ValueError):
    """A file is damaged, truncated, of another format, or written by a newer version.

    Example:
        >>> with open("notes.gridnn", "w") as file:
        ...     _ = file.write("no model")
        >>> try:
        ...     gn.load_model("notes.gridnn")
        ... except gn.errors.FileFormatError as error:
        ...     print(type(error).__name__)
        FileFormatError
    """


class DistributedError(RuntimeError):
    """One of the processes that share a run has failed, or does not fit the others; all of them raise it.

    The message names its rank, its host, and what it raised.

    Example:
        >>> issubclass(gn.errors.DistributedError, RuntimeError)
        True
    """


class NotReadyError(ValueError, AttributeError):
    """A model or a layer has what was asked for only once it is built, or compiled.

    For `hasattr` it does not have it yet.

    Example:
        >>> try:
        ...     gn.Sequential([layers.Dense(1)]).get_weights()
        ... except gn.errors.NotReadyError as error:
        ...     print("not built" in str(error))
        True
    """


class NonFiniteError(ArithmeticError):
    """The loss or a gradient became NaN or infinite; the weights are as they were before that step.

    Example:
        >>> issubclass(gn.errors.NonFiniteError, ArithmeticError)
        True
    """


class NonFiniteInputError(NonFiniteError, ValueError):
    """The loss became NaN or infinite because a sample of the inputs is; the message names the first.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> try:
        ...     _ = model.fit(np.array([[np.nan, 1.0]]), np.zeros(1), verbose=0)
        ... except gn.errors.NonFiniteInputError as error:
        ...     print(type(error).__name__)
        NonFiniteInputError
    """
