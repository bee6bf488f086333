"""Skip connections, read from the source: who says that there is one, and where paths can meet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.core.finding import Location
from archcheck.evidence.dataflow import AFFINE
from archcheck.python.names.unknown import UNKNOWN

if TYPE_CHECKING:
    from archcheck.python import (
        Binding,
        Flow,
        Function,
        Layer,
        ModuleClass,
        SourceFile,
        Step,
        Submodule,
    )

# Names of variables that keep a value for a later sum.
SKIP_NAME: Final = re.compile(
    r"(?:^|_)(?:identity|short_?cut|residual|skip)(?:_?(?:x|in|out|\d+))?$"
)
# Names of copies of the input, which are a skip where the class says that it has one.
_COPY_NAME: Final = re.compile(
    r"^(?:x_?)?(?:orig|original|prev|previous|saved|copy|old|input|inp|in|start)$|^(?:res|resid)$"
)
_SPOKEN_OF: Final = (
    "identity", "shortcut", "short_cut", "residual", "skip", "Res", "res",
)  # fmt: skip
# Attributes that bring a skip to the shape of what it is added to.
PROJECTION_NAME: Final = re.compile(
    r"downsample|short_?cut|identity|residual|skip|proj|match|adjust|extra|res_?conv", re.IGNORECASE
)
_CLASS_NAME: Final = re.compile(
    r"Residual|(?<![Hh]igh)(?<![Ll]ow)(?<!uper)(?<!ulti)(?<!ull)(?<!alf)(?<!ingle)(?<!Hi)(?<!Lo)"
    r"(?<!ross)(?<!eat)(?<!ore)Res_?(?:[Nn]et|NeXt|[Bb]lock|[Uu]nit|Layer|Module|Bottleneck|Basic)|"
    r"(?<![a-z])Skip_?(?:Connection|Block|Layer)"
)
_NETWORK_NAME: Final = (
    r"(?:[A-Z][a-z]+|_)?(?:Res(?:idual)?_?[Nn]et|RESNET)(?:work)?[_V]?\d*\w{0,12}$"
)
_FILE_NAME: Final = r"(?i)(?:^|[_\W])res(?:idual)?_?net"
_WORDS: Final = (
    r"(?:residuals?\b|skip[- ]?connections?|short[- ]?cut|res[- ]?net|identity mapping"
    r"|残差|跳跃连接|跳连|短接|捷径|恒等映射)"
)
# For text in lower case: five times as fast as one that ignores case.
_TEXT: Final = re.compile(_WORDS)
# Compiled where it is first needed, for it takes long.
_DENIED: Final = (
    r"(?:\b(?:no|non|not|without|w/o|remov\w*|disabl\w*|drop\w*|instead of|replac\w*|lacks?|never|"
    r"unlike|don't|doesn't|before|after|outside|caller|parent)\b[^.;\n]{0,30}?|"
    r"[无没不去未非][^\uff0c\u3002\n]{0,6}?)" + _WORDS
    + r"|" + _WORDS + r"[^.;\n]{0,40}\b(?:caller|parent|outside|elsewhere|removed|disabled)\b"
)  # fmt: skip
# Layers of torch in which paths meet.
_JOINING_LAYERS: Final = (
    "MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerDecoder",
    "TransformerEncoderLayer", "TransformerDecoderLayer", "LSTM", "GRU", "RNN", "LSTMCell",
    "GRUCell", "RNNCell", "Bilinear",
)  # fmt: skip


def says_residual(module: ModuleClass) -> Location | None:
    """Where a class says that it has a skip connection: in its name, its docstrings, or the
    comments in it and right above it. None where it does not, or where it speaks of having none."""
    found = module.location if _CLASS_NAME.search(module.name) else None
    if not _speaks_of_skips("\n".join(_lines_of(module))):
        return found
    for text, location in _words_of(module):
        if _speaks_of_skips(text):
            if _denies_skips(text):
                return None
            found = found or location
    return found


def network_says_residual(module: ModuleClass) -> Location | None:
    """Where a whole network says that its blocks have skip connections: in its name, its
    docstring, or its file's name."""
    if re.fullmatch(_NETWORK_NAME, module.name) or re.search(_FILE_NAME, module.file.place.stem):
        return module.location
    text = module.definition.docstring or ""
    return module.location if _speaks_of_skips(text) and not _denies_skips(text) else None


def _speaks_of_skips(text: str) -> bool:
    return bool(_TEXT.search(text.lower()))


def _denies_skips(text: str) -> bool:
    return bool(re.search(_DENIED, text, re.IGNORECASE))


