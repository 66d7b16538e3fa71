#!/usr/bin/env python3
"""report.py DOC JSON TABLES BARS COMMAND: put a run of bench.py into DOC, between its two marks, with the machine on which it
was made, and judge it by BARS. Ends with 1 if a bar is missed, or was not measured."""
import datetime, json, os, platform, re, statistics, subprocess, sys

BEGIN, END = '<!-- bench-peers begins: written by make bench-peers -->', '<!-- bench-peers ends -->'

def first(cmd):
    """the first line that a command prints"""
    try:
        p = subprocess.run(cmd, capture_output=True, text=True, timeout=10)
        return (p.stdout + p.stderr).strip().split('\n')[0]
    except (OSError, subprocess.TimeoutExpired):
        return 'not there'

def machine():
    cpu = re.search(r'model name\s*: (.*)', open('/proc/cpuinfo').read())
    mem = re.search(r'MemTotal:\s*(\d+)', open('/proc/meminfo').read())
    rows = [
        ('Processor', f'{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} of it; the client and the server on one, the proxy on another'),
        ('Memory', f'{int(mem[1]) / 1048576:.1f} GiB' if mem else 'unknown'),
        ('System', f'{platform.system()} {platform.release()}, {platform.machine()}'),
        ('Load when it ended', '%.1f %.1f %.1f' % os.getloadavg()),
        ('Go', first(['go', 'env', 'GOVERSION'])),
        ('HAProxy', first(['haproxy', '-v'])),
        ('nginx', first(['nginx', '-v'])),
        ('wrk', first(['wrk', '-v'])),
        ('h2load', first(['h2load', '--version'])),
        ('Outrigger', first(['git', 'log', '-1', '--format=%h of %cs']) or 'not committed'),
    ]
    return ['| | |', '|---|---|'] + [f'| {k} | {v} |' for k, v in rows]

def ratio(run, name):
    """median CPU for a unit of work, relative to HAProxy's"""
    of = lambda n: [x['us'] for x in run.get(n, {}).get('sat', [])]
    return statistics.median(of(name)) / statistics.median(of('haproxy')) if of(name) and of('haproxy') else None

def bad(run, name):
    """how many answers were none, or no success"""
    return sum(x.get('bad', 0) for half in ('sat', 'fix') for x in run.get(name, {}).get(half, []))

def bars(path, results):
    """the table of bars, and whether all are met"""
    rows, met = ['| | at most | measured | |', '|---|---|---|---|'], True
    for line in open(path):
        f = line.split()
        if not f or f[0].startswith('#'): continue
        r = ratio(results.get(f[0], {}), 'outrigger')
        wrong = bad(results.get(f[0], {}), 'outrigger')
        ok = r is not None and r <= float(f[1]) and not wrong
        met = met and ok
        rows.append(f'| {f[0]} | {f[1]} | {"not measured" if r is None else f"{r:.2f}"} | {"met" if ok else f"MISSED, {wrong} bad answers" if wrong else "MISSED"} |')
    return rows, met

def main():
    doc, js, tables, bar, command = sys.argv[1:]
    rows, met = bars(bar, json.load(open(js)))
    text = '\n'.join([BEGIN, '', f'{datetime.date.today()}, by `{command}`.', '', *machine(), '',
        "Processor time at saturation, relative to HAProxy's in the same run (medians):", '', *rows, '', open(tables).read().strip(), '', END])
    old = open(doc).read()
    if BEGIN not in old or END not in old: sys.exit(f'{doc} has not the marks between which to write')
    open(doc, 'w').write(old[:old.index(BEGIN)] + text + old[old.index(END) + len(END):])
    print('\n'.join(rows))
    print(f'written into {os.path.relpath(doc)}')
    sys.exit(0 if met else 'a bar was missed')

main()
