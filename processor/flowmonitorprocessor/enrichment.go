// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// enrichment is an answer in the form in which it is written to data points. It is
// immutable: many points share it, and many flows its ends.
type enrichment struct {
	flow          prepared.Set
	local, remote *prepared.Set
	unresolved    string
}

// writeTo adds the attributes to a point that has none of them.
func (e *enrichment) writeTo(w *prepared.Writer, m pcommon.Map) {
	w.Append(m, &e.flow, e.local, e.remote)
}

// same tells whether another answer says the same. Ends that are equal are one.
func (e *enrichment) same(o *enrichment) bool {
	return e.local == o.local && e.remote == o.remote && e.unresolved == o.unresolved && e.flow.Equal(&o.flow)
}

// newEnrichment makes the attributes of a result.
func (p *pool) newEnrichment(r *path.Result, monitors []string, write AttributesConfig) *enrichment {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bound()
	e := &enrichment{unresolved: r.Unresolved, local: p.end(&r.Local, true), remote: p.end(&r.Remote, false)}
	n := 0
	for _, there := range [...]bool{r.Category != "", r.Unresolved != "", write.Path && len(r.Path) > 0, write.Monitors && len(monitors) > 0} {
		if there {
			n++
		}
	}
	b := prepared.NewBuilder(n)
	if r.Category != "" {
		b.Put(flowattr.Category, p.text(r.Category))
	}
	if r.Unresolved != "" {
		b.Put(flowattr.Unresolved, p.text(r.Unresolved))
	}
	if write.Path && len(r.Path) > 0 {
		b.PutList(flowattr.Path, p.path(r.Path))
	}
	if write.Monitors && len(monitors) > 0 {
		b.PutList(flowattr.Monitors, p.names(monitors))
	}
	e.flow = b.Set()
	return e
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

func endValues(end *path.End) [len(endKeys{})]*string {
	k := &end.K8S
	return [...]*string{
		&end.Account, &end.Region, &end.Zone, &end.ZoneID, &end.VPC, &end.Subnet, &end.Interface, &end.Host,
		&k.ClusterName, &k.NodeName, &k.NamespaceName, &k.PodName, &k.ServiceName,
		&k.DeploymentName, &k.StatefulSetName, &k.DaemonSetName, &k.ReplicaSetName,
		&k.JobName, &k.CronJobName,
	}
}

// strip removes what an earlier flowmonitor wrote: this one decides anew, and a mixture
// of two versions would be neither.
func strip(m pcommon.Map) {
	m.RemoveIf(func(key string, _ pcommon.Value) bool { return flowattr.IsEnrichment(key) })
}

// attributesOf makes the set of an end's attributes.
func (p *pool) attributesOf(end *path.End, local bool) *prepared.Set {
	keys := &remoteKeys
	if local {
		keys = &localKeys
	}
	values := endValues(end)
	n := 0
	for _, value := range values {
		if *value != "" {
			n++
		}
	}
	service := !local && end.Service != ""
	if service {
		n++
	}
	b := prepared.NewBuilder(n)
	for i, value := range values {
		if *value != "" {
			b.Put(keys[i], p.text(*value))
		}
	}
	if service {
		b.Put(flowattr.RemoteAWSService, p.text(end.Service))
	}
	s := b.Set()
	return &s
}

// own gives an end whose texts are its own, and keep nothing else in memory.
func own(end path.End) path.End {
	for _, value := range endValues(&end) {
		*value = strings.Clone(*value)
	}
	end.Service = strings.Clone(end.Service)
	return end
}
