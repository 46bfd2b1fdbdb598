// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package strictconf

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config has a field of each form that the components' configurations have.
type config struct {
	Whole    int                               `mapstructure:"whole"`
	Small    uint8                             `mapstructure:"small"`
	Wide     uint64                            `mapstructure:"wide"`
	Long     int64                             `mapstructure:"long"`
	Share    float64                           `mapstructure:"share"`
	On       bool                              `mapstructure:"on"`
	Wait     time.Duration                     `mapstructure:"wait"`
	MayWait  *time.Duration                    `mapstructure:"may_wait"`
	Name     string                            `mapstructure:"name"`
	Names    []string                          `mapstructure:"names"`
	Part     part                              `mapstructure:"part"`
	MayPart  configoptional.Optional[part]     `mapstructure:"may_part"`
	Parts    []part                            `mapstructure:"parts"`
	ByName   map[string]part                   `mapstructure:"by_name"`
	Counts   map[string]int                    `mapstructure:"counts"`
	MayCount configoptional.Optional[[]part]   `mapstructure:"may_parts"`
	Defaults configoptional.Optional[defaults] `mapstructure:"defaults"`
}

type part struct {
	Size  int    `mapstructure:"size"`
	Label string `mapstructure:"label"`
	Inner []part `mapstructure:"inner"`
}

type defaults struct {
	Rate float64 `mapstructure:"rate"`
	Size int     `mapstructure:"size"`
}

func (c *config) Unmarshal(conf *confmap.Conf) error { return Unmarshal(conf, c) }

func (c *config) Validate() error {
	if c.Name == "bad" {
		return errors.New(`'name' is "bad"`)
	}
	return nil
}

func read(t testing.TB, yaml string) (*config, error) {
	t.Helper()
	got, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	conf, err := got.AsConf()
	require.NoError(t, err)
	cfg := &config{Whole: 7, Wait: time.Second, Defaults: configoptional.Default(defaults{Rate: 5, Size: 6})}
	return cfg, conf.Unmarshal(cfg)
}

func TestWhatIsNotWhatTheKeyWantsIsRefusedByKeyAndValue(t *testing.T) {
	for yaml, want := range map[string]string{
		"whole: 1.5":                              "'whole' must be a whole number: is 1.5",
		"whole: many":                             `'whole' must be a whole number: is "many"`,
		"whole: true":                             "'whole' must be a whole number: is true",
		"whole: .nan":                             "'whole' must be a whole number: is NaN",
		"whole: .inf":                             "'whole' must be a whole number: is +Inf",
		"whole: [1]":                              "'whole' must be a whole number: is [1]",
		"whole: {a: 1}":                           "'whole' must be a whole number: is a map of keys",
		"long: 99999999999999999999":              "'long' must be a whole number that fits into 64 bits: is 1e+20",
		"long: 9223372036854775808":               "'long' must be a whole number that fits into 64 bits: is 9223372036854775808",
		"long: -9300000000000000000":              "'long' must be a whole number that fits into 64 bits: is -9.3e+18",
		"small: 256":                              "'small' must be a whole number that fits into 8 bits: is 256",
		"small: -1":                               "'small' must be a whole number that fits into 8 bits: is -1",
		"wide: 18446744073709551616":              "'wide' must be a whole number that fits into 64 bits: is 1.8446744073709552e+19",
		"share: much":                             `'share' must be a number: is "much"`,
		"on: maybe":                               `'on' must be true or false: is "maybe"`,
		"wait: 30":                                "'wait' must be a duration with its unit, such as 30s: is 30",
		"wait: soon":                              `'wait' must be a duration with its unit, such as 30s: is "soon"`,
		"may_wait: 1.5":                           "'may_wait' must be a duration with its unit, such as 30s: is 1.5",
		"wole: 1":                                 "'wole' is no key that is known here: one of by_name, counts, defaults, ",
		"part: {size: 0.5}":                       "'part::size' must be a whole number: is 0.5",
		"part: {sice: 1}":                         "'part::sice' is no key that is known here: one of inner, label, size",
		"may_part: {size: 0.5}":                   "'may_part::size' must be a whole number: is 0.5",
		"defaults: {size: 0.5}":                   "'defaults::size' must be a whole number: is 0.5",
		"parts: [{size: 1}, {size: 0.5}]":         "'parts[1]::size' must be a whole number: is 0.5",
		"parts: [{inner: [{}, {size: 0.5}]}]":     "'parts[0]::inner[1]::size' must be a whole number: is 0.5",
		"part: {inner: [{sice: 5}]}":              "'part::inner[0]::sice' is no key that is known here: one of inner, label, size",
		"by_name: {x: {size: 0.5}}":               "'by_name::x::size' must be a whole number: is 0.5",
		"counts: {x: 0.5, y: 1}":                  "'counts::x' must be a whole number: is 0.5",
		"may_parts: [{size: 0.5}]":                "'may_parts[0]::size' must be a whole number: is 0.5",
		"name: 5":                                 "'name' expected type 'string'",
		"part: word":                              "'part' expected a map",
		"parts: [{size: 1, label: 2}, {size: 1}]": "'parts[0].label' expected type 'string'",
	} {
		t.Run(yaml, func(t *testing.T) {
			_, err := read(t, yaml)
			require.ErrorContains(t, err, want)
		})
	}
}

