"""What the rules of definitions say, what their fixes make, and what they leave alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_files import HEAD, project_of, source

from archcheck.core.finding import Edit, Finding
from archcheck.core.rule import Rule, load_rules
from archcheck.python import SourceFile

ROOT = Path(__file__).parents[2]
RULES = {rule.code: rule for rule in load_rules() if rule.code.startswith(("AC1", "AC5"))}
FIXABLE = [rule for rule in RULES.values() if rule.fix is not None]


def found(file: SourceFile, *rules: Rule) -> list[tuple[Rule, Finding]]:
    return [
        (rule, finding)
        for rule in rules or RULES.values()
        for reader in rule.source_readers
        for finding in reader(file)
    ]


def codes(text: str, *wanted: str) -> list[str]:
    """The codes that a file below the usual imports gives, of these rules if any are named."""
    rules = [RULES[code] for code in wanted] or [
        rule for rule in RULES.values() if rule.runs_by_default
    ]
    return sorted(rule.code for rule, _ in found(source(text), *rules))


def applied(text: str, edits: tuple[Edit, ...]) -> str:
    """A text with edits made, the last one first."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for edit in sorted(edits, key=lambda edit: edit.location, reverse=True):
        at = edit.location
        start = starts[at.line - 1] + at.column - 1
        end = starts[at.end_line - 1] + at.end_column - 1
        text = text[:start] + edit.new + text[end:]
    return text


def bad_files() -> Iterator[tuple[Rule, Path]]:
    for rule in FIXABLE:
        folder = ROOT / "fixtures" / rule.name.replace("-", "_")
        for path in sorted(folder.glob("bad*.py")):
            if "# trace:" not in path.read_text(encoding="utf-8"):
                yield rule, path


@pytest.mark.parametrize(
    ("rule", "path"), list(bad_files()), ids=lambda value: getattr(value, "code", value.name)
)
def test_a_fix_mends_what_it_is_for_and_nothing_else(rule: Rule, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    before = found(source(text, head=""))
    for one, finding in before:
        if one is not rule or finding.fix is None:
            continue
        assert finding.fix.safety == rule.fix
        new = applied(text, finding.fix.edits)
        ast.parse(new)
        after = found(source(new, head=""))
        mended = [f.message for r, f in before if r is rule]
        left = [f.message for r, f in after if r is rule]
        # One fix may mend several findings (a constructor call that moves up), never make one.
        assert len(left) < len(mended), new
        others = sorted(r.code for r, _ in before if r is not rule)
        assert sorted(r.code for r, _ in after if r is not rule) == others, new


FIXED = [
    (
        "AC101",
        "class Net(nn.Module):\n    def __init__(self):\n        '''Made of one layer.'''\n"
        "        self.fc = nn.Linear(8, 2)\n",
        "class Net(nn.Module):\n    def __init__(self):\n        '''Made of one layer.'''\n"
        "        super().__init__()\n        self.fc = nn.Linear(8, 2)\n",
    ),
    (
        "AC101",
        "class Net(nn.Module):\n\tdef __init__(self):\n\t\tpass\n",
        "class Net(nn.Module):\n\tdef __init__(self):\n\t\tsuper().__init__()\n",
    ),
    (
        "AC101",
        "class Net(nn.Module):\n    def __init__(self): self.width = 8\n",
        "class Net(nn.Module):\n    def __init__(self): super().__init__(); self.width = 8\n",
    ),
    (
        "AC102",
        "class Net(nn.Module):\n    def __init__(self, width):\n"
        "        self.fc = nn.Linear(width, 2)\n        super().__init__()\n",
        "class Net(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
        "        self.fc = nn.Linear(width, 2)\n",
    ),
    (
        "AC103",
        "class Net(nn.Module):\n    def forward(x, y):\n        return x + y\n",
        "class Net(nn.Module):\n    def forward(self, x, y):\n        return x + y\n",
    ),
    (
        "AC103",
        "class Net(nn.Module):\n    def forward():\n        return torch.zeros(1)\n",
        "class Net(nn.Module):\n    def forward(self):\n        return torch.zeros(1)\n",
    ),
    (
        "AC107",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = [nn.Linear(8, 8), nn.Linear(8, 8)]\n"
        "    def forward(self, x):\n        return self.layers[1](self.layers[0](x))\n",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])\n"
        "    def forward(self, x):\n        return self.layers[1](self.layers[0](x))\n",
    ),
    (
        "AC110",
        "class Net(nn.Module):\n    def __init__(self):\n        super(Net, self).__init__\n",
        "class Net(nn.Module):\n    def __init__(self):\n        super(Net, self).__init__()\n",
    ),
    (
        "AC110",
        "class Old(nn.Module):\n    pass\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super(Old, self).__init__()\n",
        "class Old(nn.Module):\n    pass\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n",
    ),
    (
        "AC115",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(8, 2)\n    def forward(self, x):\n"
        "        return self.fc.forward(x)\n",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(8, 2)\n    def forward(self, x):\n        return self.fc(x)\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("code", "before", "after"), FIXED)
