// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package file reads what users write in files of their own: the topology and the
// monitors, both YAML. Everything that is wrong is said at once, each with its line and
// the path of its field.
package file // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"

import (
	"fmt"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/lineyaml"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Topology reads a topology file. An empty file is an error: a file that is being
// rewritten must not look like a network without anything in it.
func Topology(data []byte) (*topology.Topology, error) {
	var t topology.Topology
	doc, errs := lineyaml.Decode(data, &t)
	for _, p := range t.Validate() {
		errs = append(errs, doc.Error(p.Path, "%s", p.Msg))
	}
	if len(errs) == 0 && len(t.VPCs) == 0 {
		errs = append(errs, &lineyaml.Error{Msg: "the topology has no VPC: 'vpcs' is required"})
	}
	if err := lineyaml.Join(errs); err != nil {
		return nil, fmt.Errorf("topology file: %w", err)
	}
	return &t, nil
}

// monitorList allows the list to stand by itself or under the key that it has in the
// configuration.
type monitorList struct {
	Monitors []monitors.Definition `yaml:"monitors,required"`
}

// Monitors reads a monitors file. taken are the names of monitors from elsewhere. An
// empty list, written as [], is allowed; an empty file is not.
func Monitors(data []byte, ranges *ipranges.Table, taken []string) ([]monitors.Definition, error) {
	var list monitorList
	prefix := "monitors"
	var doc *lineyaml.Document
	var errs []*lineyaml.Error
	if lineyaml.IsList(data) {
		prefix = ""
		doc, errs = lineyaml.Decode(data, &list.Monitors)
	} else if doc, errs = lineyaml.Decode(data, &list); len(errs) == 0 && list.Monitors == nil {
		errs = append(errs, &lineyaml.Error{Msg: "the file is empty: a list of monitors is expected; [] for none"})
	}
	known := map[string]bool{}
	for _, err := range errs {
		known[err.Path] = true
	}
	for _, p := range monitors.Validate(list.Monitors, ranges, taken) {
		path := prefix + p.Path
		if e := doc.Error(path, "%s", p.Msg); !known[parent(path)] && !known[path] { // a missing field is said already
			errs = append(errs, e)
		}
	}
	if err := lineyaml.Join(errs); err != nil {
		return nil, fmt.Errorf("monitors file: %w", err)
	}
	return list.Monitors, nil
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return path
}
