"""Fine-tuning by several processes, each with a share of every batch (data parallel)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.techniques._bounds import check_whole
from autoopt.techniques._training import check_course

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.task import Task


@dataclass(frozen=True)
class DataParallelFineTune:
    """Train on with the task's loss, in several processes whose gradients are averaged.

    Steps are those of `FineTune`, over the same batches; only batch norms see the statistics of
    one process's share. The threads of this process are divided among them.

    Attributes
    ----------
    epochs, learning_rate
        As of `FineTune`.
    processes
        How many train together.
    """

    epochs: int = 6
    learning_rate: float = 2e-3
    processes: int = 2

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_whole("processes", self.processes, 1)
        if self.processes < 2:
            raise ValueError(
                f"`processes` must be at least 2, but got {self.processes}; one alone is "
                "`finetune`."
            )

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there are too few cores or samples, or None."""
        import torch.distributed as dist

        from autoopt.techniques._batches import batch_size
        from search_spaces.cores import usable_cores

        if not (dist.is_available() and dist.is_gloo_available()):
            return "this torch was built without gloo, through which the processes talk"
        if (cores := usable_cores()) < self.processes:
            return f"{self.processes} training processes need as many cores, but there are {cores}"
        if batch_size(task) // 2 < self.processes:
            return f"a batch has too few samples to be divided among {self.processes} processes"
        return None

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy in eval mode.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """
        from autoopt.techniques._team import fine_tuned_by_team

        return fine_tuned_by_team(
            model,
            task,
            processes=self.processes,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
        )
