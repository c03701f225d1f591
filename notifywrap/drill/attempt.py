"""What an attempt is, and what it is told about the service whose sandbox it is in."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Attempt", "Context", "Finding", "denied"]


class Context(NamedTuple):
    """What the attempts know of the service and of the world outside; it travels as JSON.

    tag             begins the name of everything that the drill makes, so that all can be removed
    binary          the service's own program
    configuration   a file that the service reads; "" when the unit names none
    state_file      a file that the service keeps; "" when there is none yet
    state           its state directory
    host_file       a file that lies in the /tmp outside
    root_entries    how many files are in /root outside, home_entries in /home
    disks           the block devices outside, by name
    sockets         Unix sockets of others below /run, by path
    loader          the dynamic loader, ld.so
    python          the interpreter that runs the drill
    abstract        the name of an abstract socket that listens outside
    backend_port    a local port that the service may connect to, other_port one that it need not
    udp_port        a local port where datagrams are taken
    is_wrapped      does notifywrap stand between systemd and the service?
    rules           what its --jail takes away, None without a jail
    max_processes   LimitNPROC= of the unit, which holds for attempts and not for the drill itself
    main_pid        the process that stands for the wrapper; this and the rest is found out inside
    neighbour_pid   another process of the same service
    notify_socket   what systemd gave the wrapper
    shell           the contents of /bin/sh
    """

    tag: str
    binary: str = "/bin/true"
    configuration: str = ""
    state_file: str = ""
    state: str = "/var/lib"
    host_file: str = ""
    root_entries: int = 0
    home_entries: int = 0
    disks: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    loader: str = ""
    python: str = "/usr/bin/python3"
    abstract: str = ""
    backend_port: int = 0
    other_port: int = 0
    udp_port: int = 0
    is_wrapped: bool = False
    rules: str | None = None
    max_processes: int = -1
    main_pid: int = 0
    neighbour_pid: int = 0
    notify_socket: str = ""
    shell: bytes = b""

    def new_file(self, directory: str) -> str:
        """A path that nobody else uses; the pid tells attempts apart."""
        return f"{directory.rstrip('/')}/{self.tag}-{os.getpid()}"


class Attempt(NamedTuple):
    """One thing that an intruder would try.

    name      as tables name it
    words     what is done, for people; it says how the attempt leaves no trace
    function  does it: returns when it worked, raises OSError when not. One that executes a program
              has worked when that program exits with `dropped.STATUS`
    passed    errnos that come after the kernel's permission check: made to fail there on purpose,
              so that nothing happens, the attempt would have worked
    """

    name: str
    words: str
    function: Callable[[Context], Any]
    passed: tuple[int, ...] = ()


class Finding(NamedTuple):
    """What came of an attempt.

    reason  the errno's name, or how the attempt's process was ended; "" when it plainly worked
    """

    name: str
    allowed: bool
    reason: str = ""


def denied(number: int) -> OSError:
    """For an attempt that finds by itself that there is nothing to be had."""
    return OSError(number, errno.errorcode[number])