def test_the_text_that_a_fix_makes(code: str, before: str, after: str) -> None:
    (finding,) = [finding for _, finding in found(source(before), RULES[code])]
    assert finding.fix is not None
    assert applied(HEAD + before, finding.fix.edits) == HEAD + after


@pytest.mark.parametrize(
    ("takes", "given", "call"),
    [
        ("width", "width", "super().__init__(width)"),
        ("depth, *, width=1", "width, depth", "super().__init__(depth)"),
        ("*, width", "width", "super().__init__(width=width)"),
        ("width", "size", None),
        ("width", "*width", None),
    ],
)
def test_a_base_gets_what_it_needs_under_its_own_name(
    takes: str, given: str, call: str | None
) -> None:
    text = f"""
        class Base(nn.Module):
            def __init__(self, {takes}):
                super().__init__()
                self.fc = nn.Linear(2, 2)

        class Net(Base):
            def __init__(self, {given}):
                self.head = nn.Linear(2, 2)
    """
    (finding,) = [finding for _, finding in found(source(text), RULES["AC101"])]
    assert (finding.fix and finding.fix.edits[0].new.strip()) == call


# Rule, text, and the parts of what is said: message, label, help, what is underlined.
SAID = [
    (
        "AC101",
        "class Net(nn.Module):\n    def __init__(self):\n        self.fc = nn.Linear(8, 2)\n",
        "`Net.__init__` never calls `super().__init__()`: assigning `self.fc` raises an "
        "AttributeError",
        "does not initialise nn.Module", "super().__init__()", "__init__",
    ),
    (
        "AC103",
        "class Net(nn.Module):\n    def forward(x):\n        return x.relu()\n",
        "`Net.forward` has no `self`: the instance lands in `x`",
        "receives the instance", "first parameter", "x",
    ),
    (
        "AC104",
        "class Net(nn.Module):\n    def forwad(self, x):\n        return x\n",
        "`Net` has no `forward`: its `forwad` is misspelled",
        "misspelled forward", "rename it to forward", "forwad",
    ),
    (
        "AC106",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(8, 2)\n        self.fc = nn.Linear(8, 4)\n",
        "`self.fc` is assigned twice", "assigned again", "another name", "self.fc",
    ),
    (
        "AC109",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv1 = nn.Conv2d(3, 8, 3)\n    def forward(self, x):\n"
        "        return self.conv_1(x)\n",
        "`Net` has no attribute `conv_1`", "never set", "self.conv1", "self.conv_1",
    ),
    (
        "AC111",
        "fc = nn.Linear(8)\n",
        "`nn.Linear` is built without `out_features`", "no out_features", "`out_features`",
        "nn.Linear(8)",
    ),
    (
        "AC111",
        "conv = nn.Conv2d(3, 8)\nnorm = nn.BatchNorm2d()\n",
        "`nn.Conv2d` is built without `kernel_size`", "no kernel_size", "`kernel_size`",
        "nn.Conv2d(3, 8)",
    ),
    (
        "AC111",
        "drop = nn.Dropout(0.5, rate=0.1)\n",
        "`nn.Dropout` takes no argument named `rate`", "unknown", "leave it out", "rate=0.1",
    ),
    (
        "AC113",
        "class Net(nn.Module):\n    def forward(self, x):\n        return nn.Linear(8, 2)(x)\n",
        "`nn.Linear` is built anew in every forward pass of `Net`", "new weights at every call",
        "__init__", "nn.Linear(8, 2)",
    ),
    (
        "AC114",
        "layers = nn.ModuleList([nn.Linear(8, 8)] * 3)\n",
        "one `nn.Linear` instance stands in several places", "the same instance again",
        "for each place", "[nn.Linear(8, 8)] * 3",
    ),
    (
        "AC117",
        "class Net(nn.Module):\n    def train(self, x, y):\n        return x + y\n",
        "`Net.train` hides `nn.Module.train`: it needs x, y, and PyTorch calls it without",
        "hides nn.Module.train", "another name", "train",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "message", "label", "help", "underlined"), SAID, ids=lambda v: str(v)[:12]
)
def test_every_part_of_a_message(
    code: str, text: str, message: str, label: str, help: str, underlined: str
) -> None:
    file = source(text)
    finding = found(file, RULES[code])[0][1]
    assert finding.message.startswith(message)
    assert finding.label == label
    assert finding.help is not None and help in finding.help
    at = finding.location
    assert file.lines[at.line - 1][at.column - 1 : at.end_column - 1] == underlined


