"""Is the latency that a search reports what an independent script measures of the export?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from autoopt.demo.data import digits
from autoopt.demo.model import train_model
from search_spaces import quick

if TYPE_CHECKING:
    from autoopt.handle.handle import Search

REQUEST = 16
THREADS = 2
TRIALS = 8
RUNS = 3
"""Fresh processes that time the export; their median counts."""

SCRIPT = """
import sys, time
import numpy as np
path, samples, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
images = np.random.default_rng(0).standard_normal((samples, 1, 32, 32)).astype(np.float32)
if path.endswith(".onnx"):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    call = lambda: session.run(None, {session.get_inputs()[0].name: images})
else:
    import openvino
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": sys.argv[4]}
    request = openvino.Core().compile_model(path, "CPU", config).create_infer_request()
    call = lambda: request.infer([images])
times, end = [], time.perf_counter() + 4
while time.perf_counter() < end:
    start = time.perf_counter(); call(); times.append(time.perf_counter() - start)
print(1e3 * np.median(times[len(times) // 4:]))
"""


def run() -> dict[str, float]:
    """Search briefly, export the pick, and time its file by a script that knows no autoopt."""
    model, _ = train_model(epochs=2)
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as scratch:
        search = _search(model, Path(scratch))
        pick = search.best()
        pick.export(Path(scratch) / "export")
        reported = pick.measurement.stats["latency"]
        script = median(time_export(Path(scratch) / "export") for _ in range(RUNS))
    return {
        "agreement": abs(reported.value - script) / script,
        "reported_ms": reported.value,
        "reported_low_ms": reported.low,
        "reported_high_ms": reported.high,
        "script_ms": script,
    }


def _search(model: object, folder: Path) -> Search:
    import autoopt

    space = quick().narrow(
        student=["none"],
        pruning=["none"],
        recovery=["none"],
        quantization=["float32", "static_int8"],
        runtime=["onnxruntime", "openvino"],
        parallel=["default"],
    )
    return autoopt.search(
        model,  # type: ignore[arg-type]  # a module; typed as object to keep torch out of here
        digits(),
        budget=f"{TRIALS} trials",
        space=space,
        folder=folder / "search",
        cache=folder / "cache",
        request_size=REQUEST,
        threads=THREADS,
        block=True,
    )


def time_export(folder: Path) -> float:
    """Return the median milliseconds of a request to an export, timed in a fresh process."""
    manifest = json.loads(next(folder.rglob("artifact.json")).read_text(encoding="utf-8"))
    path = next(folder.rglob(manifest["model"]))
    words = [str(path), str(REQUEST), str(THREADS), str(manifest["options"].get("hint", "f32"))]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True
    )
    return float(done.stdout)
