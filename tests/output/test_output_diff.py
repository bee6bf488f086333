"""A difference of architectures as text, Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from test_difference import architecture, architectures, model

from archcheck.analysis.architectures.difference import Difference, ModelDifference, compare
from archcheck.analysis.architectures.difference_text import places_text
from archcheck.evidence.architecture import ArchitectureLayer
from archcheck.output.diff import FORMATS, render

BEFORE = model(
    stem="Linear 4",
    blocks="ModuleList",
    blocks_0="Linear 4",
    blocks_1="Linear 4",
    blocks_2="Linear 4",
    act="ReLU",
    fc="Linear 100",
)
AFTER = model(
    stem="Linear 5",
    blocks="ModuleList",
    blocks_0="Linear 4",
    act="GELU",
    head="Linear 100",
)
DIFFERENCE = Difference(
    "main",
    "the working tree",
    (
        compare(BEFORE, replace(AFTER, outputs=("[2, 9]",), peak_activation_bytes=2048)),
        compare(replace(AFTER, target="same.py:Net"), replace(AFTER, target="same.py:Net")),
        ModelDifference(None, replace(AFTER, target="new.py:Net")),
        ModelDifference(replace(AFTER, target="old.py:Net"), None),
    ),
    ("broken.py:Net cannot be compared: in main, it raised",),
)

# 4 of 5 layers have 8 parameters and 16 MACs for each unit of their width.
TEXT = """\
main → the working tree

net.py:Net: 2 layers removed, 1 replaced, 1 resized, 1 moved

                                        Parameters  MACs
~ stem        width 4 → 5                       +8   +16
- blocks.1–2  2 × Linear(width=4)              -64  -128
~ act         ReLU → GELU
> head        was fc

Outputs           [2, 8] → [2, 9]
Parameters          928 →      872  -6.0 %
MACs (fvcore)     1,856 →    1,744  -6.0 %
Peak activations    0 B → 2.00 KiB     new

same.py:Net: as it was

new.py:Net: new: 6 layers, 872 parameters, 1.74 k MACs

old.py:Net: gone: 6 layers, 872 parameters, 1.74 k MACs

3 of 4 models differ; 1 not compared
"""


def test_text() -> None:
    assert render(DIFFERENCE, "text", width=80) == TEXT
    assert "\x1b[32m" not in render(DIFFERENCE, "text", width=80)
    assert "\x1b[31m- blocks.1–2" in render(DIFFERENCE, "text", width=80, color=True)


def test_nothing_changed() -> None:
    same = Difference("a", "b", (compare(BEFORE, BEFORE),))
    assert render(same, "text").endswith("No difference (1 model)\n")
    assert (same.is_empty, same.exit_code) == (True, 0)
    assert replace(same, unknown=("x",)).exit_code == 1
    assert replace(same, usage_errors=("x",)).exit_code == 2


def test_markdown() -> None:
    text = render(DIFFERENCE, "markdown")
    assert text.startswith("### Architecture: 3 of 4 models differ; 1 not compared\n")
    assert "| Parameters | 928 | 872 | -6.0 % |" in text
    assert "| ➖ | `blocks.1–2` | 2 × Linear(width=4) | -64 | -128 |" in text  # noqa: RUF001
    assert "- broken.py:Net cannot be compared: in main, it raised" in text


def test_markdown_fits_a_comment() -> None:
    layers = [ArchitectureLayer(f"layer{n}", f"Type{n}", "x" * 600) for n in range(200)]
    change = compare(model(), architecture(ArchitectureLayer("", "Net"), *layers))
    text = render(Difference("a", "b", (change,)), "markdown")
    assert len(text) < 65_536
    assert "more" in text


def test_json() -> None:
    document = json.loads(render(DIFFERENCE, "json"))
    assert document["version"] == 1
    first, same, new, old = document["models"]
    assert [one["state"] for one in (first, same, new, old)] == [
        *("changed", "same", "added", "removed")
    ]
    assert (first["before"]["parameters"], first["after"]["parameters"]) == (928, 872)
    assert sum(change["parameters"] for change in first["changes"]) == 872 - 928
    assert (new["before"], old["after"]) == (None, None)
    (moved,) = [change for change in first["changes"] if change["kind"] == "moved"]
    assert (moved["places"], moved["origins"]) == (["head"], ["fc"])


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["fc"], "fc"),
        (["layers.0.fc", "layers.1.fc", "layers.2.fc"], "layers.0–2.fc"),
        (["layers.1.fc", "layers.4.fc"], "layers.{1,4}.fc"),
        ([f"a.{n}" for n in (0, 2, 4, 6, 8)], "a.*"),
        (["a.0.b.1", "a.1.b.0"], "a.*.b.*"),
        (["conv1", "conv2"], "conv1, conv2"),
        (["a.b", "a"], "a.b, a"),
    ],
)
def test_several_places_in_one(paths: list[str], text: str) -> None:
    assert places_text(paths) == text


@settings(deadline=None)
@given(architectures(), architectures(), st.integers(40, 200))
def test_every_format_shows_any_difference(before: object, after: object, width: int) -> None:
    difference = Difference("a", "b", (compare(before, after),))  # type: ignore[arg-type]
    for format in FORMATS:
        assert render(difference, format, width=width).endswith("\n")
    assert max(map(cell_len, render(difference, "text", width=width).splitlines())) <= max(
        width, 70
    )
