// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// node is an XML element.
type node struct {
	name string
	text string
	kids []node
}

// el is an element with others in it.
func el(name string, kids ...node) node { return node{name: name, kids: kids} }

// tx is an element with a text; none when the text is empty, as EC2 leaves out what is not set.
func tx(name string, text any) node {
	s := fmt.Sprint(text)
	if s == "" || s == "invalid IP" || s == "invalid Prefix" {
		return node{}
	}
	return node{name: name, text: s}
}

// set is a list as EC2 writes it: its members are called item.
func set(name string, items ...[]node) node {
	n := node{name: name}
	for _, i := range items {
		n.kids = append(n.kids, el("item", i...))
	}
	return n
}

// texts is a list of texts.
func texts(name string, list []string) node {
	n := node{name: name}
	for _, s := range list {
		n.kids = append(n.kids, node{name: "item", text: s})
	}
	return n
}

func (n node) write(b *bytes.Buffer) {
	if n.name == "" {
		return
	}
	b.WriteString("<" + n.name + ">")
	_ = xml.EscapeText(b, []byte(n.text))
	for _, k := range n.kids {
		k.write(b)
	}
	b.WriteString("</" + n.name + ">")
}

// document is an answer with its root.
func document(root, namespace string, kids ...node) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<" + root + ` xmlns="` + namespace + `">`)
	for _, k := range kids {
		k.write(&b)
	}
	b.WriteString("</" + root + ">")
	return b.Bytes()
}
