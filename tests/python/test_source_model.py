"""Modules of a file: bases, attributes, submodules, methods, constructors."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_files import project_of, source

from archcheck.python import UNKNOWN, ModuleClass


def only(text: str) -> ModuleClass:
    (module,) = source(text).modules
    return module


# Which classes are modules -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "class Net(nn.Module): ...",
        "class Net(torch.nn.Module): ...",
        "from torch.nn import Module as M\nclass Net(M): ...",
        "class Net(nn.Sequential): ...",
        "class Net(nn.Conv2d): ...",
        "class Net(torch.jit.ScriptModule): ...",
        "import pytorch_lightning as pl\nclass Net(pl.LightningModule): ...",
        "from typing import Generic, TypeVar\nT = TypeVar('T')\n"
        "class Net(nn.Module, Generic[T]): ...",
        "class Mixin: ...\nclass Net(Mixin, nn.Module): ...",
        "from elsewhere import Mixin\nclass Net(Mixin, nn.Module): ...",
        "def build():\n    class Net(nn.Module): ...\n    return Net",
        "class Outer:\n    class Net(nn.Module): ...",
        "import dataclasses\n@dataclasses.dataclass\nclass Net(nn.Module):\n    width: int",
        "Base = nn.Module\nclass Net(Base): ...",
    ],
)
def test_modules_are_found(text: str) -> None:
    assert [module.name for module in source(text).modules] == ["Net"]


@pytest.mark.parametrize(
    "text",
    [
        "class Net: ...",
        "from elsewhere import Base\nclass Net(Base): ...",
        "class Net(nn.Parameter): ...",
        "class Net(torch.Tensor): ...",
        "class Net(make()): ...",
        "class Net(Net): ...",
        "class A(B): ...\nclass B(A): ...",
        "class Net(torch.utils.data.Dataset): ...",
    ],
)
def test_other_classes_are_not(text: str) -> None:
    assert source(text).modules == ()


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("class Net(nn.Module): ...", True),
        ("class Mixin: ...\nclass Net(Mixin, nn.Module): ...", True),
        ("from typing import Generic\nclass Net(nn.Module, Generic[int]): ...", True),
        ("from abc import ABC\nclass Net(nn.Module, ABC): ...", True),
        ("class Net(nn.ModuleList): ...", True),
        ("from elsewhere import Mixin\nclass Net(Mixin, nn.Module): ...", False),
        ("import lightning as L\nclass Net(L.LightningModule): ...", False),
        ("class Net(nn.Conv2d): ...", False),
        ("class Net(nn.Module, metaclass=Meta): ...", False),
        ("@register\nclass Net(nn.Module): ...", False),
        ("from dataclasses import dataclass\n@dataclass\nclass Net(nn.Module): ...", True),
    ],
)
def test_what_nobody_can_look_at_is_uncertain(text: str, certain: bool) -> None:
    assert source(text).modules[-1].is_certain is certain


# Attributes --------------------------------------------------------------------------------

EVERY_WAY = """
class Base(nn.Module):
    inherited = 1
    def __init__(self):
        super().__init__()
        self.from_base = 1

class Net(Base):
    shared = 1
    declared: int
    __slots__ = ("slot",)

    def __init__(self, many):
        super().__init__()
        self.plain = 1
        self.first = self.second = 2
        self.left, (self.right, *self.rest) = many
        self.typed: int = 3
        if many:
            self.branch = 1
        for self.looped in many:
            self.inside = 1
        with open("x") as self.handle:
            pass
        setattr(self, "by_setattr", 1)
        self.add_module("added", nn.ReLU())
        self.register_module("registered", nn.ReLU())
        self.register_buffer("buffer", torch.zeros(1))
        self.register_parameter("parameter", None)
        self.setup()
        def later():
            self.closure = 1

    def setup(self):
        self.helped = 1

    @property
    def computed(self):
        return 1
