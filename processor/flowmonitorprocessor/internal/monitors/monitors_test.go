// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package monitors_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func res(pairs ...string) []monitors.Resource {
	var list []monitors.Resource
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, monitors.Resource{Type: pairs[i], ID: pairs[i+1]})
	}
	return list
}

func flow(local, remote path.End) *path.Result {
	return &path.Result{Local: local, Remote: remote, OffHost: true}
}

var (
	here = path.End{Account: "111111111111", Region: "eu-west-1", Zone: "eu-west-1a", ZoneID: "euw1-az2", VPC: "vpc-1", Subnet: "subnet-1", K8S: topology.K8S{ClusterName: "shop"}}
	near = path.End{Region: "eu-west-1", Zone: "eu-west-1b", ZoneID: "euw1-az1", VPC: "vpc-1", Subnet: "subnet-2"}
	far  = path.End{Region: "us-east-1", ZoneID: "use1-az1", VPC: "vpc-us", Subnet: "subnet-us"}
	s3   = path.End{Region: "eu-west-1", Service: "S3"}
	web  = path.End{} // the Internet
)

func TestEachTypeOfResource(t *testing.T) {
	for _, c := range []struct {
		name          string
		local, remote []monitors.Resource
		matches       []path.End
		not           []path.End
	}{
		{"subnet to subnet", res("subnet", "subnet-1"), res("subnet", "subnet-2"), []path.End{near}, []path.End{far, s3, web}},
		{"subnets by their ARNs", res("subnet", "arn:aws:ec2:eu-west-1:111111111111:subnet/subnet-1"), res("subnet", "arn:aws-cn:ec2:cn-north-1:1:subnet/subnet-2"), []path.End{near}, []path.End{far}},
		{"VPC to VPC", res("vpc", "vpc-1"), res("vpc", "vpc-us"), []path.End{far}, []path.End{near}},
		{"zone by name to zone by id", res("availability_zone", "eu-west-1a"), res("availability_zone", "euw1-az1"), []path.End{near}, []path.End{far, web}},
		{"zone by id to zone by name", res("availability_zone", "euw1-az2"), res("availability_zone", "eu-west-1b"), []path.End{near}, []path.End{far}},
		{"zone by name, of an account whose own name of it is not known", res("vpc", "vpc-1"), res("availability_zone", "eu-west-1b"),
			[]path.End{{ZoneID: "euw1-az1", ZoneAlias: "eu-west-1b"}}, []path.End{{ZoneID: "euw1-az1", Zone: "eu-west-1f", ZoneAlias: "eu-west-1b"}}},
		{"Region to Region", res("region", "eu-west-1"), res("region", "us-east-1"), []path.End{far}, []path.End{near, s3, web}},
		{"cluster by name to everywhere", res("eks_cluster", "shop"), res("everywhere", ""), []path.End{near, far, s3, web}, nil},
		{"cluster by its ARN", res("eks_cluster", "arn:aws:eks:eu-west-1:111111111111:cluster/shop"), res("everywhere", ""), []path.End{web}, nil},
		{"a cluster of the same name in another account", res("eks_cluster", "arn:aws:eks:eu-west-1:222222222222:cluster/shop"), res("everywhere", ""), nil, []path.End{near, web}},
		{"a service in any case", res("vpc", "vpc-1"), res("service", "s3"), []path.End{s3}, []path.End{near, web, {Region: "eu-west-1", Service: "DYNAMODB"}}},
		{"without remote resources, all that ends in the local Region", res("vpc", "vpc-1"), nil, []path.End{near, s3}, []path.End{far, web, {Service: "CLOUDFRONT"}}},
		{"another local subnet", res("subnet", "subnet-9"), res("everywhere", ""), nil, []path.End{near, web}},
		{"one of several on each side", res("subnet", "subnet-9", "vpc", "vpc-1"), res("vpc", "vpc-9", "service", "S3"), []path.End{s3}, []path.End{near}},
	} {
		t.Run(c.name, func(t *testing.T) {
			definitions := []monitors.Definition{{Name: "m", Local: c.local, Remote: c.remote}}
			problems, _ := monitors.Validate(definitions, ipranges.Shipped(), nil)
			require.Empty(t, problems)
			set := monitors.New(definitions)
			for _, end := range c.matches {
				assert.Equal(t, []string{"m"}, set.Match(flow(here, end)), "%+v", end)
			}
			for _, end := range c.not {
				assert.Nil(t, set.Match(flow(here, end)), "%+v", end)
			}
		})
	}
}

