// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is a decoded file. It keeps the tree of nodes, so that a path can be led
// back to its line.
type Document struct {
	root *yaml.Node
}

// Error says that the value at path is wrong: with its line, or with the line of the
// nearest thing above it when the field itself is absent.
func (d *Document) Error(path, format string, args ...any) *Error {
	return &Error{Line: d.line(path), Path: path, Msg: fmt.Sprintf(format, args...)}
}

func (d *Document) line(path string) int {
	n := d.root
	if n == nil {
		return 0
	}
	line := n.Line
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if n = deref(n); n == nil {
			return line
		}
		key, child := descend(n, step)
		if child == nil {
			return line
		}
		n, line = child, child.Line
		if key != nil {
			line = key.Line // an empty or nested value may stand below its key
		}
	}
	return line
}

func descend(n *yaml.Node, step string) (key, child *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return nil, n.Content[i]
		}
	}
	return nil, nil
}

func deref(n *yaml.Node) *yaml.Node {
	// An alias cannot point to an alias, but a bound costs nothing.
	for range 4 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

// IsList tells whether the document in data is a sequence at its top. What is not
// YAML is none.
func IsList(data []byte) bool {
	var root yaml.Node
	return yaml.Unmarshal(data, &root) == nil && len(root.Content) == 1 && root.Content[0].Kind == yaml.SequenceNode
}
