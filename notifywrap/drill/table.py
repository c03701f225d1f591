"""The intruder's list: the 66 attempts that units are compared by, and more."""

from __future__ import annotations

from notifywrap.drill import files, kernel, network, others, programs

__all__ = ["ALL", "MORE", "NAMED"]

# In the order of published tables: counts of units can be compared over the same list alone.
_NAMES = (
    "read /etc/shadow",
    "read /etc/passwd",
    "list /root",
    "list /home",
    "write /etc/x",
    "write /usr/local/bin",
    "write traefik.toml",
    "modify own binary",
    "write /var/lib",
    "write /tmp",
    "see host /tmp",
    "write /run",
    "write state dir",
    "write acme.json",
    "see other processes",
    "read /proc/1/environ",
    "write /proc/sys",
    "read /proc/kallsyms",
    "read kmsg",
    "write cgroup",
    "mkdir cgroup",
    "open /dev/vda",
    "mknod blk",
    "mount tmpfs",
    "unshare user",
    "unshare net+user",
    "ptrace attach",
    "bpf()",
    "io_uring",
    "keyctl",
    "userfaultfd",
    "perf_event_open",
    "settime",
    "sethostname",
    "reboot",
    "setuid(0)",
    "chmod u+s",
    "setns/chroot",
    "mmap W+X",
    "exec dropped file in /tmp",
    "exec dropped in /var/tmp",
    "exec dropped in /dev/shm",
    "exec dropped file in state dir",
    "exec memfd",
    "fork a process",
    "start a thread",
    "exec /bin/sh",
    "exec python",
    "socket AF_INET",
    "socket AF_UNIX",
    "socket AF_NETLINK",
    "socket AF_PACKET",
    "socket AF_ALG",
    "socket AF_VSOCK",
    "raw ICMP",
    "bind :81 (priv)",
    "bind :18081",
    "connect backend",
    "connect other local port",
    "rw wrapper memory",
    "fake READY to notify socket",
    "connect PID1 private bus",
    "signal PID 1",
    "setpriority -10",
    "SCHED_FIFO",
    "personality",
)
_KNOWN = {
    attempt.name: attempt
    for part in (files, kernel, programs, network, others)
    for attempt in part.ATTEMPTS
}
NAMED = tuple(_KNOWN[name] for name in _NAMES)
MORE = tuple(attempt for name, attempt in _KNOWN.items() if name not in _NAMES)
ALL = (*NAMED, *MORE)
