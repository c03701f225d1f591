"""What --http-... and --tls-... mean, and which probes they change.

Imported only when one of them is given.
"""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple
from notifywrap.policy.probe import DiscoverProbe, HttpProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from notifywrap.policy.probe import Probe, Tls

    # (name of a credential, option) -> what it holds; raises SpecError naming the option.
    ReadCredential = Callable[[str, str], str]

__all__ = ["HTTP_OPTIONS", "HttpOptions", "apply", "check_used", "parse"]

HTTP_OPTIONS = (
    "--http-header",
    "--http-header-credential",
    "--http-status",
    "--http-body",
    "--tls-ca",
    "--tls-cert",
    "--tls-key",
    "--tls-insecure",
)

# They describe a body that is not sent, and a connection that is not kept.
_REFUSED_HEADERS = ("connection", "content-length", "transfer-encoding")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HOST = frozenset("-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[:]")
_MOST_HEADER = 8192  # what servers commonly take for a whole line
_YES = ("yes", "true", "on", "1", "")
_NO = ("no", "false", "off", "0")


class HttpOptions(NamedTuple):
    """What was asked for; None where nothing was.

    given  (option, what an error calls it) of each that was given; no values, these may be secret
    """

    headers: tuple[tuple[str, str], ...] | None = None
    statuses: tuple[tuple[int, int], ...] | None = None
    body: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure: bool | None = None
    given: tuple[tuple[str, str], ...] = ()


def parse(
    values: Mapping[str, Sequence[str]],
    read_credential: ReadCredential,
    labels: Mapping[str, str] = {},
) -> HttpOptions:
    """Understand the options among *values* that HTTP_OPTIONS names.

    labels  option -> what an error calls it, where the user wrote it in another form (a TOML key)

    Raises SpecError naming the option.
    """
    label = {name: labels.get(name, name) for name in HTTP_OPTIONS}

    def last(name: str) -> str | None:
        return values[name][-1] if values.get(name) else None

    status, body, insecure = last("--http-status"), last("--http-body"), last("--tls-insecure")
    options = HttpOptions(
        headers=_headers(values, read_credential, label),
        statuses=None if status is None else _parse_statuses(status, label["--http-status"]),
        body=None if body is None else _parse_regex(body, label["--http-body"]),
        ca=_file(last("--tls-ca"), label["--tls-ca"]),
        cert=_file(last("--tls-cert"), label["--tls-cert"]),
        key=_file(last("--tls-key"), label["--tls-key"]),
        insecure=None if insecure is None else _parse_switch(insecure, label["--tls-insecure"]),
        given=tuple(pair for pair in label.items() if pair[0] in values),
    )
    if options.key is not None and options.cert is None:
        raise SpecError(f"{label['--tls-key']}: needs {label['--tls-cert']}, whose key it is")
    if options.insecure and options.ca is not None:
        raise SpecError(
            f"{label['--tls-insecure']}: contradicts {label['--tls-ca']} (leave one of them out)"
        )
    return options


def apply(probe: Probe, options: HttpOptions) -> Probe:
    """*probe*, asked as *options* say. One that they cannot be about is returned as it is."""
    if type(probe) is DiscoverProbe:
        hints = tuple(
            hint._replace(ready=apply(hint.ready, options), live=apply(hint.live, options))
            for hint in probe.hints
        )
        return probe._replace(hints=hints)
    if type(probe) is not HttpProbe:
        return probe
    headers = probe.headers if options.headers is None else options.headers
    return probe._replace(
        headers=headers,
        statuses=probe.statuses if options.statuses is None else options.statuses,
        body=probe.body if options.body is None else options.body,
        tls=None if probe.tls is None else _apply_tls(probe.tls, options, headers),
    )


def check_used(options: HttpOptions, probes: Sequence[Probe]) -> None:
    """Raises SpecError for an option that none of *probes* could be about."""
    asked: list[Probe] = []
    for probe in probes:
        hints = probe.hints if type(probe) is DiscoverProbe else ()
        asked += (probe, *(each for hint in hints for each in (hint.ready, hint.live)))
    has_http = any(type(probe) is HttpProbe for probe in asked)
    has_tls = any(type(probe) is HttpProbe and probe.tls is not None for probe in asked)
    for option, label in options.given:
        is_tls = option.startswith("--tls-")
        if not (has_tls if is_tls else has_http):
            kind = "https" if is_tls else "http"
            raise SpecError(f"{label}: there is no {kind} probe it could apply to")


