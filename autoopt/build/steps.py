"""A network as the steps that lead to it from the original."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt import plan
from autoopt.errors import DivergedError
from autoopt.replay import replay

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "weights.safetensors"
PLAN = "plan.json"


@dataclass(frozen=True)
class Steps:
    """What was done to the original, as data.

    Attributes
    ----------
    items
        Each either ``{"edits": [...]}``, replayed as it stands, or
        ``{"technique": [slot, option, settings]}`` of a technique that gives no edits, which is
        applied again when the network is loaded.
    """

    items: tuple[Mapping[str, Any], ...] = ()

    def edited(self, edits: tuple[plan.Edit, ...]) -> Steps:
        """Return these steps and then some edits."""
        return Steps((*self.items, {"edits": plan.to_json(edits)})) if edits else self

    def applied(self, slot: str, option: str, settings: Mapping[str, Any]) -> Steps:
        """Return these steps and then a technique that gives no edits."""
        return Steps((*self.items, {"technique": [slot, option, dict(settings)]}))

    def rebuild(
        self, original: nn.Module, apply: Callable[[nn.Module, list[Any]], nn.Module]
    ) -> nn.Module:
        """Return a copy of the original with the steps done; its weights are still to be loaded."""
        network = copy.deepcopy(original)
        for item in self.items:
            if "edits" in item:
                network = replay(network, plan.from_json(item["edits"]))
            else:
                network = apply(network, item["technique"])
        return network

    def save(self, network: nn.Module, folder: Path) -> None:
        """Write plan and weights.

        Raises
        ------
        DivergedError
            If a weight is not finite.
        """
        import torch
        from safetensors.torch import save_model

        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise DivergedError(f"weights must be finite, but {name!r} holds NaN or infinity")
        (folder / PLAN).write_text(json.dumps(list(self.items)))
        save_model(network, str(folder / WEIGHTS))

    @classmethod
    def load(
        cls,
        folder: Path,
        original: nn.Module,
        apply: Callable[[nn.Module, list[Any]], nn.Module],
    ) -> nn.Module:
        """Return the network that `save` wrote."""
        from safetensors.torch import load_model

        steps = cls(tuple(json.loads((folder / PLAN).read_text())))
        network = steps.rebuild(original, apply)
        load_model(network, str(folder / WEIGHTS))
        return network.eval()
