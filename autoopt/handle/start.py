"""`search` and `resume`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import FolderError
from autoopt.handle.beginning import begin_search, new_settings, task_again, task_of
from autoopt.handle.handle import Search
from autoopt.handle.on_cluster import checked_cluster
from autoopt.handle.request import (
    cache_folder,
    check_place,
    checked_drop,
    checked_limits,
    checked_seed,
    checked_workers,
    named_objectives,
    new_folder,
    own_parts,
)
from autoopt.handle.warm import with_warm_start
from autoopt.settings import SAMPLERS, Budget, Limits
from search_spaces import SearchSpace

if TYPE_CHECKING:
    from torch import nn


OBJECTIVES = ("quality", "latency", "size")


def search(
    model: nn.Module,
    data: Any,
    *,
    budget: float | str | timedelta | Budget = "10 min",
    space: str | SearchSpace = "balanced",
    objectives: Sequence[Any] = OBJECTIVES,
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
    warm_start: Sequence[Any] = (),
    workers: int = 1,
    client: Any = None,
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
        ``"quick"``, ``"balanced"``, ``"thorough"``, ``"edge"``, ``"cuda"``, or a `SearchSpace`.
    objectives
        Out of ``"quality"`` (or the metric's name), ``"latency"`` (the median), ``"latency_p95"``,
        ``"latency_p99"``, ``"throughput"``, ``"server"`` (highest rate in time), ``"size"``,
        ``"memory"``, ``"device_memory"``, ``"parameters"``, ``"multiply_adds"``,
        ``"build_time"`` and ``"energy"``; or your own: a function that takes the `Probe` of a
        candidate and gives a number. Quality is always among them.
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
        Where candidates are measured: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. Networks are trained
        on the processor.
    warm_start
        What worked before: recipes, strategies, exports or folders of searches, of which the front
        is taken. They are tried first; what does not fit here is left out with a note.
    workers
        Networks that may be trained at the same time, each with its part of the cores. Nothing
        is trained or built while a candidate is measured.
    client
        ``dask.distributed.Client`` of a cluster: every worker trains, one of them measures (named
        ``measure`` or with the resource label ``measure``, else the first). All of them must share
        the cache's folder.
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
    wanted, (names, given) = Budget.parse(budget), named_objectives(objectives)
    own = replace(own_parts(techniques, students, train, sampler), objectives=given)
    where, seed, limits = new_folder(folder), checked_seed(seed), checked_limits(limits)
    check_place(target, storage, threads)
    workers = checked_workers(workers)
    cluster = checked_cluster(client, cache_folder(cache), workers)
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
    task = task_of(model, data, options)
    settings = new_settings(
        task,
        own,
        options,
        objectives=names,
        constraints=constraints,
        space=space,
        cache=cache,
        limits=limits,
    )
    settings = replace(
        settings,
        budget=wanted,
        max_drop=checked_drop(max_drop),
        target=target,
        storage=storage,
        workers=workers,
    )
    settings = with_warm_start(settings, warm_start, task, own)
    begin = partial(begin_search, where, settings, task, own, cluster=cluster)
    return begin(study="", launched=launched, block=block)


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
    objectives: Sequence[Any] = (),
    sampler: object = None,
    client: Any = None,
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
    metric, loss, techniques, students, train, teachers, objectives, sampler
        Again, where they were your own functions, classes or objects.
    client
        Of a cluster on which to go on; of this machine alone when absent.
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
    task = task_again(where, settings, model, data, metric=metric, loss=loss, teachers=teachers)
    if attached.alive and attached.status.state != "stopping":
        if budget is not None:
            more = Budget.parse(budget)
            attached.extend(seconds=more.seconds, trials=more.trials)
        return attached._begin(block)
    own = own_parts(techniques, students, train, settings.sampler if sampler is None else sampler)
    own = replace(own, objectives=named_objectives(objectives)[1])
    missing = sorted(set(settings.own_techniques) - set(own.techniques))
    if missing:
        raise FolderError(
            f"the search in {where} uses techniques of your own, which must be handed over again: "
            f"techniques={{{', '.join(f'{name!r}: ...' for name in missing)}}}"
        )
    if absent := sorted(set(settings.own_objectives) - set(own.objectives)):
        raise FolderError(
            f"the search in {where} has objectives of your own, which must be handed over again: "
            f"objectives=[{', '.join(absent)}]"
        )
    if sampler is None and settings.sampler not in SAMPLERS:
        raise FolderError(
            f"the search in {where} uses a sampler of your own, {settings.sampler}, which must be "
            "handed over again (sampler=...), or another one in its place (sampler='staged')"
        )
    budget = _renewed(attached, budget)
    settings = replace(settings, budget=budget, sampler=own.sampler_name)
    cluster = checked_cluster(client, Path(settings.cache), 1)
    begin = partial(begin_search, where, settings, task, own, cluster=cluster)
    return begin(study=attached._known().study, launched=launched, block=block)


def _renewed(search: Search, budget: float | str | timedelta | Budget | None) -> Budget:
    """Return the whole budget of a resumed search: what was spent, and what may be from now."""
    if budget is None:
        return search.settings.budget
    more, spent, done = Budget.parse(budget), search.status.seconds_elapsed, search.status.trials
    return Budget(
        seconds=None if more.seconds is None else spent + more.seconds,
        trials=None if more.trials is None else done + more.trials,
    )
