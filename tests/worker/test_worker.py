"""Loading and tracing in worker processes: whatever a file does, an answer comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archcheck.core.target import Target, TraceRequest, UsageError, parse_input, parse_target
from archcheck.evidence.records import Failure
from archcheck.evidence.trace import Trace
from archcheck.worker.process.client import Cancelled, Workers, trace

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
LOADING = HERE.parent / "fixtures" / "loading"
SEEDS = HERE.parent.parent / "shared" / "seeds"


@pytest.fixture(autouse=True)
def in_the_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(LOADING)


def request(text: str, *inputs: str, **options: Any) -> TraceRequest:
    target = parse_target(text)
    assert isinstance(target, Target)
    options.setdefault("timeout", 60.0)
    return TraceRequest(target, tuple(parse_input(text) for text in inputs), **options)


def outcomes(*requests: TraceRequest) -> list[Trace | UsageError]:
    with Workers() as workers:
        workers.start(requests)
        return list(workers.results())


def traced(outcome: Trace | UsageError) -> Trace:
    assert isinstance(outcome, Trace), outcome
    return outcome


def failure(outcome: Trace | UsageError) -> Failure:
    (only,) = traced(outcome).failures
    return only


def test_models_of_all_kinds_from_files_of_all_kinds() -> None:
    wanted = {
        # A training script, of which the class alone runs.
        "script.py:Net": 3 * 3 * 3 * 16 + 16 + 16 * 10 + 10,
        # Weights that are not there.
        "script.py:Trained": 3 * 3 * 3 * 16 + 16 + 16 * 10 + 10,
        "script.py:Net(8)": 3 * 3 * 3 * 8 + 8 + 8 * 10 + 10,
        # The command line as if the script were run without arguments.
        "configured.py:Net": 12 * 2 + 2,
        "configured.py:model": 12 * 2 + 2 + 2 * 2 + 2,
        # Packages that aren't there, and aren't needed.
        "missing.py:Plain": 8 + 8,
        "variables.py:net": 6 * 6 + 6 + 6 * 3 + 3,
        "variables.py:stem": 6 * 6 + 6,
        "variables.py:Zoo.small": 2 * 2 + 2,
        "variables.py:make": 4 * 4 + 4,
        "variables.py:make(3, acts=[nn.ReLU, nn.Tanh])": 3 * 3 + 3,
        "variables.py:make(2, block=Block)": 2 * 2 + 2,
        "notes.md:net": 8 * 16 + 16 + 16 * 8 + 8,
        "notes.md:5:Block(3)": 3 * 3 + 3,
        "notes.md:20:Block(3)": 3 * 6 + 6 + 6 * 3 + 3,
        "book.ipynb:net": 5 * 2 + 2,
        # A src layout whose __init__ fails, relative imports, and a circle of imports.
        "project/src/shapes/models/net.py:Net": 9 * 9 + 9,
        "project/tools/show.py:net": 9 * 9 + 9,
        # The same names in two folders.
        "twins/one/net.py:net": 11 + 1,
        "twins/two/net.py:net": 22 + 1,
        # A relative import in a folder that no __init__ makes a package.
        "loose/net.py:Net": 3 * 3 + 3,
        "torch.nn:Linear(3, 4)": 3 * 4 + 4,
        "variables:stem": 6 * 6 + 6,
        # Neighbours that cannot be imported, and hold what is needed.
        "neighbours/net.py:Net": 5 * 5 + 5 + 5 * 2 + 2,
    }
    found = outcomes(*map(request, wanted))
    for (text, count), outcome in zip(wanted.items(), found, strict=True):
        assert not traced(outcome).failures, text
        assert traced(outcome).complete, text
        assert sum(parameter.count for parameter in traced(outcome).parameters) == count, text


def test_positions_paths_and_files_are_those_of_the_user() -> None:
    net, note = outcomes(request("project/src/shapes/models/net.py:Net"), request("notes.md:net"))
    layer = traced(net).module("layer")
    assert layer is not None and layer.constructed is not None
    assert layer.constructed.path == "project/src/shapes/models/parts.py"
    assert traced(net).path == "project/src/shapes/models/net.py"
    assert "project/src/shapes/widths.py" in traced(net).files
    block = traced(note).module("")
    assert block is not None and block.defined is not None
    assert (block.defined.path, block.defined.line) == ("notes.md", 26)


def test_missing_packages_are_told_where_they_are_needed() -> None:
    needy, logging, derived, plain, plotted = outcomes(
        request("missing.py:Needy"),
        request("missing.py:Logging"),
        request("missing.py:Derived"),
        request("missing.py:Plain"),
        request("neighbours/net.py:Plotted"),
    )
    lines = (LOADING / "missing.py").read_text().splitlines()
    for outcome, package, text in (
        (needy, "absent_layers", "DropPath(0.1)"),
        (logging, "absent_logger", "absent_logger.log(x)"),
        (derived, "absent_logger", "absent_logger.Module"),
    ):
        found = failure(outcome)
        assert found.stage == "import"
        assert f"the package `{package}`, which is not installed" in found.message
        assert found.location is not None
        assert text in lines[found.location.line - 1]
    assert not traced(plain).failures
    assert failure(plotted).stage == "import"
    assert "the package `absent_plots`, which is not installed" in failure(plotted).message


def test_whatever_the_code_does_an_answer_comes_back() -> None:
    wanted = {
        "Exits": ("import", "loading Exits ended the whole process, with exit code 3"),
        "Leaves": ("import", "goodbye"),
        "Crashes": ("forward", "tracing Crashes crashed the interpreter: segmentation fault"),
        "Recurses": ("forward", "maximum recursion depth exceeded"),
        "Asks": ("import", "EOF when reading a line"),
        "Allocates": ("limit", ""),
        "Forks": ("construct", "the code forks without end"),
        "Raises": ("import", "nothing works"),
    }
    requests = [request(f"misbehaving.py:{name}") for name in wanted]
    *bad, last = outcomes(*requests, request("misbehaving.py:Quiet"))
    for (name, (stage, text)), outcome in zip(wanted.items(), bad, strict=True):
        found = failure(outcome)
        assert (found.stage, text in found.message) == (stage, True), (name, found)
        assert found.location is not None
        assert found.location.path == "misbehaving.py"
    assert traced(last).complete
    assert traced(last).printed == "forward prints this\n"


def test_time_and_memory_have_limits() -> None:
    hangs, fills = outcomes(
        request("misbehaving.py:Hangs", timeout=1.0),
        request("misbehaving.py:Fills", memory_limit=300 << 20),
    )
    found = failure(hangs)
    assert (found.stage, found.error) == ("limit", "TimeoutError")
    assert found.message == "building Hangs took longer than 1 s"
    assert found.location is not None
    assert (
        "time.sleep"
        in (LOADING / "misbehaving.py").read_text().splitlines()[found.location.line - 1]
    )
    assert failure(fills).stage == "limit"


def test_a_target_leaves_no_settings_to_the_next() -> None:
    before, _, after = outcomes(
        request("misbehaving.py:Quiet"),
        request("misbehaving.py:Settings"),
        request("misbehaving.py:Quiet"),
    )
    assert traced(before).parameters == traced(after).parameters
    assert {parameter.dtype for parameter in traced(after).parameters} == {"float32"}


def test_nothing_is_left_running_or_written() -> None:
    for folder in LOADING.rglob("__pycache__"):
        shutil.rmtree(folder)
    outcomes(request("misbehaving.py:Leaks"), request("project/tools/show.py:net"))
    assert not list(LOADING.rglob("__pycache__"))
    assert "sleep\0007777" not in "".join(_command_lines())


def test_leaving_early_ends_the_worker() -> None:
    with Workers() as workers:
        workers.start([request("misbehaving.py:Hangs")])
        process = workers.process
        assert process is not None and _is_running(process.pid)
        while process.begun(0) is None:
            process.next_message(0.1)
    assert not _is_running(process.pid)


def test_a_worker_that_is_kept_reads_again_what_was_written_anew(tmp_path: Path) -> None:
    (tmp_path / "width.py").write_text("WIDTH = 3\n", encoding="utf-8")
    net = tmp_path / "net.py"
    net.write_text(
        "from torch import nn\nfrom width import WIDTH\n\nnet = nn.Linear(WIDTH, 1, bias=False)\n",
        encoding="utf-8",
    )
    counts = []
    with Workers() as workers:
        workers.warm()
        for width in (3, 30):
            (tmp_path / "width.py").write_text(f"WIDTH = {width}\n", encoding="utf-8")
            workers.start([request(f"{net}:net")])
            (outcome,) = workers.results()
            counts.append(traced(outcome).parameters[0].count)
    assert counts == [3, 30]


def test_a_trace_that_nobody_wants_any_more_ends_at_once_and_others_follow() -> None:
    with Workers() as workers:
        workers.start([request("misbehaving.py:Hangs"), request("script.py:Net")])
        results = workers.results()
        canceller = threading.Timer(0.1, workers.cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            next(results)
        canceller.join()
        workers.warm()
        workers.start([request("script.py:Net")])
        (outcome,) = workers.results()
        assert traced(outcome).complete


def test_the_parent_s_death_ends_the_worker() -> None:
    code = (
        "import os, time\n"
        "from archcheck.worker.process.client import Workers\n"
        "from archcheck.core.target import *\n"
        "workers = Workers()\n"
        "workers.start([TraceRequest(parse_target('misbehaving.py:Hangs'))])\n"
        "print(workers.process.pid, flush=True)\n"
        "while workers.process.begun(0) is None: workers.process.next_message(0.1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    worker = int(ended.stdout)
    for _ in range(100):
        if not _is_running(worker):
            return
        time.sleep(0.1)
    raise AssertionError("the worker outlives its parent")


@pytest.mark.parametrize(
    ("text", "inputs", "part"),
    [
        ("nowhere.py:Net", (), "nowhere.py: no such file"),
        ("twins:Net", (), "twins has no `Net`"),
        ("twins/one:Net", (), "is a folder"),
        ("script.py:net", (), "did you mean `Net`?"),
        ("script.py:Unet", (), "did you mean `Net`?"),
        ("notes.md:99:Block", (), "defines `Block` on line 6, 26, not at or after 99"),
        ("variables.py:Block", (), "`Block` needs `width`: write `variables.py:Block(6)`"),
        ("variables.py:Block(1, size=2)", (), "got an unexpected keyword argument 'size'"),
        ("variables.py:make(4, Blok)", (), "did you mean `Block`?"),
        ("variables.py:width", (), "is an int, no nn.Module; models of variables.py: `Block`"),
        ("variables.py:Zoo", (), "`Zoo` is a class that is no nn.Module"),
        ("variables.py:Zoo.large", (), "`Zoo` has no attribute `large`"),
        ("variables.py:net(3)", (), "`net` is a model already: write `variables.py:net`"),
        ("no_such_package.net:Net", (), "there is no module `no_such_package.net`"),
        ("torch.nn:Linaer", (), "did you mean `Linear`"),
        ("script.py:Net", ("8,3,32,32", "8,3"), "Net.forward takes x"),
        ("script.py:Net", ("image=8,3,32,32",), "Net.forward takes x"),
        ("nested_inputs.py:Reader", (), "forward of Reader takes batch, mask: give one --input"),
        ("torch.nn:Identity", (), "say it with --input"),
        ("nests.py:Fields", (), "forward of Fields takes a dict of tensors"),
        ("nests.py:Pyramid", (), "--input 'maps=[8,64,56,56;8,128,28,28]'"),
        ("nests.py:Unannotated", (), "does not take a guessed input (IndexError: too many"),
    ],
)
def test_wrong_calls_are_told_in_one_line(
    workers: Workers, text: str, inputs: tuple[str, ...], part: str
) -> None:
    workers.start([request(text, *inputs)])
    (outcome,) = workers.results()
    assert isinstance(outcome, UsageError)
    assert part in str(outcome)
    assert "\n" not in str(outcome)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One worker for many small questions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(LOADING)
        with Workers() as shared:
            shared.start([request("script.py:Net")])
            list(shared.results())
            yield shared


def test_inputs_that_are_nested_named_typed_free_or_made_by_a_function() -> None:
    images, named, free, made = outcomes(
        request("nested_inputs.py:Detector", "images=[3,80,80;3,60,90]"),
        request("nested_inputs.py:Reader", "mask=2,5", "batch={ids=2,5:int64}"),
        request("script.py:Net", "B,3,H,W"),
        request("nested_inputs.py:Reader", input_from=parse_target("nested_inputs.py:make_batch")),
    )
    assert [v.shape for v in traced(images).values if v.kind == "input"] == [
        (3, 80, 80),
        (3, 60, 90),
    ]
    assert {given.name for given in traced(named).inputs} == {"batch", "mask"}
    assert {(v.name, v.shape, v.dtype) for v in traced(named).values if v.kind == "input"} == {
        ("mask", (2, 5), "float32"),
        ("batch[0]", (2, 5), "int64"),
    }
    assert traced(named).complete
    (given,) = traced(free).inputs
    assert given.free == {0: "B", 2: "H", 3: "W"}
    assert traced(made).complete
    assert traced(made).inferred_input == "the input is that of nested_inputs.py:make_batch"


def test_the_input_is_that_of_the_file_or_fits_the_first_layer() -> None:
    own, guessed = outcomes(request("book.ipynb:net"), request("script.py:Net"))
    assert traced(own).inferred_input == (
        "the input is that of book.ipynb, cell 4, line 2, `torch.randn(7, 5)`"
    )
    assert "a guess by the first layer, `features`" in (traced(guessed).inferred_input or "")
    assert [v.shape for v in traced(guessed).values if v.kind == "input"] == [(2, 3, 224, 224)]


def test_a_file_imported_whole_runs_whole() -> None:
    (outcome,) = outcomes(request("script.py:Net", import_whole=True))
    assert failure(outcome).error == "SystemExit"


def test_a_usage_error_is_raised_by_trace() -> None:
    with pytest.raises(UsageError):
        list(trace([request("nowhere.py:Net")]))


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the documents are not here")
def test_documents_are_traced_without_what_they_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SEEDS)
    resnet32, net, small = outcomes(
        request("001_4d4686b6c337fa9e.md:ResNet32", "8,3,224,224"),
        request("002_a161a5e177fb7a13.md:net", "1,1,224,224"),
        request("003_46f06ef97d33238f.md:ResNet(ResidualBlock, [3, 3, 3])", "100,3,32,32"),
    )
    assert traced(resnet32).macs == 29_262_315_520
    assert not traced(net).failures
    assert not traced(small).failures
    assert not (SEEDS / "data").exists()


def _command_lines() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_text()
        except OSError:
            continue


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
