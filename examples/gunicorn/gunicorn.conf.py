"""gunicorn's settings, and the hooks by which systemd learns how its workers fare.

A worker that does not get on for `timeout` seconds is stuck. Who acts:

                                          gunicorn                        systemd's watchdog
    sync, in one request for too long     kills that worker, at timeout   has no need to
    gthread, loop blocked (the GIL held)  kills that worker, at timeout   has no need to
    gthread, all of its threads stuck     does not see it                 restarts the unit
    any, stuck while it loads app.py      does not see it                 restarts, after 90 s
    dead again and again at its start     forks on and on                 restarts, after 90 s
    dead, and gunicorn itself is stuck    -                               restarts, after 90 s

Where both could act gunicorn wins: it acts at `timeout`, and only then the pings stop, for
WatchdogSec= before systemd acts. A ping that is missed meanwhile does no harm.

What "gets on" means for each kind of worker, and what it does not prove, is said in
notifywrap.gunicorn. One thread of several that is stuck is not found, as the others serve on:
requests need timeouts of their own, for the database say. And where all threads of a worker may
rightly be busy for longer than `timeout` (streams, long polls), raise that, or have more threads.
"""

from __future__ import annotations

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

wsgi_app = "app:app"
bind = "127.0.0.1:8000"
workers = 3
worker_class = "gthread"
threads = 4  # "sync" takes 1: gunicorn makes gthread of it else
timeout = 30  # longer than what a request may rightly take
graceful_timeout = 20  # for the last requests at a reload or stop; less than TimeoutStopSec=
worker_tmp_dir = "/dev/shm"  # its own signs of life: a busy disk would hold them up
control_socket_disable = True  # gunicornc's: systemctl does what it is for
