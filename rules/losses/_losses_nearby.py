"""What stands around a model: the losses that its file and those that name it compute."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from archcheck.analysis.dataflow.final_op_in_source import UNKNOWN_ENDING, endings
from archcheck.python.flow.script import LOSSES

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.python import ModuleClass, SourceFile

# Classes whose probabilities are their business: weights for a sum, a choice among experts or
# actions, a distribution to draw from.
_WEIGHTS: Final = re.compile(
    r"att(?:entio)?n|gat(?:e|ing)|rout|mixture|moe|expert|polic|actor|agent|critic|pointer|weight|"
    r"select|controller|assign|alloc|kernel|memory|pool|align|mask|sampl|sinkhorn|codebook|quantiz|"
    r"generat|infer|predict|serv|deploy|export|onnx|wrapper|prob|distribut|teacher|"
    r"head\d*$|block\d*$|layer\d*$|decoder|embed|ctc",
    re.IGNORECASE,
)
_SAMPLING: Final = re.compile(
    r"\b(?:Categorical|OneHotCategorical|gym|gymnasium|log_prob|multinomial|reward\w*|policy)\b"
)
_ACTIONS: Final = re.compile(r"(?:^|_)(?:n?actions?|act|obs|observations?|state)(?:_|$)", re.I)
_LOSS_NAME: Final = re.compile(r"(?:loss|criterion|objective)(?:_?fn|_?func|_?function)?$", re.I)


def losses_around(file: SourceFile, name: str = "") -> frozenset[str]:
    """The losses that a file and those around it that use a name of it compute: `cross_entropy`,
    `nll_loss`…; "" stands for a loss that is not known, such as one that a function is given."""
    files = file.project.files_naming(name, file) if name else (file,)
    return frozenset(loss for found in files for loss in _losses(found))


def cross_entropy_of_any_model(file: SourceFile, name: str) -> Location | None:
    """Where a file, or one around it that uses a name of it, gives cross entropy what a model
    returns that is not known there: one that a function is given."""
    for found in file.project.files_naming(name, file):
        for loss in found.losses:
            given = loss.prediction if loss.loss == "cross_entropy" else None
            if given is not None and UNKNOWN_ENDING in endings(given):
                return loss.location
    return None


def _losses(file: SourceFile) -> set[str]:
    found = {loss.loss for loss in file.losses}
    found |= {LOSSES[call.dotted] for call in file.calls if call.dotted in LOSSES}
    if not found and any(_LOSS_NAME.search(call.name) for call in file.calls):
        found.add("")
    # The logarithm of probabilities, written out.
    if file.calls_to("torch.log", "torch.log2", "torch.special.xlogy") or any(
        len(call.parts) > 1 and not call.node.args and call.dotted is None
        for call in file.calls_named("log")
    ):
        found.add("")
    return found


def gives_weights(module: ModuleClass) -> bool:
    """Whether a class's name, what it is built from, or a file that uses it says that its
    probabilities are no class scores."""
    made = module.initializer
    if _WEIGHTS.search(module.name) or any(map(_ACTIONS.search, made.parameters if made else ())):
        return True
    return any(
        _SAMPLING.search(file.code)
        for file in module.file.project.files_naming(module.name, module.file)
    )


def is_part_of_another(module: ModuleClass) -> bool:
    """Whether another module of the project holds it, or derives from it."""
    if module.subclasses:
        return True
    return any(
        layer.module_class is not None and layer.module_class.definition is module.definition
        for file in module.file.project.files_naming(module.name, module.file)
        for holder in file.modules
        if holder.definition is not module.definition
        for submodule in holder.submodules
        for alternative in submodule.alternatives
        for layer in alternative.walk(2)
    )
