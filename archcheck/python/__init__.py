"""Evidence from text: files, notebooks and Markdown, read with `ast`, never with torch.

In: bytes of files. Out: a `SourceFile` of a `Project`. May not import torch, tracing or the worker.

A guide for authors of rules
============================

A source rule is a function of one `SourceFile`. Never walk `file.tree`: everything is collected
once, and the collections below are what there is to ask. Whatever cannot be known is absent, None
or `UNKNOWN` (which is false, and equal to nothing; `differ(a, b)` is true only of two known
values that differ). Names that begin with `surely_` answer True only when it is certain.

    @rule.on_source
    def one_softmax_after_another(file: SourceFile) -> Iterator[Finding]:
        for chain in file.chains:
            for before, after in chain.pairs():
                if before.operation == after.operation == "softmax":
                    yield Finding("…", after.location, related=(Related(before.location, "…"),))

Places. `file.location(node)` is the span of a node; `file.name_location(class_or_def)` that of the
name in its statement; `file.text(node)` the text. `scope.qualified_name` is `Net.forward`.

Classes. `file.modules` are the classes that certainly are nn.Modules (`file.classes` all).
    module.name, .node, .file, .location, .bases, .lineage, .is_certain, .derives_from("torch.nn.X")
    module.methods["forward"], .find_method(name) (inherited too), .initializer, .forward
    module.initializing / .computing   __init__ / forward with the methods that they call on self
    module.constructor                 Signature of the constructor, or None
    module.submodules                  Submodule: attribute, layer, alternatives, write, certain
    module.layer("conv1")              the one layer that the attribute holds, or None
    module.all_layers()                everything inside, through containers and project classes
    module.writes / .attributes        AttributeWrite: name, kind, value, node, function
    module.uses / .uses_in(method)     SelfUse: name, rest, kind (load/store/call), node, attribute
    module.super_calls(method)         SuperCall: name, called, arguments
    module.surely_lacks(name), .surely_never_reads(name)
Bare `self.x = …` runs in a Markdown document are in `file.fragments`, classes without a name; only
`submodules` and `writes` make sense there.

Functions and methods (`Function`): name, node, parameters, signature, owner, is_static,
is_property, is_abstract, is_overload, is_generator, decorators, returns, can_fall_off_end,
always_raises, calls, references, statements, bindings, functions (nested), nodes(ast.If, …),
name_reads.

Calls. `file.calls`, `file.calls_to("torch.nn.functional.softmax", "torch.softmax")` (by meaning,
through every alias), `file.calls_named("backward")` (by last name), `file.calls_of(definition)`
(a class or function of the project). A `Call` has node, parts, name, receiver, target, dotted,
module_class, argument(name, position), has_star, scope, statement, conditional, loop.
`file.dotted(expr)` resolves any name; `file.value(expr)` folds a constant;
`file.instance_of(expr)` says which class a value is an instance of (`model` in `model(x)`).
`Signature.bind(call.node)` gives values, missing, extra, unknown, fits.

Layers (`Layer`): type, class_name, is_a("Conv2d"), argument("in_channels") (folded, torch's
defaults filled in), expression("in_channels"), children, module_class, location, walk(). What a
container certainly holds, but nobody can tell what it is, is a child that is not `is_known`; what
a loop adds is `repeated`.

Chains. `file.chains` are the runs of layers and functions that hand one value on, in Sequentials
(however built) and in forwards, Sequentials taken apart: `chain.links`, `chain.pairs()`,
`chain.returned`, `chain.module`. A `Link` has operation, name, layer, step, is_a, argument,
location. An unknown link has operation "" and no layer.

Flow. `module.flow()` (of forward), `module.flow(method)`, `file.flow(function)`, `file.flow()` (the
script itself): steps, inputs, returns, outputs, bindings, is_straight. A `Step` has kind, name,
operation, inputs, users, source, before(), layer, attribute, argument, in_place,
conditional, names, location.

Other files. `project.files_naming(name, file)` are the files of the package that speak of a name;
`module.subclasses`, `surely_lacks` and `surely_never_reads` look there. They read much text: ask
them last, when all that is cheap has been asked. Likewise ask `file.calls_named(…)` first where a
rule is about one operation, before it follows any flow. Nothing else may look at the disk: what is
remembered of a file is known to hold by asking the project again (`source.questions`).

Scripts. `file.loops` (`Loop`: node, scope, outer, calls, calls_named, statements, location),
`file.losses` (`LossCall`: loss, call, prediction, location), `file.nodes(…)`.
"""

from archcheck.python.file import SourceFile
from archcheck.python.flow.chains import Chain, Link
from archcheck.python.flow.flow import Flow
from archcheck.python.flow.script import Loop, LossCall
from archcheck.python.flow.steps import Step
from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.modules.layer import Layer
from archcheck.python.modules.module_class import ModuleClass
from archcheck.python.modules.uses import AttributeWrite, SelfUse, Submodule, SuperCall
from archcheck.python.names.scope import Call, Function, Scope
from archcheck.python.names.signature import BoundArguments, Parameter, Signature
from archcheck.python.names.sites import Binding, Reference, Statement, Suite
from archcheck.python.names.unknown import UNKNOWN, Unknown, differ, known
from archcheck.python.project import Project

__all__ = [
    "UNKNOWN", "AttributeWrite", "Binding", "BoundArguments", "Call", "Chain", "ClassDefinition",
    "Flow", "Function", "Layer", "Link", "Loop", "LossCall", "ModuleClass", "Parameter", "Project",
    "Reference", "Scope", "SelfUse", "Signature", "SourceFile", "Statement", "Step", "Submodule",
    "Suite", "SuperCall", "Unknown", "differ", "known",
]  # fmt: skip
