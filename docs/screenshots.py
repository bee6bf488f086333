"""Write the screenshots of the HTML page in docs/, from real runs in a headless Chromium.

    python docs/screenshots.py

They look best with the fonts Inter and JetBrains Mono installed. As their bytes differ from one
machine to the next, no test compares them.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chromium import open_chromium, resize  # noqa: E402

import archcheck  # noqa: E402
from archcheck.analysis.architectures.difference import Difference, compare  # noqa: E402
from archcheck.analysis.architectures.read_trace import architecture_of  # noqa: E402
from archcheck.output import diff, render  # noqa: E402

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MODELS = {
    "broken": ("fixtures/models/resnet32.py:ResNet32", "8,3,128,128"),
    "deep": ("fixtures/models/resnet152.py:resnet152", "8,3,224,224"),
    "llama": ("fixtures/models/llama405b.py:llama405b", "1,8192:int64"),
}
VERSIONS = (
    "fixtures/models/resnet152.py:ResNet([3, 8, 36, 3])",
    "fixtures/models/resnet152.py:ResNet([3, 8, 30, 3], num_classes=10)",
)
QUALITY = 78


@dataclass(frozen=True)
class Shot:
    """A picture: which page, which view of it, what to click there, and how large the screen."""

    name: str
    model: str
    view: str
    clicks: tuple[str, ...] = ()
    size: tuple[int, int] = (1200, 780)
    dark: bool = False


SHOTS = (
    Shot("page-graph", "llama", "graph", size=(1280, 900)),
    Shot("page-failure", "broken", "graph", size=(1280, 900)),
    Shot("page-costs", "deep", "costs", (".switch label:nth-of-type(2)",), (1200, 900)),
    Shot("page-findings", "broken", "findings"),
    Shot("page-diff", "diff", "", (".only",)),
    Shot("page-phone", "broken", "graph", size=(400, 780), dark=True),
)


def take(browser: Chrome, shot: Shot, page: Path) -> bytes:
    """The picture of one view."""
    resize(browser, *shot.size, scale=1.5, dark=shot.dark)
    browser.get(page.as_uri())
    tab = [f"nav [data-view='{shot.view}']"] if shot.view else []
    for selector in (*tab, *shot.clicks):
        browser.find_element("css selector", selector).click()
    wanted = {"format": "webp", "quality": QUALITY}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", wanted)
    return base64.b64decode(taken["data"])


def compared() -> str:
    """The page of two versions of a network."""
    before, after = (
        architecture_of(archcheck.check(target, input="8,3,224,224").targets[0].trace)
        for target in VERSIONS
    )
    model = compare(before, replace(after, target=before.target))
    return diff.render(Difference("main", "the working tree", (model,)), "html")


def main() -> None:
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        pages = {}
        for name, (target, given) in MODELS.items():
            pages[name] = Path(folder) / f"{name}.html"
            report = archcheck.check(target, input=given)
            pages[name].write_text(render(report, "html"), encoding="utf-8")
        pages["diff"] = Path(folder) / "diff.html"
        pages["diff"].write_text(compared(), encoding="utf-8")
        browser = open_chromium(Path(folder) / "profile")
        for shot in SHOTS:
            picture = take(browser, shot, pages[shot.model])
            (ROOT / "docs" / f"{shot.name}.webp").write_bytes(picture)
            print(f"{shot.name}: {len(picture) / 1000:.0f} kB")
        browser.quit()


if __name__ == "__main__":
    main()
