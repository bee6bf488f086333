"""A name that the target needs could not be imported, or raised while its file was loaded.

What it does
------------
Reports what stopped the target's file from being loaded. Of the file, only those statements run
that the target depends on; an import that fails is reported where the model reaches for what it
was to bring, and not at all if the model never does.

Why it is bad
-------------
The model cannot be checked, and whoever runs the file meets the same error.

Example
-------
    from missing_layers import DropPath     # the package is not installed

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = DropPath(0.1)

Use instead
-----------
    from torch import nn                    # or install the package that is named

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.exception_text import callers, failed_at, raised_text, subject
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

rule = Rule("AC002", "import-failed", Severity.ERROR, fallback=True)

# What to install where it is named differently from what is imported.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "attr": "attrs",
    "pytorch_lightning": "pytorch-lightning",
    "pl_bolts": "lightning-bolts",
    "torch_geometric": "torch-geometric",
    "torch_scatter": "torch-scatter",
    "mpl_toolkits": "matplotlib",
    "dotenv": "python-dotenv",
    "flash_attn": "flash-attn",
    "mamba_ssm": "mamba-ssm",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "efficientnet_pytorch": "efficientnet-pytorch",
}


@rule.on_trace
def stopped_while_loading(trace: Trace) -> Iterator[Finding]:
    for failure in trace.failures:
        if failure.stage != "import" or failure.consequence_of is not None:
            continue
        if failure.error == "SyntaxError" and failed_at(failure, trace).path == trace.path:
            # What does not parse in the target's own file is told from its source.
            continue
        yield Finding(
            _message(failure, trace),
            failed_at(failure, trace),
            label="needed here" if failure.missing else "raised here",
            related=callers(failure),
            notes=_notes(failure),
            help=_help(failure),
        )


def _message(failure: Failure, trace: Trace) -> str:
    if failure.error == "MissingImport":
        return failure.message
    if failure.error == "Crash" or "whole process" in failure.message:
        return failure.message
    if failure.error == "SystemExit":
        return f"the code that `{subject(trace)}` needs ends the program: {raised_text(failure)}"
    return f"loading `{subject(trace)}` raised {raised_text(failure)}"


def _notes(failure: Failure) -> tuple[str, ...]:
    if failure.error == "EOFError":
        return ("a model is loaded without standard input: there is nobody to answer",)
    return ()


def _help(failure: Failure) -> str | None:
    if failure.error != "MissingImport" or failure.missing is None:
        return None
    if "is not installed" not in failure.message:
        return None
    top = failure.missing.partition(".")[0]
    return f"pip install {_DISTRIBUTIONS.get(top, top)}"
