// Package status owns what is said of a pod: Of works out the API's PodStatus from what is wanted, remembered and
// observed of it (behaviours 55, 64, 65, 147, 148, 151, 266-283). It decides nothing: what starts, stops or waits is
// the plan's to say, and status asks the plan.
package status
