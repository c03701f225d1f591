"""Units from no sandbox at all to the tightest, written for a target that is not there to run."""

from __future__ import annotations

__all__ = ["CAGED", "CLOSED", "FIRST", "OPEN", "ROOTED", "TIGHT"]

WRAPPED = "ExecStart=/usr/bin/notifywrap {}-- /usr/local/bin/hello --config=/etc/hello/hello.toml"
JAIL = (
    "--jail=exec,nofork,nounix,nomemfd,nosignal,read=/etc,read=/usr/share,"
    "write=${STATE_DIRECTORY},write=/tmp,bind=8899,connect=9901,connect=8899 "
)

OPEN = f"""\
[Service]
Type=notify
{WRAPPED.format("")}
"""

# What many a unit looks like whose author has read about sandboxing: strict, and root.
FIRST = """\
[Service]
Type=notify
ExecStart=/usr/local/bin/hello -c /etc/hello/hello.toml
WatchdogSec=1s
ProtectSystem=strict
ReadWritePaths=/etc/hello/hello.toml
PrivateTmp=true
ProtectHome=true
PrivateDevices=true
ProtectKernelTunables=true
ProtectControlGroups=true
LimitNPROC=1
"""

_SANDBOX = """\
KillMode=mixed
Restart=on-failure
WatchdogSec=1s
DynamicUser=yes
StateDirectory=hello
StateDirectoryMode=0700
WorkingDirectory=%S/hello
UMask=0077
CapabilityBoundingSet=
PrivateUsers=yes
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictNamespaces=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
RemoveIPC=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProcSubset=pid
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
NoExecPaths=/ /tmp /var/tmp /dev/shm /var/lib/private/hello
ExecPaths=/usr/local/bin/hello -/usr/bin/python3 /usr/lib /lib
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged @resources @aio @keyring @memlock @chown @setuid @ipc @pkey
SystemCallFilter=~memfd_create
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
TasksMax=256
"""

TIGHT = f"{OPEN}{_SANDBOX}"
CAGED = f"[Service]\nType=notify\n{WRAPPED.format(JAIL)}\n{_SANDBOX}"
ROOTED = f"""\
{CAGED}
RootDirectory=/srv/empty
BindReadOnlyPaths=/usr/lib /lib /lib64 /usr/bin /usr/share /usr/local/bin/hello /etc/hello
"""
CLOSED = f"{ROOTED}PrivateNetwork=yes\n"
