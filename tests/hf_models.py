"""Small transformers of the library `transformers`, with random weights and tasks for them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoopt.task import Task, make_task
from autoopt.task.loss import CrossEntropy

os.environ.setdefault("HF_HUB_OFFLINE", "1")
WORDS, LENGTH = 50, 12


class CausalLM(nn.Module):
    """A language model that gives its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return self.network(x, use_cache=False).logits


def _bert(library: Any) -> nn.Module:
    config = library.BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    network: nn.Module = library.BertForSequenceClassification(config)
    return network


def _vit(library: Any) -> nn.Module:
    config = library.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        num_channels=1,
    )
    network: nn.Module = library.ViTForImageClassification(config)
    return network


def _gpt2(library: Any) -> nn.Module:
    config = library.GPT2Config(
        vocab_size=WORDS,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=LENGTH,
        bos_token_id=0,
        eos_token_id=0,
    )
    return CausalLM(library.GPT2LMHeadModel(config))


def _llama(library: Any) -> nn.Module:
    config = library.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    return CausalLM(library.LlamaForCausalLM(config))


HF_NETS: Mapping[str, Callable[[Any], nn.Module]] = {
    "bert": _bert,
    "vit": _vit,
    "gpt2": _gpt2,
    "llama": _llama,
}


def hits(outputs: Any, targets: Any) -> float:
    return float(np.mean(np.argmax(outputs, -1) == targets))


@cache
def hf_task(kind: str) -> Task:
    """Return a task of a transformer; skips where the library is not installed."""
    library = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = HF_NETS[kind](library).eval()
    draw = np.random.default_rng(0)
    options: dict[str, Any] = {"request_size": 4, "threads": 1}
    if kind == "vit":
        x = draw.standard_normal((80, 1, 8, 8)).astype(np.float32)
        return make_task(model, (x, (x.mean(axis=(1, 2, 3)) > 0).astype(np.int64)), **options)
    words = draw.integers(0, WORDS, (80, LENGTH))
    if kind == "bert":
        return make_task(model, (words, (words[:, 0] > 25).astype(np.int64)), **options)
    return make_task(model, (words, words), loss=CrossEntropy(-1), metric=hits, **options)
