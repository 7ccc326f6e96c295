"""Which settings mattered for each objective, by Optuna's evaluators."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from autoopt.controller.study import Study
from autoopt.history import History

FEWEST = 10
"""Trials below which an evaluator fits noise."""


def importances(history: History, *, seed: int = 0) -> list[dict[str, float | str]]:
    """Return how much each slot, and each setting within an option, moves each objective.

    Parameters
    ----------
    history
        Of an opened search.
    seed
        Of the random forests.

    Returns
    -------
    list of dict
        ``objective``, ``slot``, ``option``, ``setting`` (the last two empty for a slot as a
        whole), ``importance`` (shares of one among those compared) and ``trials``.

    Notes
    -----
    Functional analysis of variance (Hutter, Hoos and Leyton-Brown, ICML 2014) on random forests.
    Settings of an option are compared only among the trials that chose it, since elsewhere they
    do not exist.
    """
    if history.settings is None:
        return []
    study = Study(
        history.settings.space,
        history.settings.axes,
        sampler=optuna.samplers.RandomSampler(seed),
        storage=None,
        name="importance",
    )
    study.rebuild(history.records, history.constraints)
    trials = [t for t in study.trials if t.state == TrialState.COMPLETE]
    slots = list(history.settings.space.slots)
    names = sorted({name for trial in trials for name in trial.params})
    options = sorted({name.rpartition(".")[0] for name in names if "." in name})
    groups = [
        [slot for slot in slots if slot in names],
        *([n for n in names if n.rpartition(".")[0] == option] for option in options),
    ]
    rows: list[dict[str, float | str]] = []
    for place, axis in enumerate(history.settings.axes):
        for group in groups:
            found, count = _evaluated(trials, group, place, axis.direction, seed)
            for name, share in found.items():
                slot, _, rest = name.partition(".")
                option, _, setting = rest.rpartition(".")
                rows.append(
                    {
                        "objective": axis.name,
                        "slot": slot,
                        "option": option,
                        "setting": setting,
                        "importance": share,
                        "trials": count,
                    }
                )
    return rows


def _evaluated(
    trials: Sequence[optuna.trial.FrozenTrial],
    names: Sequence[str],
    place: int,
    direction: Literal["minimize", "maximize"],
    seed: int,
) -> tuple[dict[str, float], int]:
    """Return the importances of parameters among the trials that have all of them."""
    fitting = [t for t in trials if all(name in t.params for name in names)]
    varied = [n for n in names if len({str(trial.params[n]) for trial in fitting}) > 1]
    values = {t.values[place] for t in fitting}
    # A setting alone would have all of the importance, which says nothing.
    if len(fitting) < FEWEST or len(varied) < 2 or len(values) < 2:
        return {}, len(fitting)
    study = optuna.create_study(direction=direction)
    for trial in fitting:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in varied},
                distributions={name: trial.distributions[name] for name in varied},
                value=trial.values[place],
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = FanovaImportanceEvaluator(n_trees=32, seed=seed)
        return get_param_importances(study, evaluator=evaluator), len(fitting)
