"""The state dicts inside the object that a torch file holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from archcheck.checkpoints.pickle_opcodes import Call, Global, Persistent
from archcheck.checkpoints.torch_tensors import tensor_of
from archcheck.evidence.checkpoint import CheckpointError, StateDict, Tensor

DEEPEST = 100
MOST_OBJECTS = 600_000

# Where training scripts keep the weights, in the order in which they are meant.
LIKELY_KEYS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "params_ema",
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "generator",
    "student",
    "teacher",
)
# Parts of a training state that hold tensors, and are never a model's weights.
_NOT_WEIGHTS = ("optim", "scheduler", "lr_", "scaler", "rng", "callbacks", "loops", "amp")


@dataclass
class _Walk:
    """What was found so far; `path` are the objects that the walk is inside of."""

    found: list[StateDict] = field(default_factory=list)
    path: set[int] = field(default_factory=set)
    objects: int = 0

    def enter(self, value: Any, depth: int) -> bool:
        """Whether a container is to be looked into: not where it contains itself."""
        self.objects += 1
        if self.objects > MOST_OBJECTS:
            raise CheckpointError("it holds more objects than any checkpoint")
        return depth < DEEPEST and id(value) not in self.path


def state_dicts_in(root: Any) -> tuple[StateDict, ...]:
    """Return every state dict below an object, the likeliest first."""
    walk = _Walk()
    _search(root, (), walk, 0)
    return likeliest_first(walk.found)


def likeliest_first(found: Iterable[StateDict]) -> tuple[StateDict, ...]:
    """Return the state dicts that hold tensors, a model's weights before all else."""
    return tuple(sorted((one for one in found if one.tensors), key=_unlikelihood))


def root_keys(root: Any) -> tuple[str, ...]:
    """Return the keys of the root object, where it is a mapping."""
    items = _items(root)
    return () if items is None else tuple(str(key) for key in items if isinstance(key, str | int))


def plain_values(root: Any) -> Mapping[str, str]:
    """Return the plain texts and numbers that stand in the root mapping."""
    return {
        key: str(value)
        for key, value in (_items(root) or {}).items()
        if isinstance(key, str) and isinstance(value, str | int | float) and len(str(value)) < 200
    }


def _unlikelihood(found: StateDict) -> tuple[bool, int, int, int]:
    unwanted = any(part in key.lower() for key in found.keys for part in _NOT_WEIGHTS)
    last = found.keys[-1] if found.keys else ""
    rank = LIKELY_KEYS.index(last) if last in LIKELY_KEYS else len(LIKELY_KEYS)
    return unwanted, len(found.keys) and 1 + rank, len(found.keys), -len(found.tensors)


def _items(value: Any) -> Mapping[Any, Any] | None:
    """Return what a mapping holds: a dict, or an object that items are set on."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Call):
        return None
    if value.items:
        return value.items
    if value.name.endswith("OrderedDict"):
        pairs = value.arguments[0] if value.arguments else ()
        if isinstance(pairs, list) and all(
            isinstance(p, list | tuple) and len(p) == 2 for p in pairs
        ):
            return {key: item for key, item in pairs if isinstance(key, str | int)}
        return {}
    return None


def _attributes(value: Any) -> Mapping[Any, Any]:
    """Return the attributes that a pickled object would get."""
    state = value.state if isinstance(value, Call) else None
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
        state = state[0]
    return state if isinstance(state, dict) else {}


def _search(value: Any, keys: tuple[str, ...], walk: _Walk, depth: int) -> None:
    """Add the state dicts at and below a value."""
    if not walk.enter(value, depth):
        return
    if "_modules" in _attributes(value) or "_parameters" in _attributes(value):
        walk.found.append(_module_state(value, keys, walk))
        return
    items = _items(value)
    if items is None:
        return
    walk.path.add(id(value))
    tensors = {key: found for key, item in items.items() if (found := _tensor(item)) is not None}
    if any(isinstance(key, str) for key in tensors):
        walk.found.append(_state_dict(value, items, tensors, keys))
    for key, item in items.items():
        if isinstance(key, str | int) and key not in tensors:
            _search(item, (*keys, str(key)), walk, depth + 1)
    walk.path.discard(id(value))


def _state_dict(
    value: Any, items: Mapping[Any, Any], tensors: Mapping[Any, Tensor], keys: tuple[str, ...]
) -> StateDict:
    return StateDict(
        keys=keys,
        tensors=tuple(replace(tensor, name=str(key)) for key, tensor in tensors.items()),
        values=tuple(str(key) for key in items if key not in tensors),
        versions=_versions(value),
    )


def _tensor(value: Any) -> Tensor | None:
    found = tensor_of(value)
    if found is None and isinstance(value, Persistent):  # a bare storage
        return None
    return found


def _versions(value: Any) -> Mapping[str, int] | None:
    """Return the versions of modules that a state dict notes beside its items."""
    metadata = _items(_attributes(value).get("_metadata"))
    if metadata is None:
        return None
    versions: dict[str, int] = {}
    for path, note in metadata.items():
        version = (_items(note) or {}).get("version")
        if isinstance(path, str) and isinstance(version, int):
            versions[path] = version
    return versions


def _module_state(module: Call, keys: tuple[str, ...], walk: _Walk) -> StateDict:
    versions: dict[str, int] = {}
    tensors = tuple(_of_module(module, "", walk, 0))
    return StateDict(
        keys=keys, tensors=tensors, versions=versions or None, module=_class_name(module)
    )


def _class_name(module: Call) -> str:
    """Return the class of a pickled module; before 1.6, torch kept its source beside it."""
    function = module.function
    kept = function.id if isinstance(function, Persistent) else None
    if isinstance(kept, tuple) and len(kept) > 1 and isinstance(kept[1], Global):
        return kept[1].name
    return module.name


def _of_module(module: Any, prefix: str, walk: _Walk, depth: int) -> Iterator[Tensor]:
    """Yield the tensors of a pickled module in the order of `state_dict()`."""
    if not walk.enter(module, depth):
        return
    walk.path.add(id(module))
    attributes = _attributes(module)
    skipped = attributes.get("_non_persistent_buffers_set")
    unsaved = _members(skipped)
    for place in ("_parameters", "_buffers"):
        for name, value in (_items(attributes.get(place)) or {}).items():
            tensor = _tensor(value)
            if tensor is not None and name not in unsaved:
                yield replace(tensor, name=f"{prefix}{name}")
    for name, child in (_items(attributes.get("_modules")) or {}).items():
        yield from _of_module(child, f"{prefix}{name}.", walk, depth + 1)
    walk.path.discard(id(module))


def _members(value: Any) -> tuple[Any, ...]:
    """Return the members of a pickled set: of protocol 4, or a call of protocol 2."""
    if isinstance(value, Call):
        value = value.arguments[0] if value.arguments else value.entries
    return tuple(value) if isinstance(value, list | tuple) else ()