func TestNamesAreSortedAndOnce(t *testing.T) {
	set := monitors.New([]monitors.Definition{
		{Name: "z", Local: res("subnet", "subnet-1", "vpc", "vpc-1", "region", "eu-west-1"), Remote: res("vpc", "vpc-1", "subnet", "subnet-2")},
		{Name: "a", Local: res("vpc", "vpc-1"), Remote: res("everywhere", "")},
		{Name: "m", Local: res("vpc", "vpc-9"), Remote: res("everywhere", "")},
	})
	assert.Equal(t, []string{"a", "z"}, set.Match(flow(here, near)))
}

func TestWhatNeverLeavesTheHostMatchesNothing(t *testing.T) {
	set := monitors.New([]monitors.Definition{{Name: "all", Local: res("vpc", "vpc-1"), Remote: res("everywhere", "")}})
	r := flow(here, near)
	r.OffHost = false
	assert.Nil(t, set.Match(r))
}

func TestAnEmptySetAndAnUnknownEndMatchNothing(t *testing.T) {
	assert.Nil(t, new(monitors.Set).Match(flow(here, near)))
	set := monitors.New([]monitors.Definition{{Name: "all", Local: res("vpc", "vpc-1"), Remote: res("everywhere", "")}})
	assert.Nil(t, set.Match(flow(path.End{}, near)))
}

func TestServicesThatFlowsAreToldBy(t *testing.T) {
	validate := func(id string) []monitors.Problem {
		problems, _ := monitors.Validate([]monitors.Definition{{Name: "m", Local: res("vpc", "vpc-1"), Remote: res("service", id)}}, ipranges.Shipped(), nil)
		return problems
	}
	for _, id := range []string{"S3", "dynamodb", "RDS", "elb", "EFS", "SQS", "ecr_api"} {
		assert.Empty(t, validate(id), id)
	}
	wrong := validate("SQSS")
	require.Len(t, wrong, 1)
	for _, known := range []string{"CLOUDFRONT", "ELASTICACHE", "ECR_DKR"} {
		assert.Contains(t, wrong[0].Msg, known)
	}
}

func TestOfManyProblemsTheFirstHundredAreSaid(t *testing.T) {
	problems, more := monitors.Validate(make([]monitors.Definition, 1000), nil, nil)
	assert.Len(t, problems, 100)
	assert.Equal(t, 1900, more, "each lacks its name and its local resources")
}

// The index says what a loop over all monitors would say.
func TestTheIndexEqualsALoop(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(kinds ...string) []monitors.Resource {
		var list []monitors.Resource
		for range 1 + random.IntN(3) {
			kind := kinds[random.IntN(len(kinds))]
			id := map[string]string{
				"subnet": fmt.Sprintf("subnet-%d", random.IntN(4)), "vpc": fmt.Sprintf("vpc-%d", random.IntN(3)),
				"region": []string{"eu-west-1", "us-east-1"}[random.IntN(2)], "service": []string{"S3", "EC2"}[random.IntN(2)],
				"availability_zone": fmt.Sprintf("euw1-az%d", random.IntN(3)), "eks_cluster": "shop",
			}[kind]
			list = append(list, monitors.Resource{Type: kind, ID: id})
		}
		return list
	}
	end := func() path.End {
		e := path.End{Region: []string{"", "eu-west-1", "us-east-1"}[random.IntN(3)]}
		if random.IntN(2) == 0 {
			e.VPC, e.Subnet = fmt.Sprintf("vpc-%d", random.IntN(3)), fmt.Sprintf("subnet-%d", random.IntN(4))
			e.ZoneID = fmt.Sprintf("euw1-az%d", random.IntN(3))
		} else if random.IntN(2) == 0 {
			e.Service = []string{"S3", "EC2"}[random.IntN(2)]
		}
		if random.IntN(3) == 0 {
			e.K8S.ClusterName = "shop"
		}
		return e
	}
	is := func(r monitors.Resource, e *path.End) bool {
		switch r.Type {
		case "subnet":
			return r.ID == e.Subnet
		case "vpc":
			return r.ID == e.VPC
		case "region":
			return r.ID == e.Region
		case "service":
			return r.ID == e.Service
		case "availability_zone":
			return r.ID == e.ZoneID
		case "eks_cluster":
			return r.ID == e.K8S.ClusterName
		}
		return r.Type == "everywhere"
	}
	var definitions []monitors.Definition
	for i := range 200 {
		d := monitors.Definition{Name: fmt.Sprintf("m%03d", i), Local: pick("subnet", "vpc", "region", "availability_zone", "eks_cluster")}
		if random.IntN(4) > 0 {
			d.Remote = pick("subnet", "vpc", "region", "service", "availability_zone", "everywhere")
		}
		definitions = append(definitions, d)
	}
	set := monitors.New(definitions)
	matched := 0
	for range 5000 {
		r := flow(end(), end())
		var want []string
		for _, d := range definitions {
			local := slices.ContainsFunc(d.Local, func(x monitors.Resource) bool { return is(x, &r.Local) })
			remote := slices.ContainsFunc(d.Remote, func(x monitors.Resource) bool { return is(x, &r.Remote) })
			if len(d.Remote) == 0 {
				remote = r.Remote.Region != "" && r.Remote.Region == r.Local.Region
			}
			if local && remote {
				want = append(want, d.Name)
			}
		}
		require.Equal(t, want, set.Match(r), "%+v", r)
		matched += len(want)
	}
	assert.Positive(t, matched)
}

