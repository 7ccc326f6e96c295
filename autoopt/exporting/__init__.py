"""Write a strategy as a folder that runs on its own."""

from __future__ import annotations

from autoopt.exporting.folder import export_strategy

__all__ = ["export_strategy"]
