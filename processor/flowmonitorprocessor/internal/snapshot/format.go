// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

const (
	format = "flowmonitor topology snapshot"

	// version changes when an older reader would misread a newer file. A field that older
	// readers may ignore changes nothing.
	version = 1

	// linesOf is how many entities stand in one line: neither writer nor reader holds more
	// than a line beside the topology itself.
	linesOf = 1000

	// maxLine bounds a line. A thousand interfaces with fifty addresses each are 2 MB; a
	// transit gateway with all the routes it can have, 20 MB.
	maxLine = 64 << 20

	// maxSize bounds what a file may unpack to: eight million network interfaces.
	maxSize = 2 << 30
)

// line is any line of a snapshot: exactly one of its fields is set, Format with Version.
type line struct {
	Format  string `json:"format,omitzero"`
	Version int    `json:"version,omitzero"`

	Part   *part              `json:"part,omitzero"`
	Own    *topology.Topology `json:"own,omitzero"`
	Shared *topology.Topology `json:"shared,omitzero"`

	End *end `json:"end,omitzero"`
}

type part struct {
	Source  string    `json:"source"`
	Name    string    `json:"name,omitzero"`
	Account string    `json:"account,omitzero"`
	Region  string    `json:"region,omitzero"`
	Current time.Time `json:"current"`
}

type end struct {
	Lines  int    `json:"lines"`
	SHA256 string `json:"sha256"`
}
