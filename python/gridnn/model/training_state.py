"""`TrainingState`: what `compile` and `fit` leave in a model beside its weights, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridnn.errors import NotReadyError
from gridnn.model.compilation import Compilation, Objectives

if TYPE_CHECKING:
    from gridnn.model.protocol import Model
    from gridnn.model.resuming import Record, Run

__all__ = ["Progress", "TrainingState", "compilation_of", "compile_engine", "objective_of", "resolve"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training has come."""

    epoch: int = 0
    """Epochs completed."""
    seed: int | None = None
    """Seed of the last fit."""


@dataclass(slots=True)
class TrainingState:
    """What `compile` and `fit` leave in a model; files keep it."""

    compilation: Compilation | None = None
    progress: Progress = field(default_factory=Progress)
    """As the last epoch that was completed has left it."""
    run: Run | None = None
    """That of `fit`, while it is at work."""
    record: Record | None = None
    """Of the run within which the file was written that the model comes from."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes, in the order of the outputs."""

    def now(self) -> Progress:
        """How far training has come; within `fit`, in that run."""
        return self.progress if self.run is None else Progress(self.run.epoch, self.run.seed)

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """While it lasts, `run` is at work; after it the one that it was called within, if there is one."""
        outer, self.run = self.run, run
        try:
            yield
        finally:
            if self.run is run:  # not that of another thread
                self.run = outer if outer is not None and outer.thread == run.thread else None


def compilation_of(model: Model) -> Compilation:
    """What `compile` was given.

    Raises:
        NotReadyError: it was not called.
    """
    compilation = model.training_state.compilation
    if compilation is None:
        raise NotReadyError(
            f"Model '{model.name}' must be compiled before training or evaluation: call "
            "compile(optimizer, loss)."
        )
    return compilation


def resolve(model: Model, target_shapes: Sequence[Sequence[int] | None]) -> Objectives:
    """The objectives for targets of these shapes; `compile_engine` makes them final."""
    return compilation_of(model).resolve(target_shapes, model.network.results, model.output_activations)


def compile_engine(model: Model, objective: Objectives) -> None:
    """Compiles the engine, the first time."""
    with model.locked():
        compilation = compilation_of(model)
        if compilation.objective is not objective or not compilation.in_engine:
            model.network.compile(
                {
                    **compilation.optimizer.engine_description(),
                    "undecayed": compilation.optimizer.undecayed([weight.path for weight in model.weights]),
                },
                [output.engine_description() for output in objective.outputs],
            )
            compilation.objective = objective
            compilation.in_engine = True


def objective_of(model: Model) -> Objectives:
    """The objectives that training works on."""
    objective = compilation_of(model).objective
    if objective is None:
        raise ValueError(f"Model '{model.name}' was compiled anew during training; start fit again.")
    return objective
