// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package file reads what users write in files of their own: the topology and the
// monitors, both YAML. Everything that is wrong is said at once, each with its line and
// the path of its field.
package file // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"

import (
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
	c := newChecks(doc, errs)
	for _, p := range t.Validate() {
		c.add(p.Path, p.Msg)
	}
	if errs.Len() == 0 && len(t.VPCs) == 0 {
		errs.Add(&lineyaml.Error{Msg: "the topology has no VPC: 'vpcs' is required"})
	}
	if err := errs.Join(); err != nil {
		return nil, err
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
	var errs *lineyaml.Errors
	if lineyaml.IsList(data) {
		prefix = ""
		doc, errs = lineyaml.Decode(data, &list.Monitors)
	} else if doc, errs = lineyaml.Decode(data, &list); errs.Len() == 0 && list.Monitors == nil {
		errs.Add(&lineyaml.Error{Msg: "the file is empty: a list of monitors is expected; [] for none"})
	}
	c := newChecks(doc, errs)
	problems, more := monitors.Validate(list.Monitors, ranges, taken)
	for _, p := range problems {
		c.add(prefix+p.Path, p.Msg)
	}
	errs.Skip(more)
	if err := errs.Join(); err != nil {
		return nil, err
	}
	return list.Monitors, nil
}

// checks adds what is wrong with the meaning of a document to what is wrong with its form.
type checks struct {
	doc  *lineyaml.Document
	errs *lineyaml.Errors
	said map[string]bool // paths of what could not be read
}

func newChecks(doc *lineyaml.Document, errs *lineyaml.Errors) *checks {
	c := &checks{doc: doc, errs: errs, said: map[string]bool{}}
	for _, err := range errs.List() {
		c.said[err.Path] = true
	}
	return c
}

// add adds a problem, unless it follows from one that was said: a field that could not be
// read, or that its mapping lacks, has no value to be wrong.
func (c *checks) add(path, msg string) {
	switch {
	case c.said[path] || c.said[parent(path)]:
	case c.errs.Full():
		c.errs.Skip(1) // finding the line costs
	default:
		c.errs.Add(c.doc.Error(path, "%s", msg))
	}
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return path
}
