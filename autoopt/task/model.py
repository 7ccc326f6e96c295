"""The model: checks, and the private copy that a search works on."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from autoopt.errors import ModelError
from autoopt.task.foreign import shown_as
from autoopt.task.layout import Signature


@dataclass(frozen=True)
class PrivateModel:
    """A copy on the CPU in eval mode, float32, all floating parameters trainable.

    Attributes
    ----------
    module
        The copy.
    notes
        In what it differs from the person's model, in sentences.
    """

    module: nn.Module
    notes: tuple[str, ...]

    @property
    def signature(self) -> Signature:
        """What the data must know of it."""
        parameters = inspect.signature(self.module.forward).parameters.values()
        anything = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)
        names = tuple(
            item.name for item in parameters if item.kind is not inspect.Parameter.VAR_POSITIONAL
        )
        floats = any(item.is_floating_point() for item in self.module.parameters())
        return Signature(None if anything else names, floats)


def private_copy(model: Any) -> PrivateModel:
    """Copy a model; the original stays as it was.

    Raises
    ------
    ModelError
        If it is no plain trained ``nn.Module``.
    """
    notes: list[str] = []
    network = _unwrapped(model, notes)
    _check(network)
    with shown_as(
        lambda cause: ModelError(
            f"the model cannot be copied (copy.deepcopy): {cause}. Tensors kept as attributes must "
            "be detached or registered as buffers; for torch.nn.utils.weight_norm call "
            "remove_weight_norm first."
        )
    ):
        own = copy.deepcopy(network)
    _say_shared(network, notes)
    _say_mode(network, notes)
    with shown_as(
        lambda cause: ModelError(
            f"the model cannot be brought to the CPU in eval mode: {cause}. Give the nn.Module "
            "itself, not an exported program."
        )
    ):
        own = own.cpu().float().eval()
        _without_parametrizations(own, notes)
    for parameter in own.parameters():
        parameter.grad = None
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    _check_values(own)
    return PrivateModel(own, tuple(notes))


def _unwrapped(model: Any, notes: list[str]) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ModelError(
            "the model must be an ordinary nn.Module, but got a TorchScript "
            f"{type(model).__name__}, whose layers cannot be changed or trained again. Give the "
            "module that it was scripted or traced from."
        )
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise ModelError(
            f"the model must be a trained nn.Module, but got the class {model.__name__}. Give an "
            f"instance with its weights: {model.__name__}(...)."
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the model must be a torch.nn.Module, but got {type(model).__name__}. Give the "
            "trained PyTorch module."
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        notes.append(f"model: the module inside {type(model).__name__} is used")
        return _unwrapped(model.module, notes)
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        notes.append("model: the module that was given to torch.compile is used")
        return _unwrapped(inner, notes)
    return model


def _check(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(value, UninitializedParameter | UninitializedBuffer):
            raise ModelError(
                f"the model must be trained, but {name!r} is not initialised (a lazy layer). Run "
                "the model once and train it first."
            )
        if value.is_meta:
            raise ModelError(
                f"the model must hold its weights, but {name!r} is on the meta device. Load the "
                "weights first."
            )


def _without_parametrizations(model: nn.Module, notes: list[str]) -> None:
    """Put plain weights in the place of computed ones, which no other process could be sent."""
    for path, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        for name in list(module.parametrizations):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
            full = f"{path}.{name}" if path else name
            notes.append(
                f"model: {full} was computed from other weights (a parametrization, such as weight "
                "norm); in the copy it is a weight of its own, with the value it had"
            )


def _say_shared(model: nn.Module, notes: list[str]) -> None:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for names in owners.values():
        if len(names) > 1:
            notes.append(f"model: {' and '.join(names)} share one weight; they stay shared")


def _say_mode(model: nn.Module, notes: list[str]) -> None:
    if any(module.training for module in model.modules()):
        notes.append("model: it was in training mode; the copy is in eval mode")
    values = [*model.parameters(), *model.buffers()]
    devices = sorted({str(value.device) for value in values if value.device.type != "cpu"})
    if devices:
        notes.append(f"model: it was on {', '.join(devices)}; the copy is on the CPU")
    other = sorted(
        {
            str(value.dtype)
            for value in values
            if value.is_floating_point() and value.dtype != torch.float32
        }
    )
    if other:
        notes.append(f"model: it held {', '.join(other)}; the copy is in float32")
    frozen = sum(1 for item in model.parameters() if not item.requires_grad)
    if frozen:
        notes.append(
            f"model: {frozen} parameters were frozen (requires_grad=False); in the copy they are "
            "trainable"
        )


def _check_values(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            bad = int(value.isnan().sum())
            if bad:
                raise ModelError(
                    f"the model's weights must be numbers, but {bad} of {value.numel()} values of "
                    f"{name!r} are NaN. Load a checkpoint from before the training diverged."
                )
