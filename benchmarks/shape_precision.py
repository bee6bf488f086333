"""Trace well-known models, and see that no rule of shapes says a word about them.

    python benchmarks/shape_precision.py [NAME…]       default: all of them

Fifty architectures of timm, and small configurations of ten model families of transformers, are
traced with their sources counted as user code, and asked by every rule of family AC2, valid sizes
included. They work as their authors meant, so every finding at warning or above is a false alarm:
it is printed, and the exit code is 1. Packages that are not installed are left out, and said to be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import load_rules
from archcheck.engine.run_rules import stamped
from archcheck.evidence.trace import Trace
from archcheck.python import Project
from archcheck.tracing.ladder import TensorSpec, trace_module

TIMM = (
    "resnet18 skresnet18 cspresnet50 regnetx_002 repvgg_a0 densenet121 dla34 dpn48b "
    "hrnet_w18_small inception_v3 xception41 vgg11 nfnet_l0 tresnet_m efficientnet_b0 "
    "mobilenetv3_small_100 "
    "ghostnet_100 rexnet_100 tinynet_a convnext_tiny convmixer_768_32 edgenext_xx_small "
    "poolformer_s12 vit_tiny_patch16_224 deit_tiny_patch16_224 beit_base_patch16_224 "
    "cait_xxs24_224 coat_tiny convit_tiny crossvit_tiny_240 davit_tiny efficientformer_l1 "
    "levit_128s maxvit_tiny_rw_224 mixer_s32_224 resmlp_12_224 mobilevit_xxs mobilevitv2_050 "
    "mvitv2_tiny nest_tiny pit_ti_224 pvt_v2_b0 sequencer2d_s swin_tiny_patch4_window7_224 "
    "swinv2_tiny_window8_256 tnt_s_patch16_224 twins_pcpvt_small visformer_tiny volo_d1_224 "
    "xcit_nano_12_p8_224 botnet26t_256"
).split()


@dataclass(frozen=True, slots=True)
class Case:
    """A model to build, and what to give it."""

    name: str
    build: Callable[[], Any]
    inputs: tuple[Any, ...]


def timm_cases() -> Iterator[Case]:
    import timm

    for name in TIMM:
        config = timm.get_pretrained_cfg(name)
        size = config.input_size if config is not None else (3, 224, 224)
        yield Case(name, lambda name=name: timm.create_model(name), (TensorSpec((2, *size)),))


def transformers_cases() -> Iterator[Case]:
    import transformers as hf

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"intermediate_size": 64}
    text = {**small, "vocab_size": 100}
    image = {**small, "image_size": 32, "patch_size": 8}
    speech = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 100}
    speech |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    speech |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 20}
    speech |= {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2}
    tokens, picture = TensorSpec((2, 12), "int64"), TensorSpec((2, 3, 32, 32))
    answer = ("decoder_input_ids", TensorSpec((2, 7), "int64"))
    shapes: dict[str, tuple[str, dict[str, Any], tuple[Any, ...]]] = {
        "BertModel": ("BertConfig", text, (tokens,)),
        "GPT2LMHeadModel": (
            "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100}, (tokens,)
        ),
        "LlamaForCausalLM": ("LlamaConfig", text, (tokens,)),
        "MistralForCausalLM": ("MistralConfig", {**text, "num_key_value_heads": 2}, (tokens,)),
        "T5Model": (
            "T5Config",
            {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64, "d_kv": 8},
            (("input_ids", tokens), answer),
        ),
        "ViTModel": ("ViTConfig", image, (picture,)),
        "SwinModel": (
            "SwinConfig",
            {"image_size": 64, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
             "window_size": 4},
            (TensorSpec((2, 3, 64, 64)),),
        ),
        "WhisperModel": (
            "WhisperConfig", speech, (("input_features", TensorSpec((2, 80, 40))), answer)
        ),
        "MambaModel": (
            "MambaConfig",
            {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100, "state_size": 8},
            (tokens,),
        ),
        "CLIPModel": (
            "CLIPConfig",
            {"text_config": {**text, "eos_token_id": 2}, "vision_config": image},
            (("input_ids", tokens), ("pixel_values", picture)),
        ),
    }  # fmt: skip
    for name, (config, settings, inputs) in shapes.items():
        yield Case(
            name,
            lambda name=name, config=config, settings=settings: getattr(hf, name)(
                getattr(hf, config)(**settings)
            ),
            inputs,
        )


def false_alarms(trace: Trace, project: Project) -> Iterator[Finding]:
    for rule in load_rules():
        for reader in rule.trace_readers if rule.code.startswith("AC2") else ():
            for finding in reader(trace, project):
                finding = stamped(finding, rule, trace.target)
                if finding.severity is not None and finding.severity >= Severity.WARNING:
                    yield finding


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args().names
    alarms = traced = 0
    project = Project(Path())
    for package, cases in (("timm", timm_cases), ("transformers", transformers_cases)):
        try:
            found = list(cases())
        except ImportError as error:
            print(f"{package} is left out: {error}")
            continue
        for case in found:
            if wanted and case.name not in wanted:
                continue
            began = time.perf_counter()
            trace = trace_module(
                case.build,
                case.inputs,
                target=case.name,
                user_files=lambda path, package=package: f"/{package}/" in path.replace("\\", "/"),
                find_sizes=True,
            )
            findings = list(false_alarms(trace, project))
            seconds = time.perf_counter() - began
            traced += 1
            alarms += len(findings)
            rung = trace.rung or "none"
            print(f"{case.name:32} {rung:5} {len(trace.ops):6} ops {seconds:6.1f} s")
            for finding in findings:
                print(f"    {finding.code} {finding.location.line}: {finding.message}")
            for failure in trace.failures:
                print(f"    failed: {failure.message}")
    print(f"{traced} models, {alarms} false alarms")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
