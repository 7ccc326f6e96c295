"""The log folded into what is known: records, costs and state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any, TypeVar

from autoopt.constraint import Constraint, drop_constraint, parse_constraints
from autoopt.front import Front
from autoopt.log import Event
from autoopt.measurement import Measurement, Stat
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record
from autoopt.repeats import combined, spreads
from autoopt.settings import Settings

Answer = TypeVar("Answer")


@dataclass
class History:
    """Everything that the events so far say; feed it with `add`.

    Attributes
    ----------
    settings
        Of the search; None before it was asked for.
    study
        Name of its Optuna study.
    raw
        Records as measured first, by number, not yet corrected for the machine's drift.
    again
        Further measurements of records, by number, as measured.
    stages
        One entry a finished stage: number, stage, seconds, key, cached, trained, cost.
    started
        Number to recipe of every candidate that was begun.
    refusals
        What cannot run here, as ``{"when": {slot: {...}}, "reason": ...}``.
    paid
        Networks that an earlier search left in the cache: slot to option and settings.
    builders
        Hash of the code and libraries that make networks and artefacts; empty before the survey.
    notes
        What the controller has to say, in sentences.
    choices
        Numbers that the person chose, oldest first.
    cut_off_seconds
        What candidates took that the end of a run cut off in a stage.
    """

    settings: Settings | None = None
    study: str = ""
    last_id: int = 0
    raw: dict[int, Record] = field(default_factory=dict)
    again: dict[int, tuple[Measurement, ...]] = field(default_factory=dict)
    stages: list[Mapping[str, Any]] = field(default_factory=list)
    started: dict[int, Recipe] = field(default_factory=dict)
    current: Mapping[str, Any] | None = None
    refusals: list[Mapping[str, Any]] = field(default_factory=list)
    paid: list[Mapping[str, Any]] = field(default_factory=list)
    builders: str = ""
    notes: list[str] = field(default_factory=list)
    choices: list[int] = field(default_factory=list)
    memory: dict[int, Stat] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    commands: list[tuple[int, str, Mapping[str, Any]]] = field(default_factory=list)
    cut_off_seconds: float = 0.0
    _answers: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def add(self, events: Iterable[Event]) -> bool:
        """Fold more events in; return whether there were any."""
        before = self.last_id
        for name in ("records", "front", "spreads", "reference_ms"):
            self.__dict__.pop(name, None)
        self._answers.clear()
        for event in events:
            self._fold(event)
            self.last_id = event.id
            if self.runs and event.kind not in ("command", "choice"):
                self.runs[-1]["last"] = event.time
        return self.last_id != before

    def snapshot(self) -> History:
        """Return a copy that stays as it is."""
        copied = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list):
                setattr(copied, name, copy.copy(value))
        copied.runs = [dict(run) for run in self.runs]
        return copied

    def once(self, ask: Callable[[History], Answer]) -> Answer:
        """Return what a function makes of this history, asked again only after more was folded in.

        A panel asks for the same several times a second, and of thousands of records.
        """
        if ask not in self._answers:
            self._answers[ask] = ask(self)
        answer: Answer = self._answers[ask]
        return answer

    def _fold(self, event: Event) -> None:
        payload = event.payload
        match event.kind:
            case "created":
                self.settings = Settings.from_dict(payload["settings"])
                self.study = payload["study"]
            case "opened":
                self._open(event)
            case "refusals":
                self.refusals = list(payload["refusals"])
                self.paid = list(payload.get("paid", ()))
                self.builders = payload.get("builders", "")
            case "note":
                self.notes.append(payload["text"])
            case "started":
                self.started[payload["number"]] = Recipe.from_dict(payload["recipe"])
                self.current = {**payload, "stage": "network"}
            case "stage":
                self._stage(payload)
            case "record":
                self.raw[payload["number"]] = Record.from_dict(payload)
                self.current = None
            case "abandoned":
                self.started.pop(payload["number"], None)
                self.cut_off_seconds += payload.get("seconds", 0.0)
                self.current = None
            case "again":
                self._measured_again(payload)
            case "memory":
                self.memory[payload["number"]] = Stat(**payload["stat"])
            case "command":
                self._command(event.id, payload)
            case "choice":
                self.choices.append(payload["number"])
            case "paused":
                self._pause(event.time, payload["paused"])
            case "finished" if self.runs:
                self.runs[-1]["finished"] = payload
                self.current = None

    def _open(self, event: Event) -> None:
        # A resume opens with the same settings but for the budget. A new search was created with
        # its own, and may have been given more since.
        payload = event.payload
        if self.settings is None or self.runs:
            self.settings = Settings.from_dict(payload["settings"])
        self.runs.append(
            {**payload, "start": payload["launched"], "last": event.time, "id": event.id}
        )
        self.current = None

    def _stage(self, payload: Mapping[str, Any]) -> None:
        self.stages.append(payload)
        shown = self.current
        if shown and payload.get("next") and shown["number"] == payload["number"]:
            self.current = {**shown, "stage": payload["next"]}

    def _measured_again(self, payload: Mapping[str, Any]) -> None:
        number, found = payload["number"], Measurement.from_dict(payload["measurement"])
        self.again[number] = (*self.again.get(number, ()), found)
        seconds = payload["seconds"]
        self.stages.append(
            {"number": number, "stage": "again", "seconds": seconds, "cached": False}
        )

    def _command(self, number: int, payload: Mapping[str, Any]) -> None:
        self.commands.append((number, payload["command"], payload))
        if payload["command"] == "extend" and self.settings is not None:
            budget = self.settings.budget.extended(payload["seconds"], payload["trials"])
            self.settings = replace(self.settings, budget=budget)

    def _pause(self, time: float, paused: bool) -> None:
        run = self.runs[-1]
        since = run.pop("paused_since", None)
        if since is not None:
            run["waited"] = run.get("waited", 0.0) + time - since
        if paused:
            run["paused_since"] = time

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Records in order, timings corrected for the drift of the machine.

        Each was timed beside the original; the median over the search of what the original took
        stands for it, and each timing is scaled by how far the original was from that. What was
        measured several times has the figures of all measurements together.
        """
        reference = self.reference_ms
        return tuple(self._combined(self.raw[number], reference) for number in sorted(self.raw))

    def record(self, number: int) -> Record:
        """Return one record, corrected as in `records`."""
        return self._combined(self.raw[number], self.reference_ms)

    def measurements(self, number: int) -> tuple[Measurement, ...]:
        """Return all measurements of a record in order, each corrected for the drift alone."""
        first, reference = self.raw[number].measurement, self.reference_ms
        found = (first, *self.again.get(number, ())) if first else ()
        return tuple(self._drift_free(measured, number, reference) for measured in found)

    @cached_property
    def spreads(self) -> dict[str, float]:
        """How far each figure moves from one measurement to the next, see `autoopt.repeats`."""
        return spreads(map(self.measurements, self.again), quality=self._quality)

    def spent(self, *, now: float) -> float:
        """Return the wall-clock seconds of all runs, the last one up to `now` unless it ended.

        Waiting in a pause does not count.
        """
        total = 0.0
        for run in self.runs:
            last = run is self.runs[-1] and "finished" not in run
            end = now if last else run["last"]
            total += run.get("paused_since", end) - run["start"] - run.get("waited", 0.0)
        return total

    @cached_property
    def reference_ms(self) -> float | None:
        """Median milliseconds of the original in eager float32 over the whole search."""
        first = (record.outcome for record in self.raw.values())
        times = [
            outcome.reference_ms
            for outcome in (*first, *(m for found in self.again.values() for m in found))
            if isinstance(outcome, Measurement) and outcome.reference_ms
        ]
        return median(times) if times else None

    @property
    def _quality(self) -> str:
        return self.settings.axes[0].name if self.settings else ""

    def _combined(self, record: Record, reference: float | None) -> Record:
        measured = record.outcome
        if isinstance(measured, Failure):
            return record
        if not self.again:
            return replace(record, outcome=self._drift_free(measured, record.number, reference))
        measurements = self.measurements(record.number)
        whole = combined(measurements, self.spreads, quality=self._quality)
        return replace(record, outcome=whole)

    def _drift_free(
        self, measured: Measurement, number: int, reference: float | None
    ) -> Measurement:
        stats = dict(measured.stats)
        if number in self.memory:
            stats["memory"] = self.memory[number]
        if reference and measured.reference_ms:
            factor = reference / measured.reference_ms
            if "latency" in stats:
                stats["latency"] = stats["latency"].scaled(factor)
            if "throughput" in stats:
                stats["throughput"] = stats["throughput"].scaled(1 / factor)
        return replace(measured, stats=stats)

    @property
    def pending(self) -> list[Recipe]:
        """Candidates that were begun and have not ended."""
        return [recipe for number, recipe in self.started.items() if number not in self.raw]

    @property
    def networks(self) -> set[str]:
        """Keys of the recipes of all networks that are there."""
        return {
            self.started[stage["number"]].stage_id("network")
            for stage in self.stages
            if stage["stage"] == "network" and "key" in stage and stage["number"] in self.started
        }

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Bounds of the search; that of `max_drop` only once the original is measured."""
        if self.settings is None:
            return ()
        bounds = list(parse_constraints(self.settings.constraints, self.settings.bounded_axes))
        original = self.raw.get(0)
        if self.settings.max_drop is not None and original is not None:
            bound = drop_constraint(self.settings.axes[0], original, self.settings.max_drop)
            bounds += [bound] if bound else []
        return tuple(bounds)

    @cached_property
    def front(self) -> Front:
        """The Pareto front of the records so far."""
        axes = self.settings.axes if self.settings else ()
        return Front(self.records, axes, self.constraints)

    @property
    def networks_trained(self) -> int:
        """Networks whose weights were trained in this search and not found in the cache."""
        return sum(
            1
            for stage in self.stages
            if stage["stage"] == "network" and stage.get("trained") and not stage["cached"]
        )

    @property
    def artifacts_built(self) -> int:
        """Distinct artefacts that were built in this search and not found in the cache."""
        return len(
            {
                stage["key"]
                for stage in self.stages
                if stage["stage"] == "artifact" and stage.get("key") and not stage["cached"]
            }
        )

    @property
    def work_seconds(self) -> float:
        """Seconds of training, building and measuring, that of a cut off candidate included."""
        return float(sum(stage["seconds"] for stage in self.stages)) + self.cut_off_seconds
