// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

// The workload kinds of Kubernetes beside a deployment, for one end of a flow behind
// [LocalPrefix] or [RemotePrefix].
const (
	K8SStatefulSetName = "k8s.statefulset.name"
	K8SDaemonSetName   = "k8s.daemonset.name"
	K8SReplicaSetName  = "k8s.replicaset.name"
	K8SJobName         = "k8s.job.name"
	K8SCronJobName     = "k8s.cronjob.name"
)
