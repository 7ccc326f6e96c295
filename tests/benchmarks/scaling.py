"""What several workers are worth: seconds beside the bound that the one measuring lane allows.

Workers sleep instead of computing, ten times as long over a network as over a measurement; all else
is the real search: its controller, its sampler, its worker processes, a real Dask cluster.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoopt.controller import SearchController
from autoopt.controller.baselines import original
from autoopt.executors import Cluster, Executor, load_executor
from autoopt.history import History
from autoopt.settings import Budget
from tests.benchmarks.registry import Report
from tests.fakes import history_of, job, log_of
from tests.sleeping import overlapping, sleeping_setup, slept

SECONDS = 1.5
"""What one measurement takes; a network takes ten times as long, an artefact a tenth."""

TRIALS = 48
"""A budget in trials allows a network for every six of them: eight, for any number of lanes."""

AT_ONCE = 5
"""Searches that run side by side: what sleeps needs no processor, and workers start before."""


@dataclass(frozen=True)
class Setting:
    """One way to run the search.

    Attributes
    ----------
    name
        Of its row.
    workers
        Networks that may be trained at the same time.
    cluster
        ``""`` for processes of one machine, ``"one"`` for a LocalCluster, ``"two"`` for one with a
        machine (to Dask: an address) of its own for measuring.
    """

    name: str
    workers: int
    cluster: str = ""


SETTINGS = (
    Setting("one worker", 1),
    Setting("two workers", 2),
    Setting("four workers", 4),
    Setting("LocalCluster of four", 4, "one"),
    Setting("four, and one that measures", 4, "two"),
)


def run(argv: list[str] | None = None) -> Report:
    """Run the same search with 1, 2 and 4 workers and on clusters of 4.

    ``--quick`` runs a shorter one of each.
    """
    quick = argv == ["--quick"]
    if argv and not quick:
        raise SystemExit(f"the benchmark takes --quick or nothing, but got {' '.join(argv)}")
    seconds, trials = (0.1, 24) if quick else (SECONDS, TRIALS)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(AT_ONCE, mp_context=context) as pool:
        running = [pool.submit(searched, setting, seconds, trials) for setting in SETTINGS]
        rows = [future.result() for future in running]
    return Report(figures(rows), {"searches": rows})


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return bound over seconds of each, and the largest share of a controller's processor time.

    ``efficiency_4`` is the lower one of four processes and the LocalCluster of four.
    """
    by_name = {row["name"]: row for row in rows}
    one, two, four, cluster, apart = (by_name[setting.name] for setting in SETTINGS)
    return {
        "efficiency_1": one["efficiency"],
        "efficiency_2": two["efficiency"],
        "efficiency_4": min(four["efficiency"], cluster["efficiency"]),
        "efficiency_4_processes": four["efficiency"],
        "efficiency_4_cluster": cluster["efficiency"],
        "efficiency_4_apart": apart["efficiency"],
        "speedup_4": one["seconds"] / four["seconds"],
        "speedup_4_bound": one["bound"] / four["bound"],
        "controller_share": max(row["controller_share"] for row in rows),
        "trained_twice": float(sum(row["trained_twice"] for row in rows)),
        "measured_beside": float(sum(row["measured_beside"] for row in rows)),
    }


def searched(setting: Setting, seconds: float, trials: int) -> dict[str, Any]:
    """Search with workers that are up and return what it took."""
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        executor = stack.enter_context(_executor(setting, folder, seconds))
        _get_ready(executor)
        log = log_of(folder)
        work, begin = time.thread_time(), time.perf_counter()
        controller = SearchController(job(folder, budget=Budget(trials=trials)), executor, log)
        controller.run()
        took = time.perf_counter() - begin
        # Of the controller alone: a cluster of this machine has its scheduler in this process.
        busy = time.thread_time() - work
        history = history_of(log)
        limit = bound(history, setting.workers, apart=executor.apart)
        trained, measured = slept(folder, "network"), slept(folder, "deployment")
        beside = overlapping(measured, measured if executor.apart else [*trained, *measured])
        return {
            **asdict(setting),
            "seconds": took,
            "bound": limit,
            "efficiency": limit / took,
            "controller_share": busy / took,
            "trials": len(history.raw),
            "failed": sum(record.failure is not None for record in history.records),
            "networks": len(trained),
            "trained_twice": len(trained) - len({item.key for item in trained}),
            "measured_beside": len(beside),
        }


def bound(history: History, workers: int, *, apart: bool) -> float:
    """Return the least seconds that this work can take.

    All that may go wide is spread evenly over the workers. Measuring has one lane: on one machine
    nothing else runs meanwhile, and on a machine of its own what is built there has that lane, too.
    """
    spent: dict[str, float] = {}
    for stage in history.stages:
        spent[stage["stage"]] = spent.get(stage["stage"], 0.0) + stage["seconds"]
    wide = spent.pop("network", 0.0) + (0.0 if apart else spent.pop("artifact", 0.0))
    lane = sum(spent.values())
    return max(wide / workers, lane) if apart else wide / workers + lane


@contextmanager
def _executor(setting: Setting, folder: Path, seconds: float) -> Iterator[Executor]:
    with ExitStack() as stack:
        options: Mapping[str, Any] = {"workers": setting.workers}
        if setting.cluster:
            from tests.dask_clusters import local_cluster, two_machines

            make = local_cluster if setting.cluster == "one" else two_machines
            client: Any = stack.enter_context(make(folder, setting.workers))
            options = {"cluster": Cluster(client.scheduler.address)}
        name = "dask" if setting.cluster else "processes"
        executor = load_executor(name, sleeping_setup(folder, seconds=seconds, **options))
        stack.callback(executor.close)
        yield executor


def _get_ready(executor: Executor) -> None:
    """Have every worker started: importing torch takes time, and is paid once a search."""
    pending = [executor.start("network", original(), timeout=60.0) for _ in range(executor.width)]
    if executor.apart:
        pending.append(executor.start("survey", original(), timeout=60.0))
    while pending:
        pending = [item for item in pending if item.poll(0.1) is None]