func TestWhatIsRightIsReadAsConfmapReadsIt(t *testing.T) {
	for _, yaml := range []string{
		"", "{}", "whole: 5", "whole: 5.0", "whole: 1e3", "long: 9223372036854775807", "long: -9223372036854775808", "small: 255",
		"wide: 18446744073709551615", "share: 1", "share: .nan", "wait: 0", "wait: 30s", "may_wait: 0", "may_wait: 1m", "wait:", "whole:",
		"names: [a, b]", "names: a,b", "part: ", "part: {}", "may_part: ", "may_part: {}", "defaults:", "defaults: {rate: 1}", "defaults: {enabled: false}",
		"parts: [{size: 1, label: a, inner: [{size: 2}]}, {}]", "by_name: {x: {size: 1}, y: }", "counts: {x: 1}", "parts: []", "may_parts: [{size: 1}]",
	} {
		t.Run(yaml, func(t *testing.T) {
			got, err := read(t, yaml)
			require.NoError(t, err)
			type plain config // without Unmarshal
			retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
			require.NoError(t, err)
			conf, err := retrieved.AsConf()
			require.NoError(t, err)
			want := plain{Whole: 7, Wait: time.Second, Defaults: configoptional.Default(defaults{Rate: 5, Size: 6})}
			require.NoError(t, conf.Unmarshal(&want))
			if math.IsNaN(want.Share) {
				require.True(t, math.IsNaN(got.Share))
				got.Share, want.Share = 0, 0
			}
			assert.Equal(t, want, plain(*got))
		})
	}
}

func TestAllThatIsWrongIsReportedAtOnceAndTheRestIsRead(t *testing.T) {
	cfg, err := read(t, `{wole: 1, whole: 1.5, name: bad, part: {size: x, label: kept}, parts: [{size: 0.5, label: kept}, {size: 3}], wait: 5s, names: {a: 1}}`)
	for _, want := range []string{"'wole' is no key", "'whole' must", "'part::size' must", "'parts[0]::size' must", "'names'", `'name' is "bad"`} {
		assert.ErrorContains(t, err, want)
	}
	assert.Equal(t, 7, cfg.Whole, "a refused value leaves the default")
	assert.Equal(t, 5*time.Second, cfg.Wait)
	assert.Equal(t, part{Label: "kept"}, cfg.Part)
	assert.Equal(t, []part{{Label: "kept"}, {Size: 3}}, cfg.Parts)
}

func TestAnEmbedderMayHandOverGoValues(t *testing.T) {
	cfg := &config{}
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"whole": uint32(5), "wait": 3 * time.Second, "names": []string{"a"}, "small": int64(9), "share": float32(0.5),
	}).Unmarshal(cfg))
	assert.Equal(t, 5, cfg.Whole)
	assert.Equal(t, 3*time.Second, cfg.Wait)
	assert.Equal(t, []string{"a"}, cfg.Names)
	assert.Equal(t, uint8(9), cfg.Small)
}

