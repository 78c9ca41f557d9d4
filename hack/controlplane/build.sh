#!/usr/bin/env bash
# Makes sure that etcd, kube-apiserver, kube-controller-manager and kubectl are
# at hand, and prints the directory that holds them as the last line on stdout.
# Everything else goes to stderr.
#
# Where they come from, in this order:
#   1. KUBEBUILDER_ASSETS, if it is set and holds all four;
#   2. the cache of an earlier run;
#   3. setup-envtest, which downloads three of them where the network allows;
#   4. the Go modules pinned in k8s/go.mod and etcd/go.mod: works wherever a Go
#      module proxy does, and takes some minutes the first time.
#
# KEYWRIGHT_NO_DOWNLOAD=1 skips step 3.
set -euo pipefail

version=v1.37.2 # the k8s.io/kubernetes in k8s/go.mod
binaries=(etcd kube-apiserver kube-controller-manager kubectl)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KEYWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keywright}/controlplane
dir=$cache/$version-$(go env GOOS)-$(go env GOARCH)

say() { echo "controlplane: $*" >&2; }

holds_all() {
  local name
  for name in "${binaries[@]}"; do [[ -x $1/$name ]] || return 1; done
}

# The stamp names the inputs, so that another pin or other flags build afresh.
stamp() { (cd "$here" && sha256sum build.sh {k8s,etcd}/go.{mod,sum} | sha256sum | cut -d' ' -f1); }

fresh() { holds_all "$dir" && [[ $(cat "$dir/.stamp" 2>/dev/null) == "$1" ]]; }

# with_progress LABEL COMMAND...: a sign of life every 15 seconds, because a
# silent compiler that takes five minutes looks like one that hangs.
with_progress() {
  local label=$1 start=$SECONDS status=0 ticker
  shift
  # fd 9 (the lock) is closed for the ticker: its sleep may outlive this script.
  (exec 9>&-; while sleep 15; do say "$label: still at it, $((SECONDS - start)) s"; done) &
  ticker=$!
  "$@" >&2 || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  ((status == 0)) && say "$label: done in $((SECONDS - start)) s"
  return "$status"
}

# setup-envtest asks GitHub for an index first. Without network to it that is a
# long wait for nothing, hence the time limit.
download() {
  [[ ${KEYWRIGHT_NO_DOWNLOAD:-} != 1 ]] || return 1
  [[ $(go env GOOS) == linux ]] || return 1 # elsewhere the archives may not be of this version
  local tool found name
  tool=$("$here/../tools/build.sh" setup-envtest)/setup-envtest || return 1
  say "asking setup-envtest for ${version#v} (at most 60 s)"
  found=$(timeout 60 "$tool" use "${version#v}" --bin-dir "$1/envtest" -p path 2>/dev/null) || {
    say "setup-envtest cannot download here: building from Go modules"
    return 1
  }
  for name in etcd kube-apiserver kubectl; do
    [[ ! -x $found/$name ]] || cp "$found/$name" "$1/$name"
  done
}

# Without a version stamped in, the server calls itself v0.0.0-master+$Format,
# which kubectl and every semver parser refuse.
kubernetes_ldflags() {
  local package flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=37"
    flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=0000000000000000000000000000000000000000"
    flags+=" -X $package.buildDate=1970-01-01T00:00:00Z"
  done
  echo "$flags"
}

# compile OUT NAME
compile() {
  local module=k8s package=k8s.io/kubernetes/cmd/$2 ldflags
  ldflags=$(kubernetes_ldflags)
  if [[ $2 == etcd ]]; then
    module=etcd package=go.etcd.io/etcd/server/v3 ldflags="-s -w"
  fi
  # A workspace or vendoring of the caller must not change what is compiled.
  (cd "$here/$module" && GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 \
    go build -trimpath -buildvcs=false -ldflags="$ldflags" -o "$1/$2" "$package")
}

main() {
  local want tmp name
  if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
    if holds_all "$KUBEBUILDER_ASSETS"; then
      echo "$KUBEBUILDER_ASSETS"
      return
    fi
    say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of: ${binaries[*]}; not using it"
  fi

  want=$(stamp)
  if fresh "$want"; then
    echo "$dir"
    return
  fi

  mkdir -p "$dir"
  exec 9>"$dir/.lock"
  flock -n 9 || { say "another build runs, waiting for it"; flock 9; }
  if fresh "$want"; then
    echo "$dir"
    return
  fi

  # Inside $dir, so that the moves below are renames on one file system.
  tmp=$(mktemp -d "$dir/.build.XXXXXX")
  # shellcheck disable=SC2064 # expanded now on purpose: tmp is local
  trap "rm -rf '$tmp'" EXIT
  download "$tmp" || true
  for name in "${binaries[@]}"; do
    [[ -x $tmp/$name ]] && continue
    say "building $name; the first build takes some minutes"
    with_progress "$name" compile "$tmp" "$name"
  done
  rm -f "$dir/.stamp"
  for name in "${binaries[@]}"; do mv -f "$tmp/$name" "$dir/$name"; done
  echo "$want" >"$dir/.stamp"
  say "ready in $dir"
  echo "$dir"
}

main "$@"
