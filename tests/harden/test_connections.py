"""Ports that a service connects to, from the kernel's table."""

from __future__ import annotations

import socket

from notifywrap.harden.connections import (
    Connection,
    find_backends,
    find_peers,
    find_ports,
    parse_table,
    read_table,
)
from tests.ports import free_port

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2260 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1
   1: 0100007F:D431 0100007F:2260 01 00000000:00000000 00:00000000 00000000     0        0 8 1
   2: 0100007F:2260 0100007F:D431 06 00000000:00000000 00:00000000 00000000     0        0 9 1
"""


def test_a_table_is_both_ports_of_all_but_listeners() -> None:
    assert parse_table(TABLE) == {Connection(54321, 8800), Connection(8800, 54321)}


def test_own_ports_are_those_of_clients_and_probes() -> None:
    """Exercises come from the same machine: to allow their port would allow everybody's."""
    before = frozenset({Connection(50000, 5432)})
    after = {*before, Connection(50001, 80), Connection(80, 50001), Connection(50002, 8800)}
    assert find_ports(before, after, own=[80]) == (8800,)


def test_a_connection_is_seen_after_its_end() -> None:
    """Most last a millisecond: nobody who looks at processes sees them."""
    port = free_port()
    before = read_table()
    with socket.create_server(("127.0.0.1", port)) as server:
        with socket.create_connection(("127.0.0.1", port)):
            pass
        server.accept()[0].close()
    assert port in find_ports(before, read_table(), own=[])


def test_peers_are_other_machines_that_it_has_connected_to() -> None:
    """Whoever has connected to it is a client, and this machine is allowed anyway."""
    table = TABLE + (
        "   3: 0708090A:D500 0100000A:1538 01 0 0 0 0 0 1 1\n"
        "   4: 0708090A:2260 0200000A:D501 01 0 0 0 0 0 1 1\n"
    )
    assert find_peers(frozenset(), parse_table(table), own=[8800]) == ("10.0.0.1",)


def test_backends_are_other_services_of_this_machine() -> None:
    """With the address that it knows them by: a proxy has to listen at that."""
    connections = {
        Connection(50001, 6379),
        Connection(6379, 50001),  # the backend's end
        Connection(50002, 5432, "::1"),
        Connection(50003, 53, "10.0.0.1"),  # another machine
        Connection(50004, 8800),  # a client of its own
        Connection(50005, 11211),  # was there before
    }
    before = frozenset({Connection(50005, 11211)})
    assert find_backends(before, connections, own=[8800]) == ("127.0.0.1:6379", "[::1]:5432")
