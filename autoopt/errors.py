"""Everything autoopt raises on purpose.

::

    AutooptError
    ├── DataError (ValueError)        the data cannot serve as a task
    ├── ModelError (ValueError)       the model cannot serve as a task
    ├── MetricError (ValueError)      the metric is unknown or gave no number
    ├── UnknownNameError (KeyError)   no such technique, runtime, target, objective, executor
    ├── RefusedError                  a candidate that cannot be built here, said beforehand
    ├── UntraceableError (RefusedError)  a network that cannot become an exported program
    ├── DisagreementError (RefusedError)  an artefact that answers otherwise than its network
    ├── OverCapError (RefusedError)   a network that breaks a cap whatever training makes of it
    ├── StoppedEarlyError             a training that was given up, because it could not matter
    ├── DivergedError                 a candidate whose numbers are not finite
    ├── ConstraintError (ValueError)  no strategy satisfies what was asked
    ├── FolderError (ValueError)      a folder that is absent, foreign or of another search
    ├── ArtifactError (ValueError)    an artefact that is damaged, foreign or not to be trusted
    ├── PlotError (ImportError)       a figure needs a library that is not installed
    └── SearchError (RuntimeError)    a search that ended by an error
"""

from __future__ import annotations

from collections.abc import Iterable


class AutooptError(Exception):
    """Base of all errors that autoopt raises on purpose."""


class DataError(AutooptError, ValueError):
    """The data cannot serve as a task."""


class ModelError(AutooptError, ValueError):
    """The model cannot serve as a task."""


class MetricError(AutooptError, ValueError):
    """The metric is unknown or did not give a number."""


class PlotError(AutooptError, ImportError):
    """A figure needs a library that is not installed."""


class UnknownNameError(AutooptError, KeyError):
    """A name that its table does not hold.

    Parameters
    ----------
    kind
        What was looked up, such as ``"runtime"``.
    name
        The name received.
    known
        The names that the table holds.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(kind, name, self.known)

    def __str__(self) -> str:
        """Say what was asked for and what there is."""
        return f"unknown {self.kind} {self.name!r}; known: {', '.join(self.known) or 'none'}"


class RefusedError(AutooptError):
    """A candidate that cannot be built here; its message is the reason."""


class UntraceableError(RefusedError, AutooptError):
    """A network that cannot become an exported program; its message names the line."""


class DisagreementError(RefusedError, AutooptError):
    """An artefact that answers otherwise than the network it was built from."""


class OverCapError(RefusedError, AutooptError):
    """A network that breaks a cap whatever training makes of it.

    Parameters
    ----------
    message
        The cap, and what the network comes to at least.
    slots
        Choices to blame: with the same ones, every recipe breaks the cap.
    """

    def __init__(self, message: str, slots: tuple[str, ...] = ()) -> None:
        self.slots = slots
        super().__init__(message)


class StoppedEarlyError(AutooptError):
    """A training that was given up, because its network could not matter any more."""


class DivergedError(AutooptError):
    """A candidate whose weights, loss or outputs are not finite."""


class ConstraintError(AutooptError, ValueError):
    """No strategy satisfies what was asked; the message names the nearest."""


class FolderError(AutooptError, ValueError):
    """A folder that is absent, foreign or belongs to another search."""


class ArtifactError(AutooptError, ValueError):
    """An artefact that is damaged, foreign or not to be trusted."""


class SearchError(AutooptError, RuntimeError):
    """A search that ended by an error; its message is the cause."""
