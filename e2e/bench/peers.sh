#!/usr/bin/env bash
# peers.sh: build the sidecar and the load generator, measure the first beside its peers, and write what came out into
# docs/performance.md. It ends with an error if a bar is missed, or if a peer is not there to be compared with.
set -euo pipefail
cd "$(dirname "$0")"
top=../..

missing=()
command -v haproxy >/dev/null || missing+=(haproxy)
command -v nginx >/dev/null || missing+=(nginx)
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || missing+=(libnginx-mod-stream)
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v python3 >/dev/null || missing+=(python3)
if ((${#missing[@]})); then
	echo "bench-peers: MISSING: apt-get install ${missing[*]}" >&2
	exit 1
fi

mkdir -p bin run
(cd "$top" && CGO_ENABLED=0 go build -trimpath -pgo=cmd/outrigger/sidecar.pgo -o e2e/bench/bin/outrigger ./cmd/outrigger)
(cd .. && go build -o bench/bin/lg ./bench/lg)

seconds=${BENCH_SECONDS:-2} repeats=${BENCH_REPEATS:-5} scenarios=${BENCH_SCENARIOS:-h1,h2,h2-c100,grpc,tcp-bulk}
command=(./bench.sh -s "$scenarios" -p direct,haproxy,nginx,go-revproxy -r "$repeats" -d "$seconds" --fd "$seconds" -o run/peers.json
	'outrigger=./outrigger.sh {listen} {backend} {proto} {spare}')
"${command[@]}" | tee run/peers.md
python3 report.py "$top/docs/performance.md" run/peers.json run/peers.md bars.txt "BENCH_SECONDS=$seconds BENCH_REPEATS=$repeats make bench-peers"
