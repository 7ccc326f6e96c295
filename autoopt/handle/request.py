"""What a person asks of a search, checked before anything is started."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autoopt.cache import default_cache_folder
from autoopt.constraint import parse_constraints
from autoopt.controller.job import LOG
from autoopt.errors import FolderError, RefusedError, UnknownNameError
from autoopt.log import Log
from autoopt.measurement import Axis
from autoopt.settings import SAMPLERS, Limits
from search_spaces import SearchSpace
from search_spaces.cores import usable_cores

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Objective
    from autoopt.task import Task


def checked_bounds(
    constraints: Mapping[str, float | str] | None, axes: Sequence[Axis]
) -> dict[str, float | str]:
    """Return constraints as plain values under the names of the axes.

    Raises
    ------
    UnknownNameError
        If an objective is not searched.
    ConstraintError
        If a bound cannot be read.
    """
    bounds = {
        axes[0].name if name == "quality" else name: bound
        for name, bound in (constraints or {}).items()
    }
    return {c.objective: f"{c.sense} {c.bound!r}" for c in parse_constraints(bounds, axes)}


def bounded_axes(
    constraints: Mapping[str, float | str] | None, axes: Sequence[Axis]
) -> tuple[Axis, ...]:
    """Return an axis for every bounded objective that is not searched but can be measured."""
    from autoopt.objectives import OBJECTIVES as KNOWN

    searched = {"quality", *(axis.name for axis in axes)}
    names = [name for name in constraints or () if name in KNOWN and name not in searched]
    return tuple(_axis(name) for name in names)


def named_objectives(objectives: Sequence[Any]) -> tuple[tuple[str, ...], dict[str, Objective]]:
    """Return the names of all objectives, and those that are a person's own: functions or objects.

    Raises
    ------
    TypeError
        If one is neither a name, nor a function, nor an objective.
    ValueError
        If a person's own has no name, or that of one that is known.
    """
    from autoopt.objectives import OBJECTIVES as KNOWN
    from autoopt.objectives.given import GivenObjective

    names: list[str] = []
    own: dict[str, Objective] = {}
    alone = isinstance(objectives, str) or callable(objectives)
    listed: Sequence[Any] = (objectives,) if alone else objectives
    for item in listed:
        if isinstance(item, str):
            names.append(item)
            continue
        if not hasattr(item, "measure") and not callable(item):
            raise TypeError(
                "an objective must be a name, a function of a candidate's probe, or an object "
                f"with `measure`, but got {item!r}"
            )
        objective: Any = item if hasattr(item, "measure") else GivenObjective.of(item)
        # One of the table with other settings, such as Server(bound_ms=20), may keep its name.
        if objective.name in KNOWN and isinstance(objective, GivenObjective):
            raise ValueError(
                f"an objective of your own must have a new name, but {objective.name!r} is known"
            )
        names.append(objective.name)
        own[objective.name] = objective
    return tuple(names), own


def search_axes(
    task: Task, objectives: Sequence[str], own: Mapping[str, Objective] | None = None
) -> tuple[tuple[Axis, ...], tuple[str, ...]]:
    """Return the axes and the names of the objectives, the quality first.

    Raises
    ------
    UnknownNameError
        If there is no such objective, neither in the table nor in `own`.
    RefusedError
        If this machine cannot measure one.
    ValueError
        If one is named twice.
    """
    from autoopt.objectives import OBJECTIVES as KNOWN

    own = own or {}
    if isinstance(objectives, str):
        objectives = (objectives,)
    if quality_taken := {"quality", task.metric.name} & set(own):
        raise ValueError(
            f"an objective of your own must have a new name, but {min(quality_taken)!r} is the "
            "quality"
        )
    quality = Axis(task.metric.name, task.metric.unit, task.metric.direction)
    names = ["quality", *(n for n in objectives if n not in ("quality", quality.name))]
    if len(set(names)) < len(names):
        raise ValueError(f"every objective must be named once, but got {list(objectives)}")
    axes = [quality]
    for name in names[1:]:
        if name not in KNOWN and name not in own:
            raise UnknownNameError("objective", name, [*KNOWN, quality.name])
        axes.append(_axis(name, own, task))
    return tuple(axes), tuple(names)


def _axis(
    name: str, own: Mapping[str, Objective] = MappingProxyType({}), task: Task | None = None
) -> Axis:
    from autoopt.objectives import load_objective

    objective = own.get(name) or load_objective(name)
    if reason := getattr(objective, "refuse", _able)():
        raise RefusedError(f"the objective {name!r} cannot be measured here: {reason}")
    if task and hasattr(objective, "refuse_task") and (reason := objective.refuse_task(task)):
        raise RefusedError(f"the objective {name!r} cannot be measured of this model: {reason}")
    return Axis(objective.name, objective.unit, objective.direction)  # type: ignore[arg-type]  # the table's classes hold one of both


def _able() -> None:
    """Say of an objective that it can be measured everywhere."""


def checked_drop(max_drop: float | None) -> float | None:
    """Return `max_drop` as a plain number.

    Raises
    ------
    ValueError
        If it is no number, negative or not finite.
    """
    if max_drop is None:
        return None
    try:
        fits = 0 <= float(max_drop) < math.inf and not isinstance(max_drop, str)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "`max_drop` must be a number of at least 0 (0.01 allows one point of accuracy), but "
            f"got {max_drop!r}"
        )
    return float(max_drop)


@dataclass(frozen=True)
class Own:
    """What a person brings along that no file keeps.

    Attributes
    ----------
    techniques
        By name; students and a training are among them.
    sampler_name
        One of `SAMPLERS`, or the name of a person's own class.
    sampler
        The person's own.
    objectives
        By name.
    """

    techniques: Mapping[str, Any]
    sampler_name: str = SAMPLERS[0]
    sampler: object = None
    objectives: Mapping[str, Objective] = field(default_factory=dict)


def own_parts(
    techniques: Mapping[str, Any] | None,
    students: Mapping[str, Callable[[], nn.Module]] | None,
    train: Callable[..., Any] | None,
    sampler: object,
) -> Own:
    """Return all that a person brings along.

    Raises
    ------
    ValueError
        If a student or the training is no function, or two have one name.
    UnknownNameError, TypeError
        If the sampler is not known by name and not one of Optuna's.
    """
    from autoopt.techniques.given import GivenStudent, GivenTraining

    own: dict[str, Any] = {name: GivenStudent(make) for name, make in (students or {}).items()}
    if train is not None:
        own[getattr(train, "__name__", "train").strip("<>")] = GivenTraining(train)
    twice = sorted(set(own) & set(techniques or {}))
    if twice:
        raise ValueError(f"a technique, a student and a training must differ in name: {twice[0]!r}")
    return Own({**own, **(techniques or {})}, *checked_sampler(sampler))


def with_own(space: SearchSpace, techniques: Mapping[str, Any]) -> SearchSpace:
    """Return the space with a person's own techniques on its menu."""
    from autoopt.techniques import TECHNIQUES

    for name, technique in techniques.items():
        slot = str(getattr(technique, "slot", None))
        settings = getattr(technique, "settings", {})
        taken = [place for place, options in TECHNIQUES.items() if name in options]
        if taken:
            raise ValueError(
                f"a technique of your own must have a new name, but {name!r} is already one of "
                f"the slot {taken[0]!r}"
            )
        if slot not in space.slots:
            raise ValueError(
                f"a technique of your own must say its `slot`, one of {', '.join(space.slots)}; "
                f"{name!r} has {slot!r}"
            )
        if name not in space.slots[slot]:
            space = space.extend(**{slot: {name: settings}})
    return space


