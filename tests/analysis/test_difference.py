"""What changed between two architectures."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from archcheck.analysis.architectures.difference import ModelDifference, compare
from archcheck.evidence.architecture import Architecture, ArchitectureLayer


def architecture(*layers: ArchitectureLayer) -> Architecture:
    parameters = sum(layer.parameters for layer in layers)
    return Architecture(
        target="net.py:Net",
        mode="train",
        inputs=("x=2,8",),
        outputs=("[2, 8]",),
        parameters=parameters,
        trainable=parameters,
        macs=sum(layer.macs for layer in layers),
        flops=0,
        peak_activation_bytes=0,
        layers=layers,
    )


def model(**types: str) -> Architecture:
    """Layers by path (`_` for a dot), each `Type` or `Type width`; a width is 8 parameters wide."""
    layers = [ArchitectureLayer("", "Net")]
    for path, text in types.items():
        type, _, width = text.partition(" ")
        count = int(width or 0)
        layers.append(
            ArchitectureLayer(
                path.strip("_").replace("_", "."),
                type,
                settings=f"width={count}" if count else "",
                output=f"[2, {count}]" if count else "",
                parameters=8 * count,
                macs=16 * count,
            )
        )
    return architecture(*layers)


def told(difference: ModelDifference) -> list[tuple[object, ...]]:
    return [
        (one.kind, one.places, one.origins, one.layers, one.parameters)
        for one in difference.changes
    ]


def test_the_same_architecture_has_no_difference() -> None:
    net = model(first="Linear 4", act="ReLU")
    difference = compare(net, replace(net, flops=7, peak_activation_bytes=9))
    assert (difference.state, difference.changes) == ("same", ())


def test_layers_added_removed_resized_and_replaced() -> None:
    before = model(first="Linear 4", act="ReLU", gone="Linear 2", last="Linear 3")
    after = model(first="Linear 5", act="GELU", last="Linear 3", new="LayerNorm 1")
    assert told(compare(before, after)) == [
        ("resized", ("first",), (), 1, 8),
        ("replaced", ("act",), (), 1, 0),
        ("removed", ("gone",), (), 1, -16),
        ("added", ("new",), (), 1, 8),
    ]


def test_a_subtree_is_one_entry() -> None:
    block = {"block_conv": "Conv2d 4", "block_norm": "BatchNorm2d 4", "block_act": "ReLU"}
    before = model(first="Linear 4", block="Block", **block)
    difference = compare(before, model(first="Linear 4"))
    assert told(difference) == [("removed", ("block",), (), 4, -64)]
    assert difference.changes[0].macs == -128


def test_a_layer_put_into_a_sequence_renumbers_those_behind_it() -> None:
    before = model(net="Sequential", net_0="Linear 4", net_1="ReLU", net_2="Linear 4")
    after = model(
        net="Sequential", net_0="Linear 4", net_1="LayerNorm 4", net_2="ReLU", net_3="Linear 4"
    )
    assert told(compare(before, after)) == [
        ("added", ("net.1",), (), 1, 32),
        ("moved", ("net.2", "net.3"), ("net.1", "net.2"), 2, 0),
    ]


def test_a_renamed_attribute_is_moved() -> None:
    before = model(first="Linear 4", fc="Linear 9")
    after = model(first="Linear 4", head="Linear 9")
    assert told(compare(before, after)) == [("moved", ("head",), ("fc",), 1, 0)]


def test_a_subtree_that_went_elsewhere_is_moved_and_not_lost() -> None:
    before = model(body="Body", body_conv="Conv2d 4", body_norm="BatchNorm2d 4", head="Linear 3")
    after = model(
        wrapper="Wrapper",
        wrapper_body="Body",
        wrapper_body_conv="Conv2d 4",
        wrapper_body_norm="BatchNorm2d 4",
        head="Linear 3",
    )
    assert told(compare(before, after)) == [
        ("added", ("wrapper",), (), 1, 0),
        ("moved", ("wrapper.body",), ("body",), 3, 0),
    ]


def test_registration_in_another_order_is_no_move() -> None:
    before = model(first="Linear 4", act="ReLU", last="Linear 3")
    difference = compare(before, model(act="ReLU", last="Linear 3", first="Linear 4"))
    assert difference.changes == ()
    assert difference.state == "same"


def test_the_same_change_in_each_block_is_one_entry() -> None:
    def stack(width: int) -> Architecture:
        blocks = {f"blocks_{n}_fc": f"Linear {width}" for n in range(3)}
        holders = {f"blocks_{n}": "Block" for n in range(3)}
        layers = dict(sorted({**blocks, **holders}.items()))
        return model(blocks="ModuleList", **layers)

    assert told(compare(stack(2), stack(3))) == [
        ("resized", tuple(f"blocks.{n}.fc" for n in range(3)), (), 3, 24)
    ]


def test_what_only_follows_comes_last() -> None:
    before = model(a="Linear 4", b="Linear 4")
    layers = list(before.layers)
    layers[1] = replace(layers[1], output="[2, 5]")
    layers[2] = replace(layers[2], settings="width=5", parameters=40)
    difference = compare(before, architecture(*layers))
    assert [change.kind for change in difference.changes] == ["resized", "follows"]


def test_a_skip_that_is_gone_is_a_rewiring() -> None:
    before = model(a="Linear 4")
    root, *rest = before.layers
    with_skip = architecture(replace(root, operators="add"), *rest)
    (change,) = compare(with_skip, before).changes
    assert (change.kind, change.places) == ("rewired", ("",))


def test_another_class_around_the_same_layers_is_one_replaced_layer() -> None:
    before = model(block="Old", block_a="Linear 4", block_b="Linear 4")
    after = model(block="New", block_a="Linear 4", block_b="Linear 4")
    assert told(compare(before, after)) == [("replaced", ("block",), (), 1, 0)]
    other = model(block="New", block_c="LayerNorm 2")
    assert told(compare(before, other)) == [("replaced", ("block",), (), 3, 16 - 64)]


def test_thousands_of_neighbours_are_paired_by_their_numbers() -> None:
    def experts(width: int) -> Architecture:
        return model(list="ModuleList", **{f"list_{n}": f"Linear {width}" for n in range(2000)})

    (change,) = compare(experts(2), experts(3)).changes
    assert (change.kind, change.layers, change.parameters) == ("resized", 2000, 16_000)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Trees of a few layers, with names and types that often coincide."""
    layers = [ArchitectureLayer("", "Net", parameters=draw(st.integers(0, 2)))]
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(layers))
        name = draw(st.sampled_from(["0", "1", "2", "fc", "act"]))
        path = f"{parent.path}.{name}".strip(".")
        if path in {layer.path for layer in layers}:
            continue
        width = draw(st.integers(0, 2))
        layers.append(
            ArchitectureLayer(
                path,
                draw(st.sampled_from(["Linear", "ReLU"])),
                settings=f"width={width}",
                output=f"[{draw(st.integers(1, 2))}]",
                parameters=3 * width,
                macs=draw(st.integers(0, 2)),
            )
        )
    return architecture(*layers)


@settings(deadline=None)
@given(architectures(), architectures())
def test_the_entries_add_up_to_the_difference_of_the_totals(
    before: Architecture, after: Architecture
) -> None:
    difference = compare(before, after)
    assert sum(one.parameters for one in difference.changes) == after.parameters - before.parameters
    assert sum(one.macs for one in difference.changes) == after.macs - before.macs
    kept = len(after.layers) - sum(one.layers for one in difference.changes if one.kind == "added")
    assert kept >= 0
    if difference.state == "same":
        assert difference.changes == ()


@settings(deadline=None)
@given(architectures())
def test_nothing_changed_between_an_architecture_and_itself(one: Architecture) -> None:
    assert compare(one, one).changes == ()
