"""Which dimension of the inputs counts the samples of a batch, and what says so.

The names that the user or the code gives it; layers that read it as batch (convolutions, batch
norms, `batch_first=True`); code that flattens each of its rows, or takes one place of the dimension
after it, as one takes the last step of a sequence. What counts the places of a dimension, or calls
it time, says that it is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcheck.analysis.axes.flow import AxisFlow
from archcheck.analysis.axes.parts import sole_root
from archcheck.analysis.axes.step import Root
from archcheck.analysis.shapes.shape_comments import claims
from archcheck.evidence.records import ValueIndex

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project

BATCHES = frozenset(
    "b bs bsz bz nb batch batch_size batchsize n_batch num_batch nbatch batch_num".split()
)
# Names that say that a dimension is no batch: sequences, space, nodes of a graph.
OTHERS = frozenset(
    "t l s time seq seq_len seqlen length len steps num_steps n_steps timesteps time_steps tokens "
    "n_tokens num_tokens frames num_frames n_frames src_len tgt_len max_len seq_length "
    "sequence_length window h w height width nodes num_nodes n_nodes v points num_points k f "
    "tlen slen qlen klen lq lk layers instances num_instances".split()
)
_IMAGES = {f"{kind}{n}d": n + 2 for kind in ("conv", "conv_transpose") for n in (1, 2, 3)}
_IMAGES |= {f"{kind}_pool{n}d": n + 2 for kind in ("max", "avg") for n in (1, 2, 3)}
_IMAGES |= {f"adaptive_{kind}_pool{n}d": n + 2 for kind in ("max", "avg") for n in (1, 2, 3)}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a dimension is the batch: a half sentence, and where the code says it.

    `named`: the user or the code calls it so; nothing needs to be concluded.
    """

    text: str
    location: Location | None = None
    named: bool = False


