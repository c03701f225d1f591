"""What the drill knows and has outside of the sandbox: facts for the attempts, and things that they
may find or reach, which belong to the drill itself."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any

from notifywrap.drill.files import DROPS, PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

__all__ = [
    "World",
    "backend_ports",
    "find_code",
    "find_configuration",
    "find_interpreter",
    "missing_capabilities",
    "remove_traces",
]

_MOST_SOCKETS = 200  # below /run: for the attempts one is enough
# Those that attempts need, and their numbers in linux/capability.h
_CAPABILITIES = {
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_TIME": 25,
    "CAP_MKNOD": 27,
    "CAP_SYSLOG": 34,
}
_HIDDEN = ("/root/", "/home/", "/run/user/")  # ProtectHome=; and not for other users either


class World:
    """Listeners and a file, there while the drill runs.

    ports  those that the service may connect to, if it may not to all: a listener is put on the
           first that is free
    """

    def __init__(self, tag: str, ports: Sequence[int] = ()) -> None:
        self._tag = tag
        self._sockets: list[socket.socket] = []
        self._ports = ports

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one in self._sockets:
            one.close()

    def facts(self) -> dict[str, Any]:
        """For the Context. Listens on the ports that it names."""
        return {
            "host_file": self._make_file(),
            "root_entries": _count("/root"),
            "home_entries": _count("/home"),
            "disks": tuple(_list("/sys/block")),
            "sockets": tuple(_find_sockets()),
            "loader": _find_loader(),
            "abstract": self._listen_abstract(),
            "backend_port": self._listen_backend(),
            "other_port": self._listen(0),
            "udp_port": self._take_datagrams(),
        }

    def _make_file(self) -> str:
        path = f"/tmp/{self._tag}-host"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        return path

    def _listen_backend(self) -> int:
        """Somebody else may listen there already: then it is them whom the attempt reaches."""
        for port in self._ports:
            if port:
                try:
                    return self._listen(port)
                except OSError:
                    return port
        return self._listen(0)

    def _listen(self, port: int) -> int:
        # Nobody accepts: the kernel completes the handshake, and closing the listener ends it.
        one = socket.create_server(("127.0.0.1", port))
        self._sockets.append(one)
        return int(one.getsockname()[1])

    def _take_datagrams(self) -> int:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        self._sockets.append(one)
        return int(one.getsockname()[1])

    def _listen_abstract(self) -> str:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind(f"\0{self._tag}")
        one.listen()
        self._sockets.append(one)
        return self._tag


def remove_traces(tag: str, more: Iterable[str] = ()) -> None:
    """Remove what attempts left that were killed before they could: all of it begins with *tag*.

    more  directories beside those that attempts use anyway
    """
    assert tag, "everything begins with nothing"
    for directory in {*DROPS, *PLACES, *more}:
        for name in _list(directory):
            if name.startswith(tag):
                try:
                    os.unlink(f"{directory}/{name}")
                except OSError:
                    pass  # a directory, which whoever made it removes; or it just went


def find_interpreter() -> str:
    """A Python that any service can execute: ours, unless it lies where services do not get."""
    for path in (sys.executable, "/usr/bin/python3"):
        real = os.path.realpath(path)
        if os.access(real, os.X_OK) and not real.startswith(_HIDDEN):
            return real
    return os.path.realpath(sys.executable)


def missing_capabilities() -> list[str]:
    """What nobody on this machine has, as in a container; attempts that need it fail for all."""
    with open("/proc/1/status", encoding="utf-8") as file:
        bounding = next((line.split()[1] for line in file if line.startswith("CapBnd")), "f" * 16)
    return [name for name, bit in _CAPABILITIES.items() if not int(bounding, 16) >> bit & 1]


def find_code(python: str) -> list[str]:
    """What has to be executable for *python*: itself, and the libraries that the attempts load."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        mapped = {
            line.split(maxsplit=5)[5].strip() for line in file if " r-xp " in line and "/" in line
        }
    return [python, *sorted(mapped - {python})]


def backend_ports(rules: str | None) -> list[int]:
    """The ports that --jail leaves for connect(2) and are not the service's own; [] for all."""
    words = (rules or "").split(",")
    bound = {word.removeprefix("bind=") for word in words if word.startswith("bind=")}
    ports = [word.removeprefix("connect=") for word in words if word.startswith("connect=")]
    return [int(port) for port in ports if port.isdigit() and port not in bound]


def find_configuration(words: Iterable[str]) -> str:
    """The first of the command's words that names a file that is there: `--config=/etc/x.toml`."""
    for word in words:
        path = word[word.find("/") :] if "/" in word else ""
        if os.path.isfile(path):
            return path
    return ""


def _find_sockets() -> list[str]:
    found: list[str] = []
    for directory, _, files in os.walk("/run"):
        for name in files:
            path = f"{directory}/{name}"
            try:
                is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
            except OSError:
                continue
            if is_socket and path not in ("/run/systemd/notify", "/run/systemd/private"):
                found.append(path)
    return found[:_MOST_SOCKETS]


def _find_loader() -> str:
    """ld.so, as this very process has it mapped."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        found = re.search(r"(/\S*/ld-\S*\.so\S*)$", file.read(), re.MULTILINE)
    return found[1] if found else ""


def _count(directory: str) -> int:
    return len(_list(directory))


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
