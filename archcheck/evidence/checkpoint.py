"""What a checkpoint file holds, without a single value of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal, TypeAlias

from archcheck.core.finding import Location

Layout: TypeAlias = Literal["strided", "sparse", "quantized", "nested", "meta"]
Form: TypeAlias = Literal[
    "safetensors",
    "torch zip archive",
    "legacy torch file",
    "TorchScript archive",
    "exported program",
    "distributed checkpoint",
    "GGUF",
]


# What `torch.load(weights_only=True)` reads: the others have opcodes that it doesn't know.
_PROTOCOLS_OF_TORCH = (2, 3)
_OF_TORCH = (
    "torch.",
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "builtins.",
    "__builtin__.",
    "_codecs.encode",
)


class CheckpointError(Exception):
    """A file that cannot be read as a checkpoint: one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: Its key in the state dict.
        shape: In elements; None where it has no fixed one (nested tensors).
        dtype: As torch spells it (`float32`), or the name of a quantized type of GGUF (`q4_k`).
        storage: Equal for tensors of one file that share memory; "" where the file doesn't say.
        stored_elements: How many elements its storage keeps; more than its own for a view.
        wrapper: The tensor subclass that the file names (`torchao…Int8Tensor`), or "".
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    layout: Layout = "strided"
    storage: str = ""
    stored_elements: int | None = None
    wrapper: str = ""

    @property
    def count(self) -> int:
        """The number of its elements, 0 where it has no fixed shape."""
        return 0 if self.shape is None else prod(self.shape)


@dataclass(frozen=True, slots=True)
class StateDict:
    """A mapping of names to tensors inside a file.

    Attributes:
        keys: The keys that lead to it from the root, such as `("state_dict",)`; () is the root.
        values: The names of what stands among its tensors and is none.
        versions: Of modules by their path, as `state_dict()` notes them in `_metadata`; None
            where the file keeps no such note.
        module: The class of the pickled module that it was read from, or "".
    """

    keys: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    values: tuple[str, ...] = ()
    versions: Mapping[str, int] | None = None
    module: str = ""

    @property
    def expression(self) -> str:
        """What stands behind `checkpoint` in Python to reach it: `["state_dict"]`."""
        return "".join(f"[{key!r}]".replace("'", '"') for key in self.keys)


@dataclass(frozen=True, slots=True)
class LoadInSource:
    """A call in the code that loads a file which is there into the model.

    Attributes:
        keys: What the call takes of the file: `("state_dict",)`.
        strict: None where that is not certain.
        checkpoint: None where it cannot be read; `error` says why.
    """

    location: Location
    keys: tuple[str, ...]
    strict: bool | None
    checkpoint: Checkpoint | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file or folder.

    Attributes:
        path: As the user wrote it.
        bytes_read: How much of it was read; `size` is how much there is.
        state_dicts: Those found, the likeliest first. A file without any has an empty tuple.
        root_keys: The keys of the root object where that is a mapping and no state dict.
        aliases: Names that the file leaves out, each with the name that it shares a tensor with.
        metadata: Texts that stand beside the tensors (`format`, the architecture, a version).
        globals: The classes and functions that its pickle names, for `torch.load` to import.
        pickle_protocol: That of its pickle; None where it has none.
        files: The files of a folder or an index that tensors are in.
        producer: What wrote it, where it says so: `Lightning 2.6.6`, `PEFT`.
        problems: What is wrong with it though its names could be read, in sentences.
    """

    path: str
    form: Form
    size: int
    bytes_read: int
    state_dicts: tuple[StateDict, ...]
    root_keys: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    globals: tuple[str, ...] = ()
    pickle_protocol: int | None = None
    files: tuple[str, ...] = ()
    producer: str = ""
    problems: tuple[str, ...] = ()

    @property
    def foreign_globals(self) -> tuple[str, ...]:
        """What the pickle names that is neither torch's nor a plain container."""
        if self.form not in ("torch zip archive", "legacy torch file"):
            return ()
        return tuple(name for name in self.globals if not name.startswith(_OF_TORCH))

    @property
    def refused_by_torch(self) -> str:
        """Why `torch.load(weights_only=True)` refuses the pickle, "" where it doesn't."""
        names = self.foreign_globals
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            return f"names {', '.join(names[:3])}{more}"
        if self.pickle_protocol not in (None, *_PROTOCOLS_OF_TORCH):
            return f"is of pickle protocol {self.pickle_protocol}"
        return ""

    @property
    def state_dict(self) -> StateDict:
        """The likeliest state dict; an empty one where there is none."""
        return self.state_dicts[0] if self.state_dicts else StateDict((), ())
