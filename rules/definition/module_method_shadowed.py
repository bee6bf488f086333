"""A method or attribute hides one of `nn.Module`'s own, with another meaning.

What it does
------------
Looks for methods of a module that have the name of one of `nn.Module`'s (`train`, `eval`,
`parameters`, `apply`, `type`, …) and cannot be called as that one is, and for attributes with such
a name (`self.modules = …`). A method that takes the same arguments is an extension, and fine.

Why it is bad
-------------
PyTorch calls these methods itself: `eval()` is `train(False)`, optimizers ask `parameters()`,
`state_dict()` goes through the children. With another meaning behind the name they raise, or do
something else. A submodule under such a name cannot be reached at all: the method is found first.

Example
-------
    class Net(nn.Module):
        def train(self, x, y):
            return F.cross_entropy(self(x), y)

Use instead
-----------
    class Net(nn.Module):
        def training_step(self, x, y):
            return F.cross_entropy(self(x), y)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import UNKNOWN, AttributeWrite, Function, ModuleClass, SourceFile

rule = Rule("AC117", "module-method-shadowed", Severity.ERROR)

# nn.Module's methods, and how many arguments PyTorch or its users give them at least.
_METHODS = {
    "add_module": 2, "apply": 1, "bfloat16": 0, "buffers": 0,
    "children": 0, "cpu": 0, "cuda": 0, "double": 0, "eval": 0,
    "float": 0, "get_buffer": 1, "get_parameter": 1, "get_submodule": 1,
    "half": 0, "load_state_dict": 1, "modules": 0, "named_buffers": 0,
    "named_children": 0, "named_modules": 0, "named_parameters": 0,
    "parameters": 0, "register_buffer": 2, "register_forward_hook": 1,
    "register_forward_pre_hook": 1, "register_module": 2, "register_parameter": 2,
    "requires_grad_": 0, "share_memory": 0, "state_dict": 0, "to": 1,
    "train": 0, "type": 1, "zero_grad": 0,
}  # fmt: skip
# Plain values under these names only take a method away that PyTorch does not call by itself.
_RARELY_CALLED = frozenset({
    "bfloat16", "cpu", "cuda", "double", "float", "get_buffer", "get_parameter", "get_submodule",
    "half", "register_forward_hook", "register_forward_pre_hook", "register_module",
    "share_memory", "type",
})  # fmt: skip
_TABLES = frozenset({"_buffers", "_modules", "_parameters"})
_LITERALS = (
    ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp,
    ast.GeneratorExp, ast.JoinedStr, ast.BinOp, ast.Compare,
)  # fmt: skip


@rule.on_source
def hides_a_method_of_the_module(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for method in module.definition.functions:
            if method.name in _METHODS and not method.is_overload:
                yield from _method(file, module, method)
        for write in module.own_writes:
            if write.kind in ("assign", "setattr", "unpack", "loop", "class") and (
                write.name in _METHODS or write.name in _TABLES or write.name == "training"
            ):
                yield from _attribute(file, module, write)


def _method(file: SourceFile, module: ModuleClass, method: Function) -> Iterator[Finding]:
    name = method.name
    least = _METHODS[name]
    if method.is_property:
        problem = "is a property, and PyTorch calls it"
    elif method.is_static or method.is_classmethod or method.decorators:
        return
    else:
        parameters = method.signature.without_first().parameters
        needed = [
            p for p in parameters
            if p.default is None and p.kind in ("positional", "either", "named")
        ]  # fmt: skip
        places = [p for p in parameters if p.kind in ("positional", "either")]
        takes_more = any(p.kind == "star" for p in parameters)
        if len(needed) > least and not _is_the_same(name, [p.name for p in needed]):
            listed = ", ".join(p.name for p in needed)
            problem = f"needs {listed}, and PyTorch calls it without"
        elif name == "train" and not takes_more and not places:
            problem = "takes no mode, and eval() calls it with one"
        elif name == "train" and places and _is_another_meaning(places[0].default):
            problem = f"takes {places[0].name} first, and eval() calls train(False)"
        elif least and not takes_more and len(places) < least and name not in ("to", "type"):
            problem = f"takes less than PyTorch gives it ({least})"
        elif name == "type" and not takes_more and not places:
            problem = "takes no type"
        else:
            return
    yield Finding(
        f"`{module.name}.{name}` hides `nn.Module.{name}`: it {problem}",
        file.name_location(method.node),
        label=f"hides nn.Module.{name}",
        help="give it another name",
        severity=Severity.WARNING if name in _RARELY_CALLED else None,
    )


def _is_the_same(name: str, needed: list[str]) -> bool:
    """Whether an argument that torch leaves optional is asked for, with the same meaning."""
    known = {
        "train": {"mode"}, "cuda": {"device", "device_id", "gpu"}, "requires_grad_":
        {"requires_grad", "flag", "mode"}, "parameters": {"recurse"},
        "to": {"device", "dtype", "args"}, "load_state_dict": {"state_dict", "strict"},
        "zero_grad": {"set_to_none"},
    }  # fmt: skip
    return set(needed) <= known.get(name, set())


def _is_another_meaning(default: ast.expr | None) -> bool:
    """Whether the default of train's first parameter cannot be a mode."""
    return (
        isinstance(default, ast.Constant)
        and default.value is not None
        and not isinstance(default.value, bool)
    )


def _attribute(file: SourceFile, module: ModuleClass, write: AttributeWrite) -> Iterator[Finding]:
    name, value = write.name, write.value
    layers = file.layers(value, write.statement) if value is not None else ()
    if name == "training":
        if value is None or not (layers or _is_no_mode(value)):
            return
        problem = "the mode that train() and eval() set"
    elif name in _TABLES:
        if write.function is None or not isinstance(value, ast.List | ast.Dict | ast.Tuple):
            return
        problem = "the table that nn.Module keeps its own things in"
    elif layers:
        problem = "a method, which is found before the submodule"
    elif value is not None and _is_plain(file, write):
        problem = "a method"
    else:
        return
    yield Finding(
        f"`self.{name}` hides `nn.Module.{name}`, {problem}",
        write.location,
        label=f"hides nn.Module.{name}",
        module=None,
        help="give it another name",
        explains=module.file.location(module.node),
        severity=Severity.WARNING if name in _RARELY_CALLED and not layers else None,
    )


def _is_no_mode(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return value.value is not None and value.value not in (True, False)
    return isinstance(value, _LITERALS) and not isinstance(value, ast.Compare | ast.BinOp)


def _is_plain(file: SourceFile, write: AttributeWrite) -> bool:
    """Whether a value certainly is data, and no other way to do what the method does."""
    value = write.value
    if value is None:
        return False
    if isinstance(value, (ast.Constant, *_LITERALS)):
        return True
    if file.value(value, write.statement) is not UNKNOWN:
        return True
    # A parameter that is kept as it is: `self.type = type`.
    return (
        isinstance(value, ast.Name)
        and write.function is not None
        and write.function.name == "__init__"
        and value.id in write.function.parameters
        and len(write.function.bindings.get(value.id, ())) == 1
    )
