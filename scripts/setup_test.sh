#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh on machines that lack something: each case builds a PATH of stand-ins for the commands that ask the
# machine what it is, and a folder that stands for its root, and compares what setup.sh says and does.
set -euo pipefail
setup=$(dirname "$(readlink -f "$0")")/setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# The commands that setup.sh itself calls; nothing else of the real machine is in a case's PATH.
own_commands=(bash dirname grep sed sort rm mv chmod cat mktemp)

# command NAME SCRIPT puts a stand-in into the PATH of the case.
command_is() {
  rm -f "$bin/$1"
  printf '#!/bin/bash\n%s\n' "$2" >"$bin/$1"
  chmod 755 "$bin/$1"
}

# A machine on which every job could run: each case takes something from it.
new_machine() {
  root=$(mktemp -d "$work/machine.XXXX")
  bin=$root/bin
  mkdir -p "$bin" "$root/proc" "$root/sys/kernel/btf" "$root/usr/sbin"
  local name
  for name in "${own_commands[@]}"; do ln -s "$(command -v "$name")" "$bin/$name"; done
  command_is go true
  command_is id 'case $1 in -u) echo 0 ;; *) echo root ;; esac'
  command_is uname 'echo 6.1.0-18-amd64'
  # Installing a package puts its commands there, as far as the cases need them.
  command_is apt-get '
echo "$*" >>"'"$root"'/apt.log"
cat "'"$root"'/usr/sbin/policy-rc.d" >"'"$root"'/policy.seen"
for word; do
  case $word in
    nftables) printf "#!/bin/bash\n" >"'"$bin"'/nft"; chmod 755 "'"$bin"'/nft" ;;
  esac
done'
  for name in ip ss tc nft nsenter unshare sysctl nginx ps conntrack curl iperf3 setpriv runc rpm systemd-analyze prometheus promtool gcc; do command_is "$name" true; done
  echo 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0' >"$root/proc/mounts"
  echo btf >"$root/sys/kernel/btf/vmlinux"
}

run_setup() {
  status=0
  # setup.sh adds /usr/sbin and /sbin to PATH; the copy that is run here does not, or it would find the real commands.
  mkdir -p "$root/tree/scripts" "$root/tree/bpf"
  sed '/^PATH=/d' "$setup" >"$root/tree/scripts/setup.sh"
  echo "${gen_go-//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 x x.c}" >"$root/tree/bpf/gen.go"
  output=$(PATH=$bin SETUP_ROOT=$root "$BASH" "$root/tree/scripts/setup.sh" "$@" 2>&1) || status=$?
}

fail() {
  failed=1
  printf 'FAIL: %s: %s\n%s\n' "$case_name" "$1" "$output"
}

says() { [[ $output == *"$1"* ]] || fail "should say \"$1\""; }
refuses() { ((status != 0)) || fail "should fail"; }
succeeds() { ((status == 0)) || fail "should succeed"; }
holds() { "$@" || fail "should hold: $*"; }

start() {
  case_name=$1
  new_machine
}

start "a complete machine is ready for every job"
for job in run demo test race; do
  run_setup "$job"
  succeeds
done
holds test ! -e "$root/apt.log"

start "a user who is not root is told so"
command_is id 'case $1 in -u) echo 1000 ;; *) echo alice ;; esac'
for job in run demo test; do
  run_setup "$job"
  refuses
  says "this needs root, and runs as user alice"
done

start "a kernel below 5.15 is named"
command_is uname 'echo 5.10.0-30-amd64'
run_setup run
refuses
says "the kernel is 5.10.0-30-amd64: Linux 5.15 or later is needed."

start "kernel 5.15 itself is new enough"
command_is uname 'echo 5.15.0'
run_setup run
succeeds

start "kernel 4.19 is not taken for 4.2"
command_is uname 'echo 4.19.0'
run_setup run
refuses

start "a machine with cgroup version 1 only is told to mount cgroup2"
echo 'cgroup /sys/fs/cgroup/cpu cgroup rw 0 0' >"$root/proc/mounts"
run_setup run
refuses
says "no cgroup2 file system is mounted"

start "a hybrid cgroup mount is enough"
echo 'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0' >"$root/proc/mounts"
run_setup run
succeeds

start "a kernel without BTF is named"
rm "$root/sys/kernel/btf/vmlinux"
run_setup run
refuses
says "the kernel has no BTF"

start "all that is missing is said at once, and nothing is installed then"
command_is uname 'echo 5.4.0'
rm "$root/sys/kernel/btf/vmlinux" "$bin/nft" "$bin/go"
run_setup test
refuses
says "go is not in PATH"
says "the kernel is 5.4.0"
says "the kernel has no BTF"
holds test ! -e "$root/apt.log"

start "a missing command without apt-get names its package"
rm "$bin/nft" "$bin/apt-get"
run_setup test
refuses
says "the commands of nftables are missing, and there is no apt-get to install them"

start "make run needs no package at all"
rm "$bin"/{ip,ss,tc,nft,nginx,ps,conntrack,curl,iperf3,prometheus,promtool,apt-get}
run_setup run
succeeds

start "a missing command is installed, with services held back meanwhile"
rm "$bin/nft"
run_setup test
succeeds
holds grep -q 'install -y --no-install-recommends nftables$' "$root/apt.log"
holds grep -q 'exit 101' "$root/policy.seen"
holds test ! -e "$root/usr/sbin/policy-rc.d"

