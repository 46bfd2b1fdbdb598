// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(data)
}

// Every field of the topology file has its place in the README, bold when it is
// required, under the heading of its section.
func TestTheREADMEDocumentsEveryFieldOfTheTopology(t *testing.T) {
	text := readme(t)
	section := func(name string) string {
		_, after, ok := strings.Cut(text, "### `"+name+"`")
		require.True(t, ok, "no section %s", name)
		before, _, _ := strings.Cut(after, "\n##")
		return before
	}
	// Parts of a section that have a heading of their own, or are told in one line.
	headings := map[reflect.Type]string{
		reflect.TypeFor[topology.K8S]():                      "k8s",
		reflect.TypeFor[topology.Route]():                    "route_tables[].routes",
		reflect.TypeFor[topology.TransitGatewayAttachment](): "transit_gateways[].attachments",
		reflect.TypeFor[topology.TransitGatewayRouteTable](): "transit_gateways[].route_tables",
		reflect.TypeFor[topology.PeeringVPCInfo]():           "requester_vpc_info`, `accepter_vpc_info",
	}
	inline := []reflect.Type{reflect.TypeFor[topology.Association](), reflect.TypeFor[topology.NATGatewayAddress](), reflect.TypeFor[topology.TransitGatewayRoute]()}
	fields := 0
	var walk func(at reflect.Type, heading string)
	walk = func(at reflect.Type, heading string) {
		body := section(heading)
		for i := range at.NumField() {
			name, option, _ := strings.Cut(at.Field(i).Tag.Get("yaml"), ",")
			want := "`" + name + "`"
			told := false
			for _, short := range inline {
				told = told || at == short
			}
			if !told {
				want = "| " + want + " |"
				if option == "required" {
					want = "| **`" + name + "`** |"
				}
			}
			assert.Contains(t, body, want, "%s of %s", name, heading)
			fields++
			child := at.Field(i).Type
			for child.Kind() == reflect.Slice || child.Kind() == reflect.Pointer {
				child = child.Elem()
			}
			if child.Kind() == reflect.Struct && child.PkgPath() == at.PkgPath() {
				if h, ok := headings[child]; ok {
					walk(child, h)
				} else {
					walk(child, heading)
				}
			}
		}
	}
	top := reflect.TypeFor[topology.Topology]()
	for i := range top.NumField() {
		name, _, _ := strings.Cut(top.Field(i).Tag.Get("yaml"), ",")
		walk(top.Field(i).Type.Elem(), name)
	}
	assert.Greater(t, fields, 120)
}

func TestTheREADMEDocumentsEveryOptionAndMetric(t *testing.T) {
	text := readme(t)
	var keys func(at reflect.Type, prefix string)
	keys = func(at reflect.Type, prefix string) {
		for i := range at.NumField() {
			key := at.Field(i).Tag.Get("mapstructure")
			if key == "" {
				continue
			}
			child := at.Field(i).Type
			if child.Kind() == reflect.Struct && child.PkgPath() == at.PkgPath() {
				keys(child, prefix+key+"::")
				continue
			}
			assert.Contains(t, text, "`"+prefix+key, "option")
		}
	}
	keys(reflect.TypeFor[Config](), "")
	metadata, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	names := regexp.MustCompile(`processor_flowmonitor_(\w+):`).FindAllStringSubmatch(string(metadata), -1)
	require.NotEmpty(t, names)
	for _, m := range names {
		assert.Contains(t, text, "`"+m[1]+"`", "metric")
	}
}

func TestTheTopologyInTheREADMEIsValid(t *testing.T) {
	_, after, ok := strings.Cut(readme(t), "## The topology file")
	require.True(t, ok)
	_, after, _ = strings.Cut(after, "```yaml\n")
	example, _, _ := strings.Cut(after, "```")
	m, err := file.Topology([]byte(example))
	require.NoError(t, err)
	assert.Len(t, m.NetworkInterfaces, 2)
}
