"""How large a network is, and how much it computes: of its shapes, not of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.errors import RefusedError
from autoopt.extent import multiply_adds, parameter_count
from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Parameters:
    """Parameters of the network in millions, those that layers share once."""

    name: str = "parameters"
    unit: str = "M"
    direction: str = "minimize"

    def measure(self, probe: Probe) -> Reading:
        """Count them."""
        return Reading(Stat.exact(parameter_count(_network(probe)()) / 1e6, self.unit))


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiplications with addition for one sample in millions, of matrices and convolutions."""

    name: str = "multiply_adds"
    unit: str = "MMAC"
    direction: str = "minimize"

    def measure(self, probe: Probe) -> Reading:
        """Count them as the network computes one request."""
        import torch

        network = _network(probe)()
        request = [torch.from_numpy(array) for array in probe.request]
        found = multiply_adds(lambda: network(*request), len(request[0]))
        return Reading(Stat.exact(found / 1e6, self.unit))


def _network(probe: Probe) -> Callable[[], nn.Module]:
    if probe.network is None:
        raise RefusedError("the network that this artefact was built from is not at hand.")
    return probe.network
