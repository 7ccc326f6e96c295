"""Whether what a person gave can go to the processes that a search works in."""

from __future__ import annotations

from autoopt import snapshot
from autoopt.errors import DataError, MetricError, ModelError
from autoopt.task.foreign import shown_as
from autoopt.task.task import Task

_ADVICE = (
    "Locks, open files, sessions and the like cannot: open them when they are needed, or leave "
    "them out of the copy (__getstate__)."
)


def check_travels(task: Task) -> None:
    """Hold that model, metric, loss and data can be sent to other processes.

    Raises
    ------
    ModelError, MetricError, DataError
        Naming what cannot, and the cause.
    """
    rule = f"must be able to go to other processes, but cannot: {{}}. {_ADVICE}"
    with shown_as(lambda cause: ModelError(f"the model {rule.format(cause)}")):
        snapshot.check(task.model)
    with shown_as(lambda cause: MetricError(f"the metric {rule.format(cause)}")):
        snapshot.check(task.metric)
    with shown_as(lambda cause: DataError(f"the loss {rule.format(cause)}")):
        snapshot.check(task.loss)
    with shown_as(lambda cause: DataError(f"the data {rule.format(cause)}")):
        snapshot.check((task.train, task.calibration, task.validation, task.test))
