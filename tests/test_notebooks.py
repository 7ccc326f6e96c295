"""Every notebook runs from top to bottom, and shows what it promises."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

# A notebook takes two minutes on a quiet machine; on a busy one it is not stuck, only slow.
pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
BUDGET = "3 trials"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def run(notebook: Path, folder: Path) -> Any:
    """Run a copy of a notebook in a folder of its own and return it with its outputs."""
    from nbclient import NotebookClient

    copy = nbformat.read(shutil.copy(notebook, folder), as_version=4)
    client = NotebookClient(copy, timeout=900, resources={"metadata": {"path": str(folder)}})
    return client.execute()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    texts = [out.text for out in cell.outputs if out.output_type == "stream"]
    return "".join(texts)


def results(cell: Any) -> list[Any]:
    return [
        out.data for out in cell.outputs if out.output_type in ("display_data", "execute_result")
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count] == []


def test_the_quickstart_does_it_in_six_cells():
    assert len(code_cells(nbformat.read(QUICKSTART, as_version=4))) == 6


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("quickstart")
    kept = {
        "AUTOOPT_QUICKSTART_BUDGET": BUDGET,
        "AUTOOPT_CACHE": str(folder / "cache"),
        "IPYTHONDIR": str(folder / "ipython"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in kept.items():
            patch.setenv(name, value)
        return run(QUICKSTART, folder), folder


@pytest.mark.slow
def test_the_quickstart_prints_and_shows_what_it_found(quickstart: tuple[Any, Path]):
    train, _, front, pick, export, load = code_cells(quickstart[0])
    assert "parameters, validation accuracy 0.9" in printed(train)
    (table,) = results(front)
    assert "latency_ms" in table["text/html"]
    assert results(pick)[0]["text/plain"].startswith("<Strategy ")
    assert "predict.py" in results(export)[0]["text/plain"]
    assert "test accuracy of the export: 0.9" in printed(load)


@pytest.mark.slow
def test_the_saved_quickstart_holds_the_panel_at_its_end(quickstart: tuple[Any, Path]):
    notebook, _ = quickstart
    panel, _twin = results(code_cells(notebook)[1])
    model = notebook.metadata.widgets[STATE]["state"][panel[VIEW]["model_id"]]
    assert model["state"]["status"]["state"] == "finished"
    assert model["state"]["status"]["trials"] == 3
    assert model["state"]["columns"]["number"] == list(range(3))
    assert [axis["name"] for axis in model["state"]["objectives"]] == [
        "accuracy",
        "latency",
        "size",
    ]


@pytest.mark.slow
def test_the_saved_quickstart_shows_the_finished_front_where_no_widget_can_live(
    quickstart: tuple[Any, Path],
):
    panel, twin = results(code_cells(quickstart[0])[1])
    assert "text/plain" in panel
    assert "text/html" not in panel
    assert "<b>Finished</b>" in twin["text/html"]
    assert "<svg" in twin["text/html"]
    assert "float32 · eager" in twin["text/html"]


@pytest.mark.slow
def test_the_quickstart_leaves_an_export_and_its_search_in_its_own_folder(
    quickstart: tuple[Any, Path],
):
    _, folder = quickstart
    assert {"predict.py", "recipe.yaml", "report.html"} <= {
        path.name for path in (folder / "quickstart-export").iterdir()
    }
    assert list(folder.glob("autoopt-searches/*/log.sqlite"))
