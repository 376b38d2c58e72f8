package names

import (
	"encoding/json"
	"hash/fnv"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// HashContainer identifies the definition a container was made from: fnv-32a of the JSON of its name and image, in
// hexadecimal (behaviour 59). It is the value of the annotation ContainerHash.
func HashContainer(c *v1.Container) string {
	return strconv.FormatUint(uint64(Fingerprint(map[string]string{"name": c.Name, "image": c.Image})), 16)
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
