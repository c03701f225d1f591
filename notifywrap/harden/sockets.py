"""The .socket units beside a service: for its own ports, and for its backends where it has a
network of its own. Pure.

A backend's listens in the service's network namespace at the backend's own address, and
systemd-socket-proxyd(8) forwards to that outside. So the service keeps its configuration and the
backend its unit, and nothing else on this machine, or any other, can be reached by network.
Source: systemd.unit(5), JoinsNamespaceOf=; systemd.exec(5), PrivateNetwork=, which on a .socket
unit is about where its sockets are bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.harden.model import Setting, Socket, Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PROXY", "format_sockets", "is_backend", "name_socket", "offer_backends"]

PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
_MOST_CONNECTIONS, _FDS_OF_CONNECTION = 10_000, 6  # two sockets, and a pipe for each direction
_WHY = "of the network its backends alone, each through a proxy"
_WHOLLY = (
    "DynamicUser LockPersonality MemoryDenyWriteExecute PrivateDevices PrivateUsers ProtectClock"
    " ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules"
    " ProtectKernelTunables RestrictNamespaces RestrictRealtime"
)
_SANDBOX = {
    **dict.fromkeys(_WHOLLY.split(), "yes"),
    "ProtectProc": "invisible",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "IPAddressDeny": "any",
    "IPAddressAllow": "localhost",
}


def offer_backends(unit: str, addresses: Sequence[str]) -> Tier:
    """PrivateNetwork= with all that it was seen to connect to, HOST:PORT of this machine."""
    names: dict[str, str] = {}
    for address in addresses:
        name = f"backend-{address.rpartition(':')[2]}"
        names[f"{name}-{len(names)}" if name in names else name] = address
    sockets = tuple(Socket(name, address, is_backend=True) for name, address in names.items())
    joined = " ".join(name_socket(unit, one) for one in sockets)
    settings = (Setting("PrivateNetwork", "yes"), Setting("JoinsNamespaceOf", joined, "Unit"))
    return Tier(settings, sockets, _WHY)


def name_socket(unit: str, socket: Socket) -> str:
    """What its .socket unit is called. With an @ it would be an instance of the service's template,
    and the proxy as well, with all of that one's drop-ins."""
    return f"{unit.removesuffix('.service').replace('@', '-')}-{socket.name}.socket"


def is_backend(unit: str, name: str) -> bool:
    """Is this the name of a backend's .socket unit beside *unit*?"""
    return name.startswith(name_socket(unit, Socket("backend-", "")).removesuffix(".socket"))


def format_sockets(unit: str, sockets: Sequence[Socket]) -> dict[str, str]:
    """The units for them: file name -> text."""
    texts: dict[str, str] = {}
    first = ""
    for socket in sockets:
        name = name_socket(unit, socket)
        if socket.is_backend:
            texts |= _backend(unit, name, socket.listen, first)
            first = first or name
        else:
            texts[name] = (
                f"# Beside {unit}: systemd listens, and hands the socket over.\n"
                f"[Socket]\nListenStream={socket.listen}\nFileDescriptorName={socket.name}\n"
                f"Service={unit}\n\n[Install]\nWantedBy=sockets.target\n"
            )
    return texts


def _backend(unit: str, name: str, address: str, first: str) -> dict[str, str]:
    # The service joins one namespace alone, so the others have to be in that.
    joins = f"JoinsNamespaceOf={first}\nAfter={first}\n" if first else ""
    listening = (
        f"# In the network namespace of {unit}, which has JoinsNamespaceOf= for it.\n"
        f"[Unit]\nPartOf={unit}\n{joins}"
        f"[Socket]\nListenStream={address}\nPrivateNetwork=yes\n"
        "# All of these are joined: without them here the service would not have them either.\n"
        "PrivateTmp=yes\nPrivateIPC=yes\n"
    )
    # Type=exec: that of systemd 252 says no READY=1, and would be killed for it after 90 s.
    # It takes a host without brackets.
    plain = address.replace("[", "").replace("]", "")
    sandbox = "".join(f"{key}={value}\n" for key, value in _SANDBOX.items())
    forwarding = (
        f"# Outside of it: what {unit} has connected to is passed on to the backend.\n"
        f"[Unit]\nRequires={name}\nAfter={name}\n[Service]\nType=exec\n"
        f"ExecStart={PROXY} --connections-max={_MOST_CONNECTIONS} {plain}\n"
        f"LimitNOFILE={_FDS_OF_CONNECTION * _MOST_CONNECTIONS + 100}\n{sandbox}"
    )
    return {name: listening, f"{name.removesuffix('.socket')}.service": forwarding}