class Batch:
    """The batch of a trace, as far as something tells which dimension it is."""

    def __init__(self, trace: Trace, project: Project) -> None:
        self._trace = trace
        self._axes = trace.analysed(AxisFlow)
        self._project = project
        self._against = set(self._denied())
        self.reasons: Mapping[Root, Reason] = self._found()

    def reason(self, root: Root) -> Reason | None:
        """Why this input dimension is the batch, None where nothing says so, or something against
        it."""
        return self.reasons.get(root)

    def is_batch(self, root: Root) -> bool:
        """Whether something says so, or it is the first dimension and nothing says otherwise."""
        return root in self.reasons or (root[1] == 0 and root not in self._against)

    def _found(self) -> Mapping[Root, Reason]:
        found: dict[Root, Reason] = {}
        for root, reason in self._evidence():
            known = found.get(root)
            if known is None or (reason.named and not known.named):
                found[root] = reason
        counted = self._axes.counted
        return {
            root: reason
            for root, reason in found.items()
            if root not in self._against and (root not in counted or reason.named)
        }

    def _evidence(self) -> Iterator[tuple[Root, Reason]]:
        yield from self._lettered()
        yield from self._named()
        yield from self._documented(batch=True)
        yield from self._read_by_layers()
        yield from self._followed_by_time()
        yield from self._flattened()

    # Names

    def _lettered(self) -> Iterator[tuple[Root, Reason]]:
        for entry in self._trace.inputs:
            for dim, letter in entry.free.items():
                if letter.lower() in BATCHES and isinstance(entry.value, ValueIndex):
                    text = f"`--input` names dimension {dim} of {entry.name} {letter}"
                    yield (entry.value.index, dim), Reason(text, named=True)

    def _named(self) -> Iterator[tuple[Root, Reason]]:
        for name in self._trace.size_names:
            root = self._root(name.value, name.dimension)
            if root is not None and name.name.lower() in BATCHES:
                yield root, Reason(f"the code calls it `{name.name}`", name.location, named=True)

    def _documented(self, batch: bool) -> Iterator[tuple[Root, Reason]]:
        """Shapes of the inputs in the docstrings of the model's class and of its forward."""
        model = self._trace.module("")
        places = (model.defined, model.forward) if model is not None else ()
        inputs = [v for v in self._trace.values if v.kind == "input" and len(v.shape) > 1]
        for place in places:
            for claim in claims(self._docstring(place)) if place is not None else ():
                names = [(each.name or "").lower() for each in claim.dimensions]
                for value in inputs:
                    if len(names) != len(value.shape):
                        continue
                    if claim.variable not in (None, value.name, "x", "input", "inputs", "src"):
                        continue
                    for dim, name in enumerate(names):
                        if name in (BATCHES if batch else OTHERS):
                            text = f"the docstring calls it `{name}`"
                            yield (value.index, dim), Reason(text, place, named=True)

    def _docstring(self, place: Location) -> str:
        import ast

        from archcheck.analysis.shapes.failures import source_file

        file = source_file(self._project, place)
        for node in ast.walk(file.tree) if file is not None else ():
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.lineno == place.line:
                return ast.get_docstring(node) or ""
        return ""

    # Use

    def _read_by_layers(self) -> Iterator[tuple[Root, Reason]]:
        for op in self._trace.ops:
            if not op.inputs:
                continue
            rank = len(self._trace.values[op.inputs[0]].shape)
            reads = rank == _IMAGES.get(op.name, 0) or (op.name == "batch_norm" and rank > 2)
            root = self._root(op.inputs[0], 0) if reads else None
            if root is not None:
                yield root, Reason(f"`{op.name}` reads it as the batch", op.location)
        for call in self._trace.calls:
            module = self._trace.module(call.path)
            if module is None or module.attributes.get("batch_first") is not True:
                continue
            value = next((v for v in call.inputs.values() if isinstance(v, ValueIndex)), None)
            if value is not None and len(self._trace.values[value.index].shape) == 3:
                root = self._root(value.index, 0)
                if root is not None:
                    text = f"`{call.path}` (batch_first=True) reads it as the batch"
                    yield root, Reason(text, call.location)

    def _followed_by_time(self) -> Iterator[tuple[Root, Reason]]:
        """The dimension before one of which a place, or a summary, is taken."""
        outputs = set(self._trace.dataflow.outputs)
        last = {op.index: op for op in self._trace.ops if not outputs.isdisjoint(op.outputs)}
        for picked in self._axes.picked:
            op = self._trace.ops[picked.op]
            if picked.dim != 1 or op.location is None or not self._on_the_way_out(op):
                continue
            first, second = self._root(picked.value, 0), self._root(picked.value, 1)
            if first is None or second is None or first == second:
                continue
            if any(
                self._root(index, 0) == first for each in last.values() for index in each.outputs
            ):
                yield first, Reason("its rows are kept where a step is taken", op.location)

    def _on_the_way_out(self, op: Op) -> bool:
        return not self._trace.dataflow.live.isdisjoint(op.outputs)

    def _flattened(self) -> Iterator[tuple[Root, Reason]]:
        """The dimension each row of which becomes one row of numbers."""
        for reshape in self._axes.reshapes:
            op = self._trace.ops[reshape.op]
            if len(reshape.source) < 3 or len(reshape.result) != 2:
                continue
            root = sole_root(reshape.source[0])
            if root is not None and sole_root(reshape.result[0]) == root:
                yield root, Reason("its rows are flattened", op.location)

    # Against

    def _denied(self) -> Iterator[Root]:
        for entry in self._trace.inputs:
            for dim, letter in entry.free.items():
                if letter.lower() not in BATCHES and isinstance(entry.value, ValueIndex):
                    yield entry.value.index, dim
        for name in self._trace.size_names:
            root = self._root(name.value, name.dimension)
            if root is not None and name.name.lower() in OTHERS:
                yield root
        for root, _ in self._documented(batch=False):
            yield root

    def _root(self, value: int, dim: int) -> Root | None:
        axes = self._axes.of(value)
        return sole_root(axes[dim]) if axes is not None and dim < len(axes) else None
