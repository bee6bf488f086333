"""What names mean: imports, aliases, shadowing, and files of a project."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from source_files import project_of, source

import archcheck
from archcheck.python import UNKNOWN, ClassDefinition, Function, SourceFile, differ, known


def dotted_calls(file: SourceFile) -> list[str | None]:
    return [call.dotted for call in file.calls]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch\ntorch.nn.Linear(1, 2)", "torch.nn.Linear"),
        ("import torch.nn as tnn\ntnn.Linear(1, 2)", "torch.nn.Linear"),
        ("import torch.nn\ntorch.nn.Linear(1, 2)", "torch.nn.Linear"),
        ("from torch import nn\nnn.Linear(1, 2)", "torch.nn.Linear"),
        ("from torch import nn as layers\nlayers.Linear(1, 2)", "torch.nn.Linear"),
        ("from torch.nn import Linear as L\nL(1, 2)", "torch.nn.Linear"),
        ("from torch.nn import *\nLinear(1, 2)", "torch.nn.Linear"),
        ("from torch.nn.modules.linear import Linear\nLinear(1, 2)", "torch.nn.Linear"),
        ("import torch\nL = torch.nn.Linear\nL(1, 2)", "torch.nn.Linear"),
        ("import torch\nnn = torch.nn\nnn.Linear(1, 2)", "torch.nn.Linear"),
        ("from torch.optim.adam import Adam\nAdam([])", "torch.optim.Adam"),
        ("from torch.utils.data.dataloader import DataLoader\nDataLoader(1)",
         "torch.utils.data.DataLoader"),
        ("from lightning.pytorch import LightningModule\nLightningModule() # torch",
         "lightning.LightningModule"),
        ("import pytorch_lightning as pl\npl.LightningModule()", "lightning.LightningModule"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\ntorch.zeros(1)",
         "torch.zeros"),
        ("if True:\n    import torch\ntorch.zeros(1)", "torch.zeros"),
        ("import torch\nlen('torch')", "len"),
    ],
)  # fmt: skip
def test_a_name_means_what_its_import_says(text: str, expected: str) -> None:
    assert dotted_calls(source(text, head=""))[-1] == expected


@pytest.mark.parametrize(
    "text",
    [
        # Two imports that disagree.
        "try:\n    from apex import Linear\nexcept ImportError:\n    from torch.nn import Linear\n"
        "Linear(1, 2)",
        # Rebound by a call, a loop, a parameter.
        "from torch import nn\nnn = wrap(nn)\nnn.Linear(1, 2)",
        "import torch\nfor torch in range(3):\n    torch.zeros(1)",
        "import torch\ndef build(torch):\n    return torch.zeros(1)",
        # A star import that may bring anything.
        "import torch\nfrom somewhere import *\nLinear(1, 2)",
        "import torch\nundefined(1, 2)",
    ],
)
def test_what_is_ambiguous_is_unknown(text: str) -> None:
    assert dotted_calls(source(text, head=""))[-1] is None


def test_a_name_means_the_definition_above_it() -> None:
    file = source(
        """
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()

        first = Block(1)

        class Block(nn.Module):
            def __init__(self):
                super().__init__()

        second = Block()
        """
    )
    first, second = (module.definition for module in file.modules)
    assert [call.target for call in file.calls_named("Block")] == [first, second]
    assert [module.name for module in file.modules] == ["Block", "Block"]


def test_a_method_sees_the_class_above_it_not_the_one_below() -> None:
    file = source(
        """
        class Block(nn.Module):
            pass

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.block = Block()

        class Block(nn.Linear):
            pass
        """
    )
    assert file.modules[1].submodules[0].layer.module_class is file.modules[0]


def test_class_scope_is_not_seen_from_methods() -> None:
    file = source(
        """
        class Net(nn.Module):
            Linear = nn.Conv2d
            width = 4
            layer = Linear(1, 2, 3)
            def build(self):
                return Linear(1, 2)
        """
    )
    inside, method = file.calls_named("Linear")
    assert inside.dotted == "torch.nn.Conv2d"
    assert method.dotted is None


def test_calls_to_finds_every_spelling() -> None:
    file = source(
        """
        from torch.nn.functional import softmax as sm
        soft = F.softmax
        def run(x):
            a = F.softmax(x)
            b = sm(x, dim=1)
            c = soft(x)
            d = torch.nn.functional.softmax(x)
            e = x.softmax(1)
            f = torch.softmax(x, 1)
        """
    )
    found = file.calls_to("torch.nn.functional.softmax")
    assert [file.text(call.node) for call in found] == [
        "F.softmax(x)",
        "sm(x, dim=1)",
        "soft(x)",
        "torch.nn.functional.softmax(x)",
    ]
    assert len(file.calls_to("torch.nn.functional.softmax", "torch.softmax")) == 5
    assert [call.parts for call in file.calls_named("softmax")][-2:] == [
        ("x", "softmax"),
        ("torch", "softmax"),
    ]


def test_arguments_of_a_call() -> None:
    file = source("torch.cat((1, 2), dim=3)\ntorch.cat(*given, 4)\ntorch.cat(**given)")
    plain, star, stars = file.calls
    assert isinstance(plain.argument("tensors", 0), ast.Tuple)
    assert file.value(plain.argument("dim", 1)) == 3  # type: ignore[arg-type]
    assert plain.argument("out", 2) is None
    assert star.argument("dim", 1) is None
    assert (plain.has_star, star.has_star, stars.has_star) == (False, True, True)


def test_names_resolve_through_files_of_a_package(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "pack/__init__.py": "from .blocks import *\nfrom .head import Head as TheHead\n",
            "pack/blocks.py": """
                import torch.nn as nn
                from .common import Base
                class Block(Base):
                    def __init__(self, width, depth=2):
                        super().__init__()
                """,
            "pack/common.py": """
                from torch import nn
                from torch.nn import functional as F
                class Base(nn.Module):
                    def extra(self): ...
                """,
            "pack/head.py": "import torch\nclass Head(torch.nn.Module): ...\n",
            "pack/deep/__init__.py": "",
            "pack/deep/net.py": """
                from pack import Block
                from .. import TheHead
                from ..common import nn, F
                import pack.blocks
                import pack.head as heads
                class Net(Block):
                    def __init__(self):
                        super().__init__(1)
                        self.block = Block(3)
                        self.head = TheHead()
                        self.other = pack.blocks.Block(4)
                        self.third = heads.Head()
                        self.linear = nn.Linear(1, 2)
                        F.relu(1)
                """,
        },
    )
    file = project.file(tmp_path / "pack/deep/net.py")
    (net,) = file.modules
    block = project.file(tmp_path / "pack/blocks.py").modules[0]
    head = project.file(tmp_path / "pack/head.py").modules[0]
    assert [definition.name for definition in net.lineage] == ["Net", "Block", "Base"]
    assert net.is_certain
    assert net.find_method("extra") is not None
    assert [s.layer.type for s in net.submodules] == [
        block, head, block, head, "torch.nn.Linear",
    ]  # fmt: skip
    assert file.calls_to("torch.nn.functional.relu")
    assert [module.name for module in block.subclasses] == ["Net"]


def test_names_resolve_from_source_roots_src_and_beside(tmp_path: Path) -> None:
    model = "import torch.nn as nn\nclass {}(nn.Module): ...\n"
    project = project_of(
        tmp_path,
        {
            "src/lib/one.py": model.format("One"),
            "other/two.py": model.format("Two"),
            "scripts/three.py": model.format("Three"),
            "scripts/train.py": """
                from lib.one import One
                from two import Two
                from three import Three
                One(), Two(), Three()
                """,
        },
    )
    project = type(project)(tmp_path, source_roots=["other"])
    file = project.file(tmp_path / "scripts/train.py")
    # The text never says torch; what it imports does.
    assert "torch" not in file.code
    assert file.is_relevant
    assert [call.module_class and call.module_class.name for call in file.calls] == [
        "One",
        "Two",
        "Three",
    ]


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "p/__init__.py": "from .a import *\n",
            "p/a.py": "import torch\nfrom .b import *\nfrom .b import B\nfrom p import C\n"
            "B(), C()\n",
            "p/b.py": "from .a import *\nfrom .a import A as B\n",
        },
    )
    assert dotted_calls(project.file(tmp_path / "p/a.py")) == [None, None]


def test_a_file_without_models_is_not_looked_at_further(tmp_path: Path) -> None:
    project = project_of(tmp_path, {"a.py": "import os\nclass A(B): ...\nos.getcwd()\n"})
    file = project.file(tmp_path / "a.py")
    assert not file.is_relevant
    assert (file.modules, file.calls, file.chains, file.losses) == ((), (), (), ())


def test_a_released_file_is_read_again(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "a.py": "import torch\nclass A(torch.nn.Module): ...\n",
            "b.py": "import torch\nfrom a import A\nclass B(A): ...\n",
        },
    )
    b = project.file(tmp_path / "b.py")
    assert [module.name for module in b.modules] == ["B"]
    project.release(b, kept=0)
    assert project.file(tmp_path / "b.py") is not b
    # B's base is in it.
    a = project.file(tmp_path / "a.py")
    project.release(a, kept=0)
    assert project.file(tmp_path / "a.py") is a


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("28 * 28", 784), ("-3", -3), ("2 ** 10", 1024), ("7 // 2", 3), ("7 % 4", 3),
        ("(3, 4)", (3, 4)), ("[1, 2]", (1, 2)), ("(1,) * 3", (1, 1, 1)), ("1 / 4", 0.25),
        ("int(2.5 * 2)", 5), ("len((1, 2))", 2), ("max(3, 4)", 4), ("None", None),
        ("'same'", "same"), ("1 if 2 > 1 else 3", 1), ("(5, 6)[1]", 6), ("{'a': 7}['a']", 7),
        ("width", 784), ("hidden", 3090), ("sizes[0]", 64), ("changed", UNKNOWN),
        ("listed[0]", UNKNOWN), ("either", UNKNOWN), ("both", 5), ("counted", UNKNOWN),
        ("unknown", UNKNOWN), ("2 ** 9999", UNKNOWN), ("'a' * 99", UNKNOWN), ("1 // 0", UNKNOWN),
        ("(1, 2)[5]", UNKNOWN), ("print(1)", UNKNOWN), ("shared", UNKNOWN),
    ],
)  # fmt: skip
def test_constants_are_folded(expression: str, expected: object) -> None:
    file = source(
        f"""
        width, hidden = 28 * 28, 3090
        sizes = [64, 128]
        listed = [1]
        listed.append(2)
        changed = 1
        changed += 1
        shared = 3
        if torch.cuda.is_available():
            either, both = 1, 5
        else:
            either, both = 2, 5
        for counted in range(3):
            pass
        def setter():
            global shared
            shared = 4
        answer = {expression}
        """
    )
    binding = file.scope.bindings["answer"][0]
    assert binding.value is not None
    value = file.value(binding.value, binding.statement)
    assert value is expected or value == expected


def test_a_default_is_no_certainty() -> None:
    file = source(
        """
        class Net(nn.Module):
            depth = 3
            def __init__(self, width=64):
                super().__init__()
                self.width = width
                self.size = 5
                self.layer = nn.Linear(width, self.size)
                self.other = nn.Linear(self.width, self.depth)
        """
    )
    layer, other = (submodule.layer for submodule in file.modules[0].submodules)
    assert layer.argument("in_features") is UNKNOWN
    assert layer.argument("in_features", defaults=True) == 64
    assert layer.argument("out_features") == 5
    assert other.argument("in_features") is UNKNOWN
    assert other.argument("in_features", defaults=True) == 64
    assert other.argument("out_features") == 3


def test_unknown_is_silent() -> None:
    assert not UNKNOWN
    assert not differ(UNKNOWN, 3)
    assert not differ(3, 3)
    assert differ(3, 4)
    assert known(1, None) and not known(1, UNKNOWN)


def test_locations_count_characters() -> None:
    file = source('名前 = "é"; torch.zeros(1)\n', head="import torch\n")
    at = file.location(file.calls[0].node)
    assert (at.line, at.column, at.end_column) == (2, 11, 25)
    assert file.text(file.calls[0].node) == "torch.zeros(1)"
    assert file.path == at.path == "model.py"


def test_statement_at_finds_the_scope() -> None:
    file = source(
        """
        class Net(nn.Module):
            @torch.no_grad()
            def forward(self, x):
                def inner(y):
                    return torch.abs(y)
                return inner(x)
        """
    )
    scopes = {call.parts: file.statement_at(call.node).scope.qualified_name for call in file.calls}
    assert scopes == {
        ("torch", "no_grad"): "Net",
        ("inner",): "Net.forward",
        ("torch", "abs"): "Net.forward.inner",
    }


def test_definitions_are_targets() -> None:
    file = source("def f(): ...\nclass C: ...\nf()\nC()\n")
    function, class_ = (call.target for call in file.calls)
    assert isinstance(function, Function) and isinstance(class_, ClassDefinition)
    assert file.calls_of(function) == (file.calls[0],)


def test_of_two_star_imports_the_later_wins(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "sound/__init__.py": "from .first import *\nfrom .second import *\n",
            "sound/first.py": "import torch\nclass Extractor: ...\nclass Only: ...\n",
            "sound/second.py": "import torch\nclass Extractor: ...\n",
            "model.py": "import torch\nfrom sound import Extractor, Only\nExtractor()\nOnly()\n",
        },
    )
    targets = [call.target for call in project.file(tmp_path / "model.py").calls]
    assert [target.file.place.name for target in targets] == ["second.py", "first.py"]


def test_imports_start_from_the_folders_between_a_root_and_the_file(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "one/models/base.py": "import torch\nclass Base: ...\n",
            "one/models/gru.py": "import torch\nfrom models.base import Base\nBase()\n",
            "two/models/base.py": "import torch\nclass Base: ...\n",
            "two/models/deep/gru.py": "import torch\nfrom models.base import Base\nBase()\n",
        },
    )
    for user, base in (("one/models/gru.py", "one"), ("two/models/deep/gru.py", "two")):
        (call,) = project.file(tmp_path / user).calls
        assert call.target.file.place == tmp_path / base / "models/base.py"


def test_imports_start_from_a_folder_that_is_named(tmp_path: Path, monkeypatch) -> None:
    project_of(
        tmp_path,
        {
            "elsewhere/here.py": "",
            "code/models/base.py": """\
                from torch import nn
                class Base(nn.Module):
                    def embed(self, x):
                        return self.forward(x[:, : self.frames])
                """,
            "code/models/gru.py": """\
                from torch import nn
                from models.base import Base
                class Encoder(Base):
                    def __init__(self):
                        super().__init__()
                        self.frames = 3
                    def forward(self, x):
                        return x
                """,
        },
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert archcheck.lint(str(tmp_path / "code")).findings == ()


def test_unknown_is_equal_to_nothing_itself_included() -> None:
    assert UNKNOWN is UNKNOWN and not UNKNOWN
    assert UNKNOWN != UNKNOWN and UNKNOWN != 3
    assert not differ(UNKNOWN, 3) and differ(2, 3) and known(2, "a") and not known(2, UNKNOWN)
