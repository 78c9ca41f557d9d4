#!/usr/bin/env bash
# Renders the chart into config/default/install.yaml, so that the install without
# Helm is the install with it. What is Helm's alone is left out: labels that name
# the chart, and the wish to survive an uninstall.
#
#   hack/kustomize-from-chart.sh [FILE]     default: config/default/install.yaml
#
# HELM names the helm binary; default: the one of hack/tools.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
helm=${HELM:-$(hack/tools/build.sh helm)/helm}
out=${1:-config/default/install.yaml}
namespace=keywright-system

# To a file first: a render that fails must not leave half of an install.
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
  cat <<YAML
# Made by hack/kustomize-from-chart.sh from charts/keywright. Do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    app.kubernetes.io/part-of: keywright
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
    pod-security.kubernetes.io/audit: restricted
YAML
  "$helm" template keywright charts/keywright --namespace "$namespace" --set crds.install=false |
    sed -E \
      -e '/^# Source: /d' \
      -e '/^$/d' \
      -e '/^ +helm\.sh\/(chart|resource-policy): /d' \
      -e '/^ +app\.kubernetes\.io\/managed-by: Helm$/d'
} >"$new"
cat "$new" >"$out" # and not mv, which would bring the mode of mktemp
