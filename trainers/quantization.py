"""Weights in four bits behind adapters (QLoRA, Dettmers et al. 2023, arXiv 2305.14314), by bitsandbytes."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import torch
from torch import Tensor, nn

Quantization = Literal["nf4"]


def missing() -> str | None:
    """What has to be installed before weights can be quantised; None where nothing has."""
    if importlib.util.find_spec("bitsandbytes") is not None:
        return None
    return "model.quantization needs bitsandbytes: pip install 'seqmatch[quantization]'"


def loading(kind: Quantization, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` that quantise all linear layers but the last.

    Args:
        kind: 4-bit normal floats, whose scales are quantised too.
        dtype: in which the layers compute.

    Raises:
        ImportError: if bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    if problem := missing():
        raise ImportError(problem)
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
    on_gpu = {"device_map": {"": torch.cuda.current_device()}} if torch.cuda.is_available() else {}
    return {"quantization_config": config, **on_gpu}


def keep_layout(model: nn.Module) -> None:
    """Forbid a kernel of some CPUs that repacks weights when they are first sampled from: training misreads them."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            vars(module)["support_avx512bf16_for_cpu"] = False


def size(parameter: Tensor) -> int:
    """Number of weights in a parameter, which may be packed."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(state.shape.numel())


def merged(model: Any) -> Any:
    """A copy of a model with its adapters merged, without quantisation, so that nothing is rounded again.

    Args:
        model: wrapped by peft.
    """
    import copy

    exact = {name: _sum(module) for name, module in model.get_base_model().named_modules() if _is_quantised(module)}
    plain = copy.deepcopy(model).merge_and_unload()
    if exact:
        plain = plain.dequantize()
        for name, weight in exact.items():
            plain.get_submodule(name).weight.data.copy_(weight)
    return plain


def _is_quantised(module: nn.Module) -> bool:
    return hasattr(module, "get_delta_weight") and hasattr(getattr(module, "weight", None), "quant_state")


@torch.no_grad()
def _sum(layer: Any) -> Tensor:
    """The weight that an adapted layer applies, not packed."""
    from bitsandbytes.functional import dequantize_4bit

    weight: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
    return weight
