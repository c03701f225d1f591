"""The managers of one test: made by calling, watched for its failure, closed at its end."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, TypedDict

from notifywrap.testing.manager import Manager

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self, Unpack

    from notifywrap.testing.timeline import Event

__all__ = ["ManagerOptions", "NotifyManager"]


class ManagerOptions(TypedDict, total=False):
    """What a Manager takes beside its command."""

    watchdog_s: float | None
    start_timeout_s: float
    stop_timeout_s: float
    abort_timeout_s: float | None
    kill_mode: str
    notify_access: str
    notify_reload: bool
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    stdout: int | IO[bytes] | None
    stderr: int | IO[bytes] | None
    abstract: bool
    on_event: Callable[[Event], None] | None


class NotifyManager:
    """`notify_manager(command, watchdog_s=1.0)`: a Manager with *command* started in it.

    Without a command the test's own process is the service. Leaving the `with` block closes them,
    the last one first: nothing is left running, and os.environ is as it was.
    """

    def __init__(self) -> None:
        self._made: list[Manager] = []
        self._open = contextlib.ExitStack()

    def __call__(
        self, command: Sequence[str] | None = None, **options: Unpack[ManagerOptions]
    ) -> Manager:
        """Takes what Manager takes. Raises what Manager.start() raises."""
        manager = self._open.enter_context(Manager(command, **options))
        self._made.append(manager)
        return manager

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def tell(self) -> list[tuple[str, str]]:
        """For the report of a test that failed: a title and the timeline of each manager."""
        return [(f"notify_manager: {one.name}", one.tell()) for one in self._made]
