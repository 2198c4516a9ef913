"""Goldens of GGUF files from the gguf package, and of models in them from huggingface/transformers.

Usage: gguf_files.py [OUT] [--seed N]      (packages: tests/parity/requirements.txt)

tests/goldens/gguf: blocks.gguf has one tensor of every block format, `<format>.numbers` the numbers that it
stands for, and for formats that the package can round, `<format>.in` -> `<format>.rounded` (as U8-sized I8 bytes).
metadata.gguf has every value type; split/ is one file in parts. models/<case>/ is a file as converters write
it, with parity.safetensors beside it (see llama.py): the reference runs on the dequantised weights.
"""

import argparse
import pathlib

import gguf
import numpy
import safetensors.torch
import torch
import transformers

FORMATS = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS BF16 F16 MXFP4".split()
ROUNDED = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 BF16 F16 MXFP4".split()
# Bytes at which a block has its fp16 scales.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
# Sizes of scales at which the numbers come out around 0.1.
SIZE = {"Q2_K": 0.01, "Q3_K": 0.002, "Q4_K": 0.0004, "Q5_K": 0.0002, "Q6_K": 0.0001, "IQ4_XS": 0.0001, "Q8_0": 0.002,
        "IQ4_NL": 0.002}


def random_blocks(rng, name, rows, width):
    """Blocks of any codes, with scales that give numbers of ordinary size."""
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * width // elements, size), dtype=numpy.uint8)
    for at in SCALES.get(name, []):
        scale = (rng.uniform(0.5, 1.5, len(blocks)) * SIZE.get(name, 0.02)).astype(numpy.float16)
        if at > 0 and name in ("Q4_1", "Q5_1"):  # the offset: numbers around 0
            scale = (blocks[:, :2].copy().view(numpy.float16)[:, 0] * (-8 if name == "Q4_1" else -16)).astype(numpy.float16)
        blocks[:, at:at + 2] = scale.view(numpy.uint8).reshape(-1, 2)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(120, 126, len(blocks))
    if name in ("BF16", "F16"):
        return gguf.quants.quantize(rng.standard_normal((rows, width)).astype(numpy.float32) * 0.1, kind).view(numpy.uint8)
    return blocks.reshape(rows, width // elements * size)


def numbers_of(blocks, name):
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype(numpy.float32)


def add(writer, name, blocks, kind):
    """A tensor of `kind` from its bytes [rows, row bytes]."""
    if kind in ("F32", "F16"):
        blocks = blocks.view(numpy.float32 if kind == "F32" else numpy.float16)
    writer.add_tensor(name, numpy.ascontiguousarray(blocks), raw_dtype=gguf.GGMLQuantizationType[kind])


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_blocks(out, rng):
    writer = gguf.GGUFWriter(str(out / "blocks.gguf"), "none")
    for name in FORMATS:
        width = 512 if gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][0] == 256 else 96
        blocks = random_blocks(rng, name, 2, width)
        add(writer, name, blocks, name)
        writer.add_tensor(name + ".numbers", numbers_of(blocks, name).reshape(2, width))
        if name in ROUNDED:
            values = rng.standard_normal((3, width)).astype(numpy.float32)
            values[0, :40] = 0
            values[1, 32:64] = numpy.round(values[1, 32:64] * 2)  # ties
            values[2] = numpy.abs(values[2]) * 300
            writer.add_tensor(name + ".in", values)
            rounded = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name]).view(numpy.int8)
            writer.add_tensor(name + ".rounded", numpy.ascontiguousarray(rounded))
    finish(writer)


def write_metadata(out):
    writer = gguf.GGUFWriter(str(out / "metadata.gguf"), "none")
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -100)
    writer.add_uint16("a.u16", 60000)
    writer.add_int16("a.i16", -30000)
    writer.add_uint32("a.u32", 4000000000)
    writer.add_int32("a.i32", -2000000000)
    writer.add_uint64("a.u64", 2**63 + 5)
    writer.add_int64("a.i64", -(2**62))
    writer.add_float32("a.f32", 0.1)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "naïve ▁ text")
    writer.add_array("a.texts", ["", "b", "▁c"])
    writer.add_array("a.integers", [3, -1, 2])
    writer.add_array("a.numbers", [0.5, -2.0])
    writer.add_array("a.bools", [True, False])
    writer.add_tensor("three", numpy.arange(24, dtype=numpy.float32).reshape(2, 3, 4))
    writer.add_tensor("whole", numpy.arange(5, dtype=numpy.int64))
    finish(writer)


def write_split(out, rng):
    folder = out / "split"
    folder.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(str(folder / "m.gguf"), "none", split_max_tensors=2)
    writer.add_string("note", "in the first part")
    for i in range(5):
        writer.add_tensor(f"t{i}", numpy.full((i + 1, 32), i, numpy.float32))
    finish(writer)


