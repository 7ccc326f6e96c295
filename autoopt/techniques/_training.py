"""The one training loop of all recoveries.

AdamW with warm-up and cosine decay, clipped gradients, batch statistics recalibrated first. The
epoch of the lowest validation loss is kept, or the start where no epoch is better than it. Training
ends early when the validation metric has reached the original's twice in a row, or when half of the
epochs, at least four, have brought no lower loss: training time is the scarce good of a search.
Weights that are exactly zero, which pruning left, stay so.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from autoopt.errors import DivergedError, StoppedEarlyError
from autoopt.task.randomness import seeded
from autoopt.techniques._batches import shuffled, steps_in_epoch
from autoopt.techniques._bounds import check_number, check_whole
from autoopt.techniques._progress import Progress, resumed
from autoopt.techniques._team import Team
from autoopt.techniques._zeros import HeldZeros
from autoopt.techniques.recalibrate import recalibrate
from autoopt.watch import RECENT, best_possible

if TYPE_CHECKING:
    from autoopt.task import Inputs, Task
    from autoopt.techniques._guide import Guide
    from autoopt.watch import Watch

Loss = Callable[[Tensor, Tensor, Tensor, "Inputs"], Tensor]

WEIGHT_DECAY = 0.01
CLIP_NORM = 5.0
WARM_UP = 0.15
REACHED = 2
"""Epochs in a row with the original's quality that are enough."""

PATIENCE = 4
"""Epochs without a lower validation loss that are borne at least; of long trainings half of all."""

VALIDATION_BATCH = 128


def check_course(epochs: int, learning_rate: float) -> None:
    """Hold the bounds of what every training takes."""
    check_whole("epochs", epochs, 1)
    check_number("learning_rate", learning_rate, above=0)


