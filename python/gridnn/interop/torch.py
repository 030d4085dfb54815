"""Weights of PyTorch: from safetensors files and state dicts, and back as arrays.

A file holds tensors under names, and nothing about the network that they are from. So modules are matched
with layers by `mapping`, by equal names, or by their order; every shape is compared; and what would go wrong
without a sign (two modules of equal shapes whose order nobody knows, an `eps` that differs) is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn._network import Network
from gridnn._texts import listed, quoted, side_by_side
from gridnn.errors import FileFormatError, ShapeError
from gridnn.interop import safetensors
from gridnn.interop._torch_layers import Slot, slots_of
from gridnn.interop._values import check_values
from gridnn.model.file_format import blaming
from gridnn.model.protocol import Model

__all__ = ["load_weights", "to_torch_state_dict"]

_WRAPPERS = ("module.", "_orig_mod.")
"""What `DataParallel` and `torch.compile` put before names."""


@dataclass
class _Module:
    """What a state dict holds of one module."""

    name: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """In the words of `Slot.kind`, as far as names and shapes of the tensors tell."""
        names, weight = self.tensors.keys(), self.tensors.get("weight")
        if "running_mean" in names or "running_var" in names:
            return "batch normalization"
        if weight is None or not names <= {"weight", "bias"}:
            return "unknown"
        if "bias" in names and self.tensors["bias"].shape == weight.shape:
            return "normalization"
        kinds = {1: "PReLU", 2: "linear"} | {rank + 2: f"{rank}-D convolution" for rank in (1, 2, 3)}
        return kinds.get(weight.ndim, "unknown")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def pattern(self) -> str:
        """The name without its numbers: modules of one pattern are in the order of these."""
        return re.sub(r"\d+", "#", self.name)


def load_weights(
    model: Model,
    source: object,
    mapping: Mapping[str, str | None] | None = None,
    prefix: str = "",
) -> None:
    """Sets all weights of a built model from PyTorch's; see `Sequential.load_weights`."""
    if mapping is not None and not isinstance(mapping, Mapping):
        raise TypeError(
            "The `mapping` argument must be a dict, name of a module -> name of a layer or None. Received "
            f"{type(mapping).__name__}."
        )
    prefix = _validation.string(prefix, "prefix")
    if isinstance(source, Mapping):
        _load(model, _arrays_of(source), mapping or {}, prefix)
        return
    if not isinstance(source, (str, os.PathLike)):
        more = ": net.state_dict()" if hasattr(source, "state_dict") else ""
        raise TypeError(
            "The `path` argument must be a path of a safetensors file, or a state dict, name -> array"
            f"{more}. Received {type(source).__name__}."
        )
    _refuse_pickles(source)
    state, _ = safetensors.read(source)
    with blaming(source):
        _load(model, state, mapping or {}, prefix)


