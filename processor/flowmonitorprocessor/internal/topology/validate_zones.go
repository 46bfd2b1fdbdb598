// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"regexp"
	"strings"
)

// Zone names begin with their Region (us-west-2a, us-west-2-lax-1a), zone ids with a code
// of it (usw2-az1, usw2-lax1-az1): "Regions and Availability Zones" in the EC2 user guide.
// The code is made of the Region's name in all Regions of this form; others, such as
// us-gov-west-1, have codes of their own. What has neither form contradicts nothing.
var (
	regionForm = regexp.MustCompile(`^([a-z]{2})-(north|south|east|west|central|northeast|northwest|southeast|southwest)-([0-9])`)
	codeForm   = regexp.MustCompile(`^[a-z]{2}(?:n|s|e|w|c|ne|nw|se|sw)[0-9]-`)
	directions = strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c")
)

// zoneForm refuses a zone whose name or id says that it is in another Region.
func (c *checker) zoneForm(namePath, name, idPath, id, region string) {
	here := regionForm.FindStringSubmatch(region)
	if here == nil || here[0] != region {
		return
	}
	if other := regionForm.FindString(name); other != "" && other != region {
		c.fail(namePath, "zone %q is in region %q, not in %q", name, other, region)
	}
	code := here[1] + directions.Replace(here[2]) + here[3] + "-"
	if other := codeForm.FindString(id); other != "" && other != code {
		c.fail(idPath, "zone %q is not in region %q: ids of its zones begin with %q", id, region, code)
	}
}
