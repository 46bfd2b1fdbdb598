// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package snapshot keeps a topology on disk: for the start before any source answers, and
// to hand it to other collectors as a file.
//
// A snapshot is a gzip stream of JSON lines. The first names the format and its version;
// then comes each part of the topology: a line that says which source, account and Region
// it is of and when that was so, and lines with up to a thousand of its entities, whose
// fields are those of a topology file. The last line has the number of lines before it and
// their SHA-256. A reader that does not find it there has found half a file, or a damaged one.
//
//	{"format":"flowmonitor topology snapshot","version":1}
//	{"part":{"source":"ec2","name":"ambient/eu-west-1","account":"111111111111","region":"eu-west-1","current":"2026-11-22T10:00:00Z"}}
//	{"own":{"vpcs":[{"vpc_id":"vpc-1","region":"eu-west-1","cidr_blocks":["10.1.0.0/16"]}]}}
//	{"end":{"lines":3,"sha256":"…"}}
package snapshot // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/snapshot"
