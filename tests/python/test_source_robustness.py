"""No file makes the source model fail: the standard library, and files cut to pieces."""

from __future__ import annotations

import ast
import sys
import sysconfig
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_files import HEAD, source

from archcheck.python import Project, SourceFile
from archcheck.python.text.document import DocumentError


def ask_everything(file: SourceFile) -> int:
    """Ask all that a rule can ask; the number of answers."""
    asked = 0
    for scope in file.scopes:
        _ = scope.qualified_name, scope.docstring
        for bindings in scope.bindings.values():
            for binding in bindings:
                if binding.value is not None:
                    file.value(binding.value, binding.statement, defaults=True)
                    file.instance_of(binding.value, binding.statement)
                    file.layers(binding.value, binding.statement)
                    asked += 1
        if not isinstance(scope.node, ast.ClassDef):
            for step in file.flow(scope).steps:
                _ = step.operation, step.source, step.in_place, step.location, step.readers
                asked += 1
    for function in file.functions:
        _ = (
            function.signature, function.decorators, function.is_abstract, function.is_property,
            function.can_fall_off_end, function.always_raises, function.self_name,
            function.name_reads, file.name_location(function.node),
        )  # fmt: skip
    for call in file.calls:
        _ = call.target, call.dotted, call.module_class, call.receiver, call.has_star
        call.argument("dim", 1)
        assert file.location(call.node).end_column > 0
        assert file.statement_at(call.node).scope.file is file
        asked += 1
    for definition in file.classes:
        _ = definition.constructor, definition.is_certain, definition.ancestors
        module = definition.module
        if module is None:
            continue
        for method in module.own_methods:
            _ = module.super_calls(method), module.self_calls(method), module.flow(method)
        for use in module.uses:
            _ = use.attribute, module.surely_lacks(use.name), module.layers_of(use.name)
        for submodule in module.submodules:
            _ = module.surely_never_reads(submodule.attribute), submodule.certain
            for layer in submodule.layer.walk():
                _ = [layer.argument(name) for name in (layer.signature or _EMPTY).by_name]
        _ = module.all_layers(), module.computing, module.initializing, module.location
    for chain in file.chains:
        _ = [(link.name, link.location, link.operation) for link in chain.links if link.layer]
        asked += len(list(chain.pairs()))
    for loop in file.loops:
        _ = loop.calls, loop.statements, loop.location
    for loss in file.losses:
        _ = loss.prediction, loss.location
    _ = file.fragments, file.imports, file.names_set_on_others
    return asked


class _EMPTY:
    by_name: tuple[str, ...] = ()


def test_the_standard_library_goes_through() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    project = Project(folder)
    paths = sorted(folder.glob("*.py"))
    for path in islice(paths, 0, None, 8):
        file = project.file(path)
        # As if each mentioned torch.
        file.__dict__["is_relevant"] = True
        ask_everything(file)


def test_torch_s_own_models_go_through() -> None:
    import importlib.util

    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        pytest.skip("torch is not installed")
    folder = Path(spec.origin).parent / "nn" / "modules"
    project = Project(folder)
    for name in ("activation.py", "container.py", "transformer.py", "rnn.py", "module.py"):
        assert ask_everything(project.file(folder / name)) > 0


