"""Goldens of the sampling processors of huggingface/transformers (tests/parity/requirements.txt): processed
probabilities for random logits. Usage: samplers.py [OUT] [--seed N]"""

import argparse
import json
import pathlib

import torch
import transformers
from transformers.generation import logits_process as lp


def case(generator, vocab, **p):
    logits = torch.randn(vocab, generator=generator) * 3
    if p.pop("ties", False):
        logits = (logits * 2).round() / 2
    history = torch.randint(0, vocab, (6,), generator=generator)
    scores = logits.clone().unsqueeze(0)
    values = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
    values.update(p)
    if "no_repeat_ngram" in values:
        history = torch.randint(0, 3, (14,), generator=generator)
    keep = values.get("least_kept", 1)
    chain = []
    if values.get("logit_bias"):
        chain.append(lp.SequenceBiasLogitsProcessor([[[i], b] for i, b in values["logit_bias"]]))
    if values["repetition_penalty"] != 1.0:
        chain.append(lp.RepetitionPenaltyLogitsProcessor(values["repetition_penalty"]))
    if values.get("no_repeat_ngram"):
        chain.append(lp.NoRepeatNGramLogitsProcessor(values["no_repeat_ngram"]))
    if values.get("min_new_tokens"):
        chain.append(lp.MinNewTokensLengthLogitsProcessor(values["prompt"], values["min_new_tokens"], values["ends"]))
    if values["temperature"] != 1.0:
        chain.append(lp.TemperatureLogitsWarper(values["temperature"]))
    if values["top_k"]:
        chain.append(lp.TopKLogitsWarper(values["top_k"], min_tokens_to_keep=keep))
    if values["top_p"] < 1.0:
        chain.append(lp.TopPLogitsWarper(values["top_p"], min_tokens_to_keep=keep))
    if values["min_p"]:
        chain.append(lp.MinPLogitsWarper(values["min_p"], min_tokens_to_keep=keep))
    if "typical_p" in values:
        chain.append(lp.TypicalLogitsWarper(values["typical_p"], min_tokens_to_keep=keep))
    for processor in chain:
        scores = processor(history.unsqueeze(0), scores)
    return dict(values, logits=[round(x, 6) for x in logits.tolist()], history=history.tolist(),
                probabilities=[round(x, 9) for x in scores.softmax(-1)[0].tolist()])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?",
                        default=pathlib.Path(__file__).parents[1] / "goldens" / "samplers")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    g = torch.Generator().manual_seed(args.seed)
    cases = []
    for vocab in (2, 7, 40):
        for p in (dict(), dict(temperature=0.7), dict(top_k=1), dict(top_k=5), dict(top_p=0.9), dict(top_p=0.05),
                  dict(min_p=0.1), dict(repetition_penalty=1.3), dict(repetition_penalty=0.7),
                  dict(top_k=5, ties=True), dict(temperature=1.7, top_k=9, top_p=0.8, min_p=0.05, repetition_penalty=1.2)):
            cases.append(case(g, vocab, **p))
    for vocab in (7, 40):
        for p in (dict(typical_p=0.9), dict(typical_p=0.2), dict(typical_p=0.5, ties=True), dict(no_repeat_ngram=1),
                  dict(no_repeat_ngram=2), dict(no_repeat_ngram=3), dict(logit_bias=[[1, 3.5], [4, -100.0]]),
                  dict(min_new_tokens=3, prompt=4, ends=[0, 5]), dict(min_new_tokens=2, prompt=4, ends=[0, 5]),
                  dict(least_kept=3, top_k=1), dict(least_kept=3, top_p=0.05), dict(least_kept=3, min_p=0.9),
                  dict(least_kept=3, typical_p=0.05),
                  dict(top_k=12, top_p=0.9, min_p=0.01, typical_p=0.7, temperature=1.4, no_repeat_ngram=2,
                       repetition_penalty=1.2, logit_bias=[[2, 1.0]], least_kept=2)):
            cases.append(case(g, vocab, **p))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cases.json").write_text(json.dumps(dict(
        generator="tests/parity/samplers.py", seed=args.seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0], cases=cases)))


main()
