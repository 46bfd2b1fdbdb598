#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs, starts, stops, upgrades, removes and purges the agent's packages under a systemd of their own: PID 1 of new
# namespaces, on an overlay of this machine's files, so that nothing of it stays. Needs root, overlayfs and cgroup2.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
packages=$PWD/out/packages
[[ $(id -u) == 0 ]] || { echo "test-packages: needs root: it mounts and starts a systemd" >&2; exit 1; }

(cd tools/packages && go test ./...)
arch=$(dpkg --print-architecture)
scripts/packages.sh agent "$arch"
VERSION=0.1.1 scripts/packages.sh agent "$arch" >/dev/null
# The licences of the whole collector, without its package.
"$packages/tools/sbom" bin/otelcol-flowmonitor "$packages/otelcol-flowmonitor.cdx.json" "$packages/otelcol-flowmonitor.notices"
rm -rf "$packages/next" && mkdir "$packages/next" && mv "$packages"/*0.1.1* "$packages/next/"

work=$(mktemp -d)
hierarchy=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
cgroup=$hierarchy/flowmonitor-packages-$$
mkdir "$cgroup"
machine=""
cleanup() {
  status=$?
  [[ -z $machine ]] || kill -KILL "$machine" 2>/dev/null || true
  [[ -z $machine ]] || wait "$machine" 2>/dev/null || true
  ((status == 0)) || tail -n 30 "$work/console" >&2
  for _ in $(seq 50); do
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
  rm -rf "$work"
}
trap cleanup EXIT

mkdir "$work/files"
cat >"$work/boot" <<'BOOT'
set -e
cd "$1"
mount -t tmpfs tmpfs files
mkdir files/upper files/work files/root
mount -t overlay overlay -o lowerdir=/,upperdir=files/upper,workdir=files/work files/root
cd files/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --bind /dev dev
ip link set lo up
cp -r "$2" root/packages
# Nothing of this machine is started, and nothing forbids the package to start its own.
: >etc/fstab
rm -rf etc/systemd/system/*.wants etc/otelcol-flowmonitor usr/sbin/policy-rc.d
export container=test
exec chroot . /lib/systemd/systemd --unit=basic.target --log-target=console
BOOT
(
  echo $BASHPID >"$cgroup/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child=KILL --uts --ipc --cgroup --net \
    bash "$work/boot" "$work" "$packages" >"$work/console" 2>&1 </dev/null
) &
machine=$!

pid1=""
inside() { timeout 60 nsenter --target "$pid1" --mount --pid --net --uts --ipc --cgroup --root --wdns=/ "$@"; }
eventually() {
  local what=$1
  shift
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  fail "$what: not within 30 s"
}
fail() {
  echo "test-packages: $1" >&2
  inside journalctl --no-pager -n 15 -u otelcol-flowmonitor >&2 || true
  exit 1
}
booted() {
  pid1=$(pgrep -P "$machine" | head -n 1)
  [[ -n $pid1 && $(cat "/proc/$pid1/comm") == systemd ]] && inside systemctl is-active basic.target
}
eventually "the start of systemd" booted

unit=otelcol-flowmonitor.service
pid() { inside systemctl show --property MainPID --value "$unit"; }
serves() { inside curl -sf http://127.0.0.1:8888/metrics | grep -q '^otelcol_receiver_sockops_flows_capacity'; }
running() {
  eventually "$1: the unit is active" inside systemctl is-active "$unit"
  eventually "$1: the receiver works" serves
}
stopped() { [[ $(inside systemctl is-active "$unit") != active ]] || fail "$1: the unit is active"; }
there() { inside test -e "$1" || fail "$2: $1 is missing"; }
gone() { ! inside test -e "$1" || fail "$2: $1 is still there"; }
deb() { inside env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$work/dpkg" 2>&1 || { cat "$work/dpkg" >&2; fail "dpkg $*"; }; }

# deb
deb -i "/root/packages/otelcol-flowmonitor-agent_0.1.0_$arch.deb"
running "installed"
inside systemctl is-enabled --quiet "$unit" || fail "installed: the unit is not enabled"
[[ $(inside dpkg-query -W -f '${Conffiles}' otelcol-flowmonitor-agent) == *config.yaml*environment* ]] || fail "config.yaml and environment are no conffiles"
first=$(pid)
state=$(inside cat "/proc/$first/status")
grep -q '^Seccomp:[[:space:]]*2' <<<"$state" || fail "no seccomp filter is in force"
grep -q '^NoNewPrivs:[[:space:]]*1' <<<"$state" || fail "no_new_privs is not set"
! grep -qE '^Uid:[[:space:]]*0' <<<"$state" || fail "the agent runs as root"
rss=$(awk '/^VmRSS/ {print int($2 / 1024)}' <<<"$state")

inside systemctl stop "$unit"
stopped "stopped"
inside systemctl start "$unit"
running "started"

inside sh -c 'echo "# changed here" >>/etc/otelcol-flowmonitor/config.yaml'
first=$(pid)
deb -i "/root/packages/next/otelcol-flowmonitor-agent_0.1.1_$arch.deb"
running "upgraded"
[[ $(pid) != "$first" ]] || fail "upgraded: the old program still runs"
inside grep -q '^# changed here' /etc/otelcol-flowmonitor/config.yaml || fail "upgraded: the changed configuration is lost"

inside mkdir -p /var/lib/private/otelcol-flowmonitor /sys/fs/bpf/flowmonitor
deb -r otelcol-flowmonitor-agent
stopped "removed"
gone /usr/bin/otelcol-flowmonitor "removed"
there /etc/otelcol-flowmonitor/config.yaml "removed"
there /sys/fs/bpf/flowmonitor "removed"
deb -P otelcol-flowmonitor-agent
for path in /etc/otelcol-flowmonitor /var/lib/private/otelcol-flowmonitor /sys/fs/bpf/flowmonitor \
  /etc/systemd/system/multi-user.target.wants/$unit /etc/systemd/system/$unit; do
  gone "$path" "purged"
done

# rpm, by rpm itself; what it would depend on is not in an rpm database here.
machine_name=$(uname -m)
rpm() { inside rpm --dbpath /root/rpmdb "$@" >"$work/rpm" 2>&1 || { cat "$work/rpm" >&2; fail "rpm $*"; }; }
rpm -i --nodeps "/root/packages/otelcol-flowmonitor-agent-0.1.0-1.$machine_name.rpm"
inside systemctl daemon-reload
inside systemctl start "$unit"
running "rpm: started"
first=$(pid)
inside sh -c 'echo "# changed here" >>/etc/otelcol-flowmonitor/config.yaml'
rpm -U --nodeps "/root/packages/next/otelcol-flowmonitor-agent-0.1.1-1.$machine_name.rpm"
running "rpm: upgraded"
[[ $(pid) != "$first" ]] || fail "rpm, upgraded: the old program still runs"
inside grep -q '^# changed here' /etc/otelcol-flowmonitor/config.yaml || fail "rpm, upgraded: the changed configuration is lost"
rpm -e otelcol-flowmonitor-agent
stopped "rpm: removed"
gone /usr/bin/otelcol-flowmonitor "rpm: removed"

echo "ok  deb and rpm: installed, started, stopped, upgraded, removed and purged under systemd; the agent took $rss MiB"