def _arrays_of(source: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A state dict as arrays.

    Raises:
        TypeError: it is none.
    """
    for name, value in source.items():
        if isinstance(value, Mapping) and any(hasattr(below, "shape") for below in value.values()):
            raise TypeError(
                "This is a checkpoint that holds a state dict among other things: pass its "
                f"entry {quoted(name)}, "
                f"checkpoint[{quoted(name)}]."
            )
    state = {}
    for name, value in source.items():
        if not isinstance(name, str):
            raise TypeError(
                f"Names of a state dict are strings. Received {quoted(name)[1:-1]} of type "
                f"{type(name).__name__}."
            )
        state[name] = _as_array(value, name)
    return state


def _refuse_pickles(path: str | os.PathLike[str]) -> None:
    """Names files that `torch.save` has written, which is what most people have.

    Raises:
        FileFormatError: it is one.
    """
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\3\4" or (start[:1] == b"\x80" and start[8:] != b"{"):
        raise FileFormatError(
            f"{os.fsdecode(path)}: it looks like a file of torch.save, a pickle, which can "
            "execute anything and is not opened. In PyTorch: "
            'safetensors.torch.save_file(torch.load(path, weights_only=True), "net.safetensors")'
        )


def to_torch_state_dict(model: Model) -> dict[str, NDArray[Any]]:
    """The weights of a built model under the names and in the layouts of PyTorch.

    Modules are called like the layers, those of separable convolutions ``<layer>.depthwise`` and
    ``<layer>.pointwise``, those of models that are called ``<model>.<layer>``. Where features of a flattened
    grid are in another order there, weights are permuted. ``eps`` and ``momentum`` of normalization layers
    are no part of a state dict: give them to the modules.

    Args:
        model: a built model.

    Returns:
        Name -> array, in the order of the layers; of ``state``, `load_state_dict` takes
        ``{name: torch.from_numpy(array) for name, array in state.items()}``.

    Raises:
        NotReadyError: the model is not built.
        ValueError: a layer has no equal in PyTorch.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> model = gn.Sequential([gn.Input((8, 8, 3)), layers.Conv2D(16, 3, name="conv")])
        >>> {name: array.shape for name, array in gn.interop.to_torch_state_dict(model).items()}
        {'conv.weight': (16, 3, 3, 3), 'conv.bias': (16,)}
    """
    with model.locked():
        network = model.network
        state: dict[str, NDArray[Any]] = {}
        for slot in slots_of(model.graph, network):
            for tensor in slot.tensors:
                if tensor.index is None:
                    array = np.full(tensor.shape, tensor.filling, network.dtype)
                else:
                    array = tensor.to_torch(network.get_weight(tensor.index))
                state[f"{slot.name}.{tensor.name}"] = np.ascontiguousarray(array)
        return state


def _as_array(value: Any, name: str) -> NDArray[Any]:
    """A tensor or an array as an array that NumPy computes with."""
    if hasattr(value, "detach"):
        value = value.detach()
        if hasattr(value, "cpu"):
            value = value.cpu()
        if str(getattr(value, "dtype", "")).endswith("bfloat16"):
            value = value.float()  # NumPy has no such type
    if hasattr(value, "numpy"):
        value = value.numpy()
    return as_numbers(value, f"state dict: {quoted(name)[1:-1]}")


def _load(
    model: Model, state: dict[str, NDArray[Any]], mapping: Mapping[str, str | None], prefix: str
) -> None:
    modules = _modules(state, prefix)
    with model.locked():
        network = model.network
        slots = slots_of(model.graph, network)
        pairs = _matched(modules, slots, mapping, ordered=not _is_sorted(state))
        for slot, module in pairs:
            _check(slot, module)
        _set(network, pairs)


def _set(network: Network, pairs: Sequence[tuple[Slot, _Module]]) -> None:
    values: dict[int, NDArray[Any]] = {}
    for slot, module in pairs:
        for tensor in slot.tensors:
            if tensor.index is None and tensor.name not in module.tensors:
                continue
            array = tensor.from_torch(module.tensors[tensor.name])
            which = quoted(f"{module.name}.{tensor.name}")
            check_values(array, which, variance=tensor.name == "running_var")
            if tensor.index is not None:
                values[tensor.index] = network.as_weight(tensor.index, array, slot.layer.label)
            elif np.any(array != tensor.filling):
                missing = "scale=True" if tensor.name == "weight" else "center=True"
                raise ValueError(f"{slot.layer.label} is without what {which} holds: make it with {missing}.")
    network.set_weights([values[index] for index in range(len(network.weights))])


# Names


def _modules(state: Mapping[str, NDArray[Any]], prefix: str) -> list[_Module]:
    """The modules of a state dict, wrappers and `prefix` taken off their names.

    Raises:
        ValueError: no name begins with `prefix`, or two names become one.
    """
    modules: dict[str, _Module] = {}
    for key, array in state.items():
        name = _unwrapped(key)
        if not name.startswith(prefix):
            continue
        owner, _, part = name[len(prefix) :].rpartition(".")
        if part == "num_batches_tracked":
            continue
        module = modules.setdefault(owner, _Module(owner))
        if part in module.tensors or part in module.constants:
            raise ValueError(f"the state dict holds {quoted(name)} twice, once of them as {quoted(key)}")
        if part in ("eps", "momentum") and array.size == 1:
            module.constants[part] = float(array.reshape(()))
        else:
            module.tensors[part] = array
    for owner, module in list(modules.items()):
        if (
            not module.tensors
        ):  # constants that say nothing about weights: normalization without scale and shift
            del modules[owner]
    if not modules:
        known = listed(list(state))
        raise ValueError(f"no tensor has a name that begins with prefix={prefix!r}; names are {known}")
    return list(modules.values())


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name.replace("._orig_mod.", ".")  # of a part that was compiled by itself


def _is_sorted(state: Mapping[str, NDArray[Any]]) -> bool:
    """Whether names are in alphabetical order, type by type, as safetensors files have them.

    Of a state dict that never was a file that cannot be: a weight comes before its bias.
    """
    by_type: dict[str, list[str]] = {}
    for name, array in state.items():
        by_type.setdefault(array.dtype.str, []).append(name)
    return all(names == sorted(names) for names in by_type.values())


def _numbered(name: str) -> list[tuple[int, int, str]]:
    """A key by which ``layer10`` comes after ``layer9``."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", name)]


# Matching


