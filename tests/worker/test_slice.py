"""Which statements of a module a model needs."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archcheck.worker.slicing.slicer import slice_for
from archcheck.worker.slicing.units import ModuleUnits


def sliced(text: str, name: str = "Net", **options: object) -> str:
    units = ModuleUnits(ast.parse(dedent(text)))
    found = slice_for(units, name, **options)  # type: ignore[arg-type]
    return plain("\n".join(ast.unparse(statement) for statement in found.statements))


def plain(text: str) -> str:
    return ast.unparse(ast.parse(dedent(text)))


def check(text: str, expected: str, name: str = "Net", **options: object) -> None:
    assert sliced(text, name, **options) == plain(expected)


def test_data_sets_loops_and_plots_do_not_run() -> None:
    check(
        """
        import torch
        import matplotlib.pyplot as plt
        from torch import nn
        from torchvision import datasets
        data = datasets.CIFAR10("data", download=True)
        args = parser.parse_args()
        class Net(nn.Module):
            def forward(self, x):
                return x
        net = Net()
        for batch in data:
            net(batch)
        plt.show()
        """,
        """
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                return x
        """,
    )


def test_names_are_followed_through_functions_defaults_bases_and_decorators() -> None:
    check(
        """
        import torch.nn as nn
        import functools
        WIDTH = 8
        DEPTH = WIDTH * 2
        UNUSED = 1
        def conv(width=WIDTH):
            return nn.Conv2d(width, DEPTH, 3)
        def log(cls):
            return cls
        class Base(nn.Module):
            pass
        @log
        class Net(Base):
            def __init__(self):
                self.conv = conv()
        """,
        """
        import torch.nn as nn
        WIDTH = 8
        DEPTH = WIDTH * 2
        def conv(width=WIDTH):
            return nn.Conv2d(width, DEPTH, 3)
        def log(cls):
            return cls
        class Base(nn.Module):
            pass
        @log
        class Net(Base):
            def __init__(self):
                self.conv = conv()
        """,
    )


def test_a_method_that_nothing_mentions_needs_nothing() -> None:
    text = """
        loader = load_data()
        scale = 2
        class Net:
            def forward(self, x):
                return self.scaled(x)
            def scaled(self, x):
                return x * scale
            def fit(self):
                for batch in loader:
                    self(batch)
        """
    assert "loader = " not in sliced(text)
    assert "scale = 2" in sliced(text)
    assert "loader = " in sliced(text, also={"loader"})


def test_locals_parameters_and_comprehensions_hide_names_of_the_module() -> None:
    text = """
        x = y = z = i = w = e = download()
        class Net:
            def forward(self, x):
                y = x
                total = [i for i in y if i]
                with open(y) as z:
                    pass
                if (w := x):
                    pass
                try:
                    pass
                except ValueError as e:
                    pass
                return total, w, lambda z: z
        """
    assert "download" not in sliced(text)


def test_a_nested_function_reads_its_enclosing_locals() -> None:
    text = """
        scale = 1
        other = download()
        class Net:
            def forward(self, x):
                other = 1
                def inner():
                    return other + scale
                return inner()
        """
    assert "scale = 1" in sliced(text)
    assert "download" not in sliced(text)


def test_try_pairs_are_kept_whole() -> None:
    check(
        """
        try:
            import apex
            has_apex = True
        except ImportError:
            has_apex = False
        class Net:
            fused = has_apex
        """,
        """
        try:
            import apex
            has_apex = True
        except ImportError:
            has_apex = False
        class Net:
            fused = has_apex
        """,
    )


def test_conditional_definitions_are_pruned_to_what_is_needed() -> None:
    check(
        """
        import torch
        if torch.__version__ > "2":
            act = torch.relu
            start_server()
        else:
            act = torch.tanh
        class Net:
            def forward(self, x):
                return act(x)
        """,
        """
        import torch
        if torch.__version__ > "2":
            act = torch.relu
        else:
            act = torch.tanh
        class Net:
            def forward(self, x):
                return act(x)
        """,
    )


def test_loops_and_with_blocks_that_make_a_name_run() -> None:
    check(
        """
        widths = []
        for width in range(3):
            if width == 2:
                break
            widths.append(width)
            print(width)
        with open("cfg") as file:
            cfg = file.read()
            print(cfg)
        class Net:
            widths = widths
            def __init__(self):
                self.cfg = cfg
        """,
        """
        widths = []
        for width in range(3):
            if width == 2:
                break
            widths.append(width)
        with open("cfg") as file:
            cfg = file.read()
        class Net:
            widths = widths
            def __init__(self):
                self.cfg = cfg
        """,
    )


def test_changes_of_an_object_are_part_of_it() -> None:
    check(
        """
        cfg = Config()
        cfg.width = 8
        cfg.update(depth=3)
        setattr(cfg, "act", "relu")
        print(cfg)
        train(cfg)
        def fill(target):
            target.more = 1
        fill(cfg)
        class Net:
            def __init__(self):
                self.cfg = cfg
        """,
        """
        cfg = Config()
        cfg.width = 8
        cfg.update(depth=3)
        setattr(cfg, "act", "relu")
        def fill(target):
            target.more = 1
        fill(cfg)
        class Net:
            def __init__(self):
                self.cfg = cfg
        """,
    )


def test_an_argument_parser_keeps_its_arguments_and_groups() -> None:
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--width", default=8)
        group = parser.add_argument_group("more")
        group.add_argument("--depth", default=2)
        args = parser.parse_args()
        print(args)
        class Net:
            def __init__(self):
                self.width = args.width
        """
    assert sliced(text) == plain(text.replace("print(args)", ""))


