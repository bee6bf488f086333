"""The tables of torch.nn against the installed torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from archcheck.python.names.signature import torch_signature
from archcheck.python.names.torch_names import CONTAINER_ATTRIBUTES, MODULE_ATTRIBUTES, SIGNATURES

torch = pytest.importorskip("torch")

# Their `__init__` is nn.Module's, which takes anything and then refuses it.
NOTHING = {"LogSigmoid", "Sigmoid", "Softmax2d", "Softsign", "Tanh", "Tanhshrink"}
RECURRENT = {"RNN", "LSTM", "GRU"}
# Parameters that a torch older than that of the table does not have: the norms' `bias`.
LATER = {"bias"}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_signatures(name: str) -> None:
    layer = getattr(torch.nn, name, None)
    if layer is None:
        pytest.skip("not in this torch")
    written = torch_signature(f"torch.nn.{name}")
    assert written is not None
    if name in NOTHING:
        assert written.parameters == ()
        with pytest.raises(TypeError):
            layer(1)
        return
    if name in RECURRENT:
        # The constructor hides its parameters: it is called with each.
        for parameter in written.parameters:
            default = ast.literal_eval(parameter.default) if parameter.default else 3
            layer(**{"input_size": 3, "hidden_size": 4, parameter.name: default})
        return
    real = list(inspect.signature(layer.__init__).parameters.values())[1:]
    names = [p.name for p in real]
    known = [p for p in written.parameters if p.name in names or not is_older(p.name)]
    assert [p.name for p in known] == names
    for mine, theirs in zip(known, real, strict=True):
        has_default = theirs.default is not inspect.Parameter.empty
        assert (mine.default is not None) == has_default, mine.name


def is_older(parameter: str) -> bool:
    """Return whether the running torch is too old for a parameter."""
    return parameter in LATER and "bias" not in inspect.signature(torch.nn.GroupNorm).parameters


def generator() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "make_torch_names.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_its_torch_declares_with_the_values_of_defaults() -> None:
    module = generator()
    text = module.TABLE.read_text(encoding="utf-8")
    if f"those of torch {torch.__version__.partition('+')[0]}" not in text:
        pytest.skip("the table is that of another torch")
    assert module.constructors() == SIGNATURES
    assert module.page(text) == text
    # Names, defaults and their values: each is written anew from torch.
    assert module.page(text.replace("momentum=0.1", "momentum=0.2")) == text


def test_positional_arguments_of_a_plain_recurrent_network() -> None:
    signature = torch_signature("torch.nn.RNN")
    call = ast.parse("nn.RNN(8, 16, 2, 'relu', True, True)", mode="eval").body
    assert signature is not None and isinstance(call, ast.Call)
    values = signature.bind(call).values
    rnn = torch.nn.RNN(8, 16, 2, "relu", True, True)
    for name in ("nonlinearity", "bias", "batch_first"):
        assert ast.literal_eval(values[name]) == getattr(rnn, name)


def test_attributes_of_a_module() -> None:
    assert set(dir(torch.nn.Module())) <= MODULE_ATTRIBUTES
    for container in (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict):
        public = {name for name in dir(container()) if not name.startswith("_")}
        assert public <= MODULE_ATTRIBUTES | CONTAINER_ATTRIBUTES


def test_every_module_of_torch_nn_is_there() -> None:
    modules = {
        name
        for name, value in vars(torch.nn).items()
        if isinstance(value, type) and issubclass(value, torch.nn.Module)
    }
    assert modules - {"Module", "Container"} <= set(SIGNATURES)
