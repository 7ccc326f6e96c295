"""Several exports at the same time, each in a process on cores of its own (task parallel)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError
from autoopt.interfaces import Parallel
from autoopt.loading.predictor import Predictor, load_artifact

if TYPE_CHECKING:
    from typing import Self

    from autoopt.interfaces import Array
    from autoopt.measurement import Stat


class Together:
    """Several loaded exports that answer at the same time; close it when done.

    Parameters
    ----------
    predictors
        By the names that requests use; each has processes of its own.
    """

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self.predictors = dict(predictors)
        self._pool = ThreadPoolExecutor(len(self.predictors))

    def __call__(self, **requests: Any) -> dict[str, Array]:
        """Answer a request of each model named, at the same time.

        Parameters
        ----------
        **requests
            Name of a model to its input, or a tuple of inputs.

        Returns
        -------
        dict
            Name to what `Predictor` answers.

        Raises
        ------
        ValueError
            If a model is unknown, or a request is not one that it takes.
        """
        self._check(requests)
        running = {
            name: self._pool.submit(self.predictors[name], *_inputs(request))
            for name, request in requests.items()
        }
        return {name: answer.result() for name, answer in running.items()}

    def one_by_one(self, **requests: Any) -> dict[str, Array]:
        """Answer the same requests one after the other."""
        self._check(requests)
        return {
            name: self.predictors[name](*_inputs(request)) for name, request in requests.items()
        }

    def gain(self, *, seconds: float = 2.0, **requests: Any) -> Stat:
        """Measure how many times faster requests are answered together than one by one."""
        from autoopt.objectives.timing import time_pairs

        paired = time_pairs(
            lambda: self(**requests), lambda: self.one_by_one(**requests), seconds=seconds
        )
        return paired.ratio()

    def close(self) -> None:
        """End all processes."""
        self._pool.shutdown()
        for predictor in self.predictors.values():
            predictor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, requests: Mapping[str, Any]) -> None:
        if not requests or not requests.keys() <= self.predictors.keys():
            raise ValueError(
                f"requests name one or more of {', '.join(self.predictors)}, but got "
                f"{', '.join(sorted(requests)) or 'none'}."
            )


def load_together(
    folders: Mapping[str, str | os.PathLike[str]],
    *,
    threads: int | None = None,
    trust_code: bool = False,
) -> Together:
    """Load several exports, each in a process that is bound to cores of its own.

    Parameters
    ----------
    folders
        Name of each model to what `strategy.export` wrote.
    threads
        Threads, and cores, of each model; the cores that this process may use are shared evenly
        when absent.
    trust_code
        As of `load`.

    Raises
    ------
    ArtifactError
        If there are too few cores, or one of the exports cannot be loaded; then none is left.
    """
    there = sorted(os.sched_getaffinity(0))
    share = threads or max(1, len(there) // max(1, len(folders)))
    if not folders or share * len(folders) > len(there):
        raise ArtifactError(
            f"each of {len(folders)} models needs {share} cores of its own, but this process may "
            f"use {len(there)}; load at least one, and no more than fit, or set `threads`."
        )
    parallel = Parallel(share, processes=True, pinned=True)
    with ExitStack() as undo:
        loaded = {}
        for number, (name, folder) in enumerate(folders.items()):
            cores = there[number * share : (number + 1) * share]
            loaded[name] = load_artifact(Path(folder), parallel, trust_code=trust_code, cores=cores)
            undo.callback(loaded[name].close)
        undo.pop_all()
    return Together(loaded)


def _inputs(request: Any) -> tuple[Any, ...]:
    return request if isinstance(request, tuple) else (request,)