// literal is a provider like that of environment variables or files: what is behind its
// scheme is the value, read as YAML; a name stands for longer ones.
type literal map[string]string

func (literal) Scheme() string                 { return "literal" }
func (literal) Shutdown(context.Context) error { return nil }
func (l literal) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	text := strings.TrimPrefix(uri, "literal:")
	if long, ok := l[text]; ok {
		text = long
	}
	return confmap.NewRetrievedFromYAML([]byte(text))
}

func TestValuesFromElsewhereAreReadAsThoseInTheFile(t *testing.T) {
	texts := literal{
		"part":    "size: ${literal:5}\nlabel: ${literal:007}\n",
		"wrong":   "size: ${literal:1.5}\nsice: ${literal:5}\n",
		"right":   "{whole: '${literal:6}', wait: '${literal:5s}', name: '${literal:007}', part: '${literal:part}', may_part: '${literal:part}', parts: ['${literal:part}', {size: '${literal:8}'}], counts: {x: '${literal:9}'}}",
		"refused": "{whole: '${literal:1.5}', wait: '${literal:5}', name: '${literal:bad}', part: '${literal:wrong}', parts: ['${literal:part}', '${literal:wrong}'], names: '${literal:[a, b]}'}",
	}
	resolve := func(name string) (*config, error) {
		resolver, err := confmap.NewResolver(confmap.ResolverSettings{
			URIs: []string{"literal:" + name},
			ProviderFactories: []confmap.ProviderFactory{
				confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return texts }),
			},
		})
		require.NoError(t, err)
		conf, err := resolver.Resolve(t.Context())
		require.NoError(t, err)
		cfg := &config{}
		return cfg, conf.Unmarshal(cfg)
	}
	cfg, err := resolve("right")
	require.NoError(t, err)
	p := part{Size: 5, Label: "007"}
	assert.Equal(t, &config{
		Whole: 6, Wait: 5 * time.Second, Name: "007", Part: p, MayPart: configoptional.Some(p), Parts: []part{p, {Size: 8}}, Counts: map[string]int{"x": 9},
	}, cfg)
	cfg, err = resolve("refused")
	for _, want := range []string{
		"'whole' must be a whole number: is 1.5", "'wait' must be a duration", `'name' is "bad"`, "'part::size' must", "'part::sice' is no key",
		"'parts[1]::size' must", "'parts[1]::sice' is no key",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.Equal(t, []string{"a", "b"}, cfg.Names)
}

// FuzzWholeNumbers: a number that is taken is the one that was written, to the last digit.
func FuzzWholeNumbers(f *testing.F) {
	for _, seed := range []string{"1", "1.5", "-1", "1e3", "99999999999999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "0x10", "1_000", ".5", "256"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		written, ok := new(big.Rat).SetString(text)
		if !ok || len(text) > 40 || strings.ContainsAny(text, "/xXbBoOpP_") || len(strings.TrimLeft(text, "+-")) > 1 && strings.TrimLeft(text, "+-")[0] == '0' {
			return // YAML reads these in its own way
		}
		for key, got := range map[string]func(*config) string{
			"small": func(c *config) string { return fmt.Sprint(c.Small) },
			"long":  func(c *config) string { return fmt.Sprint(c.Long) },
			"wide":  func(c *config) string { return fmt.Sprint(c.Wide) },
		} {
			retrieved, err := confmap.NewRetrievedFromYAML([]byte(key + ": " + text))
			if err != nil {
				continue
			}
			conf, err := retrieved.AsConf()
			if err != nil {
				continue
			}
			raw := conf.Get(key)
			if float, isFloat := raw.(float64); isFloat { // as YAML has rounded it
				written = new(big.Rat)
				if written.SetFloat64(float) == nil {
					continue
				}
			}
			cfg := &config{}
			if err := conf.Unmarshal(cfg); err != nil {
				assert.ErrorContains(t, err, "'"+key+"' must be a whole number")
				continue
			}
			taken, _ := new(big.Rat).SetString(got(cfg))
			assert.Zero(t, written.Cmp(taken), "%s: %s was read as %s", key, text, got(cfg))
		}
	})
}
