"""From a person's model and data to a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from autoopt.errors import DataError
from autoopt.task.checks import Trial, check_values, first_run, spread
from autoopt.task.choose import Judgement, choose
from autoopt.task.columns import OutputName, PerOutput, output_names
from autoopt.task.division import Division, divide
from autoopt.task.fingerprint import fingerprint, model_digest, part_digest, source_of
from autoopt.task.guess import Guess, guess
from autoopt.task.loaders import Source
from autoopt.task.loss import Loss
from autoopt.task.metric import Metric, Own
from autoopt.task.model import PrivateModel, private_copy
from autoopt.task.parts import DatasetPart, Part, TensorPart
from autoopt.task.randomness import seeded
from autoopt.task.sources import Sources, open_data
from autoopt.task.task import Task, positional_names, run
from autoopt.task.teaching import checked_teachers, taught_by
from autoopt.task.travel import check_travels
from search_spaces.cores import usable_cores

REQUEST_SIZE = 16
BATCH_SIZE = 64
# Samples of a dataset read when asked for, on which its values are checked.
CHECKED_SAMPLES = 256


def make_task(
    model: Any,
    data: Any,
    *,
    metric: str | Callable[..., Any] | Metric | None = None,
    loss: str | Loss | None = None,
    request_size: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    data_id: str | None = None,
    output: str | int | Sequence[str | int] | None = None,
    teachers: Sequence[nn.Module] = (),
) -> Task:
    """Build a task; neither model nor data is changed.

    Parameters
    ----------
    model
        A trained ``torch.nn.Module``.
    data
        Any form that `autoopt.task.sources` lists. One source is split 60/20/20 into train,
        validation and test; of (train, valid), valid is halved into validation and test.
    metric
        None (guessed from the targets), ``"accuracy"``, ``"r2"``, any scikit-learn scorer name,
        or a callable ``(outputs, targets) -> float`` of NumPy arrays, greater is better.
    loss
        None (guessed), a name, or a callable ``(outputs, targets) -> scalar tensor``.
    request_size
        Samples in one request; by default the loader's batch size, else 16.
    threads
        Threads a candidate gets; by default all that this process may use.
    seed
        Decides the splits and the order of batches.
    data_id
        Names data that differ from reading to reading or are very large; whoever gives it
        vouches that one name always means the same data.
    output
        Which of several outputs counts, by key or place; of a list of them all count and reach
        the artefact, and metric and loss get ``{name: outputs}``.
    teachers
        Trained networks that take and give what the model does; students learn from the mean of
        their outputs and the model's.

    Raises
    ------
    DataError, ModelError, MetricError, UnknownNameError
        Saying the rule, the value received and what to do.
    """
    _check_count("request_size", request_size)
    _check_count("threads", threads)
    private, wanted = private_copy(model), output_names(output)
    with seeded(seed):
        sources = open_data(data, private.signature)
        names, keywords = _input_names(private, sources)
        _check_all(sources, names)
        asked = names if keywords else None
        trial = first_run(private.module, sources.train.part, asked, wanted)
        metric, loss = _per_output(trial, metric), _per_output(trial, loss)
        judgement = choose(trial, _guessed(trial, sources.train.part), metric, loss)
        division = divide(sources, judgement.kind, seed)
        made = _Made(private, sources, trial, judgement, division)
        identity = _identity(made, (seed, wanted), data_id)
        taught = checked_teachers(teachers, trial, partial(run, keywords=asked, outputs=wanted))
    threads = threads or usable_cores()
    options = _Options(names, keywords, request_size, threads, seed, wanted)
    task = taught_by(_assembled(made, identity, options), taught)
    check_travels(task)
    return task


@dataclass(frozen=True)
class _Made:
    private: PrivateModel
    sources: Sources
    trial: Trial
    judgement: Judgement
    division: Division


@dataclass(frozen=True)
class _Identity:
    name: str
    stable: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Options:
    input_names: tuple[str, ...]
    keyword_inputs: bool
    request_size: int | None
    threads: int
    seed: int
    outputs: tuple[OutputName, ...]


def _assembled(made: _Made, identity: _Identity, options: _Options) -> Task:
    size, validation = made.sources.train.batch_size, made.division.validation
    request = min(options.request_size or size or REQUEST_SIZE, len(validation))
    return Task(
        model=made.private.module,
        train=made.division.train,
        calibration=made.division.calibration,
        validation=validation,
        test=made.division.test,
        example=validation.inputs(request),
        input_names=options.input_names,
        keyword_inputs=options.keyword_inputs,
        metric=made.judgement.metric,
        loss=made.judgement.loss,
        kind=made.judgement.kind,
        request_size=request,
        threads=options.threads,
        batch_size=min(size or BATCH_SIZE, len(made.division.train)),
        seed=options.seed,
        fingerprint=identity.name,
        stable=identity.stable,
        notes=_notes(made, identity, request, options.request_size),
        form=made.judgement.form,
        noise=made.trial.noise,
        writes_inputs=made.trial.writes_inputs,
        redraws=_redraws(made.sources.train, identity),
        outputs=options.outputs,
    )


def _redraws(train: Source, identity: _Identity) -> bool:
    """Say whether the train part is read when asked for and may read differently each time."""
    return isinstance(train.part, DatasetPart) and not (train.stable and identity.stable)


def _per_output(trial: Trial, judge: Any) -> Any:
    """Return a person's loss or metric as a function of columns, where several outputs count."""
    if trial.columns is None or not callable(judge) or isinstance(judge, Metric):
        return judge
    return PerOutput(judge, trial.columns)