"""


def test_attributes_set_in_any_way_are_there() -> None:
    net = source(EVERY_WAY).modules[1]
    assert set(net.attributes) == {
        "__init__", "__slots__", "added", "branch", "buffer", "by_setattr", "closure", "computed",
        "declared", "first", "from_base", "handle", "helped", "inherited", "inside", "left",
        "looped", "parameter", "plain", "registered", "rest", "right", "second", "setup", "shared",
        "slot", "typed",
    }  # fmt: skip
    assert not net.has_dynamic_attributes
    kinds = {name: writes[0].kind for name, writes in net.attributes.items()}
    assert kinds["by_setattr"] == "setattr"
    assert kinds["registered"] == "add_module"
    assert kinds["left"] == kinds["right"] == "unpack"
    assert kinds["declared"] == "annotation"
    assert kinds["computed"] == "method"
    conditional = {write.name for write in net.own_writes if write.conditional}
    assert conditional == {"branch", "inside"}
    assert net.attributes["closure"][0].function is net.methods["__init__"]


def test_surely_lacks() -> None:
    file = source(EVERY_WAY + "\nNet().outside = 1\n")
    net = file.modules[1]
    assert net.surely_lacks("missing")
    for name in ("from_base", "closure", "slot", "training", "forward", "__len__", "outside"):
        assert not net.surely_lacks(name), name
    # What only a subclass sets may be there.
    base = file.modules[0]
    assert not base.surely_lacks("plain")


@pytest.mark.parametrize(
    "line",
    [
        "setattr(self, name, 1)",
        "self.__dict__.update(given)",
        "self.__dict__[name] = 1",
        "self._modules[name] = 1",
        "self.add_module(f'conv{name}', nn.ReLU())",
        "self.register_buffer(name, torch.zeros(1))",
        "configure(self)",
        "vars(self).update(given)",
    ],
)
def test_computed_names_make_attributes_dynamic(line: str) -> None:
    net = only(f"class Net(nn.Module):\n    def setup(self, name, given):\n        {line}\n")
    assert net.has_dynamic_attributes
    assert not net.surely_lacks("missing")


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(self, Net)",
        "super(Net, self).__init__()",
        "nn.Module.__init__(self)",
        "print(self)",
        "hasattr(self, 'maybe')",
        "getattr(self, 'known')",
        "setattr(other, name, 1)",
    ],
)
def test_ordinary_calls_do_not(line: str) -> None:
    net = only(f"class Net(nn.Module):\n    def setup(self, name, other):\n        {line}\n")
    assert not net.has_dynamic_attributes


def test_surely_never_reads() -> None:
    file = source(
        """
        class Other(nn.Module):
            def forward(self, x):
                return self.unread(self.shadow)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.used = nn.ReLU()
                self.unread = nn.ReLU()
                self.outside = nn.ReLU()
                self.named = nn.ReLU()
                self.deep = nn.ReLU()
                self.closed = nn.ReLU()
                self.child = nn.ReLU()

            def forward(self, x):
                def inner(y):
                    return self.closed(y)
                return inner(self.used(x))

        class Child(Net):
            def forward(self, x):
                return self.child(x)

        net = Net()
        net.outside(1)
        getattr(net, "named")
        holder.net.deep.weight
        """
    )
    net = file.modules[1]
    unread = [s.attribute for s in net.submodules if net.surely_never_reads(s.attribute)]
    # That another class reads an attribute of the same name says nothing.
    assert unread == ["unread"]


@pytest.mark.parametrize(
    "line",
    [
        "for m in self.children(): m(1)",
        "getattr(self, name)(1)",
        "self._modules[name](1)",
        "run(self)",
        "self.named_modules()",
    ],
)
def test_computed_reads_are_reads(line: str) -> None:
    net = only(
        f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.ReLU()
            def forward(self, name):
                {line}
        """
    )
    assert net.has_dynamic_reads
    assert not net.surely_never_reads("layer")


def test_reads_in_other_files_of_the_package(tmp_path: Path) -> None:
    base = """
        import torch.nn as nn
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.ReLU()
                self.tail = nn.ReLU()
                self.unread = nn.ReLU()
        """
    project = project_of(
        tmp_path,
        {
            "p/__init__.py": "",
            "p/base.py": base,
            "p/child.py": """
                from .base import Base
                class Child(Base):
                    def forward(self, x):
                        return self.head(x)
                """,
            "p/use.py": "from .base import Base\nBase().tail(1)\n",
            "p/stranger.py": "self.unread(1)\nthing.unread(1)\n",
        },
    )
    module = project.file(tmp_path / "p/base.py").modules[0]
    assert [s.attribute for s in module.submodules if module.surely_never_reads(s.attribute)] == [
        "unread"
    ]
    assert [sub.name for sub in module.subclasses] == ["Child"]


