"""The graph that a trace becomes: joins, folds, failures, what was never called, what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import traced_models
from torch import nn

import archcheck
from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport
from archcheck.output.graph.bodies import GIVEN, RESULT, Body, Node
from archcheck.output.graph.build import Graph
from archcheck.output.graph.mermaid import mermaid
from archcheck.output.graph.module_costs import Costs
from archcheck.output.graph.same_calls import Likeness
from archcheck.output.html.page_data import data_json


class Residual(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) + x


class Joins(nn.Module):
    """A gate, a concatenation, a product with a mere number, a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4)
        self.spare = nn.Sequential(nn.Linear(4, 9), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated = x * self.gate(x)
        return torch.cat((gated * 2, x), dim=1)


class Skipped(nn.Module):
    """Equal blocks, of which the first is read again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x = self.blocks[0](x)
        for block in self.blocks[1:]:
            x = block(x)
        return x + first


class Broken(nn.Module):
    """The second of three blocks does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Residual(), Residual(), Residual())
        self.blocks[1].linear = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


def graph_of(model: nn.Module, *shape: int) -> tuple[Graph, Report]:
    report = archcheck.check(model, input=shape)
    return Graph(report.targets[0], report.findings), report


def arrows(body: Body) -> set[tuple[int, int]]:
    return {(edge.source, edge.target) for edge in body.edges}


def named(body: Body, name: str) -> Node:
    return next(node for node in body.nodes if node.name == name)


def test_a_residual_is_seen_as_one() -> None:
    graph, _report = graph_of(Residual(), 2, 4)
    linear, relu, join = graph.root.nodes
    assert (linear.kind, relu.kind, join.kind) == ("layer", "operator", "sum")
    assert graph.root.given == ("x",)
    # The input goes through the layer, and around it.
    assert arrows(graph.root) == {(GIVEN, 0), (0, 1), (1, 2), (GIVEN, 2), (2, RESULT)}
    assert all(edge.shapes == ((2, 4),) for edge in graph.root.edges)
    assert linear.settings == "4 → 4" and linear.macs == 32 and linear.parameters == 20
    assert linear.body is None, "a layer of a single operator has no inside to show"


def test_joins_are_told_from_operators_on_one_value() -> None:
    graph, _report = graph_of(Joins(), 2, 4)
    kinds = [(node.name, node.kind) for node in graph.root.nodes]
    assert kinds == [
        ("gate", "layer"),
        ("mul", "product"),
        ("mul", "operator"),
        ("cat", "concatenation"),
    ]


def test_what_was_never_called_stands_apart() -> None:
    graph, _report = graph_of(Joins(), 2, 4)
    assert [(one.name, one.type, one.parameters) for one in graph.root.idle] == [
        ("spare", "Sequential", 45)
    ]


def test_equal_blocks_fold_and_are_one_body() -> None:
    model = nn.Sequential(*(Residual() for _ in range(5)), Residual(), nn.Linear(4, 3))
    graph, _report = graph_of(model, 2, 4)
    assert graph.root.folds == ((0, 6),)
    assert len({id(node.body) for node in graph.root.nodes[:6]}) == 1
    nodes, edges = graph.root.folded()
    assert nodes == [(0, 6), (6, 1)]
    assert {(edge.source, edge.target) for edge in edges} == {(GIVEN, 0), (0, 6), (6, RESULT)}


def test_a_block_that_is_read_again_later_is_not_folded() -> None:
    graph, _report = graph_of(Skipped(), 2, 4)
    assert graph.root.folds == ((1, 2),)


def test_a_failure_shows_what_arrived_and_what_follows() -> None:
    graph, report = graph_of(Broken(), 2, 4)
    blocks = graph.root.nodes[0]
    assert blocks.holds_failure and not blocks.trouble and not blocks.follows
    assert blocks.body is not None and blocks.body.folds == ()
    first, second, third = blocks.body.nodes
    assert not first.holds_failure and second.holds_failure and third.follows
    assert second.body is not None
    failed = named(second.body, "linear")
    assert failed.trouble == ("got [2, 4]", "expects [*, 5]") and failed.codes == ("AC201",)
    assert graph.way_to_failure == (0, 1, 0)
    assert [graph.way_to(finding) for finding in report.findings] == [(0, 1, 0)]


def test_a_layer_called_twice_says_so() -> None:
    graph, _report = graph_of(traced_models.Twice(), 2, 4)
    turns = [(node.turn, node.turns) for node in graph.root.nodes if node.kind == "layer"]
    assert turns == [(1, 2), (2, 2)]


class Tied(nn.Module):
    """An output layer that takes its weight from the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(9, 4)
        self.out = nn.Linear(4, 9)
        self.out.weight = self.tokens.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.out(self.tokens(x))
        return hidden


def test_tied_parameters_say_whose_they_are() -> None:
    report = archcheck.check(Tied(), input=torch.zeros(2, 3, dtype=torch.int64))
    tokens, out = Graph(report.targets[0], report.findings).root.nodes
    assert (tokens.tied, out.tied) == ((), ("weight is tokens.weight",))


class Refuses(nn.Module):
    """Raises by itself, after one of its two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))
        self.never = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        raise ValueError("five `wide` it must be")