def test_a_module_that_is_only_a_namespace_is_a_warning() -> None:
    text = """
        class Sampler(nn.Module):
            def __init__(self, mode):
                self.mode = mode

            def sample(self, x):
                return x
    """
    (finding,) = [finding for _, finding in found(source(text), RULES["AC101"])]
    assert finding.severity == "warning"
    assert finding.message.endswith("parameters(), to() and state_dict() raise an AttributeError")


def test_what_explains_a_failure_covers_it() -> None:
    file = source("""
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 2)

            def forward(self, x):
                return self.fc(x)
    """)
    (finding,) = [finding for _, finding in found(file, RULES["AC101"])]
    (module,) = file.modules
    assignment = module.submodules[0].write.location
    assert finding.explains is not None and finding.explains.covers(assignment)
    assert [place.location for place in finding.related] == [assignment]


# Code that looks wrong and is right, each with the rule that must say nothing about it.
RIGHT = {
    "AC101 a metaclass calls it": """
        class Meta(type):
            def __call__(cls, *args):
                made = cls.__new__(cls)
                nn.Module.__init__(made)
                made.__init__(*args)
                return made

        class Net(nn.Module, metaclass=Meta):
            def __init__(self, width):
                self.fc = nn.Linear(width, width)
    """,
    "AC101 the tables are copied": """
        class View(nn.Module):
            def __init__(self, other):
                self.__dict__ = other.__dict__
    """,
    "AC101 called with other arguments than the base's": """
        class Net(nn.Module):
            def __init__(self, width):
                super(nn.Module, self).__init__()
                nn.Module.__init__(self)
                self.fc = nn.Linear(width, width)
    """,
    "AC101 __call__ of its own needs no tables": """
        class Loss(nn.Module):
            def __init__(self, weight):
                self.weight = weight

            def __call__(self, x, y):
                return self.weight * (x - y)
    """,
    "AC102 a list of layers is a plain value": """
        class Net(nn.Module):
            def __init__(self, width):
                self.parts = [nn.Linear(width, width)]
                super().__init__()
                self.body = nn.Sequential(*self.parts)
    """,
    "AC102 which of two calls comes first is not certain": """
        class Net(nn.Module):
            def __init__(self, width, quick):
                if quick:
                    super().__init__()
                self.fc = nn.Linear(width, width)
                if not quick:
                    super().__init__()
    """,
    "AC103 the instance under the name that __init__ gives it": """
        class Net(nn.Module):
            def __init__(net, width):
                super().__init__()
                net.fc = nn.Linear(width, width)

            def forward(net, x):
                return run(net, net.fc(x))
    """,
    "AC103 a decorator that may hand over something else": """
        class Net(nn.Module):
            @functional_forward
            def forward(x):
                return x.relu()
    """,
    "AC104 a lone method that callers name": """
        class Encoder(nn.Module):
            def encode(self, x):
                return x

            def _forward(self, x):
                return x
    """,
    "AC104 an unknown base may have one": """
        from elsewhere import Model

        class Net(Model, nn.Module):
            def forwad(self, x):
                return x
    """,
    "AC105 a loop that is left only by return": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)

            def forward(self, x):
                for _ in range(10):
                    y = self.fc(x)
                    if y.norm() < 1:
                        return y
                raise RuntimeError("does not settle")
    """,
    "AC105 an exception is turned into None": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)

            def forward(self, x):
                try:
                    return self.fc(x)
                except RuntimeError:
                    print("too large")
    """,
    "AC105 what is computed last goes through a closure": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)

            def forward(self, x, hook):
                def report():
                    hook(y)

                register(report)
                y = self.fc(x)
    """,
    "AC106 a parametrisation reads the module in between": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)
                prepare(self)
                self.fc = nn.Linear(8, 4)
    """,
    "AC106 one is only the default": """
        class Net(nn.Module):
            def __init__(self, head=None):
                super().__init__()
                self.head = nn.Identity()
                self.head = nn.Linear(8, 4)
                try:
                    self.norm = FusedNorm(8)
                except ImportError:
                    self.norm = nn.LayerNorm(8)
    """,
    "AC107 handed to the optimizer by the trainer below": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = [nn.Linear(8, 8), nn.Linear(8, 8)]

            def forward(self, x):
                return self.parts[1](self.parts[0](x))

        net = Net()
        weights = [p for part in net.parts for p in part.parameters()]
    """,
    "AC107 read back from a checkpoint function that registers": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = [nn.Linear(8, 8), nn.Linear(8, 8)]
                register_all(self, self.parts)

            def forward(self, x):
                return self.parts[1](self.parts[0](x))
    """,
    "AC108 a forward hook of another class reads it": """
        class Part(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)
                self.probe = nn.Linear(8, 8)

            def forward(self, x):
                return self.fc(x)

        def attach(part):
            part.register_forward_hook(lambda module, i, o: module.probe(o))
    """,
    "AC108 the author says that it is not used": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)
                self.old = nn.Linear(8, 8)  # unused, but old checkpoints have it

            def forward(self, x):
                return self.fc(x)
    """,
    "AC108 a container that registers what is used elsewhere": """
        class Net(nn.Module):
            def __init__(self, parts):
                super().__init__()
                self.parts = parts
                self.registered = nn.ModuleList(parts)

            def forward(self, x):
                return self.parts[0](x)
    """,
    "AC108 modules() of the instance goes over all": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)

            def forward(self, x):
                for module in self.modules():
                    if isinstance(module, nn.Linear):
                        x = module(x)
                return x
    """,
    "AC109 a subclass sets what its base reads": """
        class Base(nn.Module):
            def forward(self, x):
                return self.body(x) * self.gain

        class Net(Base):
            gain = 2.0

            def __init__(self):
                super().__init__()
                self.body = nn.Linear(8, 8)
    """,
    "AC109 set on the instance by its maker": """
        class Net(nn.Module):
            def forward(self, x):
                return x / self.temperature

        def make():
            net = Net()
            setattr(net, "temperature", 2.0)
            return net
    """,
    "AC109 a property and a nested class": """
        class Net(nn.Module):
            class Config:
                width = 8

            @property
            def width(self):
                return self.Config.width

            def forward(self, x):
                return x[:, : self.width]
    """,
    "AC110 the class under another name": """
        class Base(nn.Module):
            def __init__(self):
                super().__init__()

        Alias = Base

        class Net(Alias):
            def __init__(self):
                super(Alias, self).__init__()
    """,
    "AC110 defined further down": """
        class Net(nn.Module):
            def __init__(self):
                super(Net, self).__init__()

        def make():
            class Inner(nn.Module):
                def __init__(self):
                    super(Inner, self).__init__()
            return Inner()
    """,
    "AC111 stars may bring what is missing": """
        def make(*sizes, **options):
            return nn.Sequential(nn.Linear(*sizes), nn.Conv2d(3, 8, **options))
    """,
    "AC111 ready for the error": """
        try:
            norm = nn.LayerNorm(8, bias=False, fused=True)
        except TypeError:
            norm = nn.LayerNorm(8)
    """,
    "AC111 another class of that name": """
        from layers import Linear, Conv2d

        fc = Linear(8)
        conv = Conv2d(3, 8)
    """,
    "AC112 the branch raises for an empty chain that is filled later": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential()

            def add(self, layer):
                self.body.append(layer)

            def forward(self, x):
                if not self.body:
                    raise RuntimeError("add layers first")
                return self.body(x)
    """,
    "AC112 always replaced": """
        class Net(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.side = nn.Sequential()
                self.side = nn.Sequential(nn.Linear(width, width))

            def forward(self, x):
                if self.side:
                    x = x + self.side(x)
                return x
    """,
    "AC112 skipping an identity changes nothing": """
        class Block(nn.Module):
            def __init__(self, width, stride):
                super().__init__()
                self.body = nn.Conv2d(width, width, 3, stride=stride, padding=1)
                self.down = nn.Sequential()
                if stride > 1:
                    self.down = nn.Sequential(nn.Conv2d(width, width, 1, stride=stride))

            def forward(self, x):
                identity = x
                if self.down:
                    identity = self.down(x)
                return self.body(x) + identity
    """,
    "AC113 the layer is a template for its numbers": """
        class Net(nn.Module):
            def forward(self, x):
                layer = nn.Linear(8, 8)
                nn.init.eye_(layer.weight)
                return layer(x)
    """,
    "AC113 built under a guard that returns": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = None

            def forward(self, x):
                if self.head is not None:
                    return self.head(x)
                self.head = nn.Linear(8, 2)
                return self.head(x)
    """,
    "AC114 each turn makes its own": """
        def make(depth):
            layers = []
            for _ in range(depth):
                layer = nn.Linear(8, 8)
                layers.append(layer)
            return nn.Sequential(*layers)
    """,
    "AC114 copied from a prototype": """
        import copy

        def make(depth):
            layer = nn.Linear(8, 8)
            return nn.ModuleList([copy.deepcopy(layer) for _ in range(depth)])
    """,
    "AC114 one of one": """
        layers = nn.ModuleList([nn.Linear(8, 8)] * 1)
    """,
    "AC114 tied on purpose": """
        class Tied(nn.Module):
            '''All steps share one cell.'''

            def __init__(self, steps):
                super().__init__()
                cell = nn.Linear(8, 8)
                self.steps = nn.ModuleList([cell for _ in range(steps)])

            def forward(self, x):
                for step in self.steps:
                    x = step(x)
                return x
    """,
    "AC115 the class's own forward, with the instance": """
        class Net(nn.Linear):
            def forward(self, x):
                return nn.Linear.forward(self, x) * 2
    """,
    "AC115 a wrapper of something unknown": """
        class Wrap(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                return self.inner.forward(x)
    """,
    "AC116 integers that only count": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.sizes = torch.tensor([1, 2, 3])

            def forward(self, x):
                return x[: int(self.sizes[0])] * self.sizes.shape[0]
    """,
    "AC116 asked for its device": """
        class Net(nn.Module):
            def __init__(self, device):
                super().__init__()
                self.scale = torch.ones(8, device=device)
                self.shift = torch.zeros(8).to(device)

            def forward(self, x):
                return x * self.scale + self.shift
    """,
    "AC116 a parameter around what is moved": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(8).cuda())
                self.shift = nn.Parameter(torch.zeros(8)).requires_grad_(False)

            def forward(self, x):
                return x * self.scale + self.shift
    """,
    "AC101 an example that leaves lines out": """
        class Net(nn.Module):
            def __init__(self):
                ...
                self.fc = nn.Linear(8, 2)
    """,
    "AC104 added to the class further down": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)

        @add_to_class(Net)
        def forward(self, x):
            return self.fc(x)
    """,
    "AC108 forward is only begun": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)
                self.norm = nn.LayerNorm(8)

            def forward(self, x):
                x = self.fc(x)
                # ... and so on
                return x
    """,
    "AC108 unused by name": """
        class UnusedParameter(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)
                self.extra = nn.Linear(8, 2)

            def forward(self, x):
                return self.fc(x)
    """,
    "AC108 kept for checkpoints": """
        class Net(nn.Module):
            '''The audio branch is only there so that the released checkpoints load.'''

            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)
                self.audio = nn.Linear(8, 2)

            def forward(self, x):
                return self.fc(x)
    """,
    "AC111 the constructor of the second base comes first": """
        class Recurrent(nn.RNNBase):
            def start(self, x):
                return x

        class Lstm(Recurrent, nn.LSTM):
            pass

        lstm = Lstm(input_size=8, hidden_size=8)
    """,
    "AC109 layers as before": """
        class Net(nn.Module):
            # __init__ is the same as above
            def forward(self, x):
                return self.fc(x)
    """,
    "AC117 train with the same meaning under another name": """
        class Net(nn.Module):
            def train(self, is_training: bool = True):
                return super().train(is_training)

            def type(self, dst_type):
                return super().type(dst_type)

            def apply(self, function):
                return super().apply(function)
    """,
    "AC117 a method put in the place of another": """
        from functools import partial

        class Net(nn.Module):
            def __init__(self, fast):
                super().__init__()
                self.eval = partial(self.train, False)
                self.to = self._to
                self.training = bool(fast)

            def _to(self, *args):
                return self
    """,
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_code_is_left_alone(case: str) -> None:
    assert codes(RIGHT[case], case.partition(" ")[0]) == []


