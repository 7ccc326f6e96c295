"""What optuna-dashboard shows of a search: the study opens, and its names can be read."""

from __future__ import annotations

import json
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import RDBStorage

from autoopt.controller import SearchController
from autoopt.controller.job import STUDY
from autoopt.settings import Budget
from tests.fakes import FakeExecutor, is_executor, job, log_of


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> RDBStorage:
    """The storage in the folder of a search of the quick space."""
    folder = tmp_path_factory.mktemp("search")
    wanted = job(
        folder,
        budget=Budget(trials=16),
        storage=None,
        max_drop=0.02,
        constraints={"latency": "<= 3.0"},
    )
    SearchController(wanted, is_executor(FakeExecutor()), log_of(folder)).run()
    return RDBStorage(f"sqlite:///{folder / STUDY}")


def asked(storage: RDBStorage, path: str) -> Any:
    """What the dashboard's own server answers."""
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": "after=0"}
    said: list[str] = []
    body = dashboard.wsgi(storage)(environ, lambda status, *_: said.append(status))
    assert said == ["200 OK"]
    return json.loads(b"".join(body))


def test_the_dashboard_lists_the_study_with_its_directions(storage: RDBStorage) -> None:
    (study,) = asked(storage, "/api/studies")["study_summaries"]
    assert study["study_name"] == "study"
    assert study["directions"] == ["maximize", "minimize", "minimize"]


def test_the_dashboard_shows_objectives_parameters_constraints_and_attributes_by_name(
    storage: RDBStorage,
) -> None:
    (study,) = asked(storage, "/api/studies")["study_summaries"]
    detail = asked(storage, f"/api/studies/{study['study_id']}")
    assert detail["objective_names"] == ["accuracy", "latency_ms", "size_mb"]
    names = {space["name"] for space in detail["union_search_space"]}
    slots = {"student", "pruning", "recovery", "quantization", "runtime", "parallel"}
    assert slots <= names
    settings = {name for name in names if "." in name}
    assert "student.width.fraction" in settings
    assert all(name.split(".")[0] in slots and len(name.split(".")) == 3 for name in settings)
    attributes = {item["key"] for item in detail["union_user_attrs"]}
    assert {"number", "role", "summary"} <= attributes
    assert len(detail["trials"]) == 16
    first = {item["key"]: item["value"] for item in detail["trials"][0]["user_attrs"]}
    assert first["role"].strip('"') == "original"


def test_constraints_are_named_as_they_were_asked_for(storage: RDBStorage) -> None:
    (trial, *_) = optuna.load_study(study_name="study", storage=storage).get_trials()[1:]
    assert trial.constraints is not None
    assert sorted(trial.constraints) == ["accuracy >= 0.93", "latency <= 3"]
