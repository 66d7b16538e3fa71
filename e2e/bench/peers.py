"""Peers: each entry gives, for a protocol family (h1, h2, tcp), the command lines of a proxy.
hop(side) is '' (one plain proxy), 'out' (plain in, mTLS out) or 'in' (mTLS in, plain out)."""
import os
HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ.get('BENCH_BIN', os.path.join(HERE, 'bin'))
CERTS = os.path.join(HERE, 'certs')
RUN = os.environ.get('BENCH_RUN', os.path.join(HERE, 'run'))
CS = 'TLS_AES_128_GCM_SHA256'

def _w(name, txt):
    os.makedirs(RUN, exist_ok=True)
    p = os.path.join(RUN, name)
    with open(p, 'w') as f:
        f.write(txt)
    return p

def haproxy(fam, side, L, B, tag):
    h2 = fam == 'h2'
    bind, srv = '', ''
    if side == 'in':
        bind = f'ssl crt {CERTS}/server.pem ca-file {CERTS}/ca.crt verify required ssl-min-ver TLSv1.3 alpn {"h2" if h2 else "http/1.1"}' if fam != 'tcp' else f'ssl crt {CERTS}/server.pem ca-file {CERTS}/ca.crt verify required ssl-min-ver TLSv1.3'
    elif h2:
        bind = 'proto h2'
    if side == 'out':
        srv = f'ssl crt {CERTS}/client.pem ca-file {CERTS}/ca.crt verify required verifyhost server.test sni str(server.test) ssl-min-ver TLSv1.3' + (' alpn h2' if h2 else '')
    elif h2:
        srv = 'proto h2'
    mode = 'tcp' if fam == 'tcp' else 'http'
    opts = '  option splice-auto\n' if mode == 'tcp' else '  option http-keep-alive\n  http-reuse always\n'
    cfg = f'''global
  nbthread {os.environ.get("BENCH_THREADS","1")}
  maxconn 4000
  stats socket /dev/null
  ssl-default-bind-ciphersuites {CS}
  ssl-default-server-ciphersuites {CS}
  ssl-default-server-options ssl-min-ver TLSv1.3
  tune.h2.initial-window-size 1048576
  tune.h2.max-concurrent-streams 1000
  tune.pipesize 262144
defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  maxconn 4000
{opts}frontend f
  bind {L} {bind}
{"  http-request set-header x-px 1" if mode=="http" else ""}
  default_backend b
backend b
  server s {B} {srv}
'''.replace('  stats socket /dev/null\n', '')
    return f'haproxy -db -q -f {_w(tag+".cfg", cfg)}'

def nginx(fam, side, L, B, tag):
    tls_in = f'ssl_certificate {CERTS}/server.pem; ssl_certificate_key {CERTS}/server.pem; ssl_client_certificate {CERTS}/ca.crt; ssl_verify_client on; ssl_protocols TLSv1.3; ssl_session_cache shared:S:10m; ssl_conf_command Ciphersuites {CS};' if side == 'in' else ''
    def tls_out(p):
        return f'{p}_ssl_certificate {CERTS}/client.pem; {p}_ssl_certificate_key {CERTS}/client.pem; {p}_ssl_trusted_certificate {CERTS}/ca.crt; {p}_ssl_verify on; {p}_ssl_name server.test; {p}_ssl_server_name on; {p}_ssl_protocols TLSv1.3; {p}_ssl_conf_command Ciphersuites {CS};' if side == 'out' else ''
    ssl = 'ssl' if side == 'in' else ''
    top = f'''daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; error_log {RUN}/{tag}.err crit; pid {RUN}/{tag}.pid;
events {{ worker_connections 10000; multi_accept on; }}
'''
    if fam == 'tcp':
        cfg = 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n' + top + f'''stream {{ upstream b {{ server {B}; }} {tls_in}
 server {{ listen {L} {ssl} backlog=4096; proxy_pass b; proxy_buffer_size 64k; tcp_nodelay on; {"proxy_ssl on;" if side=="out" else ""} {tls_out("proxy")} }} }}
'''
    else:
        tmp = f'client_body_temp_path {RUN}/{tag}.cb; proxy_temp_path {RUN}/{tag}.pt; fastcgi_temp_path {RUN}/{tag}.ft; uwsgi_temp_path {RUN}/{tag}.ut; scgi_temp_path {RUN}/{tag}.st;'
        if fam == 'h2':
            pas = f'grpc_pass {"grpcs" if side=="out" else "grpc"}://b; grpc_set_header x-px 1; grpc_buffer_size 16k; {tls_out("grpc")}'
            lis = f'listen {L} http2 {ssl} backlog=4096;'
        else:
            pas = f'proxy_pass {"https" if side=="out" else "http"}://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header x-px 1; {tls_out("proxy")}'
            lis = f'listen {L} {ssl} backlog=4096;'
        cfg = top + f'''http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; {tmp} http2_max_concurrent_streams 1000; http2_recv_buffer_size 256k; client_max_body_size 0;
 upstream b {{ server {B}; keepalive 2000; keepalive_requests 100000000; }} {tls_in}
 server {{ {lis} location / {{ {pas} }} }} }}
