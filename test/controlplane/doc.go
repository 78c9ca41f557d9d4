// Package controlplane runs a real Kubernetes control plane on loopback: etcd,
// kube-apiserver and kube-controller-manager, each a child process.
//
// # Setup
//
// The binaries come from hack/controlplane/build.sh; KUBEBUILDER_ASSETS names
// their directory (make test and make run export it).
//
// # Usage
//
//	plane, err := controlplane.Start(ctx, controlplane.Options{})
//	defer plane.Stop()
//	client, err := client.New(plane.Config, client.Options{})
//
// # Implementation details
//
// It extends the control plane of controller-runtime's envtest by what Keywright
// needs and envtest leaves out: the aggregation layer with a front-proxy CA of
// its own, a token issuer that looks like a cluster's, and the controller manager,
// without which there are no default service accounts, no garbage collection and
// no namespace deletion.
//
// # Implementation considerations
//
// There are no nodes, so pods stay Pending. Nothing routes to a cluster IP: an
// APIService reaches a local process through a Service of type ExternalName that
// says localhost, which the API server follows because aggregator routing is off.
// etcd does not sync to disk unless asked to: a test that wants to survive a power
// cut says so in Options.
package controlplane