def checked_seed(seed: object) -> int:
    """Return a seed as a plain integer.

    Raises
    ------
    ValueError
        If it is no whole number from 0 to 2³² − 1, which every generator takes.
    """
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= int(str(seed)) < 2**32:
        raise ValueError(f"`seed` must be a whole number from 0 to 2**32 - 1, but got {seed!r}")
    return int(str(seed))


def checked_workers(workers: object) -> int:
    """Return the number of workers as a plain integer.

    Raises
    ------
    ValueError
        If it is no whole number from 1 to the cores that this process may use.
    """
    cores = usable_cores()
    whole = isinstance(workers, Integral) and not isinstance(workers, bool)
    if not whole or not 1 <= int(str(workers)) <= cores:
        raise ValueError(
            f"`workers` must be a whole number from 1 to the {cores} cores that this process may "
            f"use, but got {workers!r}"
        )
    return int(str(workers))


def checked_limits(limits: object) -> Limits:
    """Return the limits of a candidate, the usual ones for None.

    Raises
    ------
    ValueError
        If these are no limits.
    """
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise ValueError(
            "`limits` must be Limits, such as autoopt.settings.Limits(network=600), but got "
            f"{limits!r}"
        )
    return limits


def check_place(target: str, storage: str | None, threads: int | None) -> None:
    """Raise unless there is such a target, a storage can have this URL, and cores are enough.

    Raises
    ------
    UnknownNameError
        If no target has this name.
    RefusedError
        If this machine has no such device.
    ValueError
        If the URL is none, or candidates would get more threads than there are cores.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from autoopt.targets import load_target

    load_target(target)
    try:
        if storage is not None:
            make_url(storage)
    except (ArgumentError, ValueError) as error:
        raise ValueError(
            "`storage` must be the URL of an Optuna storage, such as 'sqlite:///study.db' or "
            f"'postgresql://user@host/name', but got {storage!r}"
        ) from error
    cores = usable_cores()
    if isinstance(threads, int) and threads > cores:
        raise ValueError(
            f"`threads` must be no more than the {cores} cores that this process may use, but got "
            f"{threads}"
        )


def cache_folder(cache: str | Path | None) -> Path:
    """Return the folder of the cache, absolute: controllers work elsewhere."""
    return (default_cache_folder() if cache is None else Path(cache)).absolute()


def new_folder(folder: str | Path | None) -> Path:
    """Return the folder of a new search, which must not hold another.

    Raises
    ------
    FolderError
        If it does, or is a file.
    """
    if folder is None:
        name = time.strftime("%Y%m%d-%H%M%S")
        folder = Path("autoopt-searches") / name
        if folder.exists():
            folder = folder.with_name(f"{name}-{os.getpid()}-{time.time_ns() % 1000}")
    where = Path(folder).absolute()  # a notebook may go elsewhere
    if where.is_file():
        raise FolderError(f"a search needs a folder, but {where} is a file")
    if (where / LOG).exists() and Log(where / LOG).read():
        raise taken(where)
    return where


def checked_sampler(sampler: object) -> tuple[str, object | None]:
    """Return the name of a sampler, and the sampler itself if it is a person's own.

    Raises
    ------
    UnknownNameError
        If no sampler has that name.
    TypeError
        If it is neither a name nor an Optuna sampler.
    """
    if isinstance(sampler, str):
        if sampler not in SAMPLERS:
            raise UnknownNameError("sampler", sampler, SAMPLERS)
        return sampler, None
    # Not isinstance: that would import Optuna, which only the controller needs.
    if isinstance(sampler, type) or not hasattr(sampler, "sample_relative"):
        raise TypeError(
            f"`sampler` must be {' or '.join(map(repr, SAMPLERS))}, or an Optuna sampler such as "
            f"optuna.samplers.NSGAIISampler(), but got {sampler!r}"
        )
    return type(sampler).__name__, sampler


def taken(folder: Path) -> FolderError:
    """Return what to raise where a folder holds another search."""
    return FolderError(
        f"{folder} holds a search already: go on with it by autoopt.resume({str(folder)!r}, "
        "model, data), or name another folder"
    )


def is_positive(value: object) -> bool:
    """Say whether a value is a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < float(str(value)) < math.inf


def is_plain(value: Any) -> bool:
    """Say whether a value can stand in the log."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return isinstance(value, str | int | float | bool | None)
