"""Writes tests/goldens/checkpoints: weights files of the real packages, and expected.json with
what they hold (element type, shape, strides, row-major bytes in hex, plain values).

  python tests/parity/checkpoints.py      (packages: tests/parity/requirements.txt)
"""

import argparse
import collections
import io
import json
import os
import pathlib
import shutil
import types
import zipfile

import huggingface_hub
import numpy
import safetensors
import safetensors.torch
import torch

SEED = 20260
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "checkpoints"
NAMES = {dtype: name for name, dtype in safetensors.torch._TYPES.items()}
NAMES[torch.float8_e8m0fnu] = "F8_E8M0"

expected = {
    "packages": {
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "huggingface_hub": huggingface_hub.__version__,
        "numpy": numpy.__version__,
    },
    "seed": SEED,
    "files": {},
}


def random_tensor(dtype, shape):
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, dtype=torch.complex64 if dtype.is_complex else torch.float32).to(dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    count = int(numpy.prod(shape))
    return torch.randint(0, 256, (count * size,), dtype=torch.uint8).view(dtype).reshape(shape)


def describe(tensor):
    plain = tensor.detach().contiguous()
    raw = plain.reshape(-1).view(torch.uint8) if plain.numel() else torch.empty(0, dtype=torch.uint8)
    return {
        "dtype": NAMES[tensor.dtype],
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "hex": bytes(raw.tolist()).hex(),
    }


def expect(name, tensors, values=None, **more):
    expected["files"][name] = {
        "tensors": {key: describe(tensor) for key, tensor in tensors.items()},
        "values": values or {},
        **more,
    }


def all_dtypes():
    shapes = [(3, 5), (7,), (), (2, 0, 3), (1, 1, 2)]
    return {
        f"t{index}.{NAMES[dtype].lower()}": random_tensor(dtype, shapes[index % len(shapes)])
        for index, dtype in enumerate(NAMES)
    }


def write_safetensors():
    tensors = all_dtypes()
    tensors['quote"\\ é'] = torch.arange(4, dtype=torch.int16)
    safetensors.torch.save_file(tensors, FOLDER / "all_dtypes.safetensors", metadata={"format": "pt"})
    expect("all_dtypes.safetensors", tensors)
    safetensors.torch.save_file({}, FOLDER / "empty.safetensors")
    expect("empty.safetensors", {})


def write_shards():
    tensors = collections.OrderedDict(
        (f"model.layers.{i}.{part}.weight", torch.randn(4 + i, 3)) for i in range(4) for part in "qkv"
    )
    tensors["lm_head.weight"] = torch.randn(20, 5)
    folder = FOLDER / "shards"
    folder.mkdir()
    huggingface_hub.save_torch_state_dict(tensors, folder, max_shard_size=200)
    expect("shards", tensors, order=list(tensors), max_shard_bytes=200)

    folder = FOLDER / "shards_bin"
    folder.mkdir()
    names = list(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for file, keys in parts.items():
        torch.save({key: tensors[key] for key in keys}, folder / file)
    index = {
        "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
        "weight_map": {key: file for file, keys in parts.items() for key in keys},
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))
    expect("shards_bin", tensors)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 5)
        self.norm = torch.nn.BatchNorm1d(5)
        self.register_buffer("mask", torch.rand(2, 3) < 0.5)
        self.size = 7

    def forward(self, x):
        return self.norm(self.linear(x)) * self.size


def flat(prefix, tensors):
    return {f"{prefix}.{key}": tensor for key, tensor in tensors.items()}


