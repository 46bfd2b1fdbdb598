#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes this machine ready for one of make's jobs, or says in one sentence each what is missing.
# Installs Debian packages, and only those whose commands are not there yet.
#
#   setup.sh run         the collector on this machine: needs nothing installed
#   setup.sh demo        lab hosts in network namespaces, web servers
#   setup.sh test        all that the tests call
#   setup.sh generate    the compiler of the eBPF objects
#   setup.sh race        the C compiler that Go's race detector needs
#   setup.sh kernels     QEMU for amd64 and arm64, to boot other kernels
#   setup.sh kernels-short  QEMU for amd64
#
# SETUP_ROOT is put before each file this script looks at; its test uses it.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian leaves these out of an ordinary user's PATH; nft, nginx and tc live there.
PATH=$PATH:/usr/sbin:/sbin
root=${SETUP_ROOT:-}
problems=()
suites="" # of Debian, instead of this machine's own

problem() { problems+=("$1"); }

have() { command -v "$1" >/dev/null 2>&1; }

give_up_on_problems() {
  ((${#problems[@]})) || return 0
  printf 'setup: %s\n' "${problems[@]}" >&2
  exit 1
}

check_go() {
  have go || problem "go is not in PATH: install Go 1.25 or later (with sudo, keep its path: sudo env \"PATH=\$PATH\" make …)."
}

# The receiver loads eBPF programs and attaches them to the root cgroup.
check_root() {
  [[ $(id -u) == 0 ]] || problem "this needs root, and runs as user $(id -un): loading eBPF programs and making network namespaces are privileged (sudo env \"PATH=\$PATH\" make …)."
}

# 5.15 is the oldest kernel that the programs are made for.
check_kernel() {
  local release major minor
  release=$(uname -r)
  if ! [[ $release =~ ^([0-9]+)\.([0-9]+) ]]; then
    problem "the kernel's release \"$release\" cannot be read as a version: Linux 5.15 or later is needed."
    return
  fi
  major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  if ((major < 5 || (major == 5 && minor < 15))); then
    problem "the kernel is $release: Linux 5.15 or later is needed."
  fi
}

check_cgroup2() {
  grep -qE '^[^ ]+ [^ ]+ cgroup2 ' "$root/proc/mounts" 2>/dev/null ||
    problem "no cgroup2 file system is mounted, and the programs attach to one: mount it (mount -t cgroup2 none /mnt)."
}

check_btf() {
  [[ -r $root/sys/kernel/btf/vmlinux ]] ||
    problem "the kernel has no BTF (/sys/kernel/btf/vmlinux): a kernel built with CONFIG_DEBUG_INFO_BTF is needed, as all of Debian's are since 11."
}

# A package that starts a service when it is installed asks policy-rc.d first; 101 forbids it.
# What was there before comes back on exit. After a kill that left no time for it, the next install sees by the
# mark that the file is this script's, and puts back what it had kept.
hold_services() {
  policy=$root/usr/sbin/policy-rc.d
  kept=$policy.kept-by-flowmonitor
  local mark='# flow monitor: in place only while scripts/setup.sh installs packages.'
  if [[ -e $policy ]] && ! grep -qF "$mark" "$policy"; then mv "$policy" "$kept"; fi
  trap release_services EXIT
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
}

release_services() {
  rm -f "$policy"
  if [[ -e $kept ]]; then mv "$kept" "$policy"; fi
  trap - EXIT
}

install_packages() {
  local packages=("$@")
  if ! have apt-get; then
    problem "the commands of ${packages[*]} are missing, and there is no apt-get to install them: install the packages of these or similar names."
    return
  fi
  if [[ $(id -u) != 0 ]]; then
    problem "the packages ${packages[*]} are missing, and only root can install them: apt-get install ${packages[*]}"
    return
  fi
  echo "setup: installing ${packages[*]}"
  # A lock held by an unattended upgrade is worth two minutes of waiting.
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
  # The last of the suites is the one to prefer.
  if [[ -n $suites ]]; then
    apt=(scripts/apt-suite.sh "$suites" "$(dpkg --print-architecture)" apt-get -t "${suites##*,}")
  fi
  export DEBIAN_FRONTEND=noninteractive
  hold_services
  if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null; }; then
    problem "apt-get could not install ${packages[*]}: its own message is above."
  fi
  release_services
  # Debian enables what it installs; the tests start servers of their own, and the next boot must start none.
  local package
  for package in "${packages[@]}"; do
    case $package in
      nginx-light) have systemctl && systemctl disable --quiet nginx || true ;;
      prometheus) have systemctl && systemctl disable --quiet prometheus || true ;;
    esac
  done
}

