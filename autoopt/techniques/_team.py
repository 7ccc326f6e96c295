"""Training by several processes: each has a share of every batch, and gradients are averaged.

`torch.distributed` does the work: DistributedDataParallel over gloo.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from autoopt import snapshot
from autoopt.child import ChildProcess
from autoopt.errors import DivergedError

if TYPE_CHECKING:
    from autoopt.task import Inputs, Task

MEETING = timedelta(seconds=120)
"""How long members wait for each other."""

ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""All are on this machine, whose name may not resolve."""


@dataclass(frozen=True)
class Team:
    """The processes that train one network together.

    Attributes
    ----------
    rank
        Which this process is; the first one judges.
    count
        How many there are.
    """

    rank: int = 0
    count: int = 1

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return the network, with gradients averaged over the team."""
        if self.count == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        # What a network does not use in a step has no gradient to wait for.
        return DistributedDataParallel(network, find_unused_parameters=True)

    def share(
        self, inputs: Inputs, targets: Tensor, rows: Tensor
    ) -> tuple[Inputs, Tensor, Tensor, float]:
        """Return this process's part of a batch, and what its mean loss weighs in the average."""
        if self.count == 1:
            return inputs, targets, rows, 1.0
        mine = slice(self.rank, None, self.count)
        part = tuple(tensor[mine] for tensor in inputs)
        return part, targets[mine], rows[mine], len(rows[mine]) * self.count / len(rows)

    def agreed(self, judge: Callable[[], tuple[float, float]]) -> tuple[float, float]:
        """Return what the first process finds, so that all go on alike."""
        if self.count == 1:
            return judge()
        import torch.distributed as dist

        found = torch.tensor(judge() if self.rank == 0 else (0.0, 0.0), dtype=torch.float64)
        dist.broadcast(found, 0)
        return float(found[0]), float(found[1])


def fine_tuned_by_team(
    model: nn.Module, task: Task, *, processes: int, epochs: int, learning_rate: float
) -> nn.Module:
    """Return a copy of `model` that several processes have fine-tuned, in eval mode.

    Raises
    ------
    DivergedError
        If the loss or a weight is no longer finite.
    RuntimeError
        If a process failed or died; then none is left.
    """
    with TemporaryDirectory(prefix="autoopt-team-") as scratch:
        job = {
            "payload": snapshot.dump((model, task), Path(scratch)),
            "folder": scratch,
            "threads": max(1, torch.get_num_threads() // processes),
            "course": {"epochs": epochs, "learning_rate": learning_rate},
        }
        members: list[ChildProcess] = []
        try:
            for rank in range(processes):
                member = ChildProcess(
                    "autoopt.techniques._team_member", name="trainer", environment=ENVIRONMENT
                )
                members.append(member)
                member.send({**job, "team": asdict(Team(rank, processes))})
            payload = _trained(members)
        finally:
            # One that waits for another would not end by itself.
            for member in members:
                member.kill()
        network = copy.deepcopy(model)
        network.load_state_dict(snapshot.load(payload, Path(scratch)))
    return network.eval()


def _trained(members: Sequence[ChildProcess]) -> bytes:
    """Wait for the first member's weights, or for the first that fails."""
    pipes: dict[Any, ChildProcess] = {member.pipe: member for member in members}
    while True:
        for pipe in wait(list(pipes)):
            answer = pipes.pop(pipe).receive()
            if "error" in answer:
                kind = DivergedError if answer["diverged"] else RuntimeError
                raise kind(answer["error"])
            if "payload" in answer:
                payload: bytes = answer["payload"]
                return payload
