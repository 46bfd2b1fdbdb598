// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cloudwatch

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// template is the part of CloudFormation that alarms.yaml uses. What is misspelt is an unknown field.
type template struct {
	AWSTemplateFormatVersion string `yaml:"AWSTemplateFormatVersion"`
	Description              string `yaml:"Description"`
	Parameters               map[string]struct {
		Type        string `yaml:"Type"`
		Default     any    `yaml:"Default"`
		Description string `yaml:"Description"`
	} `yaml:"Parameters"`
	Resources map[string]struct {
		Type       string `yaml:"Type"`
		Properties alarm  `yaml:"Properties"`
	} `yaml:"Resources"`
}

// alarm has properties of AWS::CloudWatch::Alarm, from its reference.
type alarm struct {
	AlarmDescription  map[string]string `yaml:"AlarmDescription"`
	Namespace         string            `yaml:"Namespace"`
	MetricName        string            `yaml:"MetricName"`
	Dimensions        []dimension       `yaml:"Dimensions"`
	Statistic         string            `yaml:"Statistic"`
	ExtendedStatistic string            `yaml:"ExtendedStatistic"`
	Unit              string            `yaml:"Unit"`
	Period            int               `yaml:"Period"`
	EvaluationPeriods int               `yaml:"EvaluationPeriods"`
	DatapointsToAlarm int               `yaml:"DatapointsToAlarm"`
	Comparison        string            `yaml:"ComparisonOperator"`
	Threshold         any               `yaml:"Threshold"`
	TreatMissingData  string            `yaml:"TreatMissingData"`
	AlarmActions      []reference       `yaml:"AlarmActions"`
	OKActions         []reference       `yaml:"OKActions"`
}

type dimension struct {
	Name  string    `yaml:"Name"`
	Value reference `yaml:"Value"`
}

type reference struct {
	Ref string `yaml:"Ref"`
}

func TestTheAlarmsWatchWhatTheGatewayPublishes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(example, "alarms.yaml"))
	require.NoError(t, err)
	var read template
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&read))
	assert.Equal(t, "2010-09-09", read.AWSTemplateFormatVersion)

	// What the exporter of the example makes of the monitors' metrics.
	text, err = os.ReadFile(filepath.Join(example, "gateway.yaml"))
	require.NoError(t, err)
	var gateway struct {
		Exporters struct {
			Awsemf struct {
				Namespace    string
				Declarations []struct{ Dimensions [][]string } `yaml:"metric_declarations"`
				Descriptors  []struct {
					Name string `yaml:"metric_name"`
					Unit string
				} `yaml:"metric_descriptors"`
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &gateway))
	published := map[string]string{}
	for _, d := range gateway.Exporters.Awsemf.Descriptors {
		published[d.Name] = d.Unit
	}
	assert.Equal(t, units, published)
	require.Len(t, gateway.Exporters.Awsemf.Declarations, 1)
	require.Equal(t, [][]string{{"MonitorId"}}, gateway.Exporters.Awsemf.Declarations[0].Dimensions)

	parameter := func(name string) {
		_, ok := read.Parameters[name]
		assert.True(t, ok, "there is no parameter %s", name)
	}
	watched := map[string]bool{}
	for name, r := range read.Resources {
		t.Run(name, func(t *testing.T) {
			a := r.Properties
			watched[a.MetricName] = true
			assert.Equal(t, "AWS::CloudWatch::Alarm", r.Type)
			assert.Equal(t, gateway.Exporters.Awsemf.Namespace, a.Namespace)
			assert.Contains(t, published, a.MetricName)
			assert.Equal(t, []dimension{{"MonitorId", reference{"MonitorId"}}}, a.Dimensions)
			if a.Unit != "" { // else any
				assert.Equal(t, published[a.MetricName], a.Unit)
			}
			if a.Statistic != "" {
				assert.Empty(t, a.ExtendedStatistic)
				assert.Contains(t, []string{"Average", "Maximum", "Minimum", "SampleCount", "Sum"}, a.Statistic)
			} else {
				assert.Regexp(t, `^p(\d{1,2}(\.\d{1,10})?|100)$`, a.ExtendedStatistic)
			}
			assert.Contains(t, []string{"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanOrEqualToThreshold", "LessThanThreshold"}, a.Comparison)
			assert.Contains(t, []string{"breaching", "ignore", "missing", "notBreaching"}, a.TreatMissingData)
			assert.Zero(t, a.Period%60, "the metrics have a resolution of a minute")
			assert.Positive(t, a.Period)
			assert.LessOrEqual(t, a.Period*a.EvaluationPeriods, 86400, "an alarm looks back a day at most")
			assert.LessOrEqual(t, a.DatapointsToAlarm, a.EvaluationPeriods)
			for _, action := range append(a.AlarmActions, a.OKActions...) {
				parameter(action.Ref)
			}
			if threshold, ok := a.Threshold.(map[string]any); ok {
				parameter(threshold["Ref"].(string))
			} else {
				assert.IsType(t, 0, a.Threshold)
			}
			for _, match := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(a.AlarmDescription["Fn::Sub"], -1) {
				parameter(match[1])
			}
		})
	}
	assert.Equal(t, map[string]bool{"DataTransferred": true, "Retransmissions": true, "Timeouts": true, "RoundTripTimeP90": true, "HealthIndicator": true}, watched)
}
