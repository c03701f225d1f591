"""gunicorn's settings, and the hooks by which systemd learns how its workers fare.

What they find, and what gunicorn's own `timeout` does beside them: see examples/gunicorn.
A database that goes away restarts nothing: that would not bring it back, and Django connects anew
by itself. But a worker whose threads all wait for it for longer than `timeout` is stuck like any
other, so give the database a timeout that is shorter (OPTIONS in DATABASES).
"""

from __future__ import annotations

import os

from notifywrap.gunicorn import (  # noqa: F401 - gunicorn finds its hooks by their names
    child_exit,
    on_exit,
    on_reload,
    on_starting,
    post_fork,
    post_request,
    post_worker_init,
    pre_exec,
    when_ready,
    worker_exit,
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

wsgi_app = "wsgi:application"
bind = "127.0.0.1:8000"
workers = 3
worker_class = "gthread"
threads = 4
timeout = 30  # longer than what a request may rightly take
graceful_timeout = 20  # for the last requests at a reload or stop; less than TimeoutStopSec=
worker_tmp_dir = "/dev/shm"  # its own signs of life: a busy disk would hold them up
control_socket_disable = True  # gunicornc's: systemctl does what it is for