def write_torch():
    model = Model()
    state = model.state_dict()
    expect("state_dict.pt", state)
    torch.save(state, FOLDER / "state_dict.pt")
    expect("protocol4.pt", state)
    torch.save(state, FOLDER / "protocol4.pt", pickle_protocol=4)
    expect("legacy.pt", state)
    torch.save(state, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    expect(
        "script.pt",
        state,
        {
            "training": True,
            "size": 7,
            "linear.training": True,
            "norm.training": True,
            "_is_full_backward_hook": None,
            "linear._is_full_backward_hook": None,
            "norm._is_full_backward_hook": None,
        },
    )
    torch.jit.save(torch.jit.script(model), FOLDER / "script.tmp")
    # The debug records name folders of the machine that wrote them.
    repack("script.tmp", "script.pt", drop=".debug_pkl")
    (FOLDER / "script.tmp").unlink()
    torch.save(model, FOLDER / "module.pt")
    tensors = all_dtypes()
    expect("dtypes.pt", tensors)
    torch.save(tensors, FOLDER / "dtypes.pt")
    bare = torch.randn(3, 2)
    expect("bare.pt", {"tensor": bare})
    torch.save(bare, FOLDER / "bare.pt")


def write_views():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    views = {
        "base": base,
        "alias": base,
        "transposed": base.t(),
        "sliced": base[1:3, 2:5],
        "stepped": base[::2, ::3],
        "row": base[3],
        "element": base[2, 4],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }
    expect("views.pt", views)
    torch.save(views, FOLDER / "views.pt")
    expect("views_legacy.pt", views)
    torch.save(views, FOLDER / "views_legacy.pt", _use_new_zipfile_serialization=False)


def write_nested():
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    whole = {
        "state_dict": model.state_dict(),
        "optimizer": state,
        "epoch": 3,
        "loss": 0.25,
        "name": "tést",
        "done": True,
        "nothing": None,
        "big": 1 << 40,
        "negative": -5,
        "huge": 1 << 90,
        "config": {"dim": 512, "layers": [1, 2, 3], "act": "gelu", "nested": {"a": [{"b": 1}, 2]}},
        "args": argparse.Namespace(rate=16000, words=["a", "b"]),
        "simple": types.SimpleNamespace(width=9),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "size": torch.Size([2, 3]),
        "default": collections.defaultdict(list, {"k": 4}),
        "path": pathlib.PurePosixPath("a/b"),
        "numpy": {"f": numpy.float64(2.5), "i": numpy.int64(-3), "b": numpy.bool_(True), "s": numpy.float32(0.5)},
        "array": numpy.arange(6, dtype=numpy.int32).reshape(2, 3),
        "fortran": numpy.asfortranarray(numpy.arange(6, dtype=numpy.float64).reshape(2, 3)),
        "bytes": b"ab\xff",
        "set": {4},
        "list": [torch.ones(2), {"x": torch.zeros(1)}],
        7: torch.ones(1),
    }
    tensors = flat("state_dict", model.state_dict())
    for key, slots in state["state"].items():
        tensors.update(flat(f"optimizer.state.{key}", slots))
    tensors["array"] = torch.from_numpy(whole["array"])
    tensors["fortran"] = torch.from_numpy(whole["fortran"])
    tensors.update({"list.0": torch.ones(2), "list.1.x": torch.zeros(1), "7": torch.ones(1)})
    values = {f"optimizer.param_groups.0.{k}": v for k, v in state["param_groups"][0].items()}
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    values.update({k: whole[k] for k in "epoch loss name done nothing big negative".split()})
    values.update(
        {
            "config.dim": 512,
            "config.layers": [1, 2, 3],
            "config.act": "gelu",
            "config.nested.a.0.b": 1,
            "config.nested.a.1": 2,
            "args.rate": 16000,
            "args.words": ["a", "b"],
            "simple.width": 9,
            "dtype": "torch.float32",
            "device": "cpu",
            "size": [2, 3],
            "default.k": 4,
            "path": "a/b",
            "numpy.f": 2.5,
            "numpy.i": -3,
            "numpy.b": True,
            "numpy.s": 0.5,
            "set": [4],
        }
    )
    for name, options in {
        "nested.pt": {},
        "nested4.pt": {"pickle_protocol": 4},
        "nested_legacy.pt": {"_use_new_zipfile_serialization": False},
    }.items():
        expect(name, tensors, values)
        torch.save(whole, FOLDER / name, **options)


def repack(source, target, change=None, drop=None, **options):
    """The same archive as another program would pack it."""
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / target, "w") as new:
        for info in old.infolist():
            if drop and info.filename.endswith(drop):
                continue
            content = old.read(info)
            if change and info.filename.endswith(change[0]):
                content = change[1]
            entry = zipfile.ZipInfo(info.filename)
            entry.compress_type = options.get("compression", zipfile.ZIP_STORED)
            with new.open(entry, "w", force_zip64=options.get("zip64", False)) as out:
                out.write(content)


class Unseekable(io.RawIOBase):
    """Makes zipfile write data descriptors instead of sizes in the local headers."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, content):
        return self.file.write(content)


def write_repacked():
    plain = expected["files"]["state_dict.pt"]
    repack("state_dict.pt", "deflated.pt", compression=zipfile.ZIP_DEFLATED)
    repack("state_dict.pt", "zip64.pt", zip64=True)
    repack("state_dict.pt", "big_endian.pt", change=("byteorder", b"big"))
    stream = Unseekable(FOLDER / "descriptors.pt")
    with zipfile.ZipFile(FOLDER / "state_dict.pt") as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename), old.read(info))
    stream.file.close()
    for name in ("deflated.pt", "zip64.pt", "descriptors.pt"):
        expected["files"][name] = plain


class Shell:
    def __reduce__(self):
        return os.system, ("true",)


def main():
    torch.manual_seed(SEED)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    write_safetensors()
    write_shards()
    write_torch()
    write_views()
    write_nested()
    write_repacked()
    torch.save({"weight": torch.ones(2), "hook": Shell()}, FOLDER / "shell.pt")
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
