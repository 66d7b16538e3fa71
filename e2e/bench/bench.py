#!/usr/bin/env python3
"""Side-by-side proxy bench. See README.md. One run measures every contender of every scenario in turn, REPS times,
interleaved, so that what is compared was measured seconds apart on the same noisy machine."""
import argparse, json, os, re, shlex, signal, socket, statistics as st, subprocess, sys, time
import peers as P
HERE, BIN, RUN, CERTS = P.HERE, P.BIN, P.RUN, P.CERTS
os.makedirs(RUN, exist_ok=True)
TCK = os.sysconf('SC_CLK_TCK')
PX = os.environ.get('BENCH_PX_CPU', '1'); LG = os.environ.get('BENCH_LG_CPU', '0')
procs = []
# The kernel's autogroups make plain nice values count inside one session only: each process gets a session of its own,
# a group weight (BENCH_GROUP_NICE) and a short slice, so that other jobs on the machine add little wake-up delay.
GNICE = os.environ.get('BENCH_GROUP_NICE', '-6')
import ctypes, struct
_libc = ctypes.CDLL(None, use_errno=True)
def prep(cpu):
    def f():
        os.sched_setaffinity(0, {int(x) for x in cpu.split(',')})
        try: open('/proc/self/autogroup', 'w').write(GNICE)
        except OSError: pass
        if RTON: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10)); return
        a = struct.pack('IIQiIQQQII', 56, 0, 0, 0, 0, 100000, 0, 0, 0, 0)   # SCHED_OTHER, nice 0, slice 0.1 ms
        _libc.syscall(314, 0, a, 0)
    return f

def sh(cmd, cpu, env=None, log=None):
    f = open(log, 'w') if log else subprocess.DEVNULL
    p = subprocess.Popen(['bash', '-c', 'exec ' + cmd], stdout=f, stderr=f, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=prep(cpu))
    procs.append(p)
    return p

def rt(on):
    """constant-rate runs: round-robin real-time class for proxy, backend and generator (they idle mostly), so that the
    latencies are those of the proxies and not those of other jobs on the machine"""
    if os.environ.get('BENCH_RT', '1') != '1': return
    for p in procs:
        for k in tree(p.pid):
            try: ts = os.listdir(f'/proc/{k}/task')
            except OSError: continue
            for t in ts:
                try: os.sched_setscheduler(int(t), os.SCHED_RR if on else os.SCHED_OTHER, os.sched_param(10 if on else 0))
                except OSError: pass
    global RTON
    RTON = on
RTON = False

def stop(p):
    if p in procs:
        procs.remove(p)
    if p.poll() is None:
        for k in tree(p.pid)[::-1]:
            try: os.kill(k, signal.SIGTERM)
            except OSError: pass
        try: p.wait(2)
        except subprocess.TimeoutExpired:
            for k in tree(p.pid)[::-1]:
                try: os.kill(k, signal.SIGKILL)
                except OSError: pass
            p.wait()

def tree(pid):
    out = [pid]
    for p in out:
        try:
            for t in os.listdir(f'/proc/{p}/task'):
                out += [int(x) for x in open(f'/proc/{p}/task/{t}/children').read().split()]
        except OSError: pass
    return out

def cpu(ps):
    """(user, sys) seconds of the process trees"""
    u = s = 0
    for p in ps:
        for k in tree(p.pid):
            try: f = open(f'/proc/{k}/stat').read().rsplit(')', 1)[1].split()
            except OSError: continue
            u += int(f[11]); s += int(f[12])
    return u / TCK, s / TCK

def pss(ps):
    t = 0
    for p in ps:
        for k in tree(p.pid):
            try:
                for l in open(f'/proc/{k}/smaps_rollup'):
                    if l.startswith('Pss:'): t += int(l.split()[1])
            except OSError: pass
    return t / 1024