def test_a_variable_is_made_with_its_later_changes_and_without_its_training() -> None:
    check(
        """
        import torchvision
        from torch import nn
        net = torchvision.models.resnet18()
        net.fc = nn.Linear(512, 10)
        net.add_module("head", nn.ReLU())
        net.load_state_dict(torch.load("weights.pt"))
        net.cuda()
        fit(net)
        net(torch.ones(1))
        """,
        """
        import torchvision
        from torch import nn
        net = torchvision.models.resnet18()
        net.fc = nn.Linear(512, 10)
        net.add_module("head", nn.ReLU())
        """,
        name="net",
    )


def test_only_values_are_made_anew() -> None:
    units = ModuleUnits(
        ast.parse("from torch import nn\nclass Net(nn.Module): pass\nwidth = 3\nnet = Net(width)\n")
    )
    found = slice_for(units, "net")
    assert found.makes_value
    assert [found.statements[place].lineno for place in sorted(found.values)] == [3, 4]
    assert not slice_for(units, "Net").makes_value


def test_the_last_definition_counts_or_the_one_at_a_line() -> None:
    text = """
        class Net: v = 1
        class Net: v = 2
        """
    assert sliced(text) == "class Net:\n    v = 2"
    assert sliced(text, line=2) == "class Net:\n    v = 1"
    assert sliced(text, line=3) == "class Net:\n    v = 2"
    assert not slice_for(ModuleUnits(ast.parse(dedent(text))), "Net", line=4).found


def test_a_document_is_read_from_its_start() -> None:
    text = """
        class Block: v = 1
        class Net:
            def __init__(self):
                self.block = Block()
        class Block: v = 2
        """
    assert "v = 1" in sliced(text, step_by_step=True)
    assert "v = 2" not in sliced(text, step_by_step=True)
    assert "v = 2" in sliced(text)
    assert "v = 1" not in sliced(text)


def test_a_value_is_the_one_that_stands_above() -> None:
    check(
        """
        n = 1
        n = 2
        net = make(n)
        n = 3
        """,
        """
        n = 2
        net = make(n)
        """,
        name="net",
    )


