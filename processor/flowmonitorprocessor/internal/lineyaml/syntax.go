// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var (
	syntaxLine    = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '([^']*)' referenced$`)
)

// grammarErrors begin what the YAML library says with a line counted from 0. Its other
// errors, those about single characters and words, have the line counted from 1.
var grammarErrors = []string{
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"did not find expected '-' indicator",
	"did not find expected <document start>",
	"did not find expected <stream-start>",
	"did not find expected key",
	"did not find expected node content",
	"found duplicate %",
	"found incompatible YAML document",
	"found undefined tag handle",
}

// encodingErrors are those about bytes and characters that no YAML file may have. The
// library has no line for them, or that of something else.
var encodingErrors = []string{
	"invalid leading UTF-8 octet",
	"incomplete UTF-8 octet sequence",
	"invalid trailing UTF-8 octet",
	"invalid length of a UTF-8 sequence",
	"invalid Unicode character",
	"control characters are not allowed",
}

// syntaxError says where data is not YAML, given what the library says of it.
func syntaxError(data []byte, err error) *Error {
	m := syntaxLine.FindStringSubmatch(err.Error())
	if m == nil {
		return &Error{Msg: "not YAML: " + err.Error()}
	}
	line, _ := strconv.Atoi(m[1])
	msg := m[2]
	grammar := slices.ContainsFunc(grammarErrors, func(s string) bool { return strings.HasPrefix(msg, s) })
	anchor := unknownAnchor.FindStringSubmatch(msg)
	switch {
	case slices.Contains(encodingErrors, msg):
		line = lineOfBadCharacter(data)
	case anchor != nil:
		line = lineOfUnknownAnchor(data, anchor[1])
	case grammar, line == 0: // without a line it is the first one: 0, from where the library counts
		line++
	}
	if msg == "found character that cannot start any token" && indentedByTab(data, line) {
		msg += " (a tab: YAML is indented by spaces)"
	}
	return &Error{Line: line, Msg: "not YAML: " + msg}
}

// indentedByTab tells whether there is a tab in the white space that a line begins with.
func indentedByTab(data []byte, line int) bool {
	n := 0
	for text := range bytes.Lines(data) {
		if n++; n == line {
			return bytes.ContainsRune(text[:len(text)-len(bytes.TrimLeft(text, " \t"))], '\t')
		}
	}
	return false
}

// lineOfBadCharacter finds the first byte that is no UTF-8 and the first character that
// YAML does not allow. 0 when there is none, as in a file in UTF-16.
func lineOfBadCharacter(data []byte) int {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		bad := r == utf8.RuneError && size == 1
		bad = bad || r < ' ' && r != '\t' && r != '\n' && r != '\r'
		bad = bad || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff
		if bad {
			return 1 + bytes.Count(data[:i], []byte("\n"))
		}
		i += size
	}
	return 0
}

// maxAnchorLines bounds how often a file is read again to find the line of an alias: the
// name may stand in comments and texts, too.
const maxAnchorLines = 20

// lineOfUnknownAnchor finds the alias that the library could not follow: the file up to
// its line has the same error, the file up to the line before has not.
func lineOfUnknownAnchor(data []byte, name string) int {
	alias := []byte("*" + name)
	first := 0
	for from, tries := 0, 0; tries < maxAnchorLines; tries++ {
		i := bytes.Index(data[from:], alias)
		if i < 0 {
			break
		}
		end := len(data)
		if n := bytes.IndexByte(data[from+i:], '\n'); n >= 0 {
			end = from + i + n + 1
		}
		line := 1 + bytes.Count(data[:from+i], []byte("\n"))
		if first == 0 {
			first = line
		}
		var part yaml.Node
		if err := decodeAll(data[:end], &part); err != nil && strings.HasSuffix(err.Error(), "unknown anchor '"+name+"' referenced") {
			return line
		}
		from = end
	}
	return first
}

// decodeAll reads all documents in data into the same node.
func decodeAll(data []byte, n *yaml.Node) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		if err := dec.Decode(n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
