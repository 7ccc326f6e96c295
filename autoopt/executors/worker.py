"""What runs inside a worker process."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.executors import descendants
from autoopt.executors.interface import WorkerSetup
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from search_spaces.cores import usable_cores

if TYPE_CHECKING:
    from autoopt.evaluate import Evaluator

_PR_SET_PDEATHSIG = 1


@dataclass
class _Process:
    """The state of this process, which serves one search for its whole life."""

    setup: WorkerSetup | None = None
    evaluator: Evaluator | None = None


# A pool calls plain functions: what a worker keeps between two jobs has no other place.
_process = _Process()


def start(setup: WorkerSetup) -> None:
    """Prepare this process: where it prints, what it may take, and that it dies with its parent."""
    _process.setup = setup
    log = os.open(setup.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    faulthandler.enable(file=sys.__stderr__ or sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its owner tells by the session what it started itself from what a dead worker left.
    os.setsid()
    descendants.adopt_orphans()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prefer_as_victim()
    if setup.memory_limit:
        _limit_memory(setup.memory_limit)


def prepare() -> None:
    """Import and unpack what every stage needs, before the time limit of one begins to run."""
    if _process.setup is None:
        raise RuntimeError("a worker must be started before it can run a stage")
    if _process.evaluator is None:
        _process.evaluator = _process.setup.evaluator()


def run(stage: Stage, recipe: Recipe, bar: float | None = None) -> Outcome:
    """Do one stage of one candidate."""
    # Imported here, because the controller imports this module and needs no torch.
    from autoopt.evaluate import as_failure

    try:
        prepare()
    except (ImportError, AttributeError, OSError, ValueError, TypeError) as error:
        return as_failure(stage, error)
    if _process.evaluator is None:
        raise RuntimeError("a prepared worker must have an evaluator")
    if _process.setup is not None and _process.setup.workers > 1:
        _share_cores(stage, _process.setup.workers)
    before = descendants.descendants()
    outcome = _process.evaluator.run(stage, recipe, bar)
    # What a candidate leaves running would slow down whatever is measured next.
    if count := descendants.end_all(descendants.strangers(before)):
        print(f"ended {count} processes that the {stage} stage left running", flush=True)
    return outcome


def _share_cores(stage: Stage, workers: int) -> None:
    """Give a stage that runs beside others its part of the cores; what is measured has them all."""
    import torch

    alone = stage in ("deployment", "memory", "survey")
    torch.set_num_threads(max(1, usable_cores() // (1 if alone else workers)))


def _prefer_as_victim() -> None:
    """Ask the kernel to end this process first when the machine runs out of memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


def _limit_memory(limit: int) -> None:
    """Let allocations beyond the limit fail here, before the whole machine suffers."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
