"""The panel in a page of its own, without JupyterLab: a model in the page stands for the kernel.

Quicker than a real notebook by a factor of ten, and what Python would get can be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from autoopt.panel import assets
from autoopt.panel.filter import parse_filter
from autoopt.panel.messages import (
    Objective,
    Row,
    RowsMessage,
    Status,
    starting_status,
    wire_columns,
    wire_status,
)
from tests.panel_rows import OBJECTIVES

# JupyterLab's colours, so that contrast is what a notebook has.
_THEMES = {
    "light": ("true", "#fff", "rgba(0,0,0,.87)"),
    "dark": ("false", "#111", "rgba(255,255,255,.87)"),
}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>panel</title>
<style>body{margin:8px;background:%s;--jp-layout-color1:%s;--jp-ui-font-color1:%s}%s</style>
</head><body data-jp-theme-light="%s"><main id="place"></main></body></html>"""
_START = """async ([code, state]) => {
  const module = await import(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
  const heard = {};
  const on = (name, callback) => (heard[name] ??= []).push(callback);
  const fire = (name, ...given) => (heard[name] ?? []).forEach((callback) => callback(...given));
  const model = {
    sent: [], saved: {}, changes: {},
    get: (name) => state[name],
    set(name, value) { state[name] = value; model.changes[name] = value; fire(`change:${name}`); },
    save_changes() { Object.assign(model.saved, model.changes); model.changes = {}; },
    send: (message) => model.sent.push(message),
    on, off() {},
    widget_manager: { kernel: { statusChanged: {
      connect: (slot) => on("kernel", slot), disconnect() {},
    } } },
  };
  window.model = model;
  window.receive = (message) => fire("msg:custom", message);
  window.loseComm = () => fire("comm_live_update");
  window.kernelSays = (status) => fire("kernel", null, status);
  window.update = (changes) => {
    Object.assign(state, changes);
    for (const name of Object.keys(changes)) fire(`change:${name}`);
  };
  window.widget = module.default();
  window.widget.initialize({model});
  window.show = (el) => window.widget.render({model, el});
  window.show(document.getElementById("place"));
}"""


def watched_page(browser: Browser) -> Iterator[Page]:
    """Give a page in which nothing may go wrong: no error, no word on the console, no dialog."""
    page = browser.new_page(viewport={"width": 1280, "height": 1500})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error.stack or error)))
    page.on("console", lambda message: errors.append(message.text))

    def on_dialog(dialog: Dialog) -> None:
        errors.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    yield page
    page.close()
    assert errors == []


@dataclass
class BarePanel:
    """A panel in a page, and what it told its model."""

    page: Page

    @property
    def root(self) -> Locator:
        """The panel's element."""
        return self.page.locator(".autoopt-panel").first

    def send_rows(self, rows: Sequence[Row], **status: Any) -> None:
        """Send trials as the kernel does, with what of the status changed too."""
        message: RowsMessage = {"kind": "rows", "columns": wire_columns(rows)}
        if status:
            message["status"] = _running(**status)
        self.page.evaluate("receive", message)

    def send_status(self, **changes: Any) -> None:
        """Send a status as the kernel does."""
        self.page.evaluate("receive", {"kind": "status", "status": _running(**changes)})

    def answer(self, to: str, *, ok: bool = True, text: str = "") -> None:
        """Answer a command as the kernel does."""
        self.page.evaluate("receive", {"kind": "answer", "to": to, "ok": ok, "text": text})

    def update(self, **changes: Any) -> None:
        """Change the model's state as the kernel does."""
        self.page.evaluate("update", changes)

    def saved(self, name: str) -> Any:
        """Give what the page wrote into a trait."""
        self.settle()
        # What a drag changes is saved a few times a second.
        self.page.wait_for_function("Object.keys(model.changes).length === 0")
        return self.page.evaluate("(name) => model.saved[name]", name)

    def sent(self) -> list[dict[str, Any]]:
        """Give the commands that the page sent."""
        commands: list[dict[str, Any]] = self.page.evaluate("model.sent")
        return [command for command in commands if command["kind"] != "ready"]

    def shown(self) -> int:
        """Give how many strategies pass the filter, as the panel says it."""
        self.settle()
        words = self.root.locator(".ao-count").inner_text()
        return int(words.split()[1])

    def settle(self) -> None:
        """Wait until the page has drawn what it was told."""
        twice = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(twice)

    def press(self, *keys: str) -> None:
        """Press keys, and wait after each until the page has drawn what it does."""
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()

    def select(self, number: int) -> None:
        """Click the mark of a trial."""
        mark = self.root.locator(f"[role=option][id$='-{number}'] .ao-shape")
        mark.click(force=True)
        expect(self.root.locator(".ao-card .ao-number")).to_have_text(f"#{number}")


def _running(**changes: Any) -> Status:
    status: Status = {**starting_status(), "state": "running", **changes}  # type: ignore[typeddict-item]  # changes are of its keys
    return wire_status(status)


def show_panel(
    page: Page,
    rows: Sequence[Row],
    *,
    objectives: Sequence[Objective] = tuple(OBJECTIVES),
    theme: str = "light",
    **state: Any,
) -> BarePanel:
    """Show a panel of these trials in a page."""
    is_light, surface, text = _THEMES[theme]
    page.set_content(_PAGE % (surface, surface, text, assets.style(), is_light))
    full = {
        "objectives": list(objectives),
        "columns": wire_columns(rows),
        "status": wire_status({**starting_status(), "state": "running", "trials": len(rows)}),
        "needs": {},
        "notes": [],
        "filter": parse_filter({}),
        "looks": {},
        "selected": None,
        "chosen": None,
        "name": "autoopt-twin-test",
        **state,
    }
    # Through JSON, so that what Python alone could say fails here and not in a notebook.
    page.evaluate(_START, [assets.code(), json.loads(json.dumps(full, allow_nan=False))])
    return BarePanel(page)
