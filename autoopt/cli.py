"""The command line: ``python -m autoopt demo``, ``techniques`` and ``target``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from autoopt.errors import AutooptError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except (AutooptError, ValueError) as error:
        print(f"autoopt: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads, such as `head`, has read enough; nothing is left to flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _demo(options: argparse.Namespace) -> None:
    from autoopt.demo.run import run_demo

    run_demo(options.budget, options.output)


def _techniques(options: argparse.Namespace) -> None:
    from autoopt.catalogue import as_text, entries

    if options.json:
        print(json.dumps([entry.to_dict() for entry in entries()], indent=2))
    else:
        print(as_text(entries()))


def _target(options: argparse.Namespace) -> None:
    from autoopt.machine import abilities, as_text

    found = abilities(options.name)
    print(json.dumps(found, indent=2) if options.json else as_text(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="autoopt", description="Make trained PyTorch models smaller and faster by measurement."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="train a residual network on scikit-learn's digits and search for better ones",
    )
    demo.add_argument(
        "--budget", default="300", help="seconds, or a duration such as '5 min' (default: 300)"
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder for the search, the export and report.json (default: demo-output)",
    )
    demo.set_defaults(run=_demo)
    techniques = commands.add_parser(
        "techniques", help="list what can be searched: slots, options, settings and ranges"
    )
    techniques.add_argument("--json", action="store_true", help="as JSON, for programs")
    techniques.set_defaults(run=_techniques)
    target = commands.add_parser(
        "target", help="what a target can do: instruction sets, runtimes and their precisions"
    )
    target.add_argument("name", nargs="?", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    target.add_argument("--json", action="store_true", help="as JSON, for programs")
    target.set_defaults(run=_target)
    return parser
