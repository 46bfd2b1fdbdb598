// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// table has a row for each feature and a column for each kernel.
type table struct {
	columns []string
	rows    []string // in the order in which the first kernel told them
	cells   map[[2]string]string
}

func (t *table) add(k kernel, r result) {
	if t.cells == nil {
		t.cells = map[[2]string]string{}
	}
	t.columns = append(t.columns, k.name)
	for _, f := range r.features {
		if !slices.Contains(t.rows, f.name) {
			t.rows = append(t.rows, f.name)
		}
		t.cells[[2]string{f.name, k.name}] = f.found
	}
}

// write puts the table out in Markdown.
func (t *table) write(w io.Writer) {
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{""}, t.columns...))
	line(slices.Repeat([]string{"---"}, len(t.columns)+1))
	for _, row := range t.rows {
		cells := []string{row}
		for _, column := range t.columns {
			cells = append(cells, t.cells[[2]string{row, column}])
		}
		line(cells)
	}
}
