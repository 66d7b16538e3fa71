#!/usr/bin/env bash
# outrigger-mesh.sh in|out LISTEN BACKEND PROTO CONTROL ADMIN OTHER: one sidecar of two, between which there is mutual TLS.
#
# in: the inbound one, before BACKEND, and beside it the control plane in a file that both are told by, and certified. LISTEN is
# its own inbound port. out: the outbound one, which takes plain connections at LISTEN; BACKEND is the other's LISTEN, by which
# it finds that control plane. PROTO is h1, h2 or tcp; the last three are free addresses, of which out uses the last two.
set -euo pipefail
side=$1 listen=$2 backend=$3 proto=$4 control=$5 admin=$6 other=$7
bin=${OUTRIGGER_BIN:-$(dirname "$0")/bin/outrigger}
dir=${BENCH_RUN:-$(dirname "$0")/run}
service=bench.demo.svc.cluster.local
inbound=$listen
[[ $side == in ]] || inbound=$backend
mesh=$dir/pair-${inbound##*:}
server=server.demo.serviceaccount.identity.linkerd.cluster.local
client=client.demo.serviceaccount.identity.linkerd.cluster.local

if [[ $side == in ]]; then
	mkdir -p "$mesh/server" "$mesh/client"
	opaque=false hint='protocol: h2' # as every meshed endpoint has it: HTTP/1 goes in HTTP/2
	[[ $proto != tcp ]] || opaque=true hint=
	printf '%s: server\n%s: client\n' "$server" "$client" >"$mesh/tokens.yaml"
	echo "$control" >"$mesh/control"
	cat >"$mesh/mesh.yaml" <<-MESH
	identity: {tokens: tokens.yaml, directory: ca}
	services:
	- name: $service
	  port: 80
	  opaque: $opaque
	  endpoints:
	  - address: $backend
	    identity: $server
	    inboundPort: ${listen##*:}
	    $hint
	MESH
	"$bin" control --file "$mesh/mesh.yaml" --listen "$control" &
	name=server
	export LINKERD2_PROXY_INBOUND_LISTEN_ADDR=$listen LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=$other
	[[ $proto != tcp ]] || export LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION=${backend##*:}
else
	control=$(cat "$mesh/control")
	name=client
	export LINKERD2_PROXY_INBOUND_LISTEN_ADDR=$other OUTRIGGER_OUTBOUND_NAMED=$listen=$service:80
fi

# The sidecar asks again until the control plane listens; to wait for it here spares a back-off.
for _ in {1..100}; do
	if [[ -e $mesh/ca/ca.crt ]] && (: >"/dev/tcp/${control%:*}/${control##*:}") 2>/dev/null; then break; fi
	sleep 0.05
done

echo "$name" >"$mesh/$name/token"
export LINKERD2_PROXY_DESTINATION_SVC_ADDR=$control
export LINKERD2_PROXY_POLICY_SVC_ADDR=$control
export LINKERD2_PROXY_POLICY_WORKLOAD=bench
export LINKERD2_PROXY_ADMIN_LISTEN_ADDR=$admin
export LINKERD2_PROXY_IDENTITY_SVC_ADDR=$control
export LINKERD2_PROXY_IDENTITY_DIR=$mesh/$name
export LINKERD2_PROXY_IDENTITY_TOKEN_FILE=$mesh/$name/token
export LINKERD2_PROXY_IDENTITY_LOCAL_NAME=$name.demo.serviceaccount.identity.linkerd.cluster.local
LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=$(cat "$mesh/ca/ca.crt")
export LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS
exec "$bin" proxy