PIECES = (
    HEAD
    + """
from collections import OrderedDict
from torch.nn import *

def conv(a, b, *rest, c=3, **more):
    return nn.Conv2d(a, b, c)

class Base(nn.Module):
    def __init__(self, width=64, *, depth: int = 2):
        super().__init__()
        self.first = conv(3, width)
        self.stages = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        for index, name in enumerate("abc"):
            setattr(self, f"block{index}", nn.ReLU())
            self.add_module(name, nn.BatchNorm2d(width))
        layers = [nn.Linear(1, 2)]
        layers += [nn.ReLU()]
        layers.append(nn.Dropout(p=0.5))
        self.head = nn.Sequential(*layers, OrderedDict([("a", nn.Tanh())]))

    @property
    def size(self): return self.first.weight.shape[0]

    def forward(self, x, mask=None):
        identity = x
        with torch.no_grad():
            x = self.first(x)
        for stage in self.stages:
            x = stage(x) + identity
        if mask is not None and (n := x.size(0)) > 1:
            x = x * mask[:, None]
        try:
            x = F.relu(self.head(x), inplace=True)
        except (ValueError, TypeError) as error:
            raise RuntimeError from error
        else:
            x += 1
        finally:
            del mask
        match x:
            case [a, *rest, {"k": b, **kw}] if a: return b
            case _: pass
        return torch.softmax(x.view(x.shape[0], -1), dim=1), (lambda y, *z: y + z)(x)

model, criterion = Base(3).cuda(), nn.CrossEntropyLoss()
for epoch in range(3):
    for x, y in loader:
        while True:
            loss = criterion(model(x)[0], y); loss.backward()
            if loss: break
"""
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_files_cut_to_pieces_go_through(data: st.DataObject) -> None:
    lines = PIECES.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "swap", "cut", "word"]))
        if change == "drop" and len(lines) > 1:
            del lines[index]
        elif change == "double":
            lines.insert(index, lines[index])
        elif change == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[index], lines[other] = lines[other], lines[index]
        elif change == "cut":
            lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))] + "\n"
        else:
            words = lines[index].split(" ")
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(
                st.sampled_from(["self", "x", "nn", "*x", "()", "[]", "None", "é", "lambda: x"])
            )
            lines[index] = " ".join(words).rstrip("\n") + "\n"
    ask_everything(source("".join(lines), head=""))


NAMES = st.sampled_from(["nn", "self", "x", "F", "torch", "a"])
EXPRESSIONS = st.recursive(
    st.one_of(NAMES, st.sampled_from(["1", "None", "'s'", "nn.Linear(1, 2)", "-1", "..."])),
    lambda inner: st.one_of(
        st.builds("{}.{}".format, NAMES, NAMES),
        st.builds("{}({}, k={})".format, inner, inner, inner),
        st.builds("({} + {})".format, inner, inner),
        st.builds("[{} for a in {}]".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(lambda a: {})".format, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("(a := {})".format, inner),
        st.builds("nn.Sequential({}, *{})".format, inner, inner),
        st.builds("({}, {})".format, inner, inner),
        st.builds("{{'k': {}, **{}}}".format, inner, inner),
        st.builds("({} and not {})".format, inner, inner),
        st.builds("f'{{{}}}'".format, NAMES),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_any_expression_goes_through(expressions: list[str]) -> None:
    body = "".join(f"        a = self.x = {text}\n" for text in expressions)
    text = f"class Net(nn.Module):\n    def __init__(self, a):\n{body}        return a\n"
    ask_everything(source(text + text.replace("__init__", "forward")))


def test_deep_nesting_goes_through() -> None:
    depth = 60
    text = "x = " + "nn.Sequential(" * depth + "nn.ReLU()" + ")" * depth + "\n"
    text += "y = " + "(" * depth + "1" + "+ 1)" * depth + "\n"
    text += "".join(f"v{i} = v{i + 1}\n" for i in range(2000))
    text += "z = " + ".relu()".join(["x"] * 1 + [""] * 300) + "\n"
    ask_everything(source(text))


def test_an_unreadable_import_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_bytes(b"\x00\xff\xfe" * 100)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "a.py").write_text(
        "import torch\nfrom broken import A\nfrom folder import B\nclass C(A): ...\n"
        "class D(B): ...\n"
    )
    file = Project(tmp_path).file(tmp_path / "a.py")
    assert file.modules == ()
    with pytest.raises(DocumentError):
        Project(tmp_path).file(tmp_path / "missing.py")


def test_no_state_is_left_in_the_interpreter() -> None:
    before = sys.getrecursionlimit()
    ask_everything(source(PIECES, head=""))
    assert sys.getrecursionlimit() == before
