"""What the rules of AC1 to AC4 say about models that work as their authors meant.

    python benchmarks/precision.py [--only clean|timm|torchvision|transformers] [--source] [NAME…]
    python benchmarks/precision.py --folder UNPACKED [--folder …]

Checks the models of fixtures/clean from source and traced, traces one model of every architecture
family of timm, thirty of torchvision, and small configurations of fifty models of transformers, and
asks every rule about them; `--source` reads the packages' model code with the source rules as well;
`--folder` reads what was unpacked in a folder, with the rules that run by default, and no more.
Packages that are not installed are left out. Every finding at warning or above was read by hand;
`precision_verdicts.toml` holds the verdicts.
The exit code is 1 where a finding is false, or was read by nobody. torchvision needs its own two
operators to import; where its binary does not fit the installed torch, their schemas are defined.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mutants.clean import clean_files
from mutants.clean import read as read_head

import archcheck
from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Severity
from archcheck.engine.pipeline import run

FAMILIES = ("AC1", "AC2", "AC3", "AC4")
VERDICTS = Path(__file__).with_name("precision_verdicts.toml")
PACKAGES = ("clean", "torchvision", "timm", "transformers")
# What the names of the smaller models of a family have in them.
SMALL = (
    "atto femto pico nano xxs xx_small tiny _xs _t_ x_small mini small _s 18 26 b0 _0 base _b"
).split()
TORCHVISION = (
    "alexnet vgg11 vgg11_bn resnet18 resnet50 wide_resnet50_2 resnext50_32x4d squeezenet1_0 "
    "densenet121 inception_v3 googlenet shufflenet_v2_x0_5 mobilenet_v2 mobilenet_v3_small "
    "mnasnet0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf vit_b_16 swin_t swin_v2_t "
    "convnext_tiny maxvit_t r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b swin3d_t raft_small"
).split()


@dataclass(frozen=True, slots=True)
class Case:
    """A model to build, and what to give it."""

    name: str
    build: Callable[[], Any]
    input: Any


def torchvision_cases() -> Iterator[Case]:
    # The schemas must be there before the import, and outlive it.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import models

    _kept.append(library)
    for name in TORCHVISION:
        shape: Any = (2, 3, 299, 299) if name == "inception_v3" else (2, 3, 224, 224)
        if name.startswith(("r3d", "mc3", "r2plus", "s3d", "mvit", "swin3d")):
            shape = (2, 3, 16, 224, 224)
        if name.startswith("raft"):
            shape = ((1, 3, 128, 128), (1, 3, 128, 128))
        yield Case(name, lambda name=name: models.get_model(name, weights=None), shape)


_kept: list[Any] = []


def timm_cases() -> Iterator[Case]:
    list(torchvision_cases())
    import timm

    for module in sorted(timm.list_modules()):
        names = timm.list_models(module=module)
        if names:
            name = min(names, key=lambda name: (_size(name), len(name), name))
            config = timm.get_pretrained_cfg(name)
            size = config.input_size if config is not None else (3, 224, 224)
            yield Case(name, lambda name=name: timm.create_model(name), (2, *size))


def _size(name: str) -> int:
    return next((place for place, hint in enumerate(SMALL) if hint in name), len(SMALL))


def transformers_cases() -> Iterator[Case]:
    list(torchvision_cases())
    import transformers as hf

    ids = {"input_ids": torch.zeros(2, 16, dtype=torch.int64)}
    masked = ids | {"attention_mask": torch.ones(2, 16, dtype=torch.int64)}
    both = masked | {"decoder_input_ids": torch.zeros(2, 8, dtype=torch.int64)}
    image = {"pixel_values": torch.zeros(2, 3, 64, 64)}
    sound = {"input_values": torch.zeros(2, 4000)}
    narrow = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    text = narrow | {"num_hidden_layers": 2, "vocab_size": 100}
    vision = narrow | {"num_hidden_layers": 2, "image_size": 64, "patch_size": 16}
    speech = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 100}
    speech |= {f"{s}_{k}": n for s in ("encoder", "decoder")
               for k, n in (("attention_heads", 4), ("ffn_dim", 128))}  # fmt: skip
    speech |= {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2}
    grouped = text | {"num_key_value_heads": 2}
    short = {"depths": [1, 1, 1, 1]}
    table: list[tuple[str, str, dict[str, Any], dict[str, torch.Tensor]]] = [
        ("BertForSequenceClassification", "Bert", text, masked),
        ("BertForMaskedLM", "Bert", text, masked),
        ("RobertaForTokenClassification", "Roberta", text, masked),
        ("DistilBertForQuestionAnswering", "DistilBert",
         {"dim": 64, "n_heads": 4, "n_layers": 2, "hidden_dim": 128}, masked),
        ("AlbertForSequenceClassification", "Albert", text | {"embedding_size": 32}, masked),
        ("ElectraForPreTraining", "Electra", text, masked),
        ("DebertaV2ForSequenceClassification", "DebertaV2", text, masked),
        ("GPT2LMHeadModel", "GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 4}, masked),
        ("GPTNeoXForCausalLM", "GPTNeoX", text, masked),
        ("OPTForCausalLM", "OPT",
         text | {"ffn_dim": 128, "word_embed_proj_dim": 32}, masked),
        ("BloomForCausalLM", "Bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4}, masked),
        ("LlamaForCausalLM", "Llama", grouped, masked),
        ("MistralForCausalLM", "Mistral", grouped, masked),
        ("MixtralForCausalLM", "Mixtral", grouped | {"num_local_experts": 2}, masked),
        ("Qwen2ForCausalLM", "Qwen2", grouped, masked),
        ("Gemma2ForCausalLM", "Gemma2", grouped | {"head_dim": 16}, masked),
        ("PhiForCausalLM", "Phi", text, masked),
        ("MambaForCausalLM", "Mamba", {"hidden_size": 64, "num_hidden_layers": 2}, ids),
        ("RwkvForCausalLM", "Rwkv", {"hidden_size": 64, "num_hidden_layers": 2}, ids),
        ("T5ForConditionalGeneration", "T5",
         {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_ff": 128, "d_kv": 16}, both),
        ("SwitchTransformersForConditionalGeneration", "SwitchTransformers",
         {"d_model": 64, "num_layers": 2, "num_decoder_layers": 2, "d_ff": 128,
          "num_heads": 4, "num_experts": 2}, both),
        ("BartForConditionalGeneration", "Bart", speech, both),
        ("XLNetLMHeadModel", "XLNet", {"d_model": 64, "n_layer": 2, "n_head": 4}, masked),
        ("FunnelModel", "Funnel", {"d_model": 64, "n_head": 4, "d_head": 16}, masked),
        ("LongformerModel", "Longformer", text | {"attention_window": [4, 4]}, masked),
        (
            *("NystromformerModel", "Nystromformer"),
            text | {"num_landmarks": 4, "segment_means_seq_len": 16},
            masked,
        ),
        ("ViTForImageClassification", "ViT", vision, image),
        ("DeiTForImageClassification", "DeiT", vision, image),
        ("BeitForImageClassification", "Beit", vision, image),
        ("Dinov2Model", "Dinov2", vision, image),
        ("SwinForImageClassification", "Swin",
         short | {"image_size": 64, "embed_dim": 24, "window_size": 2}, image),
        ("ConvNextForImageClassification", "ConvNext", short, image),
        ("SegformerForSemanticSegmentation", "Segformer", short, image),
        ("ResNetForImageClassification", "ResNet", {"depths": [2, 2, 2, 2]}, image),
        ("RegNetForImageClassification", "RegNet", {"depths": [1, 1, 2, 1]}, image),
        ("MobileNetV2ForImageClassification", "MobileNetV2", {}, image),
        ("MobileViTForImageClassification", "MobileViT", {}, image),
        ("PoolFormerForImageClassification", "PoolFormer", {}, image),
        ("CvtForImageClassification", "Cvt", {}, image),
        ("LevitForImageClassification", "Levit", {"image_size": 64}, image),
        ("EfficientNetForImageClassification", "EfficientNet", {}, image),
        ("UperNetForSemanticSegmentation", "UperNet", {}, image),
        ("GLPNForDepthEstimation", "GLPN", short, image),
        ("DPTForDepthEstimation", "DPT",
         vision | {"num_hidden_layers": 12, "neck_hidden_sizes": [8, 16, 32, 32],
                   "fusion_hidden_size": 32}, image),
        ("CLIPModel", "CLIP",
         {"text_config": text | {"eos_token_id": 2}, "vision_config": vision}, masked | image),
        ("Wav2Vec2ForCTC", "Wav2Vec2", text, sound),
        ("HubertModel", "Hubert", text, sound),
        ("WhisperForConditionalGeneration", "Whisper", speech | {"max_source_positions": 20},
         {"input_features": torch.zeros(2, 80, 40),
          "decoder_input_ids": torch.zeros(2, 8, dtype=torch.int64)}),
        ("ASTForAudioClassification", "AST", narrow | {"num_hidden_layers": 2},
         {"input_values": torch.zeros(2, 1024, 128)}),
        ("PatchTSTForPrediction", "PatchTST", {}, {"past_values": torch.zeros(2, 32, 1)}),
        ("DacModel", "Dac", {}, {"input_values": torch.zeros(2, 1, 4000)}),
        ("EncodecModel", "Encodec", {}, {"input_values": torch.zeros(2, 1, 4000)}),
        ("VideoMAEForVideoClassification", "VideoMAE", vision,
         {"pixel_values": torch.zeros(1, 16, 3, 64, 64)}),
    ]  # fmt: skip
    for name, config, settings, given in table:
        yield Case(
            name,
            lambda name=name, config=config, settings=settings: getattr(hf, name)(
                getattr(hf, f"{config}Config")(**settings)
            ),
            given,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading a finding by hand gave."""

    code: str
    path: str
    message: str
    true: bool
    why: str

    def fits(self, finding: Finding) -> bool:
        path = finding.location.path.replace("\\", "/")
        return (
            finding.code == self.code
            and path.endswith(self.path)
            and self.message in finding.message
        )


