"""What the functions and classes outside the project are and do: torch's, and those around it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.names.unknown import UNKNOWN
from archcheck.python.program.events import Region, RegionKind
from archcheck.python.program.things import Thing, ThingKind

if TYPE_CHECKING:
    from archcheck.python.program.calls import Arguments, Calls

# Code that may be handed anything and does nothing to it.
_HARMLESS: Final = frozenset({
    "argparse", "collections", "csv", "datetime", "json", "logging", "loguru", "math",
    "matplotlib", "numpy", "os", "pandas", "pathlib", "pickle", "random", "re", "scipy", "seaborn",
    "sklearn", "sys", "tensorboard", "tensorboardX", "time", "torchmetrics", "tqdm", "typing",
    "wandb", "warnings", "yaml", "rich", "PIL", "cv2", "hydra", "omegaconf", "mlflow", "einops",
})  # fmt: skip
_TRANSPARENT: Final = frozenset({
    "iter", "list", "tuple", "sorted", "reversed", "set", "itertools.cycle", "itertools.islice",
    "tqdm", "tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.std.tqdm", "tqdm.trange",
    "rich.progress.track", "alive_progress.alive_it", "copy.copy", "torch.compile",
    "torch.jit.script", "filter", "itertools.chain", "itertools.chain.from_iterable",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "torch.jit.trace", "typing.cast",
})  # fmt: skip
WRAPPERS: Final = frozenset({
    "torch.nn.DataParallel", "torch.nn.parallel.DataParallel",
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.distributed.fsdp.FullyShardedDataParallel", "apex.parallel.DistributedDataParallel",
    "torch.optim.swa_utils.AveragedModel",
})  # fmt: skip
_BUILTIN_TYPES: Final = frozenset({
    "print", "len", "range", "isinstance", "type", "str", "repr", "hasattr", "id", "format", "open",
    "int", "float", "bool", "round", "abs", "callable", "input", "vars", "hash", "issubclass",
})  # fmt: skip
_MAP_STYLE: Final = frozenset({
    "torch.utils.data.TensorDataset", "torch.utils.data.Subset", "torch.utils.data.ConcatDataset",
    "torch.utils.data.random_split", "torch.utils.data.StackDataset",
})  # fmt: skip
LOADERS: Final = frozenset({
    "torch.utils.data.DataLoader", "torch_geometric.loader.DataLoader",
    "torch_geometric.data.DataLoader", "monai.data.DataLoader",
    "torchdata.stateful_dataloader.StatefulDataLoader",
})  # fmt: skip

_OF_A_LOADER: Final = (("dataset", 0), ("shuffle", 2), ("sampler", 3), ("batch_sampler", 4))


def called(calls: Calls, dotted: str, node: ast.Call, given: Arguments) -> Thing:
    """What a function or class outside the project gives."""
    interpreter = calls.interpreter
    last = dotted.rpartition(".")[2]
    if dotted in _TRANSPARENT and given.positional:
        return _passed_on(calls, dotted, node, given)
    kind = kind_of(dotted)
    if kind is not None:
        return _built(calls, kind, dotted, node, given)
    if dotted.startswith("torch."):
        return _of_torch(calls, dotted, last, node, given)
    if dotted == "functools.partial" and given.positional:
        made = Thing("partial", bound=given.positional[0], items=given.positional[1:])
        made.fields.update(given.named)
        return made
    if dotted == "enumerate" and given.positional:
        pair = (Thing("number"), interpreter.element(given.positional[0]))
        return Thing("list", items=(Thing("tuple", items=pair),), holder=given.positional[0])
    if dotted == "zip" and given.positional:
        items = tuple(interpreter.element(one) for one in given.positional)
        return Thing("list", items=(Thing("tuple", items=items),), holder=given.positional[0])
    if dotted == "next" and given.positional:
        return interpreter.element(given.positional[0])
    if dotted in ("sum", "max", "min") and given.positional:
        of = given.positional[0]
        return interpreter.tensor(node, *given.positional, *of.items)
    if dotted == "copy.deepcopy" and given.positional:
        return _copied(given.positional[0])
    if dotted == "setattr" and len(given.positional) == 3:
        target, name, value = given.positional
        if isinstance(name.value, str):
            attribute = ast.copy_location(
                ast.Attribute(node.args[0], name.value, ast.Store()), node
            )
            calls.store(attribute, target, name.value, value, False)
        return Thing("number", value=None)
    if dotted == "getattr" and len(given.positional) >= 2:
        named = given.positional[1].value
        return calls.field(given.positional[0], named if isinstance(named, str) else "[]")
    if dotted in _BUILTIN_TYPES or dotted.partition(".")[0] in _HARMLESS:
        tensors = [one for one in given.all if one.graph and dotted.startswith("einops")]
        return interpreter.tensor(node, *tensors) if tensors else Thing("number")
    if dotted == "dict":
        made = Thing("dict", node=node, statement=interpreter.at)
        made.fields.update(given.named)
        return made
    return calls.unknown(node, given, Thing("outside", type=dotted, name=last))


def kind_of(dotted: str) -> ThingKind | None:
    """What a class or factory outside the project makes."""
    head, _, last = dotted.rpartition(".")
    if dotted in LOADERS:
        return "loader"
    if dotted.startswith("torch.optim.lr_scheduler.") or (
        dotted.startswith("transformers.") and last.startswith("get_") and "schedule" in last
    ):
        return "scheduler"
    if last == "create_scheduler" or last == "create_scheduler_v2":
        return None
    if is_optimizer_class(dotted):
        return "optimizer"
    if last == "GradScaler":
        return "scaler"
    if dotted in ("accelerate.Accelerator", "lightning.fabric.Fabric", "lightning.Fabric"):
        return "accelerator"
    if head == "torch.utils.data" and last.endswith("Sampler"):
        return "sampler"
    if dotted in _MAP_STYLE or dotted.startswith("torchvision.datasets."):
        return "dataset"
    if dotted in WRAPPERS:
        return "module"
    if head == "torch.nn" and last[:1].isupper() and last != "Parameter":
        return "loss" if last.endswith(("Loss", "Loss2d")) else "module"
    if dotted.startswith(("torchvision.models.", "timm.create_model", "torch.hub.load")):
        return "module"
    if last == "from_pretrained" and "Model" in dotted:
        return "module"
    if last == "create_model" and dotted.startswith("timm."):
        return "module"
    return None


def is_optimizer_class(dotted: str) -> bool:
    """Whether a dotted name is an optimizer: torch's, or one of the libraries around it."""
    head, _, last = dotted.rpartition(".")
    if not last[:1].isupper() or last in ("Optimizer",):
        return False
    if head == "torch.optim":
        return True
    if head in ("transformers", "transformers.optimization"):
        return last in ("AdamW", "Adafactor")
    return head in ("apex.optimizers", "bitsandbytes.optim", "torch_optimizer", "lion_pytorch") or (
        head.startswith(("timm.optim", "deepspeed.ops.adam"))
    )


