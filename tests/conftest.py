from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# Examples that build models take as long as the machine is busy: a deadline would only be noise.
# What was green stays green: new examples are looked for on request (HYPOTHESIS_PROFILE=explore).
settings.register_profile("autoopt", deadline=None, database=None, derandomize=True)
settings.register_profile("explore", deadline=None, database=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "autoopt"))

# Temporary files of a test process are deleted at its end, but for `tmp_path`. The lock that lets
# one process measure at a time is among them: figures are not asserted on here, so tests that run
# side by side need not wait for one another.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
_SCRATCH = Path(tempfile.mkdtemp(prefix="autoopt-tests-"))
_SCRATCH.chmod(0o1777)
os.environ["TMPDIR"] = str(_SCRATCH)
tempfile.tempdir = None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(_SCRATCH, ignore_errors=True)


@cache
def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, and say why; `make test` installs chromium."""
    for item in items:
        if item.get_closest_marker("browser") and shutil.which("chromium") is None:
            item.add_marker(pytest.mark.skip(reason="needs chromium on PATH"))
        if item.get_closest_marker("cuda") and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
