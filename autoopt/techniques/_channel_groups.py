"""Channels that can only be cut together, found by tracing, and the edits that cut them.

Torch-Pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900) says which rows and columns
of which modules go with a channel; nothing is pruned here: all indices are counted in the model
as it was given, so that several cuts of one axis (a concatenation, say) simply add up.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from autoopt.errors import RefusedError
from autoopt.plan import Keep
from autoopt.techniques._trial import BROKEN, failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from autoopt.task import Task

ALIGNMENT = 8
# Steps in which Torch-Pruning may follow the channels of a network. A ResNet-50 takes 400; where
# rotary embeddings cut and join heads, it would go on for ever.
MOST_STEPS = 10_000
_ROOTS = (nn.modules.conv._ConvNd, nn.Linear)
_CUTTABLE = (
    *_ROOTS,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.Embedding,
    nn.PReLU,
)
_UNTRACEABLE: Mapping[type[nn.Module], str] = {
    nn.RNNBase: "its gates and states share one width that the trace does not show",
    nn.RNNCellBase: "its gates and states share one width that the trace does not show",
    nn.MultiheadAttention: "its heads share one packed projection that the trace does not show",
    nn.TransformerEncoderLayer: "its fused kernel and heads hide the widths from the trace",
    nn.TransformerDecoderLayer: "its fused kernel and heads hide the widths from the trace",
}
INSTEAD = "`heads`, `feed_forward` and `recurrent` cut inside the layers where they can"
Axis = Literal["out", "in"]
_AXES: tuple[Axis, ...] = ("out", "in")


@dataclass(frozen=True)
class ChannelGroup:
    """Hidden channels whose cuts touch the same modules.

    Attributes
    ----------
    root
        Dotted name of the convolution or linear layer that gives the channels.
    importance
        Shape (channels,), mean 1: squared L2 norm of what belongs to a channel, averaged over
        the members. Where the members cut channels in sets, all of a set have the same value.
    sets
        Number of equal parts the channels stand in (grouped convolutions, group norms); each
        part keeps the same positions.
    """

    root: str
    importance: Tensor
    sets: int

    @property
    def size(self) -> int:
        """Number of channels."""
        return len(self.importance)

    def strongest(self, count: int) -> tuple[int, ...]:
        """Return the sorted indices of about `count` channels to keep, at least one a set."""
        positions = self.importance.reshape(self.sets, -1)[0]
        kept = max(1, min(len(positions), round(count / self.sets)))
        order = positions.argsort(descending=True, stable=True)[:kept].sort().values
        offsets = torch.arange(self.sets) * len(positions)
        return tuple((offsets[:, None] + order[None, :]).flatten().tolist())


def refusal(model: nn.Module) -> str | None:
    """Say why the channels of `model` cannot be traced, or None."""
    for name, module in model.named_modules():
        for kind, reason in _UNTRACEABLE.items():
            if isinstance(module, kind):
                return (
                    f"the channels of {name or 'the model'!r} ({type(module).__name__}) "
                    f"cannot be cut: {reason}; {INSTEAD}"
                )
        if parametrize.is_parametrized(module):
            return f"the weights of {name!r} are computed by a parametrization; remove it first"
    if not any(isinstance(module, _ROOTS) for module in model.modules()):
        return "the model has no convolution and no linear layer whose channels could be cut"
    return None


def aligned(count: float) -> int:
    """Round to a multiple of 8, which processors like; below that to at least 4."""
    if count >= ALIGNMENT:
        return ALIGNMENT * int(count / ALIGNMENT + 0.5)
    return max(4, round(count))


class ChannelGraph:
    """The channel groups of a model, traced with the task's example.

    Parameters
    ----------
    model
        Stays as it was: a copy is traced.
    task
        Gives the example and runs the network.

    Raises
    ------
    RefusedError
        If the model cannot be traced, or no hidden channel can be cut.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        self._model = model
        self._task = task
        self._traced = traced = copy.deepcopy(model).eval()
        for parameter in traced.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        self._names = {module: name for name, module in traced.named_modules()}
        self._shared = _shared_parameters(traced)
        self._members: dict[str, list[tuple[str, Axis, list[tuple[int, int]]]]] = {}
        try:
            self._graph = _trace(traced, task)
            self._limit = _StepLimit(self._graph)
            self.groups = tuple(self._find_groups())
        except BROKEN as error:
            raise RefusedError(
                f"the channels cannot be traced: {type(error).__name__}: {error}"
            ) from error
        if not self.groups:
            raise RefusedError(f"the network has no hidden channels that could be cut; {INSTEAD}")

    def edits(self, kept: Mapping[str, Sequence[int]]) -> tuple[Keep, ...]:
        """Return the edits that keep, of the group of each root, these channels.

        Groups whose cut alone leaves a network that cannot run (heads of a fixed size, say) are
        left whole.

        Raises
        ------
        RefusedError
            If the network does not run after the cuts.
        """
        sizes = {group.root: group.size for group in self.groups}
        kept = {root: channels for root, channels in kept.items() if len(channels) < sizes[root]}
        reason = self._failure(kept)
        if reason is None:
            return self._keeps(kept)
        kept = {root: kept[root] for root in kept if self._failure({root: kept[root]}) is None}
        if not kept or self._failure(kept) is not None:
            raise RefusedError(f"the network does not run after the cut: {reason}")
        return self._keeps(kept)

    def members(self, root: str) -> list[tuple[str, Axis, list[tuple[int, int]]]]:
        """Return module, axis and (channel, index on that axis) pairs of all that a group cuts."""
        return self._members[root]

    def removed(self, root: str, channels: Sequence[int]) -> Any:
        """Return Torch-Pruning's group of the channels that are not among `channels`."""
        self._limit.renew()
        module = self._traced.get_submodule(root)
        size = self._graph.get_out_channels(module)
        pruner = self._graph.get_pruner_of_module(module)
        gone = sorted(set(range(size)) - set(channels))
        return self._graph.get_pruning_group(module, pruner.prune_out_channels, gone)

    def _keeps(self, kept: Mapping[str, Sequence[int]]) -> tuple[Keep, ...]:
        gone: dict[tuple[str, Axis], set[int]] = defaultdict(set)
        for root, channels in kept.items():
            for dep, indices in self.removed(root, channels):
                if self._is_cut(dep.target.module):
                    name = self._names[dep.target.module]
                    gone[name, self._axis(dep)].update(indices)
        widths = {
            (name, axis): _width(module, axis)
            for module, name in self._names.items()
            for axis in _AXES
            if (name, axis) in gone
        }
        return tuple(
            Keep(name, axis, tuple(i for i in range(width) if i not in gone[name, axis]))
            for (name, axis), width in widths.items()
        )

    def _failure(self, kept: Mapping[str, Sequence[int]]) -> str | None:
        """Say what is wrong with the network after these cuts, or None."""
        return failure(self._model, self._task, self._keeps(kept))

    def _find_groups(self) -> Iterable[ChannelGroup]:
        from torch_pruning.pruner.importance import GroupMagnitudeImportance

        measure = GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
        for group in self._graph.get_all_groups(ignored_layers=[]):
            sets = self._sets(group)
            importance = measure(group) if sets else None
            if importance is None or not torch.isfinite(importance).all():
                continue
            importance = importance.detach().reshape(sets, -1).mean(dim=0).repeat(sets)
            root = self._names[group[0].dep.target.module]
            self._members[root] = [
                (self._names[dep.target.module], self._axis(dep), list(zip(*pairs, strict=True)))
                for dep, *pairs in ((item.dep, item.root_idxs, item.idxs) for item in group)
                if self._is_cut(dep.target.module)
            ]
            yield ChannelGroup(root, importance, sets)

    def _sets(self, group: Any) -> int:
        """Return the number of parts the group's channels stand in, 0 if it must stay whole."""
        sets = 1
        for dep, _ in group:
            module = dep.target.module
            if isinstance(module, nn.Parameter) or self._gives_output(dep):
                return 0
            if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
                if module.groups == module.in_channels == module.out_channels:
                    continue
                if module.groups == module.out_channels:
                    return 0  # Torch-Pruning takes it for a depthwise convolution, which it is not.
                sets = math.lcm(sets, module.groups)
            elif isinstance(module, nn.GroupNorm):
                sets = math.lcm(sets, module.num_groups)
            elif module in self._names and not isinstance(module, _CUTTABLE):
                return 0
        return sets if len(group[0].idxs) % sets == 0 and self._cuts_shared_alike(group) else 0

    def _gives_output(self, dep: Any) -> bool:
        """Say whether a dependency reaches what the model gives: its width is the task's."""
        from torch_pruning.ops import OPTYPE

        last = not dep.target.outputs and self._axis(dep) == "out"
        return last or dep.target.type == OPTYPE.OUTPUT

    def _is_cut(self, module: Any) -> bool:
        single = isinstance(module, nn.PReLU) and module.num_parameters == 1
        return module in self._names and isinstance(module, _CUTTABLE) and not single

    def _axis(self, dep: Any) -> Axis:
        return "out" if self._graph.is_out_channel_pruning_fn(dep.handler) else "in"

    def _cuts_shared_alike(self, group: Any) -> bool:
        """Say whether every module that shares a parameter would have it cut in the same way."""
        cuts: dict[nn.Module, set[tuple[int, tuple[tuple[int, int], ...]]]] = defaultdict(set)
        for item in group:
            module = item.dep.target.module
            dimension = int(self._axis(item.dep) == "in" or isinstance(module, nn.Embedding))
            pairs = sorted(zip(item.idxs, item.root_idxs, strict=True))
            cuts[module].add((dimension, tuple(pairs)))
        return all(
            all(cuts.get(user) == cuts.get(users[0]) for user in users) for users in self._shared
        )


