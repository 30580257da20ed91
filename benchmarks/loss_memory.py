"""Peak memory of loss and backward pass from the last hidden state on, over that of torch's cross-entropy.

    python benchmarks/loss_memory.py [--vocabulary 49152] [--batch 4] [--length 96] [--width 64]

Every case runs in a process of its own: peak resident memory after the step, less that before it. The model is an
output layer on given hidden states, so nothing but the loss is measured. SequenceMatch has half as many roll-outs as
examples; its row says so.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import torch

CASES = ("cross_entropy", "mle", "behavioral_cloning", "unlikelihood", "sequence_match", "sequence_match_backspace")


class OutputLayer(torch.nn.Module):
    """Hidden states that need gradients, and an output layer on them."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.head = torch.nn.Linear(width, vocabulary, bias=False)
        self.width = width
        self.config = SimpleNamespace(max_position_embeddings=2**31)
        self.dtype = torch.float32

    def get_output_embeddings(self) -> torch.nn.Linear:
        return self.head

    def forward(self, input_ids: torch.Tensor, **others: Any) -> SimpleNamespace:
        del others
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(*input_ids.shape, self.width, generator=generator).requires_grad_()
        return SimpleNamespace(logits=self.head(hidden))


def measure(case: str, vocabulary: int, rows: int, length: int, width: int) -> float:
    """Megabytes that the step of one case adds to the peak of this process."""
    from trainers.actions import ActionSpace
    from trainers.base import Trainer
    from trainers.batches import Batch, Trajectory, collate
    from trainers.behavioral_cloning import BehavioralCloning
    from trainers.mle import MaximumLikelihood
    from trainers.policy import Policy
    from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace
    from trainers.unlikelihood import Unlikelihood

    trainers: dict[str, Trainer] = {
        "mle": MaximumLikelihood(),
        "behavioral_cloning": BehavioralCloning(),
        "unlikelihood": Unlikelihood(),
        "sequence_match": SequenceMatch(cloning_share=0.0),
        "sequence_match_backspace": SequenceMatchBackspace(cloning_share=0.0),
    }
    torch.set_num_threads(1)
    model: Any = OutputLayer(vocabulary, width)
    trainer = trainers.get(case, trainers["mle"])
    bksp = 2 if trainer.backspace else None
    tokenizer: Any = None
    space = ActionSpace(size=vocabulary, start=0, eos=1, bksp=bksp, forbidden=(0, vocabulary - 1))
    policy = Policy(model, tokenizer, space)
    generator = torch.Generator().manual_seed(0)

    def trajectories(count: int) -> list[Trajectory]:
        found = []
        for _ in range(count):
            actions = torch.randint(3, vocabulary - 1, (length - 1,), generator=generator).tolist()
            if bksp is not None:
                actions[10::20] = [bksp] * len(actions[10::20])
            found.append(Trajectory((0,), tuple(actions), False, (True,) * len(actions)))
        return found

    def step(rows: int) -> None:
        data = collate(trajectories(rows), bksp)
        own = collate(trajectories(rows // 2), bksp) if case.startswith("sequence_match") else None
        if case == "cross_entropy":
            logits = model(data.input_ids).logits.flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, data.labels.flatten(), reduction="sum")
            del logits
        else:
            loss = trainer.loss(policy, Batch(data, own, 2.0, step=5, steps=10)).total
        loss.backward()

    model.head.weight.grad = torch.zeros_like(model.head.weight)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(rows)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--case", choices=CASES, help="measure one case in this process and print megabytes")
    options = parser.parse_args()
    sizes = (options.vocabulary, options.batch, options.length, options.width)
    if options.case:
        print(measure(options.case, *sizes))
        return
    names = ("vocabulary", "batch", "length", "width")
    shape = [word for name, size in zip(names, sizes, strict=True) for word in (f"--{name}", str(size))]
    peaks = {}
    for case in CASES:
        command = [sys.executable, __file__, "--case", case, *shape]
        peaks[case] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    logits = 4 * options.vocabulary * options.batch * options.length / 2**20
    print(f"one tensor of float32 logits: {logits:.0f} MB\n")
    print(f"{'loss':26}{'MB':>8}{'over cross-entropy':>22}")
    for case, peak in peaks.items():
        print(f"{case:26}{peak:8.0f}{peak / peaks['cross_entropy']:22.2f}")


if __name__ == "__main__":
    main()