def _matched(
    modules: list[_Module], slots: list[Slot], mapping: Mapping[str, str | None], *, ordered: bool
) -> list[tuple[Slot, _Module]]:
    """Every slot with its module.

    Raises:
        ValueError: a module or a layer is left over, or the order is not known.
    """
    by_name = {module.name: module for module in modules}
    wanted = {slot.name: slot for slot in slots}
    pairs: list[tuple[Slot, _Module]] = []
    for theirs, ours in mapping.items():
        module = by_name.pop(theirs, None)
        if module is None:
            raise ValueError(f"`mapping` names the module {theirs!r}.\n{_side_by_side(modules, slots)}")
        if ours is None:
            continue
        slot = wanted.pop(ours, None)
        if slot is None:
            problem = (
                "twice" if any(ours == slot.name for slot in slots) else "which has no weights or is missing"
            )
            raise ValueError(
                f"`mapping` names the layer {ours!r}, {problem}.\n{_side_by_side(modules, slots)}"
            )
        pairs.append((slot, module))
    if by_name.keys() == wanted.keys():
        return pairs + [(slot, by_name[name]) for name, slot in wanted.items()]
    rest = list(by_name.values())
    if not ordered:
        rest.sort(key=lambda module: _numbered(module.name))
    by_kind: dict[str, list[_Module]] = {slot.kind: [] for slot in wanted.values()}
    for module in rest:
        by_kind.setdefault(module.kind, []).append(module)
    for kind, theirs_of in by_kind.items():
        ours_of = [slot for slot in wanted.values() if slot.kind == kind]
        if len(theirs_of) != len(ours_of):
            raise ValueError(
                f"modules of kind '{kind}': the state dict has {len(theirs_of)}, the model {len(ours_of)}. "
                "Give a `mapping` from names of modules to names of layers (None leaves a module out), or "
                f"make the layers that it has.\n{_side_by_side(modules, slots)}"
            )
        if not ordered:
            _check_order(theirs_of, modules, slots)
        pairs += zip(ours_of, theirs_of, strict=True)
    return pairs


def _check_order(kind: list[_Module], modules: list[_Module], slots: list[Slot]) -> None:
    """Refuses modules that fit each other's places and whose names do not say which comes first."""
    by_shape: dict[tuple[Any, ...], _Module] = {}
    for module in kind:
        first = by_shape.setdefault(tuple(sorted(module.shapes.items())), module)
        if first.pattern != module.pattern:
            raise ValueError(
                f"the modules {quoted(first.name)} and {quoted(module.name)} have the same shapes, and "
                "safetensors files do not keep the order of modules. Give a `mapping` from names of modules "
                "to names of layers, call the layers as the modules are called, or pass the "
                "state dict itself.\n" + _side_by_side(modules, slots)
            )


def _side_by_side(modules: Sequence[_Module], slots: Sequence[Slot]) -> str:
    """Both lists as two columns."""

    def shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
        return " ".join(f"{name}{shape}".replace(", ", ",") for name, shape in shapes.items())

    theirs = [f"{module.name or '(no name)'}: {shown(module.shapes)}" for module in modules]
    ours = [f"{slot.name}: {shown(slot.shapes)}" for slot in slots]
    return side_by_side(("state dict", theirs), ("model, as PyTorch has it", ours))


# Checks


def _check(slot: Slot, module: _Module) -> None:
    """Compares all that a module says with its layer.

    Raises:
        ShapeError: a tensor has another shape than the layer's weight.
        ValueError: a tensor is missing or too many, or eps or momentum differ.
    """
    expected, found = slot.shapes, module.shapes
    optional = {tensor.name for tensor in slot.tensors if tensor.index is None} - found.keys()
    for name in sorted((expected.keys() - optional) ^ found.keys()):
        has, lacks = ("the layer", "the module") if name in expected else ("the module", "the layer")
        raise ValueError(
            f"{slot.layer.label} and module {quoted(module.name)}: {has} has {quoted(name)}, {lacks} has "
            f"not{_cure(name)}."
        )
    for name, shape in expected.items():
        if name in found and found[name] != shape:
            raise ShapeError(
                f"{slot.layer.label} and module {quoted(module.name)}: {quoted(name)} has shape "
                f"{found[name]}, and the layer takes {shape}."
            )
    for name, (own, default) in slot.constants.items():
        value = module.constants.get(name, default)
        if not np.isclose(own, value, rtol=1e-5, atol=0.0):
            ours = f"epsilon={value:g}" if name == "eps" else f"momentum={1 - value:g}"
            given = f"was made with {name}={value:g}"
            if name not in module.constants:
                given = f"has {name}={value:g} unless the state dict holds {quoted(f'{module.name}.{name}')}"
            raise ValueError(
                f"{slot.layer.label} is made with another {name} than module {quoted(module.name)}, which "
                f"{given}: make the layer with {ours}."
            )


def _cure(name: str) -> str:
    if name == "bias":
        return " (`use_bias` of convolutions and dense layers, `center` of normalization)"
    return " (`scale` of normalization)" if name == "weight" else ""
