"""Goldens of quantised checkpoints.

requirements: requirements-quantized.txt

Usage: quantized.py [OUT] [--seed N] [--cases NAME,...]

The layout is that of llama.py. The weights of a tiny Llama are rounded and packed by the packages that define the
formats: compressed-tensors, auto-gptq's QuantLinear, bitsandbytes. AWQ's package is no longer installable beside these,
so its two layouts are written here from their description. The logits are those of the same Llama in fp32 with the
weights that the package makes of its own packed ones (scales in fp32). parity.safetensors holds them.
"""

import argparse
import importlib.util
import json
import pathlib

import bitsandbytes.functional as bnb
import safetensors.torch
import torch
import transformers
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.compressors.naive_quantized import IntQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

CONFIG = dict(vocab_size=61, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
              tie_word_embeddings=False, head_dim=16, attention_bias=True)


def affine(weight, bits, group, symmetric, order=None, dtype=torch.float16):
    """Scales and unsigned zero points [out, groups] by the extremes of each group, g_idx [in]."""
    out, columns = weight.shape
    group = columns if group == -1 else group
    index = torch.arange(columns) // group
    if order is not None:  # act-order: groups are made of scattered columns
        index = index[torch.argsort(order)]
    groups = int(index.max()) + 1
    scales, zeros = torch.zeros(out, groups), torch.zeros(out, groups)
    most = 2**bits - 1
    for g in range(groups):
        part = weight[:, index == g]
        low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
        if symmetric:
            scales[:, g] = 2 * torch.maximum(-low, high) / most
            zeros[:, g] = 2**(bits - 1)
        else:
            scales[:, g] = (high - low) / most
            zeros[:, g] = (-low / scales[:, g]).round().clamp(1, most)  # 0 has no code less one in one field
    return scales.to(dtype).float(), zeros, index


def compressed(weight, case, seed):
    bits, group, symmetric = case["bits"], case["group"], case["symmetric"]
    strategy = "channel" if group == -1 else "group"
    dtype = getattr(torch, case.get("dtype", "bfloat16"))
    scales, zeros, index = affine(weight, bits, group, symmetric, dtype=dtype)
    offset = 2**(bits - 1)
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy=strategy,
                            group_size=None if group == -1 else group)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    coder = IntQuantizationCompressor if case["format"] == "int-quantized" else PackedQuantizationCompressor
    state = dict(weight=weight, weight_scale=scales, weight_zero_point=(zeros - offset).to(torch.int8))
    packed = coder.compress(state, scheme)
    dense = coder.decompress(packed, scheme)["weight"].float()
    packed["weight_scale"] = packed["weight_scale"].to(dtype)
    if case.get("order"):  # the same columns, scattered
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(seed))
        values = unpacked(packed["weight_packed"], bits, weight.shape[1])
        dense = dense[:, order]
        packed["weight_packed"] = compressed_pack(values[:, order] - offset, bits)
        packed["weight_g_idx"] = index[order].to(torch.int32)
    return packed, dense


def unpacked(words, bits, count):
    from compressed_tensors.compressors.pack_quantized import unpack_from_int32
    return unpack_from_int32(words, bits, (words.shape[0], count)).int() + 2**(bits - 1)


def compressed_pack(values, bits):
    from compressed_tensors.compressors.pack_quantized import pack_to_int32
    return pack_to_int32(values.to(torch.int8), bits)


def gptq(weight, case, seed):
    folder = importlib.util.find_spec("auto_gptq").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("qlinear_cuda", folder + "/nn_modules/qlinear/qlinear_cuda.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    order = None
    if case.get("order"):
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(seed))
    scales, zeros, index = affine(weight, case["bits"], case["group"], case["symmetric"], order)
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.clone()
    packed = module.QuantLinear(case["bits"], case["group"], weight.shape[1], weight.shape[0], bias=False)
    packed.pack(linear, scales.clone(), zeros.clone(), index.to(torch.int32))
    packed.scales = packed.scales.float()
    dense = packed(torch.eye(weight.shape[1])).t().contiguous()
    if case.get("version", 1) == 2:  # what it stores is one less than what it is given
        again = module.QuantLinear(case["bits"], case["group"], weight.shape[1], weight.shape[0], bias=False)
        again.pack(linear, scales.clone(), zeros.clone() + 1, index.to(torch.int32))
        packed.qzeros = again.qzeros
    return dict(qweight=packed.qweight, qzeros=packed.qzeros, scales=packed.scales.half(),
                g_idx=packed.g_idx.to(torch.int32)), dense


