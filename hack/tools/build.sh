#!/usr/bin/env bash
# Builds the pinned development tools once, into the user's cache and not into
# the tree, and prints their directory as the last line on stdout. Progress goes
# to stderr.
#
#   hack/tools/build.sh [TOOL...]     default: all of them
#
# Each group of tools has a module of its own, because helm and golangci-lint
# want versions of shared dependencies that controller-gen does not.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { echo "tools: $*" >&2; }

# source_of TOOL: module directory and package
source_of() {
  case $1 in
    controller-gen) echo ". sigs.k8s.io/controller-tools/cmd/controller-gen" ;;
    setup-envtest) echo ". sigs.k8s.io/controller-runtime/tools/setup-envtest" ;;
    # The main of kube-api-linter is golangci-lint with the API linter linked in.
    golangci-lint) echo "lint sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter" ;;
    helm) echo "helm helm.sh/helm/v4/cmd/helm" ;;
    *) say "unknown tool $1"; return 1 ;;
  esac
}

hash=$(cd "$here" && { go env GOVERSION GOOS GOARCH; cat {.,lint,helm}/go.{mod,sum} build.sh; } | sha256sum | cut -c1-16)
dir=${KEYWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keywright}/tools/$hash

# build TOOL: temporary name first, so that an interrupted build leaves nothing
# that looks finished.
build() {
  local module package start=$SECONDS status=0 ticker
  read -r module package < <(source_of "$1")
  say "building $1; the first build takes some minutes"
  (exec 9>&-; while sleep 15; do say "$1: still at it, $((SECONDS - start)) s"; done) &
  ticker=$!
  (cd "$here/$module" && GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 \
    go build -trimpath -buildvcs=false -ldflags="-s -w" -o "$dir/.$1.new" "$package") >&2 || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  ((status == 0)) || { say "$1: failed"; return "$status"; }
  mv -f "$dir/.$1.new" "$dir/$1"
  say "$1: done in $((SECONDS - start)) s"
}

(($# > 0)) || set -- controller-gen setup-envtest golangci-lint helm

missing=()
for tool in "$@"; do
  source_of "$tool" >/dev/null
  [[ -x $dir/$tool ]] || missing+=("$tool")
done
if ((${#missing[@]} > 0)); then
  mkdir -p "$dir"
  exec 9>"$dir/.lock"
  flock -n 9 || { say "another build runs, waiting for it"; flock 9; }
  for tool in "${missing[@]}"; do
    [[ -x $dir/$tool ]] || build "$tool"
  done
fi
echo "$dir"
