"""Programs of torch on a device with memory of its own: requests go there and answers come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoopt.devices import CPU
from autoopt.errors import ArtifactError
from autoopt.runtimes.deployment import chunk_sizes

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel
    from autoopt.runtimes.artifact import Manifest

    Call = Callable[..., torch.Tensor]


def device_of_artifact(manifest: Manifest) -> torch.device:
    """Return the device that an artefact runs on: the one it was built on, else the first.

    Raises
    ------
    ArtifactError
        If it was built for a CUDA device and there is none.
    """
    device = torch.device(manifest.options.get("device", CPU))
    if device.type == CPU:
        return device
    if not torch.cuda.is_available():
        raise ArtifactError(
            "this artefact was built for a CUDA device, but torch finds none here; run it where "
            "there is one, or build it with target='cpu'."
        )
    index = device.index or 0
    return torch.device(device.type, index if index < torch.cuda.device_count() else 0)


class DeviceDeployment:
    """Answers requests on a device, one after the other, chunk by chunk.

    Parameters
    ----------
    call
        Tensors on the device in, one there out, first axis samples.
    device
        Where.
    parallel
        Gives the batch.
    fixed
        The only number of samples that `call` takes, or None; short chunks are filled up with the
        last sample, and what comes out of that is thrown away.
    """

    def __init__(
        self, call: Call, device: torch.device, parallel: Parallel, fixed: int | None = None
    ) -> None:
        self.device = str(device)
        self._place = device
        self._call: Call | None = call
        self._parallel = parallel
        self._fixed = fixed
        # Some calls keep their inputs and outputs in one place, as recorded graphs do.
        self._lock = Lock()

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request: arrays whose first axis is samples, in the order of the inputs."""
        chunks = self._placed(inputs)
        sizes = chunk_sizes(len(inputs[0]), self._parallel, self._fixed)
        with self._lock, torch.inference_mode():
            found = [part[:size] for part, size in zip(self._run(chunks), sizes, strict=True)]
            answer: Array = torch.cat(found).to(CPU).numpy()
        return answer

    def placed(self, *inputs: Array) -> Callable[[], object]:
        """Bring a request to the device; return a call that answers it there."""
        chunks = self._placed(inputs)

        def call() -> object:
            with self._lock, torch.inference_mode():
                return self._run(chunks)

        return call

    def close(self) -> None:
        """Give the device's memory back; later requests raise ValueError."""
        with self._lock:
            self._call = None
            if self._place.type == "cuda":
                torch.cuda.empty_cache()

    def _run(self, chunks: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
        if self._call is None:
            raise ValueError("this deployment is closed; load the artefact again.")
        return [self._call(*chunk) for chunk in chunks]

    def _placed(self, inputs: Sequence[Array]) -> list[list[torch.Tensor]]:
        """Return a request's chunks as tensors on the device."""
        chunks, start = [], 0
        for size in chunk_sizes(len(inputs[0]), self._parallel, self._fixed):
            # Copies: the caller's memory may be read-only, and change meanwhile.
            parts: list[Any] = [np.array(array[start : start + size]) for array in inputs]
            missing = (self._fixed or size) - len(parts[0])
            filled = [np.concatenate([x, x[-1:].repeat(missing, axis=0)]) for x in parts]
            chunks.append([torch.from_numpy(part).to(self._place) for part in filled])
            start += size
        return chunks