def names_skips(file: SourceFile) -> bool:
    """Whether some name in a file may be one of `SKIP_NAME`."""
    return any(word in file.code for word in _SPOKEN_OF)


def _lines_of(module: ModuleClass) -> tuple[str, ...]:
    """The lines of a class, with the comments right above it."""
    first, last = _span_of(module)
    return module.file.lines[first - 1 : last]


def _span_of(module: ModuleClass) -> tuple[int, int]:
    node, lines = module.node, module.file.lines
    first = min((d.lineno for d in node.decorator_list), default=node.lineno)
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return first, node.end_lineno or node.lineno


def _words_of(module: ModuleClass) -> Iterator[tuple[str, Location]]:
    file = module.file
    first, last = _span_of(module)
    for comment in file.comments:
        if first <= comment.line <= last:
            end = comment.column + len(comment.text)
            yield comment.text, Location(file.path, comment.line, comment.column, comment.line, end)
    for scope in module.definition.walk():
        if scope.docstring:
            yield scope.docstring, file.location(scope.node.body[0])


def meetings(flow: Flow) -> list[Step]:
    """The steps in which two values that come from a function's inputs can meet: sums, products,
    concatenations, calls that are given both."""
    own = flow.derived
    return [
        step
        for step in flow.steps
        if step in own
        and step.kind not in ("merge", "constant", "input")
        and len({source for source in step.inputs if source in own}) > 1
    ]


def may_join(module: ModuleClass) -> bool:
    """Whether the source shows a place in a module's own methods where two paths can meet."""
    return any(meetings(flow) for _, flow in _flows(module))


def surely_joins_nothing(module: ModuleClass, depth: int = 4) -> bool:
    """Whether all that a module does can be seen, and no two paths meet in it."""
    flows = list(_flows(module))
    if not flows or depth < 0:
        return False
    for _, flow in flows:
        own = flow.derived
        if meetings(flow) or any(step in own and _hides(step, depth) for step in flow.steps):
            return False
    return True


def _flows(module: ModuleClass) -> Iterator[tuple[Function, Flow]]:
    for method in module.computing:
        owner = method.owner.module if method.owner is not None else None
        flow = owner.flow(method) if owner is not None else None
        if flow is not None:
            yield method, flow


def _hides(step: Step, depth: int) -> bool:
    """Whether a join may be hidden in what a step calls."""
    if step.kind == "layer" and step.layer is not None:
        return _layer_hides(step.layer, depth)
    if step.kind == "function":
        return not step.name.startswith("torch.")
    return step.kind == "unknown"


def _layer_hides(layer: Layer, depth: int) -> bool:
    if layer.children is UNKNOWN or not layer.is_known:
        return True
    if any(_layer_hides(child, depth) for child in layer.children):
        return True
    module = layer.module_class
    if module is not None:
        return not surely_joins_nothing(module, depth - 1)
    return layer.is_a(*_JOINING_LAYERS)


def blocks_of(module: ModuleClass) -> tuple[ModuleClass, ...]:
    """The project's classes that a module is built of and that apply several layers with weights,
    the innermost; the module itself where there are none."""
    inner = _inner_blocks(module)
    innermost = tuple(block for block in inner if not _inner_blocks(block))
    return innermost or ((module,) if not inner and _is_a_block(module) else ())


def _inner_blocks(module: ModuleClass) -> tuple[ModuleClass, ...]:
    found = (layer.module_class for layer in module.all_layers())
    blocks = (known for known in found if known is not None and known is not module)
    return tuple(dict.fromkeys(block for block in blocks if _is_a_block(block)))


def _is_a_block(module: ModuleClass) -> bool:
    return sum(affine_layers(flow) for _, flow in _flows(module)) > 1


def affine_layers(flow: Flow) -> int:
    """How many layers with weights a function applies, as far as it shows."""
    return sum(
        1
        for step in flow.steps
        for layer in (step.layer.walk(3) if step.layer is not None else (None,))
        if (layer.class_name.lower() if layer is not None else step.operation) in AFFINE
    )


def may_be_joined_outside(module: ModuleClass) -> bool:
    """Whether another class around may lead a skip past modules of this class: two paths meet in
    it, and it builds one, or calls something that cannot be seen."""
    for file in module.file.project.files_naming(module.name, module.file):
        for other in file.modules:
            if other.definition is not module.definition and may_join(other):
                calls = [call for scope in other.definition.walk() for call in scope.calls]
                if any(call.target is module.definition for call in calls):
                    return True
                if any(step.kind == "unknown" for _, flow in _flows(other) for step in flow.steps):
                    return True
    return False