def nibbles(values, order):
    """[rows, 8 n] -> i32 [rows, n]; nibble i of a word is number order[i] of its eight."""
    groups = values.long().view(values.shape[0], -1, 8)[:, :, order]
    return (groups << (4 * torch.arange(8))).sum(2).to(torch.int64).to(torch.int32)


def awq(weight, case, seed):
    group = case["group"]
    scales, zeros, index = affine(weight, 4, group, False)
    codes = ((weight / scales[:, index]).round() + zeros[:, index]).clamp(0, 15)
    dense = (codes - zeros[:, index]) * scales[:, index]
    if case["version"] == "gemm":
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        return dict(qweight=nibbles(codes.t(), order), qzeros=nibbles(zeros.t(), order),
                    scales=scales.t().half().contiguous()), dense
    multiple = {128: 1, 64: 2, 32: 4}[group]
    words = -(-(-(-zeros.shape[1] // 8)) // multiple) * multiple
    wide_zeros, wide_scales = torch.zeros(2, weight.shape[0], words * 8)
    wide_zeros[:, :zeros.shape[1]], wide_scales[:, :zeros.shape[1]] = zeros, scales
    order = list(range(8))
    return dict(qweight=nibbles(codes, order), qzeros=nibbles(wide_zeros, order), scales=wide_scales.half()), dense


def bits_and_bytes(weight, case, seed):
    if case["kind"] == "int8":
        codes, row_absmax, _ = bnb.int8_vectorwise_quant(weight.half())
        dense = codes.float() * row_absmax.float().unsqueeze(1) / 127
        return dict(weight=codes, SCB=row_absmax.float(), weight_format=torch.zeros((), dtype=torch.uint8)), dense
    codes, state = bnb.quantize_4bit(weight, blocksize=64, quant_type=case["kind"], compress_statistics=case["nested"])
    # The generic implementation: the CPU kernel of 0.50.2 takes blocks to start anew in every row, which the quantiser
    # (and the kernels of GPUs) do not do.
    absmax = state.absmax
    if state.nested:
        absmax = bnb.dequantize_blockwise(absmax, state.state2) + state.offset
    dense = _dequantize_4bit_compute(codes.reshape(-1), absmax.float(), state.code, 64, weight.shape, torch.float32)
    return dict({"weight": codes}, **{"weight." + key: value for key, value in state.as_dict(packed=True).items()}), dense


def ct_config(case):
    return dict(quant_method="compressed-tensors", format=case["format"], quantization_status="compressed",
                ignore=["lm_head"], config_groups=dict(group_0=dict(
                    targets=["Linear"], input_activations=None, output_activations=None,
                    weights=dict(num_bits=case["bits"], type="int", symmetric=case["symmetric"], dynamic=False,
                                 strategy="channel" if case["group"] == -1 else "group",
                                 group_size=None if case["group"] == -1 else case["group"],
                                 actorder="group" if case.get("order") else None))))


def gptq_config(case):
    return dict(quant_method="gptq", bits=case["bits"], group_size=case["group"], desc_act=bool(case.get("order")),
                sym=case["symmetric"], lm_head=False, checkpoint_format=case.get("label", "gptq"))


def awq_config(case):
    return dict(quant_method="awq", bits=4, group_size=case["group"], zero_point=True, version=case["version"],
                modules_to_not_convert=case["skip"] or None)


def bnb_config(case):
    four = case["kind"] != "int8"
    return dict(quant_method="bitsandbytes", load_in_4bit=four, load_in_8bit=not four, bnb_4bit_quant_type=case["kind"],
                bnb_4bit_use_double_quant=case["nested"], bnb_4bit_compute_dtype="float32", llm_int8_skip_modules=None)


PACKED = "pack-quantized"
CASES = {
    "ct_w4_group": (compressed, ct_config, dict(format=PACKED, bits=4, group=32, symmetric=True)),
    "ct_w4_asym_channel": (compressed, ct_config,
                           dict(format=PACKED, bits=4, group=-1, symmetric=False, dtype="float16")),
    "ct_w3_asym_order": (compressed, ct_config, dict(format=PACKED, bits=3, group=16, symmetric=False, order=True)),
    "ct_w8_group": (compressed, ct_config, dict(format=PACKED, bits=8, group=32, symmetric=False, dtype="float32")),
    "ct_int8_channel": (compressed, ct_config, dict(format="int-quantized", bits=8, group=-1, symmetric=True)),
    "ct_int8_asym_group": (compressed, ct_config, dict(format="int-quantized", bits=8, group=16, symmetric=False)),
    "gptq4_v1": (gptq, gptq_config, dict(bits=4, group=32, symmetric=True)),
    "gptq4_v2_order": (gptq, gptq_config,
                       dict(bits=4, group=16, symmetric=False, order=True, version=2, label="gptq_v2")),
    "gptq3_v1_order": (gptq, gptq_config, dict(bits=3, group=32, symmetric=False, order=True)),
    "gptq2_v1": (gptq, gptq_config, dict(bits=2, group=16, symmetric=False)),
    "gptq8_v2_labelled_v1": (gptq, gptq_config, dict(bits=8, group=-1, symmetric=True, version=2)),
    "awq_gemm": (awq, awq_config, dict(group=32, version="gemm", skip=["self_attn"])),
    "awq_gemv": (awq, awq_config, dict(group=32, version="gemv", skip=[])),
    "bnb_nf4_double": (bits_and_bytes, bnb_config, dict(kind="nf4", nested=True)),
    "bnb_fp4": (bits_and_bytes, bnb_config, dict(kind="fp4", nested=False)),
    "bnb_int8": (bits_and_bytes, bnb_config, dict(kind="int8", nested=False)),
}


def build(name, out, seed):
    pack, describe, case = CASES[name]
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG)).eval()
    tensors = {}
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(1.0 if "norm" in key else 0.0, 0.3 if value.dim() == 1 else 0.15)
            value.copy_(value.half().float())
            tensors[key] = value.half().clone()
        for key, module in model.named_modules():
            skipped = key == "lm_head" or any(part in key for part in case.get("skip", []))
            if isinstance(module, torch.nn.Linear) and not skipped:
                parts, dense = pack(module.weight.detach().clone(), case, seed)
                del tensors[key + ".weight"]
                tensors.update({f"{key}.{part}": value.contiguous() for part, value in parts.items()})
                module.weight.copy_(dense)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
    config = dict(CONFIG, architectures=["LlamaForCausalLM"], model_type="llama", torch_dtype="float16",
                  rope_theta=10000.0, quantization_config=describe(case))
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    record = {}
    with torch.no_grad():
        for entry, shape in (("batch", (2, 11)), ("one", (1, 1))):  # more rows than few, and one
            ids = torch.randint(3, CONFIG["vocab_size"], shape)
            record[f"forward.{entry}.in.input_ids"] = ids
            record[f"forward.{entry}.out.logits"] = model(input_ids=ids).logits.clone()
    safetensors.torch.save_file(record, str(folder / "parity.safetensors"))
    (folder / "parity.json").write_text(json.dumps(dict(
        generator="tests/parity/quantized.py", seed=seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0]), indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?",
                        default=pathlib.Path(__file__).parents[1] / "goldens" / "quantized")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--cases", default=",".join(CASES))
    args = parser.parse_args()
    for case in args.cases.split(","):
        build(case, args.out, args.seed + list(CASES).index(case))
        print(case)
