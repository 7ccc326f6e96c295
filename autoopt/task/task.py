"""The task: everything a search knows about the person's model and data."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from torch import nn

from autoopt.task.columns import OutputName, joined
from autoopt.task.form import Form
from autoopt.task.guess import Kind
from autoopt.task.layout import Inputs
from autoopt.task.loss import Loss
from autoopt.task.metric import Metric
from autoopt.task.output import output_tensor
from autoopt.task.parts import Part
from autoopt.task.teaching import outputs_on


@final
@dataclass(frozen=True, eq=False)
class Task:
    """What a search compresses and how it judges.

    Attributes
    ----------
    model
        Private copy: CPU, eval mode, float32; all floating parameters require gradients.
    train, calibration, validation, test
        Parts of the data; calibration is a subset of train, the others are disjoint.
    example
        One request: the first `request_size` samples of the validation part.
    input_names
        Names of the inputs, in order.
    keyword_inputs
        The model is called with keywords, otherwise by position.
    metric
        How good outputs are.
    loss
        ``loss(outputs, targets)`` gives a scalar tensor.
    kind
        ``"classification"``, ``"regression"`` or ``"custom"``.
    request_size
        Samples in one request.
    threads
        Threads that each candidate gets, unless they are searched.
    batch_size
        Samples in one training step.
    seed
        Decides splits and shuffling.
    fingerprint
        Hex name of model, data, metric, loss, split and seed; the same in every process.
    stable
        False: the data has no stable identity, so nothing is reused by another search.
    notes
        What was guessed or changed, in sentences for the person.
    form
        What the outputs say: scores of classes, of labels, or values.
    noise
        How far two answers of the model to one batch are apart (norm of the difference over norm
        of the answer); 0 for a model that always answers the same.
    writes_inputs
        The model changes its inputs in place, so it is given copies.
    redraws
        The train part is random and drawn anew at every reading.
    outputs
        Names (or places in a tuple) of the outputs that count, side by side as columns; empty for
        the one that `autoopt.task.output` picks.
    teachers
        Networks of the person's own that teach beside the original.
    """

    model: nn.Module
    train: Part
    calibration: Part
    validation: Part
    test: Part
    example: Inputs
    input_names: tuple[str, ...]
    keyword_inputs: bool
    metric: Metric
    loss: Loss
    kind: Kind
    request_size: int
    threads: int
    batch_size: int
    seed: int
    fingerprint: str
    stable: bool
    notes: tuple[str, ...] = field(default=())
    form: Form = field(default=Form())
    noise: float = 0.0
    writes_inputs: bool = False
    redraws: bool = False
    outputs: tuple[OutputName, ...] = ()
    teachers: tuple[nn.Module, ...] = ()

    def forward(self, model: nn.Module, inputs: Inputs) -> torch.Tensor:
        """Run any network of this task on inputs and return its output tensor.

        Raises
        ------
        ModelError
            If the network returns nothing that can be read as one tensor.
        """
        inputs = copies(inputs) if self.writes_inputs else inputs
        keywords = self.input_names if self.keyword_inputs else None
        return run(model, inputs, keywords, self.outputs)

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return a module of positional tensors to one tensor around `network`, for exporters."""
        wrapped = Wrapped(
            network, self.input_names, keywords=self.keyword_inputs, outputs=self.outputs
        )
        wrapped.writes_inputs = self.writes_inputs
        return wrapped

    def teacher_outputs(self) -> torch.Tensor:
        """Return the teachers' outputs on the train part, in order; computed once a process.

        They are the original's, or the mean of its own and those of `teachers`.
        """
        return self._teacher_outputs

    @torch.no_grad()
    def taught(self, inputs: Inputs) -> torch.Tensor:
        """Return the teachers' outputs for one batch, as `teacher_outputs` has them."""
        every = [self.forward(teacher, inputs) for teacher in (self.model, *self.teachers)]
        return every[0] if len(every) == 1 else torch.stack(every).mean(dim=0)

    @cached_property
    def _teacher_outputs(self) -> torch.Tensor:
        every = [outputs_on(self, teacher) for teacher in (self.model, *self.teachers)]
        return every[0] if len(every) == 1 else torch.stack(every).mean(dim=0)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process can compute for itself."""
        return {key: value for key, value in vars(self).items() if key != "_teacher_outputs"}


def run(
    model: nn.Module,
    inputs: Inputs,
    keywords: tuple[str, ...] | None,
    outputs: tuple[OutputName, ...] = (),
) -> torch.Tensor:
    """Return a model's tensor, or the named outputs of it as columns."""
    output = call(model, inputs, keywords)
    return joined(output, outputs) if outputs else output_tensor(output)


def call(model: nn.Module, inputs: Inputs, keywords: tuple[str, ...] | None) -> Any:
    """Call a model by keywords, or by position if there are none."""
    if keywords is None:
        return model(*inputs)
    return model(**dict(zip(keywords, inputs, strict=True)))


def copies(inputs: Inputs) -> Inputs:
    """Return inputs that a model may write into."""
    return tuple(value.clone() for value in inputs)


@final
class Wrapped(nn.Module):
    """A network as a function of positional tensors to one tensor.

    Parameters
    ----------
    network
        What to run; it is held, not copied.
    names
        Names of the inputs, in order.
    keywords
        Hand the inputs on by keyword.
    outputs
        As `Task.outputs`.

    Attributes
    ----------
    writes_inputs
        The network changes its inputs in place, so it is given copies.
    """

    writes_inputs = False

    def __init__(
        self,
        network: nn.Module,
        names: tuple[str, ...],
        *,
        keywords: bool,
        outputs: tuple[OutputName, ...] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self.keywords = keywords
        self.outputs = outputs
        self.training = network.training

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the network's output tensor."""
        inputs = copies(inputs) if self.writes_inputs else inputs
        keywords = self.names if self.keywords else None
        return run(self.network, inputs, keywords, self.outputs)


def positional_names(model: nn.Module, count: int) -> tuple[str, ...]:
    """Return names for `count` positional inputs: the parameters of forward where it has them."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [item.name for item in parameters if item.kind in kinds]
    return tuple(names[i] if i < len(names) else f"input_{i}" for i in range(count))
