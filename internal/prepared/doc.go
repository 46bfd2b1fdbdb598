// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package prepared writes attributes that were made once to many data points.
//
// A flow has some 16 data points a round, and all of them get the same 20 attributes. Put
// one by one, each is an allocation of its own: 30 for a point, which is most of what the
// enrichment of a point costs. So a [Set] is made once for a flow, and a [Writer] gives
// every point its own list of attributes, whose strings and numbers are shared with the
// set. That is safe because pdata never changes such a value in place: each setter makes
// a new one. Slices can be changed in place, so each point gets its own; only their
// elements are shared.
//
// pdata has no call for this. The package looks into pdata's memory, and trusts nothing:
// when it is first used it compares the types that it finds there, field by field, with
// those that it knows, and tries out that a change of one point leaves the others as
// they are. If anything differs, as in another version of pdata or with the feature gate
// pdata.useProtoPooling, it puts attributes one by one through the public calls. See
// docs/adr/006-shared-attribute-values.md.
package prepared // import "github.com/otel-flowmonitor/flowmonitor/internal/prepared"
