"""Libraries kept to themselves: no chatter, no progress bars, no telemetry."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def quiet_library(*loggers: str) -> Iterator[None]:
    """Hold back warnings, standard output and all but errors of these loggers.

    What the libraries print while they convert is about their own insides; what matters about the
    result is checked afterwards and said by autoopt.
    """
    levels = {name: logging.getLogger(name).level for name in loggers}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def decline_telemetry() -> None:
    """Keep OpenVINO and NNCF from sending telemetry; call before importing them.

    Both do without where the package ``openvino-telemetry`` is absent, which this process makes
    it. Whoever imported OpenVINO before has decided for this process already.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: absent
