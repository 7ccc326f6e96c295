"""The project itself: its layout, its floors, its promises about imports and names."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

ENTRIES = {
    "autoopt",
    "search_spaces",
    "tests",
    "notebooks",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "constraints.txt",
    "CHANGELOG.md",
    "LICENSE",
}
HEAVY = {"torch", "optuna", "openvino", "onnxruntime", "sklearn", "pandas", "nncf", "onnx"}
PUBLIC = [
    "AutooptError",
    "Search",
    "SearchSpace",
    "Strategy",
    "apply",
    "describe_target",
    "load",
    "load_together",
    "open",
    "resume",
    "search",
]
LONGEST_FILE = 400
LONGEST_FUNCTION = 40

checkout = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="asks git which files belong to the project"
)


def project_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in out.split("\0") if name]
    return [path for path in paths if (ROOT / path).exists()]


def source_files() -> list[Path]:
    return [path for package in ("autoopt", "search_spaces") for path in sources_of(package)]


def sources_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def python(code: str, *, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return python(
        "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])",
        cwd=folder,
    )


@checkout
def test_the_top_level_holds_the_known_entries_and_dot_files_only():
    tops = {path.parts[0] for path in project_files()}
    assert {top for top in tops if not top.startswith(".")} == ENTRIES


@checkout
def test_no_file_names_a_path_of_somebodys_machine():
    folders = r"(?:home|root|Users|mnt|work|farm)/\w"
    pattern = re.compile(rf"(?<![\w.\]-])(?:/{folders}|{re.escape(str(ROOT))}\b)")
    found = []
    for path in project_files():
        if (ROOT / path).suffix in {".png", ".npz", ".onnx"}:
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        found += [f"{path}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("package", ["autoopt", "search_spaces"])
def test_importing_a_package_imports_nothing_heavy(package: str):
    done = python(f"import json, sys, {package}; print(json.dumps(list(sys.modules)))")
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    assert package in modules
    assert modules & HEAVY == set()


def test_the_public_names_are_exactly_the_known_ones():
    import autoopt

    assert list(autoopt.__all__) == PUBLIC
    assert all(hasattr(autoopt, name) for name in PUBLIC)


def test_every_public_name_is_offered_by_dir():
    import autoopt

    assert set(PUBLIC) <= set(dir(autoopt))


def test_imports_go_down_the_floors_only():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("autoopt/errors.py", "import autoopt.recipe", "Imports go down the floors only"),
        ("autoopt/techniques/__init__.py", "import autoopt.runtimes", "Imports go down"),
        ("autoopt/stray.py", "import json", "Imports go down the floors only"),
        ("search_spaces/space.py", "import autoopt.errors", "The menu knows nothing"),
        ("autoopt/recipe.py", "import optuna", "Only the controller imports optuna"),
    ],
)
def test_a_planted_import_breaks_its_contract(path: str, line: str, contract: str, tmp_path: Path):
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("autoopt", "search_spaces"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / path
    before = planted.read_text() if planted.exists() else ""
    planted.write_text(f"{before}\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert len(broken) == 1, done.stdout
    assert broken[0].startswith(contract)


def test_the_menu_needs_the_standard_library_and_pyyaml_only():
    allowed = {*sys.stdlib_module_names, "yaml", "search_spaces"}
    outside = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources_of("search_spaces")
        for name in imported(path)
        if name.partition(".")[0] not in allowed
    }
    assert outside == set()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_no_source_file_is_longer_than_its_concept():
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for path in source_files()
    }
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_a_screen():
    too_long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines"
        for path in source_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := body_length(node)) > LONGEST_FUNCTION
    ]
    assert too_long == []


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body; a thorough docstring does not make a function long."""
    last = node.body[-1].end_lineno or node.lineno
    if ast.get_docstring(node, clean=False) is None:
        return last - node.body[0].lineno + 1
    return last - (node.body[0].end_lineno or node.lineno)


def test_the_constraints_pin_plain_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pin = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*")
    assert [line for line in lines if not pin.fullmatch(line)] == []


def test_every_declared_dependency_has_a_tested_version():
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(name for extra in extras for name in extra)]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {normalised(line) for line in pins}
    assert {normalised(name) for name in declared} - pinned == set()


def normalised(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def test_the_changelog_tells_of_this_version():
    version = PYPROJECT["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_table_of_floors_in_the_readme_names_every_module():
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("| floor |") :].partition("\n\n")[0]
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    modules = set(re.findall(r"\w+", " ".join(layers))) - {"__main__"}
    named = set(re.findall(r"`(\w+)/?`", table))
    assert modules - named == set()


@checkout
def test_make_test_keeps_its_screenshots_in_a_folder_that_git_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTOOPT_TEST_ARTEFACTS", "MAKEFLAGS", "MAKELEVEL"):
        monkeypatch.delenv(name, raising=False)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "kept in %s" "$AUTOOPT_TEST_ARTEFACTS"\n')
    python.chmod(0o755)
    # Style and chromium count as done, and pytest is the script.
    command = ["make", "-s", "-o", "style", "-o", "chromium", f"BIN={tmp_path}", "test"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == f"kept in {ROOT / 'artefacts'}"
    ignored = ["git", "check-ignore", "--quiet", "artefacts/panel-light.png"]
    assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0
    command = ["make", "-n", "clean"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "artefacts" in said.split()
