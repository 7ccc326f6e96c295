"""The task: a person's model and data, checked, split and ready for a search.

Read in this order: `make` (from model and data to a `Task`), `sources` (the forms of data),
`task` (what the rest works with).
"""

from autoopt.task.layout import Inputs
from autoopt.task.make import make_task
from autoopt.task.metric import Metric
from autoopt.task.parts import DatasetPart, Part, TensorPart, permutation
from autoopt.task.task import Task

__all__ = [
    "DatasetPart",
    "Inputs",
    "Metric",
    "Part",
    "Task",
    "TensorPart",
    "make_task",
    "permutation",
]