func TestPairsAreBounded(t *testing.T) {
	list := func(n int) (out []monitors.Resource) {
		for i := range n {
			out = append(out, monitors.Resource{Type: "subnet", ID: fmt.Sprint("subnet-", i)})
		}
		return out
	}
	fits := []monitors.Definition{{Name: "a", Local: list(1024), Remote: list(1023)}, {Name: "b", Local: list(1024)}}
	problems, _ := monitors.Validate(fits, nil, nil)
	assert.Empty(t, problems)
	problems, _ = monitors.Validate(append(fits, monitors.Definition{Name: "c", Local: list(1)}, monitors.Definition{Name: "d", Local: list(9)}), nil, nil)
	require.Len(t, problems, 1, "said once")
	assert.Equal(t, "[2].remote", problems[0].Path)
	assert.Contains(t, problems[0].Msg, "1048577 pairs")
}

func TestMonitorsWithoutTheirResource(t *testing.T) {
	ix := topology.Build(&topology.Topology{
		VPCs:              []topology.VPC{{VPCID: "vpc-1", Region: "eu-west-1"}},
		Subnets:           []topology.Subnet{{SubnetID: "subnet-1", VPCID: "vpc-1", AvailabilityZone: "eu-west-1a", AvailabilityZoneID: "euw1-az2"}},
		EKSClusters:       []topology.EKSCluster{{Name: "shop", ARN: "arn:aws:eks:eu-west-1:111111111111:cluster/shop"}},
		Instances:         []topology.Instance{{InstanceID: "i-1", K8S: &topology.K8S{ClusterName: "other"}}},
		NetworkInterfaces: nil,
	}, nil)
	set := monitors.New([]monitors.Definition{
		{Name: "all there", Local: res("subnet", "subnet-1", "vpc", "vpc-1", "availability_zone", "eu-west-1a", "availability_zone", "euw1-az2",
			"region", "eu-west-1", "eks_cluster", "shop", "eks_cluster", "arn:aws:eks:eu-west-1:111111111111:cluster/shop", "eks_cluster", "other"),
			Remote: res("region", "us-east-1", "service", "S3", "everywhere", "")},
		{Name: "no remote", Local: res("vpc", "vpc-1")},
		{Name: "gone", Local: res("subnet", "subnet-9", "vpc", "vpc-1"), Remote: res("vpc", "vpc-9", "region", "moon-east-1")},
		{Name: "another account's cluster", Local: res("eks_cluster", "arn:aws:eks:eu-west-1:222222222222:cluster/shop")},
	})
	assert.Equal(t, []monitors.Missing{
		{Monitor: "gone", Resources: []string{"subnet subnet-9", "vpc vpc-9", "region moon-east-1"}},
		{Monitor: "another account's cluster", Resources: []string{"eks_cluster eu-west-1/222222222222/shop"}},
	}, set.Missing(ix, ipranges.Shipped()))
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{20, 1000, 10_000} {
		b.Run(fmt.Sprintf("%d monitors", n), func(b *testing.B) {
			var definitions []monitors.Definition
			for i := range n {
				definitions = append(definitions, monitors.Definition{Name: fmt.Sprintf("m%d", i), Local: res("vpc", "vpc-1"), Remote: res("subnet", fmt.Sprintf("subnet-x%d", i))})
			}
			definitions = append(definitions, monitors.Definition{Name: "hit", Local: res("subnet", "subnet-1"), Remote: res("subnet", "subnet-2")})
			set := monitors.New(definitions)
			r := flow(here, near)
			b.ReportAllocs()
			for b.Loop() {
				set.Match(r)
			}
		})
	}
}
