// Package exposition owns how what is used (package usage) is told: the summary that /stats/summary answers with, and the
// families of /metrics/resource and /metrics/cadvisor, by the names and labels that metrics-server, autoscalers and
// dashboards know (behaviours 341, 363).
//
// All of them tell the same numbers of the same reading. What is not known is left out.
package exposition
