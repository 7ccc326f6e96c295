"""The command line: ``python -m autoopt demo --budget 300 --output DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autoopt.errors import AutooptError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        from autoopt.demo.run import run_demo

        run_demo(options.budget, options.output)
    except (AutooptError, ValueError) as error:
        print(f"autoopt: {error}", file=sys.stderr)
        return 1
    return 0


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
    return parser
