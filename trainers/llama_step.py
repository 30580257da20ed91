"""One decoding step of a Llama, written out: the function of transformers' modules, without their overhead.

A small model on a CPU spends more of a decoding step between its kernels than in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.models.llama import modeling_llama as llama

_PLAIN = {
    llama.LlamaModel,
    llama.LlamaDecoderLayer,
    llama.LlamaAttention,
    llama.LlamaMLP,
    llama.LlamaRMSNorm,
    llama.LlamaRotaryEmbedding,
    nn.ModuleList,
    nn.Embedding,
    nn.Linear,
    nn.SiLU,
}
"""Modules whose function is known here; adapters, quantised layers and subclasses are none of them."""

_FIXED_ROTATIONS = ("default", "linear", "llama3")
"""Kinds of rotary embedding that do not depend on the length of the text."""


class LlamaStep:
    """A decoding step of a Llama; it reads the weights of the model as they are when it is called."""

    def __init__(self, model: LlamaForCausalLM, capacity: int) -> None:
        """Look up what is the same at every step.

        Args:
            model: one that ``writes_out`` accepts.
            capacity: most positions of a row.
        """
        self.model, self.head = model.model, model.lm_head
        attention = model.model.layers[0].self_attn
        self.width: int = attention.head_dim
        self.scale: float = attention.scaling
        self.heads: int = attention.q_proj.out_features // self.width
        self.groups: int = attention.k_proj.out_features // self.width
        positions = torch.arange(capacity, device=model.device)[None]
        cos, sin = model.model.rotary_emb(model.model.embed_tokens.weight, positions)
        # Half of a head's width turns the other way, so that rolling it takes the place of negating and joining.
        sin[..., : self.width // 2] *= -1
        self.cos, self.sin = cos[0, :, None, None], sin[0, :, None, None]

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        updates: Sequence[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]],
    ) -> Tensor:
        """Feed one token per row.

        Args:
            tokens: shape ``(n,)``.
            positions: shape ``(n,)``.
            mask: additive, shape ``(n, 1, 1, slots)``, or None.
            updates: per layer, writes keys and values into its cache and returns all that the rows see.

        Returns:
            Logits, shape ``(n, actions)``.
        """
        n = len(tokens)
        x = self.model.embed_tokens.weight[tokens]
        cos, sin = self.cos[positions], self.sin[positions]

        def turned(states: Tensor, heads: int) -> Tensor:
            states = states.view(n, heads, 1, self.width)
            return torch.addcmul(states * cos, states.roll(self.width // 2, -1), sin)

        for layer, update in zip(self.model.layers, updates, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            normed = _normed(x, layer.input_layernorm)
            keys = turned(_mapped(normed, attention.k_proj), self.groups)
            values = _mapped(normed, attention.v_proj).view(n, self.groups, 1, self.width)
            read = scaled_dot_product_attention(
                turned(_mapped(normed, attention.q_proj), self.heads),
                *update(keys, values),
                attn_mask=mask,
                scale=self.scale,
                enable_gqa=self.heads != self.groups,
            )
            x = x + _mapped(read.reshape(n, self.heads * self.width), attention.o_proj)
            normed = _normed(x, layer.post_attention_layernorm)
            x = x + _mapped(silu(_mapped(normed, mlp.gate_proj)) * _mapped(normed, mlp.up_proj), mlp.down_proj)
        return _mapped(_normed(x, self.model.norm), self.head)


def writes_out(model: PreTrainedModel) -> TypeGuard[LlamaForCausalLM]:
    """Whether ``LlamaStep`` computes what the model does: a Llama in float32 that nobody has changed or listens to."""
    if type(model) is not LlamaForCausalLM or "forward" in vars(model) or model.dtype != torch.float32:
        return False
    parts = [model, *model.model.modules(), *model.lm_head.modules()]
    return (
        all(type(part) in _PLAIN or isinstance(part, type(model.model.layers[0].mlp.act_fn)) for part in parts[1:])
        and not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
        and model.config.hidden_act == "silu"
        and model.model.rotary_emb.rope_type in _FIXED_ROTATIONS
    )


def _mapped(x: Tensor, layer: nn.Linear) -> Tensor:
    return linear(x, layer.weight, layer.bias)


def _normed(x: Tensor, norm: llama.LlamaRMSNorm) -> Tensor:
    return rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)
