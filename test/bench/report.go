package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// report is everything that was measured; nil parts were left out.
type report struct {
	options     *options
	machine     machine
	begin, end  time.Time
	loadAfter   string
	micro       []microResult
	endpoint    *endpointResults
	controllers *controllerResults
}

func (r *report) write(w *strings.Builder) {
	m := &r.machine
	fmt.Fprintf(w, `# Benchmarks

Written by %[1]smake bench%[1]s; do not edit.

| | |
|---|---|
| date | %[2]s, %[3]s |
| commit | %[4]s |
| machine | %[5]d cores, %[6]s, %[7]s |
| kernel | Linux %[8]s |
| Go | %[9]s |
| load average before and after | %[10]s, %[11]s |
| load on each target in each cell | %[12]s in %[13]d slices, targets in turns |
%[14]s
`, "`", r.begin.UTC().Format(time.DateOnly), r.end.Sub(r.begin).Round(time.Second), m.commit, m.cores, m.processor, m.memory,
		m.kernel, m.goVersion, m.loadBefore, r.loadAfter, r.options.duration, r.options.rounds, r.options.noteRow())
	w.WriteString(howToRead)
	if r.endpoint != nil {
		writeEndpoint(w, r.endpoint)
	}
	if r.controllers != nil {
		writeControllers(w, r.controllers)
	}
	if len(r.micro) > 0 {
		writeMicro(w, r.micro)
	}
	w.WriteString(notMeasured)
}

// noteRow is the last row of the first table, if there is a note.
func (o *options) noteRow() string {
	if o.note == "" {
		return ""
	}
	return "| note | " + o.note + " |\n"
}

const howToRead = `## How to read it

Trust the ratios; the figures themselves are of this machine on this day. The load
generator, every server, the API server and etcd share its cores, and other work may
have run beside them: a load average above one before the start says that it did. What a
ratio compares was measured in turns within one run.

- **CPU per operation** is processor time of the server process, user and system. It is
  what is least disturbed by other work, and it says how many operations a core does.
  Its unit of measurement is 10 ms for a whole slice.
- **ops/s, p50, p99** are of a closed loop: each worker sends when its answer has come.
  With more workers than cores, latency is mostly the wait for a core. With one worker
  an operation takes more processor time, because it pays for going to sleep and waking.
- **peak RSS** is the largest of the slices of a cell. The servers live from the first
  cell to the last, so it includes what the runtime keeps from earlier cells.
- **echo** is a net/http handler over TLS 1.3 that decodes the same request with the same
  JSON decoder, not a strict one, and answers in the same shape. **gcm** does AES-256-GCM
  with a random nonce besides. Neither knows callers, permissions, limits, key versions,
  encryption contexts, metrics or audit; keywright does all of it, audit to a file.
- A ratio is keywright to baseline. For ops/s more is better, for the rest less.

`

// micros writes a duration in microseconds.
func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d.Nanoseconds())/1e3) }