def wait_port(a, to=10, ps=()):
    h, p = a.split(':'); e = time.time() + to
    while time.time() < e:
        try:
            socket.create_connection((h, int(p)), 0.5).close(); return True
        except OSError: time.sleep(0.05)
        if any(x.poll() is not None for x in ps): return False
    return False

# ---- backends ----
BE = {}
def backend(kind):
    if kind in BE: return BE[kind]
    if kind == 'h1':
        a = '127.0.0.1:18080'
        s = 'x' * 128; m = 'y' * 10240
        c = P._w('be.conf', f'''daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; error_log {RUN}/be.err crit; pid {RUN}/be.pid; events {{ worker_connections 10000; multi_accept on; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_body_temp_path {RUN}/be.cb; proxy_temp_path {RUN}/be.pt; fastcgi_temp_path {RUN}/be.ft; uwsgi_temp_path {RUN}/be.ut; scgi_temp_path {RUN}/be.st;
 server {{ listen {a} backlog=4096; default_type text/plain; root {RUN}/www; open_file_cache max=10; sendfile on; location = /s {{ return 200 "{s}"; }} location /m {{ }} location /l {{ }} }} }}''')
        os.makedirs(f'{RUN}/www', exist_ok=True); open(f'{RUN}/www/l', 'wb').write(b'z' * 1048576); open(f'{RUN}/www/m', 'wb').write(m.encode())
        cmd = f'nginx -c {c}'
    elif kind == 'h2':
        a = '127.0.0.1:18081'; cmd = f'{BIN}/lg h2be -addr {a} -size 128'
    elif kind == 'h2m':
        a = '127.0.0.1:18085'; cmd = f'{BIN}/lg h2be -addr {a} -size 10240'
    elif kind == 'grpc':
        a = '127.0.0.1:18082'; cmd = f'{BIN}/lg h2be -addr {a} -size 128'
    elif kind == 'echo':
        a = '127.0.0.1:18083'; cmd = f'{BIN}/lg echo -addr {a}'
    elif kind == 'sink':
        a = '127.0.0.1:18084'; cmd = f'{BIN}/lg sink -addr {a}'
    p = sh(cmd, LG)
    if not wait_port(a, 10, [p]): sys.exit(f'backend {kind} did not start: {cmd}')
    BE[kind] = a
    return a

# ---- load ----
def run_lg(cmd, to=120):
    r = subprocess.run(shlex.split(cmd), capture_output=True, text=True, timeout=to, start_new_session=True, preexec_fn=prep(LG))
    return r.stdout + r.stderr

def unit(s):
    m = re.match(r'([\d.]+)(us|ms|s|m)$', s); return float(m[1]) * {'us': 1, 'ms': 1e3, 's': 1e6, 'm': 6e7}[m[2]]

def wrk(a, path, c, d):
    o = run_lg(f'wrk -t1 -c{c} -d{d}s --latency --timeout 10s http://{a}{path}')
    n = re.search(r'(\d+) requests in', o); rps = re.search(r'Requests/sec:\s+([\d.]+)', o)
    if not n: return None
    bad = sum(int(x) for x in re.findall(r'(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)', o))
    return dict(reqs=int(n[1]), rps=float(rps[1]), bad=bad)

def h2load(a, path, c, m, d, extra=''):
    o = run_lg(f'h2load -t1 -c{c} -m{m} -D{d} --warm-up-time=0 -w 20 -W 24 {extra} http://{a}{path}')
    n = re.search(r'requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed', o)
    if not n: return None
    done = int(n[3])
    s = re.search(r'status codes: (\d+) 2xx', o)
    bad = max(int(n[4]), int(n[2]) - int(s[1]) if s else int(n[2]))
    return dict(reqs=done, rps=done / d, bad=bad)

def lgj(cmd):
    o = run_lg(f'{BIN}/lg ' + cmd)
    try: return json.loads(o.strip().split('\n')[-1])
    except Exception: return None