def permuted(weight, heads):
    """Rows as convert_hf_to_gguf puts them for the Llama family."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


BASE = dict(vocab_size=67, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False)
WIDE = dict(BASE, hidden_size=256, intermediate_size=256, num_attention_heads=2, num_key_value_heads=1, head_dim=16)

# name: (architecture in GGUF, class, configuration, formats by turns)
CASES = {
    "llama_k": ("llama", "Llama", dict(WIDE), "Q4_K Q6_K Q5_K Q3_K Q2_K IQ4_XS Q8_0 Q4_0".split()),
    "llama_legacy": ("llama", "Llama", dict(BASE, attention_bias=True, mlp_bias=True),
                     "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4 BF16 F16 F32".split()),
    "llama_tied_linear": ("llama", "Llama",
                          dict(BASE, tie_word_embeddings=True, head_dim=32,
                               rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=5000.0)), ["Q8_0"]),
    "llama3": ("llama", "Llama",
               dict(BASE, rope_parameters=dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0,
                                               high_freq_factor=4.0, original_max_position_embeddings=64)), ["Q8_0"]),
    "qwen2": ("qwen2", "Qwen2", dict(BASE, tie_word_embeddings=True), "Q4_1 Q8_0".split()),
    "qwen3": ("qwen3", "Qwen3", dict(BASE, head_dim=24), "Q5_0 Q8_0".split()),
    "gemma2": ("gemma2", "Gemma2",
               dict(BASE, head_dim=24, query_pre_attn_scalar=24, sliding_window=7, tie_word_embeddings=True,
                    attn_logit_softcapping=20.0, final_logit_softcapping=10.0), "Q8_0 Q5_1".split()),
    "phi3": ("phi3", "Phi3", dict(BASE, sliding_window=9, pad_token_id=0), "Q8_0 Q4_0".split()),
}
# The formats in which the parts of a model come: the whole name, or what follows the layer.
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
GEMMA = dict(NAMES, post_attention_layernorm="post_attention_norm", pre_feedforward_layernorm="ffn_norm",
             post_feedforward_layernorm="post_ffw_norm")


def gguf_name(name, names):
    if name.startswith("lm_head."):
        return "output." + name.split(".")[-1]
    path, kind = name.removeprefix("model.").rsplit(".", 1)
    if path.startswith("layers."):
        _, layer, path = path.split(".", 2)
        return f"blk.{layer}.{names[path]}.{kind}"
    return f"{names[path]}.{kind}"


def write_keys(writer, arch, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if arch in ("llama", "qwen3", "gemma2"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":  # convert_hf_to_gguf's generate_extra_tensors
        inverse, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, head_dim, 2).float() / head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / inverse).float().numpy())
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch in ("gemma2", "phi3"):
        writer.add_sliding_window(config.sliding_window)


def build_model(name, out, seed):
    arch, kind, changes, formats = CASES[name]
    torch.manual_seed(seed)
    rng = numpy.random.default_rng(seed)
    config = getattr(transformers, kind + "Config")(**changes)
    model = getattr(transformers, kind + "ForCausalLM")._from_config(config, attn_implementation="eager").eval()
    folder = out / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(folder / "model.gguf"), arch)
    write_keys(writer, arch, config)
    writer.add_eos_token_id(2)
    state, turn = {}, 0
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        shape = value.shape
        target = gguf_name(key, GEMMA if arch == "gemma2" else NAMES)
        if len(shape) == 1:
            centre = 1.0 if "norm" in key and arch != "gemma2" else 0.0
            stored = truth = (rng.standard_normal(shape) * 0.2 + centre).astype(numpy.float32)
            if "norm" in key and arch == "gemma2":
                stored = truth + numpy.float32(1)
                truth = stored - numpy.float32(1)
        else:
            turn += 1
            fits = [f for f in formats if shape[1] % gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[f]][0] == 0]
            chosen = fits[turn % len(fits)]
            if chosen == "F32":
                stored = truth = (rng.standard_normal(shape) * 0.1).astype(numpy.float32)
            else:
                stored = random_blocks(rng, chosen, *shape)
                truth = numbers_of(stored, chosen).reshape(shape)
        state[key] = torch.from_numpy(truth.copy())
        if arch == "llama" and ("q_proj" in key or "k_proj" in key):
            stored = permuted(stored, config.num_attention_heads if "q_proj" in key else config.num_key_value_heads)
        if len(shape) == 1:
            writer.add_tensor(target, stored)
        else:
            add(writer, target, stored.view(numpy.uint8).reshape(shape[0], -1), chosen)
    finish(writer)
    model.load_state_dict(state, strict=False)
    if config.tie_word_embeddings:
        model.tie_weights()
    record = {}
    with torch.no_grad():
        ids = torch.randint(3, config.vocab_size, (2, 13))
        mask = torch.ones_like(ids)
        mask[0, :4] = 0
        for case, inputs in (("batch", dict(input_ids=ids)), ("one", dict(input_ids=ids[:1, :1])),
                             ("padded", dict(input_ids=ids, attention_mask=mask))):
            logits = model(**inputs).logits
            for k, v in inputs.items():
                record[f"forward.{case}.in.{k}"] = v.clone().contiguous()
            record[f"forward.{case}.out.logits"] = logits.clone().contiguous()
        for length in (3, 5, 9):
            record[f"forward.length{length}.in.input_ids"] = ids[:1, :length].clone().contiguous()
            record[f"forward.length{length}.out.logits"] = model(input_ids=ids[:1, :length]).logits.clone().contiguous()
    safetensors.torch.save_file(record, str(folder / "parity.safetensors"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?",
                        default=str(pathlib.Path(__file__).resolve().parent.parent / "goldens" / "gguf"))
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rng = numpy.random.default_rng(arguments.seed)
    write_blocks(out, rng)
    write_metadata(out)
    write_split(out, rng)
    for name in CASES:
        build_model(name, out, arguments.seed)


if __name__ == "__main__":
    main()
