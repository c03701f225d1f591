"""Every option of the wrapper, as somebody would write it for a service."""

from __future__ import annotations

__all__ = ["VALUES", "written"]

VALUES = {
    "--ready": "log:started",
    "--live": "tcp:8080",
    "--probe": "exec:/usr/bin/env true",
    "--period": "40s",
    "--timeout": "45s",
    "--stable-for": "2s",
    "--start-timeout": "10min",
    "--kill-after": "60s",
    "--fail-after": "2",
    "--target-notify": "require",
    "--reload": "exec:/usr/bin/env true",
    "--reload-timeout": "5min",
    "--stop-signal": "INT",
    "--map-signal": "TERM=QUIT",
    "--sigpipe": "default",
    "--main": "target",
    "--pidfile": "/run/app/app.pid",
    "--jail": "default,bind=8080,read=/etc/app,write=${STATE_DIRECTORY}",
    "--credential": "db-password:DB_PASSWORD",
    "--http-header": "X-From: notifywrap",
    "--http-header-credential": "Authorization:token",
    "--http-status": "200",
    "--http-body": '"ok": true',
    "--tls-ca": "/etc/app/ca.pem",
    "--tls-cert": "/etc/app/cert.pem",
    "--tls-key": "/etc/app/key.pem",
    "--tls-insecure": "yes",
    "--preset": "nginx",
    "--config": "/etc/app/notifywrap.toml",
    "--log": "stderr",
    "--log-level": "debug",
}
# What an option makes sense with.
BESIDE = {
    "--live": ("--ready=tcp:8080",),
    "--tls-cert": ("--tls-key=/etc/app/key.pem", "--probe=https://127.0.0.1:8443/"),
    "--tls-key": ("--tls-cert=/etc/app/cert.pem", "--probe=https://127.0.0.1:8443/"),
}


def written(option: str, value: str = "") -> list[str]:
    """Words of a command line with it in."""
    is_about_probe = option.startswith(("--http-", "--tls-"))
    beside = BESIDE.get(option, ("--probe=https://127.0.0.1:8443/",) * is_about_probe)
    return [f"{option}={value or VALUES[option]}", *beside]