# Code that is wrong in a way that the fixtures do not show.
WRONG = {
    "AC101 a dataclass that forgets": """
        from dataclasses import dataclass

        @dataclass(eq=False)
        class Net(nn.Module):
            width: int

            def __post_init__(self):
                self.fc = nn.Linear(self.width, 2)
    """,
    "AC102 add_module": """
        class Net(nn.Module):
            def __init__(self):
                self.add_module("fc", nn.Linear(8, 2))
                super().__init__()
    """,
    "AC104 below the class": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(x)
    """,
    "AC105 both branches of a match": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(8, 8)
                self.b = nn.Linear(8, 8)

            def forward(self, x, which):
                match which:
                    case "a":
                        y = self.a(x)
                    case _:
                        y = self.b(x)
    """,
    "AC107 a dict that is computed": """
        class Net(nn.Module):
            def __init__(self, names):
                super().__init__()
                self.heads = {name: nn.Linear(8, 2) for name in names}

            def forward(self, x, name):
                return self.heads[name](x)
    """,
    "AC110 misspelled": """
        class Net(nn.Module):
            def __init__(self):
                super()._init_()
                self.fc = nn.Linear(8, 2)
    """,
    "AC110 the class super itself": """
        class Net(nn.Module):
            def __init__(self):
                super.__init__()
                self.fc = nn.Linear(8, 2)
    """,
    "AC107 another class has layers of its own": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = [nn.Linear(8, 8), nn.Linear(8, 2)]

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x

        class Other(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 2)])

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
    """,
    "AC113 an embedding": """
        class Net(nn.Module):
            def forward(self, x):
                table = nn.Embedding(10, 8).to(x.device)
                return table(x)
    """,
    "AC114 in an OrderedDict or a list that is named": """
        def make():
            conv = nn.Conv2d(8, 8, 3)
            layers = [conv, nn.ReLU(), conv]
            return nn.Sequential(*layers)
    """,
    "AC115 of an element": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

            def forward(self, x):
                return self.layers[0].forward(x)
    """,
    "AC117 no mode": """
        class Net(nn.Module):
            def train(self):
                super().train()
                self.frozen.eval()
    """,
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_code_is_found(case: str) -> None:
    code = case.partition(" ")[0]
    assert codes(WRONG[case], code) == [code]


