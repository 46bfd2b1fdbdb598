// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package monitors

import (
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Missing is a monitor that names something the topology does not have.
type Missing struct {
	Monitor   string
	Resources []string // as "type id"
}

// Missing gives the monitors that name resources which do not exist in the topology,
// in the order of the monitors. A Region also exists when the AWS ranges know it.
func (s *Set) Missing(ix *topology.Index, ranges *ipranges.Table) []Missing {
	var missing []Missing
	for i, r := range s.refs {
		var resources []string
		for _, list := range [][]ref{r.local, r.remote} {
			for _, x := range list {
				if name, ok := x.exists(ix, ranges); !ok {
					resources = append(resources, name+" "+x.id)
				}
			}
		}
		if len(resources) > 0 {
			missing = append(missing, Missing{s.names[i], resources})
		}
	}
	return missing
}

func (r ref) exists(ix *topology.Index, ranges *ipranges.Table) (string, bool) {
	switch r.kind {
	case subnet:
		return typeSubnet, ix.HasSubnet(r.id)
	case vpc:
		return typeVPC, ix.HasVPC(r.id)
	case zone:
		return typeZone, ix.HasZone(r.id)
	case region:
		return typeRegion, ix.HasRegion(r.id) || ranges != nil && ranges.HasRegion(r.id)
	case cluster:
		return typeCluster, ix.HasCluster(r.id, "", "")
	case clusterARN:
		p := strings.SplitN(r.id, "/", 3)
		return typeCluster, ix.HasCluster(p[2], p[0], p[1])
	}
	return "", true // services were checked with the definitions
}
