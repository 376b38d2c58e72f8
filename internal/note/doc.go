// Package note owns the typed record of a happening that a person may want to hear of. A rule or a loop makes a
// note once; the log, the local event list and (in a cluster) API events are three readers of it.
package note
