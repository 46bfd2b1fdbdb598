// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package strictconf

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"reflect"
	"time"
)

var durationType = reflect.TypeFor[time.Duration]()

// scalar tells whether the value is one that the kind holds as it is, and refuses it if
// not. Texts are confmap's: it knows how a value from an environment variable was written.
func (i *inspection) scalar(path string, raw any, kind reflect.Kind) bool {
	switch kind {
	case reflect.Bool:
		if reflect.TypeOf(raw).Kind() != reflect.Bool {
			i.refuse(path, "must be true or false: is %s", quote(raw))
			return false
		}
	case reflect.Float32, reflect.Float64:
		if _, ok := number(raw); !ok && !isNaNOrInf(raw) {
			i.refuse(path, "must be a number: is %s", quote(raw))
			return false
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := number(raw)
		if !ok || !n.IsInt() {
			i.refuse(path, "must be a whole number: is %s", quote(raw))
			return false
		}
		if least, most := bounds(kind); n.Cmp(least) < 0 || n.Cmp(most) > 0 {
			i.refuse(path, "must be a whole number that fits into %d bits: is %s", width(kind), quote(raw))
			return false
		}
	}
	return true
}

// duration refuses numbers: confmap takes them for nanoseconds. 0 needs no unit.
func (i *inspection) duration(path string, raw any) bool {
	switch d := raw.(type) {
	case time.Duration:
		return true
	case string:
		if _, err := time.ParseDuration(d); err == nil {
			return true
		}
	default:
		if n, ok := number(raw); ok && n.Sign() == 0 {
			return true
		}
	}
	i.refuse(path, "must be a duration with its unit, such as 30s: is %s", quote(raw))
	return false
}

// number is the exact value of a finite number of any type; precision is set by the type.
func number(raw any) (*big.Float, bool) {
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		return new(big.Float).SetInt64(v.Int()), true
	case v.CanUint():
		return new(big.Float).SetUint64(v.Uint()), true
	case v.CanFloat() && !isNaNOrInf(raw):
		return big.NewFloat(v.Float()), true
	}
	return nil, false
}

func isNaNOrInf(raw any) bool {
	v := reflect.ValueOf(raw)
	return v.CanFloat() && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0))
}

func width(kind reflect.Kind) int {
	switch kind {
	case reflect.Int8, reflect.Uint8:
		return 8
	case reflect.Int16, reflect.Uint16:
		return 16
	case reflect.Int32, reflect.Uint32:
		return 32
	case reflect.Int, reflect.Uint:
		return bits.UintSize // as the machine has it
	default:
		return 64
	}
}

// bounds are the least and the greatest number of a kind.
func bounds(kind reflect.Kind) (least, most *big.Float) {
	n := width(kind)
	if kind >= reflect.Uint && kind <= reflect.Uint64 {
		return new(big.Float), new(big.Float).SetUint64(math.MaxUint64 >> (64 - n))
	}
	return new(big.Float).SetInt64(math.MinInt64 >> (64 - n)), new(big.Float).SetInt64(math.MaxInt64 >> (64 - n))
}

// quote shows a value as it was read: a number too long for 64 bits was rounded by YAML.
func quote(raw any) string {
	switch v := raw.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case map[string]any:
		return "a map of keys"
	default:
		return fmt.Sprint(v)
	}
}
