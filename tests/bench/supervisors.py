"""supervisord and circus around one process: a configuration file, and what reads it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.wrappers import peer_path

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES", "Supervisor"]

_SUPERVISORD = """\
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {folder}/pid
[program:target]
command = {command}
stdout_logfile = /dev/null
stdout_logfile_maxbytes = 0
"""
# Without the sockets that circusctl talks to; each would be a little more.
_CIRCUS = """\
[circus]
check_delay = 5
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub
[watcher:target]
cmd = {command}
"""
_CONFIGURATIONS = {
    "supervisor": (_SUPERVISORD, "from supervisor.supervisord import main; main(['-c', {!r}])"),
    "circus": (
        _CIRCUS,
        "import sys; sys.argv[1:] = [{!r}]; from circus.circusd import main; main()",
    ),
}
NAMES = tuple(_CONFIGURATIONS)


class Supervisor:
    """How to start one around *target*.

    lack  why it cannot be measured; "" when it can
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.env: Mapping[str, str]
        self.env, self.lack = peer_path(name)

    def around(self, target: list[str]) -> list[str]:
        """The command; its files are temporary ones."""
        text, program = _CONFIGURATIONS[self.name]
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        path = folder / "configuration.ini"
        path.write_text(text.format(folder=folder, command=shlex.join(target)))
        return [sys.executable, "-c", program.format(str(path))]
