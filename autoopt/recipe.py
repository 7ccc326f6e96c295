"""One point of the joint space in canonical form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from autoopt.techniques import TECHNIQUES
from search_spaces import NEUTRAL, SLOTS, STAGES

STRUCTURAL_SLOTS = ("student", "pruning", "factorization")
"""Slots that cut something out of the network, so that there is something to recover."""

QAT = "qat"
"""The recovery that trains under a quantization, which it thereby fixes."""

FORMAT = 1
"""Version of the YAML that `Recipe.to_yaml` writes."""


@dataclass(frozen=True)
class Pick:
    """The option chosen in one slot, with its settings."""

    option: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """An ordered choice per slot.

    Build it with `of`, which fills absent slots with the option that changes nothing and brings
    equivalent points to one form; two recipes that mean the same are equal and share their `id`.

    Attributes
    ----------
    choices
        ``((slot, option, ((setting, value), ...)), ...)`` in the order of the slots.
    """

    choices: tuple[tuple[str, str, tuple[tuple[str, Any], ...]], ...]

    @classmethod
    def of(cls, point: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Recipe:
        """Build from ``{slot: (option, settings)}``.

        A recovery of ours without anything cut out is dropped: there is nothing to recover, and to
        train the original further is not compression. A person's own stays: it may be meant for it.
        Training for a quantization is no such thing either; it is followed by that quantization,
        whatever else was chosen.

        Raises
        ------
        ValueError
            If a slot is unknown, or a setting has the name that stands for the option itself.
        """
        unknown = sorted(set(point) - set(SLOTS))
        if unknown:
            raise ValueError(f"unknown slot {unknown[0]!r}; known: {', '.join(SLOTS)}")
        for slot, (option, settings) in point.items():
            if "option" in settings:
                raise ValueError(
                    f"a setting must not be named 'option', but {slot} {option!r} has one: "
                    "rename it"
                )
        chosen = {slot: point.get(slot, (NEUTRAL[slot], {})) for slot in SLOTS}
        recovery, settings = chosen["recovery"]
        ours = recovery in TECHNIQUES["recovery"]
        if recovery == QAT:
            chosen["quantization"] = trained_for(settings)
        elif ours and all(chosen[slot][0] == NEUTRAL[slot] for slot in STRUCTURAL_SLOTS):
            chosen["recovery"] = (NEUTRAL["recovery"], {})
        return cls(
            tuple(
                (slot, option, tuple((name, _plain(settings[name])) for name in sorted(settings)))
                for slot, (option, settings) in chosen.items()
            )
        )

    @cached_property
    def picks(self) -> Mapping[str, Pick]:
        """Slot to its choice."""
        return {slot: Pick(option, dict(settings)) for slot, option, settings in self.choices}

    def __getitem__(self, slot: str) -> Pick:
        """Return the choice in one slot."""
        return self.picks[slot]

    def point(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return ``{slot: (option, settings)}``, as `of` takes it."""
        return {slot: (option, dict(settings)) for slot, option, settings in self.choices}

    def replaced(self, **slots: tuple[str, Mapping[str, Any]]) -> Recipe:
        """Return this recipe with other choices in some slots."""
        return Recipe.of({**self.point(), **slots})

    def prefix(self, stage: str) -> tuple[tuple[str, str, tuple[tuple[str, Any], ...]], ...]:
        """Return the choices up to and including one stage."""
        slots: list[str] = []
        for name, members in STAGES.items():
            slots.extend(members)
            if name == stage:
                return tuple(choice for choice in self.choices if choice[0] in slots)
        raise ValueError(f"unknown stage {stage!r}; known: {', '.join(STAGES)}")

    def stage_id(self, stage: str) -> str:
        """Return the hash of the choices up to and including one stage."""
        text = json.dumps(self.prefix(stage), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def id(self) -> str:
        """Hash of the whole recipe, the same in every process."""
        return self.stage_id("deployment")

    @property
    def is_original(self) -> bool:
        """Say whether the network stage changes nothing."""
        return all(self[slot].option == NEUTRAL[slot] for slot in STAGES["network"])

    @property
    def keeps_its_extent(self) -> bool:
        """Say whether recovery leaves the sizes of files alone: shapes, and that few are zero.

        A person's own may do anything; training for few bits makes zeros of small weights.
        """
        recovery = self["recovery"].option
        return recovery != QAT and recovery in TECHNIQUES["recovery"]

    @property
    def summary(self) -> str:
        """The recipe in a few words: ``width 0.5 · distill 6 epochs · static int8 · openvino``."""
        options = {slot: option for slot, option, _ in self.choices}
        return " · ".join(
            self.words(slot) for slot in options if options[slot] not in ("none", "default")
        )

    def words(self, slot: str) -> str:
        """Return the choice in one slot in a few words: ``width 0.5``."""
        pick = self[slot]
        return _words(slot, pick.option, dict(pick.settings))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: slot to option and settings."""
        return {
            slot: {"option": option, **dict(settings)} for slot, option, settings in self.choices
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Build from what `to_dict` gave.

        Raises
        ------
        ValueError
            If a slot is unknown or holds no option.
        """
        point = {}
        for slot, value in data.items():
            if not isinstance(value, Mapping) or "option" not in value:
                raise ValueError(
                    f"every slot of a recipe must hold an `option`, but {slot!r} holds {value!r}"
                )
            settings = {name: item for name, item in value.items() if name != "option"}
            point[slot] = (str(value["option"]), settings)
        return cls.of(point)

    def to_yaml(self) -> str:
        """Return the recipe as commented, versioned YAML."""
        body = yaml.safe_dump({"format": FORMAT, "recipe": self.to_dict()}, sort_keys=False)
        # A line break in a setting would end the comment and become part of the recipe.
        comment = "".join(c if c.isprintable() else " " for c in self.summary)
        return f"# autoopt recipe: {comment}\n{body}"

    @classmethod
    def from_yaml(cls, source: str | Path) -> Recipe:
        """Read what `to_yaml` wrote, from a path or from the text itself.

        Raises
        ------
        ValueError
            If it is no recipe or of a newer format.
        """
        text = source.read_text() if isinstance(source, Path) else source
        data = yaml.safe_load(text)
        if not isinstance(data, Mapping) or not isinstance(data.get("recipe"), Mapping):
            raise ValueError("a recipe must be a mapping with `format` and `recipe`")
        if data.get("format") != FORMAT:
            raise ValueError(
                f"recipe format {data.get('format')!r} cannot be read here; this version of "
                f"autoopt reads format {FORMAT}: install a newer autoopt"
            )
        return cls.from_dict(data["recipe"])


def trained_for(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the quantization that quantization-aware training with these settings is for.

    8 bits are for computing in integers, fewer for storing weights.
    """
    bits, scheme = settings.get("bits", 8), settings.get("scheme", "symmetric")
    if bits == 8:
        return "calibrated_int8", {
            "granularity": "per_channel", "calibration": "minmax", "activations": scheme,
            "sensitive": 0,
        }  # fmt: skip
    return "packed", {
        "bits": bits, "scheme": scheme, "group": 0, "keep": "none", "calibration": "usual"
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a whole number as an integer: 4 and 4.0 mean the same, so they must hash the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _words(slot: str, option: str, settings: dict[str, Any]) -> str:
    """Return one choice in a few words."""
    name = option.replace("_", " ")
    match slot, option:
        case "quantization", "weight_only" | "packed" | "mixed" | "codebook" | "binary":
            return _stored_words(option, settings)
        case "quantization", "budgeted":
            return f"weights of {settings.get('mean_bits', 4.0):g} bits on average"
        case "parallel", "tuned" | "inter_op" | "processes" | "batching":
            return _spread_words(option, settings)
        case "recovery", "qat":
            epochs = settings.get("epochs", 4)
            return f"qat int{settings.get('bits', 8)} {epochs} epochs"
        case "recovery", _ if "epochs" in settings:
            return f"{name} {settings['epochs']} epochs"
        case "quantization", "static_int8" | "calibrated_int8":
            plain = ("per_channel", "none", "minmax", "affine", 0)
            extras = [
                f"{value:.0%} of layers in float" if key == "sensitive"
                else str(value).replace("_", " ")
                for key, value in settings.items()
                if value not in plain
            ]  # fmt: skip
            return " ".join(["static int8", *extras])
    values = " ".join(f"{value:g}" if isinstance(value, float) else str(value)
                      for key, value in settings.items()
                      if value not in ("", "none") and (key, value) != ("slope", 0))  # fmt: skip
    return f"{name} {values}".strip()


def _spread_words(option: str, settings: Mapping[str, Any]) -> str:
    """Return in a few words how a request is spread: ``2 threads × 2 replicas, batch 8``."""
    threads, replicas = settings.get("threads"), settings.get("replicas")
    if option == "inter_op":
        return f"{threads} threads × {settings.get('inter_op')} operators at a time"
    for parts in ("stages", "shards"):
        if parts in settings:
            pinned = ", pinned" if settings.get("pinned") else ""
            return f"{threads} threads × {settings[parts]} {parts}{pinned}"
    copies = "processes" if option == "processes" else "replicas"
    if option == "batching":
        gather, delay = settings.get("gather"), settings.get("delay_ms")
        return f"{threads} threads × {replicas} {copies}, gathers {gather} in {delay} ms"
    pinned = ", pinned" if settings.get("pinned") else ""
    batch = settings.get("batch") or "whole"
    return f"{threads} threads × {replicas} {copies}, batch {batch}{pinned}"


def _stored_words(option: str, settings: Mapping[str, Any]) -> str:
    """Return in a few words how weights are stored: ``weights int4, groups of 32``."""
    kinds = {"codebook": f"codebook of {settings.get('clusters')}", "binary": "binary weights"}
    words = [kinds.get(option, f"weights int{settings.get('bits')}")]
    if option == "mixed":
        share, raised = settings.get("share", 0.25), settings.get("raised", 8)
        more = "float32" if raised == 32 else f"int{raised}"
        words.append(f"{share:.0%} {more} by {settings.get('order', 'sensitivity')}")
    if settings.get("scheme") == "affine":
        words.append("affine")
    if settings.get("group"):
        words.append(f"groups of {settings['group']}")
    if settings.get("granularity", "per_channel") != "per_channel":
        words.append(str(settings["granularity"]).replace("_", " "))
    if settings.get("calibration", "usual") != "usual":
        words.append(f"{settings['calibration']} ranges")
    if settings.get("keep", "none") != "none":
        words.append(str(settings["keep"]).replace("_", " "))
    return ", ".join(words)
