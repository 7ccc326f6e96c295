"""A real Jupyter server, and a notebook that is open in a browser page."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SETTINGS: Final = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # All cells stay in the page, so that a test may look at one that is scrolled away.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def chromium_path() -> str:
    """Find the browser; a test without one fails and says what to do."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail(
            "the browser tests need chromium on PATH; install it (Debian: apt-get install "
            "chromium), or leave them out with -m 'not browser'",
            pytrace=False,
        )
    return path


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab server."""

    url: str
    token: str
    folder: Path

    def request(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Ask the server's REST interface."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def use_theme(self, name: str) -> None:
        """Set the theme of pages that are opened from now on, such as "JupyterLab Dark"."""
        self._save_setting("apputils-extension:themes", {"theme": name})

    def write_notebook(self, name: str, cells: Sequence[str]) -> None:
        """Write a notebook with these code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.folder / name)

    def _save_setting(self, plugin: str, settings: object) -> None:
        raw = json.dumps(settings)
        self.request(f"lab/api/settings/@jupyterlab/{plugin}", method="PUT", body={"raw": raw})


@dataclass
class LabNotebook:
    """A notebook that is open in a page, with what went wrong in it.

    Attributes
    ----------
    app
        Where the server has it: ``"lab/tree"`` for JupyterLab, ``"notebooks"`` for Notebook 7.
    """

    lab: Lab
    page: Page
    name: str
    app: str = "lab/tree"
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Open the notebook, or open it again, and wait until its kernel is ready."""
        self.page.goto(f"{self.lab.url}/{self.app}/{self.name}?token={self.lab.token}&reset")
        self.wait_ready()

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until the kernel is idle and connected to this page."""
        deadline = time.monotonic() + seconds
        while not self._kernel_is_idle():
            assert time.monotonic() < deadline, f"the kernel of {self.name} was not ready in time"
            self.page.wait_for_timeout(100)
        # The page says so only once it has heard of it itself.
        indicator = self.page.locator(".jp-Notebook-ExecutionIndicator").first
        expect(indicator).to_have_attribute("data-status", "idle", timeout=20_000)

    def save(self) -> None:
        """Save the notebook, and wait until the file is written."""
        file = self.lab.folder / self.name
        before = file.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + 20
        while file.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline, f"{self.name} was not saved"
            self.page.wait_for_timeout(100)

    def cell(self, index: int) -> Locator:
        """Give a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def run(self, index: int) -> None:
        """Start a cell, without waiting for its end."""
        self.cell(index).locator(".jp-InputPrompt").click()
        self.page.keyboard.press("Shift+Enter")

    def runs(self, index: int) -> bool:
        """Say whether a cell is running."""
        return "*" in self.cell(index).locator(".jp-InputPrompt").inner_text()

    def output(self, index: int) -> Locator:
        """Give the output area of a cell."""
        return self.cell(index).locator(".jp-OutputArea")

    def kernel(self) -> dict[str, Any]:
        """Give what the server knows of this notebook's kernel; empty before there is one."""
        kernels = [s["kernel"] for s in self.lab.request("api/sessions") if s["path"] == self.name]
        return kernels[0] if kernels else {}

    def _kernel_is_idle(self) -> bool:
        kernel = self.kernel()
        return kernel.get("execution_state") == "idle" and kernel["connections"] > 0


def watch(notebook: LabNotebook) -> None:
    """Collect the page's errors and dialogs in the notebook's lists."""
    page = notebook.page
    page.on("pageerror", lambda error: notebook.errors.append(str(error.stack or error)))

    def on_console(message: Any) -> None:
        if message.type == "error":
            notebook.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def on_dialog(dialog: Any) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()
            return
        notebook.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("console", on_console)
    page.on("dialog", on_dialog)


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """Run JupyterLab with its own settings, data and notebooks under `folder`."""
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), notebooks)
    for plugin, settings in _SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={lab.token}"),
        f"--ServerApp.root_dir={notebooks}",
    ]
    log_file = folder / "jupyterlab.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(command, env=_environment(folder), stdout=log, stderr=log)
        try:
            _wait_until_up(lab, server, log_file)
            yield lab
        finally:
            _shut_down(lab, server)


def _environment(folder: Path) -> dict[str, str]:
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
    }
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    # pytest-cov, coverage and the like must not follow into the kernel by accident.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    return {**kept, **{name: str(value) for name, value in own.items()}, "PYTHONPATH": path}


def _wait_until_up(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            lab.request("api/status")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    pytest.fail(f"JupyterLab did not start:\n{tail}", pytrace=False)


def _shut_down(lab: Lab, server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        # The server then ends its kernels, too; a signal might leave them behind.
        lab.request("api/shutdown", method="POST")
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
