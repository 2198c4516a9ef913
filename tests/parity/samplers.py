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
    chain = []
    if values["repetition_penalty"] != 1.0:
        chain.append(lp.RepetitionPenaltyLogitsProcessor(values["repetition_penalty"]))
    if values["temperature"] != 1.0:
        chain.append(lp.TemperatureLogitsWarper(values["temperature"]))
    if values["top_k"]:
        chain.append(lp.TopKLogitsWarper(values["top_k"]))
    if values["top_p"] < 1.0:
        chain.append(lp.TopPLogitsWarper(values["top_p"]))
    if values["min_p"]:
        chain.append(lp.MinPLogitsWarper(values["min_p"]))
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
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cases.json").write_text(json.dumps(dict(
        generator="tests/parity/samplers.py", seed=args.seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0], cases=cases)))


main()
