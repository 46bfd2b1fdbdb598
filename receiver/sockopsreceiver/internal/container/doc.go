// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package container tells the container and the pod of a socket from the names of its
// cgroup and of the cgroups above it. Container runtimes and the kubelet write both ids
// into those names, each in its own way:
//
//	runtime, cgroup driver      names, outermost first
//	containerd, systemd         kubepods.slice / kubepods-burstable.slice /
//	                            kubepods-burstable-pod<uid with _>.slice / cri-containerd-<id>.scope
//	containerd, cgroupfs        kubepods / burstable / pod<uid> / <id>
//	containerd, drivers differ  system.slice / containerd.service / kubepods-burstable-pod<uid with _>.slice:cri-containerd:<id>
//	CRI-O                       … / crio-<id>.scope, crio-<id>, both perhaps / container; its monitor: crio-conmon-<id>.scope
//	Docker                      system.slice / docker-<id>.scope; docker / <id>
//	Podman                      machine.slice / libpod-<id>.scope / container; libpod_parent / libpod-<id>;
//	                            <unit>.service / libpod-payload-<id>; its monitor: libpod-conmon-<id>.scope
//	nerdctl                     system.slice / nerdctl-<id>.scope; default / <id>
//	ECS                         ecs / <task> / <id>; ecstasks.slice / ecstasks-<task>.slice / docker-<id>.scope;
//	                            ecs / <task> / <task>-<number>
//
// An id has 64 hexadecimal digits. Pods of the guaranteed class have no class in their
// names; static pods have a hash of 32 digits for a uid. A container may hold cgroups of
// its own (systemd, Docker or a whole Kubernetes node in it): the innermost container is
// the socket's.
package container // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
