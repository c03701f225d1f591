"""What a failed test's report says of its services. Part of the pytest plugin, once it is used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import pluggy

    Tell = Callable[[], list[tuple[str, str]]]

__all__ = ["Reporter", "telling"]

_NAME = "notifywrap-reporter"
_tellers = pytest.StashKey["list[Tell]"]()


class Reporter:
    """Its hook runs three times per test, so it is registered by the first test that needs it."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
        """A failure shows what the services have said and done."""
        outcome = yield
        if call.excinfo is not None and (tellers := item.stash.get(_tellers, None)):
            report = outcome.get_result()
            if report.failed:
                for tell in tellers:
                    report.sections += _ask(tell)


@contextmanager
def telling(item: pytest.Item, tell: Tell) -> Iterator[None]:
    """As long as this lasts a failure of *item* shows what *tell* says: titles and texts."""
    manager = item.config.pluginmanager
    if not manager.has_plugin(_NAME):
        manager.register(Reporter(), _NAME)
    tellers = item.stash.setdefault(_tellers, [])
    tellers.append(tell)
    try:
        yield
    finally:
        tellers.remove(tell)


def _ask(tell: Tell) -> list[tuple[str, str]]:
    try:
        return tell()
    except Exception as error:  # noqa: BLE001 - the test's own failure must be told all the same
        return [("notifywrap", f"what its services did cannot be told: {error!r}")]
