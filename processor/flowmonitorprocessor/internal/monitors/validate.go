// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package monitors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Problem is one thing that is wrong with a list of definitions.
type Problem struct {
	Path string // within the list, such as [0].local[1].id
	Msg  string
}

// Names of the resource types, and which of them stand where.
const (
	typeSubnet     = "subnet"
	typeVPC        = "vpc"
	typeZone       = "availability_zone"
	typeRegion     = "region"
	typeCluster    = "eks_cluster"
	typeService    = "service"
	typeEverywhere = "everywhere"
)

var (
	localTypes  = []string{typeSubnet, typeVPC, typeZone, typeRegion, typeCluster}
	remoteTypes = []string{typeSubnet, typeVPC, typeZone, typeRegion, typeService, typeEverywhere}

	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	zoneForm    = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)
	clusterForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$`)
	idForm      = regexp.MustCompile(`^(subnet|vpc)-[0-9A-Za-z_-]+$`)
)

// maxProblems bounds the texts that one list can make: whoever has that many problems
// mends the first of them and looks again.
const maxProblems = 100

// MaxPairs bounds the pairs of a local and a remote resource of all monitors of a list. Each
// takes 90 bytes of the index: together 90 MB. A thousand monitors of a thousand pairs each fit.
const MaxPairs = 1 << 20

// Validate gives what is wrong with a list of definitions: the first hundred problems, and
// how many more there are. taken are names that monitors from elsewhere already have.
func Validate(definitions []Definition, ranges *ipranges.Table, taken []string) (problems []Problem, more int) {
	v := &validator{ranges: ranges}
	pairs := 0
	first := map[string]int{}
	for _, name := range taken {
		first[name] = -1
	}
	for i, d := range definitions {
		at := fmt.Sprintf("[%d]", i)
		if strings.TrimSpace(d.Name) == "" {
			v.fail(at+".name", "is required")
		} else if j, twice := first[d.Name]; !twice {
			first[d.Name] = i
		} else if j < 0 {
			v.fail(at+".name", "%q is the name of a monitor from another place; names are unique", d.Name)
		} else {
			v.fail(at+".name", "%q is the name of monitor [%d] too; names are unique", d.Name, j)
		}
		if len(d.Local) == 0 {
			v.fail(at+".local", "at least one resource is required")
		}
		for k, r := range d.Local {
			v.resource(fmt.Sprintf("%s.local[%d]", at, k), r, "local", localTypes)
		}
		for k, r := range d.Remote {
			v.resource(fmt.Sprintf("%s.remote[%d]", at, k), r, "remote", remoteTypes)
		}
		before := pairs
		if pairs += len(d.Local) * max(1, len(d.Remote)); pairs > MaxPairs && before <= MaxPairs {
			v.fail(at+".remote", "the list has %d pairs of a local and a remote resource up to here, of at most %d: name whole VPCs, zones or Regions in place of their parts", pairs, MaxPairs)
		}
	}
	return v.problems, v.more
}

type validator struct {
	ranges   *ipranges.Table
	problems []Problem
	more     int
}

func (v *validator) fail(path, format string, args ...any) {
	if len(v.problems) == maxProblems {
		v.more++
		return
	}
	v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (v *validator) resource(path string, r Resource, side string, types []string) {
	switch {
	case r.Type == "":
		v.fail(path+".type", "is required: one of %s", strings.Join(types, ", "))
		return
	case !slices.Contains(types, r.Type):
		v.fail(path+".type", "%q is no type of a %s resource: one of %s", r.Type, side, strings.Join(types, ", "))
		return
	case r.Type == typeEverywhere:
		if r.ID != "" {
			v.fail(path+".id", "must be absent: everywhere is everywhere")
		}
		return
	case r.ID == "":
		v.fail(path+".id", "is required for type %s", r.Type)
		return
	}
	if msg := v.identifier(r); msg != "" {
		v.fail(path+".id", "%q %s", r.ID, msg)
	}
}

func (v *validator) identifier(r Resource) string {
	switch r.Type {
	case typeSubnet, typeVPC:
		id := r.ID
		if strings.HasPrefix(id, "arn:") {
			a, ok := parseARN(id)
			if !ok || a.service != "ec2" || a.kind != r.Type {
				return "is not the ARN of a " + r.Type + ": arn:aws:ec2:<region>:<account>:" + r.Type + "/<id>"
			}
			id = a.id
		}
		if !idForm.MatchString(id) || !strings.HasPrefix(id, r.Type+"-") {
			return "is neither the id (" + r.Type + "-…) nor the ARN of a " + r.Type
		}
	case typeCluster:
		id := r.ID
		if strings.HasPrefix(id, "arn:") {
			a, ok := parseARN(id)
			if !ok || a.service != "eks" || a.kind != "cluster" {
				return "is not the ARN of an EKS cluster: arn:aws:eks:<region>:<account>:cluster/<name>"
			}
			id = a.id
		}
		if !clusterForm.MatchString(id) {
			return "is neither the name nor the ARN of an EKS cluster"
		}
	case typeZone:
		if !zoneForm.MatchString(r.ID) || regionForm.MatchString(r.ID) {
			return "is neither the name (eu-west-1a) nor the id (euw1-az1) of an availability zone"
		}
	case typeRegion:
		if !regionForm.MatchString(r.ID) && (v.ranges == nil || !v.ranges.HasRegion(r.ID)) {
			return "is not the name of a Region (eu-west-1)"
		}
	case typeService:
		if v.ranges != nil && !v.knownService(strings.ToUpper(r.ID)) {
			return "is not a service that is told by the AWS ranges (" + strings.Join(v.ranges.Services(), ", ") +
				"), by a network interface (" + strings.Join(interfaceServices, ", ") +
				") or by a well-known endpoint (" + strings.Join(endpointServices, ", ") + ")"
		}
	}
	return ""
}

// interfaceServices are told by a network interface's type or description.
var interfaceServices = func() []string {
	names := topology.InterfaceServices()
	slices.Sort(names)
	return slices.Compact(names)
}()

// endpointServices are the services that networks most often have an interface endpoint
// of and that the ranges do not have, named as the flows are: after the end of the
// endpoint's service name. There are hundreds, and more each month; without a list a
// misspelt name would be a monitor that never matches and nobody told.
var endpointServices = []string{
	"ATHENA", "AUTOSCALING", "CLOUDFORMATION", "CLOUDTRAIL", "EC2MESSAGES", "ECR_API", "ECR_DKR", "ECS", "ECS_AGENT", "ECS_TELEMETRY",
	"ELASTICLOADBALANCING", "EVENTS", "GLUE", "KINESIS_FIREHOSE", "KINESIS_STREAMS", "KMS", "LOGS", "MONITORING", "SECRETSMANAGER",
	"SNS", "SQS", "SSM", "SSMMESSAGES", "STATES", "STS", "XRAY",
}

// knownService tells whether a flow's remote end can be a service of that name.
func (v *validator) knownService(name string) bool {
	return v.ranges.HasService(name) || slices.Contains(interfaceServices, name) || slices.Contains(endpointServices, name)
}

type arn struct{ service, region, account, kind, id string }

func parseARN(s string) (arn, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" {
		return arn{}, false
	}
	kind, id, ok := strings.Cut(p[5], "/")
	if !ok || p[3] == "" || p[4] == "" || id == "" {
		return arn{}, false
	}
	return arn{service: p[2], region: p[3], account: p[4], kind: kind, id: id}, true
}

// normaliseAll makes references of valid resources: ids out of ARNs, services in the
// ranges' spelling.
func normaliseAll(list []Resource) []ref {
	refs := make([]ref, 0, len(list))
	for _, r := range list {
		id := r.ID
		a, isARN := parseARN(id)
		if isARN {
			id = a.id
		}
		switch r.Type {
		case typeSubnet:
			refs = append(refs, ref{subnet, id})
		case typeVPC:
			refs = append(refs, ref{vpc, id})
		case typeZone:
			refs = append(refs, ref{zone, id})
		case typeRegion:
			refs = append(refs, ref{region, id})
		case typeCluster:
			if isARN {
				refs = append(refs, ref{clusterARN, clusterKey(a.region, a.account, a.id)})
			} else {
				refs = append(refs, ref{cluster, id})
			}
		case typeService:
			refs = append(refs, ref{service, strings.ToUpper(id)})
		case typeEverywhere:
			refs = append(refs, ref{kind: everywhere})
		}
	}
	return refs
}
