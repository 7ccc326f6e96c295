"""The stored Optuna study: a copy that dashboards open, in any storage of Optuna's.

The log is the truth; the copy lacks nothing for longer than its storage is away.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from autoopt.errors import SearchError
from autoopt.measurement import Axis

logger = logging.getLogger("autoopt.controller")

TROUBLE = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
"""What a storage raises that is away, or does not take what it is given."""


@dataclass
class Stored:
    """A study in a storage, and what the storage did not take yet.

    Attributes
    ----------
    study
        In the storage.
    """

    study: optuna.Study
    _lacking: list[FrozenTrial] = field(default_factory=list)
    _unsure: bool = False

    @classmethod
    def open(cls, storage: str | None, name: str, axes: Sequence[Axis]) -> Stored:
        """Open or make the study.

        Raises
        ------
        SearchError
            If the storage is down, or its driver is missing.
        """
        try:
            study = optuna.create_study(
                directions=[axis.direction for axis in axes],
                storage=_reached(storage),
                study_name=name,
                load_if_exists=True,
            )
            with warnings.catch_warnings():
                # Marked experimental since Optuna 3.2; dashboards label their axes by it.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([axis.column for axis in axes])
        except (*TROUBLE, ImportError) as error:
            place = make_url(storage).render_as_string() if storage else "memory"
            raise SearchError(
                f"the Optuna storage {place} cannot be opened ({_cause(error)}): start it or "
                "install its driver, then go on with autoopt.resume; another URL needs a search "
                "of its own"
            ) from error
        return cls(study)

    def add(self, trials: Sequence[FrozenTrial], *, anew: bool = False) -> None:
        """Add finished trials; those of a study that is opened `anew` may be there already."""
        self._lacking += trials
        self._unsure = self._unsure or anew
        self.catch_up()

    def catch_up(self) -> str:
        """Have the storage take what it lacks; return why it does not, or nothing once it has."""
        try:
            if self._lacking and self._unsure:
                # A connection that broke may have carried a trial before.
                there = {t.user_attrs.get("number") for t in self.study.get_trials(deepcopy=False)}
                self._lacking = [t for t in self._lacking if t.user_attrs["number"] not in there]
                self._unsure = False
            while self._lacking:
                self._take(self._lacking[0])
                self._lacking.pop(0)
        except TROUBLE as error:
            self._unsure = True
            return _cause(error)
        return ""

    def _take(self, trial: FrozenTrial) -> None:
        """Store a trial, or warn of one that the storage will never take."""
        try:
            self.study.add_trial(trial)
        except TROUBLE as error:
            if isinstance(error.__cause__ or error, OperationalError | InterfaceError):
                raise
            logger.warning("the Optuna storage refuses a trial: %s", _cause(error))


def _reached(storage: str | None) -> BaseStorage | None:
    """Return the storage of a URL; a connection is tried before it is used, as servers restart."""
    if storage is None or make_url(storage).get_backend_name() == "sqlite":
        return storage  # type: ignore[return-value]  # Optuna takes URLs as well
    return RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})


def _cause(error: BaseException) -> str:
    return str(error.__cause__ or error).splitlines()[0]