def vain_skips(module: ModuleClass) -> Iterator[tuple[Flow, str, list[tuple[Step, ast.AST]]]]:
    """The names under which a class's own methods keep a skip in vain, as `kept_in_vain` tells."""
    for method in module.computing:
        names = [
            name for name in method.bindings
            if SKIP_NAME.search(name)
            or (_COPY_NAME.search(name) and _CLASS_NAME.search(module.name))
        ]  # fmt: skip
        flow = module.flow(method) if names and method.owner is module.definition else None
        if flow is None:
            continue
        for name in names:
            found = kept_in_vain(flow, name) or summed_in_vain(flow, name)
            if found:
                yield flow, name, found


def kept_in_vain(flow: Flow, name: str) -> list[tuple[Step, ast.AST]]:
    """The values that a function keeps under the name of a skip and never reads but to bind that
    name anew (`skip = self.fit(skip)`), with the nodes that bind them.

    A value that has several readers under another name, in a function where paths meet, may be
    joined under that name; what a layer computed for the skip alone cannot.
    """
    function = flow.function
    if function is None:
        return []
    bound = function.bindings.get(name, [])
    if any(b.kind != "assign" or b.path or b.within is not None for b in bound):
        return []
    vain = [b.node for b in _never_read(function, name, bound)]
    own = flow.derived
    found = [(step, node) for kept, step, node in flow.bindings if kept == name and node in vain]
    if any(step not in own or step.kind in ("tuple", "item") for step, _ in found):
        return []
    sources = [_copied(step) for step, _ in found]
    computed = any(step.kind != "input" and step.names == [name] for step in sources)
    if computed or not meetings(flow):
        return found
    return [one for one, step in zip(found, sources, strict=True) if len(set(step.readers)) < 2]


def summed_in_vain(flow: Flow, name: str) -> list[tuple[Step, ast.AST]]:
    """The sums that take a kept value and go nowhere: thrown away, or overwritten unread."""
    kept = [step for local, step, _ in flow.bindings if local == name]
    bound = flow.scope.bindings.get(name, ())
    if len(kept) != 1 or kept[0] not in flow.derived or not SKIP_NAME.search(name):
        return []
    if any(binding.kind != "assign" for binding in bound):
        return []
    reading = [
        step for step in flow.steps
        if kept[0] in step.inputs and not step.describes
        and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(step.node))
    ]  # fmt: skip
    sums = [step for step in reading if step.operation in ("+", "add", "cat") and not step.in_place]
    if not sums or sums != reading or any(_may_be_seen(flow, step) for step in sums):
        return []
    return [(kept[0], step.node) for step in sums]


def _may_be_seen(flow: Flow, step: Step) -> bool:
    """Whether a value reaches what the function returns, or something that is not followed."""
    returned = {one for one, _ in flow.returns}
    seen: set[Step] = set()
    waiting = [step]
    while waiting:
        one = waiting.pop()
        # What is called for no value, as `append` is, may keep what it is given.
        is_kept = one.kind in ("method", "function", "layer") and not one.users
        if one in returned or one.kind == "unknown" or one.in_place or is_kept:
            return True
        if one not in seen:
            seen.add(one)
            waiting += one.users
    return False


def _never_read(function: Function, name: str, bound: list[Binding]) -> list[Binding]:
    """The bindings that no read sees but in the value of the next one, in vain as well."""
    reads = function.name_reads.get(name, [])
    if any(name in nested.name_reads for nested in function.functions):
        return []
    if any(b.statement.suite.conditional for b in bound):
        values = [part for b in bound if b.value is not None for part in ast.walk(b.value)]
        return bound if all(read in values for read in reads) else []
    vain: list[Binding] = []
    anew: list[ast.AST] = []  # what the value of the next binding reads, if that is in vain
    end = (1 << 30, 0)
    for binding in reversed(bound):
        start = _end_of(binding)
        seen = [read for read in reads if start <= (read.lineno, read.col_offset) < end]
        is_vain = all(read in anew for read in seen)
        if is_vain:
            vain.append(binding)
        anew = list(ast.walk(binding.value)) if is_vain and binding.value is not None else []
        end = start
    return vain


def _end_of(binding: Binding) -> tuple[int, int]:
    node = binding.statement.node
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def _copied(step: Step) -> Step:
    """What a value is a mere copy of."""
    while step.operation in ("clone", "detach", "contiguous", "identity") and step.source:
        step = step.source
    return step


def projections(module: ModuleClass) -> tuple[Submodule, ...]:
    """The submodules that would bring a skip into shape, and that nothing reads."""
    return tuple(
        submodule
        for submodule in module.submodules
        if PROJECTION_NAME.search(submodule.attribute)
        and module.surely_never_reads(submodule.attribute)
    )
