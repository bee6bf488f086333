"""Write docs/compatibility.md: the tests about versions, with each pair of Python and torch.

    python docs/compatibility.py FOLDER     run them in every virtual environment below FOLDER
    python docs/compatibility.py --check    the page shows these tests, and none that failed

An environment has one version of torch, and `pip install archcheck-torch[trace] pytest`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
TESTS = ("tests/tracing/test_versions.py", "tests/tracing/test_attention_flops.py")
HEAD = f"""# Versions of torch and Python

torch 2.6 to 2.15, Python 3.11 to 3.15. The suite as a whole runs in CI with the torch of
[constraints.txt](../constraints.txt). The tests about what differs between versions
({", ".join(f"`{name}`" for name in TESTS)}) were run with each pair below, by
`python docs/compatibility.py FOLDER`, where FOLDER holds a virtual environment for each pair.
CI does not repeat that: on Linux each torch of PyPI brings several GB of CUDA libraries. It does
install the lowest allowed versions of everything else
([constraints-lowest.txt](../constraints-lowest.txt)).

There are no wheels of torch 2.6 and 2.8 for Python 3.14, and none before torch 2.15 for Python
3.15.

| Python | torch | passed | failed | skipped | why skipped |
| --- | --- | --- | --- | --- | --- |
"""
ROW = re.compile(r"^\| (3\.\d+)\.\S+ \| (2\.\d+)\.\S+ \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)


def rows(folder: Path) -> list[str]:
    """Return a line for each environment, the oldest versions first."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(row, sorted(folder.glob("*/bin/python")))
    return [line for _, line in sorted(one for one in found if one is not None)]


def row(python: Path) -> tuple[tuple[int, ...], str] | None:
    """Return the line of an environment, with the numbers that it is sorted by."""
    asked = "import sys, torch; print(sys.version.split()[0], torch.__version__.split('+')[0])"
    run = subprocess.run([str(python), "-c", asked], capture_output=True, text=True)
    if run.returncode != 0:
        return None
    versions = run.stdout.split()
    numbers = tuple(int(part) for text in versions for part in text.split("."))
    return numbers, f"| {' | '.join((*versions, *counts(python)))} |"


def counts(python: Path) -> tuple[str, ...]:
    """Return how many tests passed, failed and were skipped, and why."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place, "report.xml")
        command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([*command, *TESTS], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    passed = int(suite.get("tests", 0)) - failed - skipped
    reasons = {skip.get("message", "") for skip in suite.iter("skipped")}
    return str(passed), str(failed), str(skipped), "; ".join(sorted(reasons))


def problems(page: str) -> Iterator[str]:
    """Yield what is wrong with a page."""
    if not page.startswith(HEAD):
        yield "the text above the table is another one"
    found = ROW.findall(page)
    pairs = {pair[:2] for pair in found}
    for wanted in (("3.11", "2.6"), ("3.11", "2.13"), ("3.11", "2.15"), ("3.15", "2.15")):
        if wanted not in pairs:
            yield f"there is no row for Python {wanted[0]} with torch {wanted[1]}"
    for python, torch, passed, failed, _ in found:
        if int(failed) or not int(passed):
            yield f"Python {python} with torch {torch}: {failed} failed, {passed} passed"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments != ["--check"]:
        lines = rows(Path(arguments[0]))
        PAGE.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = list(problems(PAGE.read_text(encoding="utf-8")))
    for problem in found:
        print(f"docs/compatibility.md: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
