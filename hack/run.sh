#!/usr/bin/env bash
# Starts a real control plane on loopback, installs the chart, runs controller and
# server as local processes under the chart's own permissions, and walks through
# the main job with what a user has: kubectl, curl and a service-account token.
#
#   ONCE=1        end after the walk, with its exit status
#   RUN_DIR=DIR   where everything is kept; default .run
#   PORT=8443     where the crypto endpoint listens
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${KUBEBUILDER_ASSETS:?run this as make run}"
RUN_DIR=$(realpath -m "${RUN_DIR:-.run}")
PORT=${PORT:-8443}
NAMESPACE=keywright-system
started=$SECONDS
pids=()

# ---- telling ----------------------------------------------------------------
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; else bold='' dim='' off=''; fi
say() { printf '\n%s==> %s%s\n' "$bold" "$*" "$off"; }
note() { printf '%s    %s%s\n' "$dim" "$*" "$off"; }
die() {
  printf '\nrun: %s\n' "$*" >&2
  printf 'run: logs are in %s\n' "$RUN_DIR" >&2
  exit 1
}
# show prints a command as one would type it, then runs it.
show() { printf '$ %s\n' "$1"; bash -euo pipefail -c "$1"; }

# ---- starting and stopping --------------------------------------------------
stop() {
  local status=$? i
  trap - EXIT INT TERM
  # The newest first: servers before the API server that they talk to.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND...: runs a command in the background, in its own session, so
# that Ctrl-C reaches it only through stop.
start() {
  local name=$1
  shift
  setsid "$@" >"$RUN_DIR/$name.log" 2>&1 </dev/null &
  pids+=($!)
}
# await WHAT COMMAND...: waits until a command succeeds, for a minute at most.
await() {
  local what=$1 deadline=$((SECONDS + 60)) pid
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || die "gave up waiting for $what"
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || die "a process ended while waiting for $what"; done
    sleep 0.2
  done
}

if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
  die "port $PORT is taken; choose another: make run PORT=9443"
fi
rm -rf "$RUN_DIR"
mkdir -p "$RUN_DIR/tls"

say "Building keywright"
make build >"$RUN_DIR/build.log" 2>&1 || { cat "$RUN_DIR/build.log" >&2; die "the build failed"; }
go build -o "$RUN_DIR/controlplane" ./hack/controlplane
helm=$(hack/tools/build.sh helm)/helm

say "Starting etcd, kube-apiserver and kube-controller-manager on loopback"
export PATH="$KUBEBUILDER_ASSETS:$PATH"
start controlplane "$RUN_DIR/controlplane" --dir "$RUN_DIR/cluster"
await "the control plane" grep -qx ready "$RUN_DIR/controlplane.log"
export KUBECONFIG="$RUN_DIR/cluster/kubeconfig"
server=$(kubectl config view --raw --minify -o jsonpath='{.clusters[0].cluster.server}')
note "$(kubectl version -o yaml 2>/dev/null | sed -n '/serverVersion/,$ s/  gitVersion: /Kubernetes /p') at $server"

say "Installing the chart: CRDs, RBAC, policies, deployments"
kubectl create namespace "$NAMESPACE" >/dev/null
"$helm" template keywright charts/keywright --namespace "$NAMESPACE" >"$RUN_DIR/chart.yaml"
kubectl apply --server-side --filename "$RUN_DIR/chart.yaml" >"$RUN_DIR/chart.log"
note "$(wc -l <"$RUN_DIR/chart.log") objects; there is no kubelet here, so controller and server run as local processes"
kubectl wait --for=condition=Established crd/encryptionkeys.keywright.dev crd/keystores.keywright.dev >/dev/null

# kubeconfig_of NAME: a kubeconfig with a token of the component's service account,
# so that it may do what the chart allows it and nothing else.
kubeconfig_of() {
  local file="$RUN_DIR/$1.kubeconfig"
  (
    umask 077
    kubectl config view --raw --minify --flatten >"$file"
    kubectl --kubeconfig "$file" config unset users >/dev/null
    kubectl --kubeconfig "$file" config set-credentials component \
      --token "$(kubectl -n "$NAMESPACE" create token "keywright-$1" --duration 24h)" >/dev/null
    kubectl --kubeconfig "$file" config set-context --current --user component >/dev/null
  )
  echo "$file"
}

say "Starting keywright controller"
start controller bin/keywright controller --kubeconfig "$(kubeconfig_of controller)" --namespace "$NAMESPACE" \
  --serving-names localhost,127.0.0.1 --min-rotation-interval 5s \
  --metrics-bind-address 127.0.0.1:0 --health-probe-bind-address 127.0.0.1:0
await "the serving certificate" kubectl -n "$NAMESPACE" get secret keywright-server-tls
await "the published CA" kubectl -n "$NAMESPACE" get configmap keywright-ca
for file in tls.crt tls.key; do
  (umask 077; kubectl -n "$NAMESPACE" get secret keywright-server-tls -o go-template="{{index .data \"$file\" | base64decode}}" >"$RUN_DIR/tls/$file")
done

say "Starting keywright server"
export KEYWRIGHT_URL="https://localhost:$PORT"
start server bin/keywright server --kubeconfig "$(kubeconfig_of server)" --namespace "$NAMESPACE" \
  --bind-address "127.0.0.1:$PORT" --tls-cert-file "$RUN_DIR/tls/tls.crt" --tls-private-key-file "$RUN_DIR/tls/tls.key" \
  --audit-log "$RUN_DIR/audit.log" --shutdown-delay 0s \
  --metrics-bind-address 127.0.0.1:0 --health-probe-bind-address 127.0.0.1:0
await "the crypto endpoint" curl -fsk "$KEYWRIGHT_URL/readyz"
note "ready after $((SECONDS - started)) s"

# ---- the walk ---------------------------------------------------------------
cd "$RUN_DIR"
# field NAME: the first field of that name in a JSON answer.
field() { grep -o "\"$1\":\"\?[^\",}]*" | head -n 1 | sed 's/^[^:]*:"\{0,1\}//'; }
export KEYS="$KEYWRIGHT_URL/apis/crypto.keywright.dev/v1alpha1/namespaces/shop/encryptionkeys"
# call OPERATION JSON: what a workload does; prints the answer.
call() {
  curl --silent --show-error --cacert ca.crt --header "Authorization: Bearer $TOKEN" \
    --header 'Content-Type: application/json' --data "$2" "$KEYS/orders/$1"
}
request() { printf '{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"%s","spec":{%s}}' "$1" "$2"; }
# expect WHAT WANT GOT
expect() { [[ $2 == "$3" ]] || die "$1: want '$2', got '$3'"; note "$1: $3"; }
version() { kubectl -n shop get encryptionkey orders -o jsonpath='{.status.currentVersion}'; }
at_version() { [[ $(version) -ge $1 ]]; }

say "1. A team applies a key"
show 'kubectl create namespace shop'
cat >orders.yaml <<'YAML'
apiVersion: keywright.dev/v1alpha1
kind: EncryptionKey
metadata:
  name: orders
  namespace: shop
spec:
  type: CustomerManaged
  description: Order payloads
YAML
show 'cat orders.yaml'
show 'kubectl apply -f orders.yaml'
show 'kubectl -n shop wait --for=condition=Ready encryptionkey/orders --timeout=30s'
show 'kubectl get encryptionkeys,keystores -A'

say "2. A workload gets permission by a plain Role, and a token with the audience keywright"
show 'kubectl -n shop create serviceaccount checkout'
cat >role.yaml <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: use-orders
  namespace: shop
rules:
  - apiGroups: [crypto.keywright.dev]
    resources: [encryptionkeys/encrypt, encryptionkeys/decrypt, encryptionkeys/generatedatakey]
    resourceNames: [orders]
    verbs: [create]
YAML
show 'cat role.yaml'
show 'kubectl apply -f role.yaml'
show 'kubectl -n shop create rolebinding use-orders --role=use-orders --serviceaccount=shop:checkout'
printf '%s\n' '$ TOKEN=$(kubectl -n shop create token checkout --audience=keywright)'
TOKEN=$(kubectl -n shop create token checkout --audience=keywright)
show "kubectl -n keywright-system get configmap keywright-ca -o jsonpath='{.data.ca\.crt}' > ca.crt"

say "3. The workload gets a data key over HTTPS"
printf '$ curl --cacert ca.crt -H "Authorization: Bearer $TOKEN" -d @request.json \\\n    %s/orders/generatedatakey\n' "$KEYS"
answer=$(call generatedatakey "$(request DataKeyRequest '"keySpec":"AES_256","encryptionContext":{"order":"17"}')")
[[ -n $(field plaintext <<<"$answer") ]] || die "no data key: $(field message <<<"$answer")"
sealed=$(field ciphertext <<<"$answer")
note "a data key of $(field plaintext <<<"$answer" | base64 -d | wc -c) bytes, in plaintext and encrypted; the encrypted form goes beside the data"
note "$(sed 's/"plaintext":"[^"]*"/"plaintext":"…"/' <<<"$answer" | tr -d '\n')"

say "4. It encrypts a short secret"
plaintext=$(printf 'card 4111' | base64)
answer=$(call encrypt "$(request EncryptRequest "\"plaintext\":\"$plaintext\",\"encryptionContext\":{\"order\":\"17\"}")")
ciphertext=$(field ciphertext <<<"$answer")
[[ -n $ciphertext ]] || die "encrypt failed: $answer"
note "ciphertext: $ciphertext"
expect "made with key version" 1 "$(field keyVersion <<<"$answer")"

say "5. The key rotates on its schedule"
show "kubectl -n shop patch encryptionkey orders --type=merge -p '{\"spec\":{\"rotation\":{\"schedule\":\"@every 5s\"}}}'"
await "the scheduled rotation" at_version 2
show "kubectl -n shop patch encryptionkey orders --type=merge -p '{\"spec\":{\"rotation\":{\"suspend\":true}}}'"

say "6. It rotates on request, too"
show "kubectl -n shop patch encryptionkey orders --type=merge -p '{\"spec\":{\"rotation\":{\"requestedAt\":\"'\"\$(date -u +%FT%TZ)\"'\"}}}'"
before=$(version)
await "the requested rotation" at_version $((before < 3 ? 3 : before))
show 'kubectl get encryptionkeys -n shop -o wide'

say "7. What the old version encrypted still opens"
answer=$(call decrypt "$(request DecryptRequest "\"ciphertext\":\"$ciphertext\",\"encryptionContext\":{\"order\":\"17\"}")")
expect "plaintext" "card 4111" "$(field plaintext <<<"$answer" | base64 -d)"
expect "opened with key version" 1 "$(field keyVersion <<<"$answer")"
answer=$(call decrypt "$(request DecryptRequest "\"ciphertext\":\"$sealed\",\"encryptionContext\":{\"order\":\"17\"}")")
expect "bytes of the data key" 32 "$(field plaintext <<<"$answer" | base64 -d | wc -c | tr -d ' ')"
answer=$(call decrypt "$(request DecryptRequest "\"ciphertext\":\"$ciphertext\",\"encryptionContext\":{\"order\":\"18\"}")")
expect "with another encryption context" InvalidCiphertext "$(field reason <<<"$answer")"

say "8. The owner disables the key: every operation is refused"
show "kubectl -n shop patch encryptionkey orders --type=merge -p '{\"spec\":{\"enabled\":false}}'"
disabled() { [[ $(call encrypt "$(request EncryptRequest "\"plaintext\":\"$plaintext\"")" | field reason) == Disabled ]]; }
await "the refusal" disabled
answer=$(call encrypt "$(request EncryptRequest "\"plaintext\":\"$plaintext\"")")
expect "HTTP status" 409 "$(field code <<<"$answer")"
note "$(field message <<<"$answer")"
show "kubectl -n shop patch encryptionkey orders --type=merge -p '{\"spec\":{\"enabled\":true}}'"

say "9. The resource is deleted by accident, and applied again: id, versions and ciphertexts come back"
id=$(kubectl -n shop get encryptionkey orders -o jsonpath='{.status.keyID}')
show 'kubectl delete -f orders.yaml'
show 'kubectl apply -f orders.yaml'
show 'kubectl -n shop wait --for=condition=Ready encryptionkey/orders --timeout=30s'
expect "key id" "$id" "$(kubectl -n shop get encryptionkey orders -o jsonpath='{.status.keyID}')"
opens() { [[ $(call decrypt "$(request DecryptRequest "\"ciphertext\":\"$ciphertext\",\"encryptionContext\":{\"order\":\"17\"}")" | field plaintext | base64 -d) == 'card 4111' ]]; }
await "the ciphertext of version 1 to open" opens
note "the ciphertext of version 1 opens"
show 'kubectl -n shop get events --sort-by=.metadata.creationTimestamp -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message'

say "10. Every operation left an audit line, without plaintext, ciphertext or token"
note "$(wc -l <audit.log) lines, the first: $(head -n 1 audit.log)"
for secret in "$plaintext" "$TOKEN" "$ciphertext" "$sealed"; do
  ! grep -qF -- "$secret" ./*.log || die "a log holds what it must not"
done

say "The walk is done after $((SECONDS - started)) s"
[[ -z ${ONCE:-} ]] || exit 0
cat <<TEXT

Everything keeps running until Ctrl-C. To try it yourself:

  export KUBECONFIG=$KUBECONFIG
  export PATH=$KUBEBUILDER_ASSETS:\$PATH
  export KEYWRIGHT_URL=$KEYWRIGHT_URL    # its CA: $RUN_DIR/ca.crt
  kubectl get encryptionkeys -A

TEXT
wait -n "${pids[@]}" || true
die "a process ended"
