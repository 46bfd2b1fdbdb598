// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package strictconf reads a component's configuration as confmap does, but refuses what
// confmap takes silently, and reports all that is wrong at once.
//
// confmap cuts the fraction off a number that a whole one is wanted for, lets a number wrap
// that does not fit, and takes a duration without a unit for nanoseconds. And as it stops
// at the first kind of error, whoever has made several corrects them in several rounds.
package strictconf

import (
	"errors"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

// Read decodes conf into cfg, a pointer to a struct whose fields have `mapstructure` tags
// and that may hold defaults. It is called by cfg's own Unmarshal, with the conf that this
// one was given. Values that are refused are taken out of conf, so that the others are
// decoded all the same: the error is nil, or names each of the former by its key.
func Read(conf *confmap.Conf, cfg any) error {
	problems, edits := inspect(conf.ToStringMap(), cfg)
	for _, e := range edits {
		conf.Delete(e.path)
		if e.value == nil {
			continue
		}
		if err := conf.Merge(confmap.NewFromStringMap(nested(e.path, e.value))); err != nil {
			problems = append(problems, err)
		}
	}
	if err := conf.Unmarshal(cfg); err != nil {
		var several interface{ Unwrap() []error }
		if errors.As(err, &several) { // without the headline over them
			problems = append(problems, several.Unwrap()...)
		} else {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// WithValues adds to the error of a [Read], if there is one, what is wrong with the values
// that could be read: the collector does not validate what could not be decoded.
func WithValues(err error, cfg any) error {
	if err == nil {
		return nil // the collector validates
	}
	return errors.Join(err, confmap.Validate(cfg))
}

// Unmarshal is [Read] and [WithValues]: all that most components' Unmarshal has to do.
func Unmarshal(conf *confmap.Conf, cfg any) error {
	return WithValues(Read(conf, cfg), cfg)
}

// nested is the map that has only the value, at a path of keys.
func nested(path string, value any) map[string]any {
	keys := strings.Split(path, confmap.KeyDelimiter)
	for i := len(keys) - 1; i > 0; i-- {
		value = map[string]any{keys[i]: value}
	}
	return map[string]any{keys[0]: value}
}
