"""`search` and `resume`."""

from __future__ import annotations

import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.controller.job import LOG
from autoopt.disk import full_disk
from autoopt.errors import FolderError, SearchError
from autoopt.handle.handle import Search
from autoopt.handle.request import (
    Own,
    bounded_axes,
    cache_folder,
    check_place,
    checked_bounds,
    checked_drop,
    checked_limits,
    checked_seed,
    is_plain,
    new_folder,
    own_parts,
    search_axes,
    taken,
    with_own,
)
from autoopt.handle.surroundings import running_searches
from autoopt.log import Log
from autoopt.settings import SAMPLERS, Budget, Limits, Settings
from search_spaces import SearchSpace, preset

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task

OBJECTIVES = ("quality", "latency", "size")


def search(
    model: nn.Module,
    data: Any,
    *,
    budget: float | str | timedelta | Budget = "10 min",
    space: str | SearchSpace = "balanced",
    objectives: Sequence[str] = OBJECTIVES,
    max_drop: float | None = None,
    constraints: Mapping[str, float | str] | None = None,
    metric: str | Callable[..., float] | None = None,
    loss: str | Callable[..., Any] | None = None,
    request_size: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    storage: str | None = None,
    sampler: object = SAMPLERS[0],
    techniques: Mapping[str, type] | None = None,
    limits: Limits | None = None,
    data_id: str | None = None,
    output: str | int | Sequence[str | int] | None = None,
    students: Mapping[str, Callable[[], nn.Module]] | None = None,
    train: Callable[..., Any] | None = None,
    teachers: Sequence[nn.Module] = (),
    target: str = "cpu",
    block: bool | None = None,
) -> Search:
    """Search for smaller and faster versions of a trained model.

    Every candidate is really built and measured in the runtime that would serve it. Neither the
    model nor the data is changed.

    Parameters
    ----------
    model
        A trained ``torch.nn.Module``.
    data
        ``(train, valid)`` or ``(train, valid, test)``; one ``DataLoader`` or ``Dataset``; or
        ``(X, y)`` as numpy, torch or pandas. The search selects on the validation part; the test
        part is never seen by it and gives the figure reported beside.
    budget
        Seconds (``300``), a duration (``"5 min"``), or a number of trials (``"60 trials"``).
    space
        ``"quick"``, ``"balanced"``, ``"thorough"``, or a `SearchSpace`.
    objectives
        Out of ``"quality"`` (or the metric's name), ``"latency"`` (the median), ``"latency_p95"``,
        ``"latency_p99"``, ``"throughput"``, ``"size"`` and ``"memory"``; quality is always among
        them.
    max_drop
        How much worse than the original the quality may be: 0.01 is one point of accuracy.
    constraints
        Bounds on objectives, searched or only measured: ``{"latency": 8, "memory": "<= 200 MB"}``.
    metric
        Name of a scikit-learn scorer, or ``(outputs, targets) -> float``; guessed when absent.
    loss
        Name, or ``(outputs, targets) -> tensor``; guessed when absent.
    request_size
        Samples of one request; the data's batch size when absent.
    threads
        Threads of every candidate, except where threads are searched.
    seed
        Of splits, training and proposals.
    folder
        Where the search lives; made. ``autoopt-searches/<time>`` when absent.
    cache
        Where networks and artefacts are kept for later searches too; ``AUTOOPT_CACHE`` or the
        user's cache folder when absent.
    storage
        URL of an Optuna storage; SQLite in the search's folder when absent.
    sampler
        ``"tpe"`` (multivariate, beside children of good networks), ``"staged"`` (expected
        hypervolume improvement per expected second), or any sampler of Optuna's for several
        objectives. Cached networks are reused with every one.
    techniques
        Your own: name to a frozen dataclass with ``slot``, ``settings`` (name to dimension),
        ``refuse`` and ``apply``.
    limits
        Time and memory that one candidate may take.
    data_id
        Identity of data that has none of its own (iterable, augmented on the fly).
    output
        Which of several outputs counts, by key or place. Of a list of them all count and reach
        the artefact as columns; metric and loss, which must be given, get ``{name: outputs}``.
    students
        Networks of your own that may take over, by name: functions that make an untrained one,
        which takes what the model takes and gives what it gives.
    train
        A training of your own, searched beside the others under its name: ``(network, task)``
        gives the trained network, or None if it was trained in place.
    teachers
        Trained networks of your own; students learn from the mean of them and the model.
    target
        Where candidates are measured.
    block
        Whether to wait for the end; by default only outside a notebook.

    Returns
    -------
    Search
        The handle: front, trials, best, pick, panel. In a notebook it returns at once. The search
        ends with this process, and when nothing holds the handle any more, as its panel in a
        notebook does; what was measured stays in the folder.

    Raises
    ------
    DataError, ModelError, MetricError
        If model, data or metric cannot serve; nothing was started then.
    FolderError
        If the folder holds a search already.
    """
    launched = time.time()
    wanted, own = Budget.parse(budget), own_parts(techniques, students, train, sampler)
    where, seed, limits = new_folder(folder), checked_seed(seed), checked_limits(limits)
    check_place(target, storage, threads)
    options: dict[str, Any] = {
        "metric": metric,
        "loss": loss,
        "request_size": request_size,
        "threads": threads,
        "seed": seed,
        "data_id": data_id,
        "output": output,
        "teachers": tuple(teachers),
    }
    task = _make_task(model, data, options)
    axes, names = search_axes(task, objectives)
    bounded = bounded_axes(constraints, axes)
    settings = Settings(
        fingerprint=task.fingerprint,
        stable=task.stable,
        space=with_own(preset(space) if isinstance(space, str) else space, own.techniques),
        axes=axes,
        objectives=names,
        budget=wanted,
        bounded=bounded,
        constraints=checked_bounds(constraints, (*axes, *bounded)),
        max_drop=checked_drop(max_drop),
        request_size=task.request_size,
        threads=task.threads,
        seed=seed,
        target=target,
        cache=str(cache_folder(cache)),
        storage=storage,
        limits=limits,
        notes=(*task.notes, *_beside()),
        task_options={key: value for key, value in options.items() if is_plain(value)},
        own_techniques=tuple(sorted(own.techniques)),
        sampler=own.sampler_name,
    )
    return _start(where, settings, task, own, study="", launched=launched, block=block)


