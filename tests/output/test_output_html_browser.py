"""The HTML page in a real browser: what a reader can do with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import open_chromium, resize

pytestmark = [pytest.mark.slow, pytest.mark.browser]

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[2]

# A model whose names are markup, in a file whose comments are Chinese; the last layer does not fit.
HOSTILE = '''\
from torch import nn

Evil = type("</script><b>", (nn.Linear,), {})


class Net(nn.Module):
    """一个名字像标记的模型。"""

    def __init__(self):
        super().__init__()
        self.add_module("</script><b onmouseover=alert(1)>", Evil(4, 6))  # 第一层 <img src=x>
        self.last = nn.Linear(5, 2)  # 宽度不对 </script><script>alert(1)</script>

    def forward(self, x):
        x = getattr(self, "</script><b onmouseover=alert(1)>")(x)
        return self.last(x)  # 出错的地方
'''


def write_page(path: Path, *arguments: str, cwd: Path = ROOT) -> Path:
    """Run the command as a user would, and return the page that it wrote."""
    command = [sys.executable, "-m", "archcheck", *arguments]
    subprocess.run(
        [*command, "--format", "html", "--output", str(path)],
        capture_output=True,
        cwd=cwd,
        check=False,
    )
    assert path.exists()
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium = open_chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.quit()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents' network on a size that its head cannot take."""
    path = tmp_path_factory.mktemp("page") / "broken.html"
    target = "fixtures/models/resnet32.py:ResNet32"
    return write_page(path, target, "--input", "8,3,128,128")


@pytest.fixture
def page(browser: Chrome, broken: Path) -> Chrome:
    return opened(browser, broken)


def opened(browser: Chrome, path: Path) -> Chrome:
    """The page, freshly loaded on a screen of a laptop, without a word on the console."""
    resize(browser, 1280, 800)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path.as_uri())
    return browser


def ask(browser: Chrome, expression: str, *arguments: Any) -> Any:
    return browser.execute_script(f"return {expression}", *arguments)


