// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

import "strings"

// ID says where a socket belongs. What is not known, or does not exist, is empty.
type ID struct {
	Container string // 64 hexadecimal digits; on ECS perhaps <task>-<number>
	Pod       string // uid of the pod, with dashes; a static pod's is the hash of its manifest
}

// Of gives the ID for a cgroup whose names, from its own outwards, these are; they may
// end before the root. It keeps none of the names.
//
// The pod is the one around the container: a container that was started in a pod (Docker
// in Docker) is in that pod. A process in a pod but in none of its containers has a pod
// only. A monitor (conmon) belongs to neither, though its cgroup is the pod's child: it
// runs on the host, or in the container that plays the host.
func Of(names []string) (id ID) {
	monitor := false
	for i, name := range names {
		if id.Container == "" {
			if isMonitor(name) {
				monitor = true
				continue
			}
			id.Container = strings.Clone(containerOf(name, names[i+1:]))
		}
		uid := podOf(name)
		switch {
		case uid == "":
		case monitor && id.Container == "":
			monitor = false // the pod that it watches
		default:
			id.Pod = dashed(uid)
			return id
		}
	}
	return id
}

// idLength is that of a SHA-256 in hexadecimal: what runtimes call a container.
const idLength = 64

// containerOf gives the container of which name is the cgroup, or nothing.
func containerOf(name string, above []string) string {
	// A systemd path slice:prefix:id that a runtime with the cgroupfs driver took for a name.
	name = name[strings.LastIndexByte(name, ':')+1:]
	name = strings.TrimSuffix(name, ".scope")
	parent := ""
	if len(above) > 0 {
		parent = above[0]
	}
	if at := len(name) - idLength; at >= 0 && isHex(name[at:]) {
		switch {
		case at == 0 && parent != "kata_overhead": // beside the containers: the hypervisor of their sandbox
			return name
		case at > 1 && name[at-1] == '-': // the runtime's name, which may be any
			return name[at:]
		}
		return ""
	}
	if task, number, ok := strings.Cut(name, "-"); ok && task == parent && isTask(task) && isNumber(number) {
		return name
	}
	return ""
}

// isMonitor recognizes the cgroups of conmon, which looks after one container each.
func isMonitor(name string) bool {
	return strings.HasPrefix(name, "crio-conmon-") || strings.HasPrefix(name, "libpod-conmon-")
}

// podOf gives the uid of the pod of which name is the cgroup, as the name spells it, or
// nothing.
func podOf(name string) string {
	name, _, _ = strings.Cut(name, ":")
	if slice, ok := strings.CutSuffix(name, ".slice"); ok {
		// Whatever the kubelet's root is called: kubepods, kubelet-kubepods.
		at := strings.LastIndex(slice, "-pod")
		if at < 0 || !strings.Contains(slice[:at], "kubepods") {
			return ""
		}
		name = slice[at+1:]
	}
	uid, ok := strings.CutPrefix(name, "pod")
	if !ok || !isUID(uid) && !isTask(uid) {
		return ""
	}
	return uid
}

// isUID recognizes a UUID; systemd's names have underscores for its dashes, which are
// levels there.
func isUID(s string) bool {
	const length = 36
	if len(s) != length {
		return false
	}
	for i := range length {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' && s[i] != '_' {
				return false
			}
		default:
			if !isHexDigit(s[i]) {
				return false
			}
		}
	}
	return true
}

// isTask recognizes 32 digits: a task of ECS, or the hash of a static pod.
func isTask(s string) bool { return len(s) == 32 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return true
}

// isHexDigit knows no capitals: no runtime writes any.
func isHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// isNumber recognizes a decimal number that is not absurdly long.
func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 20 // 64 bits
}

// dashed is the uid as the API server spells it, in memory of its own.
func dashed(uid string) string {
	if strings.IndexByte(uid, '_') >= 0 {
		return strings.ReplaceAll(uid, "_", "-")
	}
	return strings.Clone(uid)
}
