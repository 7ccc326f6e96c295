"""Write a strategy as a folder that runs on its own."""

from __future__ import annotations

from autoopt.exporting.described import Meaning, check_meaning
from autoopt.exporting.folder import check_destination, check_runs_alone, export_strategy
from autoopt.exporting.recipe_text import recipe_text
from autoopt.exporting.sections import FRONT, STEPS

__all__ = [
    "FRONT",
    "STEPS",
    "Meaning",
    "check_destination",
    "check_meaning",
    "check_runs_alone",
    "export_strategy",
    "recipe_text",
]
