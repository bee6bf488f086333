"""Places in the source that no gradient passes, and the layers that lie behind them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from archcheck.analysis.source.gradient_mode import is_without_gradients
from archcheck.analysis.source.weights import has_weights

if TYPE_CHECKING:
    from archcheck.python import Flow, Function, ModuleClass, SourceFile, Step

_METHODS: Final = frozenset({"detach", "detach_", "item", "numpy", "tolist"})
_FUNCTIONS: Final = frozenset({
    "torch.tensor", "torch.Tensor", "torch.FloatTensor", "torch.from_numpy", "torch.nn.Parameter",
    "torch.detach",
})  # fmt: skip
# Names of parts that are not to be trained through this path.
_ON_PURPOSE: Final = re.compile(
    r"(?i)teacher|target|momentum|(^|_)ema|average|frozen|freeze|fixed|pretrain|backbone|(^|_)ref"
    r"|old|prior|critic|discrim|(^|_)vgg|clip|bert|lpips|perceptual|random|hash|codebook|quantiz"
    r"|metric|stop_?grad|no_?grad|tokenizer|vae|memory|bank|probe"
)
_HISTORY: Final = ("requires_grad", "deepcopy", "pretrained", "load_state_dict", "from_pretrained")


class GradientCut(NamedTuple):
    """A cut, and the attributes with weights that only lead through it."""

    node: ast.AST
    behind: tuple[str, ...]


def gradient_cuts(module: ModuleClass) -> Iterator[GradientCut]:
    """The places in a class's own computing methods behind which layers are never trained."""
    if module.file.project is None or not _mentions_a_cut(module):
        return
    for method in module.computing:
        if method.owner is not module.definition or _is_no_training(method):
            continue
        flow = module.flow(method)
        if flow is not None and flow.returns:
            yield from _cuts_in(module, method, flow)


def _mentions_a_cut(module: ModuleClass) -> bool:
    first, last = module.node.lineno, module.node.end_lineno or module.node.lineno
    text = "\n".join(module.file.lines[first - 1 : last])
    return any(word in text for word in (
        "detach", ".data", "no_grad", ".item", ".numpy", "tolist", "torch.tensor", "Tensor(",
        "Parameter(", "inference_mode",
    ))  # fmt: skip


def _is_no_training(method: Function) -> bool:
    """Whether the whole method runs without gradients, or is named for inference."""
    named = re.search(r"(?i)predict|sample|generat|infer|decode|encode_", method.name)
    return (
        bool(named)
        or _returns_without_gradients(method)
        or any(
            isinstance(name, str) and name.rpartition(".")[2] in ("no_grad", "inference_mode")
            for name in method.decorators
        )
    )


def _returns_without_gradients(method: Function) -> bool:
    """Whether all that it returns is computed below `no_grad`: it is written for inference."""
    ends = [one for one in method.statements if isinstance(one.node, ast.Return)]
    return bool(ends) and all(is_without_gradients(end) for end in ends)


def _cuts_in(module: ModuleClass, method: Function, flow: Flow) -> Iterator[GradientCut]:
    cuts = [step for step in flow.steps if _is_cut(step) and not step.conditional]
    if not cuts:
        return
    ends = [step for step, _ in flow.returns]
    returned = _back_from(ends, stops=frozenset())
    trained = _back_from(
        [*ends, *(step for step in flow.steps if not step.users or step.kind == "unknown")],
        stops=frozenset(step for step in flow.steps if _is_cut(step)),
    )
    told: set[str] = set()
    for cut in cuts:
        if cut not in returned:
            continue
        behind = _back_from([cut], stops=frozenset())
        names = [
            step.attribute
            for step in behind
            if _is_weighted(step) and step not in trained and step.attribute not in told
        ]
        names = [
            name for name in dict.fromkeys(reversed(names))
            if not any(s.attribute == name for s in trained)
            and not _is_explained(module, method, name)
        ]  # fmt: skip
        if names:
            told.update(names)
            yield GradientCut(cut.node, tuple(names))


def _back_from(steps: Iterable[Step], stops: frozenset[Step]) -> set[Step]:
    """These steps, and what they were made from, as far as a gradient goes back."""
    found: set[Step] = set()
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        if step not in found and step not in stops:
            found.add(step)
            if not step.describes:
                waiting += step.inputs
    return found


def _is_cut(step: Step) -> bool:
    if step.kind == "method":
        return step.name in _METHODS
    if step.kind == "attribute":
        return step.name == "data"
    if step.kind == "function":
        return step.name in _FUNCTIONS and bool(step.inputs)
    return step.kind == "layer" and is_without_gradients(step.statement)


def _is_weighted(step: Step) -> bool:
    layer = step.layer
    return (
        step.kind == "layer" and bool(step.attribute) and layer is not None and has_weights(layer)
    )


def _is_explained(module: ModuleClass, method: Function, name: str) -> bool:
    """Whether the layer is used elsewhere, frozen, given from outside or named for it."""
    if _ON_PURPOSE.search(name) or _ON_PURPOSE.search(module.name):
        return True
    if name in module.file.names_read_of_others:
        return True
    for write in module.attributes.get(name, ()):
        text = module.file.text(write.value) if write.value is not None else ""
        if write.kind == "annotation":
            continue
        if write.kind != "assign" or any(word in text for word in _HISTORY):
            return True
    for definition in module.lineage:
        for use in definition.module.uses if definition.module is not None else ():
            if use.name != name or use.kind == "store":
                continue
            if use.function is not method and not _only_initialises(use.rest, use.function):
                return True
    sub_reads = any(name in sub.definition.names_read for sub in module.subclasses)
    return sub_reads or _is_frozen_as_a_whole(module)


def _only_initialises(rest: tuple[str, ...], function: Function) -> bool:
    last = rest[-1] if rest else ""
    words = ("weight", "bias", "reset_parameters", "fill_", "normal_", "zero_", "apply")
    return function.name in ("__init__", "reset_parameters", "init_weights", "_init_weights") and (
        last.startswith(words)
    )


def _is_frozen_as_a_whole(module: ModuleClass) -> bool:
    """Whether some method of the class sets `requires_grad` of what it walks over."""
    return any(
        reference.parts[-1] in ("requires_grad", "requires_grad_")
        for method in module.own_methods
        for scope in method.walk()
        for reference in scope.references
    )


# Losses ---------------------------------------------------------------------------------------


def losses_made_anew(file: SourceFile) -> Iterator[ast.Call]:
    """The calls that wrap a computed loss anew, with `requires_grad=True`, before `backward()`."""
    for call in file.calls_named("backward"):
        receiver = call.receiver
        if receiver is None or call.node.args:
            continue
        flow = file.flow(call.scope)
        step = flow.step_of(receiver)
        if step is None and isinstance(receiver, ast.Name):
            bound = [s for name, s, _ in flow.bindings if name == receiver.id
                     and s.statement.index < call.statement.index]  # fmt: skip
            step = bound[-1] if bound else None
        if step is None or step.kind != "function" or not isinstance(step.node, ast.Call):
            continue
        wraps = step.name in ("torch.tensor", "torch.autograd.Variable", "torch.nn.Parameter")
        grads = any(k.arg == "requires_grad" for k in step.node.keywords)
        if wraps and grads and any(_is_a_loss(one) for one in step.before()):
            yield step.node


def _is_a_loss(step: Step) -> bool:
    return "loss" in step.name.lower() or step.operation in (
        "cross_entropy", "mse_loss", "nll_loss", "l1_loss", "backward",
    )  # fmt: skip