# need_commands command:package … installs the packages of the commands that are not there.
need_commands() {
  local pair missing=()
  for pair in "$@"; do
    have "${pair%%:*}" || missing+=("${pair#*:}")
  done
  ((${#missing[@]})) || return 0
  local packages
  mapfile -t packages < <(printf '%s\n' "${missing[@]}" | sort -u)
  install_packages "${packages[@]}"
  ((${#problems[@]})) && return 0
  for pair in "$@"; do
    have "${pair%%:*}" || problem "${pair#*:} was installed, but ${pair%%:*} is still not in PATH."
  done
}

# Linux 6.12 crashes in QEMU 7.2, and once in a while 6.1: cmpxchg16b leaves wrong flags. 10 is the oldest that was
# seen to run them.
qemu_oldest=10

qemu_version() { "$1" --version 2>/dev/null | sed -nE '1s/.* version ([0-9]+)\..*/\1/p'; }

# need_qemu command:package … installs emulators that are missing or too old, from the backports of this release where
# its own are.
need_qemu() {
  local pair packages=() version candidate release
  for pair in "$@"; do
    version=$(qemu_version "${pair%%:*}" || true)
    ((${version:-0} >= qemu_oldest)) || packages+=("${pair#*:}")
  done
  ((${#packages[@]})) || return 0
  if have apt-cache; then
    candidate=$(apt-cache policy "${packages[0]}" | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9]+)\..*/\2/p')
    release=$(sed -n 's/^VERSION_CODENAME=//p' "$root/etc/os-release" 2>/dev/null || true)
    if ((${candidate:-$qemu_oldest} < qemu_oldest)); then
      suites=$release,$release-backports
    fi
  fi
  install_packages "${packages[@]}"
  ((${#problems[@]})) && return 0
  for pair in "$@"; do
    version=$(qemu_version "${pair%%:*}" || true)
    ((${version:-0} >= qemu_oldest)) ||
      problem "${pair#*:} was installed, but ${pair%%:*} is version \"$version\": $qemu_oldest or later is needed."
  done
}

check_machine() {
  check_root
  check_kernel
  check_cgroup2
  check_btf
}

lab_commands=(ip:iproute2 ss:iproute2 tc:iproute2 nft:nftables nsenter:util-linux unshare:util-linux
  sysctl:procps nginx:nginx-light)
# runc and systemd-analyze: the sandboxes in which the deployments of the examples are tried.
test_commands=("${lab_commands[@]}" ps:procps conntrack:conntrack curl:curl iperf3:iperf3 prometheus:prometheus promtool:prometheus
  setpriv:util-linux runc:runc systemd-analyze:systemd
  rpm:rpm)

job=${1:-}
check_go
case $job in
  run) check_machine ;;
  demo | test)
    check_machine
    # Nothing is installed on a machine that could not do the job anyway.
    give_up_on_problems
    if [[ $job == demo ]]; then need_commands "${lab_commands[@]}"; else need_commands "${test_commands[@]}"; fi
    ;;
  generate)
    # The go:generate lines are what names the compiler's version.
    version=$(grep -rh --include='*.go' '^//go:generate ' bpf | sed -n 's/.* -cc clang-\([0-9]*\) .*/\1/p' | sort -u)
    [[ $version =~ ^[0-9]+$ ]] || problem "the go:generate lines of bpf/ do not name one clang-N (found: \"${version//$'\n'/ }\")."
    give_up_on_problems
    need_commands "clang-$version:clang-$version" "llvm-strip-$version:llvm-$version"
    # When objects differ between two machines, this line tells whether the compilers did.
    have "clang-$version" && echo "setup: $("clang-$version" --version | sed -n 1p)"
    ;;
  # Without its recommendations, gcc comes without the C library's headers.
  race) need_commands gcc:gcc gcc:libc6-dev ;;
  kernels | kernels-short)
    emulators=(qemu-system-x86_64:qemu-system-x86)
    [[ $job == kernels-short ]] || emulators+=(qemu-system-aarch64:qemu-system-arm)
    need_qemu "${emulators[@]}"
    # To unpack the kernels' packages and their modules.
    need_commands dpkg-deb:dpkg xz:xz-utils
    ;;
  *)
    echo "usage: setup.sh run|demo|test|generate|race|kernels|kernels-short" >&2
    exit 2
    ;;
esac
give_up_on_problems
