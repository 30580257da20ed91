"""A policy: a causal language model, its tokenizer, and its action space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainers.actions import ActionSpace, actions_of
from trainers.batches import Sequences, Trajectory, collate
from trainers.devices import placed
from trainers.generation import sample
from trainers.model_spec import context_length
from trainers.modes import evaluation_mode
from trainers.outside import generation_config, starting_tokenizer
from trainers.quantization import merged, size

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from trainers.decoding import Decoder

ACTION_SPACE_FILE = "action_space.json"
CUSTOM_GENERATE = Path("custom_generate") / "generate.py"


@dataclass
class Policy:
    """What a trainer trains and a decoder samples from.

    The distribution over actions is the softmax of the model's logits at the visible text, with
    impossible actions masked out. It does not remember what was erased.

    Attributes:
        model: any Hugging Face causal model (or one wrapped by peft or accelerate).
        tokenizer: its tokenizer, which knows ``<bksp>`` where the action space has it.
        actions: the action space.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    actions: ActionSpace

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(size(parameter) for parameter in self.model.parameters())

    @property
    def max_positions(self) -> int:
        """Context length in tokens; a very large number where the model names none."""
        return context_length(self.model.config)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def prompt_ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt: the start token, then the text."""
        return [self.actions.start, *self.encode(prompt)]

    def logits(self, sequences: Sequences) -> Tensor:
        """Logits of every slot, impossible actions masked to -inf.

        Args:
            sequences: laid-out trajectories on the model's device, shape ``(batch, slots)``.

        Returns:
            float32 tensor, shape ``(batch, slots, actions)``.
        """
        output = self.model(**sequences.inputs(self.model.dtype), use_cache=False)
        return self.actions.mask(output.logits.float(), sequences.at_root)

    def generate(
        self,
        prompts: Sequence[str],
        decoder: Decoder,
        seed: int,
        max_new_tokens: int,
        max_actions: int,
        *,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> pd.DataFrame:
        """Write one completion per prompt.

        Args:
            prompts: texts.
            decoder: how actions are drawn.
            seed: of the samples; each has a random stream of its own.
            max_new_tokens: bounds the visible completion.
            max_actions: bounds the walk.
            batch_size: prompts sampled together; does not change the samples.
            progress: called with the number of samples done since the last call.

        Returns:
            A row per prompt: ``prompt, completion`` (str), ``completion_ids, actions`` (lists of token
            ids: the visible text, and every action), ``finish`` ("eos", "length", "actions": what ended
            the walk), ``n_actions, n_backspaces`` (int).

        Raises:
            ValueError: if a prompt and the new tokens do not fit into the context.
        """
        import pandas as pd

        samples = sample(
            self,
            [self.prompt_ids(prompt) for prompt in prompts],
            decoder,
            seed,
            max_new_tokens=max_new_tokens,
            max_actions=max_actions,
            batch_size=batch_size,
            progress=progress,
        )
        return pd.DataFrame(
            {
                "prompt": list(prompts),
                "completion": [self.tokenizer.decode(one.visible) for one in samples],
                "completion_ids": [one.visible for one in samples],
                "actions": [one.actions for one in samples],
                "finish": [one.finish for one in samples],
                "n_actions": [len(one.actions) for one in samples],
                "n_backspaces": [sum(action == self.actions.bksp for action in one.actions) for one in samples],
            }
        )

    @torch.no_grad()
    def log_likelihood(
        self, prompts: Sequence[str], completions: Sequence[str], finished: Sequence[bool], *, batch_size: int = 32
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Log-probability of completions, with ``<bksp>`` masked out and the rest renormalised.

        Args:
            prompts: texts.
            completions: texts to be scored.
            finished: whether the end of the text is scored too.
            batch_size: texts scored together.

        Returns:
            Sum of log-probabilities (nats) and number of scored actions, shape ``(n,)`` each.
        """
        trajectories = []
        for prompt, completion, ends in zip(prompts, completions, finished, strict=True):
            actions = actions_of(self.encode(completion), self.actions, ends)
            trajectories.append(Trajectory(tuple(self.prompt_ids(prompt)), actions, ends, (True,) * len(actions)))
        sums: list[NDArray[np.float64]] = []
        for start in range(0, len(trajectories), batch_size):
            batch = collate(trajectories[start : start + batch_size], None).to(self.device)
            with evaluation_mode(self.model):
                logits = self.logits(batch)
            if self.actions.bksp is not None:
                logits[..., self.actions.bksp] = -torch.inf
            taken = logits.double().log_softmax(-1).gather(-1, batch.labels.clamp(min=0)[..., None])[..., 0]
            sums.append(torch.where(batch.acts, taken, 0.0).sum(1).cpu().numpy())
        counts = np.array([len(trajectory.actions) for trajectory in trajectories], dtype=np.int64)
        return np.concatenate([*sums, np.zeros(0)]), counts

    @torch.no_grad()
    def path_probabilities(
        self, prompt: str, paths: NDArray[np.int64], decoder: Decoder | None = None, *, batch_size: int = 256
    ) -> NDArray[np.float64]:
        """Probabilities of all actions at every state along paths of visible tokens.

        Args:
            prompt: the start state.
            paths: token ids, shape ``(n, length)``.
            decoder: warps the logits; None is ancestral sampling.
            batch_size: paths scored together.

        Returns:
            Shape ``(n, length + 1, actions)``: entry ``[i, t]`` is the distribution after the first ``t``
            tokens of path ``i``.
        """
        from trainers.decoding import Decoder

        decoder = decoder or Decoder()
        start = tuple(self.prompt_ids(prompt))
        first, length = len(start) - 1, paths.shape[1]
        found = np.empty((len(paths), length + 1, self.actions.size))
        for begin in range(0, len(paths), batch_size):
            part = paths[begin : begin + batch_size].tolist()
            batch = collate([Trajectory(start, tuple(p), False, (True,) * length) for p in part], None).to(self.device)
            with evaluation_mode(self.model):
                logits = self.logits(batch)[:, first : first + length + 1]
            warped = decoder.probabilities(logits.flatten(0, 1), self.actions.bksp).view(logits.shape)
            found[begin : begin + len(part)] = warped.cpu().numpy()
        return found

    def save(self, folder: Path | str) -> None:
        """Write an ordinary Hugging Face folder (adapters merged), with the action space beside it.

        Its tokenizer puts the start token before every text, and its generation config suppresses what is no action,
        so that others ask the policy the same question (``trainers.outside``).

        Its ``custom_generate/generate.py`` gives plain transformers decoding with backspace:
        ``model.generate(ids, custom_generate=folder, trust_remote_code=True)``.
        """
        folder = Path(folder)
        model: Any = self.model
        if hasattr(model, "merge_and_unload"):
            model = merged(model)
        model.save_pretrained(folder)
        generation_config(model.generation_config, self.actions).save_pretrained(folder)
        starting_tokenizer(self.tokenizer, self.actions).save_pretrained(folder)
        (folder / ACTION_SPACE_FILE).write_text(json.dumps(asdict(self.actions), indent=1))
        (folder / CUSTOM_GENERATE).parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(__file__).parent / CUSTOM_GENERATE, folder / CUSTOM_GENERATE)

    @classmethod
    def load(cls, folder: Path | str) -> Policy:
        """Open what ``save`` wrote.

        Raises:
            FileNotFoundError: if the folder is not a saved policy.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = Path(folder) / ACTION_SPACE_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{folder} is not a saved policy: it has no {ACTION_SPACE_FILE}")
        stored = json.loads(file.read_text())
        actions = ActionSpace(**{**stored, "forbidden": tuple(stored["forbidden"])})
        model = placed(AutoModelForCausalLM.from_pretrained(folder))
        return cls(model, AutoTokenizer.from_pretrained(folder), actions)
