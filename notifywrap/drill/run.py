"""One drill from its start to its end, for a unit or right here."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

from notifywrap.drill.attempt import Context
from notifywrap.drill.bundle import bundle
from notifywrap.drill.cleaner import Cleaner
from notifywrap.drill.runner import run_here, run_unit
from notifywrap.drill.throwaway import Throwaway, make_throwaway, name_in_root
from notifywrap.drill.world import (
    World,
    backend_ports,
    find_code,
    find_interpreter,
    missing_capabilities,
)
from notifywrap.errors import NotifywrapError

if TYPE_CHECKING:
    from notifywrap.drill.runner import Report
    from notifywrap.drill.service import Service
    from notifywrap.unitfile.unit import Unit

__all__ = ["run_drill"]

_RUNTIME = "/run/systemd/system"  # sd_booted(3): there under systemd alone


def run_drill(unit: Unit | None, service: Service) -> tuple[Report, list[str]]:
    """The report on *service*, and remarks for people.

    unit  the unit whose sandbox it is; without one the attempts are made right here

    Raises NotifywrapError when the attempts cannot be made.
    """
    python = find_interpreter()
    tag = f"notifywrap-drill-{secrets.token_hex(4)}"
    home = f"{'/run' if unit is not None else '/tmp'}/{tag}-home"
    plan, root = Throwaway("", (), -1, ()), ""
    if unit is not None:
        _check_systemd()
        root = os.path.realpath(unit.text("RootDirectory", "/"))
        code = find_code(python)
        python = name_in_root(unit, python)
        plan = make_throwaway(unit, tag, home, python, code)
    rules = None if service.rules is None else plan.move(service.rules)
    beside = os.path.dirname(service.configuration)
    with (
        Cleaner(tag, home, [beside] if beside else [], root) as cleaner,
        World(tag, backend_ports(rules)) as world,
    ):
        os.mkdir(home, 0o700)
        context = Context(
            tag,
            binary=service.binary,
            configuration=service.configuration,
            state_file=service.state_file,
            python=python,
            is_wrapped=service.is_wrapped,
            rules=rules,
            max_processes=plan.max_processes,
            **world.facts(),
        )
        if unit is not None:
            program = bundle(context, is_alone=False)
            report = run_unit(tag, home, plan.text, program, cleaner)
        else:
            report = run_here(python, bundle(context, is_alone=True), cleaner)
    lacking = missing_capabilities()
    remarks = [f"nobody has {', '.join(lacking)} here: no unit is better for it"] if lacking else []
    return report, [*remarks, *plan.remarks, *report.remarks]


def _check_systemd() -> None:
    if not os.path.isdir(_RUNTIME):
        raise NotifywrapError(
            "systemd does not run here, and a unit's sandbox is its work: --lab boots one for this"
            " (as root); drill --jail=RULES -- COMMAND tries the jail alone"
        )
    if os.geteuid() != 0:
        raise NotifywrapError(f"only root can start a unit (try: sudo {sys.argv[0]} drill ...)")
