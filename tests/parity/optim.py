"""Goldens of torch's AdamW, clipping, averaging, schedules and cross entropy (tests/parity/requirements.txt).

Usage: optim.py [OUT] [--seed N]

OUT is tests/goldens/train unless given. Writes OUT/optim.safetensors; its metadata records the seed and the package versions.
  adamw.*     a 5-7-3 network, five steps: two groups (weight decay on matrices only), gradients clipped to a
              norm of 0.05, average with decay 0.9, cosine learning rate
  schedule.*  factors of every step
  ce.*        weighted cross entropy with z-loss and its gradients
"""

import argparse
import pathlib

import safetensors.torch
import torch


def adamw(out):
    x, y = torch.randn(4, 5), torch.randn(4, 3)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    out["adamw.x"], out["adamw.y"] = x, y
    average = {}
    for name, p in model.named_parameters():
        average[name] = p.detach().clone()
        out[f"adamw.0.{name}"] = p.detach().clone()
    groups = [
        dict(params=[p for p in model.parameters() if p.dim() > 1], weight_decay=0.1),
        dict(params=[p for p in model.parameters() if p.dim() == 1], weight_decay=0.0),
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.95), eps=1e-8)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, eta_min=0.005)
    for step in range(1, 6):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        out[f"adamw.{step}.norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05).detach().clone()
        optimizer.step()
        schedule.step()
        for name, p in model.named_parameters():
            average[name].lerp_(p.detach(), 0.1)
            out[f"adamw.{step}.{name}"] = p.detach().clone()
            out[f"adamw.{step}.average.{name}"] = average[name].clone()


def factors(make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(values, dtype=torch.float64)


def schedules(out):
    lrs = torch.optim.lr_scheduler

    def rise(optimizer, warmup):
        return lrs.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)

    def cosine(optimizer):
        return lrs.SequentialLR(
            optimizer, [rise(optimizer, 7), lrs.CosineAnnealingLR(optimizer, T_max=43, eta_min=0.1)], [7])

    def stable_decay(optimizer):
        fall = lrs.LinearLR(optimizer, start_factor=1.0, end_factor=0.05, total_iters=12)
        flat = lrs.ConstantLR(optimizer, factor=1.0, total_iters=0)
        return lrs.SequentialLR(optimizer, [rise(optimizer, 5), flat, fall], [5, 38])

    out["schedule.cosine"] = factors(cosine, 50)
    out["schedule.wsd"] = factors(stable_decay, 50)


def cross_entropy(out):
    hidden = torch.randn(9, 6, requires_grad=True)
    head = torch.randn(11, 6, requires_grad=True)
    targets = torch.randint(0, 11, (9,))
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 1.0, 0.0, 0.25, 1.0])
    logits = hidden @ head.T
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    loss = (weights * (nll + 0.01 * torch.logsumexp(logits, 1) ** 2)).sum()
    (loss * 0.3).backward()
    out.update({
        "ce.hidden": hidden.detach(), "ce.head": head.detach(), "ce.targets": targets, "ce.weights": weights,
        "ce.nll": nll.detach(), "ce.loss": loss.detach(), "ce.hidden_grad": hidden.grad, "ce.head_grad": head.grad})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?", default=pathlib.Path(__file__).parents[1] / "goldens" / "train")
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    out = {}
    adamw(out)
    schedules(out)
    cross_entropy(out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in out.items()}, str(arguments.out / "optim.safetensors"),
        {"seed": str(arguments.seed), "torch": torch.__version__, "safetensors": safetensors.__version__})


if __name__ == "__main__":
    main()
