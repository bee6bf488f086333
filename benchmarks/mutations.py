"""Inject each defect of AC1 to AC4 into clean models, and count which ones are found.

    python benchmarks/mutations.py [CODE…] [--misses]

Each mutation is one mechanical change of one place in a model of fixtures/clean: a sum is dropped,
a call, a width changed, a norm swapped, a softmax appended. Every mutant is checked as a user would
check it, traced and from source, and is found when a finding of its rule is there that the clean
model does not have. Mutants that change nothing (the trace is the same, and the rule is not about
the text alone) are not counted. `--misses` prints the mutants that were not found.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from archcheck.config import Config, Model
from archcheck.evidence import Trace
from archcheck.pipeline import run

CLEAN = Path(__file__).parents[1] / "fixtures" / "clean"
# One defect is one finding: a softmax without dim that lands on the batch is the latter.
ALSO = {"AC402": "AC403"}
# Rules about the text, whose defects a pass need not show.
OF_THE_TEXT = {"AC106", "AC107", "AC108", "AC115", "AC116", "AC117", "AC213", "AC305", "AC306",
               "AC307", "AC402"}  # fmt: skip
JOINED = ("identity", "shortcut", "residual")


@dataclass(frozen=True, slots=True)
class Clean:
    """A model without defects: its text, and how it is traced (not at all for a script)."""

    name: str
    text: str
    model: Model | None

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def replaced(self, node: ast.AST, new: str) -> str:
        """The text with another one in the place of a node."""
        lines = self.text.splitlines(keepends=True)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        begin = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return self.text[:begin] + new + self.text[end:]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed text, with what it is asked with where that differs from the clean model's."""

    text: str
    what: str
    inputs: tuple[str, ...] | None = None
    options: dict[str, object] = field(default_factory=dict)


Mutation = Callable[[Clean], Iterator[Mutant]]


def mutant(clean: Clean, node: ast.AST, new: str, **options: object) -> Mutant:
    what = f"{clean.source(node)[:40]} -> {new[:40]}, line {getattr(node, 'lineno', 0)}"
    return Mutant(clean.replaced(node, new), what, options=options)


# What there is to change ----------------------------------------------------------------------


def methods(clean: Clean, name: str) -> Iterator[tuple[ast.ClassDef, ast.FunctionDef]]:
    for node in ast.walk(clean.tree):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == name:
                    yield node, item


def calls(clean: Clean, *names: str, within: str | None = None) -> Iterator[ast.Call]:
    """The calls whose callee's last name is one of these."""
    places = [item for _, item in methods(clean, within)] if within else [clean.tree]
    for place in places:
        for node in ast.walk(place):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else ""
                name = called.id if isinstance(called, ast.Name) else name
                if name in names or not names:
                    yield node


def own_calls(clean: Clean) -> Iterator[tuple[ast.Call, str]]:
    """The calls of attributes of self in the forwards, with the attribute."""
    for node in calls(clean, within="forward"):
        match node.func:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield node, name


