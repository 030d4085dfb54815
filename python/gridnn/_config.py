"""What layers, losses, metrics, optimizers and initializers have in common: they are descriptions.

A description is fully given by the arguments of its constructor. It can be written as plain JSON values and
made again from them; a `Registry` knows the classes of one kind by name. To add a loss or a layer is to write
its class and register it: nothing else in the package lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from gridnn import _validation
from gridnn._custom import class_named

if TYPE_CHECKING:
    from typing_extensions import Self


class Configurable:
    """An object described by the arguments of its constructor, which never change.

    Subclasses name those arguments in `config_fields` and keep each, in canonical form, in an attribute of
    that name.
    """

    config_fields: ClassVar[tuple[str, ...]] = ()
    _custom_method: ClassVar[str | None] = None
    """The method by which a subclass of the user's does in Python what the engine does for ours."""
    _custom: ClassVar[tuple[object, bool]]
    """The method for which `is_custom` was asked, and what it found; every step asks."""

    def __setattr__(self, name: str, value: Any) -> None:
        # What the engine was told is compiled there: a change here would be silently ignored.
        if name in self.config_fields and name in self.__dict__:
            raise AttributeError(f"{self.label}: `{name}` cannot change after construction; make a new one.")
        if name in self.config_fields and not self.is_custom():
            _validation.countable(value, name)
        super().__setattr__(name, value)

    @property
    def label(self) -> str:
        """How messages call this object."""
        return type(self).__name__

    @classmethod
    def is_custom(cls) -> bool:
        """Whether this is a class of the user's, whose work is done in Python."""
        name = cls._custom_method
        if name is None:
            return False
        method = getattr(cls, name)
        known: tuple[object, bool] | None = cls.__dict__.get("_custom")  # not that of a base
        if known is None or known[0] is not method:  # a method may be given to a class later
            bases = [base for base in cls.__mro__ if issubclass(base, Configurable) and name in vars(base)]
            known = cls._custom = method, method is not vars(bases[-1])[name]
        return known[1]

    @property
    def in_python(self) -> bool:
        """Whether its work is done in Python, by the user's code."""
        return self.is_custom()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {field: _plain(getattr(self, field)) for field in self.config_fields}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object that has this `get_config`."""
        return cls(**config)

    def engine_config(self) -> dict[str, Any]:
        """The configuration as the engine wants it: every choice made, every nested object lowered."""
        return {field: _lowered(getattr(self, field)) for field in self.config_fields}

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told about this object."""
        return {"class_name": type(self).__name__, "config": self.engine_config()}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{field}={getattr(self, field)!r}" for field in self.config_fields)
        return f"{type(self).__name__}({arguments})"


def serialize(value: Configurable) -> dict[str, Any]:
    """The class and configuration of `value` as plain JSON values."""
    return {"class_name": type(value).__name__, "config": value.get_config()}


def _plain(value: Any) -> Any:
    if isinstance(value, Configurable):
        return serialize(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(element) for element in value)
    return value


def _lowered(value: Any) -> Any:
    if isinstance(value, Configurable):
        return value.engine_description()
    if isinstance(value, (tuple, list)):
        return [_lowered(element) for element in value]
    return value


T = TypeVar("T", bound=Configurable)


