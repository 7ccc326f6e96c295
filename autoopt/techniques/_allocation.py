"""How a ratio of what goes is shared out among the layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from autoopt.techniques._bounds import check_choice, read_layers, share_of

ALLOCATIONS = ("global", "uniform", "sensitivity")
# Rounds in which what a full layer cannot give is taken from the others.
ROUNDS = 20
# A ratio such as 1 − 4/5 is a little less than 0.2, and still means one of five.
ROUNDING = 1e-6

Sensitivity = Callable[[str, float], float]


@dataclass(frozen=True)
class Allocation:
    """Which share of each layer's units goes.

    Attributes
    ----------
    ratio
        Share of all units that goes, 0 < ratio < 1.
    kind
        ``"global"``: the units of least importance in the whole network; ``"uniform"``: the same
        share everywhere; ``"sensitivity"``: less where it raises the loss on calibration data.
    slope
        From −1 to 1, for uniform: how much more goes in the last layers than in the first.
    layers
        Shares of layers or stages that are fixed beforehand, as ``"layer1=0.25, layer2=0.5"``.
    most
        The largest share of one layer that goes.
    """

    ratio: float
    kind: str = "global"
    slope: float = 0.0
    layers: str = ""
    most: float = 0.9

    def __post_init__(self) -> None:
        """Hold the bounds."""
        if not 0 < self.ratio < 1:
            raise ValueError(f"`ratio` must be above 0 and below 1, but got {self.ratio}.")
        check_choice("allocation", self.kind, ALLOCATIONS)
        if not -1 <= self.slope <= 1:
            raise ValueError(f"`slope` must be within −1 and 1, but got {self.slope}.")
        if self.slope and self.kind != "uniform":
            raise ValueError(
                "`slope` tilts the allocation 'uniform' alone, but got "
                f"(slope={self.slope}, allocation={self.kind!r})."
            )
        read_layers(self.layers)

    def shares(self, scores: Mapping[str, Tensor], sensitivity: Sensitivity) -> dict[str, float]:
        """Return the share that goes of each layer.

        Parameters
        ----------
        scores
            Layer → importance of its units, in the order in which they run.
        sensitivity
            ``sensitivity(layer, share)`` gives the rise of the loss when that share goes there.
        """
        fixed = read_layers(self.layers)
        own = {name: share_of(name, fixed, -1.0) for name in scores}
        free = {name: scores[name] for name, share in own.items() if share < 0}
        found = self._free_shares(free, sensitivity) if free else {}
        return {name: min(self.most, found.get(name, own[name])) for name in scores}

    def _free_shares(
        self, scores: Mapping[str, Tensor], sensitivity: Sensitivity
    ) -> dict[str, float]:
        if self.kind == "global":
            return _lowest_of_all(scores, self.ratio)
        wishes = dict.fromkeys(scores, 1.0)
        if self.kind == "sensitivity":
            rises = {name: max(0.0, sensitivity(name, self.ratio)) for name in scores}
            middle = max(median(rises.values()), 1e-12)
            wishes = {name: 1 / (1 + rise / middle) for name, rise in rises.items()}
        elif len(scores) > 1:
            last = len(scores) - 1
            wishes = {
                name: 1 + self.slope * (2 * number / last - 1) for number, name in enumerate(scores)
            }
        sizes = {name: scores[name].numel() for name in scores}
        return _scaled(wishes, sizes, self.ratio, self.most)


def cubic(step: int, steps: int, ratio: float) -> float:
    """Return the share that is gone after a step, ratio · (1 − (1 − step / steps)³).

    Fast while much is redundant, slow at the end (Zhu & Gupta 2017, arXiv 1710.01878).
    """
    return ratio * (1 - (1 - step / steps) ** 3)


def _lowest_of_all(scores: Mapping[str, Tensor], ratio: float) -> dict[str, float]:
    every = torch.cat([values.flatten() for values in scores.values()])
    gone = torch.zeros(len(every), dtype=torch.bool)
    gone[every.argsort(stable=True)[: int(ratio * len(every) + ROUNDING)]] = True
    parts = gone.split([values.numel() for values in scores.values()])
    return {name: float(part.float().mean()) for name, part in zip(scores, parts, strict=True)}


def _scaled(
    wishes: Mapping[str, float], sizes: Mapping[str, int], ratio: float, most: float
) -> dict[str, float]:
    """Return shares in proportion to the wishes, none above `most`, that make up the ratio."""
    shares = dict.fromkeys(wishes, 0.0)
    total = sum(sizes.values())
    for _ in range(ROUNDS):
        missing = ratio * total - sum(shares[name] * sizes[name] for name in sizes)
        open_ = {name: wish for name, wish in wishes.items() if shares[name] < most and wish > 0}
        weight = sum(wish * sizes[name] for name, wish in open_.items())
        if missing < 1e-9 * total or not weight:
            break
        for name, wish in open_.items():
            shares[name] = min(most, shares[name] + missing * wish / weight)
    return shares