GB = P._w('grpc.body', '') ; open(GB, 'wb').write(b'\0\0\0\0\x80' + b'q' * 128)
GX = f"-d {GB} -H 'content-type: application/grpc' -H 'te: trailers' -H 'user-agent: grpc-bench/1'"
# name: family, backend, saturation(addr, seconds), fixed(addr, rate, seconds), default rate, hop
def S(fam, be, sat, fix, rate, mtls=False, unit='req', what=''):
    return dict(fam=fam, be=be, sat=sat, fix=fix, rate=rate, mtls=mtls, unit=unit, what=what)
F = lambda proto, c, path='/s': (lambda a, r, d: lgj(f'fix -proto {proto} -addr {a} -rate {r} -conns {c} -dur {d}s -path {path}'))
base = {
    'h1':      S('h1', 'h1', lambda a, d: wrk(a, '/s', 64, d), F('h1', 32), 3000, what='HTTP/1.1 keep-alive GET, 128 B, 64 connections'),
    'h1-10k':  S('h1', 'h1', lambda a, d: wrk(a, '/m', 64, d), F('h1', 32, '/m'), 2000, what='HTTP/1.1 GET, 10 KiB, 64 connections'),
    'h1-1m':   S('h1', 'h1', lambda a, d: wrk(a, '/l', 16, d), None, 0, what='HTTP/1.1 GET, 1 MiB, 16 connections'),
    'h1-conn': S('h1', 'h1', lambda a, d: lgj(f'conn -addr {a} -conns 16 -dur {d}s'), None, 0, unit='conn', what='HTTP/1.1, new client connection per request'),
    'h2':      S('h2', 'h2', lambda a, d: h2load(a, '/s', 8, 32, d), F('h2', 8), 3000, what='h2c GET, 128 B, 8 connections x 32 streams'),
    'h2-10k':  S('h2', 'h2m', lambda a, d: h2load(a, '/m', 8, 32, d), F('h2', 8, '/m'), 2000, what='h2c GET, 10 KiB, 8 x 32'),
    'h2-low':  S('h2', 'h2', lambda a, d: h2load(a, '/s', 8, 1, d), None, 0, what='h2c GET, 128 B, 8 connections x 1 stream (little batching)'),
    'h1-c1000': S('h1', 'h1', lambda a, d: wrk(a, '/s', 1000, d), None, 0, what='HTTP/1.1 GET, 128 B, 1000 connections'),
    'h2-c100': S('h2', 'h2', lambda a, d: h2load(a, '/s', 100, 1, d), None, 0, what='h2c GET, 128 B, 100 connections x 1 stream'),
    'grpc':    S('h2', 'grpc', lambda a, d: h2load(a, '/bench.Echo/Unary', 8, 32, d, GX), F('grpc', 8), 3000, what='gRPC-shaped unary (POST, DATA echo, trailers), 133 B, 8 x 32'),
    'tcp-rr':  S('tcp', 'echo', lambda a, d: lgj(f'rr -addr {a} -conns 32 -dur {d}s'), F('tcp', 32), 3000, what='raw TCP ping-pong, 128 B, 32 connections'),
    'tcp-conn': S('tcp', 'h1', lambda a, d: lgj(f'conn -addr {a} -conns 16 -dur {d}s'), None, 0, unit='conn', what='raw TCP proxying, a new connection per request (with mTLS: a handshake per connection, default resumption)'),
    'tcp-bulk': S('tcp', 'sink', lambda a, d: lgj(f'bulk -addr {a} -conns 4 -dur {d}s'), None, 0, unit='MB', what='raw TCP upload, 4 connections'),
}
SC = dict(base)
for k, v in base.items():
    SC[k + '-mtls'] = {**v, 'mtls': True, 'rate': v['rate'] * 2 // 3, 'what': v['what'] + '; two proxies with a TLS 1.3 client-certificate hop'}

_port = [20000]
def port():
    while True:
        _port[0] += 1
        s = socket.socket()
        try: s.bind(('127.0.0.1', _port[0])); return f'127.0.0.1:{_port[0]}'
        except OSError: continue
        finally: s.close()

def start(name, sc, custom):
    """(listen address, [processes]) or None"""
    s = SC[sc]; B = backend(s['be'])
    if name == 'direct': return B, []
    L = port(); tag = f'{name}-{sc}'
    if name in custom:
        tpl = custom[name]
        if s['mtls']:
            if ';;' not in tpl: return None
            M = port(); o, i = tpl.split(';;')
            some = lambda: ' '.join(port() for _ in range(3))
            cmds = [i.format(listen=M, backend=B, certs=CERTS, proto=s['fam'], spare=some()), o.format(listen=L, backend=M, certs=CERTS, proto=s['fam'], spare=some())]
        else:
            cmds = [tpl.split(';;')[0].format(listen=L, backend=B, certs=CERTS, proto=s['fam'], spare=' '.join(port() for _ in range(3)))]
    else:
        f = P.PEERS[name]
        if s['mtls']:
            M = port()
            cmds = [f(s['fam'], 'in', M, B, tag + '-in'), f(s['fam'], 'out', L, M, tag + '-out')]
        else:
            cmds = [f(s['fam'], '', L, B, tag)]
    if any(c is None for c in cmds):
        print(f'# {name}/{sc}: SKIPPED, it has no such form or is not in bin/', file=sys.stderr)
        return None
    ps = []
    for c in cmds:
        ps.append(sh(c, PX, log=f'{RUN}/{tag}.{len(ps)}.out'))
        time.sleep(0.15)
    if not wait_port(L, 10, ps):
        print(f'# {name}/{sc}: did not start: {cmds}', file=sys.stderr)
        for p in ps: stop(p)
        return None
    return L, ps

def mmm(l, f='{:.1f}'):
    return '/'.join(f.format(x) for x in (min(l), st.median(l), max(l))) if l else '-'

def main():
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    ap = argparse.ArgumentParser()
    ap.add_argument('-s', default='h1,h2,grpc,tcp-rr,tcp-bulk'); ap.add_argument('-p', default='direct,haproxy,nginx,go-revproxy')
    ap.add_argument('-r', type=int, default=3); ap.add_argument('-d', type=int, default=3)
    ap.add_argument('--fd', type=int, default=4, help='seconds of a constant-rate run'); ap.add_argument('--rate', type=int, default=0)
    ap.add_argument('--no-fix', action='store_true'); ap.add_argument('--no-sat', action='store_true'); ap.add_argument('--rss', action='store_true')
    ap.add_argument('--base', default='haproxy'); ap.add_argument('-o', default='')
    ap.add_argument('custom', nargs='*', help='NAME=COMMAND with {listen} {backend} {proto} {certs} {spare}; for mTLS hops OUT-COMMAND ;; IN-COMMAND')
    a = ap.parse_args()
    custom = dict(c.split('=', 1) for c in a.custom)
    res = {}
    try:
        for sc in a.s.split(','):
            s = SC[sc]; run = {}
            for n in a.p.split(',') + list(custom):
                r = start(n, sc, custom)
                if r: run[n] = (r[0], r[1], pss(r[1]) if r[1] else 0)
            R = res[sc] = {n: dict(idle=v[2], sat=[], fix=[], rss={}) for n, v in run.items()}
            for n, v in run.items(): s['sat'](v[0], 1)   # warm up
            for rep in range(a.r):
                for n, (L, ps, _) in run.items():
                    if not a.no_sat:
                        c0 = cpu(ps); t0 = time.time(); x = s['sat'](L, a.d); el = time.time() - t0; c1 = cpu(ps)
                        if x and x['reqs']:
                            x.update(us=(c1[0] + c1[1] - c0[0] - c0[1]) / x['reqs'] * 1e6, usr=(c1[0] - c0[0]) / x['reqs'] * 1e6, sys=(c1[1] - c0[1]) / x['reqs'] * 1e6, core=(c1[0] + c1[1] - c0[0] - c0[1]) / el, rssl=pss(ps))
                            R[n]['sat'].append(x)
                    if s['fix'] and not a.no_fix:
                        rt(True); c0 = cpu(ps); x = s['fix'](L, a.rate or s['rate'], a.fd); c1 = cpu(ps); rt(False)
                        if x and x['reqs']:
                            x.update(us=(c1[0] + c1[1] - c0[0] - c0[1]) / x['reqs'] * 1e6)
                            R[n]['fix'].append(x)
            for n, (L, ps, _) in run.items():
                for p in ps: stop(p)
            if a.rss and s['fam'] != 'tcp':
                for n in run:
                    if n == 'direct': continue
                    for c in (1, 100, 1000):
                        r = start(n, sc, custom)
                        if not r: continue
                        L, ps = r
                        cmd = f'wrk -t1 -c{c} -d3s http://{L}/s' if s['fam'] == 'h1' else f'h2load -t1 -c{c} -m4 -D3 http://{L}/s'
                        q = sh(cmd, LG); t = time.time(); peak = 0
                        while q.poll() is None and time.time() - t < 8:
                            peak = max(peak, pss(ps)); time.sleep(0.3)
                        stop(q)
                        R[n]['rss'][c] = peak
                        for p in ps: stop(p)
            table(sc, s, R, a)
            if a.o:
                with open(a.o, 'w') as f: json.dump(res, f, indent=1)
    finally:
        for p in list(procs): stop(p)

def table(sc, s, R, a):
    u = s['unit']; med = st.median
    print(f'\n### {sc}: {s["what"]}  ({a.r} reps x {a.d} s, interleaved; load {os.getloadavg()[0]:.1f})\n')
    b = R.get(a.base, {}).get('sat'); bus = med([x['us'] for x in b]) if b else None; brps = med([x['rps'] for x in b]) if b else None
    bf = R.get(a.base, {}).get('fix'); bfus = med([x['us'] for x in bf]) if bf else None
    print(f'| proxy | {u}/s min/med/max | vs {a.base} | proxy CPU us/{u} min/med/max | usr+sys med | CPU vs {a.base} | core busy | bad | @rate CPU us/{u} | vs {a.base} | p50 us | p99 us | p999 us | RSS MB start/load |')
    print('|---|---|---|---|---|---|---|---|---|---|---|---|---|---|')
    for n, r in R.items():
        q, f = r['sat'], r['fix']
        g = lambda k, l=q: [x[k] for x in l]
        row = [n]
        if q:
            row += [mmm(g('rps'), '{:.0f}'), f"{med(g('rps'))/brps:.2f}" if brps else '-', mmm(g('us')), f"{med(g('usr')):.1f}+{med(g('sys')):.1f}", f"{med(g('us'))/bus:.2f}" if bus else '-', f"{med(g('core')):.2f}", str(sum(g('bad')))]
        else: row += ['-'] * 7
        if f: row += [mmm(g('us', f)), f"{med(g('us', f))/bfus:.2f}" if bfus else '-', mmm(g('p50', f), '{:.0f}'), mmm(g('p99', f), '{:.0f}'), mmm(g('p999', f), '{:.0f}')]
        else: row += ['-'] * 5
        row.append(f"{r['idle']:.1f}/{max(g('rssl')) if q else 0:.1f}")
        print('| ' + ' | '.join(row) + ' |', flush=True)
    if any(r['rss'] for r in R.values()):
        print('\n| proxy | PSS MB idle | 1 conn | 100 | 1000 |\n|---|---|---|---|---|')
        for n, r in R.items():
            if r['rss']: print(f"| {n} | {r['idle']:.1f} | " + ' | '.join(f"{r['rss'].get(c,0):.1f}" for c in (1, 100, 1000)) + ' |', flush=True)

main()