def _apply_tls(tls: Tls, options: HttpOptions, headers: tuple[tuple[str, str], ...]) -> Tls:
    if options.ca is not None:
        tls = tls._replace(verify=True, ca=options.ca)
    if options.insecure is not None:
        tls = tls._replace(verify=not options.insecure, ca="" if options.insecure else tls.ca)
    if options.cert is not None:
        # Without --tls-key the key is looked for beside the certificate.
        tls = tls._replace(cert=options.cert, key=options.key or "")
    # A server with several names chooses its certificate by the name that is asked for: whoever
    # asks 127.0.0.1 for `Host: shop.example` means that site in TLS, too.
    for name, value in headers:
        if name.lower() == "host":
            host = value.rpartition(":")[0] if value.rpartition(":")[2].isdigit() else value
            if host and not host.startswith("["):
                tls = tls._replace(name=host.rstrip("."))
    return tls


def _headers(
    values: Mapping[str, Sequence[str]], read_credential: ReadCredential, label: dict[str, str]
) -> tuple[tuple[str, str], ...] | None:
    option, secret = "--http-header", "--http-header-credential"
    if option not in values and secret not in values:
        return None
    found = []
    for text in values.get(option, ()):
        name, value = _split_header(text, label[option], "K:V, for example Host:example.org")
        found.append((name, _check_value(name, value, label[option])))
    for text in values.get(secret, ()):
        name, credential = _split_header(
            text, label[secret], "K:NAME, for example Authorization:token"
        )
        value = read_credential(credential, label[secret]).rstrip("\r\n")
        found.append((name, _check_value(name, value, label[secret])))
    return tuple(found)


def _split_header(text: str, option: str, form: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        # Not the text: what lacks its name may be a secret.
        raise SpecError(f"{option}: a header needs a name and a value (write {form})")
    if not _TOKEN.issuperset(name):
        raise SpecError(f"{option}: {name!r} is not a header's name (write {form})")
    if name.lower() in _REFUSED_HEADERS:
        raise SpecError(f"{option}: {name} cannot be set: it is notifywrap's own")
    return name, value.strip(" \t")


def _check_value(name: str, value: str, option: str) -> str:
    """*value*; an error tells the name alone, as the value may be secret."""
    if any((character < " " and character != "\t") or character == "\x7f" for character in value):
        raise SpecError(f"{option}: the value of {name} has a control character in it")
    if len(value) > _MOST_HEADER:
        raise SpecError(f"{option}: the value of {name} is longer than {_MOST_HEADER} characters")
    if name.lower() == "host" and (not _HOST.issuperset(value) or value[:1] in (".", "")):
        raise SpecError(f"{option}: the value of Host is not a host name (write Host:example.org)")
    return value


def _parse_statuses(text: str, option: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        bounds = (low.strip(), (high if dash else low).strip())
        if not all(b.isascii() and b.isdigit() and len(b) == 3 for b in bounds):
            raise SpecError(f"{option}: {part!r} is no status (write 200-399 or 200,204,300-399)")
        first, last = int(bounds[0]), int(bounds[1])
        if not 100 <= first <= last <= 599:
            raise SpecError(f"{option}: {part!r} is not a range within 100-599")
        ranges.append((first, last))
    return tuple(ranges)


def _parse_regex(text: str, option: str) -> str:
    """*text*, once it is known to be a regular expression.

    That a search with it ends soon is not known: one such as (a+)+$ may take for ever on a body
    made for it, and is the user's own choice, as is the server.
    """
    import re  # only where a body is looked into: 1 MB

    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError(f"{option}: {text!r} is not a regular expression: {error}") from None
    if not text:
        raise SpecError(f"{option}: is empty, and would be found in any body (leave it out)")
    return text


def _parse_switch(text: str, option: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise SpecError(f"{option}: {text!r} is neither yes nor no")
    return text.lower() in _YES


def _file(path: str | None, option: str) -> str | None:
    if path is not None and (not path or "\0" in path):
        raise SpecError(f"{option}: {path!r} is no path of a file")
    return path
