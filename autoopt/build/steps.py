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
    import torch
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
        from safetensors.torch import save_file

        tensors = _tensors(network)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise DivergedError(f"weights must be finite, but {name!r} holds NaN or infinity")
        (folder / PLAN).write_text(json.dumps(list(self.items)))
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS)

    @classmethod
    def load(
        cls,
        folder: Path,
        original: nn.Module,
        apply: Callable[[nn.Module, list[Any]], nn.Module],
    ) -> nn.Module:
        """Return the network that `save` wrote.

        Raises
        ------
        RuntimeError
            If its weights are not those that the steps lead to.
        """
        from safetensors.torch import load_file

        steps = cls(tuple(json.loads((folder / PLAN).read_text())))
        network = steps.rebuild(original, apply)
        found, wanted = load_file(folder / WEIGHTS), _tensors(network)
        if set(found) != set(wanted):
            odd = sorted(set(found) ^ set(wanted))
            raise RuntimeError(f"the weights in {folder} do not fit their plan: {', '.join(odd)}")
        # Not strict: what is no tensor, and the other names of a shared one, are not in the file.
        network.load_state_dict(found, strict=False)
        return network.eval()


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a network's state, contiguous, a shared one under its first name.

    What else a module keeps in its state (`get_extra_state`) is the original's: it stays in the
    copy that the steps begin with.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for name, value in sorted(network.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        place = (value.data_ptr(), tuple(value.shape), value.stride())
        if value.numel() and place in seen:
            continue
        seen.add(place)
        found[name] = value.contiguous()
    return found
