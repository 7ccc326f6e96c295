"""What a stage of one candidate gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autoopt.measurement import Measurement, Stat
from autoopt.record import Failure

Stage = Literal["network", "artifact", "deployment", "memory", "survey"]


@dataclass(frozen=True)
class Built:
    """What a stage left in the cache.

    Attributes
    ----------
    key
        Its key; of a network, ``"original"`` where nothing was changed.
    cached
        Whether it was found and not made now.
    cost
        Seconds that it took when it was made.
    trained
        Whether weights were trained for it, now or when it was made.
    """

    key: str
    cached: bool
    cost: float
    trained: bool = False


@dataclass(frozen=True)
class Survey:
    """What is known before the first candidate.

    Attributes
    ----------
    refusals
        What cannot run here, as ``{"when": {slot: {...}}, "reason": ...}``.
    paid
        Networks that the cache holds and that would be made the same today, oldest first: slot
        to option and settings.
    builders
        Hash of the code and libraries that decide about what a recipe of this space becomes.
    """

    refusals: tuple[Mapping[str, Any], ...] = ()
    paid: tuple[Mapping[str, Any], ...] = ()
    builders: str = ""


@dataclass(frozen=True)
class Done:
    """What a stage gave.

    Attributes
    ----------
    seconds
        Wall-clock seconds of the work itself.
    built
        Of the network and the artifact stage.
    measurement
        Of the deployment stage.
    memory
        Of the memory stage.
    survey
        Of the survey.
    """

    seconds: float
    built: Built | None = None
    measurement: Measurement | None = None
    memory: Stat | None = None
    survey: Survey | None = None


Outcome = Done | Failure
