"""What runs in a replica process: an artefact that answers what comes through a pipe."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from autoopt.child import own_pipe, words


def serve() -> None:
    """Open the artefact that the pipe names and answer until the pipe ends."""
    pipe = own_pipe()
    # Ctrl-C is for whoever started this; then the pipe ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = pipe.recv()
    if job["cores"]:
        # Before any library starts a thread: they inherit it.
        os.sched_setaffinity(0, job["cores"])
    from concurrent.futures import ThreadPoolExecutor

    from autoopt.interfaces import Parallel
    from autoopt.runtimes.opening import open_artifact
    from autoopt.runtimes.shared_arrays import SharedArrays

    inputs, outputs = (SharedArrays(int(text)) for text in sys.argv[2:4])
    parallel = Parallel(**job["parallel"])
    # A future carries whatever the runtime raises back to the caller.
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(
            open_artifact, Path(job["folder"]), parallel, trust_code=job["trust_code"]
        )
        if (error := opened.exception()) is not None:
            pipe.send({"error": words(error)})
            return
        deployment = opened.result()
        pipe.send({"cores": sorted(os.sched_getaffinity(0))})
        while True:
            try:
                places = pipe.recv()
            except EOFError:
                break
            done = pool.submit(lambda arrays: deployment(*arrays), inputs.read(places))
            if (error := done.exception()) is not None:
                pipe.send({"error": words(error)})
            else:
                pipe.send({"places": outputs.write([done.result()])})
        deployment.close()
