"""Cutting channels out of modules: parameters and buffers are sliced, one function a kind.

The numbers that a module holds of its own shape (``in_channels``, ``num_features``, ``groups`` …)
are kept in line with them. Parameters that several modules share stay shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from autoopt.errors import ModelError
from autoopt.factors import is_transposed_linear
from autoopt.plan import Keep


class Cutter:
    """Slices modules, remembering what became of each parameter so that sharing survives."""

    def __init__(self) -> None:
        # (id of the old tensor, axis, indices) -> (old, new): holding the old one keeps its id.
        self._done: dict[tuple[int, int, tuple[int, ...]], tuple[Tensor, Tensor]] = {}

    def keep(self, module: nn.Module, edit: Keep) -> None:
        """Do one `Keep` on its module."""
        if is_transposed_linear(module):
            _cut_transposed_linear(self, module, edit)
            return
        for kinds, cut in _CUTS:
            if isinstance(module, kinds):
                cut(self, module, edit)
                return
        known = ", ".join(sorted(kind.__name__.strip("_") for kinds, _ in _CUTS for kind in kinds))
        raise _misfit(edit, f"{type(module).__name__} cannot be cut; known: {known}")

    def slice(self, module: nn.Module, names: Sequence[str], axis: int, edit: Keep) -> None:
        """Keep `edit.indices` of the named parameters and buffers along `axis`."""
        for name in names:
            tensor = getattr(module, name)
            if tensor is not None:
                index = torch.tensor(edit.indices, device=tensor.device)
                self._put(module, name, (axis, edit), partial(_selected, axis=axis, index=index))

    def slice_columns(self, module: _ConvNd, kept: list[list[int]], edit: Keep) -> None:
        """Keep columns of a grouped convolution's weight: `kept` has one list a group."""

        def columns(old: Tensor) -> Tensor:
            blocks = zip(old.chunk(len(kept)), kept, strict=True)
            return torch.cat([block[:, part] for block, part in blocks])

        self._put(module, "weight", (1, edit), columns)

    def check_shared(self, network: nn.Module) -> None:
        """Raise where a cut parameter is still used, whole, by another module."""
        old = {identity for identity, _, _ in self._done}
        for name, parameter in network.named_parameters(remove_duplicate=False):
            if id(parameter) in old:
                raise ModelError(
                    f"The plan cuts a parameter that {name!r} shares, but not there; "
                    "cut all modules that share it in the same way."
                )

    def _put(
        self, module: nn.Module, name: str, where: tuple[int, Keep], cut: Callable[[Tensor], Tensor]
    ) -> None:
        axis, edit = where
        if name not in module._parameters and name not in module._buffers:
            raise _misfit(edit, f"`{name}` is computed by a parametrization; remove that first")
        old = getattr(module, name)
        key = (id(old), axis, edit.indices)
        if key not in self._done:
            new = cut(old.detach())
            if isinstance(old, nn.Parameter):
                new = nn.Parameter(new, requires_grad=old.requires_grad)
            self._done[key] = (old, new)
        setattr(module, name, self._done[key][1])


def _selected(tensor: Tensor, *, axis: int, index: Tensor) -> Tensor:
    return tensor.index_select(axis, index)


def _misfit(edit: Keep, reason: str) -> ModelError:
    return ModelError(f"The plan cannot cut {edit.axis!r} of the module {edit.module!r}: {reason}.")


def _check_indices(edit: Keep, width: int) -> None:
    inside = all(0 <= index < width for index in edit.indices)
    if not edit.indices or not inside or list(edit.indices) != sorted(set(edit.indices)):
        shown = ", ".join(map(str, edit.indices[:8])) + (" …" if len(edit.indices) > 8 else "")
        raise _misfit(
            edit, f"indices must be sorted, unique and within 0–{width - 1}, but got [{shown}]"
        )


