"""Classifiers by what they end in, where no loss tells how they are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import AFFINE, FinalOp, endings_of, surely
from archcheck.analysis.dataflow.final_op_in_trace import before, is_logits
from archcheck.analysis.module_classes import class_of

from ._losses_nearby import gives_weights, is_part_of_another, losses_around

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Chain, ModuleClass, Project, SourceFile


def is_a_classifier(module: ModuleClass) -> bool:
    """Whether a class may be a model that cross entropy trains: by its name it gives no weights,
    nothing holds it, and no other loss is around."""
    if gives_weights(module) or is_part_of_another(module):
        return False
    return losses_around(module.file, module.name) <= {"cross_entropy"}


def returned_softmaxes(file: SourceFile) -> Iterator[tuple[ModuleClass, FinalOp]]:
    """The classifiers of a file that return their last layer's scores through softmaxes over the
    classes, with each of these softmaxes; all that they may return comes out of one."""
    for module in file.modules if "oftmax" in file.code else ():
        found = endings_of(module) if module.forward is not None else ()
        if not surely(found, "softmax") or not all(_is_own(module, ending) for ending in found):
            continue
        scores = [score for ending in found for score in ending.before()]
        over_classes = all(ending.argument("dim", 1) in (None, 1, -1) for ending in found)
        if over_classes and surely(scores, *AFFINE) and is_a_classifier(module):
            for ending in found:
                yield module, ending


def _is_own(module: ModuleClass, ending: FinalOp) -> bool:
    return ending.file is module.file and module.file.location(module.node).covers(ending.location)


def classifier_of(trace: Trace, softmax: Op, project: Project) -> ModuleClass | None:
    """The class of a traced model, if it is a classifier that this softmax of scores ends."""
    if softmax.arguments.get("dim") not in (None, 1, -1) or not is_logits(before(trace, softmax)):
        return None
    module = class_of(trace.modules[0], project)
    return module if module is not None and is_a_classifier(module) else None


def ends_a_model(chain: Chain) -> bool:
    """Whether what a chain of layers gives is the answer of a model, and no weights of a sum."""
    if chain.origin == "forward" and chain.module is not None:
        weighs = gives_weights(chain.module) or is_part_of_another(chain.module)
        return chain.returned and not weighs
    # A Sequential in a script is a model; in a class or a function it may weigh something.
    layer = chain.links[-1].layer
    return chain.module is None and layer is not None and layer.statement.scope.kind == "module"