'''
    return f'nginx -c {_w(tag+".conf", cfg)}'

def nghttpx(fam, side, L, B, tag):
    if fam == 'tcp':
        return None
    lh, lp = L.split(':'); bh, bp = B.split(':')
    fr = f'{lh},{lp}' + ('' if side == 'in' else ';no-tls')
    bk = f'{bh},{bp};;' + ('proto=h2' if fam == 'h2' else 'proto=http/1.1') + (';tls;sni=server.test' if side == 'out' else '')
    x = ''
    if side == 'in':
        x = f'--verify-client --verify-client-cacert={CERTS}/ca.crt --tls-min-proto-version=TLSv1.3 --tls13-ciphers={CS} {CERTS}/server.key {CERTS}/server.crt'
    if side == 'out':
        x = f'--client-private-key-file={CERTS}/client.key --client-cert-file={CERTS}/client.crt --cacert={CERTS}/ca.crt --tls-min-proto-version=TLSv1.3 --tls13-client-ciphers={CS}'
    return (f"nghttpx -f'{fr}' -b'{bk}' --workers=1 --single-process --no-via --add-request-header='x-px: 1' --conf=/dev/null --errorlog-file={RUN}/{tag}.err --accesslog-file= "
            f'--frontend-http2-max-concurrent-streams=1000 --frontend-http2-window-size=1048575 --backend-http2-window-size=1048575 --backend-keep-alive-timeout=300 --max-worker-processes=1 --no-add-x-forwarded-proto --pid-file={RUN}/{tag}.pid {x}').replace('--max-worker-processes=1 ', '')

def revproxy(fam, side, L, B, tag):
    """net/http/httputil's ReverseProxy: one hop in the clear, by the versions of the standard library"""
    return f'{BIN}/lg rp -proto {fam} -listen {L} -backend {B}' if fam != 'tcp' and not side else None

def hyper(fam, side, L, B, tag):
    """a small proxy on Rust's hyper, built elsewhere and put into bin/"""
    exe = f'{BIN}/hyperproxy'
    return f'{exe} {fam} {L} {B}' if not side and os.path.exists(exe) else None

def mosn(fam, side, L, B, tag):
    if side or fam == 'tcp':
        return None
    import json
    p = {'h1': 'Http1', 'h2': 'Http2'}[fam]
    filt = [{"type": "proxy", "config": {"downstream_protocol": p, "upstream_protocol": p, "router_config_name": "r"}}]
    cfg = {"servers": [{"default_log_path": f"{RUN}/{tag}.log", "default_log_level": "FATAL", "routers": [{"router_config_name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routers": [{"match": {"prefix": "/"}, "route": {"cluster_name": "c", "timeout": "30s"}}]}]}],
        "listeners": [{"name": "l", "address": L, "bind_port": True, "filter_chains": [{"filters": filt}]}]}],
        "cluster_manager": {"clusters": [{"name": "c", "type": "SIMPLE", "lb_type": "LB_RANDOM", "max_request_per_conn": 100000000, "conn_buffer_limit_bytes": 32768, "circuit_breakers": [{"max_connections": 20000, "max_requests": 200000, "max_pending_requests": 200000}], "hosts": [{"address": B}]}]}, "pid": f"{RUN}/{tag}.pid"}
    return f'{BIN}/mosn start -c {_w(tag+".json", json.dumps(cfg))}'

def caddy(fam, side, L, B, tag):
    if fam == 'tcp' or side:
        return None
    sch = 'h2c' if fam == 'h2' else 'http'
    cfg = f'''{{
 admin off
 auto_https off
 log {{
  level ERROR
  output discard
 }}
 servers {{
  protocols h1 {"h2c" if fam=="h2" else ""}
 }}
}}
http://:{L.split(":")[1]} {{
 bind 127.0.0.1
 reverse_proxy {sch}://{B} {{
  header_up x-px 1
  flush_interval -1
  transport http {{
   keepalive_idle_conns 4000
   keepalive_idle_conns_per_host 4000
   compression off
   {"versions h2c" if fam=="h2" else ""}
  }}
 }}
}}
'''
    return f'env XDG_DATA_HOME={RUN} XDG_CONFIG_HOME={RUN} {BIN}/caddy run --adapter caddyfile --config {_w(tag+".Caddyfile", cfg)}'

PEERS = {
    'haproxy': haproxy,
    'nginx': nginx,
    'nghttpx': nghttpx,
    'hyper': hyper,
    'go-revproxy': revproxy,
    'caddy': lambda *a: caddy(*a) if os.path.exists(f'{BIN}/caddy') else None,
    'mosn': lambda *a: mosn(*a) if os.path.exists(f'{BIN}/mosn') else None,
}
