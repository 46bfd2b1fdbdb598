// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package inference finds what explains the loss of a window: which hosts, services and
// shared components of the network.
//
// Every row of evidence (segments sent and lost between two hosts along one path) loses
// at the background rate, unless something that it crosses is to blame. Candidates are
// every host, service, component, and path; those crossed by exactly the same rows are one.
// The candidate whose blame makes the window most likely (a likelihood ratio over
// over-dispersed counts) is put to the test, is blamed when it passes, and its rows are
// explained; then the rest is looked at again, until nothing stands out.
//
// The test asks for loss that is shared. The rows of a network component are gathered by
// the hosts at its one side and at its other; at each side at least three hosts, and more
// than half, must lose more than the background, so often that chance does it less than once
// in (1 ÷ the wanted false alarm rate) windows. A host is blamed when more than half of its
// peers see loss. What fails because hosts at one side are clean is left to other
// explanations; what fails because there is too little evidence stays undetermined.
package inference // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