def resume(
    folder: str | Path,
    model: nn.Module,
    data: Any,
    *,
    budget: float | str | timedelta | Budget | None = None,
    metric: str | Callable[..., float] | None = None,
    loss: str | Callable[..., Any] | None = None,
    techniques: Mapping[str, type] | None = None,
    students: Mapping[str, Callable[[], nn.Module]] | None = None,
    train: Callable[..., Any] | None = None,
    teachers: Sequence[nn.Module] = (),
    sampler: object = None,
    block: bool | None = None,
) -> Search:
    """Go on with a search where it stopped, after a crash, a stop or a kernel restart.

    A search that still runs is only attached to, and given the budget in addition.

    Parameters
    ----------
    folder
        The search's folder.
    model, data
        The same as before; others are refused.
    budget
        What may be spent from now on; when absent, what is left of the first budget.
    metric, loss, techniques, students, train, teachers, sampler
        Again, where they were your own functions, classes or objects.
    block
        Whether to wait for the end; by default only outside a notebook.

    Raises
    ------
    FolderError
        If there is no search, or it belongs to another model or data.
    """
    launched = time.time()
    where = Path(folder).absolute()
    attached = Search(where, None)
    settings = attached.settings
    options = {
        **settings.task_options,
        "request_size": settings.request_size,
        "threads": settings.threads,
        "teachers": tuple(teachers),
    }
    options |= {k: v for k, v in {"metric": metric, "loss": loss}.items() if v is not None}
    task = _make_task(model, data, options)
    if task.fingerprint != settings.fingerprint:
        raise FolderError(
            f"the search in {where} must go on with its own model and data (fingerprint "
            f"{settings.fingerprint[:12]}), but got others (fingerprint {task.fingerprint[:12]}). "
            "Hand over the same model, data, metric and loss, or start a new search elsewhere."
        )
    if attached.alive and attached.status.state != "stopping":
        if budget is not None:
            more = Budget.parse(budget)
            attached.extend(seconds=more.seconds, trials=more.trials)
        return attached._begin(block)
    own = own_parts(techniques, students, train, settings.sampler if sampler is None else sampler)
    missing = sorted(set(settings.own_techniques) - set(own.techniques))
    if missing:
        raise FolderError(
            f"the search in {where} uses techniques of your own, which must be handed over again: "
            f"techniques={{{', '.join(f'{name!r}: ...' for name in missing)}}}"
        )
    if sampler is None and settings.sampler not in SAMPLERS:
        raise FolderError(
            f"the search in {where} uses a sampler of your own, {settings.sampler}, which must be "
            "handed over again (sampler=...), or another one in its place (sampler='staged')"
        )
    budget = _renewed(attached, budget)
    settings = replace(settings, budget=budget, sampler=own.sampler_name)
    study = attached._known().study
    return _start(where, settings, task, own, study=study, launched=launched, block=block)


