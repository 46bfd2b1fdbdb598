// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// table has a row for each feature and a column for each kernel.
type table struct {
	columns []string
	rows    []string // in the order in which the first kernel told them
	cells   map[cell]string
}

type cell struct{ row, column string }

// title is a kernel's name in the table.
func title(name string) string { return strings.ReplaceAll(name, "-", " ") }

// set notes what a kernel told, in place of what it told before.
func (t *table) set(column string, features []feature) {
	if t.cells == nil {
		t.cells = map[cell]string{}
	}
	if !slices.Contains(t.columns, column) {
		t.columns = append(t.columns, column)
	}
	for _, row := range t.rows {
		delete(t.cells, cell{row, column})
	}
	for _, f := range features {
		if !slices.Contains(t.rows, f.name) {
			t.rows = append(t.rows, f.name)
		}
		t.cells[cell{f.name, column}] = f.found
	}
}

// String is the table in Markdown.
func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{"feature"}, t.columns...))
	line(slices.Repeat([]string{"---"}, len(t.columns)+1))
	for _, row := range t.rows {
		cells := []string{row}
		for _, column := range t.columns {
			cells = append(cells, t.cells[cell{row, column}])
		}
		line(cells)
	}
	return b.String()
}

// The table's place in a document.
const (
	beginTable = "<!-- begin kernels -->\n"
	endTable   = "<!-- end kernels -->"
)

// cut divides a document at its table.
func cut(document string) (before, inside, after string, err error) {
	before, rest, begun := strings.Cut(document, beginTable)
	inside, after, ended := strings.Cut(rest, endTable)
	if !begun || !ended {
		return "", "", "", errors.New("has no place for the table of kernels: " + strings.TrimSpace(beginTable) + " … " + endTable)
	}
	return before + beginTable, inside, endTable + after, nil
}

// parseTable reads what String wrote.
func parseTable(markdown string) (t table) {
	var head []string
	for line := range strings.Lines(markdown) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 2 || cells[1] == "---":
		case head == nil:
			head = cells
			for _, column := range head[1:] {
				t.set(column, nil)
			}
		case len(cells) == len(head):
			t.rows = append(t.rows, cells[0])
			for i, found := range cells[1:] {
				t.cells[cell{cells[0], head[i+1]}] = found
			}
		}
	}
	return t
}

// drift says where a document's table says something else of the kernels that were run.
func (t *table) drift(documented table) (lines []string) {
	for _, column := range t.columns {
		for _, row := range slices.Concat(t.rows, documented.rows) {
			at := cell{row, column}
			if found, said := t.cells[at], documented.cells[at]; found != said {
				line := fmt.Sprintf("%s: %s: found %q, documented is %q", column, row, found, said)
				if !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}
