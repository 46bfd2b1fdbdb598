#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# What packaging/Dockerfile puts into the image starts: its last stage's files, in a root of their own, as its user and
# without a capability, with the gateway's configuration of examples/kubernetes but for what asks the API server. No
# container engine is needed, nor tried: the stage that compiles is make build.
#
#   test-image.sh COLLECTOR
set -euo pipefail
cd "$(dirname "$0")/.."
collector=$(readlink -f "$1")
work=$(mktemp -d)
pid=""
cleanup() {
  status=$?
  # The image's process itself: a change of user takes back that it dies with its parent.
  [[ -z $pid ]] || { pkill -KILL -P "$pid"; kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
  ((status == 0)) || tail -n 20 "$work/log" >&2 || true
  rm -rf "$work"
}
trap cleanup EXIT
root=$work/root
mkdir -p "$root/etc/otelcol-flowmonitor"
chmod -R 755 "$work"

# The files, the user, the entry point and the command are read from the Dockerfile.
last=$(sed -n '/^FROM scratch/,$p' packaging/Dockerfile)
(cd tools/packages && go run ./sbom "$collector" "$work/sbom.cdx.json" "$work/THIRD-PARTY-NOTICES" >/dev/null)
while read -r _ _ from to; do
  case $from in
    /otelcol-flowmonitor) from=$collector ;;
    /sbom.cdx.json | /THIRD-PARTY-NOTICES) from=$work$from ;;
    /src/*) from=$PWD/${from#/src/} ;;
  esac
  mkdir -p "$root$(dirname "$to")"
  cp "$from" "$root$to"
done < <(grep '^COPY ' <<<"$last")
[[ -s $root/THIRD-PARTY-NOTICES && -s $root/sbom.cdx.json ]] || { echo "test-image: the image lacks the licences of what is linked" >&2; exit 1; }
user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' <<<"$last")
group=$(sed -n 's/^USER [0-9]*:\([0-9]*\)/\1/p' <<<"$last")
words() { sed -n "s/^$1 \[\(.*\)\]/\1/p" <<<"$last" | tr -d '",'; }
read -ra command <<<"$(words ENTRYPOINT) $(words CMD)"
[[ -n $user && $user != 0 && -n $group ]] || { echo "test-image: the image's user is root" >&2; exit 1; }

sed 's/k8s_attributes, //' examples/kubernetes/gateway-config.yaml | sed '/^  k8s_attributes:/,/^  flowmonitor:/{/^  flowmonitor:/!d}' \
  >"$root/etc/otelcol-flowmonitor/config.yaml"
# A network of its own, where the gateway's ports are free; and /proc, which every container has.
mkdir "$root/proc"
unshare --net --mount --kill-child=KILL --fork sh -c 'ip link set lo up && mount -t proc proc "$0/proc" && exec "$@"' "$root" \
  env -i PATH=/usr/sbin:/usr/bin POD_IP=127.0.0.1 chroot --userspec="$user:$group" "$root" "${command[@]}" >"$work/log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 150); do
  child=$(pgrep -P "$pid" || true)
  if [[ -n $child ]] && nsenter --target "$child" --net curl -sf http://127.0.0.1:13133/ >/dev/null; then
    grep -qE '^CapEff:[[:space:]]*0+$' "/proc/$child/status" || { echo "test-image: it has capabilities" >&2; exit 1; }
    grep -qE "^Uid:[[:space:]]*$user[[:space:]]" "/proc/$child/status" || { echo "test-image: it is not user $user" >&2; exit 1; }
    echo "ok  the image's $(du -sk "$root" | awk '{print int($1 / 1024)}') MiB start as user $user without capabilities"
    exit 0
  fi
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.2
done
echo "test-image: the collector did not answer its health check" >&2
exit 1
