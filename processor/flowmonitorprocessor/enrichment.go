// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// enrichment is an answer in the form in which it is written to data points. It is
// immutable: many points share it.
type enrichment struct {
	attributes []keyValue
	path       []string
	monitors   []string
	unresolved string
}

type keyValue struct{ key, value string }

// newEnrichment makes the attributes of a result, in the order in which they are written.
func newEnrichment(r *path.Result, monitors []string, write AttributesConfig) *enrichment {
	e := &enrichment{unresolved: r.Unresolved}
	e.attributes = make([]keyValue, 0, 24)
	e.put(flowattr.Category, r.Category)
	e.put(flowattr.Unresolved, r.Unresolved)
	e.putEnd(&localKeys, &r.Local)
	e.putEnd(&remoteKeys, &r.Remote)
	e.put(flowattr.RemoteAWSService, r.Remote.Service)
	if write.Path {
		e.path = r.Path
	}
	if write.Monitors {
		e.monitors = monitors
	}
	return e
}

func (e *enrichment) put(key, value string) {
	if value != "" {
		e.attributes = append(e.attributes, keyValue{key, value})
	}
}

// endKeys are the keys of one end, in the order of endValues.
type endKeys [19]string

var localKeys, remoteKeys = keysOf(flowattr.LocalPrefix), keysOf(flowattr.RemotePrefix)

func keysOf(prefix string) (keys endKeys) {
	for i, key := range []string{
		flowattr.CloudAccountID, flowattr.CloudRegion, flowattr.CloudAvailabilityZone, flowattr.AWSAZID,
		flowattr.AWSVPCID, flowattr.AWSSubnetID, flowattr.AWSENIID, flowattr.HostID,
		flowattr.K8SClusterName, flowattr.K8SNodeName, flowattr.K8SNamespaceName, flowattr.K8SPodName, flowattr.K8SServiceName,
		flowattr.K8SDeploymentName, flowattr.K8SStatefulSetName, flowattr.K8SDaemonSetName, flowattr.K8SReplicaSetName,
		flowattr.K8SJobName, flowattr.K8SCronJobName,
	} {
		keys[i] = prefix + key
	}
	return keys
}

func (e *enrichment) putEnd(keys *endKeys, end *path.End) {
	k := &end.K8S
	for i, value := range [len(endKeys{})]string{
		end.Account, end.Region, end.Zone, end.ZoneID, end.VPC, end.Subnet, end.Interface, end.Host,
		k.ClusterName, k.NodeName, k.NamespaceName, k.PodName, k.ServiceName,
		k.DeploymentName, k.StatefulSetName, k.DaemonSetName, k.ReplicaSetName,
		k.JobName, k.CronJobName,
	} {
		e.put(keys[i], value)
	}
}

// writeTo adds the attributes to a point.
func (e *enrichment) writeTo(m pcommon.Map) {
	m.EnsureCapacity(m.Len() + len(e.attributes) + 2)
	for i := range e.attributes {
		m.PutStr(e.attributes[i].key, e.attributes[i].value)
	}
	putSlice(m, flowattr.Path, e.path)
	putSlice(m, flowattr.Monitors, e.monitors)
}

func putSlice(m pcommon.Map, key string, values []string) {
	if len(values) == 0 {
		return
	}
	s := m.PutEmptySlice(key)
	s.EnsureCapacity(len(values))
	for _, v := range values {
		s.AppendEmpty().SetStr(v)
	}
}

// strip removes what an earlier flowmonitor wrote: this one decides anew, and a mixture
// of two versions would be neither.
func strip(m pcommon.Map) {
	m.RemoveIf(func(key string, _ pcommon.Value) bool {
		switch key {
		case flowattr.Category, flowattr.Path, flowattr.Monitors, flowattr.Unresolved:
			return true
		}
		return strings.HasPrefix(key, flowattr.LocalPrefix) || strings.HasPrefix(key, flowattr.RemotePrefix)
	})
}
