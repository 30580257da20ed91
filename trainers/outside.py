"""What a saved policy tells programs that know nothing of action spaces: how texts start, what is never written."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tokenizers import processors

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from trainers.actions import ActionSpace


def starting_tokenizer(tokenizer: PreTrainedTokenizerBase, actions: ActionSpace) -> PreTrainedTokenizerBase:
    """A copy that puts the start token before every text, as every prompt of the policy has it.

    Without it others would show the policy prompts of a kind that it never saw. Tokenizers without a fast backend stay
    as they are.
    """
    copied = copy.deepcopy(tokenizer)
    backend = getattr(copied, "backend_tokenizer", None)
    if backend is not None and copied.encode("")[:1] != [actions.start]:
        start = str(copied.convert_ids_to_tokens(actions.start))
        template = processors.TemplateProcessing(
            single=[start, "$A"], pair=[start, "$A", "$B"], special_tokens=[(start, actions.start)]
        )
        present = [] if backend.post_processor is None else [backend.post_processor]
        backend.post_processor = processors.Sequence([*present, template])
    return copied


def generation_config(config: GenerationConfig, actions: ActionSpace) -> GenerationConfig:
    """A copy under which ``generate`` writes actions only, and never ``<bksp>``, which it could not carry out."""
    copied = copy.deepcopy(config)
    erase = [] if actions.bksp is None else [actions.bksp]
    copied.suppress_tokens = sorted({*(config.suppress_tokens or ()), *actions.forbidden, *erase}) or None
    return copied
