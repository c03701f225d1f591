"""What a probe brings into memory: it sits beside every service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# What may be loaded beside notifywrap itself: these are C, or loaded by the interpreter anyway.
ALLOWED = {
    "__future__",
    "_collections",
    "_signal",
    "_socket",
    "_struct",
    "errno",
    "select",
    "struct",
    "time",
}

ONE_OF_EACH = """
import sys
sys.path.insert(0, {repository!r})
import os
before = set(sys.modules)
from notifywrap.policy.probe import *
from notifywrap.probes import open_attempt
from notifywrap.probes.target import Target
import _socket
server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
server.bind(("127.0.0.1", 0)); server.listen(5)
port = server.getsockname()[1]
target = Target(os.getpid())
probe = {probe}
attempt = open_attempt(probe, target)
attempt.advance()
attempt.close()
target.close()
print(*sorted(set(sys.modules) - before))
"""

PROBES = {
    "tcp": 'TcpProbe("x", (("127.0.0.1", port),))',
    "http": 'HttpProbe("x", "h", "/", (("127.0.0.1", port),))',
    "http with options": (
        'HttpProbe("x", "h", "/", (("127.0.0.1", port),), statuses=((200, 200),),'
        ' headers=(("Host", "a"),), body="x")'
    ),
    "listen": 'ListenProbe("x", "", port)',
    "unix": 'UnixProbe("x", "/nowhere")',
    "exec": 'ExecProbe("x", ("true",))',
    "file": 'FileProbe("x", "/")',
    "alive": "AliveProbe()",
    "discover": "DiscoverProbe()",
}

OWN = {
    "tcp": {"tcp", "dial", "ownership", "sockets", "sockdiag", "target", "tree"},
    "http": {"http", "httphead", "dial", "target"},
    "http with options": {"http", "httphead", "dial", "target"},
    "listen": {"listen", "ownership", "sockets", "sockdiag", "target", "tree"},
    "unix": {"unix", "tcp", "listen", "dial", "ownership", "sockets", "target"},
    "exec": {"exec", "target"},
    "file": {"file", "target"},
    "alive": {"alive", "target"},
    "discover": {"discover", "dial", "sockets", "sockdiag", "target", "tree"},
}


def modules_loaded(probe: str) -> set[str]:
    """What an attempt at *probe*, on a server that has not accepted yet, has imported."""
    code = ONE_OF_EACH.format(repository=str(REPOSITORY), probe=probe)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_loads_its_own_kind_and_nothing_heavy(kind):
    """notifywrap sits beside every service: what one kind needs must not be paid for by all."""
    loaded = modules_loaded(PROBES[kind])
    ours = {name for name in loaded if name.startswith("notifywrap")}
    assert loaded - ours <= ALLOWED
    probes = {name.rpartition(".")[2] for name in ours if name.startswith("notifywrap.probes.")}
    assert probes <= OWN[kind]


def test_https_brings_ssl_and_no_more():
    """`ssl` is what it costs; that must not grow to what other kinds need."""
    loaded = modules_loaded('HttpProbe("x", "h", "/", (("127.0.0.1", port),), tls=Tls("h"))')
    assert "ssl" in loaded
    assert loaded.isdisjoint({"h2", "asyncio", "http.client", "urllib", "typing", "logging"})
