"""A residual network of about 696 thousand parameters, and its training on the digits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from autoopt.demo.data import CLASSES, Parts, digits

STAGES = (32, 64, 128)
EPOCHS = 8
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
LABEL_SMOOTHING = 0.05
# How far an image is turned (radians), scaled (share) and shifted (half widths), each way.
TURN, SCALE, SHIFT = 0.1, 0.06, 0.075


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016, arXiv 1512.03385).

    Parameters
    ----------
    in_channels, out_channels
        Channels taken and given.
    stride
        Stride of the first convolution; the shortcut is projected where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (samples, out_channels, height / stride, width / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """A stem, three stages of two basic blocks, and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, STAGES[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(STAGES[0]),
            nn.ReLU(),
        )
        widths = (STAGES[0], *STAGES)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    BasicBlock(before, width, stride=1 if number == 0 else 2),
                    BasicBlock(width, width),
                )
                for number, (before, width) in enumerate(zip(widths, STAGES, strict=False))
            )
        )
        self.head = nn.Linear(STAGES[-1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (samples, 10) for images of shape (samples, 1, 32, 32)."""
        features = self.stages(self.stem(x))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def train_model(
    seed: int = 0, *, parts: Parts | None = None, epochs: int = EPOCHS
) -> tuple[DigitsNet, float]:
    """Train a fresh network on the digits; return it in eval mode with its validation accuracy.

    Parameters
    ----------
    seed
        Decides weights and order.
    parts
        What it learns from and is judged on: `digits` with its usual seed if None.
    epochs
        Passes over the train part, under one cycle of the learning rate.
    """
    train, validation, _ = digits() if parts is None else parts
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = DigitsNet()
        _fit(model, train, epochs)
    return model.eval(), _accuracy(model, validation)


def _fit(model: nn.Module, part: TensorDataset, epochs: int) -> None:
    images, targets = part.tensors
    _lay_out(model, torch.channels_last)
    steps = len(targets) // BATCH_SIZE
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps * epochs, pct_start=0.2
    )
    able = torch.cpu.get_capabilities()
    half = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(targets))
        for rows in order[: steps * BATCH_SIZE].split(BATCH_SIZE):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = model(_moved(images[rows])).float()
            loss = F.cross_entropy(logits, targets[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    _lay_out(model, torch.contiguous_format)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Store kernels in a layout, in place: channels last trains at twice the speed."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _moved(images: Tensor) -> Tensor:
    """Turn, scale and shift every image a little: digits keep their class."""

    def around_zero(reach: float) -> Tensor:
        return (2 * torch.rand(len(images)) - 1) * reach

    angle, scale = around_zero(TURN), 1 + around_zero(SCALE)
    across = torch.stack([angle.cos() * scale, -angle.sin() * scale, around_zero(SHIFT)], dim=1)
    down = torch.stack([angle.sin() * scale, angle.cos() * scale, around_zero(SHIFT)], dim=1)
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def _accuracy(model: nn.Module, part: TensorDataset) -> float:
    images, targets = part.tensors
    return float((model(images).argmax(dim=1) == targets).float().mean())
