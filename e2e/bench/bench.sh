#!/usr/bin/env bash
# bench.sh [-s scenarios] [-p peers] [-r reps] [-d secs] [--rss] ['NAME=COMMAND with {listen} {backend} {proto} {certs} {spare}']...
# For a hop of two proxies (scenarios that end in -mtls): 'NAME=OUT-COMMAND ;; IN-COMMAND', of which the first
# takes plain connections and opens mutual TLS ones to {backend}, and the second the reverse.
set -euo pipefail
cd "$(dirname "$0")"
case " $* " in *-mtls*) ./gencerts.sh ;; esac
ulimit -n 60000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec python3 bench.py "$@"
