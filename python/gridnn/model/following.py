"""How targets of single positions follow layers that move samples: what `augment_targets` may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from gridnn._network import Network, Shape, TargetGrids
from gridnn._structures import spread
from gridnn.losses import Loss

AugmentTargets: TypeAlias = (
    bool | Literal["auto", "bilinear"] | Mapping[str, bool | str] | Sequence[bool | str]
)

_MODES = ("auto", "bilinear", True, False)


@dataclass(frozen=True, slots=True)
class Follow:
    """How the targets of the outputs follow.

    Args:
        modes: of every output "auto", "bilinear", True or False.
        training: whether layers move samples by chance.
    """

    modes: tuple[bool | str, ...]
    training: bool

    @classmethod
    def of(cls, value: object, names: Sequence[str]) -> Follow:
        """What a user has said, for outputs of these names.

        Raises:
            ValueError: an unknown mode, an unknown output.
            TypeError: something else.
        """
        if isinstance(value, (Mapping, list, tuple)):
            each = spread(value, names, "augment_targets", "output", gaps=True)
            modes = ["auto" if mode is None else mode for mode in each]
        else:
            modes = [value] * len(names)
        for mode in modes:
            if not isinstance(mode, (bool, str)):
                raise TypeError(
                    "The `augment_targets` argument must be 'auto', 'bilinear', True or False, or a dict of "
                    f"them by output. Received augment_targets={value!r}."
                )
            if mode not in _MODES:
                raise ValueError(
                    "The `augment_targets` argument must be 'auto', 'bilinear', True or False. Received "
                    f"augment_targets={value!r}."
                )
        return cls(tuple(modes), True)

    def validating(self) -> Follow:
        """The same for inference."""
        return Follow(self.modes, False)

    def target(
        self,
        number: int,
        network: Network,
        x: Sequence[NDArray[Any]],
        y: NDArray[Any],
        loss: Loss,
        argument: str,
    ) -> tuple[Shape, str | None]:
        """What the targets `y` of an output must look like, and how they are moved.

        Args:
            number: of the output.
            network: the network.
            x: the inputs.
            y: the targets, as they were given.
            loss: the loss of the output.
            argument: name of the targets, for messages.

        Returns:
            The shape that an output of the targets' own sizes would have; and "nearest", "bilinear" or None.

        Raises:
            ValueError: they cannot follow.
        """
        shape, mode = network.results[number], self.modes[number]
        if not network.moves or mode is False:
            return shape, None
        own = network.target_grids(x)[number]
        moves = len(own.grids) > 1
        if self.training:
            # Said of all outputs at once it is meant for those that have positions.
            asked = mode != "auto" and (len(self.modes) == 1 or len(shape) > 1)
            _check(own, mode if asked else "auto", loss, argument)
        if not moves and not (own.mixes and self.training):
            return shape, None
        grids = own.grids[: own.starts] if self.training else own.grids
        rank = len(shape) - 1
        found = next((grid for grid in grids if tuple(grid) == y.shape[1 : 1 + rank]), grids[0])
        return (*found, shape[-1]), "bilinear" if mode == "bilinear" else "nearest"


def _check(own: TargetGrids, mode: bool | str, loss: Loss, argument: str) -> None:
    if own.refusal is not None:
        raise ValueError(
            f"`{argument}` holds targets of single positions, which cannot follow the layers that move "
            f"samples: {own.refusal}. Put the layer where its grid is that of the output, or pass "
            "augment_targets=False, which leaves targets where they are."
        )
    if own.mixes and loss.targets == "labels":
        raise ValueError(
            f"The model mixes samples (MixUp), and `{argument}` holds class labels, which cannot be mixed: "
            "use gridnn.utils.to_categorical(y) and the loss 'categorical_crossentropy'; "
            "augment_targets=False would leave the labels as they are."
        )
    if mode != "auto" and len(own.grids) == 1 and not own.mixes:
        raise ValueError(
            f"augment_targets={mode!r}, but no layer moves what stands at the positions of `{argument}`. Use "
            "'auto'."
        )
