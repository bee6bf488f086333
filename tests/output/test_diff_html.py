"""The page of a difference: both architectures side by side, all figures adding up."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.analysis.architectures.difference import Difference, compare
from archcheck.evidence.architecture import Architecture, ArchitectureLayer
from archcheck.output.diff import render
from archcheck.output.diff.pairs import Pair, effects, pairs, shown

HOSTILE = "</td><script>alert(1)</script>"


def model(*layers: tuple[str, str, int]) -> Architecture:
    """Layers by path, type and width; a width is 8 parameters and 16 MACs wide."""
    made = [ArchitectureLayer("", "Net")]
    for path, type, width in layers:
        made.append(
            ArchitectureLayer(
                path,
                type,
                settings=f"in_features=8, out_features={width}" if width else "",
                output=f"[2, {width}]",
                parameters=8 * width,
                macs=16 * width,
            )
        )
    return Architecture(
        target="net.py:Net",
        mode="train",
        inputs=("x=2,8",),
        outputs=("[2, 8]",),
        parameters=sum(layer.parameters for layer in made),
        trainable=0,
        macs=sum(layer.macs for layer in made),
        flops=0,
        peak_activation_bytes=0,
        layers=tuple(made),
    )


def blocks(count: int, width: int) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        layer
        for number in range(count)
        for layer in ((f"blocks.{number}", "Block", 0), (f"blocks.{number}.fc", "Linear", width))
    )


def told(pair: Pair) -> list[tuple[int, str, str, int]]:
    return [(depth, one.fate, one.name, one.times) for depth, _times, one in shown(pair)]


def test_layers_stand_beside_what_they_were() -> None:
    before = model(("first", "Linear", 4), ("act", "ReLU", 0), ("head", "Linear", 2))
    after = model(("first", "Linear", 4), ("drop", "Dropout", 0), ("head", "Linear", 3))
    assert told(pairs(before, after)) == [
        (0, "same", "", 1),
        (1, "same", "first", 1),
        (1, "added", "drop", 1),
        (1, "removed", "act", 1),
        (1, "resized", "head", 1),
    ]


def test_equal_blocks_are_one_row_and_untouched_ones_are_closed() -> None:
    holder = ("blocks", "ModuleList", 0)
    pair = pairs(model(holder, *blocks(5, 4)), model(holder, *blocks(3, 4)))
    assert told(pair) == [
        (0, "same", "", 1),
        (1, "same", "blocks", 1),
        (2, "same", "0", 3),
        (2, "removed", "3", 2),
        (3, "removed", "fc", 1),
    ]


def test_the_same_change_in_each_block_is_one_row() -> None:
    holder = ("blocks", "ModuleList", 0)
    pair = pairs(model(holder, *blocks(4, 4)), model(holder, *blocks(4, 6)))
    assert told(pair)[2:] == [(2, "same", "0", 4), (3, "resized", "fc", 1)]


names = st.sampled_from(["a", "b", "blocks", "blocks.0", "blocks.1", "blocks.2", "blocks.1.fc"])
layers = st.lists(
    st.tuples(names, st.sampled_from(["Linear", "Block"]), st.integers(0, 3)),
    unique_by=lambda layer: layer[0],
    max_size=7,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=layers, after=layers)
def test_the_figures_of_all_rows_add_up_to_the_difference(
    before: list[tuple[str, str, int]], after: list[tuple[str, str, int]]
) -> None:
    old, new = model(*sorted(before)), model(*sorted(after))
    rows = [(times, effects(pair)) for _depth, times, pair in shown(pairs(old, new))]
    assert sum(times * parameters for times, (parameters, _macs) in rows) == (
        new.parameters - old.parameters
    )
    assert sum(times * macs for times, (_parameters, macs) in rows) == new.macs - old.macs


def page_of(*models: tuple[Architecture, Architecture]) -> str:
    compared = tuple(compare(before, after) for before, after in models)
    return render(Difference("archcheck.lock", "the working tree", compared), "html")


def test_the_page_shows_both_sides_and_marks_what_differs() -> None:
    page = page_of((model(("head", "Linear", 2)), model(("head", "Linear", 3))))
    assert page.count("<mark>out_features=") == 2 and "<mark>in_features" not in page
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert "archcheck.lock" in text and "the working tree" in text
    assert "16 → 24 +50 %" in text and "1 of 1 model differs" in text
    assert "<script" not in page and "default-src 'none'" in html.unescape(page)


def test_models_that_come_go_and_stay() -> None:
    net = model(("head", "Linear", 2))
    models = (replace(compare(net, net), before=None), replace(compare(net, net), after=None))
    page = render(Difference("a", "b", (*models, compare(net, net)), unknown=("x: y",)), "html")
    assert page.count('<tr class="added">') == page.count('<tr class="removed">') == 2
    assert "as it was" in page and "Not compared" in page


def test_no_name_becomes_markup() -> None:
    hostile = model((HOSTILE, HOSTILE, 2))
    other = model((HOSTILE, "Linear", 3))
    page = page_of((replace(hostile, target=HOSTILE), replace(other, target=HOSTILE)))
    assert "<script" not in page and page.count(html.escape(HOSTILE)) >= 4
