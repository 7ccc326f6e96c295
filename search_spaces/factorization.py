"""Layers replaced by products of smaller ones: the third slot."""

from __future__ import annotations

from search_spaces.menu import Options

__all__ = ["FACTORIZATION"]

FACTORIZATION: Options = {
    "none": {},
}
