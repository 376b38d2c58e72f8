package translate

import "fmt"

// ResolverTrouble says that the node's resolver file has more search domains than fit into the resolver file of a pod, beside the three
// of the cluster if pods get those (behaviour 81); empty if it has not.
func ResolverTrouble(path string, conf ResolvConf, cluster bool) string {
	most := maxSearches
	if cluster {
		most -= clusterSearches
	}
	if len(conf.Searches) > most {
		return fmt.Sprintf("Resolv.conf file '%s' contains search line consisting of more than %d domains!", path, most)
	}
	chars := max(0, len(conf.Searches)-1) // those between them
	for _, s := range conf.Searches {
		chars += len(s)
	}
	if chars > maxSearchChars {
		return fmt.Sprintf("Resolv.conf file '%s' contains search line which length is more than allowed %d chars!", path, maxSearchChars)
	}
	return ""
}

// clusterSearches is how many search domains a pod gets from its cluster: namespace, svc, and the cluster's own.
const clusterSearches = 3
