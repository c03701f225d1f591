"""The last step from a PROBE's text to what is tried: the http and tls options, credentials, and
whether this machine has what the probe needs."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.probe import GrpcProbe, HttpProbe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.policy.probe import Probe

__all__ = ["check_probes", "read_credential", "with_http_options"]


def with_http_options(
    probes: Sequence[Probe],
    values: Mapping[str, Sequence[str]],
    labels: Mapping[str, str] = {},
) -> tuple[Probe, ...]:
    """*probes* with the --http-... and --tls-... options among *values* applied to them.

    Raises SpecError naming the option: for what it says, or because none of *probes* could be
    meant. labels: as for httpoptions.parse().
    """
    if not any(name.startswith(("--http-", "--tls-")) for name in values):
        return tuple(probes)
    from notifywrap.policy import httpoptions

    options = httpoptions.parse(values, read_credential, labels)
    httpoptions.check_used(options, probes)
    return tuple(httpoptions.apply(probe, options) for probe in probes)


def check_probes(probes: Sequence[Probe]) -> None:
    """Raises SpecError when a probe needs what is not here: a package, or a file with a
    certificate.

    Call it last, before anything is started.
    """
    for probe in probes:
        if type(probe) is GrpcProbe:
            from notifywrap.probes.grpc import check_h2

            check_h2(probe)
        elif (
            type(probe) is HttpProbe and probe.tls is not None and (probe.tls.ca or probe.tls.cert)
        ):
            from notifywrap.probes.tls import context_for

            context_for(probe.tls)


def read_credential(name: str, option: str) -> str:
    """What the credential *name* holds, for a header. Raises SpecError naming *option* and the
    fix."""
    from notifywrap.runtime.credentials import read_credential as read_bytes

    return read_bytes(name, option).decode("utf-8", "surrogateescape")
