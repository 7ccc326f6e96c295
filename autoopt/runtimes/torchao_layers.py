"""Linear layers in 8-bit floats and in 4 bits, by torchao and the kernels of tensor cores.

``fp8`` multiplies floats of 8 bits (E4M3) whose activations get their scales as they come;
``fp8_weights`` stores weights so and computes in float; ``int4`` computes in bfloat16 with weights
of 4 bits that the kernel itself unpacks (tinygemm). The networks stay plain programs: torchao's
tensors are taken apart into their codes and scales before they are traced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.runtimes.layers import FLOAT, layer_bits

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization, Target
    from autoopt.task import Task

TORCHAO = ("fp8", "fp8_weights", "int4")
COMPUTED = {"fp8": "fp8", "fp8_weights": "fp8 weights, float32 compute", "int4": "int4"}
GROUPS = (32, 64, 128, 256)
"""Weights that share a scale in the kernel for 4 bits."""

FEWEST = {"fp8": (8, 9), "int4": (8, 0)}
"""Compute capability from which tensor cores have the kernels (torchao 0.18)."""

MULTIPLE = 16
"""Sizes of a layer that products of 8-bit floats take are multiples of this."""

MISSING = (
    "torchao, which makes {} here, is not installed: pip install 'autoopt[cuda]'; without a CUDA "
    "device ask for static_int8, packed or bfloat16."
)


def refuse_torchao(request: Quantization, task: Task, target: Target) -> str | None:
    """Say why torchao cannot make what is asked for on a target, or None."""
    if request.name == "int4" and request.group not in GROUPS:
        known = ", ".join(map(str, GROUPS))
        return f"the kernel for 4 bits takes groups of {known}, but got {request.group}."
    if request.granularity not in ("per_channel", "per_tensor") and request.name != "int4":
        return (
            f"floats of 8 bits have a scale a channel or a tensor, but got {request.granularity!r}."
        )
    if reason := _refuse_target(request.name, target):
        return reason
    if find_spec("torchao") is None:
        return MISSING.format(request.name)
    if not _fitting(task.model, request):
        return f"no linear layer of this model has sizes that {request.name} takes: " + (
            f"as many inputs as groups of {request.group} divide."
            if request.name == "int4"
            else f"multiples of {MULTIPLE}."
        )
    return None


def _refuse_target(name: str, target: Target) -> str | None:
    if name not in FEWEST:
        return None
    if not target.name.startswith("cuda"):
        return (
            f"{name} needs the tensor cores of a CUDA device, but candidates run on "
            f"{target.name!r}; ask for fp8 with mode='weight_only', static_int8, packed or "
            "bfloat16."
        )
    # Of one device torch knows more than the target says.
    index = int(target.name.partition(":")[2] or 0)
    able, least = torch.cuda.get_device_capability(index), FEWEST[name]
    if able < least:
        return (
            f"{name} needs compute capability {least[0]}.{least[1]}, but {target.name!r} has "
            f"{able[0]}.{able[1]}; ask for bfloat16 or packed."
        )
    return None


class OnDevice(nn.Module):
    """A network on a device in a float type, which takes and gives float32 there.

    Parameters
    ----------
    network
        With its positional face; a copy is brought there.
    kind
        Float type that it computes in.
    device
        Where.
    """

    def __init__(self, network: nn.Module, kind: torch.dtype, device: str) -> None:
        super().__init__()
        self.kind = kind
        self.network = copy.deepcopy(network).to(device=torch.device(device), dtype=kind).eval()

    @property
    def inner(self) -> nn.Module:
        """The network within its positional face."""
        found: Any = self.network.network
        return found  # type: ignore[no-any-return]  # what a face holds is a module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Cast, compute, cast back."""
        cast = (x.to(self.kind) if x.is_floating_point() else x for x in inputs)
        result: torch.Tensor = self.network(*cast).to(torch.float32)
        return result


def torchao_module(
    network: nn.Module, request: Quantization, task: Task, device: str
) -> tuple[nn.Module, dict[str, int]]:
    """Return the network with its positional face and torchao's layers, and the bits of each.

    Parameters
    ----------
    network, request, task
        As of a build.
    device
        Of torch: ``"cpu"`` or a CUDA device.

    Raises
    ------
    RefusedError
        If what is kept leaves no layer, or torchao left all of them as they were.
    """
    from torchao.quantization import quantize_
    from torchao.utils import unwrap_tensor_subclass

    names = list(_fitting(network, request))
    bits = layer_bits(request, names)
    wanted = {name for name, count in bits.items() if count != FLOAT}
    kind = torch.float32 if request.name == "fp8_weights" else torch.bfloat16
    # Layers are chosen by the names that they have in the network itself.
    inside = OnDevice(task.wrapped(network), kind, device)
    layers = {name: module for name, module in inside.inner.named_modules() if name in wanted}
    chosen = {id(module) for module in layers.values()}

    def is_chosen(module: nn.Module, name: str) -> bool:
        return id(module) in chosen

    quantize_(inside, _config(request), filter_fn=is_chosen)
    left = [name for name, module in layers.items() if type(module.weight) is nn.Parameter]
    if len(left) == len(wanted):
        raise RefusedError(f"torchao left all layers of this network in float ({request.name}).")
    plain: nn.Module = unwrap_tensor_subclass(inside)
    return plain, {**bits, **dict.fromkeys(left, FLOAT)}


def _config(request: Quantization) -> Any:
    """Return torchao's own request."""
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        Int4WeightOnlyConfig,
        PerRow,
        PerTensor,
    )

    # Settings of the compiler belong to whoever compiles, not to the process.
    if request.name == "int4":
        return Int4WeightOnlyConfig(
            group_size=request.group,
            int4_packing_format="tile_packed_to_4d",
            set_inductor_config=False,
        )
    whole = request.granularity == "per_tensor"
    make: Callable[..., Any] = Float8DynamicActivationFloat8WeightConfig
    if request.name == "fp8_weights":
        make = Float8WeightOnlyConfig
    return make(granularity=PerTensor() if whole else PerRow(), set_inductor_config=False)


def _fitting(network: nn.Module, request: Quantization) -> dict[str, nn.Linear]:
    """Return the linear layers whose sizes the kernels take, by their names."""
    linear = {
        name: module
        for name, module in network.named_modules()
        if type(module) is nn.Linear and module.weight.dtype == torch.float32
    }
    if request.name == "fp8_weights":
        return linear
    if request.name == "int4":
        return {n: m for n, m in linear.items() if m.in_features % request.group == 0}
    return {
        name: module
        for name, module in linear.items()
        if module.in_features % MULTIPLE == 0 and module.out_features % MULTIPLE == 0
    }