@pytest.mark.slow
def test_a_pass_that_stops_shows_why_and_what_it_did_not_reach() -> None:
    graph, _report = graph_of(nn.Sequential(Refuses(), nn.ReLU()), 2, 4)
    (failed,) = graph.root.nodes
    assert failed.trouble == ("ValueError: five wide it must be",)
    assert [one.name for one in graph.root.idle] == ["1"]
    assert failed.body is not None and [one.name for one in failed.body.idle] == ["never"]
    assert graph.way_to_failure == (0,)


def test_an_identity_is_on_the_way() -> None:
    graph, _report = graph_of(nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.ReLU()), 2, 4)
    assert arrows(graph.root) == {(GIVEN, 0), (0, 1), (1, 2), (2, RESULT)}


def test_a_shared_layer_is_named_by_its_own_path() -> None:
    graph, _report = graph_of(traced_models.Parents(), 2, 4)
    right = named(graph.root, "right")
    assert [node.name for node in graph.root.nodes if node.kind == "layer"] == ["left", "right"]
    assert right.parameters == 20 and right.kind == "layer"


def test_a_norm_that_counts_its_batches_is_one_operator() -> None:
    graph, _report = graph_of(nn.Sequential(nn.BatchNorm1d(4)), 2, 4)
    assert graph.root.nodes[0].body is None


MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "residual": (Residual(), (2, 4)),
    "joins": (Joins(), (2, 4)),
    "skipped": (Skipped(), (2, 4)),
    "twice": (traced_models.Twice(), (2, 4)),
    "parents": (traced_models.Parents(), (2, 4)),
    "recursive": (traced_models.Recursive(), (2, 4)),
    "alternating": (
        nn.Sequential(*(nn.Sequential(Residual(), nn.Dropout(0.1 * (n % 2))) for n in range(6))),
        (2, 4),
    ),
    "transformer": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3),
        (2, 5, 8),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_repeated_calls_are_drawn_as_if_each_were_made(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shape = MODELS[name]
    graph, report = graph_of(model, *shape)
    short = data_json(report, [graph])
    monkeypatch.setattr(Likeness, "original", lambda _self, call: call)
    assert data_json(report, [Graph(report.targets[0], report.findings)]) == short


@pytest.mark.parametrize("name", MODELS)
def test_the_costs_of_all_modules_add_up(name: str) -> None:
    model, shape = MODELS[name]
    _graph, report = graph_of(model, *shape)
    target, trace = report.targets[0], report.targets[0].trace
    costs = Costs(target).modules()
    assert target.params is not None
    assert sum(one.parameters for one in costs) == target.params.total
    assert sum(one.macs for one in costs) == trace.macs
    made = sum(step.made for step in Costs(target).steps())
    assert made == sum(one.activation_bytes for one in costs)
    root = trace.modules[0]
    # A module that calls itself counts in each of its calls what ran in the others.
    assert len(root.calls) > 1 or made == root.activation_bytes


def along(target: TargetReport) -> list[tuple[Any, ...]]:
    return [(step.channels, step.spatial, step.made) for step in Costs(target).steps()]


def test_the_strip_tells_channels_from_sizes() -> None:
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    _graph, report = graph_of(convolutions, 2, 3, 9, 9)
    # 2 x 8 x 4 x 4 elements of 4 bytes, twice, then 2 x 8.
    assert along(report.targets[0]) == [
        (8, (4, 4), 1024),
        (8, (4, 4), 1024),
        (8, (1, 1), 64),
    ]
    tokens = nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 5))
    _graph, report = graph_of(tokens, 2, 7, 6)
    assert along(report.targets[0]) == [(6, (7,), 336), (6, (7,), 336), (5, (7,), 280)]


def test_mermaid_marks_what_failed() -> None:
    graph, _report = graph_of(Broken(), 2, 4)
    lines = mermaid(graph.root)
    assert lines[0] == "flowchart TD"
    assert '  node0["blocks<br>Sequential"]' in lines and "  class node0 failed" in lines
    assert '  given0 -->|"2×4"| node0' in lines


def test_mermaid_shows_text_and_runs_none() -> None:
    hostile = '</b>" `x` #quot; %%{init}%% end; | {a}'
    body = Body((Node("layer", hostile, "中文"),), (), (), (), ())
    shown = mermaid(body)[1]
    # The only quotes are those around the text, and all else that Mermaid reads is an entity.
    text = shown.removeprefix('  node0["').removesuffix('"]')
    assert "中文" in text and not set('<>"`%{}|&') & set(text.replace("<br>", ""))


def test_mermaid_leaves_out_what_is_not_small() -> None:
    node = Node("operator", "relu", "relu")
    assert mermaid(Body((node,) * 41, (), (), (), ())) == []
