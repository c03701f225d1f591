"""The PROBE texts of the command line, as probe values: `tcp:8080`, `http://127.0.0.1/ping`,
`exec:true`."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.probe import (
    AliveProbe,
    ExecProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    ListenProbe,
    NotifyProbe,
    Probe,
    TcpProbe,
    Tls,
    UnixProbe,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    # Turns a host name and a port into numeric addresses; raises SpecError when it cannot.
    Resolve = Callable[[str, int, str], tuple[tuple[str, int], ...]]

__all__ = ["KINDS", "parse_port", "parse_probe"]

KINDS = (
    "listen: tcp: unix: http:// https:// http+unix:// grpc:// exec: file:"
    " log: fd: notify alive rss: fds:"
)

# What the loopback is called when no host is given. "localhost" means both, whatever /etc/hosts
# says: a server on
# 127.0.0.1 alone is the usual reason for "localhost does not work".
LOOPBACK = ("127.0.0.1", "::1")


def parse_probe(text: str, option: str, resolve: Resolve) -> Probe:
    """The probe that *text* describes. Raises SpecError naming *option*, before anything is
    started."""
    if text == "alive":
        return AliveProbe()
    if text == "notify":
        return NotifyProbe()
    scheme, colon, rest = text.partition(":")
    parser = _PARSERS.get(scheme) if colon else None
    if parser is None:
        raise SpecError(f"{option}: unknown probe {text!r} (known: {KINDS})")
    if not rest:
        raise SpecError(f"{option}: {text!r} says nothing after {scheme}:")
    return parser(text, rest, option, resolve)


def parse_port(text: str, option: str) -> int:
    """A TCP port number, 1 to 65535."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise SpecError(f"{option}: {text!r} is not a port (1 to 65535)")
    return int(text)


