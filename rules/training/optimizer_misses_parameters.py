"""The optimizer holds other parameters than those that train.

What it does
------------
Follows the run of a script and looks for a layer that is replaced after the optimizer was built;
for a model that is built anew after it; and for a model that takes part in the loss, is built with
fresh weights, and that no optimizer holds. Silent where anything is frozen or added to the
optimizer, where weights are loaded, and where code that cannot be looked into gets the model.

Why it is bad
-------------
The optimizer keeps stepping tensors that nothing computes with. The new layer, or the second model,
keeps its random weights for ever, and nothing says so.

Example
-------
    optimizer = torch.optim.Adam(model.parameters())
    model.fc = nn.Linear(512, 10)

Use instead
-----------
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.Adam(model.parameters())
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._parameters import missed_parameters

rule = Rule("AC512", "optimizer-misses-parameters", Severity.ERROR)

_MESSAGES = {
    "replaced": "this optimizer is built before `{}` is replaced: the new layer never learns",
    "rebuilt": "this optimizer is built before `{}`, which trains: it holds another model",
    "unheld": "`{}` takes part in the loss, and no optimizer holds its parameters",
}
_OTHERS = {
    "replaced": "replaced here",
    "rebuilt": "the model that trains is built here",
    "unheld": "built here, with fresh weights",
}


@rule.on_source
def holds_others(file: SourceFile) -> Iterator[Finding]:
    for found in {found.build.node: found for found in missed_parameters(file)}.values():
        name = found.model.name or "the model"
        yield Finding(
            _MESSAGES[found.kind].format(name),
            found.build.location,
            label="holds other parameters",
            related=(Related(found.other.location, _OTHERS[found.kind]),),
            help=f"give it the parameters of {name} as well"
            if found.kind == "unheld"
            else "build the optimizer once the model is whole",
        )
