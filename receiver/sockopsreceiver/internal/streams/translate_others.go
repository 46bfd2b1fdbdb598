// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package streams

// Translate has no meaning without the kernel's flows.
type Translate func()
