#!/bin/bash
# A wrapper as people write it: a loop around curl and systemd-notify. usage: loop.sh URL SECONDS COMMAND...
url=$1 pause=$2
shift 2
"$@" &
pid=$!
trap 'kill -TERM $pid' TERM
until curl -fsS -o /dev/null --max-time 2 "$url"; do
    kill -0 $pid || exit 1
    sleep 0.1
done
systemd-notify --ready
while kill -0 $pid; do
    curl -fsS -o /dev/null --max-time 2 "$url" && systemd-notify WATCHDOG=1
    sleep "$pause"
done
wait $pid
