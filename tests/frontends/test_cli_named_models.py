"""Models by the names of packages; small packages stand in for the large ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from command import archcheck

pytestmark = pytest.mark.slow

TIMM = """
from torch import nn

KNOWN = {"tiny": 4, "small": 8}


def is_model(name):
    return name in KNOWN


def list_models():
    return sorted(KNOWN)


def create_model(name, pretrained=False, num_classes=10):
    assert not pretrained
    return nn.Sequential(nn.Conv2d(3, KNOWN[name.split(".")[0]], 3), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(KNOWN[name.split(".")[0]], num_classes))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "packages" / "timm").mkdir(parents=True)
    (tmp_path / "packages" / "timm" / "__init__.py").write_text(TIMM, encoding="utf-8")
    return tmp_path


def run(project: Path, *arguments: str, packages: bool = True) -> tuple[int, str, str]:
    from command import ROOT

    path = f"{ROOT}:{project / 'packages'}" if packages else str(ROOT)
    done = archcheck(*arguments, "--no-cache", "--fail-on", "error", cwd=project, PYTHONPATH=path)
    return done.returncode, done.stdout, done.stderr


def test_a_model_of_timm_is_traced_untrained(project: Path) -> None:
    code, out, _ = run(
        project, "timm:small.in1k(num_classes=7)", "--input", "2,3,16,16", "--format", "json"
    )
    assert code == 0
    target = json.loads(out)["targets"][0]
    assert target["target"] == "timm:small.in1k(num_classes=7)"
    assert target["outputs"] == [{"shape": [2, 7], "dtype": "float32"}]


def test_an_unknown_model_names_the_nearest(project: Path) -> None:
    code, _, err = run(project, "timm:smal")
    assert code == 2 and "did you mean `timm:small`" in err


def test_a_package_that_is_not_there_is_named(project: Path) -> None:
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed")
    code, _, err = run(project, "torchvision:resnet18", packages=False)
    assert code == 2 and "torchvision is not installed" in err and "pip install" in err


def test_a_folder_without_a_config_is_refused(project: Path) -> None:
    code, _, err = run(project, "hf:nowhere")
    assert code == 2 and "nowhere/config.json" in err


def test_a_call_of_the_packages_own_function_still_works(project: Path) -> None:
    code, out, _ = run(project, 'timm:create_model("tiny")', "--input", "2,3,16,16")
    assert code == 0 and "Conv2d" in out