start "the machine's own policy-rc.d comes back"
rm "$bin/nft"
echo own >"$root/usr/sbin/policy-rc.d"
run_setup test
succeeds
holds grep -q 'exit 101' "$root/policy.seen"
holds grep -qx own "$root/usr/sbin/policy-rc.d"

start "an install that was killed leaves nothing behind after the next one"
rm "$bin/nft"
echo own >"$root/usr/sbin/policy-rc.d.kept-by-flowmonitor"
printf '#!/bin/sh\n# flow monitor: in place only while scripts/setup.sh installs packages.\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
run_setup test
succeeds
holds grep -qx own "$root/usr/sbin/policy-rc.d"
holds test ! -e "$root/usr/sbin/policy-rc.d.kept-by-flowmonitor"

start "an install that fails says so and lets services go"
rm "$bin/nft"
echo own >"$root/usr/sbin/policy-rc.d"
command_is apt-get 'echo "E: no network" >&2; exit 100'
run_setup test
refuses
says "apt-get could not install nftables"
says "E: no network"
holds grep -qx own "$root/usr/sbin/policy-rc.d"

start "an install that is interrupted lets services go"
rm "$bin/nft"
echo own >"$root/usr/sbin/policy-rc.d"
command_is apt-get 'kill -TERM $PPID'
run_setup test
refuses
holds grep -qx own "$root/usr/sbin/policy-rc.d"

start "a package that does not bring its command is noticed"
rm "$bin/nginx"
run_setup demo
refuses
says "nginx-light was installed, but nginx is still not in PATH"

start "a service that was installed does not start at the next boot"
rm "$bin/nft" "$bin/prometheus"
command_is apt-get 'for c in nft prometheus; do printf "#!/bin/bash\n" >"'"$bin"'/$c"; chmod 755 "'"$bin"'/$c"; done; : >"'"$root"'/usr/sbin/policy-rc.d"'
command_is systemctl 'echo "$*" >>"'"$root"'/systemctl.log"'
run_setup test
succeeds
holds grep -qx 'disable --quiet prometheus' "$root/systemctl.log"

start "the compiler that is installed is the one that go:generate names"
run_setup generate
says "clang-19 was installed, but clang-19 is still not in PATH"
holds grep -q 'clang-19 llvm-19$' "$root/apt.log"

start "a compiler that is there needs no root"
command_is id 'case $1 in -u) echo 1000 ;; *) echo alice ;; esac'
command_is clang-19 true
command_is llvm-strip-19 true
run_setup generate
succeeds

start "a compiler that is missing needs root"
command_is id 'case $1 in -u) echo 1000 ;; *) echo alice ;; esac'
run_setup generate
refuses
says "only root can install them: apt-get install clang-19 llvm-19"

start "two compilers are refused"
gen_go='//go:generate go tool bpf2go -cc clang-19 x x.c
//go:generate go tool bpf2go -cc clang-22 y y.c' run_setup generate
refuses
says 'do not name one clang-N (found: "19 22")'

# emulator_is VERSION puts a QEMU into the PATH of the case.
emulator_is() { command_is qemu-system-x86_64 "echo 'QEMU emulator version $1 (Debian 1:$1)'"; }

# debian_has VERSION is what this release's own package of QEMU would be.
debian_has() {
  command_is apt-cache "printf 'qemu:\n  Installed: (none)\n  Candidate: 1:$1+dfsg-7\n'"
  command_is dpkg 'echo amd64'
  command_is dpkg-deb true
  command_is xz true
  mkdir -p "$root/etc" "$root/tree/scripts"
  echo 'VERSION_CODENAME=bookworm' >"$root/etc/os-release"
  # Stands for apt with other suites: it brings the emulator of the backports.
  cat >"$root/tree/scripts/apt-suite.sh" <<SH
#!/bin/bash
echo "suite: \$*" >>$root/apt.log
printf '#!/bin/bash\necho QEMU emulator version 10.0.2\n' >$bin/qemu-system-x86_64
chmod 755 $bin/qemu-system-x86_64
SH
  chmod 755 "$root/tree/scripts/apt-suite.sh"
}

start "an emulator that is new enough stays"
debian_has 7.2
emulator_is 10.0.2
run_setup kernels-short
succeeds
holds test ! -e "$root/apt.log"

start "an emulator that is too old is replaced by that of the backports"
debian_has 7.2
emulator_is 7.2.22
run_setup kernels-short
succeeds
holds grep -q '^suite: bookworm,bookworm-backports amd64 apt-get -t bookworm-backports install .*qemu-system-x86$' "$root/apt.log"

start "where the release's own emulator is new enough it is the one"
debian_has 10.0
run_setup kernels-short
refuses # the stand-in brings none
says 'qemu-system-x86_64 is version "": 10 or later is needed'
holds grep -q 'install -y --no-install-recommends qemu-system-x86$' "$root/apt.log"

start "both architectures' emulators are for make test-kernels"
debian_has 10.0
run_setup kernels
holds grep -q 'qemu-system-x86 qemu-system-arm$' "$root/apt.log"

start "a word that is no job shows the usage"
run_setup everything
refuses
says "usage: setup.sh"

((failed)) || echo "ok  setup.sh"
exit "$failed"