def test_a_base_in_another_file(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        {
            "base.py": """
                from torch import nn

                class Base(nn.Module):
                    def __init__(self, width, depth):
                        super().__init__()
                        self.body = nn.Linear(width, width)

                    def forward(self, x):
                        return self.body(x)
            """,
            "net.py": """
                from torch import nn
                from base import Base

                class Net(Base):
                    def __init__(self, width):
                        self.head = nn.Linear(width, 2)

                class Small(Base):
                    def forward(self, x):
                        return self.tail(self.body(x))

                small = Small(8)
            """,
        },
    )
    file = project.file(tmp_path / "net.py")
    lines = [(f.location.line, rule.code) for rule, f in found(file)]
    assert lines == [(6, "AC101"), (6 + 1, "AC108"), (11, "AC109"), (13, "AC111")]


def test_a_template_that_code_is_generated_from_is_left_alone(tmp_path: Path) -> None:
    text = """
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 2)
                super().__init__()

            def forward(**super_kwargs):
                "Only the docstring is new."
    """
    project = project_of(
        tmp_path, {"modular_net.py": text, "modeling_net.py": text, "modular_other.py": text}
    )
    template = project.file(tmp_path / "modular_net.py")
    assert found(template, RULES["AC102"], RULES["AC103"]) == []
    plain = project.file(tmp_path / "modular_other.py")
    assert [r.code for r, _ in found(plain, RULES["AC102"], RULES["AC103"])] == ["AC102", "AC103"]
