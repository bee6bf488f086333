"""What a model is, in one line for each layer: the part of a trace that a team agrees on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArchitectureLayer:
    """A module of a model: a line of the lock file.

    Attributes:
        path: Its first name in `named_modules()`; "" is the model itself.
        settings: What it was built with, such as `in_channels=3, kernel_size=7, stride=2`; of
            torch's own layers only, and without what goes without saying.
        output: The shapes of what its first call gave, such as `[8, 64, 56, 56]`.
        parameters: Elements of the parameters that bear its name first, those of the layers below
            left out. Over all layers they add up to the total.
        macs: Those of the operators that ran in it and in no layer below it. Over all layers they
            add up to the total.
        operators: What its own forward computes besides calling layers, such as `add, relu ×2`;
            of the user's own modules only.
        calls: How often it was called.
    """

    path: str
    type: str
    settings: str = ""
    output: str = ""
    parameters: int = 0
    macs: int = 0
    operators: str = ""
    calls: int = 1

    @property
    def parent(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its name in its parent."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model as one pass showed it: an entry of the lock file.

    Attributes:
        target: As the configuration names it.
        inputs: In the notation of `--input`, such as `x=8,3,224,224`.
        outputs: Such as `[8, 2]`.
        parameters, trainable: Elements, shared ones once.
        macs: Fused multiply-adds, as fvcore counts them.
        flops: As torch's FlopCounterMode counts them.
        layers: In the order of `named_modules()`, the model itself first.
        weights: The checkpoint that the model loaded when it was locked, "" for none.
        keys: What it took of it under the model's names: `conv.weight float32 64,3,7,7`.
    """

    target: str
    mode: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    trainable: int
    macs: int
    flops: int
    peak_activation_bytes: int
    layers: tuple[ArchitectureLayer, ...]
    weights: str = ""
    keys: tuple[str, ...] = ()
