"""Names of a model's classes, which travel with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["ClassNames"]


class ClassNames:
    """Adds them to a model."""

    @property
    def class_names(self: Model) -> list[str] | None:
        """Names of the classes, in the order of the outputs; None where nobody has given any.

        Files, pickles and exported models keep them, and `report` shows them. To set them, assign a list of
        one name for each output, or of two for a single output: ``model.class_names = train.class_names``.
        """
        names = self.training_state.class_names
        return None if names is None else list(names)

    @class_names.setter
    def class_names(self: Model, names: Sequence[str] | None) -> None:
        if names is not None:
            if isinstance(names, str):
                raise TypeError(f"`class_names` must be a list of names. Received {names!r}.")
            given: tuple[object, ...] = tuple(names)
            wrong = [name for name in given if not isinstance(name, str)]
            if wrong:
                raise TypeError(
                    f"`class_names` must hold strings. Received {wrong[0]!r} among them: pass "
                    "[str(name) for name in names]."
                )
            names = tuple(str(name) for name in names)
            if self.built:
                outputs = self.network.output_shape[-1]
                if len(names) != (2 if outputs == 1 else outputs):
                    raise ValueError(
                        f"`class_names` must name the {outputs} outputs of model '{self.name}'"
                        f"{', or two classes' if outputs == 1 else ''}. Received {len(names)} names."
                    )
        self.training_state.class_names = names
