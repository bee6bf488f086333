"""The arithmetic of shapes, the shapes that comments state, the sizes that files imply."""

from __future__ import annotations

from pathlib import Path

import pytest
from archcheck.rules.shapes._implied_sizes import example_shapes, implied, written_sizes
from archcheck.rules.shapes._matrix_products import (
    attention_clash,
    clash,
    einsum_clash,
    transposed_fits,
)
from archcheck.rules.shapes._windows import Window, output_sizes
from hypothesis import given
from hypothesis import strategies as st

from archcheck.analysis.shapes.arithmetic import broadcast, clashes, flattened, spatial_for, text
from archcheck.analysis.shapes.batch_axis import mixed
from archcheck.analysis.shapes.shape_comments import claims, misfit
from archcheck.python import Project
from archcheck.python.documents.read import read_document

ROOT = Path(__file__).parents[2]


def test_broadcasting() -> None:
    assert broadcast((8, 1), (8,)) == (8, 8)
    assert broadcast((2, 1, 4), (3, 1)) == (2, 3, 4)
    assert broadcast((), (3,)) == (3,)
    assert broadcast((2, 3), (2,)) is None
    assert clashes((2, 32, 14, 14), (2, 16, 14, 7)) == (-1, -3)
    assert text(()) == "[]"


@pytest.mark.parametrize(
    ("features", "like", "expected"),
    [
        (4608, (512, 2, 2), (3, 3)),
        (2048, (512, 3, 3), (2, 2)),
        (4608, (500, 2, 2), None),  # no multiple of the channels
        (512 * 6, (512, 2, 2), None),  # no square
        (512 * 6, (512, 4, 6), (2, 3)),
        (64 * 27, (64, 2, 2, 2), (3, 3, 3)),
        (640, (64, 7), (10,)),
        (640, (64,), None),
    ],
)
def test_maps_that_have_so_many_elements(features, like, expected) -> None:
    assert spatial_for(features, like) == expected


def test_words_for_a_flattened_width() -> None:
    assert flattened(2048, (512, 2, 2)) == "2048 is 512 channels of 2 x 2"
    assert flattened(70, (1, 70)) == "70 is 1 channel of length 70"


def test_what_windows_leave() -> None:
    # torch: floor((n + 2p - d(k - 1) - 1) / s) + 1
    assert output_sizes((7, 1), Window((2, 2), (2, 2), (0, 0))) == (3, 0)
    assert output_sizes((224,), Window((7,), (2,), (3,))) == (112,)
    assert output_sizes((4,), Window((4,), (2,), (1,), transposed=True)) == (8,)


@pytest.mark.parametrize(
    ("before", "after", "axis", "mixes"),
    [
        ((8, 4608), (18, 2048), 0, True),
        ((8, 4608), (16, 2304), 0, False),  # halves of samples: a fold
        ((8, 6, 32), (48, 32), 0, False),
        ((48, 32), (8, 6, 32), 0, False),
        ((8, 64, 4, 4), (1, 512, 4, 4), 0, False),  # grouped convolution over the batch
        ((8, 64), (2, 4, 64), 0, False),
        ((8, 64), (512,), 0, False),
        ((8, 3), (3, 8), 0, True),
        ((12, 8, 24), (8, 288), 1, True),
        ((12, 8, 24), (96, 24), 1, False),
        ((12, 8, 24), (12, 24, 8), 1, False),
        ((8, 8, 24), (8, 192), 1, False),  # cannot be told from the other way round
    ],
)
def test_reshapes_and_samples(before, after, axis, mixes) -> None:
    assert (mixed(before, after, axis) is not None) == mixes


def test_products() -> None:
    assert clash((2, 10, 32), (2, 32, 5)) is None
    assert clash((10, 32), (32,)) is None
    assert clash((2, 10, 32), (2, 10, 32)) == "the inner sizes 32 and 10 differ"
    assert "broadcast" in str(clash((4, 8, 16), (6, 16, 8)))
    assert transposed_fits((2, 10, 32), (2, 10, 32))
    assert not transposed_fits((2, 10, 32), (2, 5, 6))
    assert "widths" in attention_clash((2, 10, 32), (2, 7, 48), (2, 7, 32))
    assert "lengths" in attention_clash((2, 10, 32), (2, 7, 32), (2, 8, 32))
    assert einsum_clash("ij,jk->ik", ((2, 3), (3, 4))) is None
    assert einsum_clash("ij,jk->ik", ((2, 3), (5, 4))) == (
        "`j` is 3 in one operand and 5 in another"
    )
    assert "2 dimensions of 3" in str(einsum_clash("ij->i", ((2, 3, 4),)))
    assert einsum_clash("...ij->i", ((2, 3, 4),)) is None


# Comments -------------------------------------------------------------------------------


def stated(comment: str) -> list[list[int | str | None]]:
    return [
        [d.number if d.number is not None else d.name for d in claim.dimensions]
        for claim in claims(comment)
    ]


