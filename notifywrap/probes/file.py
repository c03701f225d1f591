"""Does a file exist."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt

if TYPE_CHECKING:
    from notifywrap.policy.probe import FileProbe
    from notifywrap.probes.target import Target

__all__ = ["FileAttempt"]


class FileAttempt(Attempt):
    """Looks once, through symbolic links.

    A path that may not be looked at is BROKEN, not absent.
    """

    def __init__(self, probe: FileProbe, target: Target) -> None:  # noqa: ARG002
        self._path = probe.path

    def _step(self) -> Sample:
        try:
            os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return Sample(Outcome.FAILED, "does not exist", unheard=True)
        return Sample(Outcome.PASSED)
