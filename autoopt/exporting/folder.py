"""The exported folder: model files, `artifact.json`, recipe, report and `predict.py`."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from autoopt.errors import ArtifactError, FolderError, RefusedError
from autoopt.exporting.described import NAMES, Meaning, described
from autoopt.exporting.predict_script import SAFE_LOADER, predict_script
from autoopt.exporting.report import report_html
from autoopt.exporting.sections import report_sections
from autoopt.interfaces import Parallel
from autoopt.runtimes import pt2_source
from autoopt.runtimes.artifact import (
    NAME,
    Manifest,
    needs_model,
    read_manifest,
    verify_files,
    write_manifest,
)
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.manifest_rules import plain_name

OURS = frozenset(
    {NAME, "recipe.yaml", "report.html", "predict.py", SAFE_LOADER, "__pycache__", *NAMES}
)
# Room for recipe, report and script beside the model.
MARGIN = 1_000_000


def export_strategy(
    artifact_folder: Path,
    recipe_yaml: str,
    report: Mapping[str, Any],
    destination: str | os.PathLike[str],
    *,
    parallel: Parallel | None = None,
    charts: Mapping[str, str] | None = None,
    meaning: Meaning | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a strategy's folder, whole or not at all.

    Parameters
    ----------
    artifact_folder
        What the runtime's `build` wrote.
    recipe_yaml
        The recipe.
    report
        What the report shows; see `report_sections`.
    destination
        The folder to make.
    parallel
        How to spread requests; by default the report's ``parallel``, or else the task's threads.
    charts
        Heading to figure for the report, as HTML or SVG of autoopt's own making: not escaped.
    meaning
        What the person says about inputs and outputs.
    overwrite
        Replace an earlier export. A folder that holds anything else is never replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FolderError
        If the destination is taken, or cannot be written.
    ArtifactError
        If the artefact is damaged.
    RefusedError
        If it cannot run without the model's own code.
    """
    manifest = read_manifest(artifact_folder)
    verify_files(artifact_folder, manifest)
    check_runs_alone(manifest)
    target = check_destination(destination, overwrite=overwrite)
    default = report.get("parallel") or {"threads": manifest.options["threads"]}
    spread = parallel or Parallel(**default)
    manifest = replace(manifest, options={**manifest.options, "parallel": _written(spread)})
    texts = {
        "recipe.yaml": recipe_yaml,
        "report.html": report_html(
            {**report_sections(report), "recipe": recipe_yaml}, charts=charts
        ),
        "predict.py": predict_script(manifest, spread),
        **described(manifest, report, meaning or Meaning(), _operators(artifact_folder, manifest)),
    }
    if plain_name(manifest.model).endswith(".pt2"):
        texts[SAFE_LOADER] = pt2_source()
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(artifact_folder, manifest, target.parent)
        scratch = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        _fill(scratch, artifact_folder, manifest, texts)
        _put_in_place(scratch, target)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = "the disk is full" if full else str(error)
        raise FolderError(f"cannot export to {str(target)!r}: {reason}.") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def _operators(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return the packages whose operators a program of torch calls."""
    if not plain_name(manifest.model).endswith(".pt2"):
        return ()
    from autoopt.runtimes.pt2 import calls_torchao

    with model_file(folder, manifest) as path:
        return ("torchao",) if calls_torchao(path) else ()


def _written(parallel: Parallel) -> dict[str, Any]:
    """Return a configuration without what is as usual, which older versions do not know."""
    usual = asdict(Parallel(1))
    always = ("threads", "replicas", "batch")
    return {k: v for k, v in asdict(parallel).items() if k in always or v != usual[k]}


def _fill(
    folder: Path, artifact_folder: Path, manifest: Manifest, texts: Mapping[str, str]
) -> None:
    folder.chmod(0o755)
    for name in manifest.files:
        shutil.copyfile(artifact_folder / name, folder / name)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_manifest(folder, manifest, manifest.files, texts)


def check_runs_alone(manifest: Manifest) -> None:
    """Raise unless an artefact runs where the model's own code is not.

    Raises
    ------
    RefusedError
        If it holds weights alone.
    """
    if needs_model(manifest):
        raise RefusedError(
            "an export must run without the model's class, but this strategy cannot: "
            f"{manifest.realised.get('needs_model', 'torch.export cannot trace it.')}"
        )


def check_destination(destination: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the absolute path of a folder that may be written.

    Raises
    ------
    FolderError
        If it holds anything that is not an export, or an export and `overwrite` is not set, or
        cannot be made there.
    """
    target = Path(destination).absolute()
    _check_free(target, overwrite=overwrite)
    parent = next(folder for folder in target.parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise FolderError(
            f"cannot export to {str(target)!r}: {str(parent)!r} is no folder that may be written."
        )
    return target


def _check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse to touch what is not an export, and exports too unless told."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise FolderError(f"{str(target)!r} is not a folder; give another.")
    if not target.exists() or not any(target.iterdir()):
        return
    try:
        ours = OURS | set(read_manifest(target).files)
    except ArtifactError as error:
        raise FolderError(
            f"{str(target)!r} holds something else than an export ({error}); give another folder."
        ) from error
    foreign = sorted(item.name for item in target.iterdir() if item.name not in ours)
    if foreign:
        raise FolderError(
            f"{str(target)!r} holds files that no export wrote ({', '.join(foreign[:5])}); move "
            "them away or give another folder."
        )
    if not overwrite:
        raise FolderError(
            f"{str(target)!r} holds an export already; give another folder or overwrite=True."
        )


def _check_space(artifact_folder: Path, manifest: Manifest, parent: Path) -> None:
    needed = sum((artifact_folder / name).stat().st_size for name in manifest.files) + MARGIN
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise FolderError(
            f"cannot export to {str(parent)!r}: {needed / 1e6:.1f} MB are needed, "
            f"{free / 1e6:.1f} MB are free."
        )


def _put_in_place(scratch: Path, target: Path) -> None:
    """Swap the finished folder in; an earlier one goes only when the new one stands."""
    if not target.exists():
        scratch.replace(target)
        return
    old = Path(mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.replace(old)
    try:
        scratch.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
