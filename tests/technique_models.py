"""Small networks of every shape that the techniques must cope with, and tasks for them."""

# What a layer returns is Any to mypy; the networks say Tensor.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autoopt.task import Task, make_task

CLASSES = 4

# Networks this small gain nothing from a second thread, and lose much where processors are busy.
torch.set_num_threads(1)


class Residual(nn.Module):
    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(taken, given, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(given)
        self.conv2 = nn.Conv2d(given, given, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(given)
        self.shortcut = nn.Identity() if taken == given else nn.Conv2d(taken, given, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResidualNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(
            Residual(16, 16), Residual(16, 16), Residual(16, 32, 2), Residual(32, 32)
        )
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class ConcatNet(nn.Module):
    """Branches that meet in a concatenation, then a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 16, 3, padding=1)
        self.right = nn.Conv2d(1, 24, 1)
        self.norm = nn.BatchNorm2d(40)
        self.mix = nn.Conv2d(40, 16, 3, stride=2, padding=1)
        self.act = nn.PReLU(16)
        self.hidden = nn.Linear(16 * 16, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([self.left(x), self.right(x)], dim=1))
        y = self.act(self.mix(torch.relu(y)))
        return self.head(torch.relu(self.hidden(y.flatten(1))))


class SeparableNet(nn.Module):
    """Depthwise, pointwise and grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            nn.Conv2d(16, 32, 1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(32, 24, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class SharedNet(nn.Module):
    """One layer called twice, and two layers that hold one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.twice = nn.Linear(32, 32)
        self.middle = nn.Linear(32, 48)
        self.up = nn.Linear(48, 24)
        self.down = nn.Linear(48, 24)
        self.down.weight = self.up.weight
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x.flatten(1)))
        y = torch.relu(self.twice(torch.relu(self.twice(y))))
        y = torch.relu(self.middle(y))
        return self.head(torch.relu(self.up(y) + self.down(y)))


class AttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.give = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        shape = (len(x), x.shape[1], 4, 8)
        q, k, v = (m(y).view(shape).transpose(1, 2) for m in (self.query, self.key, self.value))
        mixed = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, dim=-1) @ v
        x = x + self.give(mixed.transpose(1, 2).reshape(len(x), -1, 32))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class AttentionNet(nn.Module):
    """A transformer of plain layers whose heads have a fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.blocks = nn.Sequential(AttentionBlock(32), AttentionBlock(32))
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x.flatten(1).view(len(x), 8, 8))).mean(dim=1))


def plain_net() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, CLASSES),
    )


class RecurrentNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x[:, 0])[0][:, -1])


class EncoderNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x[:, 0]).mean(dim=1))


class Here:
    """A target that can do nothing special."""

    name = "here"

    def describe(self) -> dict[str, Any]:
        return {}


HERE = Here()
NETS: dict[str, Callable[[], nn.Module]] = {
    "residual": ResidualNet,
    "plain": plain_net,
    "concat": ConcatNet,
    "separable": SeparableNet,
    "shared": SharedNet,
    "attention": AttentionNet,
}
UNTRACEABLE: dict[str, Callable[[], nn.Module]] = {
    "lstm": RecurrentNet,
    "encoder": EncoderNet,
}


@cache
def task_of(kind: str, *, samples: int = 160) -> Task:
    """Return a task of 1×8×8 images in four classes that a network can learn."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 1, 8, 8, generator=generator)
    y = torch.arange(samples) % CLASSES
    for number in range(CLASSES):
        x[y == number, :, 2 * number : 2 * number + 2] += 1.5
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = (NETS | UNTRACEABLE)[kind]()
        with torch.no_grad():
            for _ in range(3):
                model.train()(x)
    return make_task(model.eval(), TensorDataset(x, y), request_size=8, threads=1)
