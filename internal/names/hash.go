package names

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// HashContainer identifies the definition a container was made from: its name and its image, and nothing else
// (behaviour 59). It equals upstream's, so that an upstream kubelet that takes over, or is taken over from, leaves the
// containers running. To that end the sum is not over the JSON itself but over its bytes written out as decimal numbers.
func HashContainer(c *v1.Container) string {
	data, err := json.Marshal(map[string]string{"image": c.Image, "name": c.Name})
	if err != nil {
		return "" // a map of strings always marshals
	}
	sum := fnv.New32a()
	fmt.Fprintf(sum, "([]uint8)%v", data)
	return strconv.FormatUint(uint64(sum.Sum32()), 16)
}

// Fingerprint is fnv-32a of the JSON of a value; zero if the value has no JSON.
func Fingerprint(value any) uint32 {
	text, err := json.Marshal(value)
	if err != nil {
		return 0
	}
	h := fnv.New32a()
	h.Write(text)
	return h.Sum32()
}