def train(
    model: nn.Module,
    task: Task,
    loss: Loss,
    *,
    epochs: int,
    learning_rate: float,
    guide: Guide | None = None,
    team: Team | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """Return a trained copy of `model`, in eval mode; the same for the same seed.

    Parameters
    ----------
    model
        Stays as it was.
    task
        Gives the data, the judgement and the seed.
    loss
        ``loss(outputs, targets, rows, inputs)`` with the rows of the train part that the batch
        holds, and what they read as this time.
    epochs
        Passes over the train part at most.
    learning_rate
        The highest one of the schedule.
    guide
        Watches the network meanwhile, for a loss that looks inside; what it projects with is
        trained along.
    team
        The processes that train together, of which this is one; each calls this with the same.
    watch
        Gives up what has no hope, and goes on with what was given up.

    Raises
    ------
    StoppedEarlyError
        If it was given up; its checkpoint is kept.
    DivergedError
        If the loss or a weight is no longer finite.
    """
    network = copy.deepcopy(model)
    with seeded(task.seed), guide.attached(network) if guide else nullcontext(()) as along:
        recalibrate(network, task)
        fast = _is_fast_in_layout(network, task.example)
        if fast:
            _lay_out(network, torch.channels_last)
        steps = epochs * steps_in_epoch(task)
        course = Course(
            network, task, loss, steps, learning_rate, fast, along=along, team=team or Team()
        )
        _keep_best(course, epochs, watch)
    _lay_out(network, torch.contiguous_format)
    return network.eval()


@dataclass
class Course:
    """One training: the network, its optimizer, and the steps done."""

    network: nn.Module
    task: Task
    loss: Loss
    steps: int
    learning_rate: float
    fast: bool
    along: Sequence[nn.Parameter] = ()
    team: Team = field(default_factory=Team)
    step: int = 0
    called: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    zeros: HeldZeros = field(init=False)

    def __post_init__(self) -> None:
        trained = [*self.network.parameters(), *self.along]
        self.optimizer = _optimizer(trained, self.learning_rate)
        self.zeros = HeldZeros(self.network)
        self.called = self.team.wrapped(self.network)

    def epoch(self, number: int) -> None:
        """Go once through the train part."""
        self.network.train()
        for inputs, targets, rows in shuffled(self.task, self.task.seed + 1 + number):
            self._set_rate()
            inputs, targets, rows, weight = self.team.share(inputs, targets, rows)
            loss = weight * self.loss(self._outputs(inputs), targets, rows, inputs)
            if not math.isfinite(loss.item()):
                raise DivergedError(
                    f"The loss is {loss.item()} in epoch {number + 1}, step {self.step + 1} of "
                    f"{self.steps}; a learning rate below {self.learning_rate:g} may help."
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
            self.optimizer.step()
            self.zeros.hold()
            self.step += 1

    def _outputs(self, inputs: Inputs) -> Tensor:
        inputs = tuple(_laid_out(tensor) if self.fast else tensor for tensor in inputs)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast and _has_bfloat16()):
            return self.task.forward(self.called, inputs).float()

    def _set_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * schedule(self.step, self.steps)


def schedule(step: int, steps: int) -> float:
    """Return the share of the highest learning rate: linear warm-up, then half a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


def _keep_best(course: Course, epochs: int, watch: Watch | None) -> None:
    """Train, and leave the network as it was after the epoch of the lowest validation loss."""
    task, network, team = course.task, course.network, course.team
    sign = 1 if task.metric.direction == "maximize" else -1
    wanted = sign * team.agreed(lambda: _judge(task.model, task))[1]
    patience = max(PATIENCE, epochs // 2)
    kept = watch.load() if watch else None
    if kept is not None and kept.fits(epochs):
        progress = resumed(course, kept)
    else:
        lowest, _ = team.agreed(lambda: (_start_loss(network, task), 0.0))
        progress = Progress(copy.deepcopy(network.state_dict()), lowest)
    while len(progress.scores) < epochs:
        if watch is not None and watch.hopeless(progress.scores, epochs):
            watch.save(progress.checkpoint(course, epochs))
            raise _given_up(watch, progress.scores, epochs, sign)
        course.epoch(len(progress.scores))
        loss, quality = team.agreed(lambda: _judge(network, task))
        progress.note(course, loss, sign * quality, reached=sign * quality >= wanted)
        if progress.reached == REACHED or progress.idle == patience:
            break
    network.load_state_dict(progress.best)
    for name, parameter in network.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise DivergedError(
                f"The weight {name!r} is not finite after {course.step} steps; a learning rate "
                f"below {course.learning_rate:g} may help."
            )


def _given_up(watch: Watch, scores: Sequence[float], epochs: int, sign: int) -> StoppedEarlyError:
    most, least = ("at most", "below") if sign > 0 else ("no less than", "above")
    reach, bar = sign * best_possible(scores, epochs), sign * (watch.bar or 0.0)
    return StoppedEarlyError(
        f"stopped early after epoch {len(scores)} of {epochs}: {most} {reach:.4g} is in reach, if "
        f"every epoch left gains as much as the best of the last {RECENT}, but {least} {bar:.4g} "
        "no completion of it matters; a longer recovery goes on from here"
    )


def _start_loss(network: nn.Module, task: Task) -> float:
    """Return the validation loss before training; infinite where the outputs are not finite."""
    try:
        loss, _ = _judge(network, task)
    except DivergedError:
        return math.inf
    return loss if math.isfinite(loss) else math.inf


def judged_loss(network: nn.Module, task: Task) -> float:
    """Return the task's loss of a network on the validation part."""
    return _judge(copy.deepcopy(network), task)[0]


def judged_score(network: nn.Module, task: Task) -> float:
    """Return the metric of a network on the validation part, more is better."""
    quality = _judge(copy.deepcopy(network), task)[1]
    return quality if task.metric.direction == "maximize" else -quality


@torch.no_grad()
def _judge(network: nn.Module, task: Task) -> tuple[float, float]:
    """Return loss and metric on the validation part."""
    network.eval()
    answers, wanted = [], []
    for inputs, labels in task.validation.batches(VALIDATION_BATCH):
        answers.append(task.forward(network, inputs))
        wanted.append(labels)
    outputs, targets = torch.cat(answers), torch.cat(wanted)
    if not bool(outputs.isfinite().all()):
        raise DivergedError("The outputs on the validation part are not finite.")
    loss = float(task.loss(outputs, targets))
    return loss, task.metric(targets.numpy(), outputs.numpy())


def _optimizer(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices and kernels, not biases and norms."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)


def _is_fast_in_layout(network: nn.Module, example: Inputs) -> bool:
    """Say whether channels-last and bfloat16 pay: convolutions over images, they double speed."""
    images = any(tensor.ndim == 4 for tensor in example)
    return images and any(isinstance(module, nn.Conv2d) for module in network.modules())


def _lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Store the kernels of convolutions over images in a layout, in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _laid_out(tensor: Tensor) -> Tensor:
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _has_bfloat16() -> bool:
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
