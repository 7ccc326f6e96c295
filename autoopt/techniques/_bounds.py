"""The types and bounds that settings keep, and names of layers that must exist."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from numbers import Integral, Real


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Hold that a value is a finite number within bounds."""
    rules = (("above", above), ("at least", least), ("below", below), ("at most", most))
    words = [f"{word} {bound:g}" for word, bound in rules if bound is not None]
    if below is None and most is None:
        words.append("finite")
    rule = " and ".join(words)
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"`{name}` must be a number {rule}, but got {value!r}.")
    number = float(value)
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (below is not None and number >= below)
        or (most is not None and number > most)
    ):
        raise ValueError(f"`{name}` must be {rule}, but got {value}.")


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Hold that a value is a whole number within bounds."""
    rule = f"at least {least}" if most is None else f"from {least} to {most}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"`{name}` must be a whole number of {rule}, but got {value!r}.")
    if int(value) < least or (most is not None and int(value) > most):
        raise ValueError(f"`{name}` must be {rule}, but got {value}.")


def check_share(name: str, value: object) -> None:
    """Hold 0 < value < 1."""
    check_number(name, value, above=0, below=1)


def check_choice(name: str, value: object, known: Collection[object]) -> None:
    """Hold that a value is one of those known, and of their type: 4.0 is no number of bits."""
    if not any(isinstance(value, type(one)) and value == one for one in known):
        shown = ", ".join(map(repr, known))
        raise ValueError(f"`{name}` must be one of {shown}, but got {value!r}.")


def check_text(name: str, value: object) -> None:
    """Hold that a value is text."""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be text, but got {value!r}.")


def read_layers(text: str) -> dict[str, float]:
    """Read ``"layer1=0.25, layer2.0=0.5"``: a share for each layer or stage named.

    Raises
    ------
    ValueError
        If an entry is no name with a share from 0 to below 1.
    """
    check_text("layers", text)
    shares: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name in shares:
            raise ValueError(f"`layers` must name each layer once, but got {name!r} twice.")
        try:
            shares[name] = float(value)
        except ValueError:
            shares[name] = -1.0
        if not name or not 0 <= shares[name] < 1:
            raise ValueError(
                "`layers` must name layers or stages with a share of at least 0 and below 1, as in "
                f"'layer1=0.25, layer2.0=0.5', but got {entry!r}."
            )
    return shares


def missing_layer(shares: Mapping[str, float], known: Collection[str]) -> str | None:
    """Say which name is neither one of the layers known nor a stage that holds one, or None."""
    for name in shares:
        if not any(layer == name or layer.startswith(f"{name}.") for layer in known):
            near = get_close_matches(name, known, n=3, cutoff=0.0)
            return (
                f"there is no layer {name!r} that could be cut; the nearest are "
                f"{', '.join(map(repr, near)) or 'none'}"
            )
    return None


def share_of(name: str, shares: Mapping[str, float], default: float) -> float:
    """Return the share of a layer: its own, else that of the innermost stage named, else one."""
    fitting = [stage for stage in shares if name == stage or name.startswith(f"{stage}.")]
    return shares[max(fitting, key=len)] if fitting else default
