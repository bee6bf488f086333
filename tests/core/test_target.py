"""Targets and inputs, as the user writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcheck.core.target import InputSpec, Target, UsageError, parse_input, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net.py:Net", ("net.py", True, "Net", None, None)),
        ("a/b c/net.py:Net", ("a/b c/net.py", True, "Net", None, None)),
        ("net.py:Net()", ("net.py", True, "Net", "", None)),
        (
            'net.py:Net(num_classes=10, act="re:lu")',
            ("net.py", True, "Net", 'num_classes=10, act="re:lu"', None),
        ),
        (
            "net.py:ResNet(Block, [3, 4], nn.ReLU, make(-1))",
            ("net.py", True, "ResNet", "Block, [3, 4], nn.ReLU, make(-1)", None),
        ),
        ("notes.md:331:Block", ("notes.md", True, "Block", None, 331)),
        ("notes.md:331:Block(16, 16)", ("notes.md", True, "Block", "16, 16", 331)),
        ("package.module:Net", ("package.module", False, "Net", None, None)),
        ("module:zoo.Net", ("module", False, "zoo.Net", None, None)),
        (r"C:\models\net.py:Net", (r"C:\models\net.py", True, "Net", None, None)),
        ("C:/models/net.py:12:Net", ("C:/models/net.py", True, "Net", None, 12)),
        ("book.ipynb:netz_größe", ("book.ipynb", True, "netz_größe", None, None)),
        ("models/net:Net", ("models/net", True, "Net", None, None)),
    ],
)
def test_a_named_model(text: str, expected: tuple[object, ...]) -> None:
    place, is_file, name, call, line = expected
    assert parse_target(text) == Target(text, place, is_file, name, call, line)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["src/", "net.py", "notes.md", ".", r"C:\models\net.py", "C:/models", "-", "models"]
)
def test_a_plain_path_names_no_model(text: str) -> None:
    assert parse_target(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("net.py:", "names no model"),
        ("net.py:12", "names no model"),
        ("net.py:Net(", "not closed"),
        ("net.py:Net[0]", "literal arguments"),
        ("net.py:Net(1 + 1)", "`1 + 1` is no literal"),
        ("net.py:Net(lambda: 1)", "is no literal"),
        ("net.py:Net([i for i in x])", "is no literal"),
        ("net.py:Net(*x)", "is no literal"),
        ("net.py:Net(**x)", "is no literal"),
        ("net.py:Net(().__class__)", "is no literal"),
        ("net.py:Net(f'{x}')", "is no literal"),
        ("net.py:Net(1)(2)", "do not parse"),
        ("net.py:Net(num_classes=)", "do not parse"),
    ],
)
def test_a_wrong_target_is_told_in_one_line(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8,3,224,224", InputSpec(((8, 3, 224, 224),))),
        (" 8, 3 ", InputSpec(((8, 3),))),
        ("(8, 3,)", InputSpec(((8, 3),))),
        ("ids=8,128:int64", InputSpec(((8, 128),), "int64", "ids")),
        ("ids=8,128:torch.long", InputSpec(((8, 128),), "int64", "ids")),
        ("B,3,H,W", InputSpec((("B", 3, "H", "W"),))),
        ("step=():int64", InputSpec(((),), "int64", "step")),
        (
            "images=[3,800,800;3,600,900]",
            InputSpec(((3, 800, 800), (3, 600, 900)), None, "images", nested=True),
        ),
        ("[3,8;3,9]:float16", InputSpec(((3, 8), (3, 9)), "float16", nested=True)),
        (
            "batch={image=8,3,32,32;mask=8,32,32:bool}",
            InputSpec(
                ((8, 3, 32, 32), (8, 32, 32)),
                name="batch",
                nested=True,
                keys=("image", "mask"),
                dtypes=(None, "bool"),
            ),
        ),
    ],
)
def test_an_input(text: str, expected: InputSpec) -> None:
    assert parse_input(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("8,3,x,", "a size is missing"),
        ("0,3,224", "`0` is no size"),
        ("-1", "`-1` is no size"),
        ("", "a size is missing"),
        ("8x3x224x224", "`8,3,224,224`"),
        ("8,3.5", "`3.5` is no size"),
        ("2B,3", "`B,3`"),
        ("B,T + 1,3", "`B,T,3`"),
        ("x=B,(T)/2", "`x=B,T`"),
        ("8,3:float31", "no dtype"),
        ("my image=8,3", "no parameter's name"),
        ("[8,3", "no size"),
        ("[8,3}", "not closed"),
        ("batch={8,3}", "a dict of tensors"),
        ("99999999999999999999", "no size"),
    ],
)
def test_a_wrong_input_is_told_in_one_line(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="aB:./\\ ()[]{}=,;0123x'\"-*ü\n", max_size=30))
def test_any_text_is_a_target_a_path_or_a_usage_error(text: str) -> None:
    for read in (parse_target, parse_input):
        try:
            read(text)
        except UsageError:
            continue


def test_a_tensor_without_dimensions_needs_no_size() -> None:
    assert parse_input("t=:int64") == parse_input("t=():int64")
