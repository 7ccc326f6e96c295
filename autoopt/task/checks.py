"""Checks of the data's values, and the first run of the model on them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from autoopt.errors import DataError, ModelError
from autoopt.task.columns import Columns, OutputName, columns_of, floating_outputs
from autoopt.task.foreign import shown_as
from autoopt.task.language import next_token_shift
from autoopt.task.layout import Inputs
from autoopt.task.parts import Part
from autoopt.task.task import call, copies, run

FIRST_SAMPLES = 16
SAMPLES = 256
# About what the first run may take.
SECONDS = 2.0


@dataclass(frozen=True)
class Trial:
    """The model's outputs for some samples.

    Attributes
    ----------
    inputs, outputs, targets
        First axis samples.
    noise, writes_inputs
        As `Task` has them.
    shift
        How far targets must be moved to be the next tokens; None if the model is no causal
        language model.
    columns
        Where each output stands, if several count; else None.
    notes
        What was found, in sentences.
    """

    inputs: Inputs
    outputs: torch.Tensor
    targets: torch.Tensor
    noise: float = 0.0
    writes_inputs: bool = False
    shift: int | None = None
    columns: Columns | None = None
    notes: tuple[str, ...] = ()


def spread(length: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced rows of `length`."""
    if length <= count:
        return list(range(length))
    return [i * length // count for i in range(count)]


def check_values(part: Part, name: str, input_names: tuple[str, ...]) -> None:
    """Hold that inputs and targets are finite; of data read when asked for, a sample of them.

    Raises
    ------
    DataError
        Naming where, how many, and the first sample concerned.
    """
    inputs, targets = part.inputs(), part.targets()
    labels = (*(f"input {item!r}" for item in input_names), "targets")
    for label, value in zip(labels, (*inputs, targets), strict=True):
        if not value.is_floating_point():
            continue
        wrong = ~value.isfinite()
        count = int(wrong.sum())
        if count:
            nan = int(value.isnan().sum())
            row = int(wrong.reshape(len(value), -1).any(dim=1).nonzero()[0])
            raise DataError(
                f"the data must be finite, but the {label} of the {name} hold {nan} NaN and "
                f"{count - nan} infinite values (first in sample {row}). Drop these samples or "
                "fill the values as for training."
            )


def first_run(
    model: nn.Module,
    part: Part,
    keywords: tuple[str, ...] | None,
    names: tuple[OutputName, ...] = (),
) -> Trial:
    """Run the model on a few samples of a part, twice, and once on more.

    Raises
    ------
    ModelError
        If it fails, or its outputs are not finite or not one row a sample.
    """
    (inputs, _), start = _sample(part, FIRST_SAMPLES), time.monotonic()
    with (
        torch.no_grad(),
        shown_as(
            lambda cause: ModelError(
                f"the model failed on a batch of the data: {cause}\n"
                f"The batch has {_shown(inputs, keywords)}.{_hint(model, inputs)}"
            )
        ),
    ):
        # Copies: a model may write into what it is given.
        used = copies(inputs)
        first = run(model, used, keywords, names)
        again = run(model, copies(inputs), keywords, names)
        writes = not all(map(torch.equal, used, inputs))
        # More samples tell more about metric and loss; a slow model gets fewer.
        each = (time.monotonic() - start) / (2 * len(inputs[0]))
        count = min(SAMPLES, max(FIRST_SAMPLES, int(SECONDS / max(each, 1e-6))))
        inputs, targets = _sample(part, count)
        outputs = run(model, copies(inputs), keywords, names)
        shift = next_token_shift(
            inputs, targets, lambda batch: run(model, copies(batch), keywords, names)
        )
        output = call(model, copies(inputs), keywords)
    _check_outputs(outputs, len(targets), _shown(inputs, keywords))
    columns = columns_of(output, names) if len(names) > 1 else None
    noise, words = _noise(first, again)
    notes = (*_several(output, names, columns), *words)
    if writes:
        notes += ("model: it changes its inputs in place, so it is given copies of them",)
    return Trial(inputs, outputs, targets, noise, writes, shift, columns, notes)


def _several(
    output: object, names: tuple[OutputName, ...], columns: Columns | None
) -> tuple[str, ...]:
    """Say what becomes of several outputs."""
    if columns is not None:
        return (f"model: its outputs stand side by side in every artefact: {columns}",)
    known = floating_outputs(output)
    if len(known) < 2 or "logits" in known:
        return ()
    listed = ", ".join(map(repr, known))
    which = repr(names[0]) if names else "the first"
    note = (
        f"model: of its outputs ({listed}) only {which} is judged, and only that reaches an "
        "artefact; give output= to name others, or a list of them with a metric and loss"
    )
    return (note,)


def _noise(first: torch.Tensor, again: torch.Tensor) -> tuple[float, tuple[str, ...]]:
    """Return how far two answers to one batch are apart, and what there is to say of it."""
    if torch.allclose(first, again, rtol=1e-3, atol=1e-4):
        return 0.0, ()
    gap = float((first - again).abs().max())
    note = (
        "model: it answers the same batch differently each time in eval mode (by up to "
        f"{gap:.2g}); all comparisons carry that noise"
    )
    return float((first - again).norm()) / (float(first.norm()) or 1.0), (note,)


def _check_outputs(outputs: torch.Tensor, count: int, batch: str) -> None:
    if outputs.ndim == 0 or len(outputs) != count:
        raise ModelError(
            "the model must return one row a sample (samples on the first axis), but returned the "
            f"shape {tuple(outputs.shape)} for {count} samples; the batch has "
            f"{batch}."
        )
    bad = int((~outputs.isfinite()).sum())
    if bad:
        raise ModelError(
            f"the model's outputs must be finite, but {bad} of {outputs.numel()} are NaN or "
            f"infinite on the first {count} samples. Check its weights and how the data is "
            "normalised."
        )


def _sample(part: Part, count: int) -> tuple[Inputs, torch.Tensor]:
    return next(part.select(spread(len(part), count)).batches(count))


def _shown(inputs: Inputs, keywords: tuple[str, ...] | None) -> str:
    names = keywords or tuple(f"input {i}" for i in range(len(inputs)))
    return ", ".join(
        f"{name}: shape {tuple(value.shape)}, {value.dtype}"
        for name, value in zip(names, inputs, strict=True)
    )


def _hint(model: nn.Module, inputs: Inputs) -> str:
    """Return advice where the likely cause is a difference of types."""
    floats = any(item.is_floating_point() for item in model.parameters())
    embeds = any(isinstance(module, nn.Embedding) for module in model.modules())
    if floats and not embeds and not any(value.is_floating_point() for value in inputs):
        return " The model computes in torch.float32 but no input is floating: convert the inputs."
    return ""
