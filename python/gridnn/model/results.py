"""What evaluations return: a list or a dict as in Keras, which a notebook shows as a table."""

from __future__ import annotations

from collections.abc import Mapping

from gridnn import _html

__all__ = ["NamedResults", "Results"]


class Results(list[float]):
    """Loss and metrics in the order of the names.

    Args:
        logs: name -> value.
    """

    def __init__(self, logs: Mapping[str, float]) -> None:
        super().__init__(logs.values())
        self._names = tuple(logs)

    def __reduce__(self) -> tuple[type[list[float]], tuple[list[float]]]:
        return list, (list(self),)  # pickles and copies are plain lists

    def _repr_html_(self) -> str:
        """A table, which notebooks show."""
        return _html.results_table(dict(zip(self._names, self, strict=False)))


class NamedResults(dict[str, float]):
    """Loss and metrics by name."""

    def __reduce__(self) -> tuple[type[dict[str, float]], tuple[dict[str, float]]]:
        return dict, (dict(self),)

    def _repr_html_(self) -> str:
        """A table, which notebooks show."""
        return _html.results_table(self)
