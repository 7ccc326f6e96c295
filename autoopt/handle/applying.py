"""`apply`: a recipe that was found on one model, built and measured on another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import SearchError
from autoopt.handle.beginning import begin_search, new_settings, task_of
from autoopt.handle.handle import Search
from autoopt.handle.recipes import one_recipe, space_of
from autoopt.handle.request import Own, check_place, named_objectives, new_folder, own_parts
from autoopt.handle.strategy import Strategy
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record
from autoopt.settings import SAMPLERS, Budget, Limits, Settings

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from autoopt.build import Change
    from autoopt.measurement import Stat
    from autoopt.task import Task


@dataclass(frozen=True)
class Applied:
    """A recipe on another model: what was measured, and what had to change.

    Attributes
    ----------
    search
        The small search that measured it beside the original; opens like any other.
    wanted
        The recipe as it was given.
    changes
        What did not fit and what took its place; empty where everything fits.
    """

    search: Search
    wanted: Recipe
    changes: tuple[Change, ...]

    @property
    def record(self) -> Record:
        """What became of it."""
        return _record(self.search)

    @property
    def failure(self) -> Failure | None:
        """Why it could not be built or measured, or None."""
        return self.record.failure

    @property
    def strategy(self) -> Strategy:
        """The strategy, to export, explain and predict with.

        Raises
        ------
        SearchError
            If it could not be built or measured.
        """
        if (failure := self.failure) is not None:
            raise SearchError(f"the recipe does not work on this model: {failure}\n{failure.log}")
        return self.search.pick(self.record.number)

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was tried."""
        return self.record.recipe

    @property
    def speedup(self) -> Stat | None:
        """As `Strategy.speedup`."""
        return self.strategy.speedup

    def __getitem__(self, objective: str) -> Stat:
        """Return the figure of one objective."""
        return self.strategy[objective]

    def export(self, folder: str | Path, **options: Any) -> Path:
        """Write it into a folder, as `Strategy.export`."""
        return self.strategy.export(folder, **options)

    def explain(self, *data: Any, **options: Any) -> Any:
        """Explain it, as `Strategy.explain`."""
        return self.strategy.explain(*data, **options)

    @property
    def table(self) -> pd.DataFrame:
        """One row a change: slot, what was wanted, what was done instead, and why."""
        import pandas as pd

        rows = [vars(change) for change in self.changes]
        return pd.DataFrame(rows, columns=["slot", "wanted", "got", "reason"])

    def __repr__(self) -> str:
        """Show the strategy and every change."""
        head = f"failed: {self.failure}" if self.failure else repr(self.strategy)
        fits = ["everything fits"] if not self.changes else [str(change) for change in self.changes]
        return "\n".join([f"<Applied {head}>", *fits])

    def _repr_html_(self) -> str:
        body = escape(str(self.failure)) if self.failure else self.strategy._repr_html_()
        changed = self.table.to_html(index=False) if self.changes else "<p>Everything fits.</p>"
        return f"{body}<h4>What had to change</h4>{changed}"


def apply(
    recipe: Recipe | Strategy | str | Path,
    model: nn.Module,
    data: Any,
    *,
    objectives: Sequence[Any] = ("quality", "latency", "size"),
    metric: str | Callable[..., float] | None = None,
    loss: str | Callable[..., Any] | None = None,
    request_size: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    techniques: Mapping[str, type] | None = None,
    limits: Limits | None = None,
    data_id: str | None = None,
    output: str | int | Sequence[str | int] | None = None,
    students: Mapping[str, Callable[[], nn.Module]] | None = None,
    train: Callable[..., Any] | None = None,
    teachers: Sequence[nn.Module] = (),
    target: str = "cpu",
) -> Applied:
    """Build and measure one recipe on another model, beside that model as it is.

    Parameters
    ----------
    recipe
        A `Recipe`, a `Strategy`, or the path of a recipe or an export.
    model, data, objectives, metric, loss, request_size, threads, seed, folder, cache, techniques, \
limits, data_id, output, students, train, teachers, target
        As in `autoopt.search`.

    Returns
    -------
    Applied
        Its figures, and each choice that could not be taken over with the reason.

    Raises
    ------
    FolderError
        If the recipe cannot be read, or the folder holds a search.
    DataError, ModelError, MetricError
        If model, data or metric cannot serve.
    SearchError
        If the model itself cannot be measured.
    UnknownNameError, RefusedError
        If there is no such target, or this machine has no such device.

    Notes
    -----
    Layers that a recipe names are matched by kind, depth and name. What the other model refuses
    is left out and listed, at whatever stage; what it cannot build although it did not refuse is a
    failure.
    """
    launched, source = time.time(), one_recipe(recipe)
    where, (names, given) = new_folder(folder), named_objectives(objectives)
    own = replace(own_parts(techniques, students, train, SAMPLERS[0]), objectives=given)
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
    check_place(target, None, threads)
    task = task_of(model, data, options)
    fitting = _fitting(task, own, target)
    fitted, changes = fitting.fit(source.recipes[0], source.layer_list())
    settings = replace(
        new_settings(task, own, options, objectives=names, cache=cache, limits=limits),
        budget=Budget(trials=2),
        target=target,
        given=(fitted.to_dict(),),
        only_given=True,
        space=space_of((fitted,)),
    )
    search = begin_search(where, settings, task, own, study="", launched=launched, block=True)
    # What is refused only while it is built or served is left out too, one slot at a time.
    while (lost := _left_out(search, fitting)) is not None:
        fitted, more = lost
        changes = (*changes, *more)
        search = _again(search, fitted, task, own)
    return Applied(search, source.recipes[0], changes)


def _fitting(task: Task, own: Own, target: str) -> Any:
    from autoopt.build import Fitting
    from autoopt.targets import load_target

    return Fitting(task, load_target(target), own.techniques)


def _record(search: Search) -> Record:
    """Return what became of the recipe given last; it is the original's where nothing is left."""
    wanted = Recipe.from_dict(search.settings.given[-1])
    records = search._known().records
    return next((record for record in reversed(records) if record.recipe == wanted), records[-1])


def _left_out(search: Search, fitting: Any) -> tuple[Recipe, tuple[Change, ...]] | None:
    """Return the last recipe without what was refused of it, and these changes; else None."""
    record = _record(search)
    failure = record.failure
    if failure is None or failure.kind != "refused":
        return None
    found: tuple[Recipe, tuple[Change, ...]] | None = fitting.without(record.recipe, failure)
    return found


def _again(search: Search, recipe: Recipe, task: Task, own: Own) -> Search:
    """Go on in the same folder with another recipe."""
    history = search._known()
    given = (*search.settings.given, recipe.to_dict())
    settings: Settings = replace(
        search.settings,
        given=given,
        budget=Budget(trials=len(history.raw) + 1),
        space=space_of(tuple(Recipe.from_dict(item) for item in given)),
    )
    launched = time.time()
    return begin_search(
        search.folder, settings, task, own, study=history.study, launched=launched, block=True
    )