def click(browser: Chrome, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def text(browser: Chrome, selector: str) -> str:
    return str(ask(browser, "document.querySelector(arguments[0]).textContent", selector))


def ways(browser: Chrome) -> list[str]:
    nodes = "[...document.querySelectorAll('.canvas [data-way]')]"
    return list(ask(browser, f"{nodes}.map((node) => node.getAttribute('data-way'))"))


def fetched(browser: Chrome) -> list[str]:
    messages = (json.loads(one["message"])["message"] for one in browser.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def test_it_opens_in_silence_and_fetches_nothing(page: Chrome, broken: Path) -> None:
    assert ask(page, "document.documentElement.dataset.ready") == "true"
    assert page.get_log("browser") == []
    assert [url for url in fetched(page) if not url.startswith("data:")] == [broken.as_uri()]


def test_the_failing_call_is_in_sight_with_what_arrived_and_what_was_expected(page: Chrome) -> None:
    failed = page.find_element("css selector", ".canvas .node.failed")
    assert "got [8, 2048]" in failed.text and "expects [*, 4608]" in failed.text
    assert failed.get_attribute("aria-selected") == "true"
    box = failed.rect
    assert 0 <= box["x"] <= 1280 and 0 <= box["y"] <= 800
    assert "resnet32.py:50" in text(page, ".details") and "self.head(x)" in text(page, ".details")
    # What ran after it only ran on a shape that recovery gave.
    assert len(page.find_elements("css selector", ".canvas .node.follows")) == 1


def test_a_box_opens_and_closes(page: Chrome) -> None:
    click(page, ".tools [aria-label='Close all boxes']")
    assert "2.0" not in ways(page)
    click(page, "[data-way='2'] > [data-toggle]")
    assert "2.0" in ways(page)
    assert (
        page.find_element("css selector", "[data-way='2']").get_attribute("aria-expanded") == "true"
    )
    # Blocks that are alike are one, until they are asked for.
    assert "2.1" in ways(page) and "2.2" not in ways(page)
    assert "1–2" in text(page, "[data-way='2.1']") and "×2" in text(page, "[data-way='2.1']")
    click(page, "[data-way='2'] > [data-toggle]")
    assert "2.0" not in ways(page)


def test_equal_boxes_stay_two(page: Chrome) -> None:
    click(page, ".tools [aria-label='Open all boxes']")
    # The same block in two stages is laid out once, and still each node has its own name.
    found = ways(page)
    assert len(found) == len(set(found)) and {"2.0.0", "2.1.0", "5.1.0"} <= set(found)
    click(page, "[data-way='5.1.3']")
    assert text(page, ".details h3") == "stages.3.1.second"


def test_the_keyboard_opens_and_moves(page: Chrome) -> None:
    from selenium.webdriver.common.keys import Keys

    click(page, ".tools [aria-label='Close all boxes']")
    ask(page, "document.querySelector('.canvas [data-way]').focus()")
    for key in (Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER):
        page.switch_to.active_element.send_keys(key)
    assert page.switch_to.active_element.get_attribute("data-way") == "2"
    assert "2.0" in ways(page)


def test_search_finds_a_layer_in_a_closed_box(page: Chrome) -> None:
    from selenium.webdriver.common.keys import Keys

    field = page.find_element("css selector", ".search input")
    field.send_keys("stages.3.2.second_norm")
    assert len(page.find_elements("css selector", ".search [data-found]")) == 1
    field.send_keys(Keys.ENTER)
    chosen = page.find_element("css selector", ".canvas [aria-selected='true']")
    # The last of the stage's blocks, which had been folded into the one before it.
    assert chosen.get_attribute("data-way") == "5.2.4" and chosen.is_displayed()
    assert text(page, ".details h3") == "stages.3.2.second_norm"


def test_a_finding_leads_to_its_node_and_to_its_row(page: Chrome) -> None:
    click(page, "nav [data-view='findings']")
    click(page, "#finding-1 [data-show]")
    chosen = page.find_element("css selector", ".canvas [aria-selected='true']")
    assert "head" in chosen.text and "failed" in chosen.get_attribute("class")
    click(page, ".details .links a")
    assert page.switch_to.active_element.get_attribute("id") == "finding-1"
    click(page, "#finding-0 [data-layer]")
    row = page.switch_to.active_element
    assert row.get_attribute("data-path") == "stages.0.0" and row.is_displayed()


def test_the_costs_switch_what_they_measure(page: Chrome) -> None:
    click(page, "nav [data-view='costs']")
    first = "document.querySelector('.icicle [role=button]').getAttribute('aria-label')"
    assert "21,127,554" in ask(page, first)
    click(page, ".switch label:nth-of-type(2)")
    assert "9.56 G" in ask(page, first)
    click(page, ".switch label:nth-of-type(3)")
    assert "MiB" in ask(page, first)
    assert len(page.find_elements("css selector", ".strip .lane")) == 3


def test_the_table_sorts_and_filters(page: Chrome) -> None:
    click(page, "nav [data-view='layers']")
    click(page, ".layers th:nth-child(5) button")
    column = "[...document.querySelectorAll('.layers tbody td:nth-child(5)')]"
    values = ask(page, f"{column}.map((cell) => Number(cell.dataset.value))")
    assert values == sorted(values, reverse=True)
    page.find_element("css selector", ".filter input").send_keys("Linear")
    rows = "[...document.querySelectorAll('.layers tbody tr')].filter((row) => !row.hidden)"
    assert ask(page, f"{rows}.map((row) => row.dataset.path)") == ["head"]


def test_a_row_leads_to_its_box(page: Chrome) -> None:
    click(page, "nav [data-view='layers']")
    click(page, "[data-path='stages.1.0.second'] button")
    chosen = page.find_element("css selector", ".canvas [aria-selected='true']")
    assert chosen.get_attribute("data-way") == "3.0.3" and chosen.is_displayed()


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_has_room_for_it(page: Chrome, dark: bool) -> None:
    resize(page, 400, 800, dark=dark)
    for view in ("graph", "costs", "layers", "findings"):
        click(page, f"nav [data-view='{view}']")
        assert ask(page, "document.documentElement.scrollWidth") <= 400
    backdrop = ask(page, "getComputedStyle(document.body).backgroundColor")
    assert (backdrop == "rgb(16, 19, 26)") is dark


def test_on_paper_everything_stands(page: Chrome) -> None:
    hidden = "document.querySelectorAll('.target[hidden], .view[hidden]').length"
    assert ask(page, hidden) > 0
    ask(page, "window.dispatchEvent(new Event('beforeprint'))")
    assert ask(page, hidden) == 0
    assert ask(page, "document.querySelector('.canvas').getAttribute('viewBox') !== null")
    assert page.find_elements("css selector", ".icicle .cell")
    ask(page, "window.dispatchEvent(new Event('afterprint'))")
    assert ask(page, hidden) > 0


def test_it_reads_without_scripts(browser: Chrome, broken: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, broken)
        shown = browser.find_element("css selector", "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "expects 4608 features, got 2048" in shown
    assert "got [8, 2048], expects [*, 4608]" in shown and "declared here" in shown
    assert "21,127,554" in shown and "stages.1.1–3 (×3)" in shown


def test_no_text_of_the_model_becomes_markup(browser: Chrome, tmp_path: Path) -> None:
    (tmp_path / "模型.py").write_text(HOSTILE, encoding="utf-8")
    path = write_page(
        tmp_path / "report.html", "模型.py:Net", "--input", "2,4", "--select", "ALL", cwd=tmp_path
    )
    opened(browser, path)
    assert browser.get_log("browser") == []
    assert ask(browser, "document.querySelectorAll('main b[onmouseover], img').length") == 0
    assert ask(browser, "document.scripts.length") == 2
    name = "</script><b onmouseover=alert(1)>"
    assert name in text(browser, ".canvas [data-way='0']")
    assert "</script><b>" in text(browser, ".canvas [data-way='0']")
    assert "宽度不对 </script><script>alert(1)</script>" in text(browser, "#findings")
    click(browser, ".canvas [data-way='0']")
    assert text(browser, ".details h3") == name
    for view in ("costs", "layers", "findings"):
        click(browser, f"nav [data-view='{view}']")
    assert name in text(browser, ".layers") and browser.get_log("browser") == []


def test_a_check_of_source_alone_has_findings_and_no_graph(browser: Chrome, tmp_path: Path) -> None:
    path = write_page(tmp_path / "report.html", "fixtures/missing_super_init")
    opened(browser, path)
    assert browser.get_log("browser") == []
    assert [tab.text.split()[0] for tab in browser.find_elements("css selector", "nav a")] == [
        "Findings"
    ]
    assert "super().__init__()" in text(browser, "#findings")