def _split_host(text: str, option: str) -> tuple[str, str]:
    """("host", "port") of "host:port", "[v6]:port" or "port"; a missing part is ""."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise SpecError(f"{option}: {text!r} is not an address (write [::1]:8080)")
        return host, rest[1:]
    host, _, port = text.rpartition(":")
    if ":" in host:
        raise SpecError(f"{option}: {text!r} is ambiguous (write IPv6 addresses as [::1]:8080)")
    return host, port


def _socket_path(text: str, option: str) -> str:
    if text == "@":
        raise SpecError(f"{option}: names no socket (write unix:@name)")
    if "\0" in text or len(text.encode("utf-8", "surrogateescape")) > 107:
        raise SpecError(
            f"{option}: {text!r} is longer than a socket's address can be (107 bytes, unix(7))"
        )
    return text


def _parse_listen(text: str, rest: str, option: str, resolve: Resolve) -> Probe:
    if rest[0] in "/@":
        return ListenProbe(text, path=_socket_path(rest, option))
    host, port = _split_host(rest, option)
    if host in ("", "*"):
        return ListenProbe(text, port=parse_port(port, option))
    if host == "localhost":
        raise SpecError(
            f"{option}: listen: needs a numeric address"
            f" (write listen:127.0.0.1:{port} or listen:{port})"
        )
    addresses = resolve(host, parse_port(port, option), option)
    return ListenProbe(text, addresses[0][0], addresses[0][1])


def _parse_tcp(text: str, rest: str, option: str, resolve: Resolve) -> Probe:
    host, port = _split_host(rest, option)
    return TcpProbe(text, _addresses(host, parse_port(port, option), option, resolve))


def _addresses(host: str, port: int, option: str, resolve: Resolve) -> tuple[tuple[str, int], ...]:
    if host in ("", "localhost"):
        return tuple((address, port) for address in LOOPBACK)
    return resolve(host, port, option)


def _parse_unix(text: str, rest: str, option: str, _: Resolve) -> Probe:
    if rest[0] not in "/@":
        raise SpecError(
            f"{option}: {text!r}: write an absolute path (unix:/run/x.sock) or unix:@name"
        )
    return UnixProbe(text, _socket_path(rest, option))


def _parse_http(text: str, rest: str, option: str, resolve: Resolve) -> Probe:
    probe, _ = _parse_url(text, rest, option, resolve, 80)
    return probe


def _parse_https(text: str, rest: str, option: str, resolve: Resolve) -> Probe:
    probe, host = _parse_url(text, rest, option, resolve, 443)
    address = probe.addresses[0][0].partition("%")[0]
    # A name's last label is no number, but "127.1" is an address: the certificate is for 127.0.0.1.
    is_numeric = ":" in host or host.rpartition(".")[2].isdigit()
    tls = Tls(address=address) if is_numeric else Tls(name=host.rstrip("."))
    # As the kubelet does: hardly anybody has a certificate for 127.0.0.1, and nobody is in between.
    # --tls-ca turns it on.
    is_loopback = address == "::1" or address.startswith("127.")
    trusts_all = host == "localhost" or (is_numeric and is_loopback)
    return probe._replace(tls=tls._replace(verify=not trusts_all))


def _parse_url(
    text: str, rest: str, option: str, resolve: Resolve, default_port: int
) -> tuple[HttpProbe, str]:
    """(a probe without TLS, the host alone)"""
    authority, target = _split_url(text, rest, option)
    has_port = ":" in authority.rpartition("]")[2]
    host, port = _split_host(authority if has_port else f"{authority}:{default_port}", option)
    if not host:
        raise SpecError(
            f"{option}: {text!r} names no host (write {_scheme(text)}://127.0.0.1:8080/ping)"
        )
    addresses = _addresses(host, parse_port(port, option), option, resolve)
    return HttpProbe(text, authority, target, addresses), host


def _parse_grpc(text: str, rest: str, option: str, resolve: Resolve) -> Probe:
    authority, path = _split_url(text, rest, option)
    host, port = _split_host(authority, option)
    if not host or "?" in path:
        raise SpecError(f"{option}: {text!r}: write grpc://127.0.0.1:50051 or with /SERVICE")
    addresses = _addresses(host, parse_port(port, option), option, resolve)
    # A service's name is full of dots, and may be any text: %XX for what a URL cannot have.
    return GrpcProbe(text, authority, addresses, _unquote(path[1:]))


def _parse_http_unix(text: str, rest: str, option: str, _: Resolve) -> Probe:
    authority, target = _split_url(text, rest, option)
    path = _unquote(authority)
    if not path or path[0] not in "/@":
        raise SpecError(
            f"{option}: {text!r}: write the socket's path as http+unix://%2Frun%2Fx.sock/ping"
        )
    return HttpProbe(text, "localhost", target, path=_socket_path(path, option))


def _split_url(text: str, rest: str, option: str) -> tuple[str, str]:
    """(authority, request target) of a URL after its scheme; refuses what would break the request
    line."""
    if not rest.startswith("//"):
        raise SpecError(
            f"{option}: {text!r} is not a URL (write {_scheme(text)}://127.0.0.1:8080/ping)"
        )
    if not text.isascii() or any(character <= " " or character == "\x7f" for character in text):
        raise SpecError(f"{option}: {text!r} has a character that a URL must write as %XX")
    rest = rest[2:].partition("#")[0]
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, target = rest[:cut], rest[cut:]
    if "@" in authority and not authority.startswith(("@", "%40")):
        raise SpecError(f"{option}: {text!r}: user names in a URL are not sent; leave them out")
    return authority, target if target.startswith("/") else "/" + target


def _scheme(text: str) -> str:
    return text.partition(":")[0]


def _unquote(text: str) -> str:
    first, *parts = text.split("%")
    out = first.encode()
    for part in parts:
        try:
            # fromhex() rather than int(): that takes signs, underscores and a single digit.
            out += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            out += b"%" + part.encode()
    return out.decode("utf-8", "surrogateescape")


def _parse_exec(text: str, rest: str, option: str, _: Resolve) -> Probe:
    import shlex  # only for exec probes: 1 MB, because it brings `re`

    try:
        argv = tuple(shlex.split(rest))
    except ValueError as error:
        raise SpecError(f"{option}: {text!r}: {error} (words are split as a shell would)") from None
    if not argv:
        raise SpecError(f"{option}: {text!r} names no command")
    return ExecProbe(text, argv)


def _parse_file(text: str, rest: str, option: str, _: Resolve) -> Probe:
    if not rest.startswith("/"):
        raise SpecError(f"{option}: {text!r}: write an absolute path (file:/run/x.ready)")
    return FileProbe(text, rest)


def _parse_of_target(text: str, rest: str, option: str, _: Resolve) -> Probe:
    from notifywrap.policy.targetspec import parse_of_target  # most services need none of it

    return parse_of_target(text, rest, option)


_PARSERS: dict[str, Callable[[str, str, str, Resolve], Probe]] = {
    "listen": _parse_listen,
    "tcp": _parse_tcp,
    "unix": _parse_unix,
    "http": _parse_http,
    "https": _parse_https,
    "grpc": _parse_grpc,
    "http+unix": _parse_http_unix,
    "exec": _parse_exec,
    "file": _parse_file,
    "log": _parse_of_target,
    "fd": _parse_of_target,
    "rss": _parse_of_target,
    "fds": _parse_of_target,
}
