"""A job-control shell with one job: runs COMMAND in front on the terminal that is its stdin.

usage: shell.py COMMANDS REPORTS COMMAND...   (two descriptors: it reads "fg" or "bg" from the one,
and reports on the other); it must lead a session that has no terminal yet

Reports "stopped BACK" and "ended STATUS BACK": BACK says whether the job gave the terminal back to
its own process group, where the shell put it.
"""

import fcntl
import os
import signal
import sys
import termios

commands, reports = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)

job = os.fork()
if job == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.execvp(sys.argv[3], sys.argv[3:])
try:
    os.setpgid(job, job)
except PermissionError:
    pass  # EACCES: it has done so itself and is the job already
os.tcsetpgrp(0, job)
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    back = os.tcgetpgrp(0) == job
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        os.write(reports, f"ended {os.waitstatus_to_exitcode(status)} {back}\n".encode())
        break
    os.write(reports, f"stopped {back}\n".encode())
    if commands.readline() == "fg\n":
        os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
