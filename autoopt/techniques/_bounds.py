"""The bounds that settings of several techniques keep, and names of layers that must exist."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches


def check_share(name: str, value: float) -> None:
    """Hold 0 < value < 1."""
    if not 0 < value < 1:
        raise ValueError(f"`{name}` must be above 0 and below 1, but got {value}.")


def check_choice(name: str, value: object, known: Collection[object]) -> None:
    """Hold that a value is one of those known."""
    if value not in known:
        shown = ", ".join(map(repr, known))
        raise ValueError(f"`{name}` must be one of {shown}, but got {value!r}.")


def read_layers(text: str) -> dict[str, float]:
    """Read ``"layer1=0.25, layer2.0=0.5"``: a share for each layer or stage named.

    Raises
    ------
    ValueError
        If an entry is no name with a share from 0 to below 1.
    """
    shares: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in entry.partition("="))
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
