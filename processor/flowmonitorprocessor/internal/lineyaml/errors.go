// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxErrors bounds the errors that are kept of one broken file.
	MaxErrors = 100

	// MaxSaid bounds the errors that [Errors.Join] says: a screenful. Whoever has more mends
	// those and looks again.
	MaxSaid = 20
)

// Error is one thing that is wrong in a document.
type Error struct {
	Line int    // from 1; 0 when the document as a whole is meant
	Path string // of the field, such as subnets[2].cidr_blocks[0]
	Msg  string
}

func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return e.Msg
	case e.Path == "":
		return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Msg)
}

// Errors collects what is wrong in a document. It keeps the first [MaxErrors] and counts
// the others, so that a small file with many aliases cannot make gigabytes of texts. The
// zero value has none.
type Errors struct {
	list  []*Error
	count int
}

// Add notes an error.
func (e *Errors) Add(err *Error) {
	if !e.Full() {
		e.list = append(e.list, err)
	}
	e.count++
}

// Skip counts n errors that nobody will see, as [Errors.Full] says so: they need not be
// made.
func (e *Errors) Skip(n int) { e.count += n }

// Full tells whether one error more would be counted only.
func (e *Errors) Full() bool { return len(e.list) >= MaxErrors }

// Len is the number of errors.
func (e *Errors) Len() int { return e.count }

// List gives the errors that were kept, in the order in which they were noted.
func (e *Errors) List() []*Error { return e.list }

// Join makes one error of all, in the order of their lines; nil when there is none. It says
// the first [MaxSaid] and the number of the others.
func (e *Errors) Join() error {
	if e.count == 0 {
		return nil
	}
	sorted := slices.Clone(e.list)
	slices.SortStableFunc(sorted, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	sorted = sorted[:min(len(sorted), MaxSaid)]
	joined := make([]error, 0, len(sorted)+1)
	for _, err := range sorted {
		joined = append(joined, err)
	}
	if more := e.count - len(sorted); more > 0 {
		joined = append(joined, fmt.Errorf("and %d more", more))
	}
	return errors.Join(joined...)
}
