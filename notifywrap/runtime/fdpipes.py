"""The descriptors that `fd:` probes give to the target, to write its newline to."""

from __future__ import annotations

import resource

from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.probes.fd import Newline
from notifywrap.runtime.loop import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from notifywrap.policy.events import Event
    from notifywrap.probes.target import Target
    from notifywrap.runtime.loop import Loop

__all__ = ["FdPipes"]

LISTEN_FDS_START = 3  # sd_listen_fds(3)


class FdPipes(Part):
    """One pipe for each of *numbers*. The attempts read them: there is nothing to watch.

    env          of the target: says which numbers socket activation has taken
    descriptors  gets the writing ends

    Raises SpecError when the target cannot have such a descriptor.
    """

    def __init__(
        self, numbers: Sequence[int], env: Mapping[str, str], descriptors: dict[int, int]
    ) -> None:
        _check(numbers, env)
        self._newlines: dict[int, Newline] = {}
        self._ours: list[int] = []
        try:
            for number in numbers:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reading, False)  # of this end only: the target's stays as usual
                self._newlines[number] = Newline(reading)
                self._ours.append(writing)
                descriptors[number] = writing
        except OSError as error:
            self.close()
            raise NotifywrapError(f"cannot make a pipe for fd:: {error.strerror}") from None

    def attach(
        self,
        loop: Loop,  # noqa: ARG002
        put: Callable[[Event], None],  # noqa: ARG002
        target: Target,
    ) -> None:
        self._close_ours()  # or there would be no end of file when the target closes it
        target.newlines.update(self._newlines)

    def close(self) -> None:
        self._close_ours()
        for newline in self._newlines.values():
            newline.close()

    def _close_ours(self) -> None:
        while self._ours:
            os.close(self._ours.pop())


def _check(numbers: Sequence[int], env: Mapping[str, str]) -> None:
    count = env.get("LISTEN_FDS", "")
    # LISTEN_PID is empty where it is to become the target's, see target_environment().
    is_ours = env.get("LISTEN_PID") == "" and count.isascii() and count.isdigit()
    first_free = LISTEN_FDS_START + (int(count[:9]) if is_ours else 0)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in numbers:
        if numbers.count(number) > 1:
            raise SpecError(f"fd:{number}: given twice")
        if LISTEN_FDS_START <= number < first_free:
            raise SpecError(
                f"fd:{number}: systemd passes a socket there"
                f" (LISTEN_FDS={count}: write fd:{first_free} or more)"
            )
        if number >= limit != resource.RLIM_INFINITY:
            raise SpecError(
                f"fd:{number}: LimitNOFILE= (RLIMIT_NOFILE) allows no descriptor above {limit - 1}"
            )
