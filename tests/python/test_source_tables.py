"""The tables of torch.nn against the installed torch."""

from __future__ import annotations

import inspect

import pytest

from archcheck.python.names.signature import torch_signature
from archcheck.python.names.torch_names import CONTAINER_ATTRIBUTES, MODULE_ATTRIBUTES, SIGNATURES

torch = pytest.importorskip("torch")

# Their `__init__` is nn.Module's, which takes anything and then refuses it.
NOTHING = {"LogSigmoid", "Sigmoid", "Softmax2d", "Softsign", "Tanh", "Tanhshrink"}
RECURRENT = {"RNN", "LSTM", "GRU"}


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
        # The constructor hides its parameters; these are what it passes on.
        known = inspect.signature(torch.nn.RNNBase.__init__).parameters
        names = {*known, "nonlinearity"} - {"self", "mode"}
        assert {parameter.name for parameter in written.parameters} <= names
        layer(input_size=3, hidden_size=4)
        return
    real = list(inspect.signature(layer.__init__).parameters.values())[1:]
    assert [p.name for p in written.parameters] == [p.name for p in real]
    for mine, theirs in zip(written.parameters, real, strict=True):
        has_default = theirs.default is not inspect.Parameter.empty
        assert (mine.default is not None) == has_default, mine.name


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