def verdicts() -> list[Verdict]:
    with VERDICTS.open("rb") as file:
        return [Verdict(**item) for item in tomllib.load(file)["finding"]]


class Table:
    """Counts what was said, and shows each finding with its verdict."""

    def __init__(self) -> None:
        self.verdicts = verdicts()
        self.counts: Counter[str] = Counter()
        self.seen: set[tuple[str, str, int]] = set()

    def add(self, findings: list[Finding]) -> None:
        for finding in findings:
            if finding.severity is None or finding.severity < Severity.WARNING:
                continue
            at = (finding.code, finding.location.path, finding.location.line)
            if at in self.seen:
                continue
            self.seen.add(at)
            known = next((v for v in self.verdicts if v.fits(finding)), None)
            verdict = "unread" if known is None else "true" if known.true else "false"
            self.counts[verdict] += 1
            print(f"    {verdict}: {finding.code} {finding.location.path}:{finding.location.line}")
            print(f"        {finding.message}")
            if known is not None:
                print(f"        {known.why}")

    def summary(self) -> int:
        """Print the counts; the exit code."""
        print(", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        return 1 if self.counts["false"] or self.counts["unread"] else 0


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--only", choices=PACKAGES)
    parser.add_argument("--source", action="store_true")
    parser.add_argument("--folder", action="append", type=Path, default=[])
    arguments = parser.parse_args()
    table = Table()
    for folder in arguments.folder:
        report = archcheck.lint(folder)
        table.counts["files read"] += report.files
        table.add(list(report.findings))
    if arguments.folder:
        return table.summary()
    cases = {"torchvision": torchvision_cases, "timm": timm_cases,
             "transformers": transformers_cases}  # fmt: skip
    if arguments.only in (None, "clean"):
        clean(arguments.names, table)
    for package in PACKAGES[1:]:
        if arguments.only not in (None, package) or find_spec(package) is None:
            continue
        for case in cases[package]():
            if not arguments.names or case.name in arguments.names:
                traced(package, case, table)
        if arguments.source:
            read(package, table)
    return table.summary()


def clean(names: list[str], table: Table) -> None:
    """Check the files of fixtures/clean as their heads say, all in one run."""
    files = {path: read_head(path) for path in clean_files() if not names or path.stem in names}
    models = tuple(
        replace(model, target=f"{path.parent}/{model.target}")
        for path, file in files.items()
        for model in file.models
    )
    config = Config(select=FAMILIES, paths=tuple(map(str, files)), models=models)
    report = run(None, config, Model(""), root=Path())
    for target in report.targets:
        state = "" if target.trace.complete else "incomplete"
        shown = f"{Path(target.trace.path).stem}:{target.trace.target.rpartition(':')[2]}"
        print(
            f"{'clean':12} {shown:44} {target.trace.rung!s:5}{len(target.trace.ops):6} ops {state}"
        )
    table.counts["models"] += len(report.targets)
    table.counts["files read"] += report.files
    table.add(list(report.findings))


def traced(package: str, case: Case, table: Table) -> None:
    began = time.perf_counter()
    try:
        report = archcheck.check(case.build, input=case.input, select=FAMILIES)
    except Exception as error:
        table.counts["models that cannot be built"] += 1
        print(f"{package:12} {case.name:44} {type(error).__name__}: {error}")
        return
    trace = report.targets[0].trace
    seconds = time.perf_counter() - began
    state = "" if trace.complete else "incomplete"
    rung = trace.rung or "none"
    print(f"{package:12} {case.name:44} {rung:5}{len(trace.ops):6} ops {seconds:6.1f} s {state}")
    table.counts["models"] += 1
    table.add(list(report.findings))


def read(package: str, table: Table) -> None:
    spec = find_spec(package)
    for place in spec.submodule_search_locations or () if spec is not None else ():
        folder = Path(place) / "models"
        report = archcheck.lint(folder, select=FAMILIES)
        table.counts["files read"] += report.files
        table.add(list(report.findings))


if __name__ == "__main__":
    sys.exit(main())
