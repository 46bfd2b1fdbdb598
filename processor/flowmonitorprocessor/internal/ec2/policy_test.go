// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
)

type statement struct {
	Sid    string
	Effect string
	Action any
}

func (s statement) actions() (list []string) {
	switch a := s.Action.(type) {
	case string:
		list = []string{a}
	case []any:
		for _, x := range a {
			list = append(list, x.(string))
		}
	}
	return list
}

func policy(t *testing.T, name string) []statement {
	t.Helper()
	data, err := os.ReadFile("../../../../examples/iam/" + name)
	require.NoError(t, err)
	var p struct {
		Version   string
		Statement []statement
	}
	require.NoError(t, json.Unmarshal(data, &p))
	require.Equal(t, "2012-10-17", p.Version)
	for _, s := range p.Statement {
		require.Equal(t, "Allow", s.Effect)
	}
	return p.Statement
}

func allowed(list []statement) []string {
	var actions []string
	for _, s := range list {
		actions = append(actions, s.actions()...)
	}
	slices.Sort(actions)
	return actions
}

// The policies in the examples allow what is called, and nothing else.
func TestThePoliciesAllowExactlyWhatIsCalled(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	s.SearchLimit = 0 // so that routes are missing, and everything is asked for
	w := run(t, options(s, accounts(s, world)))
	require.NoError(t, w.await(t, 1))
	called := map[string][]string{}
	for _, c := range s.Calls() {
		if action := c.Service + ":" + c.Action; !slices.Contains(called[c.Service], action) {
			called[c.Service] = append(called[c.Service], action)
		}
	}
	slices.Sort(called["ec2"])
	slices.Sort(called["sts"])
	assert.Equal(t, called["ec2"], allowed(policy(t, "topology-reader.json")))
	assert.Equal(t, []string{"sts:AssumeRole", "sts:GetCallerIdentity"}, called["sts"])
	assert.Equal(t, []string{"sts:AssumeRole"}, allowed(policy(t, "assume-readers.json")), "GetCallerIdentity needs no permission")
	assert.Equal(t, []string{"sts:AssumeRole"}, allowed(policy(t, "trust.json")))
}

// Whoever gives only the first statement gets all but the gateways.
func TestTheSecondStatementMayBeLeftOut(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	base := policy(t, "topology-reader.json")[0].actions()
	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		if c.Service == "ec2" && !slices.Contains(base, "ec2:"+c.Action) {
			return &ec2test.Fault{Status: 403, Code: "UnauthorizedOperation"}
		}
		return nil
	})
	w := run(t, options(s, accounts(s, world)))
	require.NoError(t, w.await(t, 1))
	assert.Len(t, w.Merge().NetworkInterfaces, len(world.NetworkInterfaces))
	assert.Positive(t, w.count(w.requests, "DescribeTransitGateways "+ec2.RequestDenied))
}
