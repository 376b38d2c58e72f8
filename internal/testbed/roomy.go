package testbed

import "sigs.k8s.io/yaml"

// Roomy are lines of a KubeletConfiguration that let pods and images stay however full the machine's disk is: that is not
// the business of a test, nor of somebody who tries things in a cluster of their own.
const Roomy = `imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
`

// AddRoomy adds Roomy to a KubeletConfiguration that is not text yet.
func AddRoomy(config map[string]any) error { return yaml.Unmarshal([]byte(Roomy), &config) }