def _built(calls: Calls, kind: ThingKind, dotted: str, node: ast.Call, given: Arguments) -> Thing:
    from archcheck.python.program.calls import several

    interpreter = calls.interpreter
    made = Thing(kind, type=dotted, node=node, statement=interpreter.at, items=given.positional)
    made.fields.update(given.named)
    if kind == "optimizer":
        made.items = ()
        parameters = given.get("params", 0)
        made.fields = {"params": parameters} if parameters is not None else {}
        made.modules = several([parameters]) if parameters is not None else frozenset()
    elif kind == "scheduler" and given.all:
        made.fields["optimizer"] = given.get("optimizer", 0) or given.all[0]
    elif kind == "loader":
        for name, position in _OF_A_LOADER:
            value = given.get(name, position)
            if value is not None:
                made.fields[name] = value
        if given.open:
            made.marks |= {"open"}
    elif dotted in WRAPPERS and given.all:
        made.holder = given.get("module", 0) or given.all[0]
        made.fields["module"] = made.holder
    elif kind == "module" and _is_pretrained(dotted, given):
        made.marks |= {"pretrained"}
    interpreter.emit("build", node, made, given.all, made)
    return made


def _is_pretrained(dotted: str, given: Arguments) -> bool:
    """Whether a constructor loads weights."""
    if dotted.endswith("from_pretrained"):
        return True
    if dotted.startswith("torch.hub.load"):
        return given.get("pretrained") is None or given.named["pretrained"].value is not False
    wanted = given.get("pretrained") or given.get("weights")
    if wanted is None and dotted.startswith("torchvision.models."):
        wanted = given.get("weights", 0)
    return wanted is not None and wanted.value not in (None, False)


def _passed_on(calls: Calls, dotted: str, node: ast.Call, given: Arguments) -> Thing:
    """What goes through a function that changes nothing that matters here."""
    if dotted == "filter":
        return given.positional[-1]
    if dotted.startswith("itertools.chain") and len(given.positional) > 1:
        modules = frozenset().union(*(one.modules for one in given.positional))
        return Thing("parameters", modules=modules, items=given.positional)
    if dotted in ("list", "set") and given.positional[0].kind in ("unknown", "loader"):
        return given.positional[0]
    return given.positional[0]


def _copied(original: Thing) -> Thing:
    made = Thing(
        original.kind, type=original.type, node=original.node, statement=original.statement,
        marks=original.marks | {"copied"}, items=original.items, modules=original.modules,
    )  # fmt: skip
    made.fields.update(original.fields)
    return made