# Submodules --------------------------------------------------------------------------------


def test_submodules_with_their_arguments() -> None:
    net = only(
        """
        class Net(nn.Module):
            def __init__(self, width, deep=False):
                super().__init__()
                self.conv = nn.Conv2d(3, 8 * 2, kernel_size=3, padding=1)
                self.norm = nn.BatchNorm2d(width)
                if deep:
                    self.extra = nn.Linear(4, 5)
                for index in range(3):
                    self.many = nn.ReLU()
                self.either = nn.ReLU() if deep else nn.GELU()
                self.maybe = nn.ReLU() if deep else None
                self.size = 3
                self.given = width
        """
    )
    found = {s.attribute: s for s in net.submodules}
    assert list(found) == ["conv", "norm", "extra", "many", "either", "maybe"]
    conv = found["conv"].layer
    assert conv.type == "torch.nn.Conv2d" and conv.class_name == "Conv2d"
    assert conv.argument("in_channels") == 3
    assert conv.argument("out_channels") == 16
    assert conv.argument("stride") == 1  # torch's default
    assert conv.argument("bias") is True
    assert conv.expression("stride") is None
    assert net.file.text(conv.expression("out_channels")) == "8 * 2"  # type: ignore[arg-type]
    assert found["norm"].layer.argument("num_features") is UNKNOWN
    assert found["conv"].certain
    assert found["extra"].conditional and not found["extra"].in_loop
    assert found["many"].in_loop
    assert [layer.class_name for layer in found["either"].alternatives] == ["ReLU", "GELU"]
    assert net.layer("conv") is conv
    assert net.layer("either") is None
    assert net.layer("given") is None and net.layers_of("given") is UNKNOWN


def test_helpers_are_followed_with_their_arguments() -> None:
    file = source(
        """
        def conv3x3(inside, outside, stride=1):
            return nn.Conv2d(inside, outside, kernel_size=3, stride=stride, bias=False)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = conv3x3(3, 16)
                self.second = conv3x3(16, 32, stride=2)
                self.stage = self._stage(32, 2)
                self.static = self.make(4)
                self.moved = conv3x3(1, 2).to("cuda")
                self.normed = nn.utils.weight_norm(nn.Linear(3, 4))
                self.unclear = choose(3)

            def _stage(self, width, depth):
                layers = [nn.Linear(width, width)]
                for _ in range(depth):
                    layers.append(nn.ReLU())
                return nn.Sequential(*layers)

            @staticmethod
            def make(width):
                return nn.Linear(width, 2 * width)
        """
    )
    layers = {s.attribute: s.layer for s in file.modules[0].submodules}
    assert list(layers) == ["first", "second", "stage", "static", "moved", "normed"]
    assert [layers["first"].argument(name) for name in ("in_channels", "stride")] == [3, 1]
    assert [layers["second"].argument(name) for name in ("in_channels", "stride")] == [16, 2]
    linear, relu = layers["stage"].children  # type: ignore[misc]
    assert linear.argument("in_features") == 32
    assert relu.class_name == "ReLU" and relu.repeated
    assert layers["static"].argument("out_features") == 8
    assert layers["normed"].argument("in_features") == 3


def test_all_layers_goes_through_containers_and_classes() -> None:
    file = source(
        """
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm2d(3)
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout()
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList([Block() for _ in range(3)])
        """
    )
    names = [layer.class_name for layer in file.modules[2].all_layers()]
    assert names == ["ModuleList", "Block", "BatchNorm2d", "Dropout"]


def test_a_module_that_holds_itself_ends() -> None:
    net = only(
        """
        class Net(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.inner = Net(depth - 1)
        """
    )
    assert 1 < len(net.all_layers()) < 10


# Methods -----------------------------------------------------------------------------------