func mebi(bytes uint64) string { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func sizeName(bytes int) string {
	if bytes%1024 == 0 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}

var protocolNames = map[string]string{
	http1: "HTTP/1.1, a kept connection for each worker",
	http2: "HTTP/2, the workers are streams of one connection",
}

func writeEndpoint(w *strings.Builder, e *endpointResults) {
	w.WriteString("## Endpoint\n")
	for len(e.main) > 0 {
		protocol, n := e.main[0].protocol, 0
		for n < len(e.main) && e.main[n].protocol == protocol {
			n++
		}
		writeProtocol(w, protocol, e.main[:n])
		e.main = e.main[n:]
	}
	if len(e.batch) > 0 {
		writeBatch(w, e.batch)
	}
	if len(e.audit) > 0 {
		writeAudit(w, e.audit)
	}
	w.WriteString("\n")
}

func writeAudit(w *strings.Builder, results []*result) {
	w.WriteString("\n### Audit\n\nEncrypt over the first protocol, with the audit log in a file and with `--audit-log=off`, which is for benchmarks only.\n\n" +
		"| size | workers | ops/s: off | file | file/off | p50 µs: off | file | p99 µs: off | file | CPU µs per op: off | file | file/off | peak RSS MiB: off | file |\n" +
		"|--:|--:|" + strings.Repeat("--:|", 12) + "\n")
	for _, r := range results {
		off, file := r.by[unauditedTarget], r.by[keywrightTarget]
		row(w, sizeName(r.size), strconv.Itoa(r.workers), perSecond(off.rate()), perSecond(file.rate()), ratio(file.rate(), off.rate()),
			micros(off.latency.percentile(50)), micros(file.latency.percentile(50)),
			micros(off.latency.percentile(99)), micros(file.latency.percentile(99)),
			micros(off.cpuPerRequest()), micros(file.cpuPerRequest()), ratio(float64(file.cpuPerRequest()), float64(off.cpuPerRequest())),
			mebi(off.peak), mebi(file.peak))
	}
}

func writeProtocol(w *strings.Builder, protocol string, results []*result) {
	fmt.Fprintf(w, "\n### %s\n\n", protocolNames[protocol])
	w.WriteString("| operation | size | workers | CPU µs per op: echo | gcm | keywright | keywright/echo | keywright/gcm | peak RSS MiB: echo | keywright |\n" +
		"|---|--:|--:|" + strings.Repeat("--:|", 7) + "\n")
	for _, r := range results {
		echo, gcm, ours := r.by[echoBaseline], r.by[gcmBaseline], r.by[keywrightTarget]
		row(w, r.operation, sizeName(r.size), strconv.Itoa(r.workers),
			micros(echo.cpuPerRequest()), micros(gcm.cpuPerRequest()), micros(ours.cpuPerRequest()),
			ratio(float64(ours.cpuPerRequest()), float64(echo.cpuPerRequest())), ratio(float64(ours.cpuPerRequest()), float64(gcm.cpuPerRequest())),
			mebi(echo.peak), mebi(ours.peak))
	}
	w.WriteString("\n| operation | size | workers | ops/s: echo | gcm | keywright | keywright/echo | keywright/gcm |" +
		" p50 µs: echo | gcm | keywright | p99 µs: echo | gcm | keywright |\n" +
		"|---|--:|--:|" + strings.Repeat("--:|", 11) + "\n")
	for _, r := range results {
		echo, gcm, ours := r.by[echoBaseline], r.by[gcmBaseline], r.by[keywrightTarget]
		row(w, r.operation, sizeName(r.size), strconv.Itoa(r.workers),
			perSecond(echo.rate()), perSecond(gcm.rate()), perSecond(ours.rate()), ratio(ours.rate(), echo.rate()), ratio(ours.rate(), gcm.rate()),
			micros(echo.latency.percentile(50)), micros(gcm.latency.percentile(50)), micros(ours.latency.percentile(50)),
			micros(echo.latency.percentile(99)), micros(gcm.latency.percentile(99)), micros(ours.latency.percentile(99)))
	}
}

func writeBatch(w *strings.Builder, results []*result) {
	single, batch := results[0], results[len(results)-1]
	fmt.Fprintf(w, "\n### Batches\n\nEncrypt of %s, %d workers: one item a request, and %d.\n\n", sizeName(single.size), single.workers, batch.items)
	w.WriteString("| server | items/s: single | batch | batch/single | CPU µs per item: single | batch | batch/single | p99 µs of a request: single | batch |\n" +
		"|---|" + strings.Repeat("--:|", 8) + "\n")
	for _, name := range []string{echoBaseline, gcmBaseline, keywrightTarget} {
		singleRate, singleCPU := single.perItem(name)
		batchRate, batchCPU := batch.perItem(name)
		row(w, name, perSecond(singleRate), perSecond(batchRate), ratio(batchRate, singleRate),
			fmt.Sprintf("%.1f", float64(singleCPU)/1e3), fmt.Sprintf("%.1f", float64(batchCPU)/1e3), ratio(float64(batchCPU), float64(singleCPU)),
			micros(single.by[name].latency.percentile(99)), micros(batch.by[name].latency.percentile(99)))
	}
}

func perSecond(rate float64) string { return fmt.Sprintf("%.0f", rate) }

func row(w *strings.Builder, cells ...string) {
	w.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func writeControllers(w *strings.Builder, r *controllerResults) {
	n := float64(r.keys)
	fmt.Fprintf(w, `## Controllers, %d keys

One controller with leader election and its default of 8 workers, on an API server and an
etcd that does not sync to disk. "Client" makes the same writes on the same control plane
with %d in flight: for a new key the resource, a Secret and reading it back, a patch of
annotations and a patch of status; for a rotation the last four. The controller makes an
event besides, and looks for material that the key may have had before. "Create" lasts
from the first apply to the last key Ready, while a client applies with %d in flight;
"rotate" from the moment all keys are due to the last one rotated.

| | keywright | keys/s | client | keys/s | keywright/client | API calls per key | controller CPU ms per key |
|---|%s
`, r.keys, clientWorkers, clientWorkers, strings.Repeat("--:|", 7))
	for _, line := range []struct {
		name string
		work
	}{{"create", r.create}, {"rotate", r.rotate}} {
		row(w, line.name, seconds(line.took), perSecond(n/line.took.Seconds()), seconds(line.baseline), perSecond(n/line.baseline.Seconds()),
			ratio(float64(line.took), float64(line.baseline)), fmt.Sprintf("%.1f", line.calls/n), fmt.Sprintf("%.2f", line.cpu.Seconds()*1e3/n))
	}
	if r.late > 0 {
		fmt.Fprintf(w, "\nThe last request for a rotation came %s after all were due: \"rotate\" is of no use in this run.\n", seconds(r.late))
	}
	fmt.Fprintf(w, `
At the end there were %d material Secrets: two for each key, and one for the key of the
endpoint benchmarks.

Restart with %d keys:

| | |
|---|--:|
| a client lists all keys and Secrets once | %s |
| controller started to ready | %s |
| controller started to leading and every key reconciled | %s |
| API calls of the controller meanwhile | %.0f |
| processor time of the controller meanwhile | %s |
| server started to ready | %s |

First use of each key on a server that has just started (%d at once): p50 %s µs, p99 %s µs.
It includes a SubjectAccessReview and reading the material.

`, r.materials, r.keys, seconds(r.list), seconds(r.ready), seconds(r.reconciled), r.restartCalls, seconds(r.restartCPU), seconds(r.serverReady),
		clientWorkers, micros(r.firstUse.percentile(50)), micros(r.firstUse.percentile(99)))
	writeMemory(w, r)
}

func writeMemory(w *strings.Builder, r *controllerResults) {
	n := float64(r.keys)
	fmt.Fprintf(w, `## Memory and idle calls

RSS in MiB. "0 keys" and "%[1]d keys" are processes that have just started; "used" is the server
after each key was used once; "after the work" is the controller that made and rotated all
keys, with its peak.

| | 0 keys | %[1]d keys | KiB per key | used | KiB per key | after the work | peak |
|---|%[2]s
`, r.keys, strings.Repeat("--:|", 7))
	perKey := func(from, to memory) string {
		return fmt.Sprintf("%.1f", (float64(to.resident)-float64(from.resident))/1024/n)
	}
	row(w, "controller", mebi(r.empty.controller.resident), mebi(r.full.controller.resident), perKey(r.empty.controller, r.full.controller),
		"", "", mebi(r.worked.controller.resident), mebi(r.worked.controller.peak))
	row(w, "server", mebi(r.empty.server.resident), mebi(r.full.server.resident), perKey(r.empty.server, r.full.server),
		mebi(r.serverLoaded.resident), perKey(r.empty.server, r.serverLoaded), "", mebi(r.serverLoaded.peak))
	fmt.Fprintf(w, `
Calls to the API server per minute, and share of a core, when nobody asks anything:

| | calls: 0 keys | %[1]d keys | core: 0 keys | %[1]d keys |
|---|--:|--:|--:|--:|
`, r.keys)
	row(w, "controller", fmt.Sprintf("%.1f", r.empty.controllerCalls), fmt.Sprintf("%.1f", r.full.controllerCalls), percent(r.empty.controllerCPU), percent(r.full.controllerCPU))
	row(w, "server", fmt.Sprintf("%.1f", r.empty.serverCalls), fmt.Sprintf("%.1f", r.full.serverCalls), percent(r.empty.serverCPU), percent(r.full.serverCPU))
	w.WriteString("\n")
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

func writeMicro(w *strings.Builder, results []microResult) {
	w.WriteString("## Allocations\n\n`go test -run '^$' -bench . -benchmem -p 1 ./internal/...`: what remains without the network. " +
		"kms is one operation with audit to nowhere; httpapi is a whole request without TLS, where authentication and the key store are fakes.\n\n" +
		"| package | benchmark | ns/op | B/op | allocs/op |\n|---|---|--:|--:|--:|\n")
	for _, r := range results {
		row(w, r.pkg, r.name, r.nsPerOp, r.bytes, r.allocs)
	}
	w.WriteString("\n")
}

const notMeasured = `## What is not measured

- A network: everything is on loopback, and every client is on the same machine.
- TLS handshakes: connections are kept. A client that opens one for each request pays
  several times what a request costs.
- Misses of the caches of tokens and permissions, except in the first use of each key: the
  load has one caller, whose answers are remembered for 10 s.
- Requests through kube-apiserver (the APIService), more than one replica, reencrypt.
- An open loop: what queues when more comes than the server takes. Limits are lifted here,
  or one caller would be turned away at 2,000 requests a second.
- A disk that syncs: etcd does not, and the audit log is not synced by design.
- SigV4 and HSMs, which do not exist yet.
`