class Registry(Generic[T]):
    """The classes of one kind, by class name and by further string ids.

    Args:
        kind: what the classes are, for messages: "loss", "layer".
        base: their common base class.
        fold_case: whether class names are recognised in any mixture of cases (as Keras does for optimizers).
        snake_names: whether classes are known by their names in snake case as well.
    """

    def __init__(
        self, kind: str, base: type[T], *, fold_case: bool = False, snake_names: bool = False
    ) -> None:
        self.kind = kind
        self._base = base
        self._fold_case = fold_case
        self._snake_names = snake_names
        self._classes: dict[str, type[T]] = {}

    def register(self, *aliases: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: makes the class known by its name and by `aliases`."""

        def add(cls: type[T]) -> type[T]:
            snake = (snake_case(cls.__name__),) if self._snake_names else ()
            for key in (cls.__name__, *snake, *aliases):
                key = self._key(key)
                if key in self._classes:
                    raise RuntimeError(f"two {self.kind} classes claim the id {key!r}")
                self._classes[key] = cls
            return cls

        return add

    def classes(self) -> list[type[T]]:
        """Every registered class, once, in the order of registration."""
        return list(dict.fromkeys(self._classes.values()))

    def ids(self) -> list[str]:
        """One id of every registered class: the first in small letters, if it has any."""
        of_class: dict[type[T], str] = {}
        for key, cls in self._classes.items():
            if key.islower() and not of_class.get(cls, "A").islower():
                of_class[cls] = key
            of_class.setdefault(cls, key)
        return list(of_class.values())

    def accepts(self, cls: type) -> bool:
        """Whether `cls` is a class of the user's that can be used.

        Raises:
            TypeError: it is called like one of ours, which files could not tell from it.
        """
        if not (issubclass(cls, self._base) and cls.is_custom()):
            return False
        if self._key(cls.__name__) in self._classes:
            raise TypeError(f"{cls!r} must have a name of its own: gridnn has a {self.kind} of that name.")
        return True

    def knows(self, value: object) -> bool:
        """Whether `value` is an instance of exactly a registered class, which the engine understands."""
        return type(value) in self._classes.values()

    def get(self, identifier: object) -> T:
        """Turns a string id, a class, a serialized description or an instance into an instance.

        Raises:
            ValueError: the id is not known.
            TypeError: `identifier` is none of the above, or of a class that the engine does not know.
        """
        if isinstance(identifier, str):
            return self._class(identifier)()
        if isinstance(identifier, Mapping):
            return self.deserialize(identifier)
        for cls in self._classes.values():
            if identifier is cls:
                return cls()
        if isinstance(identifier, self._base) and (self.knows(identifier) or self.accepts(type(identifier))):
            return identifier
        raise TypeError(
            f"Could not interpret {self.kind} identifier: expected a string id, such as "
            f"{self.ids()[0]!r}, or an instance of one of gridnn's {self.kind} classes. Received "
            f"{_validation.shown(identifier)} of type {type(identifier).__name__}."
        )

    def deserialize(self, description: object) -> T:
        """The object that `serialize` wrote as `description`."""
        if not isinstance(description, Mapping) or not isinstance(description.get("class_name"), str):
            raise TypeError(f"A {self.kind} description must have a `class_name`. Received {description!r}.")
        config = description.get("config", {})
        if not isinstance(config, Mapping):
            raise TypeError(f"The `config` of a {self.kind} description must be a dict. Received {config!r}.")
        return self._class(description["class_name"]).from_config(config)

    def _key(self, name: str) -> str:
        return name.lower() if self._fold_case else name

    def _class(self, name: str) -> type[T]:
        key = self._key(name)
        cls = self._classes[key] if key in self._classes else self._custom_class(name)
        if cls is None:
            known = ", ".join(map(repr, self.ids()))
            raise ValueError(
                f"Could not interpret {self.kind} identifier: {name!r}."
                f"{_validation.meant(name, self._classes, 0.8)} Known are {known}. "
                f"A class of your own must be defined before, or be given to `load_model`: "
                f"custom_objects={{{name!r}: ...}}."
            )
        return cls

    def _custom_class(self, name: str) -> type[T] | None:
        """The custom class of this name: one of `custom_classes`, else the one that was defined last."""
        given = class_named(name)
        if given is not None and issubclass(given, self._base) and given.is_custom():
            return given
        found = None
        waiting = self._base.__subclasses__()
        while waiting:
            cls = waiting.pop(0)
            waiting.extend(cls.__subclasses__())
            if cls.__name__ == name and cls.is_custom():
                found = cls
        return found


def custom_classes_of(*objects: object) -> dict[str, type]:
    """The custom classes among those of `objects`, by name."""
    found = [type(one) for one in objects if isinstance(one, Configurable) and one.is_custom()]
    return {cls.__name__: cls for cls in found}


_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z0-9])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """`MaxPooling2D` -> `max_pooling2d`, `ReLU` -> `re_lu`: as Keras names layers and metrics."""
    return _WORD_START.sub("_", name).lower()