def _check_count(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise DataError(f"`{name}` must be a whole number of at least 1, but got {value!r}.")


def _input_names(private: PrivateModel, sources: Sources) -> tuple[tuple[str, ...], bool]:
    keys = sources.train.layout.keys
    if keys is not None:
        return keys, True
    count = len(sources.train.part.inputs(1))
    return positional_names(private.module, count), False


def _check_all(sources: Sources, names: tuple[str, ...]) -> None:
    labels = ("training data", "validation data", "test data")
    alone = len(sources.all) == 1
    for source, label in zip(sources.all, labels, strict=False):
        part = source.part
        if not len(part):
            raise DataError(f"the {label} must hold samples, but it is empty.")
        if isinstance(part, DatasetPart):
            part = part.select(spread(len(part), CHECKED_SAMPLES))
        check_values(part, "data" if alone else label, names)


def _guessed(trial: Trial, part: Part) -> Guess | None:
    if trial.columns is not None:
        return None
    return guess(trial.outputs, _known_targets(part, trial), trial.shift)


def _known_targets(part: Part, trial: Trial) -> Any:
    return part.targets() if isinstance(part, TensorPart) else trial.targets


def _identity(
    made: _Made, choices: tuple[int, tuple[OutputName, ...]], data_id: str | None
) -> _Identity:
    division, judgement = made.division, made.judgement
    parts = (division.train, division.validation, division.test)
    stable, data = True, (data_id or "").encode()
    if data_id is None:
        # Before the split, which follows from seed and sizes.
        sources = [source.part for source in made.sources.all]
        digests = [part_digest(part) for part in sources]
        # What is read anew each time has to read the same; what was drawn once is in memory,
        # but another reading would draw it anew.
        stable = all(source.stable for source in made.sources.all) and all(
            part_digest(part) == digest
            for part, digest in zip(sources, digests, strict=True)
            if isinstance(part, DatasetPart)
        )
        data = b"".join(digests)
    score = judgement.metric.score
    own = score.function if isinstance(score, Own) else score
    pieces = [
        b"autoopt task 1",
        model_digest(made.private.module),
        data,
        f"{judgement.metric.name} {source_of(own)}".encode(),
        source_of(judgement.loss).encode(),
        f"{judgement.kind} {choices} {[len(part) for part in parts]}".encode(),
    ]
    note = (
        "data: it has no identity that lasts (iterable, or random at every reading), so nothing "
        "is reused by another search; give data_id= to vouch for it"
    )
    return _Identity(fingerprint(pieces), stable, () if stable else (note,))


def _notes(made: _Made, identity: _Identity, request: int, asked: int | None) -> tuple[str, ...]:
    notes = [*made.private.notes]
    for source in made.sources.all:
        notes += source.notes
    notes += [*made.division.notes, *made.trial.notes, *made.judgement.notes, *identity.notes]
    if asked is not None and request < asked:
        notes.append(
            f"request_size: {request} instead of {asked}, because there are only {request} "
            "validation samples"
        )
    # Parts of one dataset say the same once.
    return tuple(dict.fromkeys(notes))
