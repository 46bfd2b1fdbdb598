// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// line is a figure for the terminal.
func (f *figure) line() string {
	s := fmt.Sprintf("%s  [%s … %s]  n = %d", number(f.Value), number(f.Low), number(f.High), len(f.Samples))
	if f.Unit != "" {
		s = fmt.Sprintf("%s %s", s, f.Unit)
	}
	if f.Target != nil {
		s += "  " + f.verdict()
	}
	return s
}

func (f *figure) verdict() string {
	if f.met() {
		return "reached: " + f.goal()
	}
	return "NOT REACHED: " + f.goal()
}

// goal is the target in words.
func (f *figure) goal() string {
	if f.Target == nil {
		return ""
	}
	sign, v, bound := "≤", f.Target.Most, "upper bound "
	if f.Target.Least > 0 {
		sign, v, bound = "≥", f.Target.Least, "lower bound "
	}
	if !f.Target.Bound {
		bound = ""
	}
	return bound + sign + " " + number(v)
}

// number has three significant digits, as far as any of them means something.
func number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	if v == 0 || math.Abs(v) >= 100 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', max(digits, 0), 64)
}

func thousands(s string) string {
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

const (
	marked   = "<!-- begin figures: make bench -->"
	unmarked = "<!-- end figures -->"
)

// renderInto writes the tables of a report's file between the marks of a document.
func renderInto(from, into string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if into == "" {
		_, err := os.Stdout.Write(r.markdown())
		return err
	}
	document, err := os.ReadFile(into)
	if err != nil {
		return err
	}
	document, err = between(document, r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", into, err)
	}
	return os.WriteFile(into, document, 0o644)
}

func between(document, text []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(document, []byte(marked))
	_, after, ended := bytes.Cut(rest, []byte(unmarked))
	if !found || !ended {
		return nil, errors.New("the marks " + marked + " and " + unmarked + " are missing")
	}
	return bytes.Join([][]byte{before, []byte(marked), []byte("\n\n"), text, []byte("\n"), []byte(unmarked), after}, nil), nil
}

// markdown is a table for each bench.
func (r *report) markdown() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Taken on %s: %s, %s", r.When.Format("2006-01-02"), r.Machine, r.Kernel)
	if r.Short {
		out.WriteString("; a short run, whose figures say little")
	}
	out.WriteString(".\n")
	for _, b := range benches {
		var rows []figure
		for _, f := range r.Figures {
			if f.Bench == b.name {
				rows = append(rows, f)
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n### %s\n\n| what | figure | spread | samples | to reach |\n| --- | --- | --- | --- | --- |\n", b.title)
		for _, f := range rows {
			spread := number(f.Low) + " … " + number(f.High)
			if len(f.Samples) < 2 {
				spread = ""
			}
			goal := f.goal()
			if goal != "" && !f.met() {
				goal = "**" + goal + ": not reached**"
			}
			value := strings.TrimSpace(number(f.Value) + " " + f.Unit)
			fmt.Fprintf(&out, "| %s | %s | %s | %d | %s |\n", f.What, value, spread, len(f.Samples), goal)
		}
	}
	return out.Bytes()
}
