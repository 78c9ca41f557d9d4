// Package rig runs Keywright as its users do, for tests and benchmarks: a real
// control plane, the rendered chart applied to it, and bin/keywright as child
// processes.
//
// # Usage
//
//	r := rig.StartT(t, rig.Options{Servers: 2})
//	token, err := r.Workload(ctx, "shop", "checkout", "orders")
//	key, err := r.Key(ctx, "shop", "orders")
//	answer, err := r.Client(0, token).Encrypt(ctx, key, rig.Plaintext("17"), nil)
//
// # Implementation details
//
// Each process has a kubeconfig with a token of its own ServiceAccount, so it may
// do what the chart lets it do and no more. The servers listen on loopback with the
// certificate that the controller makes, fetched as the kubelet would mount it.
//
// A rig remembers every token, plaintext and key it has seen. CheckLeaks looks for
// them in all that the processes and the API server say; StartT does so at the end
// of every test.
//
// # Implementation considerations
//
// Rigs share nothing but the built binary, so several may run at once. Everything
// in Dir is gone after StartT's test, unless Options.Dir names a place to keep it.
package rig
