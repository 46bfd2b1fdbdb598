// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// Problem states a window to the inference directly, without data points between.
func Problem(window []Observed) *inference.Problem {
	p := &inference.Problem{}
	hosts, components, services, classes := map[string]int32{}, map[string]int32{}, map[string]int32{}, map[string]int32{}
	paths, places := map[string]int32{}, map[string]int32{}
	for i := range window {
		o := &window[i]
		path := o.Path()
		order := strings.Compare(path[0], path[len(path)-1])
		canonical := slices.Sorted(slices.Values(path))
		key := strings.Join(canonical, " ")
		class, known := classes[key]
		if !known {
			class = int32(len(p.Classes))
			classes[key] = class
			c := inference.Class{Palindrome: order == 0}
			for _, name := range canonical {
				c.Components = append(c.Components, index(components, &p.Components, name))
			}
			p.Classes = append(p.Classes, c)
		}
		row := inference.Row{
			Segments: float64(o.Segments), Lost: float64(o.Lost), Class: class, Service: -1, Forward: order <= 0,
			Local:  index(hosts, &p.Hosts, flowattr.ComponentInstance+"/"+o.Local().ID),
			Remote: index(hosts, &p.Hosts, flowattr.ComponentInstance+"/"+o.Remote().ID),
			Role:   inference.Server,
		}
		if o.Up {
			row.Role = inference.Client
		}
		key = strings.Join(path, " ")
		known = false
		if row.Path, known = paths[key]; !known {
			row.Path = int32(len(p.Paths))
			paths[key] = row.Path
			place := func(h *Host) []int32 {
				return []int32{number(places, "vpc "+h.VPC), number(places, "zone "+h.AZ)}
			}
			p.Paths = append(p.Paths, inference.Path{
				First: components[path[0]], Last: components[path[len(path)-1]],
				Local: place(o.Local()), Remote: place(o.Remote()),
			})
		}
		if s := o.Flow.Service; s != "" {
			row.Service = index(services, &p.Services, flowattr.ComponentService+"/"+s)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

func index(known map[string]int32, names *[]string, name string) int32 {
	i, ok := known[name]
	if !ok {
		i = int32(len(*names))
		known[name] = i
		*names = append(*names, name)
	}
	return i
}

func number(known map[string]int32, name string) int32 {
	n, ok := known[name]
	if !ok {
		n = int32(len(known))
		known[name] = n
	}
	return n
}