def test_uses_of_self_in_order() -> None:
    net = only(
        """
        class Net(nn.Module):
            def forward(this, x):
                ...
            def run(self, x):
                self.count += 1
                x = self.conv(x) + self.scale
                self.block.act.inplace = True
                self.block.forward(x)
                del self.cache
                return [self.layers[0](x), (lambda y: self.inner(y))(x)]
        """
    )
    uses = net.uses_in(net.methods["run"])
    assert [(use.name, use.rest, use.kind) for use in uses] == [
        ("count", (), "store"), ("conv", (), "call"), ("scale", (), "load"),
        ("block", ("act", "inplace"), "load"), ("block", ("forward",), "load"),
        ("cache", (), "delete"), ("layers", (), "load"), ("inner", (), "call"),
    ]  # fmt: skip
    assert net.file.text(uses[3].attribute) == "self.block"
    # A first parameter by another name is a mistake, or no instance at all.
    assert net.uses_in(net.methods["forward"]) == ()


def test_super_calls() -> None:
    net = only(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                super(Net, self).__init__()
                nn.Module.__init__(self)
                super().__init__
                super()
                self.other.__init__()
        """
    )
    calls = net.super_calls(net.methods["__init__"])
    assert [(call.name, call.called) for call in calls] == [
        ("__init__", True), ("__init__", True), ("__init__", True), ("__init__", False),
        ("", False),
    ]  # fmt: skip
    assert [len(call.arguments) for call in calls] == [0, 2, 0, 0, 0]


def test_what_runs_in_init_and_forward() -> None:
    net = only(
        """
        class Net(nn.Module):
            def __init__(self):
                self.setup()
            def setup(self):
                self.deeper()
            def deeper(self):
                self.setup()
            def forward(self, x):
                return self.encode(x)
            def encode(self, x): ...
            def unused(self): ...
        """
    )
    assert [method.name for method in net.initializing] == ["__init__", "setup", "deeper"]
    assert [method.name for method in net.computing] == ["forward", "encode"]


def test_kinds_of_methods() -> None:
    methods = only(
        """
        from abc import abstractmethod
        from functools import cached_property
        from typing import overload
        class Net(nn.Module):
            @staticmethod
            def static(x): ...
            @classmethod
            def build(cls): return 1
            @property
            def size(self): return 1
            @size.setter
            def size(self, value): self._size = value
            @cached_property
            def cached(self): return 1
            @abstractmethod
            def abstract(self): return 1
            def stub(self): raise NotImplementedError
            def always(self, x):
                if x: raise ValueError
                else: raise TypeError
            @overload
            def over(self): ...
            def generate(self): yield 1
            def plain(self, x, *rest, y=1, **more): return x
        """
    ).methods
    assert methods["static"].is_static and methods["static"].self_name is None
    assert methods["build"].is_classmethod and methods["build"].self_name is None
    assert methods["size"].is_property and methods["cached"].is_property
    assert methods["abstract"].is_abstract and methods["stub"].is_abstract
    assert methods["always"].always_raises and not methods["always"].is_abstract
    assert methods["over"].is_overload and not methods["plain"].is_overload
    assert methods["generate"].is_generator
    assert methods["plain"].parameters == ("self", "x", "rest", "y", "more")
    assert methods["plain"].owner is not None and methods["plain"].self_name == "self"
    assert methods["plain"].qualified_name == "Net.plain"


@pytest.mark.parametrize(
    ("body", "falls"),
    [
        ("return x", False),
        ("y = x", True),
        ("raise ValueError", False),
        ("if x: return 1", True),
        ("if x: return 1\nelse: return 2", False),
        ("if x: return 1\nelif y: return 2\nelse: raise E", False),
        ("for a in x: return a", True),
        ("for a in x:\n    pass\nelse:\n    return 1", False),
        ("for a in x:\n    break\nelse:\n    return 1", True),
        ("while True:\n    if x: return 1", False),
        ("while True:\n    if x: break", True),
        ("while True:\n    for a in x: break", False),
        ("while x: return 1", True),
        ("with x: return 1", False),
        ("with suppress(E): raise E", True),
        ("try:\n    return 1\nexcept E:\n    raise", False),
        ("try:\n    return 1\nexcept E:\n    pass", True),
        ("try:\n    x()\nfinally:\n    return 1", False),
        ("try:\n    x()\nexcept E:\n    return 1\nelse:\n    return 2", False),
        ("match x:\n    case 1: return 1", True),
        ("match x:\n    case 1: return 1\n    case _: return 2", False),
        ("assert False", False),
        ("import sys\nsys.exit(1)", False),
        ("return 1\ny = 2", False),
        ("if True: return 1", False),
    ],
)
def test_can_fall_off_end(body: str, falls: bool) -> None:
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    (function,) = source(f"def f(x):\n{lines}\n").functions
    assert function.can_fall_off_end is falls


# Constructors ------------------------------------------------------------------------------


def fits(text: str) -> list[tuple[object, ...]]:
    file = source(text)
    found = []
    for call in file.calls_named("Net"):
        constructor = call.module_class.constructor if call.module_class else None
        if constructor is None:
            found.append((None,))
            continue
        bound = constructor.bind(call.node)
        found.append(
            (
                bound.missing,
                tuple(file.text(node) for node in bound.extra),
                tuple(keyword.arg for keyword in bound.unknown),
                bound.repeated,
            )
        )
    return found


NOTHING = ((), (), (), ())


def test_calls_are_held_against_the_constructor() -> None:
    assert fits(
        """
        class Net(nn.Module):
            def __init__(self, width, depth=2, *, bias): ...
        Net(1, bias=True)
        Net(1)
        Net(1, 2, 3, bias=True)
        Net(1, bais=True, bias=True)
        Net(1, width=2, bias=True)
        Net(*given)
        Net(1, **given)
        """
    ) == [
        NOTHING,
        (("bias",), (), (), ()),
        ((), ("3",), (), ()),
        ((), (), ("bais",), ()),
        ((), (), (), ("width",)),
        NOTHING,
        NOTHING,
    ]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("class Net(nn.Module): ...\nNet(1)", ((), ("1",), (), ())),
        ("class Net(nn.Linear): ...\nNet(1)", (("out_features",), (), (), ())),
        ("class Base(nn.Module):\n    def __init__(self, a): ...\nclass Net(Base): ...\nNet()",
         (("a",), (), (), ())),
        ("class Net(nn.Module):\n    def __init__(self, *a, **b): ...\nNet(1, c=2)", NOTHING),
        ("from dataclasses import dataclass\n@dataclass\nclass Net(nn.Module):\n    a: int\n"
         "    b: int = 2\nNet()", (("a",), (), (), ())),
        # Nobody can tell what these take.
        ("from x import Base\nclass Net(Base, nn.Module): ...\nNet(1)", (None,)),
        ("class Net(nn.Module):\n    @wrap\n    def __init__(self): ...\nNet(1)", (None,)),
        ("class Net(nn.Module):\n    if a:\n        def __init__(self): ...\n    else:\n"
         "        def __init__(self, b): ...\nNet(1)", (None,)),
        ("class Net(nn.Module):\n    def __new__(cls, *a): ...\nNet(1)", (None,)),
        ("@wrap\nclass Net(nn.Module): ...\nNet(1)", (None,)),
        ("class Net(nn.Module, metaclass=M): ...\nNet(1)", (None,)),
    ],
)  # fmt: skip
def test_constructors(definition: str, expected: tuple[object, ...]) -> None:
    assert fits(definition) == [expected]


def test_fragments_of_a_document() -> None:
    text = (
        "# Title\n\n```python\nimport torch\nfrom torch import nn\n```\n\n```python\n"
        "self.one = nn.ReLU()\nself.one = nn.Linear(1, 2)\n```\n\n"
        "```python\nself.two = nn.ReLU()\n```\n"
    )
    file = source(text, head="", name="notes.md")
    assert file.modules == ()
    assert [[s.attribute for s in found.submodules] for found in file.fragments] == [
        ["one", "one"],
        ["two"],
    ]
    assert file.fragments[0].submodules[1].layer.argument("out_features") == 2
    assert file.fragments[0].submodules[0].write.location.line == 9
