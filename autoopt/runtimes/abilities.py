"""Words for what a runtime does in a precision on a target."""

from __future__ import annotations

PRECISIONS = (
    "float32", "bfloat16", "float16", "static int8", "dynamic int8", "stored weights",
)  # fmt: skip
"""What every runtime says something about."""

COMPUTES = "computes"
STORED = "storage only: weights are unpacked to float32"
NOT_HERE = "{} run on the processor only"