@pytest.mark.parametrize(
    ("comment", "shape"),
    [
        ("# [bs , 64 , 56 , 56 ] the stem", ["bs", 64, 56, 56]),
        ("# (B, C, H, W)", ["B", "C", "H", "W"]),
        ("# B x 64 x 56 x 56", ["B", 64, 56, 56]),
        ("# Bx64x56x56", ["B", 64, 56, 56]),
        ("# torch.Size([8, 64])", [8, 64]),
        ("# -> 8×512", [8, 512]),
        ("# x: [N, 512]", ["N", 512]),
        ("# [bs , 2048 ] flattened", ["bs", 2048]),
        ("# shape = (8, 10)", [8, 10]),
        ("# [B, T, C] -> [B, C, T]", ["B", "C", "T"]),
        ("# 64x7x7", [64, 7, 7]),
        ("# [B, 2*C, H//2, w/stride]", ["B", None, None, None]),
        ("# (B, ..., 64)", ["B", None, 64]),
        ("# 输出\uff08batch_size\uff0c16\uff0c14\uff0c14\uff09", ["batch_size", 16, 14, 14]),
        ("# 输出(batch_size,32*7*7)", ["batch_size", 1568]),
        ("# shape = [*, grid ** 2 + 1, width]", [None, None, "width"]),
        ("# [80, 64, hw, 5, 5] --> [80, 64, hw, 1, 1]", [80, 64, "hw", 1, 1]),
        ("# (b * t, c)", [None, "c"]),
    ],
)
def test_shapes_that_comments_state(comment: str, shape: list[int | str | None]) -> None:
    assert stated(comment) == [shape]


@pytest.mark.parametrize(
    "comment",
    [
        "# 3x3 convolution, stride 2",
        "# see [1] and (2)",
        "# values in [0, 1], or (0.5, 1.5)",
        "# f(x, y) and table[i, j]",
        "# (Vaswani, 2017)",
        "# (if not causal, then this is skipped)",
        "# 64 * 7 * 7",
        "# B, N, C",
        "# resized to 224 x 224",
        "# [",
        "# 8x512",
        "# [bs x seq_len x classes] -> [bs*seq_len x classes]",
        "# (B, N, C) -> scalar",
        "# output: 6 channels, 15 x 15",
        "# heads x chunks x window x (hidden + window + 1)",
    ],
)
def test_comments_that_state_no_shape(comment: str) -> None:
    assert stated(comment) == []


def test_a_product_in_a_shape_says_nothing_but_the_rest_does() -> None:
    assert stated("# [batch_size, seq_length, 3 x hidden_size]") == [
        ["batch_size", "seq_length", None]
    ]


def test_names_bind_once() -> None:
    names: dict[str, int] = {}
    (first,) = claims("# (B, T, C)")
    assert misfit(first, (2, 10, 32), names) == ()
    assert names == {"B": 2, "T": 10, "C": 32}
    (swapped,) = claims("# (B, C, T)")
    assert misfit(swapped, (2, 10, 32), names) == ((1, 10), (2, 32))
    (fresh,) = claims("# (B, T, D)")
    assert misfit(fresh, (2, 10, 64), names) == ()
    (square,) = claims("# (B, n, n)")
    assert misfit(square, (2, 9, 10), names) == ((2, 10),)
    assert "n" not in names
    (flat,) = claims("# (B, T)")
    assert misfit(flat, (2, 10, 32), names) is None
    (spread,) = claims("# (B, ..., 32)")
    assert misfit(spread, (2, 3, 4, 32), names) == ()
    assert misfit(spread, (2, 3, 4, 16), names) == ((2, 16),)


@given(st.text(alphabet="#[](){},x×*/-> 0123456789BTCHWabn.:_=torchSize\n'", max_size=60))
def test_no_comment_breaks_the_reading(comment: str) -> None:
    for claim in claims(comment):
        assert comment[claim.start : claim.end]
        for dimension in claim.dimensions:
            at = dimension.start
            assert comment[at : at + len(dimension.text)] == dimension.text
        misfit(claim, (8, 64, 7, 7), {})


# What a file implies ----------------------------------------------------------------------


def file_of(code: str, name: str = "model.py"):
    project = Project(ROOT)
    return project.add(read_document(Path(name), data=code.encode()), ROOT / name)


def test_sizes_that_a_file_implies() -> None:
    code = (
        "import torch\nfrom torchvision import transforms\n"
        "crop = transforms.RandomCrop(48)  # CIFAR-10\nx = torch.randn(8, 3, 64, 64)\n"
        "y = torch.zeros([2, 5])\nz = torch.randint(0, 10, (4, 12))\n"
    )
    file = file_of(code)
    assert [(one.what, one.sizes) for one in implied(file)] == [("`RandomCrop(48)`", (48,))]
    assert example_shapes(file) == ((8, 3, 64, 64), (2, 5), (4, 12))


def test_code_in_a_document_is_no_prose() -> None:
    code = "import torch\nx = torch.randn([8, 3, 224, 224])\n"
    text = f"# A network for CIFAR-10\n\n```python\n{code}```\n"
    (named,) = implied(file_of(text, "notes.md"), 3)
    assert (named.what, named.line) == ("the text names CIFAR-10", 1)


def test_a_data_set_counts_where_nothing_stronger_does() -> None:
    (named,) = implied(
        file_of('"""Trained on CIFAR-10, unlike the ImageNet one."""\nimport torch\n')
    )
    assert (named.what, named.sizes, named.line) == ("the text names CIFAR-10", (32,), 1)
    (used,) = implied(file_of("# MNIST\nimport torch\ndata = datasets.CIFAR100('.')\n"))
    assert used.what == "the code names CIFAR-100"
    assert implied(file_of("import torch\n")) == ()
    (shape,) = implied(
        file_of("# ImageNet\nimport torch\n# x: [B, 3, 48, 48], y: [B, 8, 24, 24]\n"), 3
    )
    assert (shape.what, shape.sizes, shape.line) == ("a comment says [B, 3, 48, 48]", (48,), 3)
    code = 'import torch\ndef f():\n    """Made\n\n    for 40x40 RGB images."""\n'
    (words,) = implied(file_of(code))
    assert (words.sizes, words.line) == ((40,), 5)
    assert written_sizes(file_of("# padded to 32 x 32\nimage_size = 224\n")) == {32, 224}
