// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	a    = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	b    = "b18febce22a7b18febce22a7b18febce22a7b18febce22a7b18febce22a7dddd"
	uid  = "9ac48755-3968-48e4-b9dc-6d4b69f3bb42"
	uid_ = "9ac48755_3968_48e4_b9dc_6d4b69f3bb42"
	hash = "5ee0c3a2f1b4d6978899aabbccddeeff"
	task = "e95a40efbde84cbc8600660a109ec194"
)

// names splits a path of the hierarchy as the kernel gives it: from the cgroup's own
// name outwards, the root's last.
func names(path string) []string {
	n := strings.Split(path, "/")
	slices.Reverse(n)
	return n
}

var layouts = map[string]struct {
	path           string
	container, pod string
}{
	"containerd, systemd driver, burstable":               {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope", a, uid},
	"containerd, systemd driver, best effort":             {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope", a, uid},
	"containerd, systemd driver, guaranteed":              {"/kubepods.slice/kubepods-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope", a, uid},
	"containerd, cgroupfs driver, best effort":            {"/kubepods/besteffort/pod" + uid + "/" + a, a, uid},
	"containerd, cgroupfs driver, burstable":              {"/kubepods/burstable/pod" + uid + "/" + a, a, uid},
	"containerd, cgroupfs driver, guaranteed":             {"/kubepods/pod" + uid + "/" + a, a, uid},
	"containerd, cgroupfs driver under a systemd kubelet": {"/system.slice/containerd.service/kubepods-burstable-pod" + uid_ + ".slice:cri-containerd:" + a, a, uid},
	"containerd, the same for a guaranteed pod":           {"/kubepods-pod" + uid_ + ".slice:cri-containerd:" + a, a, uid},
	"CRI-O, systemd driver":                               {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/crio-" + a + ".scope", a, uid},
	"CRI-O with crun, which adds a level":                 {"/kubepods.slice/kubepods-pod" + uid_ + ".slice/crio-" + a + ".scope/container", a, uid},
	"CRI-O, cgroupfs driver":                              {"/kubepods/burstable/pod" + uid + "/crio-" + a, a, uid},
	"CRI-O's monitor is no container, nor the pod's":      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/crio-conmon-" + a + ".scope", "", ""},
	"CRI-O's monitor, cgroupfs driver":                    {"/kubepods/burstable/pod" + uid + "/crio-conmon-" + a, "", ""},
	"CRI-O's monitor among the services":                  {"/system.slice/crio-conmon-" + a + ".scope", "", ""},
	"CRI-O's monitor in a node that is a container":       {"/system.slice/docker-" + b + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + uid_ + ".slice/crio-conmon-" + a + ".scope", b, ""},
	"Docker, systemd driver":                              {"/system.slice/docker-" + a + ".scope", a, ""},
	"Docker, cgroupfs driver":                             {"/docker/" + a, a, ""},
	"Docker, cgroupfs driver with a systemd path":         {"/system.slice:docker:" + a, a, ""},
	"Docker, a parent of the user's":                      {"/batch/night/" + a, a, ""},
	"Docker, rootless":                                    {"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + a + ".scope", a, ""},
	"Docker under Kubernetes":                             {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid_ + ".slice/docker-" + a + ".scope", a, uid},
	"Podman, root":                                        {"/machine.slice/libpod-" + a + ".scope/container", a, ""},
	"Podman, rootless":                                    {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + a + ".scope", a, ""},
	"Podman, cgroupfs driver":                             {"/libpod_parent/libpod-" + a, a, ""},
	"Podman in a service's cgroup":                        {"/system.slice/web.service/libpod-payload-" + a, a, ""},
	"Podman's monitor":                                    {"/machine.slice/libpod-conmon-" + a + ".scope", "", ""},
	"Podman's monitor, rootless":                          {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-" + a + ".scope", "", ""},
	"Podman's pod is none of Kubernetes'":                 {"/machine.slice/machine-libpod_pod_" + b + ".slice/libpod-" + a + ".scope", a, ""},
	"Podman's pod alone is no container":                  {"/machine.slice/machine-libpod_pod_" + b + ".slice", "", ""},
	"Podman's pod, cgroupfs driver":                       {"/libpod_parent/libpod_pod_" + b, "", ""},
	"nerdctl, systemd driver":                             {"/system.slice/nerdctl-" + a + ".scope", a, ""},
	"nerdctl, cgroupfs driver":                            {"/default/" + a, a, ""},
	"a runtime that is yet to come":                       {"/kubepods.slice/kubepods-pod" + uid_ + ".slice/newruntime-" + a + ".scope", a, uid},
	"ECS, cgroupfs driver":                                {"/ecs/" + task + "/" + a, a, ""},
	"ECS, systemd driver":                                 {"/ecstasks.slice/ecstasks-" + task + ".slice/docker-" + a + ".scope", a, ""},
	"ECS with containerd":                                 {"/ecs/" + task + "/" + task + "-2704239201", task + "-2704239201", ""},
	"a task of ECS is no container":                       {"/ecs/" + task, "", ""},
	"what only looks like a container of ECS":             {"/ecs/" + hash + "/" + task + "-2704239201", "", ""},
	"a static pod":                                        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice/cri-containerd-" + a + ".scope", a, hash},
	"a static pod, cgroupfs driver":                       {"/kubepods/burstable/pod" + hash + "/" + a, a, hash},
	"a static pod, guaranteed":                            {"/kubepods.slice/kubepods-pod" + hash + ".slice/crio-" + a + ".scope", a, hash},
	"a node that is a container (kind), systemd driver":   {"/system.slice/docker-" + b + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope", a, uid},
	"a node that is a container (kind), cgroupfs driver":  {"/docker/" + b + "/kubelet/kubepods/besteffort/pod" + uid + "/" + a, a, uid},
	"the kubelet of such a node is in the node":           {"/docker/" + b + "/system.slice/kubelet.service", b, ""},
	"Docker in Docker":                                    {"/docker/" + b + "/docker/" + a, a, ""},
	"Docker in a pod: the inner container, the outer pod": {"/kubepods/burstable/pod" + uid + "/" + b + "/docker/" + a, a, uid},
	"Podman's monitor in a pod is in the pod's container": {"/kubepods/pod" + uid + "/" + b + "/libpod-conmon-" + a + ".scope", b, uid},
	"systemd in a container":                              {"/kubepods.slice/kubepods-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope/init.scope", a, uid},
	"a service of systemd in a container":                 {"/docker/" + a + "/system.slice/nginx.service", a, ""},
	"a user's session in a container":                     {"/machine.slice/libpod-" + a + ".scope/container/user.slice/user-0.slice/session-1.scope", a, ""},
	"a process in a pod, but in no container":             {"/kubepods/burstable/pod" + uid, "", uid},
	"the same in a node that is a container":              {"/docker/" + b + "/kubelet/kubepods/pod" + uid, "", uid},
	"a sandbox of Kata":                                   {"/kubepods/burstable/pod" + uid + "/" + a, a, uid},
	"the hypervisor of Kata is outside of its containers": {"/kata_overhead/" + a, "", ""},
	"a kubelet with a root of its own":                    {"/edge.slice/edge-kubepods.slice/edge-kubepods-besteffort.slice/edge-kubepods-besteffort-pod" + uid_ + ".slice/crio-" + a + ".scope", a, uid},
	"the root":                                            {"", "", ""},
	"a service":                                           {"/system.slice/sshd.service", "", ""},
	"a service whose name has an id":                      {"/system.slice/docker-" + a + ".service", "", ""},
	"the mount of an image":                               {"/system.slice/var-lib-docker-overlay2-" + a + "-merged.mount", "", ""},
	"the mount of a container":                            {"/system.slice/docker-" + a + ".mount", "", ""},
	"a session":                                           {"/user.slice/user-1000.slice/session-3.scope", "", ""},
	"a user's application":                                {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-" + uid + ".scope", "", ""},
	"a transient unit":                                    {"/system.slice/run-r" + task + ".scope", "", ""},
	"the runtime itself":                                  {"/system.slice/containerd.service", "", ""},
	"the kubelet's own slices":                            {"/kubepods.slice/kubepods-burstable.slice", "", ""},
	"a build of Docker's, which is no container":          {"/docker/buildkit/t4967jvf8rbufklrhkicskyes", "", ""},
	"an id that is a digit short":                         {"/docker/" + a[1:], "", ""},
	"an id that is a digit long":                          {"/docker/0" + a, "", ""},
	"an id in capitals":                                   {"/docker/" + strings.ToUpper(a), "", ""},
	"an id that was cut off":                              {"/system.slice/cri-containerd-" + a[:48], "", ""},
	"an id behind an underscore":                          {"/x/thing_" + a, "", ""},
	"a dash alone before the id":                          {"/x/-" + a, "", ""},
	"a pod that was cut off":                              {"/kubepods.slice/kubepods-pod" + uid_[:30] + "/cri-containerd-" + a + ".scope", a, ""},
	"a slice with a pod that is not the kubelet's":        {"/my.slice/my-pod" + uid_ + ".slice", "", ""},
	"a folder that is called a pod":                       {"/kubepods/podium", "", ""},
	"a uid with something else for a dash":                {"/kubepods/pod" + strings.ReplaceAll(uid, "-", "x"), "", ""},
}

func TestTheContainerAndThePodOfACgroup(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, ID{Container: l.container, Pod: l.pod}, Of(names(l.path)))
		})
	}
}

// The kernel keeps the innermost levels only.
func TestTheOuterLevelsMayBeMissing(t *testing.T) {
	for name, l := range layouts {
		n := names(l.path)
		for levels := 2; levels < len(n); levels++ { // one alone does not show what it is in
			got := Of(n[:levels])
			if got.Container != "" {
				assert.Equal(t, l.container, got.Container, name)
			}
			if got.Pod != "" {
				assert.Equal(t, l.pod, got.Pod, name)
			}
		}
	}
	assert.Equal(t, ID{}, Of(nil))
}

func TestNothingButTheResultIsAllocated(t *testing.T) {
	for path, want := range map[string]float64{
		"/system.slice/sshd.service": 0,
		"/docker/" + a:               1,
		"/kubepods/burstable/pod" + uid + "/" + a + "/init.scope":                       2,
		"/kubepods.slice/kubepods-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope": 2,
	} {
		n := names(path)
		assert.Equal(t, want, testing.AllocsPerRun(100, func() { sink = Of(n) }), path)
	}
}

var sink ID

func BenchmarkOf(b *testing.B) {
	b.ReportAllocs()
	n := names("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + a + ".scope")
	for b.Loop() {
		sink = Of(n)
	}
}

func FuzzOf(f *testing.F) {
	for _, l := range layouts {
		f.Add(l.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		id := Of(names(path))
		if id.Container != "" {
			task, number, ecs := strings.Cut(id.Container, "-")
			assert.True(t, !ecs && len(id.Container) == 64 && isHex(id.Container) || ecs && isTask(task) && isNumber(number), id.Container)
			assert.Contains(t, path, id.Container)
		}
		if id.Pod != "" {
			assert.True(t, isUID(id.Pod) && !strings.Contains(id.Pod, "_") || isTask(id.Pod), id.Pod)
			assert.Contains(t, strings.ReplaceAll(path, "_", "-"), id.Pod)
		}
		// A cgroup that a container makes for itself changes nothing.
		if id.Container != "" {
			assert.Equal(t, id, Of(names(path+"/system.slice/inner.service")))
		}
	})
}
