// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bpf

import "errors"

// ErrUnsupported says that sockops exists on Linux only.
var ErrUnsupported = errors.New("sockops programs need Linux 5.15 or newer")

// Supported always fails here.
func Supported() error { return ErrUnsupported }
