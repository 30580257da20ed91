"""Generation with backspace for plain transformers.

Example::

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generate(input_ids, custom_generate=folder, trust_remote_code=True, do_sample=True, top_k=0)

Returns the visible text: prompt, then what was not erased, padded on the right. ``max_new_tokens`` bounds the
visible text, ``max_actions`` (default: four times that) the actions taken to write it. The settings of the
generation config act as everywhere; without ``do_sample`` a policy may write and erase one token until
``max_actions`` ends it. Read together with action_space.json, which lies in the folder of the model.
"""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.utils.hub import cached_file


def generate(model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Like ``model.generate``, with one argument more: ``max_actions``."""
    # The policy's generation config keeps plain decoding from writing <bksp>; here it can be carried out.
    kwargs.setdefault("suppress_tokens", [])
    tokens: torch.Tensor = GenerationMixin.generate(model, *args, custom_generate=_walk, **kwargs)
    return tokens


@torch.no_grad()
def _walk(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    generation_config: Any,
    max_actions: int | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    actions = json.loads(Path(str(cached_file(model.config._name_or_path, "action_space.json"))).read_text())
    eos, bksp = actions["eos"], actions["bksp"]
    count, width = input_ids.shape
    limit = generation_config.max_length - width
    max_actions = 4 * limit if max_actions is None else max_actions
    mask = kwargs.get("attention_mask")
    alive = torch.ones_like(input_ids) if mask is None else mask
    cache = DynamicCache(config=model.config)
    # transformers 5.24 renamed it; older code takes only the old name.
    cache_name = "past_key_values" if "past_key_values" in signature(type(model).forward).parameters else "cache"
    texts: list[list[int]] = [[] for _ in range(count)]
    # Per row: the cache slots of its visible tokens, and the logits of its visible states.
    slots: list[list[int]] = [[] for _ in range(count)]
    taken, open_rows = [0] * count, set(range(count))
    start = alive.sum(1)

    def forward(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = model(
            input_ids=ids,
            attention_mask=alive,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{cache_name: cache},
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        logits[:, actions["forbidden"]] = -torch.inf
        return logits

    stacks = [[row] for row in forward(input_ids, (alive.cumsum(1) - 1).clamp(min=0))]
    while True:
        appended = {}
        for row in sorted(open_rows):
            while row in open_rows and row not in appended:
                logits = stacks[row][-1].clone()[None]
                if bksp is not None and not texts[row]:
                    logits[:, bksp] = -torch.inf
                so_far = torch.cat([input_ids[row], input_ids.new_tensor(texts[row])])[None]
                scores = logits_processor(so_far, logits)
                drawn = torch.multinomial(scores.softmax(-1), 1) if generation_config.do_sample else scores.argmax(-1)
                action = int(drawn)
                taken[row] += 1
                if action == bksp:
                    texts[row].pop()
                    stacks[row].pop()
                    alive[row, slots[row].pop()] = 0
                elif action != eos:
                    texts[row].append(action)
                    appended[row] = action
                if action == eos or len(texts[row]) == limit or taken[row] == max_actions:
                    open_rows.remove(row)
        if not open_rows:
            break
        slot = alive.shape[1]
        feed = input_ids.new_tensor([appended.get(row, eos) for row in range(count)])[:, None]
        here = torch.tensor([row in open_rows for row in range(count)], device=alive.device)
        alive = torch.cat([alive, here[:, None].to(alive.dtype)], 1)
        depth = torch.tensor([max(len(text), 1) for text in texts], device=alive.device)
        logits = forward(feed, (start + depth - 1)[:, None])
        for row in open_rows:
            slots[row].append(slot)
            stacks[row].append(logits[row])
    pad = eos if generation_config.pad_token_id is None else generation_config.pad_token_id
    longest = max(map(len, texts))
    padded = input_ids.new_tensor([text + [pad] * (longest - len(text)) for text in texts])
    return torch.cat([input_ids, padded.view(count, longest)], 1)
