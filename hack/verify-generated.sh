#!/usr/bin/env bash
# Regenerates into a copy of the tree and compares, so that it neither touches the
# working tree nor minds other changes in it.
#
#   hack/verify-generated.sh PATH...
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# Deleted files are listed until the deletion is committed, hence the filter.
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
  tar --null --files-from=- -cf - | tar -C "$copy" -xf -

# A file whose source is gone must go, too. So the copy starts without any.
find "$copy/api" -name 'zz_generated.*.go' -delete
rm -rf "$copy/config/crd/bases" "$copy/charts/keywright/files/crds"
make -C "$copy" generate manifests >&2

stale=0
for path in "$@"; do
  diff -ruN "$path" "$copy/$path" || stale=1
done
if ((stale)); then
  echo "generated files are stale: run 'make generate manifests'" >&2
  exit 1
fi
