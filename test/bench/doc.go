// Command bench measures Keywright against baselines that run beside it, and
// writes what it found as Markdown.
//
//	KUBEBUILDER_ASSETS="$(hack/controlplane/build.sh)" go run ./test/bench -out docs/benchmarks.md
//
// It runs in the root of the repository, takes about ten minutes with the default
// flags, and stops by itself. For a quick look:
//
//	go run ./test/bench -duration 300ms -keys 100 -idle 5s -settle 2s -parts endpoint,controllers
//
// # Flags
//
//	-out         Markdown file to write; - is standard output
//	-keywright   the binary to measure
//	-parts       endpoint, batch, audit, controllers, micro: what to measure
//	-duration    load on each target in each cell of the endpoint tables
//	-rounds      slices that a duration is cut into; targets take turns
//	-protocols   http1, http2 or both; batches and audit use the first
//	-keys        keys for the controller tables, 1 to 10000
//	-settle      wait before memory and idle calls are looked at
//	-idle        how long idle calls are counted
//	-micro       -benchtime of go test -bench ./internal/...
//	-note        what a reader must know of the machine during the run
//
// # Setup
//
// Package rig starts a control plane, installs the chart, and runs bin/keywright as
// child processes with the kubeconfigs of the chart's service accounts: what is
// measured is the product, over HTTPS, with authentication, authorization, limits
// and audit. All traffic stays on loopback.
//
// # Baselines
//
// The endpoint stands next to two handlers, each a child process of its own (this
// binary again): "echo" decodes the same JSON with the same decoder and answers in
// the same shape, "gcm" does AES-256-GCM with a random nonce besides.
// The controllers stand next to a client that makes the same writes. A cell is
// measured in slices, one target after the other and around again, so that what
// disturbs the machine disturbs all of them.
//
// # Implementation considerations
//
// The load is closed-loop: a worker sends when its answer has come, so a slow
// server gets less load, and latencies hide what an open loop would queue. On a
// machine of few cores the load generator competes with the server; the processor
// time per operation is what is least disturbed by that, operations per second
// what is most. Nothing here asserts a time.
package main
