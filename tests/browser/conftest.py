"""Fixtures that drive a notebook in a real JupyterLab with a real Chromium.

``lab``            one server a session, with settings and notebooks of its own
``browser``        one Chromium a session
``open_notebook``  writes a notebook, opens it in a page of its own, gives a `LabNotebook`
``artefacts``      a folder for screenshots: ``$AUTOOPT_TEST_ARTEFACTS``, else a temporary one
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, LabNotebook, chromium_path, running_lab, watch


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_notebook(browser: Browser, lab: Lab) -> Iterator[Callable[..., LabNotebook]]:
    opened: list[LabNotebook] = []

    def open_one(
        cells: Sequence[str], *, app: str = "lab/tree", width: int = 1280, height: int = 1000
    ) -> LabNotebook:
        name = f"test-{os.urandom(4).hex()}.ipynb"
        lab.write_notebook(name, cells)
        page = browser.new_page(viewport={"width": width, "height": height})
        notebook = LabNotebook(lab, page, name, app)
        opened.append(notebook)
        watch(notebook)
        notebook.open()
        return notebook

    yield open_one
    for notebook in opened:
        notebook.page.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted = os.environ.get("AUTOOPT_TEST_ARTEFACTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """Give a function that says what axe-core finds wrong with the panels of a page."""
    from axe_playwright_python.sync_playwright import Axe

    def violations(page: Page) -> list[str]:
        found = Axe().run(page, context=".autoopt-panel").response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {node['html'][:200]}"
            for rule in found
            for node in rule["nodes"]
        ]

    return violations
