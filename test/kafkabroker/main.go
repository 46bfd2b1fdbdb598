// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Kafkabroker is a Kafka cluster of one broker in memory (kfake of franz-go), which speaks Kafka's protocol on a real
// socket: partitions, consumer groups, committed offsets. It runs until it is killed.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9092", "address and port, which clients are told too")
	topic := flag.String("topic", "flow-monitor", "topic to make")
	partitions := flag.Int("partitions", 8, "of the topic")
	flag.Parse()
	_, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, *listen) }),
		kfake.SeedTopics(int32(*partitions), *topic),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafkabroker:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}
