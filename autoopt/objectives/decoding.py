"""How fast a language model reads and writes, with its own cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autoopt.devices import PlacedDeployment
from autoopt.errors import RefusedError
from autoopt.interfaces import Decoder, Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.timing import Paired, time_pairs
from autoopt.task.causal import refuse_decoding

if TYPE_CHECKING:
    from autoopt.interfaces import Array
    from autoopt.task import Task


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of the request's texts that are read a second: all at once, before any is written."""

    decodes: ClassVar[bool] = True
    name: str = "prompt_tokens"
    unit: str = "1/s"
    direction: str = "maximize"
    exclusive: bool = True

    def refuse_task(self, task: Task) -> str | None:
        """Say why the model does not read token after token, or None."""
        return refuse_decoding(task)

    def measure(self, probe: Probe) -> Reading:
        """Time the reading of the whole texts."""
        decoder, tokens = _opened(probe)
        paired = _timed(probe, lambda: decoder.prompt(tokens))
        return _rate(paired, probe, tokens.size, self.unit, texts=len(tokens))


@dataclass(frozen=True)
class DecodeTokens:
    """Tokens that are written a second, one after the other for all texts of the request.

    The first half of each text is read beforehand; then, until the text's length, the likeliest
    token is written and read again, with the keys and values of all before it.
    """

    decodes: ClassVar[bool] = True
    name: str = "decode_tokens"
    unit: str = "1/s"
    direction: str = "maximize"
    exclusive: bool = True

    def refuse_task(self, task: Task) -> str | None:
        """Say why the model does not write token after token, or None."""
        return refuse_decoding(task)

    def measure(self, probe: Probe) -> Reading:
        """Time the writing alone."""
        decoder, tokens = _opened(probe)
        half = max(1, tokens.shape[1] // 2)
        steps = tokens.shape[1] - half
        scores, past = decoder.prompt(tokens[:, :half])
        first = _likeliest(scores)

        def write() -> None:
            chosen, known = first, past
            for _ in range(steps):
                answer, known = decoder.step(chosen, known)
                chosen = _likeliest(answer)

        paired = _timed(probe, write)
        facts = {"texts": len(tokens), "prompt": half, "steps": steps}
        return _rate(paired, probe, len(tokens) * steps, self.unit, **facts)


@dataclass(frozen=True)
class FirstToken:
    """Milliseconds until the first token stands: the whole texts read, the likeliest chosen."""

    decodes: ClassVar[bool] = True
    name: str = "first_token"
    unit: str = "ms"
    direction: str = "minimize"
    exclusive: bool = True

    def refuse_task(self, task: Task) -> str | None:
        """Say why the model does not write token after token, or None."""
        return refuse_decoding(task)

    def measure(self, probe: Probe) -> Reading:
        """Time reading and choosing."""
        decoder, tokens = _opened(probe)
        paired = _timed(probe, lambda: _likeliest(decoder.prompt(tokens)[0]))
        ratio, reference_ms = paired.ratio(), paired.reference_ms()
        stat = Stat(
            reference_ms / ratio.value,
            reference_ms / ratio.high,
            reference_ms / ratio.low,
            ratio.n,
            self.unit,
        )
        protocol = {**paired.protocol(probe.seconds), "tokens": int(tokens.size)}
        return Reading(stat, protocol=protocol)


def _opened(probe: Probe) -> tuple[Decoder, Array]:
    """Return the candidate's decoder and the tokens of the request."""
    if probe.decoder is None:
        raise RefusedError("this candidate cannot be asked for one token after the other.")
    if isinstance(probe.deployment, PlacedDeployment):
        raise RefusedError(
            f"one token after the other is timed on the processor only, but this candidate runs on "
            f"{probe.deployment.device!r}; ask for latency or throughput."
        )
    decoder = probe.decoder()
    return decoder, decoder.tokens(list(probe.request))


def _timed(probe: Probe, call: Callable[[], Any]) -> Paired:
    """Time a call in turn with the original's answer, so that a drift of the machine cancels."""
    reference = probe.reference or probe.deployment
    return time_pairs(call, lambda: reference(*probe.request), seconds=probe.seconds)


def _rate(paired: Paired, probe: Probe, count: int, unit: str, **facts: int) -> Reading:
    """Return how often a second something was done that a call does `count` times."""
    ratio, reference_ms = paired.ratio(), paired.reference_ms()
    scale = 1e3 * count / reference_ms
    stat = Stat(scale * ratio.value, scale * ratio.low, scale * ratio.high, ratio.n, unit)
    return Reading(stat, protocol={**paired.protocol(probe.seconds), "tokens": count, **facts})


def _likeliest(scores: Array) -> Array:
    """Return the likeliest token after the last one, of shape (texts, 1)."""
    found: Array = scores[:, -1:].argmax(axis=-1)
    return found
