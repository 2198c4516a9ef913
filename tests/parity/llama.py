"""Goldens of LlamaForCausalLM from huggingface/transformers (tests/parity/requirements.txt).

Usage: llama.py [OUT] [--seed N] [--cases NAME,...]

Each case is a folder as published checkpoints are (config.json, weights in some layout) with
parity.safetensors beside it: inputs and outputs of the entries, `<entry>.<case>.in.<name>` and `.out.<name>`,
and taps `<entry>.<case>.tap.<module>`. parity.json records the seed and the package versions.
"""

import argparse
import json
import pathlib

import safetensors.torch
import torch
import transformers


def config(**changes):
    base = dict(
        vocab_size=151, hidden_size=36, intermediate_size=52, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False, head_dim=8)
    base.update(changes)
    return base


CASES = {
    # name: (config changes, how the folder is written)
    "plain": (config(), dict()),
    "gqa_bias_llama3": (
        config(num_attention_heads=6, num_key_value_heads=2, head_dim=12, attention_bias=True, mlp_bias=True,
               eos_token_id=[7, 9],
               rope_parameters=dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0,
                                    high_freq_factor=4.0, original_max_position_embeddings=64)),
        dict(shards=4)),
    "mqa_tied_linear_bf16": (
        config(num_attention_heads=4, num_key_value_heads=1, head_dim=10, tie_word_embeddings=True,
               rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5)),
        dict(dtype="bfloat16", old_rope=True)),
    "pickle_fp16": (config(rope_parameters=dict(rope_type="default", rope_theta=777.0)),
                    dict(dtype="float16", pickle=1, old_rope=True, inv_freq=True)),
    "pickle_shards": (config(num_key_value_heads=1), dict(pickle=2)),
}


def write_weights(folder, model, dtype=None, shards=1, pickle=0, inv_freq=False, **_):
    state = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    if inv_freq:  # a buffer that old files hold
        for i in range(model.config.num_hidden_layers):
            state[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = torch.ones(model.config.head_dim // 2)
    names = sorted(state)
    count = max(shards, pickle)
    kind = "bin" if pickle else "safetensors"
    stem = "pytorch_model" if pickle else "model"
    save = torch.save if pickle else lambda t, f: safetensors.torch.save_file(t, f, {"format": "pt"})
    if count <= 1:
        save(state, str(folder / f"{stem}.{kind}"))
        return
    weight_map, total = {}, 0
    for part in range(count):
        file = f"{stem}-{part + 1:05d}-of-{count:05d}.{kind}"
        tensors = {n: state[n] for n in names[part::count]}
        save(tensors, str(folder / file))
        weight_map.update({n: file for n in tensors})
        total += sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index, indent=1))


def write_config(folder, model, old_rope=False, dtype="float32", **_):
    text = json.loads(model.config.to_json_string(use_diff=False))
    keep = ("vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
            "max_position_embeddings rms_norm_eps bos_token_id eos_token_id pad_token_id tie_word_embeddings "
            "head_dim attention_bias mlp_bias rope_parameters dtype model_type hidden_act").split()
    out = {k: text[k] for k in keep if k in text}
    out["architectures"] = ["LlamaForCausalLM"]
    out["dtype"] = dtype
    if old_rope:  # transformers 4's spelling
        rope = out.pop("rope_parameters")
        out["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        out["rope_scaling"] = None if kind == "default" else dict(type=kind, **rope)
        out["torch_dtype"] = out.pop("dtype")
    (folder / "config.json").write_text(json.dumps(out, indent=1))


def build(name, out, seed):
    changes, layout = CASES[name]
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**changes)).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(1.0 if "norm" in key else 0.0, 0.3 if value.dim() == 1 else 0.15)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, model.to(getattr(torch, layout.get("dtype", "float32"))), **layout)
    write_config(folder, model, **layout)
    # The reference is what its own loader makes of the folder, in fp32.
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    generation = dict(bos_token_id=1, eos_token_id=changes["eos_token_id"])
    if name == "plain":
        generation["pad_token_id"] = 0
    (folder / "generation_config.json").write_text(json.dumps(generation))

    record = {}
    taps = {}
    wanted = [n for n, _ in model.named_modules()
              if n.endswith((".self_attn", ".mlp", "input_layernorm")) or n in ("model", "model.embed_tokens", "model.norm")
              or (n.startswith("model.layers.") and n.count(".") == 2)]
    hooks = []
    for n, module in model.named_modules():
        if n in wanted:
            def hook(_m, _i, output, n=n):
                first = output[0] if not torch.is_tensor(output) else output
                taps[n] = first.detach().clone()
            hooks.append(module.register_forward_hook(hook))

    def put(entry, case, inputs, outputs, with_taps=False):
        for k, v in inputs.items():
            record[f"{entry}.{case}.in.{k}"] = v.clone().contiguous()
        for k, v in outputs.items():
            record[f"{entry}.{case}.out.{k}"] = v.clone().contiguous()
        if with_taps:
            for k, v in taps.items():
                record[f"{entry}.{case}.tap.{k}"] = v.clone().contiguous()

    vocab = changes["vocab_size"]
    with torch.no_grad():
        ids = torch.randint(10, vocab, (2, 11))
        taps.clear()
        put("forward", "batch", dict(input_ids=ids), dict(logits=model(input_ids=ids).logits), True)
        one = torch.randint(10, vocab, (1, 1))
        put("forward", "one", dict(input_ids=one), dict(logits=model(input_ids=one).logits))
        mask = torch.ones_like(ids)
        mask[1, :5] = 0
        put("forward", "padded", dict(input_ids=ids, attention_mask=mask),
            dict(logits=model(input_ids=ids, attention_mask=mask).logits))
        for hook in hooks:
            hook.remove()
        model.generation_config = transformers.GenerationConfig(
            **json.loads((folder / "generation_config.json").read_text()))
        for case, penalty, padded in (("greedy", None, False), ("penalty", 1.4, False), ("below", 0.8, False),
                                      ("padded", 1.1, True)):
            inputs = dict(input_ids=ids, max_new_tokens=torch.tensor([17]))
            kwargs = {}
            if penalty is not None:
                inputs["repetition_penalty"] = torch.tensor([penalty])
                kwargs["repetition_penalty"] = penalty
            if padded:
                inputs["attention_mask"] = mask
                kwargs["attention_mask"] = mask
            out_ids = model.generate(input_ids=ids, max_new_tokens=17, do_sample=False, **kwargs)
            put("generate", case, inputs, dict(sequences=out_ids))
    safetensors.torch.save_file(record, str(folder / "parity.safetensors"))
    (folder / "parity.json").write_text(json.dumps(dict(
        generator="tests/parity/llama.py", seed=seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0]), indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?",
                        default=pathlib.Path(__file__).parents[1] / "goldens" / "llama")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--cases", default=",".join(CASES))
    args = parser.parse_args()
    for index, case in enumerate(args.cases.split(",")):
        build(case, args.out, args.seed + index)
        print(case)
