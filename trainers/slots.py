"""A key-value cache whose slot is the position in the visible text, so that rows may sit at different lengths.

Appending writes the slot after the last visible token; erasing only moves the row's length back, and the next
append overwrites the slot. No slot is ever dead, the cache never has to be compacted, and a row that has ended
can be given to another prompt. It works with any Hugging Face model of full attention that takes explicit
position ids.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from trainers.llama_step import LlamaStep, writes_out

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel


class _Layer(CacheLayerMixin):
    """Keys and values of one layer, shape ``(rows, capacity, heads, width of a head)`` each: a slot is in one piece."""

    def __init__(self, owner: SlotModel) -> None:
        CacheLayerMixin.__init__(self)
        self.owner = owner
        self.tables: list[Tensor] = []

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        for states in (key_states, value_states):
            shape = (self.owner.rows, self.owner.capacity, states.shape[1], states.shape[3])
            self.tables.append(states.new_zeros(shape))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        owner = self.owner
        if owner.prefilling:
            for table, states in zip(self.tables, (key_states, value_states), strict=True):
                table[owner.write, : states.shape[2]] = states.transpose(1, 2)
            return key_states, value_states
        for table, states in zip(self.tables, (key_states, value_states), strict=True):
            table.flatten(0, 1).index_copy_(0, owner.write, states[:, :, 0])
        keys, values = (table[: owner.active, : owner.width].transpose(1, 2) for table in self.tables)
        return keys, values

    def get_seq_length(self) -> int:
        return 0 if self.owner.prefilling else self.owner.width - 1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return self.owner.capacity


class SlotModel:
    """A causal model with a slot cache of fixed size; rows ``0 .. n - 1`` are in use."""

    def __init__(self, model: PreTrainedModel, rows: int, capacity: int) -> None:
        """Make an empty cache; memory is touched only as slots are written.

        Args:
            model: a causal model of full attention, in evaluation mode.
            rows: most rows in use at a time.
            capacity: most positions of a row.

        Raises:
            ValueError: if a layer of the model is no full attention over ``capacity`` positions.
        """
        config = model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None)
        if getattr(config, "use_sliding_window", True) and window and capacity > window:
            raise ValueError(f"generation over {capacity} positions needs full attention; the window is {window}")
        if unknown := kinds - {"full_attention", "sliding_attention"}:
            raise ValueError(
                f"generation needs a model of full attention; it has layers of {', '.join(sorted(unknown))}"
            )
        self.model, self.rows, self.capacity = model, rows, capacity
        self.layers = [_Layer(self) for _ in range(config.num_hidden_layers)]
        self.cache = Cache(layers=list(self.layers))
        self.cache_name = _cache_name(model)
        self.fast = LlamaStep(model, capacity) if writes_out(model) else None
        self.device = next(model.parameters()).device
        self.index = torch.arange(max(rows, capacity), device=self.device)
        self.seen = torch.zeros((), dtype=model.dtype, device=self.device)
        self.hidden = torch.full_like(self.seen, torch.finfo(model.dtype).min)
        self.prefilling = False
        self.active, self.width = 0, 0
        self.write = self.index[:0]

    def prefill(self, rows: NDArray[np.int64], prompts: Sequence[Sequence[int]], **kwargs: Any) -> Any:
        """Write the keys and values of prompts into rows, one each; return the model's output.

        Prompts are padded on the right, where no token of theirs looks.
        """
        width = max(map(len, prompts))
        ids = torch.tensor([[*prompt, *[prompt[-1]] * (width - len(prompt))] for prompt in prompts])
        self.write = torch.from_numpy(rows).to(self.device)
        self.prefilling = True
        positions = torch.arange(width).expand(len(prompts), -1)
        output = self._forward(ids, positions, None, **kwargs)
        self.prefilling = False
        return output

    def logits(self, tokens: NDArray[np.int64], positions: NDArray[np.int64]) -> Tensor:
        """As ``step``, but return the logits alone, shape ``(n, actions)``; a plain Llama takes a shorter way."""
        if self.fast is None:
            logits: Tensor = self.step(tokens, positions).logits[:, -1]
            return logits
        at, mask = self._look(positions)
        return self.fast(torch.from_numpy(tokens).to(self.device), at, mask, [layer.update for layer in self.layers])

    def step(self, tokens: NDArray[np.int64], positions: NDArray[np.int64], **kwargs: Any) -> Any:
        """Feed one token per row in use.

        Args:
            tokens: shape ``(n,)``.
            positions: where each stands in its visible text, shape ``(n,)``; the row sees the slots up to there.
            kwargs: passed through to the model.

        Returns:
            The model's output; its logits have shape ``(n, 1, actions)``.
        """
        at, mask = self._look(positions)
        return self._forward(torch.from_numpy(tokens)[:, None], at[:, None], mask, **kwargs)

    def _look(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Aim the next step: where the rows write, and the mask of what they see."""
        self.active, self.width = len(positions), int(positions.max()) + 1
        at = torch.from_numpy(positions).to(self.device)
        self.write = self.index[: self.active] * self.capacity + at
        if positions.min() + 1 == self.width:
            return at, None
        return at, torch.where(self.index[: self.width] > at[:, None], self.hidden, self.seen)[:, None, None]

    def copy(self, source: Tensor, target: Tensor, slots: slice | Tensor) -> None:
        """Copy slots from the rows ``source`` to the rows ``target``, all read before any is written.

        Args:
            source: rows, shape ``(n,)``.
            target: rows, shape ``(n,)``.
            slots: the same of every row, or one of each, shape ``(n,)``.
        """
        for layer in self.layers:
            for table in layer.tables:
                table[target, slots] = table[source, slots]

    def _forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, **kwargs: Any) -> Any:
        return self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask,
            position_ids=positions.to(self.device),
            use_cache=True,
            logits_to_keep=1,
            **{self.cache_name: self.cache},
            **kwargs,
        )


def _cache_name(model: Any) -> str:
    """What the model calls its cache: transformers 5.24 renamed ``past_key_values``, which older code still takes."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = inspect.signature(type(plain).forward).parameters
    return "past_key_values" if "past_key_values" in names else "cache"
