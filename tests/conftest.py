from __future__ import annotations

import shutil
from functools import cache

import pytest
from hypothesis import settings

# Examples that build models take as long as the machine is busy: a deadline would only be noise.
settings.register_profile("autoopt", deadline=None, database=None)
settings.load_profile("autoopt")


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