def test_what_a_script_does_when_run_is_left_out_unless_it_defines_the_target() -> None:
    text = """
        class Net: pass
        if __name__ == "__main__":
            width = 3
            class Inner(Net): pass
            model = Inner(width)
            train(model)
        """
    assert sliced(text) == plain("class Net: pass")
    assert sliced(text, "model") == plain(
        """
        class Net: pass
        width = 3
        class Inner(Net): pass
        model = Inner(width)
        """
    )


def test_star_imports_bring_what_nothing_else_binds() -> None:
    text = """
        from layers import *
        from os import *
        class Net(Base): pass
        """
    assert "from layers import *" in sliced(text)
    assert "import *" not in sliced(text.replace("Net(Base)", "Net(object)"))


def test_the_search_path_and_future_imports_are_set_up() -> None:
    text = """
        from __future__ import annotations
        import sys, os
        sys.path.append(os.path.dirname(__file__))
        os.environ["A"] = "1"
        class Net: pass
        """
    assert "sys.path.append" in sliced(text)
    assert "os.environ" in sliced(text)
    assert "import sys" in sliced(text)


def test_a_registry_is_filled_by_its_decorators() -> None:
    text = """
        registry = {}
        def register(cls):
            registry[cls.__name__] = cls
            return cls
        @register
        class Small: pass
        @register
        class Large: pass
        class Other: pass
        def build(name):
            return registry[name]()
        """
    assert "class Small" in sliced(text, "build")
    assert "class Large" in sliced(text, "build")
    assert "class Other" not in sliced(text, "build")


def test_what_is_registered_elsewhere_is_registered() -> None:
    text = """
        import atexit
        from blocks import register_block
        class Block: pass
        register_block("mine", Block)
        atexit.register(print)
        class Net: pass
        """
    assert 'register_block("mine", Block)' in sliced(text).replace("'", '"')
    assert "class Block" in sliced(text)
    assert "atexit" not in sliced(text)


def test_globals_reach_every_definition() -> None:
    text = """
        class Block: pass
        data = download()
        def build(name):
            return globals()[name]()
        """
    assert "class Block" in sliced(text, "build")
    assert "download" not in sliced(text, "build")


def test_a_global_statement_binds_when_its_function_is_called() -> None:
    text = """
        def setup():
            global width
            width = 8
        setup()
        class Net:
            def __init__(self):
                self.width = width
        """
    assert "setup()" in sliced(text).splitlines()


def test_annotations_that_are_not_evaluated_are_not_needed() -> None:
    text = """
        data = download()
        class Net:
            def forward(self, x: data) -> data:
                return x
        """
    assert "download" in sliced(text)
    assert "download" not in sliced("from __future__ import annotations\n" + dedent(text))


def test_subclasses_that_register_themselves_are_made() -> None:
    text = """
        class Base:
            kinds = []
            def __init_subclass__(cls):
                Base.kinds.append(cls)
        class A(Base): pass
        def make():
            return Base.kinds[0]()
        """
    assert "class A" in sliced(text, "make")


def test_positions_are_those_of_the_file() -> None:
    units = ModuleUnits(ast.parse("\n\nif True:\n    x = 1\n    print(x)\n\nnet = x\n"))
    statements = slice_for(units, "net").statements
    assert [statement.lineno for statement in statements] == [3, 7]


FILES = sorted(Path(ast.__file__).parent.glob("*.py"))[:60]


@settings(deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_every_name_of_any_file_can_be_sliced(path: Path, data: st.DataObject) -> None:
    units = ModuleUnits(ast.parse(path.read_text(encoding="utf-8")))
    if not units.binders:
        return
    name = data.draw(st.sampled_from(sorted(units.binders)))
    found = slice_for(units, name, step_by_step=data.draw(st.booleans()))
    assert found.found
    compile(ast.Module(list(found.statements), []), str(path), "exec")


@pytest.mark.parametrize("name", ["missing", "print"])
def test_a_name_that_nothing_binds_is_not_found(name: str) -> None:
    assert not slice_for(ModuleUnits(ast.parse("x = 1")), name).found