def _of_torch(calls: Calls, dotted: str, last: str, node: ast.Call, given: Arguments) -> Thing:
    """What a function of torch does."""
    interpreter = calls.interpreter
    if last.startswith("clip_grad_") and given.all:
        interpreter.emit("clip", node, given.get("parameters", 0) or given.all[0], given.all)
        return Thing("number")
    if dotted in ("torch.set_grad_enabled", "torch.no_grad", "torch.enable_grad") or last in (
        "inference_mode", "autocast",
    ):  # fmt: skip
        if last == "set_grad_enabled" and given.all and isinstance(interpreter.at.node, ast.Expr):
            kind: RegionKind = "no_grad" if given.all[0].value is False else "grad"
            interpreter.switch = Region(kind, node, interpreter.at)
        return Thing("outside", type=dotted, name=last)
    if dotted == "torch.autograd.backward" and given.all:
        interpreter.emit("backward", node, given.all[0])
        return Thing("number", value=None)
    if dotted.startswith(("torch.autograd.", "torch.func.")):
        interpreter.emit("grad", node, given.all[0] if given.all else Thing("unknown"), given.all)
        return interpreter.tensor(node, *given.all)
    if dotted.startswith("torch.nn.functional."):
        return _functional(calls, dotted, node, given)
    if dotted.startswith("torch.nn.utils.") and given.positional:
        return given.positional[0]
    if dotted.startswith("torch.nn.init.") and given.all:
        interpreter.emit("reset", node, given.get("tensor", 0) or given.all[0], given.all[1:])
        return given.all[0]
    if dotted.startswith(("torch.distributed.", "torch.cuda.", "torch.backends")):
        return Thing("number")
    if dotted in ("torch.load", "torch.save"):
        return Thing("unknown", name="loaded", marks=frozenset({"loaded"}))
    if last in ("tensor", "as_tensor", "argmax", "from_numpy", "zeros_like", "ones_like"):
        return Thing("tensor", node=node, statement=interpreter.at)
    return interpreter.tensor(node, *given.all, *(one for item in given.all for one in item.items))


def _functional(calls: Calls, dotted: str, node: ast.Call, given: Arguments) -> Thing:
    last = dotted.rpartition(".")[2]
    result = calls.interpreter.tensor(node, *given.all)
    if last.endswith(("loss", "entropy", "_with_logits", "kl_div")):
        result.name = ""
        loss = Thing("loss", type=dotted, name=last)
        calls.interpreter.emit("call", node, loss, given.all, result)
    return result


def of_accelerator(
    calls: Calls, receiver: Thing, name: str, node: ast.Call, given: Arguments
) -> Thing:
    """What a method of Accelerate's Accelerator or of Lightning's Fabric does."""
    interpreter = calls.interpreter
    if name in ("prepare", "setup", "setup_dataloaders", "prepare_model", "unwrap_model"):
        if len(given.positional) == 1:
            return given.positional[0]
        return Thing("tuple", items=given.positional)
    if name.startswith(("clip_grad", "clip_gradients")) and given.all:
        interpreter.emit("clip", node, given.all[0], (*given.all, receiver))
        return Thing("number")
    if name == "accumulate":
        return Thing("unknown", name="accumulate", marks=frozenset({"accumulate"}))
    if name in ("gather", "gather_for_metrics", "reduce", "pad_across_processes"):
        return interpreter.tensor(node, *given.all)
    return Thing("unknown", name=name, holder=receiver)


def instance_of(
    calls: Calls, definition: ClassDefinition, node: ast.Call, given: Arguments
) -> Thing | None:
    """The instance of a class of the project that derives from one of torch's, None of another."""
    from archcheck.python.program.calls import several

    bases = [base for base in definition.outside_bases if base is not UNKNOWN]
    kind: ThingKind | None = None
    if definition.module is not None:
        kind = "loss" if definition.name.endswith("Loss") else "module"
    for base in bases:
        assert isinstance(base, str)
        if base == "torch.optim.Optimizer" or is_optimizer_class(base):
            kind = "optimizer"
        elif base.startswith("torch.optim.lr_scheduler."):
            kind = "scheduler"
        elif base.startswith("torch.utils.data.") and base.endswith("Sampler"):
            kind = "sampler"
        elif base.startswith("torch.utils.data.") and base.endswith("Dataset"):
            kind = "dataset"
        elif base in LOADERS:
            kind = "loader"
    if kind is None:
        return None
    made = Thing(
        kind, type=definition, node=node, statement=calls.interpreter.at,
        modules=several(given.all[:1]) if kind == "optimizer" else frozenset(),
    )  # fmt: skip
    signature = definition.constructor
    names = [one.name for one in signature.parameters] if signature is not None else []
    arguments = {**dict(zip(names, given.positional, strict=False)), **given.named}
    if kind == "module":
        made.items = given.all
        module = definition.module
        for name, value in arguments.items():
            writes = module.attributes.get(name, ()) if module is not None else ()
            for write in writes:
                if isinstance(write.value, ast.Name) and write.value.id == name:
                    made.fields[name] = value
    elif kind in ("loader", "dataset", "sampler"):
        made.fields.update(arguments)
    return made
