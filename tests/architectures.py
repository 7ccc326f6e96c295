"""The common architectures, each small and trained on real data within seconds, once a test run.

Images and tables are scikit-learn's, text is that of Python's own standard library. Networks of
transformers are its own classes with random weights; nothing is downloaded.
"""

# What a layer returns is Any to mypy; the networks say Tensor.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.task import Task, make_task
from tests import language_data, network_zoo

# Set before transformers is imported: it must not look for anything.
os.environ["HF_HUB_OFFLINE"] = "1"

# Networks this small gain nothing from a second thread, and lose much where processors are busy.
torch.set_num_threads(1)


BATCH = 32


@dataclass(frozen=True)
class Architecture:
    """One kind of network with data that it can learn.

    Attributes
    ----------
    network
        Makes it, with random weights.
    data
        Gives what `make_task` takes.
    epochs, rate
        How long and how fast it is trained.
    options
        Further arguments of `make_task`.
    """

    network: Callable[[], nn.Module]
    data: Callable[[], Any]
    epochs: int
    rate: float = 5e-3
    options: dict[str, Any] | None = None


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 1×8×8 between 0 and 1, and their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images[:, None] / 16, dtype=torch.float32), torch.tensor(found.target)


def table() -> tuple[Tensor, Tensor]:
    """569 tumours described by 30 numbers, benign or not."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    x = torch.tensor(found.data, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0), torch.tensor(found.target)


def series() -> tuple[Tensor, Tensor]:
    """Each image as one series of 64 values, row after row."""
    x, y = digits()
    return x.flatten(2), y


def rows() -> tuple[Tensor, Tensor]:
    """Each image as eight steps of eight values."""
    x, y = digits()
    return x[:, 0], y


def segments() -> tuple[Tensor, Tensor]:
    """Noisy images, and for every pixel whether it is paper, pencil edge or ink."""
    x, _ = digits()
    noise = 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    levels = torch.bucketize(x[:, 0], torch.tensor([0.25, 0.65]))
    return x + noise, levels


def halves() -> torch.utils.data.Dataset[Any]:
    x, y = digits()
    return torch.utils.data.TensorDataset(x[..., :4], x[..., 4:], y)


def two_targets() -> tuple[Tensor, Tensor]:
    """Images with their class and the share of ink."""
    x, y = digits()
    return x, torch.stack([y.float(), x.mean((1, 2, 3))], dim=1)


def two_losses(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    right = F.cross_entropy(outputs["digit"], targets[:, 0].long())
    return right + 10 * F.mse_loss(outputs["ink"][:, 0], targets[:, 1])


def digit_accuracy(outputs: dict[str, Any], targets: Any) -> float:
    return float((outputs["digit"].argmax(1) == targets[:, 0]).mean())


def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return _quiet(
        ViTForImageClassification,
        ViTConfig,
        {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 8,
            "patch_size": 2,
            "num_channels": 1,
            "num_labels": 10,
            "hidden_dropout_prob": 0.0,
        },
    )


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return _quiet(
        BertForSequenceClassification,
        BertConfig,
        {
            "vocab_size": language_data.WORDS,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": language_data.LENGTH,
            "num_labels": len(language_data.MODULES),
            "pad_token_id": 0,
        },
    )


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return _quiet(
        GPT2LMHeadModel,
        GPT2Config,
        {
            "vocab_size": language_data.CHARACTERS,
            "n_positions": language_data.WINDOW,
            "n_embd": 48,
            "n_layer": 3,
            "n_head": 4,
            "bos_token_id": None,
            "eos_token_id": None,
            "use_cache": False,
        },
    )


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return _quiet(
        LlamaForCausalLM,
        LlamaConfig,
        {
            "vocab_size": language_data.CHARACTERS,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": language_data.WINDOW,
            "bos_token_id": None,
            "eos_token_id": None,
            "use_cache": False,
        },
    )


def _quiet(kind: Any, config: Any, settings: dict[str, Any]) -> nn.Module:
    """Make a network of transformers, whose types do not know all of its settings."""
    with warnings.catch_warnings():
        # transformers warns of its own deprecations while it builds a network.
        warnings.simplefilter("ignore")
        return kind(config(**settings))


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(network_zoo.Mlp, table, 6),
    "resnet": Architecture(network_zoo.ResNet, digits, 3),
    "mobilenet": Architecture(network_zoo.MobileNet, digits, 6),
    "unet": Architecture(network_zoo.UNet, segments, 4),
    "vit": Architecture(vit, digits, 12, 3e-3),
    "bert": Architecture(bert, language_data.sentences, 10, 3e-3),
    "gpt2": Architecture(gpt2, language_data.text, 6),
    "llama": Architecture(llama, language_data.text, 6),
    "lstm": Architecture(lambda: network_zoo.Recurrent(nn.LSTM), rows, 10, 1e-2),
    "gru": Architecture(lambda: network_zoo.Recurrent(nn.GRU), rows, 10, 1e-2),
    "conv1d": Architecture(network_zoo.SeriesNet, series, 6),
    "two_inputs": Architecture(network_zoo.TwoInputs, halves, 6),
    "two_outputs": Architecture(
        network_zoo.TwoOutputs,
        two_targets,
        6,
        options={"output": ["digit", "ink"], "loss": two_losses, "metric": digit_accuracy},
    ),
    "tied": Architecture(network_zoo.TiedNet, digits, 6),
}


@cache
def trained_task(name: str) -> Task:
    """Return the task of a trained network."""
    architecture = ARCHITECTURES[name]
    learned = _trained(untrained_task(name), architecture)
    return make_task(learned, architecture.data(), **_options(architecture))


@cache
def untrained_task(name: str) -> Task:
    """Return the task of the same network with random weights."""
    architecture = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = architecture.network()
    return make_task(network, architecture.data(), **_options(architecture))


def _options(architecture: Architecture) -> dict[str, Any]:
    return {"request_size": 8, "threads": 1, **(architecture.options or {})}


def _trained(task: Task, architecture: Architecture) -> nn.Module:
    """Return a copy of the task's network that has learned its train part."""
    network = copy.deepcopy(task.model).train()
    batches = math.ceil(len(task.train) / BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), architecture.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, architecture.rate, architecture.epochs * batches
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        for epoch in range(architecture.epochs):
            for inputs, targets in task.train.batches(BATCH, seed=epoch):
                optimizer.zero_grad()
                task.loss(task.forward(network, inputs), targets).backward()
                optimizer.step()
                schedule.step()
    return network.eval()
