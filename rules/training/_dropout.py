"""Dropout that drops in eval mode too."""

from __future__ import annotations

import ast
import re

from archcheck.python import Call, Function, ModuleClass, SourceFile, Statement

from ._scripts import is_under, names_of

# What draws samples from a model drops on purpose.
_SAMPLES = r"(?i)monte.?carlo|\bmc\b|MC|bayes|uncertain|stochastic|ensembl"


def dropping_method(file: SourceFile, call: Call, rate: ast.expr | None) -> Function | None:
    """The method of a module in which a dropout runs whatever the mode is.

    None where that is not certain or is meant: the rate may be zero or depend on the mode, the
    code around asks for it, or the class says that it draws samples.
    """
    method = _method_around(call)
    if method is None:
        return _dropping_helper(file, call, rate)
    module = method.owner.module if method.owner is not None else None
    if module is None or method.name == "__init__":
        return None
    if _draws_samples(module) or _asks_for_the_mode(file, method, call, rate):
        return None
    runs = method is module.find_method("forward") or _always_runs(module, method)
    return method if runs else None


def _method_around(call: Call) -> Function | None:
    """The method that a call stands in, in a function inside of it or not."""
    method = call.scope.function
    while method is not None and method.owner is None:
        method = method.parent.function if method.parent is not None else None
    return method


def _dropping_helper(file: SourceFile, call: Call, rate: ast.expr | None) -> Function | None:
    """The function outside classes in which a dropout of a fixed rate runs, where the forward of a
    module calls it without asking for the mode."""
    helper = call.scope.function
    if helper is None or not (rate is None or isinstance(rate, ast.Constant)):
        return None
    if re.search(_SAMPLES, helper.name) or _asks_for_the_mode(file, helper, call, rate):
        return None
    for caller in file.calls_of(helper):
        method = _method_around(caller)
        module = method.owner.module if method is not None and method.owner is not None else None
        if method is None or module is None or method is not module.find_method("forward"):
            continue
        if not (_draws_samples(module) or _asks_for_the_mode(file, method, caller, None)):
            return helper
    return None


def is_applied_at_once(call: Call) -> bool:
    """Whether a layer is built only to be called on the spot, or in the same function."""
    if any(other.node.func is call.node for other in call.scope.calls):
        return True
    node = call.statement.node
    if not (isinstance(node, ast.Assign) and node.value is call.node and len(node.targets) == 1):
        return False
    target = node.targets[0]
    function = call.scope.function
    if not isinstance(target, ast.Name) or function is not call.scope:
        return False
    applied = sum(other.parts == (target.id,) for other in call.scope.calls)
    return 0 < applied == len(function.name_reads.get(target.id, ()))


def _draws_samples(module: ModuleClass) -> bool:
    docstring = ast.get_docstring(module.node, clean=False) or ""
    return any(re.search(_SAMPLES, text) for text in (module.name, docstring))


def _asks_for_the_mode(
    file: SourceFile, method: Function, call: Call, rate: ast.expr | None
) -> bool:
    if rate is not None:
        value = file.value(rate, call.statement)
        if isinstance(value, int | float) and value == 0:
            return True
        if not isinstance(rate, ast.Constant) and not _is_known_rate(rate, call.statement, method):
            return True
    if is_under(call.statement, "training", "train"):
        return True
    # `if not self.training: return x` above it, or a flag that is set there.
    asked = {name for test in _tests_around(call.statement) for name in names_of(test)}
    asked |= set(names_of(rate)) if rate is not None else set()
    for node, at in method.nodes(ast.If):
        assert isinstance(node, ast.If)
        asks = any("train" in name for name in names_of(node.test))
        if asks and at.index < call.statement.index and (_leaves(node) or _sets(node, asked)):
            return True
    return False


def _tests_around(statement: Statement) -> list[ast.expr]:
    owners = [suite.owner for suite in statement.suite.outward()]
    return [owner.test for owner in owners if isinstance(owner, ast.If | ast.While)]


def _leaves(node: ast.If) -> bool:
    """Whether one side of a branch leaves the function, or the turn of a loop."""
    last = (side[-1] for side in (node.body, node.orelse) if side)
    return any(isinstance(one, ast.Return | ast.Raise | ast.Continue | ast.Break) for one in last)


def _sets(node: ast.If, names: set[str]) -> bool:
    """Whether a branch sets one of these names."""
    return any(
        isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.id in names
        for part in ast.walk(node)
    )


def _is_known_rate(rate: ast.expr, at: Statement, method: Function) -> bool:
    """Whether the rate is a number or an attribute, and not something the mode may decide."""
    if any("train" in name for name in names_of(rate)):
        return False
    for part in ast.walk(rate):
        if isinstance(part, ast.Call | ast.IfExp):
            return False
        if isinstance(part, ast.Name) and part.id != method.self_name:
            bindings = at.scope.reaching(part.id, at)
            if not bindings:
                return False
            for binding in bindings:
                constant = binding.kind == "assign" and isinstance(binding.value, ast.Constant)
                if not constant:
                    return False
    return not _is_set_by_the_mode(rate, method)


def _is_set_by_the_mode(rate: ast.expr, method: Function) -> bool:
    """Whether a method such as `train` writes the attribute that holds the rate."""
    owner = method.owner
    if owner is None or owner.module is None:
        return True
    names = {part.attr for part in ast.walk(rate) if isinstance(part, ast.Attribute)}
    return any(
        write.name in names
        and write.function is not None
        and write.function not in owner.module.initializing
        for write in owner.module.writes
    )


def _always_runs(module: ModuleClass, method: Function) -> bool:
    """Whether forward reaches a helper without asking for the mode on the way."""
    if method not in module.computing:
        return False
    for definition in module.lineage:
        for other in definition.functions:
            for use in definition.module.uses_in(other) if definition.module else ():
                if use.name == method.name and is_under(use.reference.statement, "train"):
                    return False
    return True
