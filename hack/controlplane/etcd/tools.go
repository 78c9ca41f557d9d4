//go:build tools

// Package tools pins the etcd that hack/controlplane/build.sh compiles. It is a
// module of its own so that etcd's dependencies never meet the product's.
package tools

import _ "go.etcd.io/etcd/server/v3"
