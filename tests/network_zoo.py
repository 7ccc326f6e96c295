"""Small networks of the common architectures that no library brings in this size."""

# What a layer returns is Any to mypy; the networks say Tensor.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(30, 64), nn.ReLU(), *(Hidden() for _ in range(3)), nn.Linear(64, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x))


class Residual(nn.Module):
    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(taken, given, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(given)
        self.conv2 = nn.Conv2d(given, given, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(given)
        same = taken == given and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(taken, given, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(
            Residual(16, 16), Residual(16, 16), Residual(16, 32, 2), Residual(32, 32)
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).mean(dim=(2, 3)))


class Inverted(nn.Module):
    """Widen, filter each channel by itself, narrow again; a skip where the shape stays."""

    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        wide = 2 * taken
        self.body = nn.Sequential(
            nn.Conv2d(taken, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, given, 1, bias=False),
            nn.BatchNorm2d(given),
        )
        self.skips = taken == given and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skips else self.body(x)


class MobileNet(nn.Module):
    """Wide enough that its file holds more weights than graph, or fewer bits would not show."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU6()
        )
        self.blocks = nn.Sequential(
            Inverted(48, 48), Inverted(48, 48), Inverted(48, 64, 2), Inverted(64, 64)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


def convolved(taken: int, given: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(taken, given, 3, padding=1), nn.BatchNorm2d(given), nn.ReLU())


class UNet(nn.Module):
    """Scores of three classes for every pixel; skips from the way down to the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = convolved(1, 16)
        self.down2 = convolved(16, 32)
        self.bottom = nn.Sequential(convolved(32, 32), convolved(32, 32))
        self.up2 = nn.ConvTranspose2d(32, 32, 2, 2)
        self.join2 = convolved(64, 16)
        self.up1 = nn.ConvTranspose2d(16, 16, 2, 2)
        self.join1 = convolved(32, 16)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        low = self.bottom(F.max_pool2d(second, 2))
        middle = self.join2(torch.cat([self.up2(low), second], dim=1))
        return self.head(self.join1(torch.cat([self.up1(middle), first], dim=1)))


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.recurrent = kind(8, 32, num_layers=2, batch_first=True)
        self.hidden = nn.Linear(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.recurrent(x)[0][:, -1])))


class SeriesBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.norm(self.conv(x)))


class SeriesNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 24, 8, stride=4)
        self.blocks = nn.Sequential(*(SeriesBlock(24) for _ in range(3)))
        self.head = nn.Linear(24 * 15, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).flatten(1))


class TwoInputs(nn.Module):
    """One branch for the left half of an image, another for the right."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(convolved(1, 16), convolved(16, 16))
        self.right = nn.Sequential(convolved(1, 16), convolved(16, 16))
        self.hidden = nn.Linear(2 * 16 * 32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        both = torch.cat([self.left(left).flatten(1), self.right(right).flatten(1)], dim=1)
        return self.head(F.relu(self.hidden(both)))


class TwoOutputs(nn.Module):
    """The class of an image, and how much ink it has."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(convolved(1, 16), nn.MaxPool2d(2), convolved(16, 32))
        self.hidden = nn.Linear(512, 32)
        self.digit = nn.Linear(32, 10)
        self.ink = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = F.relu(self.hidden(self.body(x).flatten(1)))
        return {"digit": self.digit(y), "ink": self.ink(y)}


class TiedNet(nn.Module):
    """A classifier that looks at an image and at its reconstruction by the transposed weight.

    The layers down and up hold one weight, as embedding and head of a language model do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Linear(64, 48)
        self.middle = nn.Linear(48, 48)
        self.again = nn.Linear(64, 48)
        self.again.weight = self.down.weight
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        y = F.relu(self.middle(F.relu(self.down(x))))
        back = torch.sigmoid(F.linear(y, self.down.weight.t()))
        return self.head(y + F.relu(self.again(back)))