def _renewed(search: Search, budget: float | str | timedelta | Budget | None) -> Budget:
    """Return the whole budget of a resumed search: what was spent, and what may be from now."""
    if budget is None:
        return search.settings.budget
    more, spent, done = Budget.parse(budget), search.status.seconds_elapsed, search.status.trials
    return Budget(
        seconds=None if more.seconds is None else spent + more.seconds,
        trials=None if more.trials is None else done + more.trials,
    )


def _start(
    folder: Path,
    settings: Settings,
    task: Task,
    own: Own,
    *,
    study: str,
    launched: float,
    block: bool | None,
) -> Search:
    """Pack model and data, start the controller, and follow it."""
    from autoopt.controller import Job, launch

    # One of its own for each run: an earlier controller, about to end, removes its own.
    packed = folder.absolute() / f"snapshot-{uuid.uuid4().hex[:8]}"
    try:
        with ExitStack() as undo:
            undo.callback(_removed, folder, packed, made=not folder.exists())
            packed.mkdir(parents=True)
            payload = _packed(task, own.techniques, packed)
            if not study:
                study = _create(folder, settings)
                # Last in, first out: the folder is empty when it is looked at.
                undo.callback(_unlogged, folder)
            job = Job(folder, settings, payload, packed, launched, study, sampler=own.sampler)
            controller = launch(job)
            undo.pop_all()
    except (OSError, sqlite3.Error, FolderError) as error:
        if message := full_disk(folder, error):
            raise SearchError(message) from error
        raise
    return Search(folder, controller)._begin(block)


def _beside() -> tuple[str, ...]:
    """Say which other searches of this process still run: timings have to wait for each other."""
    return tuple(
        f"machine: another search of this process still runs, in {folder}; both take longer, so "
        "stop the one that you need no more"
        for folder in running_searches()
    )


def _create(folder: Path, settings: Settings) -> str:
    """Take the folder for a new search and return the name of its study.

    Raises
    ------
    FolderError
        If another process took it meanwhile.
    """
    log = Log(folder / LOG, create=True)
    # Searches in folders of one name may share a storage, and a cache.
    study = f"{folder.resolve().name}-{uuid.uuid4().hex[:8]}"
    first = log.append("created", {"settings": settings.to_dict(), "study": study})
    if first != 1:
        raise taken(folder)
    return study


def _packed(task: Task, techniques: Mapping[str, Any], folder: Path) -> bytes:
    """Return what the controller is sent; the task was found to travel when it was made.

    Raises
    ------
    SearchError
        If a technique cannot travel.
    """
    from autoopt import snapshot
    from autoopt.task.foreign import shown_as

    for name, technique in techniques.items():
        with shown_as(
            lambda cause, name=name: SearchError(  # type: ignore[misc]  # binds the loop's name
                f"the technique {name!r} must be able to go to other processes, but cannot: "
                f"{cause}. Locks, open files and the like must be opened in its `apply`."
            )
        ):
            snapshot.check(technique)
    return snapshot.dump((task, dict(techniques)), folder)


def _unlogged(folder: Path) -> None:
    """Give a folder back that was taken for a search which then did not start."""
    for path in folder.glob(f"{LOG}*"):
        path.unlink(missing_ok=True)


def _removed(folder: Path, packed: Path, *, made: bool) -> None:
    """Leave nothing of a start that failed before it took the folder."""
    shutil.rmtree(packed, ignore_errors=True)
    if made and folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def _make_task(model: Any, data: Any, options: Mapping[str, Any]) -> Task:
    from autoopt.task import make_task

    return make_task(model, data, **options)
