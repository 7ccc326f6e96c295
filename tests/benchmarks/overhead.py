"""What the search costs beside training, building and measuring."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import autoopt
from autoopt.demo.data import digits
from autoopt.demo.model import train_model
from autoopt.handle.handle import Search

IMPORTS = 7
BUDGET_SECONDS = 300.0
RERUN_TRIALS = 30

_IMPORT = "import time; t = time.perf_counter(); import autoopt; print(time.perf_counter() - t)"


def run() -> dict[str, float]:
    """Search the digits twice over one cache and time the import in fresh processes."""
    model, _ = train_model()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        timed = _search(model, root / "timed", root / "cache-timed", budget=BUDGET_SECONDS)
        history = timed.strategies[0].history
        elapsed = timed.status.seconds_elapsed
        first = _search(model, root / "first", root / "cache", budget=f"{RERUN_TRIALS} trials")
        start = time.perf_counter()
        again = _search(model, root / "again", root / "cache", budget=f"{RERUN_TRIALS} trials")
        rerun = time.perf_counter() - start
        return {
            "orchestration_share": 1 - history.work_seconds / elapsed,
            "import_seconds": median(_import_seconds() for _ in range(IMPORTS)),
            "first_run_seconds": first.status.seconds_elapsed,
            "cached_rerun_seconds": rerun,
            "cached_rerun_networks_trained": float(again.status.networks_trained),
        }


def _search(model: object, folder: Path, cache: Path, *, budget: float | str) -> Search:
    search: Search = autoopt.search(
        model,  # type: ignore[arg-type]  # a module; typed as object to keep torch out of here
        digits(),
        budget=budget,
        space="quick",
        folder=folder,
        cache=cache,
        request_size=16,
        threads=2,
        max_drop=0.01,
        block=True,
    )
    return search


def _import_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True)
    return float(done.stdout)
