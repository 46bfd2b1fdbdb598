// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package lineyaml decodes a YAML document into Go values and says, for everything
// that is wrong, the line and the full path of the field: all errors at once. Unknown
// fields, fields given twice, missing required fields and values of the wrong type are
// errors. A later check that finds a value wrong for its meaning gets the line of it
// from [Document.Error].
package lineyaml // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/lineyaml"
