"""What runs in each process of a divided network: its part, and the exchange with the others."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autoopt.child import own_pipe, words
from autoopt.errors import RefusedError

if TYPE_CHECKING:
    import torch

    from autoopt.interfaces import Array
    from autoopt.runtimes.shared_arrays import SharedArrays

MEETING = timedelta(seconds=60)
"""How long processes wait for each other when they start."""


class Part(Protocol):
    """What one process holds of a network."""

    def run(self, chunks: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor] | None:
        """Compute its part of all chunks; return the answers, or None if another has them."""


def serve() -> None:
    """Open a part of the artefact that the pipe names and compute it until the pipe ends."""
    pipe = own_pipe()
    # Ctrl-C is for whoever started this; then the pipe ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = pipe.recv()
    if job["cores"]:
        # Before any library starts a thread: they inherit it.
        os.sched_setaffinity(0, job["cores"])
    from autoopt.runtimes.shared_arrays import SharedArrays

    inputs, outputs = (SharedArrays(int(text)) for text in sys.argv[2:4])
    # One thread does all the work, and a future carries what it raises.
    pool = ThreadPoolExecutor(1)
    opened = pool.submit(_open, job)
    if (error := opened.exception()) is not None:
        refused = isinstance(error, RefusedError)
        pipe.send({"error": str(error) if refused else words(error), "refused": refused})
        _leave()
    part = opened.result()
    pipe.send({"cores": sorted(os.sched_getaffinity(0))})
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            _leave()
        done = pool.submit(_answer, part, message, inputs, outputs)
        # One whose owner has died has nobody to tell.
        with suppress(OSError):
            if (error := done.exception()) is not None:
                pipe.send({"error": words(error)})
            else:
                pipe.send({"places": done.result()} if done.result() else {})


def _leave() -> None:
    """End this process without waiting for a thread that waits for another process."""
    sys.stderr.flush()
    os._exit(0)


def _open(job: dict[str, Any]) -> Part:
    """Meet the other processes, and keep a part of the program."""
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import FileStore

    from autoopt.interfaces import Parallel
    from autoopt.runtimes.artifact import read_manifest
    from autoopt.runtimes.torch_files import read_program

    parallel, rank = Parallel(**job["parallel"]), job["rank"]
    torch.set_num_threads(parallel.share)
    folder = Path(job["folder"])
    program = read_program(folder, read_manifest(folder), trust_code=job["trust_code"])
    part = _part(program, parallel, rank)
    dist.init_process_group(
        "gloo",
        store=FileStore(job["meeting"], parallel.divided),
        rank=rank,
        world_size=parallel.divided,
        timeout=MEETING,
    )
    # Nobody comes too late for the file, which goes when all have met.
    dist.barrier()
    return part


def _part(program: Any, parallel: Any, rank: int) -> Part:
    if parallel.stages > 1:
        from autoopt.runtimes.stages import Stage

        return Stage.of(program, rank, parallel.stages)
    from autoopt.runtimes.shards import Shard

    return Shard.of(program, rank, parallel.shards)


def _answer(
    part: Part, message: dict[str, Any], inputs: SharedArrays, outputs: SharedArrays
) -> list[Any] | None:
    """Compute a request; return where the answer lies, where it is this process that has it."""
    import numpy as np
    import torch

    arrays: list[Array] = inputs.read(message["places"])
    starts = np.cumsum([0, *message["sizes"]])
    with torch.inference_mode():
        chunks = [
            [torch.from_numpy(array[start : start + size]) for array in arrays]
            for start, size in zip(starts, message["sizes"], strict=False)
        ]
        answers = part.run(chunks)
        if answers is None:
            return None
        return outputs.write([torch.cat(answers).numpy()])
