"""Small worlds to measure in: a policy that has learnt nothing, what it wrote, and all that a metric may ask for."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.action_texts import with_action_texts
from harness.testing.generations import written
from metrics.base import MetricContext
from tasks.language import LanguageTask
from trainers.decoding import Decoder
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy, tokenizer_for

if TYPE_CHECKING:
    import pandas as pd

    from metrics.base import FiniteLanguage
    from trainers.policy import Policy

WORDS = ("bad", "cab", "dab", "ace", "bed", "cafe", "deaf", "fade", "face", "bead", "dead", "fed")
ODD_TEXTS = (
    "é",
    "naïve café",
    "漢字かな",
    "🙂🙃",
    "a\u0301",
    "\u202eabc",
    "\x00",
    "tab\tand\nline",
    "  ",
    "'\"<&>\\{}%s",
)
SEED, CONTEXT, ACTIONS_PER_TOKEN = 7, 64, 4


@dataclass(frozen=True)
class World:
    """Held-out examples, a policy, and what it wrote; what is handed out of it are copies.

    Attributes:
        policy: fresh weights, with backspace.
        prompts, completions: the held-out examples, all of them finished.
        real: as many further completions.
        errors: plausible errors, each one token.
        language: the finite language, of the world that is one.
        max_new_tokens: bound of completions, in tokens.
        table: generations; a third of them, and those that were empty, are the references, the others are the policy's
            own.
    """

    policy: Policy
    prompts: Sequence[str]
    completions: Sequence[str]
    real: Sequence[str]
    errors: tuple[str, ...]
    language: FiniteLanguage | None
    max_new_tokens: int
    table: pd.DataFrame

    @property
    def max_actions(self) -> int:
        """Bound of walks, in actions."""
        return self.max_new_tokens * ACTIONS_PER_TOKEN

    def context(self, **changes: Any) -> MetricContext:
        """All that a metric may ask for, with a policy of its own."""
        policy = copy.deepcopy(self.policy)
        policy.model.eval()

        def judge(ids: Sequence[int], reference: str, ended: bool) -> bool:
            text = str(policy.tokenizer.decode(list(ids)))
            return text == reference if ended else reference.startswith(text)

        given = {
            "policy": policy,
            "language": self.language,
            "judge": judge,
            "error_tokens": self.errors,
            "prompts": list(self.prompts),
            "completions": list(self.completions),
            "finished": [True] * len(self.prompts),
            "real": list(self.real),
            "decoder": Decoder(),
            "max_new_tokens": self.max_new_tokens,
            "max_actions": self.max_actions,
            "cache": _cache(),
            "seed": SEED,
        }
        return MetricContext(**{**given, **changes})

    def written(self, completions: Sequence[str], *, ended: bool) -> pd.DataFrame:
        """Generations with these completions, in the order of the held-out examples."""
        n = len(completions)
        table = written(self.policy, self.prompts[:n], completions, self.completions[:n], [ended] * n)
        return with_action_texts(table, self.policy)


@cache
def words_world(n: int) -> World:
    """Three words are to be copied after a prompt."""
    rng = np.random.default_rng(SEED)
    drawn = rng.choice(len(WORDS) ** 3, size=2 * n, replace=2 * n > len(WORDS) ** 3)
    texts = [" ".join(WORDS[number // len(WORDS) ** place % len(WORDS)] for place in range(3)) for number in drawn]
    letters = tuple(sorted(set("".join(WORDS))))
    prompts = [f"{text}\n" for text in texts[:n]]
    return _world(prompts, texts[:n], texts[n:], [*WORDS, " \n"], letters, None, 16)


@cache
def language_world(n: int) -> World:
    """A finite language, written from nothing by a policy that has its symbols only."""
    task = LanguageTask(symbols=3, states=4, branching=2, max_length=5, train=n, validation=n, test=n)
    completions, real = ([task.language.text(each) for each in _drawn(task, n, place)] for place in (0, 1))
    bound = task.max_new_tokens
    return _world([""] * n, completions, real, ["abc"], task.language.alphabet, task.language, bound)


def _drawn(task: LanguageTask, n: int, place: int) -> list[tuple[int, ...]]:
    return task.language.sample(n, np.random.default_rng([SEED, place]))


def _world(
    prompts: Sequence[str],
    completions: Sequence[str],
    real: Sequence[str],
    corpus: Sequence[str],
    errors: tuple[str, ...],
    language: FiniteLanguage | None,
    max_new_tokens: int,
) -> World:
    import pandas as pd

    model = ModelSpec(
        fresh=FreshModel(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=CONTEXT,
            merges=0,
            alphabet="seen",
        )
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums, and so the samples, depend on it
    try:
        policy = build_policy(model, tokenizer_for(model, lambda: iter(corpus), None), backspace=True, seed=SEED)
        actions = max_new_tokens * ACTIONS_PER_TOKEN
        drawn = policy.generate(list(prompts), Decoder(), SEED, max_new_tokens, actions)
    finally:
        torch.set_num_threads(threads)
    drawn = drawn[(drawn["completion"] != "") & (drawn.index % 3 > 0)]
    right = written(policy, prompts, completions, completions, [True] * len(prompts))
    own = drawn.assign(reference=[completions[row] for row in drawn.index])
    table = pd.concat([own, right])
    table = table[~table.index.duplicated()].sort_index()
    return World(policy, prompts, completions, real, errors, language, max_new_tokens, with_action_texts(table, policy))


@cache
def _cache() -> Path:
    """A folder for features, for as long as the process lives: a large feature model reads each text once."""
    folder = tempfile.TemporaryDirectory(prefix="seqmatch-check-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
