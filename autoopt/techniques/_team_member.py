"""What runs in each process of a team: the same training, over its share of every batch."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from autoopt.child import own_pipe, words
from autoopt.errors import DivergedError


def serve() -> None:
    """Train as the pipe says, answer, and end with the pipe."""
    pipe = own_pipe()
    # Ctrl-C is for whoever started this; then the pipe ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = pipe.recv()
    Thread(target=_end_with, args=(pipe,), daemon=True).start()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(_train, job)
        error = done.exception()
    with suppress(OSError):
        if error is not None:
            diverged = isinstance(error, DivergedError)
            said = str(error) if diverged else f"in a training process: {words(error)}"
            pipe.send({"error": said, "diverged": diverged})
        else:
            pipe.send(done.result())
    # Others may still need this process: whoever started it ends it.
    signal.pause()


def _end_with(pipe: Any) -> None:
    """End this process when nobody holds the other end any more, whatever it is at."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os._exit(0)


def _train(job: dict[str, Any]) -> dict[str, Any]:
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import FileStore

    from autoopt import snapshot
    from autoopt.techniques._team import MEETING, Team
    from autoopt.techniques._training import train
    from autoopt.techniques.finetune import own_loss

    team, folder = Team(**job["team"]), Path(job["folder"])
    torch.set_num_threads(job["threads"])
    store = FileStore(str(folder / "meeting"), team.count)
    dist.init_process_group(
        "gloo", store=store, rank=team.rank, world_size=team.count, timeout=MEETING
    )
    model, task = snapshot.load(job["payload"], folder)
    network = train(model, task, own_loss(task), **job["course"], team=team)
    return {"payload": snapshot.dump(network.state_dict(), folder)} if team.rank == 0 else {}