def _per_group(edit: Keep, width: int, groups: int) -> list[list[int]]:
    """Return the kept indices of each group, counted in the group."""
    size = width // groups
    kept = [[i % size for i in edit.indices if i // size == group] for group in range(groups)]
    if len({len(part) for part in kept}) != 1:
        raise _misfit(edit, f"each of the {groups} groups must keep as many channels as the others")
    return kept


def _cut_conv(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, _ConvNd)
    width = module.out_channels if edit.axis == "out" else module.in_channels
    _check_indices(edit, width)
    if 1 < module.groups == module.in_channels == module.out_channels:
        cutter.slice(module, ("weight", "bias"), 0, edit)
        module.in_channels = module.out_channels = module.groups = len(edit.indices)
        return
    kept = _per_group(edit, width, module.groups)
    # A convolution's weight is (out, in / groups, …), a transposed one's (in, out / groups, …).
    if (edit.axis == "in") == isinstance(module, _ConvTransposeNd):
        cutter.slice(module, ("weight",), 0, edit)
    else:
        cutter.slice_columns(module, kept, edit)
    if edit.axis == "out":
        cutter.slice(module, ("bias",), 0, edit)
        module.out_channels = len(edit.indices)
    else:
        module.in_channels = len(edit.indices)


def _cut_linear(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, nn.Linear)
    if edit.axis == "out":
        _check_indices(edit, module.out_features)
        cutter.slice(module, ("weight", "bias"), 0, edit)
        module.out_features = len(edit.indices)
    else:
        _check_indices(edit, module.in_features)
        cutter.slice(module, ("weight",), 1, edit)
        module.in_features = len(edit.indices)


def _cut_transposed_linear(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    """Cut the `Conv1D` of transformers: a linear layer whose weight is (in, out)."""
    layer: Any = module  # a class of transformers, which need not be installed
    _check_indices(edit, layer.weight.shape[edit.axis == "out"])
    if edit.axis == "out":
        cutter.slice(layer, ("weight",), 1, edit)
        cutter.slice(layer, ("bias",), 0, edit)
        layer.nf = len(edit.indices)
    else:
        cutter.slice(layer, ("weight",), 0, edit)
        layer.nx = len(edit.indices)


def _cut_recurrent(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    """Keep hidden units of an LSTM, a GRU or an RNN: of all its layers, directions and gates."""
    assert isinstance(module, nn.RNNBase)
    weights = [name for name, value in module.named_parameters(recurse=False) if value.ndim > 1]
    if module.proj_size:
        raise _misfit(edit, "its outputs are projected")
    if edit.axis == "in":
        _check_indices(edit, module.input_size)
        first = [name for name in weights if name.startswith("weight_ih_l0")]
        cutter.slice(module, first, 1, edit)
        module.input_size = len(edit.indices)
        return
    size = module.hidden_size
    _check_indices(edit, size)
    inner = [name for name in weights if name.startswith("weight_hh")]
    outer = [name for name in weights if not name.startswith(("weight_hh", "weight_ih_l0"))]
    biases = [name for name, value in module.named_parameters(recurse=False) if value.ndim == 1]
    cutter.slice(module, inner, 1, edit)
    cutter.slice(module, outer, 1, _repeated(edit, size, 2 if module.bidirectional else 1))
    gates = module.get_parameter("weight_ih_l0").shape[0] // size
    cutter.slice(module, [*weights, *biases], 0, _repeated(edit, size, gates))
    module.hidden_size = len(edit.indices)


def _repeated(edit: Keep, size: int, times: int) -> Keep:
    """Return the same indices in each of several blocks of one size."""
    every = tuple(block * size + index for block in range(times) for index in edit.indices)
    return replace(edit, indices=every)


def _cut_batch_norm(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, _NormBase)
    _check_indices(edit, module.num_features)
    cutter.slice(module, ("weight", "bias", "running_mean", "running_var"), 0, edit)
    module.num_features = len(edit.indices)


def _cut_layer_norm(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, nn.LayerNorm)
    _check_indices(edit, module.normalized_shape[-1])
    cutter.slice(module, ("weight", "bias"), len(module.normalized_shape) - 1, edit)
    module.normalized_shape = (*module.normalized_shape[:-1], len(edit.indices))


def _cut_group_norm(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, nn.GroupNorm)
    _check_indices(edit, module.num_channels)
    _per_group(edit, module.num_channels, module.num_groups)
    cutter.slice(module, ("weight", "bias"), 0, edit)
    module.num_channels = len(edit.indices)


def _cut_embedding(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, nn.Embedding)
    _check_indices(edit, module.embedding_dim)
    cutter.slice(module, ("weight",), 1, edit)
    module.embedding_dim = len(edit.indices)


def _cut_prelu(cutter: Cutter, module: nn.Module, edit: Keep) -> None:
    assert isinstance(module, nn.PReLU)
    _check_indices(edit, module.num_parameters)
    cutter.slice(module, ("weight",), 0, edit)
    module.num_parameters = len(edit.indices)


_CUTS: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Cutter, nn.Module, Keep], None]], ...] = (
    ((_ConvNd,), _cut_conv),
    ((nn.Linear,), _cut_linear),
    ((nn.RNNBase,), _cut_recurrent),
    ((_NormBase,), _cut_batch_norm),
    ((nn.LayerNorm,), _cut_layer_norm),
    ((nn.GroupNorm,), _cut_group_norm),
    ((nn.Embedding,), _cut_embedding),
    ((nn.PReLU,), _cut_prelu),
)
