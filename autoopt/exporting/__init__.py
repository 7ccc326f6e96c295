"""Write a strategy as a folder that runs on its own."""

from __future__ import annotations

from autoopt.exporting.described import Meaning
from autoopt.exporting.folder import export_strategy
from autoopt.exporting.recipe_text import recipe_text

__all__ = ["Meaning", "export_strategy", "recipe_text"]
