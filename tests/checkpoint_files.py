"""Checkpoints written by the real libraries, with the tensors that these load again."""

from __future__ import annotations

import argparse
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

# What a library loads: names, shapes and dtypes.
Table = dict[str, tuple[tuple[int, ...], str]]
Writer = Callable[[Path], tuple[Path, Table]]


class Net(nn.Module):
    """Convolution, batch norm, a buffer that is not saved, and a tied pair of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.embed = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("position_ids", torch.arange(4), persistent=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).mean((2, 3))) * self.scale


def table(state: Mapping[str, torch.Tensor]) -> Table:
    return {
        name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state.items()
    }


def loaded(path: Path, *keys: str) -> Table:
    state = torch.load(path, weights_only=False)
    for key in keys:
        state = state[key]
    return table(state.state_dict() if isinstance(state, nn.Module) else state)


def plain(folder: Path, name: str = "plain.pt", **options: object) -> tuple[Path, Table]:
    path = folder / name
    torch.save(Net().state_dict(), path, **options)
    return path, loaded(path)


def legacy(folder: Path) -> tuple[Path, Table]:
    return plain(folder, "legacy.pth", _use_new_zipfile_serialization=False)


def protocol_4(folder: Path) -> tuple[Path, Table]:
    return plain(folder, "four.pt", pickle_protocol=4)


def legacy_protocol_4(folder: Path) -> tuple[Path, Table]:
    return plain(folder, "old4.pt", pickle_protocol=4, _use_new_zipfile_serialization=False)


def nested(folder: Path) -> tuple[Path, Table]:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = folder / "nested.pth.tar"
    content = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, out=folder),
        "optimizer": optimizer.state_dict(),
        "model_ema": net.state_dict(),
        "model": net.state_dict(),
    }
    torch.save(content, path)
    return path, loaded(path, "model")


def whole_module(folder: Path) -> tuple[Path, Table]:
    path = folder / "whole.pt"
    torch.save({"model": Net(), "epoch": 1}, path)
    return path, loaded(path, "model")


def legacy_module(folder: Path) -> tuple[Path, Table]:
    path = folder / "whole_old.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(Net(), path, _use_new_zipfile_serialization=False)
    return path, loaded(path)


def deflated(folder: Path) -> tuple[Path, Table]:
    path, names = plain(folder)
    small = folder / "deflated.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return small, names


def odd_tensors(folder: Path) -> tuple[Path, Table]:
    path = folder / "odd.pt"
    big = torch.zeros(1000, 100)
    content = {
        "row": big[3],
        "half": big.half(),
        "float8": torch.zeros(2, 3, dtype=torch.float8_e4m3fn),
        "unsigned": torch.zeros(2, dtype=torch.uint16),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(4).to_sparse_csr(),
        "meta": torch.zeros(5, device="meta"),
        "parameter": nn.Parameter(torch.zeros(2)),
        "buffer": nn.Buffer(torch.zeros(3)),
        "scalar": torch.tensor(1),
        "empty": torch.zeros(0, 3),
        "expanded": torch.zeros(1).expand(6),
        "strange name: ü-1": torch.zeros(1),
    }
    torch.save(content, path)
    return path, loaded(path)


def torchscript(folder: Path) -> tuple[Path, Table]:
    path = folder / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(Net().eval(), torch.randn(1, 3, 8, 8))
        torch.jit.save(module, path)
        return path, table(torch.jit.load(path).state_dict())


def exported(folder: Path) -> tuple[Path, Table]:
    path = folder / "exported.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Net().eval(), (torch.randn(1, 3, 8, 8),))
        torch.export.save(program, path)
        if not any("weights_config" in name for name in zipfile.ZipFile(path).namelist()):
            pytest.skip("this torch writes .pt2 without a table of weights")
        return path, table(torch.export.load(path).state_dict)


def distributed(folder: Path) -> tuple[Path, Table]:
    import torch.distributed.checkpoint as dcp

    path = folder / "dcp"
    state = {"model": Net().state_dict(), "step": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=path)
        flat = folder / "flat.pt"
        from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

        dcp_to_torch_save(path, flat)
    return path, loaded(flat, "model")


def safetensors_file(folder: Path) -> tuple[Path, Table]:
    save = pytest.importorskip("safetensors.torch")
    path = folder / "model.safetensors"
    tensors = {
        "float8": torch.zeros(2, 3, dtype=torch.float8_e5m2),
        "bf16": torch.zeros(3, dtype=torch.bfloat16),
        "bool": torch.zeros(3, dtype=torch.bool),
        "int64": torch.zeros((), dtype=torch.int64),
        "empty": torch.zeros(0, 4),
    }
    save.save_file(tensors, path, metadata={"format": "pt"})
    return path, table(save.load_file(path))


def safetensors_model(folder: Path) -> tuple[Path, Table]:
    save = pytest.importorskip("safetensors.torch")
    path = folder / "tied.safetensors"
    save.save_model(Net(), str(path))
    return path, table(save.load_file(path))


def sharded(folder: Path) -> tuple[Path, Table]:
    save = pytest.importorskip("safetensors.torch")
    state = {name: tensor.clone() for name, tensor in Net().state_dict().items()}
    names = list(state)
    shards = {"model-00001-of-00002.safetensors": names[:3]}
    shards["model-00002-of-00002.safetensors"] = names[3:]
    for file, keys in shards.items():
        save.save_file({key: state[key] for key in keys}, folder / file)
    index = {"metadata": {}, "weight_map": {k: f for f, keys in shards.items() for k in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder, table(state)


def sharded_bin(folder: Path) -> tuple[Path, Table]:
    state = Net().state_dict()
    names = list(state)
    torch.save({key: state[key] for key in names[:3]}, folder / "a.bin")
    torch.save({key: state[key] for key in names[3:]}, folder / "b.bin")
    mapping = {key: "a.bin" if key in names[:3] else "b.bin" for key in names}
    path = folder / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": mapping}))
    return path, table(state)


def gguf_file(folder: Path) -> tuple[Path, Table]:
    gguf = pytest.importorskip("gguf")
    import numpy

    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_array("tokenizer.ggml.tokens", [f"token {i}" for i in range(500)])
    writer.add_array("scores", [0.5, 1.5])
    writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((4, 6), numpy.float32))
    writer.add_tensor("output_norm.weight", numpy.zeros(8, numpy.float16))
    quantized = gguf.quants.quantize(
        numpy.zeros((2, 64), numpy.float32), gguf.GGMLQuantizationType.Q8_0
    )
    writer.add_tensor("q.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    names = {"F32": "float32", "F16": "float16", "Q8_0": "q8_0"}
    return path, {
        tensor.name: (
            tuple(int(size) for size in reversed(tensor.shape)),
            names[tensor.tensor_type.name],
        )
        for tensor in gguf.GGUFReader(path).tensors
    }


def lightning(folder: Path) -> tuple[Path, Table]:
    try:
        import lightning.pytorch as pl
    except Exception as error:  # a torchvision of another torch breaks its import
        pytest.skip(f"lightning cannot be imported: {error}")

    class Lit(pl.LightningModule):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = nn.Linear(width, 2)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return self.model(batch[0]).sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(2, 3)))
        trainer = pl.Trainer(
            max_steps=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(Lit(), data)
        path = folder / "last.ckpt"
        trainer.save_checkpoint(path)
    return path, loaded(path, "state_dict")


def adapter(folder: Path) -> tuple[Path, Table]:
    peft = pytest.importorskip("peft")
    save = pytest.importorskip("safetensors.torch")
    base = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    config = peft.LoraConfig(r=2, target_modules=["0"], modules_to_save=["2"])
    path = folder / "adapter"
    peft.get_peft_model(base, config).save_pretrained(str(path))
    return path, table(save.load_file(path / "adapter_model.safetensors"))


# Every form, by the name of its test.
WRITERS: Mapping[str, Writer] = {
    writer.__name__: writer
    for writer in (
        plain,
        legacy,
        protocol_4,
        legacy_protocol_4,
        nested,
        whole_module,
        legacy_module,
        deflated,
        odd_tensors,
        torchscript,
        exported,
        distributed,
        safetensors_file,
        safetensors_model,
        sharded,
        sharded_bin,
        gguf_file,
        lightning,
        adapter,
    )
}
FORMS = {
    "legacy": "legacy torch file",
    "legacy_protocol_4": "legacy torch file",
    "legacy_module": "legacy torch file",
    "torchscript": "TorchScript archive",
    "exported": "exported program",
    "distributed": "distributed checkpoint",
    "safetensors_file": "safetensors",
    "safetensors_model": "safetensors",
    "sharded": "safetensors",
    "gguf_file": "GGUF",
    "adapter": "safetensors",
}


def tar_file(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
