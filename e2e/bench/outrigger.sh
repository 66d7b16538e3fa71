#!/usr/bin/env bash
# outrigger.sh LISTEN BACKEND PROTO CONTROL ADMIN INBOUND: one outbound sidecar that takes connections at LISTEN
# and is told by a control plane in a file, and by nothing else, that BACKEND serves them. PROTO is h1, h2 or tcp; the
# last three are free addresses.
#
# The control plane runs beside it. It has nothing to do once it has been asked, so that the rig may count its time too.
set -euo pipefail
listen=$1 backend=$2 proto=$3 control=$4 admin=$5 inbound=$6
bin=${OUTRIGGER_BIN:-$(dirname "$0")/bin/outrigger}
dir=${BENCH_RUN:-$(dirname "$0")/run}
mkdir -p "$dir"
mesh=$dir/mesh-${listen##*:}.yaml
service=bench.demo.svc.cluster.local

opaque=false hint=
case $proto in
	tcp) opaque=true ;;
	h2) hint='protocol: h2' ;;
esac
cat >"$mesh" <<MESH
services:
- name: $service
  port: 80
  opaque: $opaque
  endpoints:
  - address: $backend
    $hint
MESH

"$bin" control --file "$mesh" --listen "$control" &

# The sidecar asks again until the control plane listens; to wait for it here spares a back-off.
for _ in {1..100}; do
	if (: >"/dev/tcp/${control%:*}/${control##*:}") 2>/dev/null; then break; fi
	sleep 0.05
done

export OUTRIGGER_UNMESHED=true
export LINKERD2_PROXY_DESTINATION_SVC_ADDR=$control
export LINKERD2_PROXY_POLICY_SVC_ADDR=$control
export LINKERD2_PROXY_POLICY_WORKLOAD=bench
export LINKERD2_PROXY_ADMIN_LISTEN_ADDR=$admin
export OUTRIGGER_OUTBOUND_NAMED=$listen=$service:80
export OUTRIGGER_INBOUND_NAMED=$inbound=$backend
exec "$bin" proxy
