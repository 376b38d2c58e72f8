// Package metrics owns the numbers that Prometheus reads, under the names, types and labels that dashboards and alerts
// for the upstream kubelet use.
//
// Counters and histograms are written by small methods, called by whoever does the work. Gauges about pods are worked
// out when somebody reads them, so that an idle node pays nothing for them. The package has no goroutines.
package metrics
