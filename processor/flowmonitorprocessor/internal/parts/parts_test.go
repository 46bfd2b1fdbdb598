// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package parts_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func vpc(name string) *topology.Topology {
	return &topology.Topology{VPCs: []topology.VPC{{VPCID: "vpc-1", Name: name}}}
}

func TestSourcesAreBelievedInTheirOrderAndOwnersBeforeGuests(t *testing.T) {
	var s parts.Set
	key := func(source, name string) parts.Key { return parts.Key{Source: source, Name: name} }
	names := func() string { return s.Merge().VPCs[0].Name }
	s.Put(parts.Part{Key: key(parts.EC2, "a"), Shared: vpc("guest")})
	assert.Equal(t, "guest", names())
	s.Put(parts.Part{Key: key(parts.EC2, "b"), Own: vpc("owner")})
	assert.Equal(t, "owner", names())
	s.Put(parts.Part{Key: key(parts.IMDS, ""), Own: vpc("host")})
	assert.Equal(t, "host", names())
	s.Put(parts.Part{Key: key(parts.File, ""), Own: vpc("file")})
	assert.Equal(t, "file", names())
	var order []string
	for _, p := range s.List() {
		order = append(order, p.Source+p.Name)
	}
	assert.Equal(t, []string{"file", "imds", "ec2a", "ec2b"}, order)
}

func TestAPartThatSaysTheSameIsNoChange(t *testing.T) {
	var s parts.Set
	k := parts.Key{Source: parts.EC2}
	now := time.Unix(1000, 0)
	first := vpc("x")
	_, changed := s.Put(parts.Part{Key: k, Own: first, Current: now})
	require.True(t, changed)
	kept, changed := s.Put(parts.Part{Key: k, Own: vpc("x"), Current: now.Add(time.Minute)})
	require.False(t, changed)
	p, ok := s.Get(k)
	require.True(t, ok)
	assert.Equal(t, p, kept)
	assert.Same(t, first, p.Own, "one copy stays in memory")
	assert.Equal(t, now.Add(time.Minute), p.Current)
	s.Confirm(k, now.Add(time.Hour))
	p, _ = s.Get(k)
	assert.Equal(t, now.Add(time.Hour), p.Current)
	_, changed = s.Put(parts.Part{Key: k, Own: vpc("y")})
	require.True(t, changed)
	s.Forget(k)
	assert.Empty(t, s.Merge().VPCs)
	s.Confirm(parts.Key{Source: "none"}, now)
	assert.Len(t, s.List(), 1)
}
