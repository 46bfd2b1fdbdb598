// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Attributes of the agent: of a scope, the key of a flow; of the resource, the host.
const (
	localAddress  = "local_address"
	localPort     = "local_port"
	remoteAddress = "remote_address"
	remotePort    = "remote_port"
	protocol      = "protocol"

	instanceID  = "instance_id"
	machineID   = "machine_id"
	k8sNodeName = "k8s_node_name"
	eksCluster  = "k8s_eks_cluster_name"
)

// BucketsAttribute is the resource attribute that marks histograms whose samples are all in the bucket of their mean.
const (
	BucketsAttribute = "flow.rtt.buckets"
	BucketsMean      = "mean"
)

// podAttributes are those of a scope that an agent in Kubernetes adds, and their names here.
var podAttributes = map[string]string{
	"local_pod_name":       flowattr.LocalPrefix + flowattr.K8SPodName,
	"local_pod_namespace":  flowattr.LocalPrefix + flowattr.K8SNamespaceName,
	"local_pod_service":    flowattr.LocalPrefix + flowattr.K8SServiceName,
	"remote_pod_name":      flowattr.RemotePrefix + flowattr.K8SPodName,
	"remote_pod_namespace": flowattr.RemotePrefix + flowattr.K8SNamespaceName,
	"remote_pod_service":   flowattr.RemotePrefix + flowattr.K8SServiceName,
}

// resourceAttributes are those of the agent's resource and their names here; an earlier one goes before a later one.
var resourceAttributes = []struct{ theirs, ours string }{
	{instanceID, flowattr.HostID},
	{machineID, flowattr.HostID},
	{instanceID, "service.instance.id"},
	{machineID, "service.instance.id"},
	{k8sNodeName, flowattr.K8SNodeName},
	{eksCluster, flowattr.K8SClusterName},
}

// readFlow gives the flow that the attributes of a scope name. ok is false if they name none: an address that is none, a port
// out of range, another protocol than TCP.
func readFlow(scope pcommon.Map) (f flowattr.Flow, ok bool) {
	if v, ok := scope.Get(protocol); !ok || v.Str() != "TCP" {
		return f, false
	}
	var valid [4]bool
	f.Local, valid[0] = address(scope, localAddress)
	f.Peer, valid[1] = address(scope, remoteAddress)
	f.LocalPort, valid[2] = port(scope, localPort)
	f.PeerPort, valid[3] = port(scope, remotePort)
	// The agent leaves out the ephemeral port, which is the client's.
	switch {
	case f.LocalPort == 0:
		f.Role = flowattr.RoleClient
	case f.PeerPort == 0:
		f.Role = flowattr.RoleServer
	}
	return f, valid == [4]bool{true, true, true, true} && f.Local.Is4() == f.Peer.Is4()
}

func address(scope pcommon.Map, name string) (netip.Addr, bool) {
	v, ok := scope.Get(name)
	if !ok {
		return netip.Addr{}, false
	}
	// The agent keeps IPv4-mapped addresses as they are.
	a, err := netip.ParseAddr(v.Str())
	return a.Unmap().WithZone(""), err == nil
}

func port(scope pcommon.Map, name string) (uint16, bool) {
	v, ok := scope.Get(name)
	if !ok || v.Type() != pcommon.ValueTypeInt || v.Int() < 0 || v.Int() > 65535 {
		return 0, false
	}
	return uint16(v.Int()), true
}

// describeHost adds this project's names of the host to the agent's own.
func describeHost(resource pcommon.Map) {
	for _, a := range resourceAttributes {
		theirs, ok := resource.Get(a.theirs)
		if !ok || theirs.Str() == "" {
			continue
		}
		if _, ok := resource.Get(a.ours); !ok {
			resource.PutStr(a.ours, theirs.Str())
		}
	}
	resource.PutStr(BucketsAttribute, BucketsMean)
}
