"""Weights that came in trained, and initialisations that also visit them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import Call, Function, ModuleClass, SourceFile, Statement
from archcheck.python.program.events import Event, Run
from archcheck.python.program.things import Thing

from ._scripts import text_of
from ._things import is_loop, is_or_holds

_PRETRAINED = re.compile(r"pre_?train", re.IGNORECASE)
# What an initialisation does to a tensor.
_DRAWS = re.compile(r"init\.\w+_\(|\.(normal_|uniform_|zero_|fill_|trunc_normal_)\(|reset_param")
# How an initialisation leaves out what was loaded.
_ASKS = re.compile(r"hasattr|getattr|pretrain|_is_hf_init|_initiali[sz]ed")
_ASKING = re.compile(r"pre_?train|weights|load|init|scratch|resume|checkpoint", re.IGNORECASE)


class Reset(NamedTuple):
    """An initialisation of all of a model, a part of which came in trained.

    Attributes:
        node, statement: The call, or the loop, that initialises.
        part: What the trained part is called.
        origin, at: The expression that makes or loads it, and where that stands.
    """

    node: ast.AST
    statement: Statement
    part: str
    origin: ast.AST
    at: Statement


def resets_in_constructors(file: SourceFile) -> Iterator[Reset]:
    """The initialisations of `self`, in a constructor, after a pretrained part was set."""
    for module in file.modules:
        initializer = module.methods.get("__init__")
        if initializer is not None:
            for node, statement in _initialisations(module, initializer):
                if not _is_conditional(statement) and not _loads_later(initializer, statement):
                    yield from _parts_before(file, module, initializer, node, statement)


def resets_in_scripts(file: SourceFile) -> Iterator[Reset]:
    """The initialisations of a model that was made with weights, or had them loaded."""
    for run in file.runs:
        for reset in run.of("reset") if run.complete else ():
            model = _visited(reset)
            origin = _origin(run, reset, model) if model is not None else None
            if origin is not None and model is not None:
                name = model.name or "the model"
                yield Reset(reset.node, reset.statement, name, origin.node, origin.statement)


def _initialisations(
    module: ModuleClass, initializer: Function
) -> Iterator[tuple[ast.AST, Statement]]:
    own = initializer.self_name
    for call in initializer.calls:
        if call.parts == (own, "apply") and len(call.node.args) == 1:
            function = _function_of(module, call)
            if function is not None and draws_everywhere(function):
                yield call.node, call.statement
    for node, statement in initializer.nodes(ast.For):
        assert isinstance(node, ast.For)
        if text_of(getattr(node.iter, "func", None)) in (f"{own}.modules", f"{own}.parameters"):
            text = initializer.file.text(node)
            if _DRAWS.search(text) and not _ASKS.search(text):
                yield node, statement


def _function_of(module: ModuleClass, call: Call) -> Function | None:
    given = call.node.args[0]
    name = text_of(given) or ""
    if name.startswith("self."):
        return module.find_method(name.removeprefix("self."))
    target = call.scope.file.resolve(given, call.statement)
    return target if isinstance(target, Function) else None


def draws_everywhere(function: Function) -> bool:
    """Whether a function draws new weights for whatever layer it is given."""
    text = function.file.text(function.node)
    return bool(_DRAWS.search(text)) and not _ASKS.search(text)


def _is_conditional(statement: Statement) -> bool:
    return any(isinstance(suite.owner, ast.If | ast.Try) for suite in statement.suite.outward())


def _loads_later(initializer: Function, statement: Statement) -> bool:
    return any(
        call.statement.index > statement.index
        and re.search(r"load|pretrain|init_weights", call.name)
        for call in initializer.calls
    )


def _parts_before(
    file: SourceFile, module: ModuleClass, initializer: Function, node: ast.AST, at: Statement
) -> Iterator[Reset]:
    for write in module.own_writes:
        value = write.value
        if write.function is not initializer or value is None or write.statement.index > at.index:
            continue
        if _is_conditional(write.statement):
            continue
        origin = _trained(file, module, value, write.statement)
        if origin is not None:
            yield Reset(node, at, f"self.{write.name}", origin, write.statement)
            return
    for call in initializer.calls:
        loaded = call.name == "load_state_dict" and call.parts[0] == initializer.self_name
        if loaded and call.statement.index < at.index and not _is_conditional(call.statement):
            yield Reset(node, at, ".".join(call.parts[:-1]), call.node, call.statement)
            return


def _trained(
    file: SourceFile, module: ModuleClass, value: ast.expr, at: Statement
) -> ast.expr | None:
    """What makes the value of an attribute with trained weights."""
    if isinstance(value, ast.Name):
        return value if _is_given_trained(file, module, value.id) else None
    if isinstance(value, ast.Call) and has_weights(file, value, at):
        return value
    return None


def _is_given_trained(file: SourceFile, module: ModuleClass, name: str) -> bool:
    """Whether a parameter of a constructor says, or its callers do, that it is pretrained."""
    signature = module.constructor
    if signature is None or name not in {one.name for one in signature.parameters}:
        return False
    if _PRETRAINED.search(name):
        return False
    given = [
        (signature.bind(call.node).values.get(name), call)
        for call in file.calls
        if call.target is module.definition
    ]
    return bool(given) and all(
        value is not None
        and (
            _PRETRAINED.search(text_of(value) or "") is not None
            or (isinstance(value, ast.Call) and has_weights(file, value, call.statement))
        )
        for value, call in given
    )


def has_weights(file: SourceFile, node: ast.Call, at: Statement) -> bool:
    """Whether a constructor certainly loads trained weights."""
    text = text_of(node.func) or ""
    dotted = file.dotted(node.func, at) or text
    if text.endswith(".from_pretrained"):
        return not re.search(r"Config|Token|Processor|Extractor|Embedding", text)
    keywords = {one.arg: one.value for one in node.keywords}
    wanted = keywords.get("pretrained", keywords.get("weights"))
    if dotted.startswith(("torchvision.models.", "timm.create_model", "torch.hub.load")):
        if wanted is None and dotted.startswith("torchvision.models.") and node.args:
            wanted = node.args[0]
        if isinstance(wanted, ast.Constant):
            return bool(wanted.value)
        return wanted is not None and "weights" in keywords and "Weights" in file.text(wanted)
    return False


def _visited(reset: Event) -> Thing | None:
    """The model, all of whose parts an initialisation visits."""
    called = reset.node.func if isinstance(reset.node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr == "apply":
        given = reset.arguments[0] if reset.arguments else None
        function = given.function if given is not None else None
        known = function is not None and draws_everywhere(function)
        return reset.subject if known and reset.subject.kind == "module" else None
    for region in reset.around:
        over = region.over
        if is_loop(region) and over is not None and "parts" in over.marks:
            part = next((one for one in reset.subject.roots() if one in _parts(over)), None)
            if part is not None and not _ASKS.search(reset.file.text(region.node)):
                return over.holder
    return None


def _parts(over: Thing) -> list[Thing]:
    return [inner for item in over.items for inner in (item, *item.items)]


def _origin(run: Run, reset: Event, model: Thing) -> Event | None:
    """What gave a model trained weights before an initialisation, if nothing does so after it."""
    if any(one.index > reset.index and is_or_holds(one.subject, model) for one in run.of("load")):
        return None
    for load in run.of("load"):
        if load.index < reset.index and load.subject is model and not load.branches():
            return load
    for build in run.of("build"):
        made = build.result
        if made is None or build.index > reset.index or "pretrained" not in made.marks:
            continue
        if made is model or made in model.items or made in model.fields.values():
            return None if _is_in_a_branch(reset) else build
    return None


def _is_in_a_branch(reset: Event) -> bool:
    """Whether an initialisation happens under a condition, but for those on what it visits."""
    for region in reset.around:
        if region.kind == "branch":
            return True
        if is_loop(region) and region.over is not None and "parts" in region.over.marks:
            return False
    return False