def built(clean: Clean) -> dict[str, str]:
    """What each attribute is built by, by its name."""
    return {
        node.targets[0].attr: clean.source(node.value)
        for node in ast.walk(clean.tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and isinstance(node.value, ast.Call)
    }


def returns(clean: Clean) -> Iterator[tuple[ast.ClassDef, ast.Return]]:
    for owner, forward in methods(clean, "forward"):
        last = forward.body[-1]
        if isinstance(last, ast.Return) and last.value is not None:
            yield owner, last


def root_return(clean: Clean) -> Iterator[ast.Return]:
    if clean.model is not None:
        name = clean.model.target.rpartition(":")[2]
        yield from (last for owner, last in returns(clean) if owner.name == name)


def assigned(clean: Clean, *types: str) -> Iterator[ast.Assign]:
    """The assignments of layers of these classes to attributes."""
    for node in ast.walk(clean.tree):
        built_here = clean.source(node.value) if isinstance(node, ast.Assign) else ""
        if isinstance(node, ast.Assign) and re.match(rf"nn\.(?:{'|'.join(types)})\b", built_here):
            yield node


def indent(node: ast.stmt) -> str:
    return " " * node.col_offset


# The mutations --------------------------------------------------------------------------------


def without_super_init(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        yield mutant(clean, init.body[0], "pass")


def late_super_init(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        first, second = init.body[0], init.body[1]
        text = clean.replaced(second, f"{clean.source(second)}\n{indent(first)}super().__init__()")
        yield Mutant(replace(clean, text=text).replaced(first, "pass"), f"line {first.lineno}")


def forward_without_self(clean: Clean) -> Iterator[Mutant]:
    for _, forward in methods(clean, "forward"):
        yield Mutant(_signature(clean, forward, "(self, ", "("), f"line {forward.lineno}")


def _signature(clean: Clean, function: ast.FunctionDef, old: str, new: str) -> str:
    lines = clean.text.splitlines(keepends=True)
    lines[function.lineno - 1] = lines[function.lineno - 1].replace(old, new, 1)
    return "".join(lines)


def misspelled_forward(clean: Clean) -> Iterator[Mutant]:
    for _, forward in methods(clean, "forward"):
        yield Mutant(_signature(clean, forward, "forward", "foward"), f"line {forward.lineno}")


def returns_nothing(clean: Clean) -> Iterator[Mutant]:
    for _, last in returns(clean):
        yield mutant(clean, last, clean.source(last.value))  # type: ignore[arg-type]


def overwritten(clean: Clean) -> Iterator[Mutant]:
    for node in assigned(clean, "Linear", "Conv2d"):
        source = clean.source(node)
        yield mutant(clean, node, f"{source}\n{indent(node)}{source}")


def plain_list(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "ModuleList"):
        yield mutant(clean, node, clean.source(node.args[0]))


def skipped_call(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for node, name in own_calls(clean):
        if "Norm" in kinds.get(name, "") and "Norm1" not in kinds.get(name, ""):
            yield mutant(clean, node, clean.source(node.args[0]))


def misspelled_attribute(clean: Clean) -> Iterator[Mutant]:
    for node, name in own_calls(clean):
        yield mutant(clean, node.func, f"self.{name}_")


def broken_super(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "__init__"):
        yield mutant(clean, node, "super().__init__")


def missing_argument(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "Linear", "Conv2d", within="__init__"):
        first = clean.source(node.args[0])
        yield mutant(clean, node, f"{clean.source(node.func)}({first})")


def built_in_forward(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for node, name in own_calls(clean):
        constructor = kinds.get(name, "")
        # Only literals: what a constructor was given means nothing in forward.
        named = re.findall(r"\b[a-z_]+\b(?!=)", constructor.partition("(")[2])
        if re.match(r"nn\.(Linear|Conv2d)\(", constructor) and set(named) <= {"False", "True"}:
            yield mutant(clean, node.func, constructor)


def shared_instance(clean: Clean) -> Iterator[Mutant]:
    for node in ast.walk(clean.tree):
        if isinstance(node, ast.ListComp) and isinstance(node.elt, ast.Call):
            times = node.generators[0].iter
            if isinstance(times, ast.Call) and clean.source(times.func) == "range":
                count = clean.source(times.args[0])
                yield mutant(clean, node, f"[{clean.source(node.elt)}] * {count}")


def direct_call(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for node, name in own_calls(clean):
        if name in kinds:
            yield mutant(clean, node.func, f"self.{name}.forward")


def unregistered(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "Parameter"):
        yield mutant(clean, node, clean.source(node.args[0]))
    for node in calls(clean, "register_buffer"):
        name = ast.literal_eval(node.args[0])
        yield mutant(clean, node, f"self.{name} = {clean.source(node.args[1])}")


def shadowed(clean: Clean) -> Iterator[Mutant]:
    for _, init in methods(clean, "__init__"):
        last = init.body[-1]
        for line in ("self.training = 3", "self.modules = [1, 2]"):
            yield mutant(clean, last, f"{clean.source(last)}\n{indent(last)}{line}")


def _one_more(clean: Clean, *types: str) -> Iterator[Mutant]:
    for node in calls(clean, *types, within="__init__"):
        yield mutant(clean, node.args[0], f"{clean.source(node.args[0])} + 1")


def wrong_in_features(clean: Clean) -> Iterator[Mutant]:
    # What comes into a first layer, only a pass tells.
    yield from _one_more(clean, "Linear") if clean.model is not None else ()


def wrong_in_channels(clean: Clean) -> Iterator[Mutant]:
    yield from _one_more(clean, "Conv2d", "ConvTranspose2d")


def wrong_num_features(clean: Clean) -> Iterator[Mutant]:
    yield from _one_more(clean, "BatchNorm2d", "BatchNorm1d", "LayerNorm")


def wrong_norm(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "BatchNorm2d"):
        yield mutant(clean, node.func, "nn.BatchNorm1d")
    for node in calls(clean, "BatchNorm1d"):
        yield mutant(clean, node.func, "nn.BatchNorm2d")


def _without_padding(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "Conv2d"):
        for keyword in node.keywords:
            if keyword.arg == "padding":
                yield mutant(clean, keyword, "padding=0")


def unpadded_residual(clean: Clean) -> Iterator[Mutant]:
    if clean.name in ("resnet", "preactivation"):
        blocks = re.compile(r"channels|outside, outside|inside, outside")
        for node in calls(clean, "Conv2d"):
            if blocks.search(clean.source(node)):
                for keyword in node.keywords:
                    if keyword.arg == "padding":
                        yield mutant(clean, keyword, "padding=0")


def unpadded_concatenation(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "unet":
        yield from _without_padding(clean)


def untransposed(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "transpose"):
        if clean.source(node).startswith("key."):
            yield mutant(clean, node, "key")


def wrong_view(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "view"):
        for argument in node.args[1:]:
            if isinstance(argument, ast.Constant):
                yield mutant(clean, argument, "7")
        if isinstance(node.args[-1], ast.UnaryOp):
            yield mutant(clean, node.args[-1], "13")


def too_large_a_window(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "AvgPool2d", "MaxPool2d"):
        yield mutant(clean, node.args[0], "64")


def not_squeezed(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "squeeze"):
        if clean.name == "critic" and isinstance(node.func, ast.Attribute):
            yield mutant(clean, node, clean.source(node.func.value))


def batch_mixed(clean: Clean) -> Iterator[Mutant]:
    for size, half in (("16 * 7 * 7", "392"), ("nn.Linear(32, 10)", "")):
        if size in clean.text and "x.view(x.shape[0], -1)" in clean.text:
            width = half or "16"
            text = clean.text.replace("x.view(x.shape[0], -1)", f"x.view(-1, {width})")
            text = text.replace(size, half or "nn.Linear(16, 10)")
            yield Mutant(text, f"view(-1, {width})")


def stale_comment(clean: Clean) -> Iterator[Mutant]:
    for match in re.finditer(r"# \[\d+(?:, \d+)+\]", clean.text):
        text = clean.text[: match.end() - 1] + "7" + clean.text[match.end() - 1 :]
        yield Mutant(text, match.group())


def unexpected_output(clean: Clean) -> Iterator[Mutant]:
    if clean.model is not None:
        yield Mutant(clean.text, "3,1,4", options={"expect_output": (3, 1, 4)})


def float_indices(clean: Clean) -> Iterator[Mutant]:
    for node, name in own_calls(clean):
        if name == "embed":
            yield mutant(clean, node.args[0], f"{clean.source(node.args[0])}.float()")


def tensor_on_the_cpu(clean: Clean) -> Iterator[Mutant]:
    for last in root_return(clean) if "import torch\n" in clean.text else ():
        assert last.value is not None
        yield mutant(clean, last.value, f"{clean.source(last.value)} * torch.ones(1)")


def one_sample(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "tabular":
        yield Mutant(clean.text, "a batch of one", inputs=("1,20",))


def unbatched(clean: Clean) -> Iterator[Mutant]:
    if clean.model is not None and clean.model.inputs[0].count(",") == 3:
        shape = clean.model.inputs[0].partition(",")[2]
        yield Mutant(clean.text, f"an input of {shape}", inputs=(shape,))


def dropped_sum(clean: Clean) -> Iterator[Mutant]:
    for _, forward in methods(clean, "forward"):
        for node in ast.walk(forward):
            match node:
                case ast.BinOp(op=ast.Add(), left=left, right=ast.Name(id=name)) if name in JOINED:
                    yield mutant(clean, node, clean.source(left))


def thrown_away(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for _, forward in methods(clean, "forward"):
        for node in ast.walk(forward):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(args=[ast.Name(id=given)], func=ast.Attribute(attr=called)),
                ) if name == given and "Norm" in kinds.get(called, ""):
                    yield mutant(clean, node, clean.source(node.value))


def overwritten_skip(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "preactivation":
        for node in calls(clean, "ReLU"):
            yield mutant(clean, node, "nn.ReLU(inplace=True)")
        for node in calls(clean, "act"):
            yield mutant(clean, node, "x.relu_()")
            yield mutant(clean, node, "torch.nn.functional.gelu(x).sigmoid() + x.mul_(2)")


def without_activation(clean: Clean) -> Iterator[Mutant]:
    kinds = built(clean)
    for node in calls(clean, "relu", "act", within="forward"):
        match node.args[0]:
            # What follows these is not linear either: a norm, a maximum.
            case ast.Call(func=ast.Attribute(attr="conv1" | "conv2" | "fc1")) if (
                clean.name == "lenet"
            ):
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                if clean.model is not None and re.match(
                    r"nn\.(Linear|Conv2d)", kinds.get(name, "")
                ):
                    yield mutant(clean, node, clean.source(node.args[0]))


def activated_early(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "relu", within="forward"):
        match node.args[0]:
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                relu = clean.source(node.func)
                yield mutant(clean, node, f"{relu}({clean.source(left)}) + {clean.source(right)}")


def biased(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "Conv2d", "Linear"):
        for keyword in node.keywords:
            if keyword.arg == "bias":
                yield mutant(clean, keyword, "bias=True")


def misnamed(clean: Clean) -> Iterator[Mutant]:
    if clean.name == "resnet":
        text = re.sub(r"\bResNet\b", "ResNet18", clean.text)
        yield Mutant(text, "ResNet18", options={"target": "ResNet18"})


def detached(clean: Clean) -> Iterator[Mutant]:
    for owner, forward in methods(clean, "forward"):
        for node in ast.walk(forward):
            match node:
                case ast.Assign(value=ast.Call(func=ast.Attribute(value=ast.Name(id="self")))):
                    if "rnn" in clean.source(node.value) or clean.model is None:
                        continue  # it gives a tuple
                    if clean.model.target.endswith(f":{owner.name}"):
                        yield mutant(clean, node.value, f"{clean.source(node.value)}.detach()")


def _appended(clean: Clean, form: str, loss: str) -> Iterator[Mutant]:
    if clean.model is not None and clean.model.loss == loss:
        for last in root_return(clean):
            assert last.value is not None
            yield mutant(clean, last.value, form.format(clean.source(last.value)))


def softmax_before_loss(clean: Clean) -> Iterator[Mutant]:
    yield from _appended(clean, "{}.softmax(dim=1)", "cross_entropy")
    yield from _appended(clean, "nn.functional.softmax({}, dim=-1)", "cross_entropy")
    if clean.name == "script":
        for owner, last in returns(clean):
            if owner.name == "Classifier":
                assert last.value is not None
                yield mutant(clean, last.value, f"F.softmax({clean.source(last.value)}, dim=1)")


def softmax_without_dim(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax", "log_softmax"):
        if clean.source(node.func) != "torch.softmax":
            yield mutant(clean, node, f"{clean.source(node.func)}({clean.source(node.args[0])})")
        else:
            yield mutant(clean, node, f"nn.functional.softmax({clean.source(node.args[0])})")


def over_the_batch(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax", "log_softmax"):
        if clean.model is not None and clean.name != "experts":
            for keyword in node.keywords:
                yield mutant(clean, keyword, "dim=0")
    yield from _appended(clean, "{}.softmax(dim=0)", "cross_entropy")


def wrong_for_nll(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "log_softmax"):
        yield mutant(clean, node, clean.source(node.args[0]))
        yield mutant(clean, node.func, "F.softmax")
    yield from _appended(clean, "{}.log_softmax(dim=1)", "cross_entropy")
    if clean.name == "script":
        for node in calls(clean, "CrossEntropyLoss"):
            yield mutant(clean, node.func, "nn.NLLLoss")


def wrong_for_bce(clean: Clean) -> Iterator[Mutant]:
    yield from _appended(clean, "torch.sigmoid({})", "bce_with_logits")
    if clean.model is not None and clean.model.loss == "bce_with_logits":
        yield Mutant(clean.text, "--loss bce", options={"loss": "bce"})
    if clean.name == "script":
        for node in calls(clean, "binary_cross_entropy_with_logits"):
            yield mutant(clean, node.func, "F.binary_cross_entropy")
        for owner, last in returns(clean):
            if owner.name == "Detector":
                assert last.value is not None
                yield mutant(clean, last.value, f"torch.sigmoid({clean.source(last.value)})")


def activated_scores(clean: Clean) -> Iterator[Mutant]:
    for loss in ("cross_entropy", "bce_with_logits"):
        yield from _appended(clean, "nn.functional.relu({})", loss)
        yield from _appended(clean, "nn.functional.dropout({})", loss)
    if clean.name == "script":
        for _, last in returns(clean):
            assert last.value is not None
            yield mutant(clean, last.value, f"torch.relu({clean.source(last.value)})")


def softmax_twice(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax"):
        keywords = ", ".join(clean.source(keyword) for keyword in node.keywords)
        yield mutant(clean, node, f"torch.softmax({clean.source(node)}, {keywords})")


def softmax_of_one(clean: Clean) -> Iterator[Mutant]:
    if clean.name in ("tabular", "critic"):
        for node in ast.walk(clean.tree):
            match node:
                case ast.Assign(value=ast.Call(func=ast.Attribute(attr="squeeze", value=scores))):
                    yield mutant(clean, scores, f"{clean.source(scores)}.softmax(dim=-1)")


MUTATIONS: dict[str, Mutation] = {
    "AC101": without_super_init, "AC102": late_super_init, "AC103": forward_without_self,
    "AC104": misspelled_forward, "AC105": returns_nothing, "AC106": overwritten,
    "AC107": plain_list, "AC108": skipped_call, "AC109": misspelled_attribute,
    "AC110": broken_super, "AC111": missing_argument, "AC113": built_in_forward,
    "AC114": shared_instance, "AC115": direct_call, "AC116": unregistered, "AC117": shadowed,
    "AC201": wrong_in_features, "AC202": wrong_in_channels, "AC203": wrong_num_features,
    "AC204": wrong_norm, "AC205": unpadded_residual, "AC206": unpadded_concatenation,
    "AC207": untransposed, "AC208": wrong_view, "AC209": too_large_a_window,
    "AC210": not_squeezed, "AC211": batch_mixed, "AC213": stale_comment,
    "AC214": unexpected_output, "AC215": float_indices, "AC216": tensor_on_the_cpu,
    "AC217": one_sample, "AC218": unbatched, "AC301": dropped_sum, "AC302": thrown_away,
    "AC303": overwritten_skip, "AC304": without_activation, "AC305": activated_early,
    "AC306": biased, "AC307": misnamed, "AC308": detached, "AC401": softmax_before_loss,
    "AC402": softmax_without_dim, "AC403": over_the_batch, "AC404": wrong_for_nll,
    "AC405": wrong_for_bce, "AC406": activated_scores, "AC407": softmax_twice,
    "AC408": softmax_of_one,
}  # fmt: skip


# The run --------------------------------------------------------------------------------------


def clean_models() -> Iterator[Clean]:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--input", dest="inputs", action="append", default=[])
    parser.add_argument("--loss")
    for path in sorted(CLEAN.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        head = re.match(r"# trace: (.*)", text)
        model = None
        if head is not None:
            asked = parser.parse_args(shlex.split(head[1]))
            model = Model(f"{path.name}:{asked.name}", tuple(asked.inputs), loss=asked.loss)
        yield Clean(path.stem, text, model)


def print_of(trace: Trace) -> object:
    """What a pass did, as far as two passes can be held against each other."""
    ops = [
        (op.name, op.in_place, tuple(trace.shape(index) for index in op.outputs), op.call)
        for op in trace.ops
    ]
    failures = [(failure.error, failure.message) for failure in trace.failures]
    calls = [(call.path, call.direct) for call in trace.calls]
    weights = [(one.name, one.shape, one.trainable) for one in trace.parameters]
    gradients = [value.requires_grad for value in trace.values]
    inputs = [[op.inputs for op in trace.ops], trace.outputs]
    return ops, failures, calls, weights, gradients, inputs


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("codes", nargs="*")
    parser.add_argument("--misses", action="store_true")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print("rule   mutants  same  found  recall")
        for code, mutation in MUTATIONS.items():
            if arguments.codes and not code.startswith(tuple(arguments.codes)):
                continue
            same, found, misses = measured(code, mutation)
            counted = found + len(misses)
            missed += len(misses)
            recall = f"{100 * found / counted:5.0f} %" if counted else "      -"
            print(f"{code}  {counted + same:7}  {same:4}  {found:5}  {recall}", flush=True)
            for miss in misses if arguments.misses else ():
                print(f"    {miss}")
    return 1 if missed else 0


def measured(code: str, mutation: Mutation) -> tuple[int, int, list[str]]:
    """How many mutants change nothing, how many are found, and which ones are not."""
    cases: dict[str, tuple[Clean, Mutant | None]] = {}
    models: list[Model] = []
    paths: list[str] = []
    for clean in clean_models():
        mutants: list[Mutant | None] = [None, *mutation(clean)]
        for number, changed in enumerate(mutants if len(mutants) > 1 else []):
            # A folder of its own: files side by side may speak of each other's classes.
            path = f"{code}/{clean.name}_{number}/{clean.name}.py"
            Path(path).parent.mkdir(parents=True)
            Path(path).write_text(changed.text if changed else clean.text, encoding="utf-8")
            cases[path] = (clean, changed)
            paths.append(path)
            if clean.model is not None:
                models.append(asked(clean.model, path, changed))
    report = run(None, Config(select=("ALL",), paths=tuple(paths), models=tuple(models)), Model(""),
                 root=Path())  # fmt: skip
    for complaint in report.complaints:
        print(f"    {complaint}")
    prints = {target.trace.path: print_of(target.trace) for target in report.targets}
    hits: dict[str, set[object]] = defaultdict(set)
    for finding in report.findings:
        if finding.code in (code, ALSO.get(code)):
            hits[finding.location.path].add((finding.code, finding.severity, finding.message))
    same = found = 0
    misses = []
    clean_path = ""
    for path, (clean, changed) in cases.items():
        if changed is None:
            clean_path = path
        elif hits[path] - hits[clean_path]:
            found += 1
        elif (
            code not in OF_THE_TEXT
            and not changed.options
            and (path in prints and prints[path] == prints[clean_path])
        ):
            same += 1
        else:
            misses.append(f"{clean.name}: {changed.what}")
    return same, found, misses


def asked(model: Model, path: str, changed: Mutant | None) -> Model:
    """What a mutant is traced with."""
    options = dict(changed.options) if changed is not None else {}
    name = str(options.pop("target", model.target.rpartition(":")[2]))
    inputs = changed.inputs if changed is not None and changed.inputs else model.inputs
    return replace(model, target=f"{path}:{name}", inputs=inputs, **options)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
