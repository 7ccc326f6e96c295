"""How a ratio of what goes is shared out among the layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

import torch
from scipy.optimize import brentq
from torch import Tensor

from autoopt.techniques._bounds import (
    check_choice,
    check_number,
    check_share,
    read_layers,
    share_of,
)

ALLOCATIONS = ("global", "uniform", "sensitivity")
# Rounds in which what a full layer cannot give is taken from the others.
ROUNDS = 20
# A ratio such as 1 − 4/5 is a little less than 0.2, and still means one of five.
ROUNDING = 1e-6
# How much less and more than the middle layer a layer may keep, by its sensitivity.
LEAST_NEED, MOST_NEED = 0.5, 2.0

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
        check_share("ratio", self.ratio)
        check_choice("allocation", self.kind, ALLOCATIONS)
        check_number("slope", self.slope, least=-1, most=1)
        if self.slope and self.kind != "uniform":
            raise ValueError(
                "`slope` tilts the allocation 'uniform' alone, but got "
                f"(slope={self.slope}, allocation={self.kind!r})."
            )
        read_layers(self.layers)

    def shares(
        self,
        scores: Mapping[str, Tensor],
        sensitivity: Sensitivity,
        *,
        whole: Mapping[str, int] | None = None,
        part: float = 1.0,
    ) -> dict[str, float]:
        """Return the share that goes of each layer, of what it has now.

        Parameters
        ----------
        scores
            Layer → importance of its units, in the order in which they run.
        sensitivity
            ``sensitivity(layer, share)`` gives the rise of the loss when that share goes there.
        whole
            Layer → number of units before the first of several cuts, of which ratio, own shares
            and the most are shares. Without it, as many as there are scores.
        part
            Part of the way that this cut goes, as `cubic` gives it.
        """
        now = {name: values.numel() for name, values in scores.items()}
        sizes = {name: (whole or now).get(name, size) for name, size in now.items()}
        fixed = read_layers(self.layers)
        own = {name: share_of(name, fixed, -1.0) for name in scores}
        found = {
            name: _of_now(part * share, sizes[name], now[name])
            for name, share in own.items()
            if share >= 0
        }
        free = {name: scores[name] for name, share in own.items() if share < 0}
        if free:
            found |= self._free_shares(free, sensitivity, sizes, part * self.ratio)
        most = {name: _of_now(self.most, sizes[name], now[name]) for name in now}
        return {name: max(0.0, min(most[name], found[name])) for name in scores}

    def _free_shares(
        self,
        scores: Mapping[str, Tensor],
        sensitivity: Sensitivity,
        whole: Mapping[str, int],
        ratio: float,
    ) -> dict[str, float]:
        now = {name: values.numel() for name, values in scores.items()}
        # Of what is left now, so that what rounding kept last time goes this time.
        share = _of_now(ratio, sum(whole[name] for name in now), sum(now.values()))
        if self.kind == "uniform":
            # Of what each had at first, so that several cuts end where a single one does.
            sizes = {name: whole[name] for name in now}
            found = _scaled(self._tilt(tuple(now)), sizes, ratio, dict.fromkeys(now, self.most))
            return {name: _of_now(found[name], whole[name], now[name]) for name in now}
        if share <= 0:
            return dict.fromkeys(now, 0.0)
        if self.kind == "global":
            return _lowest_of_all(scores, share)
        rises = {name: max(0.0, sensitivity(name, share)) for name in scores}
        middle = max(median(rises.values()), 1e-12)
        most = {name: _of_now(self.most, whole[name], now[name]) for name in now}
        # A layer that suffers four times as much keeps twice as much, but none keeps less than
        # half of what the middle one does: what is left of a small layer must still carry on.
        needs = {
            name: min(MOST_NEED, max(LEAST_NEED, sqrt(rise / middle)))
            for name, rise in rises.items()
        }
        return _kept_by_need(needs, now, share, most)

    def _tilt(self, names: Sequence[str]) -> dict[str, float]:
        last = max(1, len(names) - 1)
        slope = self.slope if len(names) > 1 else 0.0
        return {name: 1 + slope * (2 * place / last - 1) for place, name in enumerate(names)}


def _of_now(share: float, whole: int, now: int) -> float:
    """Return which share of what there is now must go, so that `share` of the whole is gone."""
    return share if whole == now else 1 - (1 - share) * whole / now


def cubic(step: int, steps: int, ratio: float = 1.0) -> float:
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


def _kept_by_need(
    needs: Mapping[str, float],
    sizes: Mapping[str, int],
    ratio: float,
    most: Mapping[str, float],
) -> dict[str, float]:
    """Return shares that make up the ratio, where what is kept is in proportion to the needs."""

    def shares(scale: float) -> dict[str, float]:
        return {name: min(most[name], max(0.0, 1 - scale * need)) for name, need in needs.items()}

    def surplus(scale: float) -> float:
        found = shares(scale)
        return sum(found[name] * sizes[name] for name in sizes) - ratio * sum(sizes.values())

    # Nothing goes at the one end, and as much as is allowed at the other.
    return shares(brentq(surplus, 0.0, 1 / min(needs.values()))) if surplus(0.0) > 0 else shares(0)


def _scaled(
    wishes: Mapping[str, float],
    sizes: Mapping[str, int],
    ratio: float,
    most: Mapping[str, float],
) -> dict[str, float]:
    """Return shares in proportion to the wishes, none above its most, that make up the ratio."""
    shares = dict.fromkeys(wishes, 0.0)
    total = sum(sizes.values())
    for _ in range(ROUNDS):
        missing = ratio * total - sum(shares[name] * sizes[name] for name in sizes)
        open_ = {
            name: wish for name, wish in wishes.items() if shares[name] < most[name] and wish > 0
        }
        weight = sum(wish * sizes[name] for name, wish in open_.items())
        if missing < 1e-9 * total or not weight:
            break
        for name, wish in open_.items():
            shares[name] = min(most[name], shares[name] + missing * wish / weight)
    return shares
