//go:build tools

// Package tools pins the Kubernetes that hack/controlplane/build.sh compiles. It
// is a module of its own because k8s.io/kubernetes needs a replace directive for
// every staging module, which the product's go.mod must not carry.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
