#!/usr/bin/env bash
# Lints and renders the chart with its default values and with every values file
# in charts/keywright/ci, and builds the kustomization.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
chart=charts/keywright
helm=$(hack/tools/build.sh helm)/helm
kubectl=$(hack/controlplane/build.sh)/kubectl

# No value file, then each: the empty one stands for the defaults.
shopt -s nullglob
for values in "" "$chart"/ci/*.yaml; do
  echo "chart: ${values:-default values}" >&2
  "$helm" lint --strict --quiet "$chart" ${values:+--values "$values"}
  "$helm" template keywright "$chart" --namespace keywright-system ${values:+--values "$values"} >/dev/null
done

echo "kustomize: config/default" >&2
"$kubectl" kustomize config/default >/dev/null
