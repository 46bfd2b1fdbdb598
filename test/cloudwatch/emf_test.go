// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cloudwatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Limits that the text of the EMF specification and the CloudWatch API state and its JSON schema does not.
const (
	maxMetrics        = 100  // of a directive
	maxValues         = 100  // of a metric in a document
	maxDimensionValue = 1024 // characters
	maxNumber         = 0x1p360
)

// measured is a metric taken out of a document, as CloudWatch does it.
type measured struct {
	namespace, name, unit string
	dimensions            string // name=value,…
	at                    int64  // ms
	count                 float64
	sum, least, most      float64
}

// directive, definition and target are what a document says of its metrics.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct {
	Name, Unit string
}

// statistics is a statistic set, the form in which the CloudWatch agent and the awsemf exporter write histograms. CloudWatch
// takes it; the specification knows numbers and arrays of them only.
type statistics struct {
	Max, Min, Count, Sum *float64
}

func emfSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/emf.schema.json")
	require.NoError(t, err)
	return schema
}

// extract takes the metrics out of a document, or says what CloudWatch would have against it.
func extract(schema *jsonschema.Schema, document string) ([]measured, error) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err != nil {
		return nil, err
	}
	if err := schema.Validate(value); err != nil {
		return nil, err
	}
	var root map[string]json.RawMessage
	var head struct {
		Timestamp         int64
		CloudWatchMetrics []directive
	}
	if err := errors.Join(json.Unmarshal([]byte(document), &root), json.Unmarshal(root["_aws"], &head)); err != nil {
		return nil, err
	}
	var found []measured
	for _, d := range head.CloudWatchMetrics {
		if len(d.Metrics) == 0 || len(d.Metrics) > maxMetrics {
			return nil, fmt.Errorf("%d metrics in a directive", len(d.Metrics))
		}
		if strings.HasPrefix(d.Namespace, "AWS/") {
			return nil, fmt.Errorf("the namespace %s is reserved", d.Namespace)
		}
		for _, set := range d.Dimensions {
			var parts []string
			for _, name := range set {
				var v string
				if err := json.Unmarshal(root[name], &v); err != nil || v == "" || len(v) > maxDimensionValue {
					return nil, fmt.Errorf("dimension %s is %s", name, root[name])
				}
				parts = append(parts, name+"="+v)
			}
			slices.Sort(parts)
			for _, def := range d.Metrics {
				m := measured{namespace: d.Namespace, name: def.Name, unit: def.Unit, dimensions: strings.Join(parts, ","), at: head.Timestamp}
				if err := m.read(root[def.Name]); err != nil {
					return nil, fmt.Errorf("metric %s: %w", def.Name, err)
				}
				found = append(found, m)
			}
		}
	}
	return found, nil
}

func (m *measured) read(target json.RawMessage) error {
	var number float64
	var numbers []float64
	var s statistics
	decoder := json.NewDecoder(bytes.NewReader(target))
	decoder.DisallowUnknownFields()
	switch {
	case json.Unmarshal(target, &number) == nil && string(target) != "null":
		m.count, m.sum, m.least, m.most = 1, number, number, number
	case json.Unmarshal(target, &numbers) == nil && len(numbers) > 0:
		if len(numbers) > maxValues {
			return fmt.Errorf("%d values", len(numbers))
		}
		m.count, m.least, m.most = float64(len(numbers)), slices.Min(numbers), slices.Max(numbers)
		for _, v := range numbers {
			m.sum += v
		}
	case decoder.Decode(&s) == nil:
		if s.Max == nil || s.Min == nil || s.Count == nil || s.Sum == nil {
			return fmt.Errorf("a statistic is missing: %s", target)
		}
		m.count, m.sum, m.least, m.most = *s.Count, *s.Sum, *s.Min, *s.Max
		if m.count < 1 || m.least > m.most || m.sum < m.least*m.count*(1-1e-9) || m.sum > m.most*m.count*(1+1e-9) {
			return fmt.Errorf("no such values: %s", target)
		}
	default:
		return fmt.Errorf("neither a number nor numbers: %s", target)
	}
	for _, v := range append([]float64{m.sum, m.least, m.most}, numbers...) {
		if v > maxNumber || v < -maxNumber {
			return fmt.Errorf("%v is out of range", v)
		}
	}
	return nil
}

func TestADocumentIsRefusedForWhatTheSpecificationRefuses(t *testing.T) {
	const good = `{"_aws":{"Timestamp":1700000000000,"CloudWatchMetrics":[{"Namespace":"N","Dimensions":[["D"]],"Metrics":[{"Name":"M","Unit":"Count","StorageResolution":60}]}]},"D":"d","M":1}`
	schema := emfSchema(t)
	metrics, err := extract(schema, good)
	require.NoError(t, err)
	assert.Equal(t, []measured{{namespace: "N", name: "M", unit: "Count", dimensions: "D=d", at: 1700000000000, count: 1, sum: 1, least: 1, most: 1}}, metrics)

	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for name, c := range map[string]struct{ old, new string }{
		"no metadata":                      {`"_aws"`, `"aws"`},
		"no time":                          {`"Timestamp":1700000000000,`, ``},
		"a time that is text":              {`1700000000000`, `"1700000000000"`},
		"no namespace":                     {`"Namespace":"N",`, ``},
		"an empty namespace":               {`"Namespace":"N"`, `"Namespace":""`},
		"the service's own namespace":      {`"Namespace":"N"`, `"Namespace":"AWS/NetworkFlowMonitor"`},
		"no dimensions":                    {`"Dimensions":[["D"]],`, ``},
		"no set of dimensions":             {`[["D"]]`, `[]`},
		"more than 30 dimensions":          {`[["D"]]`, `[[` + many(31, `"D"`) + `]]`},
		"a dimension without a value":      {`"D":"d",`, ``},
		"a dimension that is a number":     {`"D":"d"`, `"D":1`},
		"a metric without a name":          {`"Name":"M",`, ``},
		"a unit that CloudWatch lacks":     {`"Unit":"Count"`, `"Unit":"{segment}"`},
		"a resolution that does not exist": {`60`, `30`},
		"more than 100 metrics":            {`{"Name":"M","Unit":"Count","StorageResolution":60}`, many(101, `{"Name":"M"}`)},
		"a metric without a value":         {`,"M":1`, ``},
		"a value that is text":             {`"M":1`, `"M":"1"`},
		"a value that is null":             {`"M":1`, `"M":null`},
		"more than 100 values":             {`"M":1`, `"M":[` + many(101, "1") + `]`},
		"statistics that cannot be":        {`"M":1`, `"M":{"Count":3,"Sum":9,"Min":1,"Max":2}`},
		"statistics without a sum":         {`"M":1`, `"M":{"Count":2,"Min":1,"Max":1}`},
		"a number that is too large":       {`"M":1`, `"M":1e200`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			require.NotEqual(t, good, bad)
			_, err := extract(schema, bad)
			assert.Error(t, err)
		})
	}
}