def _trace(model: nn.Module, task: Task) -> Any:
    import torch_pruning

    with torch.enable_grad(), torch.random.fork_rng(devices=()):
        return torch_pruning.DependencyGraph().build_dependency(
            model, task.example, forward_fn=task.forward, verbose=False
        )


class _StepLimit:
    """Counts the steps in which a dependency graph is followed, and refuses where there is no end.

    Parameters
    ----------
    graph
        Torch-Pruning's; its dependencies are made to count.
    """

    def __init__(self, graph: Any) -> None:
        self._left = MOST_STEPS
        for node in graph.module2node.values():
            for dependency in node.dependencies:
                # Every mapping of a dependency is called whenever it is followed.
                dependency.index_mapping = [*dependency.index_mapping, self._step]

    def renew(self) -> None:
        """Start to count anew."""
        self._left = MOST_STEPS

    def _step(self, indices: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RefusedError(
                f"following the channels takes more than {MOST_STEPS:,} steps, as with rotary "
                f"embeddings; {INSTEAD}"
            )
        return indices


def _width(module: nn.Module, axis: Axis) -> int:
    """Return the number of channels that `axis` of a module has."""
    names = {"out": ("out_channels", "out_features"), "in": ("in_channels", "in_features")}[axis]
    others = ("num_features", "num_channels", "embedding_dim", "num_parameters")
    for name in names + others:
        if hasattr(module, name):
            return int(getattr(module, name))
    assert isinstance(module, nn.LayerNorm)
    return int(module.normalized_shape[-1])


def _shared_parameters(model: nn.Module) -> list[list[nn.Module]]:
    """Return, for each parameter that several modules hold, those modules."""
    users: dict[int, list[nn.Module]] = defaultdict(list)
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)].append(module)
    return [modules for modules in users.values() if len(modules) > 1]
