"""Goldens of the causal families beside Llama (tests/parity/requirements.txt): Mistral, Qwen 2 and 3, InternLM 2,
Gemma 2, Phi-3, and the kinds of rotary scaling on Llama.

Usage: decoders.py [OUT] [--seed N] [--families NAME,...] [--fuzz]

The layout is that of llama.py: OUT/<family>/<case>/ is a checkpoint folder with parity.safetensors beside it.
InternLM 2 has no class in transformers: its reference is Llama with biases, whose q, k and v are put together as the
published modeling code takes them apart ([kv_heads, group + 2, head_dim] rows). --fuzz draws sizes, windows, rotary
kinds and storage afresh for every case, for comparing many seeds.
"""

import argparse
import copy
import json
import pathlib
import random

import safetensors.torch
import torch
import transformers

import llama

FAMILIES = {
    # family: (config class, model class)
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "internlm2": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "gemma2": (transformers.Gemma2Config, transformers.Gemma2ForCausalLM),
    "phi3": (transformers.Phi3Config, transformers.Phi3ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
}


def config(**changes):
    base = dict(vocab_size=131, hidden_size=24, intermediate_size=22, num_hidden_layers=2, num_attention_heads=6,
                num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                pad_token_id=0, tie_word_embeddings=False, initializer_range=0.02)
    base.update(changes)
    return base


def rope(kind, **values):
    return dict(rope_type=kind, rope_theta=values.pop("theta", 10000.0), **values)


def long_factors(pairs, seed):
    generator = random.Random(seed)
    return dict(short_factor=[round(generator.uniform(1.0, 1.5), 3) for _ in range(pairs)],
                long_factor=[round(generator.uniform(1.5, 6.0), 3) for _ in range(pairs)])


YARN = dict(factor=4.0, original_max_position_embeddings=16)
CASES = {
    # (family, case): (config changes, how the folder is written)
    ("mistral", "window"): (config(head_dim=10, sliding_window=5), dict(shards=2)),
    ("mistral", "yarn_v4"): (config(head_dim=8, sliding_window=None, rope_parameters=rope("yarn", **YARN)),
                             dict(old_rope=True, dtype="bfloat16")),
    ("qwen2", "upper_window"): (
        config(num_hidden_layers=3, use_sliding_window=True, sliding_window=6, max_window_layers=1,
               tie_word_embeddings=True), dict(dtype="bfloat16")),
    ("qwen2", "dynamic"): (config(max_position_embeddings=16, head_dim=10,
                                  rope_parameters=rope("dynamic", factor=3.0)), dict(old_rope=True)),
    ("qwen3", "head_dim"): (config(head_dim=10, num_key_value_heads=1), dict()),
    ("qwen3", "types_bias"): (
        config(head_dim=8, attention_bias=True, use_sliding_window=True, sliding_window=4, num_hidden_layers=3,
               layer_types=["sliding_attention", "full_attention", "sliding_attention"],
               rope_parameters=rope("yarn", beta_fast=16, beta_slow=2, mscale=0.7, mscale_all_dim=1.2, **YARN)),
        dict(pickle=1, dtype="float16")),
    ("internlm2", "dynamic"): (config(max_position_embeddings=16, rope_parameters=rope("dynamic", factor=2.0)),
                               dict(old_rope=True)),
    ("internlm2", "bias_linear"): (config(attention_bias=True, num_key_value_heads=3,
                                          rope_parameters=rope("linear", factor=2.0)), dict(pickle=2)),
    ("gemma2", "window_caps"): (
        config(num_hidden_layers=3, head_dim=10, sliding_window=5, query_pre_attn_scalar=17, tie_word_embeddings=True,
               final_logit_softcapping=4.0, attn_logit_softcapping=3.0), dict()),
    ("gemma2", "plain"): (
        config(head_dim=8, sliding_window=64, query_pre_attn_scalar=8, tie_word_embeddings=True,
               final_logit_softcapping=None, attn_logit_softcapping=None), dict(dtype="bfloat16")),
    ("phi3", "longrope"): (
        config(original_max_position_embeddings=15, max_position_embeddings=60, hidden_size=36,
               rope_parameters=rope("longrope", **long_factors(3, 1))), dict(old_rope=True, old_name="su")),
    ("phi3", "partial_window"): (
        config(hidden_size=60, intermediate_size=14, num_hidden_layers=1, sliding_window=7,
               rope_parameters=rope("default", partial_rotary_factor=0.5)), dict()),
    ("llama", "longrope"): (
        config(original_max_position_embeddings=14,
               rope_parameters=rope("longrope", factor=3.0, **long_factors(2, 2))), dict()),
}
MODEL_TYPES = {"internlm2": "internlm2"}
ARCHITECTURES = {"internlm2": "InternLM2ForCausalLM"}


def internlm2_state(state, config):
    """Llama's tensors under InternLM 2's names, q, k, v as one."""
    names = {"model.embed_tokens": "model.tok_embeddings", "lm_head": "output", "input_layernorm": "attention_norm",
             "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1",
             "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}
    groups, width = config.num_attention_heads // config.num_key_value_heads, config.head_dim
    out = {}
    for name, tensor in state.items():
        if "self_attn.q_proj" in name:
            parts = []
            for letter, count in (("q", groups), ("k", 1), ("v", 1)):
                part = state[name.replace("q_proj", letter + "_proj")]
                parts.append(part.view(config.num_key_value_heads, count, width, *part.shape[1:]))
            fused = torch.cat(parts, 1).flatten(0, 2).contiguous()
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = fused
        elif "self_attn.k_proj" not in name and "self_attn.v_proj" not in name:
            for old, new in names.items():
                name = name.replace(old, new)
            out[name] = tensor
    return out


class Stored:
    """What llama.write_weights asks of a model."""

    def __init__(self, family, model):
        self.config = model.config
        self.state = model.state_dict()
        if family == "internlm2":
            self.state = internlm2_state(self.state, model.config)

    def state_dict(self):
        return self.state


def write_config(folder, family, model, old_rope=False, old_name=None, dtype="float32", **_):
    out = json.loads(model.config.to_json_string())
    out["architectures"] = [ARCHITECTURES.get(family, type(model).__name__)]
    out["model_type"] = MODEL_TYPES.get(family, out["model_type"])
    out["dtype"] = dtype
    if family == "internlm2":
        out["bias"] = out.pop("attention_bias")
        out.pop("head_dim")
    if old_rope:  # transformers 4's spelling
        scaling = out.pop("rope_parameters")
        out["rope_theta"] = scaling.pop("rope_theta")
        kind = scaling.pop("rope_type")
        partial = scaling.pop("partial_rotary_factor", None)
        if partial is not None:
            out["partial_rotary_factor"] = partial
        out["rope_scaling"] = None if kind == "default" else dict(type=old_name or kind, **scaling)
        out["torch_dtype"] = out.pop("dtype")
    (folder / "config.json").write_text(json.dumps(out, indent=1))


def build(family, case, changes, layout, out, seed, lengths=(11, 17)):
    torch.manual_seed(seed)
    config_class, model_class = FAMILIES[family]
    model = model_class(config_class(**copy.deepcopy(changes))).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            center = 1.0 if "norm" in key and family != "gemma2" else 0.0
            value.normal_(center, 0.3 if value.dim() == 1 else 0.25)
    folder = out / family / case
    folder.mkdir(parents=True, exist_ok=True)
    dtype = getattr(torch, layout.get("dtype", "float32"))
    llama.write_weights(folder, Stored(family, model.to(dtype)), **layout)
    write_config(folder, family, model, **layout)
    # The reference is what its own loader makes of the folder, in fp32.
    if family == "internlm2":
        state = model.float().state_dict()
        model = model_class(config_class(**copy.deepcopy(changes))).eval()
        model.load_state_dict(state)
    else:
        model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    generation = dict(bos_token_id=1, eos_token_id=changes["eos_token_id"], pad_token_id=0)
    (folder / "generation_config.json").write_text(json.dumps(generation))
    model.generation_config = transformers.GenerationConfig(**generation)
    prompt, new = lengths
    record = {}

    def put(entry, name, inputs, outputs):
        for kind, tensors in (("in", inputs), ("out", outputs)):
            for key, value in tensors.items():
                record[f"{entry}.{name}.{kind}.{key}"] = value.clone().contiguous()

    def fresh():  # dynamic rotary frequencies remember the longest call
        return copy.deepcopy(model)

    with torch.no_grad():
        ids = torch.randint(10, changes["vocab_size"], (2, prompt))
        mask = torch.ones_like(ids)
        mask[1, :prompt // 2] = 0
        for name, inputs in (("batch", dict(input_ids=ids)), ("padded", dict(input_ids=ids, attention_mask=mask))):
            put("forward", name, inputs, dict(logits=fresh()(**inputs).logits))
        if layout.get("fuzz"):
            long = torch.randint(10, changes["vocab_size"], (1, prompt + new))
            put("forward", "long", dict(input_ids=long), dict(logits=fresh()(input_ids=long).logits))
        for name, inputs in (("greedy", dict(input_ids=ids)), ("padded", dict(input_ids=ids, attention_mask=mask))):
            sequences = fresh().generate(**inputs, max_new_tokens=new, do_sample=False)
            put("generate", name, dict(inputs, max_new_tokens=torch.tensor([new])), dict(sequences=sequences))
    safetensors.torch.save_file(record, str(folder / "parity.safetensors"))
    (folder / "parity.json").write_text(json.dumps(dict(
        generator="tests/parity/decoders.py", seed=seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0]), indent=1))


def random_rope(draw, pairs, family):
    if family == "phi3":
        kind = draw.choice(["default", "longrope"])
    elif family == "internlm2":
        kind = draw.choice(["default", "linear", "dynamic"])
    else:
        kind = draw.choice(["default", "linear", "dynamic", "yarn", "longrope", "llama3"])
    values = dict(theta=draw.choice([10000.0, 500.0, 1e6]))
    if kind in ("linear", "dynamic", "llama3", "yarn"):
        values["factor"] = draw.choice([1.5, 2.0, 8.0])
    if kind == "llama3":
        values.update(low_freq_factor=1.0, high_freq_factor=draw.choice([2.0, 4.0]))
    if kind in ("yarn", "llama3") or (kind == "longrope" and family != "phi3"):
        values["original_max_position_embeddings"] = draw.choice([12, 20, 33])
    if kind == "yarn" and draw.random() < 0.5:
        values.update(beta_fast=draw.choice([8, 40]), beta_slow=draw.choice([1, 3]), truncate=draw.random() < 0.5)
        if draw.random() < 0.5:
            values["attention_factor"] = 1.3
    if kind == "longrope":
        values.update(long_factors(pairs, draw.random()))
    return rope(kind, **values)


def random_case(family, seed):
    draw = random.Random(seed)
    kv = draw.choice([1, 2, 3])
    heads = kv * draw.choice([1, 2, 3])
    head_dim = draw.choice([4, 6, 10, 16])
    changes = config(
        vocab_size=draw.choice([61, 131, 200]), num_hidden_layers=draw.choice([1, 2, 4]), num_attention_heads=heads,
        num_key_value_heads=kv, intermediate_size=draw.choice([7, 33]), rms_norm_eps=draw.choice([1e-5, 1e-6]),
        max_position_embeddings=draw.choice([14, 64]), tie_word_embeddings=draw.random() < 0.5,
        eos_token_id=draw.choice([2, [3, 11, 12]]))
    changes["hidden_size"] = heads * head_dim
    pairs = head_dim // 2
    changes["rope_parameters"] = random_rope(draw, pairs, family)
    if family in ("qwen3", "gemma2", "mistral") and draw.random() < 0.5:
        changes["hidden_size"] = heads * draw.choice([5, 8])
    if family in ("qwen2", "qwen3", "gemma2", "mistral"):
        changes["head_dim"] = head_dim
    if family in ("mistral", "phi3"):
        changes["sliding_window"] = draw.choice([None, 2, 3, 8])  # at 1 the reference's cache sees every key
    if family in ("qwen2", "qwen3"):
        changes.update(use_sliding_window=draw.random() < 0.7, sliding_window=draw.choice([2, 7]),
                       max_window_layers=draw.choice([0, 1, 2]))
    if family == "gemma2":
        changes.update(sliding_window=draw.choice([3, 9]), query_pre_attn_scalar=draw.choice([5, 144]),
                       final_logit_softcapping=draw.choice([None, 3.0]), attn_logit_softcapping=draw.choice([None, 2.0]))
    if family in ("internlm2", "llama", "qwen3"):
        changes["attention_bias"] = draw.random() < 0.5
    if family == "phi3":
        changes["original_max_position_embeddings"] = draw.choice([12, 18])
        if draw.random() < 0.4 and changes["rope_parameters"]["rope_type"] == "default":
            changes["rope_parameters"]["partial_rotary_factor"] = draw.choice([0.5, 0.75])
    layout = dict(dtype=draw.choice(["float32", "float32", "bfloat16", "float16"]), old_rope=draw.random() < 0.5,
                  fuzz=True)
    kind = draw.choice(["one", "shards", "pickle", "pickles"])
    layout.update(dict(one={}, shards=dict(shards=3), pickle=dict(pickle=1), pickles=dict(pickle=2))[kind])
    return changes, layout, (draw.choice([1, 5, 11, 19]), draw.choice([3, 12]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?", default=pathlib.Path(__file__).parents[1] / "goldens")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--fuzz", type=int, default=0, metavar="CASES", help="this many random cases a family")
    args = parser.parse_args()
    wanted = args.families.split(",")
    if args.fuzz:
        for family in wanted:
            for i in range(args.fuzz):
                seed = args.seed + i
                changes, layout, lengths = random_case(family, f"{family}{seed}")
                try:
                    build(family, f"s{seed}", changes, layout, args.out, seed, lengths)
                except Exception as error:  # what the reference itself refuses
                    print(family, seed, "refused:", str(error).splitlines()[0][:150])
        return
    for index, ((family, case), (changes, layout)) in enumerate(CASES.items()):
        if family in wanted:
            build(family, case, changes, layout, args.out, args.seed + index)
            print(family, case)


if __name__ == "__main__":
    main()
