"""How heavy the HTML page is, what it adds to the command, and how soon a browser has drawn it.

    python benchmarks/html_page.py [ROUNDS]

Each round traces the model in a process of its own and writes the page there, its imports
included; headless Chromium then opens the file. `drawn` is counted from the beginning of the
navigation to the second frame after the page's script is through, so that the graph is on the
screen; `open all` is what it takes to open every box of the graph, folded ones once. Of ROUNDS
runs (3) the fastest counts. The limits are those that the project has set itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chromium import open_chromium, resize  # noqa: E402

WRITE = """
import sys, time
import archcheck
report = archcheck.check(sys.argv[1], input=sys.argv[2])
begin, busy = time.perf_counter(), time.process_time()
from archcheck.output import render
page = render(report, "html")
print(time.perf_counter() - begin, time.process_time() - busy)
open(sys.argv[3], "w", encoding="utf-8").write(page)
"""

FRAMES = """
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
"""

OPEN_ALL = """
const begin = performance.now();
document.querySelector("[aria-label='Open all boxes']").click();
document.querySelector(".canvas").getBBox();
return [performance.now() - begin, document.querySelectorAll(".canvas [data-way]").length];
"""


@dataclass(frozen=True)
class Case:
    """A model, and the most megabytes and seconds that its page may take."""

    target: str
    input: str
    megabytes: float | None
    seconds: float


CASES = (
    Case("fixtures/models/resnet32.py:ResNet32", "8,3,128,128", None, 1.5),
    Case("fixtures/models/resnet152.py:resnet152", "8,3,224,224", 1.5, 1.5),
    Case("fixtures/models/llama405b.py:llama405b", "1,8192:int64", None, 2.5),
)


def written(case: Case, path: Path) -> tuple[float, float]:
    """Write the page; how many seconds that took, and how many of the processor's."""
    command = [sys.executable, "-c", WRITE, case.target, case.input, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    wall, busy = map(float, run.stdout.split())
    return wall, busy


def main(rounds: int) -> None:
    print(f"{'':28}{'size':>10}{'write':>10}{'(cpu)':>9}{'drawn':>9}{'limit':>7}{'open all':>16}")
    with tempfile.TemporaryDirectory() as folder:
        browser = open_chromium(Path(folder) / "profile")
        resize(browser, 1440, 900)
        for case in CASES:
            path = Path(folder) / "page.html"
            times = [written(case, path) for _ in range(rounds)]
            drawn, opened = [], []
            for _ in range(rounds):
                browser.get(path.as_uri())
                drawn.append(browser.execute_async_script(FRAMES) / 1000)
                opened.append(browser.execute_script(OPEN_ALL))
            wall, busy = (min(column) for column in zip(*times, strict=True))
            seconds, nodes = min(opened)
            most = f" of {case.megabytes} MB" if case.megabytes else ""
            print(
                f"{case.target.rpartition('/')[2]:28}{path.stat().st_size / 1e6:7.2f} MB"
                f"{wall:8.2f} s{busy:7.2f} s{min(drawn):7.2f} s{case.seconds:5.1f} s"
                f"{seconds / 1000:7.2f} s, {nodes} nodes{most}"
            )
        browser.quit()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
