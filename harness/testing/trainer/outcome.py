"""What ``fit`` returns is the policy it was given, trained, and ready to be sampled, saved and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.testing.battery import require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import MAX_ACTIONS, MAX_NEW_TOKENS, WORDS, TrainerSubject
from trainers.batches import collate, trajectories_of
from trainers.decoding import Decoder
from trainers.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor


def _logits(subject: TrainerSubject, policy: Policy) -> Tensor:
    batch = collate(trajectories_of(subject.examples(), policy), None).to(policy.device)
    with torch.no_grad():
        return policy.logits(batch)[batch.real]


@TRAINER.check()
def the_policy_keeps_its_actions_and_tokenizer(subject: TrainerSubject) -> None:
    """``fit`` returns a policy with the action space, the vocabulary and the number of logits it was given."""
    given, before = subject.policy(), subject.policy()
    found = subject.fit(policy=given).policy
    require(isinstance(found, Policy), f"fit() returned {type(found).__name__}, not the policy: return it at the end")
    require(
        found.actions == before.actions,
        f"the action space was {before.actions} and is {found.actions}: decoders and metrics rely on the one given",
    )
    require(
        found.tokenizer.get_vocab() == before.tokenizer.get_vocab()
        and found.tokenizer.special_tokens_map == before.tokenizer.special_tokens_map,
        "the vocabulary or the special tokens of the tokenizer changed in training: work on a copy of the tokenizer",
    )
    rows = len(found.model.get_output_embeddings().weight)
    require(rows == before.actions.size, f"the model has {rows} logits, and the action space {before.actions.size}")


@TRAINER.check()
def the_policy_is_ready_to_be_sampled(subject: TrainerSubject) -> None:
    """The model that ``fit`` returns is in evaluation mode, all modules of it."""
    policy = subject.policy()
    policy.model.eval()
    found = subject.fit(policy=policy).policy.model
    names = [name or type(module).__name__ for name, module in found.named_modules() if module.training]
    require(
        not names,
        f"{len(names)} modules are in training mode, {names[:1]} among them: call policy.model.eval() at the end",
    )


@TRAINER.check()
def weights_are_finite_and_of_their_dtype(subject: TrainerSubject) -> None:
    """All weights are finite, on one device, and have the names, shapes and dtypes they had."""
    before = {name: (each.shape, each.dtype) for name, each in subject.policy().model.named_parameters()}
    after = dict(subject.fit().policy.model.named_parameters())
    require(
        before == {name: (each.shape, each.dtype) for name, each in after.items()},
        "names, shapes or dtypes of the weights changed in training: undo what you did to the model (extra "
        "modules, half precision) before you return it",
    )
    devices = {str(each.device) for each in after.values()}
    require(len(devices) == 1, f"the weights are spread over {', '.join(sorted(devices))}: leave them on one device")
    broken = [name for name, each in after.items() if not each.isfinite().all()]
    require(not broken, f"{len(broken)} weights are not finite, {broken[:1]} among them")


@TRAINER.check()
def gradients_are_freed(subject: TrainerSubject) -> None:
    """No gradient is left on the weights: they would take as much memory as the model."""
    policy = subject.fit().policy
    left = [name for name, each in policy.model.named_parameters() if each.grad is not None]
    require(
        not left,
        f"{len(left)} weights still have a gradient, {left[:1]} among them: call optimizer.zero_grad() at the end",
    )


@TRAINER.check()
def frozen_weights_stay_frozen(subject: TrainerSubject) -> None:
    """A weight that was frozen is not trained, and every ``requires_grad`` is as before."""
    policy = subject.policy()
    name, frozen = next(
        (name, each)
        for name, each in policy.model.named_parameters()
        if each is policy.model.get_input_embeddings().weight
    )
    frozen.requires_grad_(False)
    flags = {name: each.requires_grad for name, each in policy.model.named_parameters()}
    before = frozen.detach().cpu().clone()
    found = subject.fit(policy=policy).policy.model
    require(
        torch.equal(before, dict(found.named_parameters())[name].cpu()),
        "the input embeddings were frozen and changed: give the optimiser only parameters with requires_grad",
    )
    turned = [name for name, each in found.named_parameters() if each.requires_grad != flags.get(name)]
    require(
        not turned,
        f"requires_grad of {len(turned)} weights was turned, {turned[:1]} among them: put it back at the end",
    )


@TRAINER.check()
def the_model_is_left_unwrapped(subject: TrainerSubject) -> None:
    """The model is of the class it was, its configuration too, and no hook or wrapper is left on it."""

    def marks(policy: Policy) -> dict[str, object]:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        return {
            "class": type(policy.model),
            "configuration": {
                name: value for name, value in policy.model.config.to_dict().items() if not name.startswith("_")
            },
            "hooks": sum(len(getattr(module, name)) for module in policy.model.modules() for name in hooks),
            "forward method": "forward" in vars(policy.model),
        }

    before, after = marks(subject.policy()), marks(subject.fit().policy)
    names = [name for name in before if before[name] != after[name]]
    require(
        not names,
        f"of the model, other than before: {', '.join(names)}; unwrap it, remove hooks and restore its configuration "
        "(use_cache, say) at the end",
    )


@TRAINER.check()
def the_policy_survives_a_folder(subject: TrainerSubject) -> None:
    """A trained policy that is saved and loaded has the same logits, bit for bit, and writes the same."""
    policy = subject.fit().policy
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder) / "policy")
        loaded = Policy.load(Path(folder) / "policy")
    require(loaded.actions == policy.actions, "the action space is another after it was saved and loaded")
    require(
        torch.equal(_logits(subject, policy), _logits(subject, loaded)),
        "logits are others after the policy was saved and loaded: is part of what was learnt outside the model?",
    )
    written = [
        each.generate(list(WORDS), Decoder(), 0, MAX_NEW_TOKENS, MAX_ACTIONS)["actions"].tolist()
        for each in (policy, loaded)
    ]
    require(written[0] == written[1], "the policy writes other texts after it was saved and loaded")
