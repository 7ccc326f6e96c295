"""How many networks a budget allows: each deserves its completions."""

from __future__ import annotations

from autoopt.history import History

TRIALS_A_NETWORK = 6
"""A budget in trials allows one trained network for so many trials."""

SECONDS_A_NETWORK = 30.0
"""A budget in seconds allows one trained network for so many."""


def may_train_more(history: History) -> bool:
    """Say whether the budget allows another network; those from the cache count as well.

    So a second run of the same search stops at about the same network.
    """
    if history.settings is None:
        return True
    budget = history.settings.budget
    trained = {
        stage["key"]
        for stage in history.stages
        if stage["stage"] == "network" and stage.get("trained")
    }
    if budget.trials is not None and len(trained) >= max(1, budget.trials // TRIALS_A_NETWORK):
        return False
    return budget.seconds is None or len(trained) < max(1, budget.seconds // SECONDS_A_NETWORK)
