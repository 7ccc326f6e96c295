"""Starting a search: its folder, what its controller is sent, and the handle that follows it."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
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
    checked_bounds,
    checked_limits,
    is_plain,
    search_axes,
    taken,
    with_own,
)
from autoopt.handle.surroundings import running_searches
from autoopt.log import Log
from autoopt.settings import Budget, Limits, Settings
from search_spaces import SearchSpace, preset

if TYPE_CHECKING:
    from autoopt.executors import Cluster
    from autoopt.task import Task


def begin_search(
    folder: Path,
    settings: Settings,
    task: Task,
    own: Own,
    *,
    study: str,
    launched: float,
    block: bool | None,
    cluster: Cluster | None = None,
) -> Search:
    """Pack model and data, start the controller, and follow it.

    Raises
    ------
    SearchError
        If the disk is full, or a technique cannot travel.
    FolderError
        If another process took the folder meanwhile.
    """
    from autoopt.controller import Job, launch

    # One of its own for each run: an earlier controller, about to end, removes its own. Workers of
    # a cluster see the cache and perhaps nothing else.
    place = folder.absolute() if cluster is None else Path(settings.cache) / "snapshots"
    packed = place / f"snapshot-{uuid.uuid4().hex[:8]}"
    try:
        with ExitStack() as undo:
            undo.callback(_removed, folder, packed, made=not folder.exists())
            packed.mkdir(parents=True)
            folder.mkdir(parents=True, exist_ok=True)
            payload = _packed(task, own, packed)
            if not study:
                study = _create(folder, settings)
                # Last in, first out: the folder is empty when it is looked at.
                undo.callback(_unlogged, folder)
            job = Job(folder, settings, payload, packed, launched, study, sampler=own.sampler)
            if cluster is not None:
                job = replace(job, executor="dask", cluster=cluster)
            controller = launch(job)
            undo.pop_all()
    except (OSError, sqlite3.Error, FolderError) as error:
        if message := full_disk(folder, error):
            raise SearchError(message) from error
        raise
    return Search(folder, controller)._begin(block)


def searches_beside() -> tuple[str, ...]:
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


def _packed(task: Task, own: Own, folder: Path) -> bytes:
    """Return what the controller is sent; the task was found to travel when it was made.

    Raises
    ------
    SearchError
        If a technique or an objective cannot travel.
    """
    from autoopt import snapshot
    from autoopt.task.foreign import shown_as

    parts = [("technique", name, part, "in its `apply`") for name, part in own.techniques.items()]
    parts += [("objective", name, part, "when it runs") for name, part in own.objectives.items()]
    for kind, name, part, when in parts:
        words = f"the {kind} {name!r} must be able to go to other processes, but cannot"
        with shown_as(
            lambda cause, words=words, when=when: SearchError(  # type: ignore[misc]  # binds the loop's
                f"{words}: {cause}. Locks, open files and the like must be opened {when}."
            )
        ):
            snapshot.check(part)
    return snapshot.dump((task, dict(own.techniques), dict(own.objectives)), folder)


def _unlogged(folder: Path) -> None:
    """Give a folder back that was taken for a search which then did not start."""
    for path in folder.glob(f"{LOG}*"):
        path.unlink(missing_ok=True)


def _removed(folder: Path, packed: Path, *, made: bool) -> None:
    """Leave nothing of a start that failed before it took the folder."""
    shutil.rmtree(packed, ignore_errors=True)
    if made and folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def new_settings(
    task: Task,
    own: Own,
    options: Mapping[str, Any],
    *,
    objectives: Sequence[str],
    constraints: Mapping[str, float | str] | None = None,
    space: str | SearchSpace = "balanced",
    cache: str | Path | None = None,
    limits: Limits | None = None,
) -> Settings:
    """Return the settings of a new search of ten minutes, checked; see `autoopt.search`.

    Parameters
    ----------
    task, own
        What is compressed, and what the person brings along.
    options
        What was said about the task.
    """
    from autoopt.build import layers_of

    axes, names = search_axes(task, objectives, own.objectives)
    bounded = bounded_axes(constraints, axes)
    return Settings(
        fingerprint=task.fingerprint,
        stable=task.stable,
        space=with_own(preset(space) if isinstance(space, str) else space, own.techniques),
        axes=axes,
        objectives=names,
        budget=Budget(seconds=600.0),
        bounded=bounded,
        constraints=checked_bounds(constraints, (*axes, *bounded)),
        max_drop=None,
        request_size=task.request_size,
        threads=task.threads,
        seed=task.seed,
        target="cpu",
        cache=str(cache_folder(cache)),
        storage=None,
        limits=checked_limits(limits),
        notes=(*task.notes, *searches_beside()),
        task_options={key: value for key, value in options.items() if is_plain(value)},
        own_techniques=tuple(sorted(own.techniques)),
        own_objectives=tuple(sorted(own.objectives)),
        sampler=own.sampler_name,
        layers=tuple((layer.name, layer.kind) for layer in layers_of(task.model)),
        class_axis=task.form.axis,
    )


def task_again(
    folder: Path,
    settings: Settings,
    model: Any,
    data: Any,
    *,
    metric: Any = None,
    loss: Any = None,
    teachers: Sequence[Any] = (),
) -> Task:
    """Return the task of a search that is there.

    Raises
    ------
    FolderError
        If the search belongs to another model or data.
    """
    options = {
        **settings.task_options,
        "request_size": settings.request_size,
        "threads": settings.threads,
        "teachers": tuple(teachers),
    }
    options |= {k: v for k, v in {"metric": metric, "loss": loss}.items() if v is not None}
    task = task_of(model, data, options)
    if task.fingerprint != settings.fingerprint:
        raise FolderError(
            f"the search in {folder} must go on with its own model and data (fingerprint "
            f"{settings.fingerprint[:12]}), but got others (fingerprint {task.fingerprint[:12]}). "
            "Hand over the same model, data, metric and loss, or start a new search elsewhere."
        )
    return task


def task_of(model: Any, data: Any, options: Mapping[str, Any]) -> Task:
    """Return the task of a model and its data; torch is imported only now."""
    from autoopt.task import make_task

    return make_task(model, data, **options)
